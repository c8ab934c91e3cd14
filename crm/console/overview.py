"""The overview: is everything in step, and what is there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from crm.accounts.callers import Caller
from crm.console.charts import Bar, lengths
from crm.console.formats import amount, plural
from crm.console.guards import Guard, current_caller, guarded
from crm.mirror.reads import pipeline_boards
from crm.mirror.reads.pipeline_boards import Total
from crm.object_types import DEALS
from crm.operations import sync_status
from crm.operations.sync_status import SyncStatus
from crm.portals import pipelines, rate_forecast
from crm.scans.statistics import count_by_day

bp = Blueprint("overview", __name__)

_NONE = Total(0, 0)
_DAYS = 14


@dataclass(frozen=True)
class Verdict:
    """Whether all is well, in a sentence, and what to do if not."""

    level: str
    """``success``, ``info``, ``warning`` or ``danger``."""
    sentence: str
    advice: str = ""


@bp.get("/")
@guarded(Guard.PERSON)
def show() -> ResponseReturnValue:
    """How the mirror and HubSpot stand, the budget of calls, and the deals by stage."""
    caller = current_caller()
    found = sync_status.find_sync_status(caller.portal_id)
    return render_template(
        "console/overview.html",
        verdict=_summarize(found),
        status=found,
        budget=rate_forecast.forecast(caller.portal_id),
        charts=_chart_deals(caller),
        rate=_chart_rate(caller) if caller.is_admin else None,
        lengths=lengths,
    )


def _summarize(found: SyncStatus) -> Verdict:
    return next(verdict for holds, verdict in _verdicts(found) if holds)


def _verdicts(found: SyncStatus) -> Iterator[tuple[object, Verdict]]:
    """What there may be to say, the gravest first, and whether it is so."""
    yield (
        found.disabled_reason,
        Verdict("danger", "HubSpot is disconnected", found.disabled_reason or ""),
    )
    yield (
        not found.is_set_up,
        Verdict(
            "warning",
            "HubSpot has not been reached yet",
            "What is written here is kept, and sent as soon as a portal answers.",
        ),
    )
    yield (
        not found.has_worker,
        Verdict(
            "danger", "Nobody works on the queue", "Start a worker: it sends and fetches changes."
        ),
    )
    yield found.pause, Verdict("warning", "Sending to HubSpot pauses", found.pause or "")
    yield (
        found.blocked,
        Verdict(
            "warning",
            "HubSpot does not let us send everything",
            " ".join(f"{name}: {reason}" for name, reason in found.blocked.items()),
        ),
    )
    yield (
        found.rejected,
        Verdict(
            "warning",
            f"HubSpot refused {plural(found.rejected, 'change')}",
            "Somebody should look at that; all else goes on meanwhile.",
        ),
    )
    yield (
        found.backfilling,
        Verdict("info", "HubSpot's records are being taken in", "This happens once."),
    )
    yield (
        found.pending or found.waiting_events,
        Verdict("info", "Nearly in step", "The last changes are on their way."),
    )
    yield True, Verdict("success", "Everything is in step", "Both sides hold the same.")


def _chart_deals(caller: Caller) -> Sequence[tuple[str, Sequence[Bar]]]:
    """Of each pipeline its label, and a bar for each stage."""
    totals = pipeline_boards.read_totals(
        caller.portal_id, DEALS, only_contact_id=caller.only_contact_id
    )
    return [
        (
            pipeline["label"],
            [
                Bar(stage["label"], held.count, amount(held.amount))
                for stage in pipeline["stages"]
                for held in [totals.get((pipeline["id"], stage["id"]), _NONE)]
            ],
        )
        for pipeline in pipelines.find_pipelines(caller.portal_id, DEALS.name) or ()
    ]


def _chart_rate(caller: Caller) -> Sequence[Bar]:
    """Of each of the last days how many deals were extracted, and how fast."""
    return [
        Bar(
            f"{each.day.day} {each.day:%b}",
            each.deals,
            f"{each.deals / each.seconds:,.0f} a second" if each.deals and each.seconds else "",
        )
        for each in count_by_day(caller.organization_id, _DAYS)
    ]
