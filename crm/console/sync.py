"""Sync: what HubSpot refused, what it told us, and comparing both sides."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from crm.console.forms import is_storable
from crm.console.guards import Guard, current_caller, guarded
from crm.errors import ConflictError, InvalidInputError, NotFoundError
from crm.inbox import replay
from crm.object_types import OBJECT_TYPES
from crm.property_values import LONGEST
from crm.pull import runner, runs
from crm.push import rejections

bp = Blueprint("sync", __name__, url_prefix="/console/sync")

OUTCOMES = {
    replay.WAITING: ("wait", "will be looked at in a moment"),
    "known": ("ok", "the mirror knew it already"),
    "read": ("ok", "looked up in HubSpot, and taken in"),
    "ignored": ("plain", "about nothing that is mirrored"),
    "purged": ("plain", "about a person who was deleted for privacy"),
    "given up": ("bad", "HubSpot told of it, and does not have it or may not show it"),
}

_ON_A_PAGE = 20
_EVENTS = 50
_NAME = re.compile(r"[a-z0-9_]{1,255}")


@bp.get("")
@guarded(Guard.ADMIN)
def show() -> ResponseReturnValue:
    """The changes that HubSpot refused, with its words."""
    page = rejections.list_rejected(
        current_caller().portal_id, limit=_ON_A_PAGE, cursor=request.args.get("cursor")
    )
    return render_template(
        "console/rejected.html",
        rejected=[_with_fields(orjson.loads(each)) for each in page.items],
        kinds=OBJECT_TYPES,
        next_url=page.next_after and url_for(".show", cursor=page.next_after),
        first_url=url_for(".show") if request.args.get("cursor") else None,
    )


@bp.post("/rejected")
@guarded(Guard.ADMIN)
def resend_all() -> ResponseReturnValue:
    """Send all refused changes again as they are."""
    count = rejections.resend(current_caller().portal_id)
    flash(f"{count} will be sent again.")
    return redirect(url_for(".show"), 303)


@bp.post("/rejected/<rejected_id>")
@guarded(Guard.ADMIN)
def resend(rejected_id: str) -> ResponseReturnValue:
    """Send a refused change again, with whatever was corrected."""
    try:
        rejections.correct(current_caller().portal_id, rejected_id, _corrections())
    except NotFoundError:
        flash("It is refused no more: somebody else has looked after it.")
    except (ConflictError, InvalidInputError) as error:
        flash(" ".join(error.errors.values()) or error.message, "danger")
    else:
        flash("It is sent again. If HubSpot refuses it once more, it comes back to this page.")
    return redirect(url_for(".show"), 303)


@bp.post("/rejected/<rejected_id>/drop")
@guarded(Guard.ADMIN)
def drop(rejected_id: str) -> ResponseReturnValue:
    """Give a refused change up."""
    if rejections.drop(current_caller().portal_id, [rejected_id]):
        flash("Dropped. Here everything is as HubSpot has it.", "success")
    else:
        flash("It is refused no more: somebody else has looked after it.")
    return redirect(url_for(".show"), 303)


@bp.get("/webhooks")
@guarded(Guard.ADMIN)
def show_webhooks() -> ResponseReturnValue:
    """The latest events that HubSpot sent, and what came of them."""
    state = request.args.get("state", "")
    state = state if state in replay.STATES else ""
    events = replay.list_events(
        state=state or None, limit=_EVENTS, portal_id=current_caller().portal_id
    )
    return render_template(
        "console/webhooks.html",
        events=[(each, _as_shown(each.payload)) for each in events],
        state=state,
        states=replay.STATES,
        outcomes=OUTCOMES,
        waiting=replay.WAITING,
        most=_EVENTS,
    )


@bp.get("/runs")
@guarded(Guard.ADMIN)
def show_runs() -> ResponseReturnValue:
    """The latest comparison of both sides, how far it is, and what it found."""
    latest = runs.list_latest(current_caller().portal_id)
    by_kind = {
        kind: {each.object_type: each for each in latest if each.kind == kind}
        for kind in runner.KINDS
    }
    return render_template(
        "console/runs.html",
        compared=[(each, runs.find_seconds_left(each)) for each in by_kind["reconcile"].values()],
        backfilled=by_kind["backfill"],
        searched=by_kind["incremental"],
        types=runner.TYPES,
        is_at_work=any(each.state == "running" and not each.error for each in latest),
    )


@bp.post("/runs")
@guarded(Guard.ADMIN)
def reconcile() -> ResponseReturnValue:
    """Compare everything with HubSpot now."""
    try:
        runner.begin(current_caller().portal_id, "reconcile")
    except ConflictError as error:
        flash(f"Not now: {error.message}.", "warning")
    return redirect(url_for(".show_runs"), 303)


def _with_fields(rejected: dict[str, Any]) -> dict[str, Any]:
    """A refused change with what can be corrected: what was sent, and what HubSpot misses."""
    missed = dict.fromkeys(filter(_NAME.fullmatch, rejected["rejection"]["fields"]), "")
    return rejected | {"fields": missed | rejected.get("properties", {})}


def _corrections() -> dict[str, str | None]:
    """What differs in the form from what was refused."""
    form = request.form
    changes: dict[str, str | None] = {}
    for field, value in form.items():
        name = field.removeprefix("property-")
        if name == field or not _NAME.fullmatch(name) or value == form.get(f"was-{name}"):
            continue
        if len(value) > LONGEST or not is_storable(value):
            raise InvalidInputError(f"{name}: this holds what cannot be stored.")
        changes[name] = value.strip() or None
    return changes


def _as_shown(payload: Mapping[str, Any]) -> dict[str, str]:
    """An event's payload as people read it; HubSpot has two forms of it."""
    kind = str(payload.get("subscriptionType") or payload.get("eventType") or "unknown")
    about = payload.get("objectId") or payload.get("fromObjectId") or ""
    return {"kind": kind, "about": str(about), "property": str(payload.get("propertyName") or "")}
