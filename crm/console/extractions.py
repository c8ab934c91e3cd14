"""Extractions: started, watched, cancelled, looked through and downloaded."""

from typing import Any

import orjson
from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from crm.console.extraction_form import StartForm, choices_of, usual_choices
from crm.console.forms import is_storable
from crm.console.guards import Guard, current_caller, guarded
from crm.errors import (
    ConflictError,
    InvalidCancellationError,
    NotFoundError,
    ScanInProgressError,
    ScanNotFoundError,
    TooManyScansError,
    UnavailableError,
)
from crm.object_types import DEALS
from crm.portals import pipelines
from crm.scans import commands, export, progress_stream, results, statistics
from crm.scans import status as scans_status
from crm.scans.results import FILTERS
from crm.scans.status import SCAN_ID, ScanState
from crm.streams import Event, ResultsAllowance, stream_events, stream_response

bp = Blueprint("extractions", __name__, url_prefix="/console/extractions")

STATES = {
    "pending": ("wait", "clock", "waits"),
    "running": ("info", "sync", "at work"),
    "completed": ("ok", "check", "completed"),
    "failed": ("bad", "alert", "failed"),
    "cancelled": ("plain", "cross", "cancelled"),
}
"""How each looks and is called."""
ADVICE = {
    "HUBSPOT_AUTH_FAILED": "So HubSpot does not take this token. Copy the token from HubSpot once"
    " more, or make a new one, and start again. Everything else is filled in already.",
    "FORBIDDEN": "Let the token do what is named here, in the settings of its app in HubSpot, and"
    " start again.",
    "VALIDATION_ERROR": "Correct the choice that HubSpot names, and start again.",
    "RATE_LIMIT_EXCEEDED": "The portal's calls were used up for a day. Start again once other apps"
    " of this portal call less.",
    "HUBSPOT_UNAVAILABLE": "HubSpot did not answer for an hour. Start again once it does.",
}
"""What to do about an extraction that failed, by error code."""
FORMATS = {"csv": "Download CSV", "jsonl": "JSON lines"}

_ON_A_PAGE = 20
_DEALS_ON_A_PAGE = 25
_LAST_PAGE = 1_000_000
_LONGEST_FILTER = 255
_FAILURES = 20
_PROPERTIES = 20
"""Of a deal; all of them stand in the files."""


@bp.get("")
@guarded(Guard.ADMIN)
def show() -> ResponseReturnValue:
    """The organization's extractions, the latest first, and what became of them lately."""
    organization_id = current_caller().organization_id
    status = request.args.get("status", "")
    status = status if status in STATES else ""
    number = request.args.get("page", 1, type=int)
    number = number if 1 <= number <= _LAST_PAGE else 1
    found = scans_status.list_scans(
        organization_id, status=status or None, page=number, page_size=_ON_A_PAGE
    )
    chosen: dict[str, Any] = {"status": status} if status else {}
    has_more = number * _ON_A_PAGE < found.total
    return render_template(
        "console/extractions.html",
        scans=found.scans,
        total=found.total,
        status=status,
        states=STATES,
        lately=statistics.count_up(organization_id, "30d"),
        next_url=url_for(".show", **chosen, page=number + 1) if has_more else None,
        first_url=url_for(".show", **chosen) if number > 1 else None,
    )


@bp.route("/new", methods=["GET", "POST"])
@guarded(Guard.ADMIN)
def start() -> ResponseReturnValue:
    """Show the form, with the choices of an earlier extraction if one is named, or start one."""
    if request.method == "GET":
        return _show_form(StartForm(data=_first_choices()), 200)
    form = StartForm()
    refusal = _begin(form) if form.validate() else 400
    if refusal:
        return _show_form(form, refusal)
    return redirect(url_for(".show_scan", scan_id=form.name.data), 303)


@bp.get("/<scan_id>")
@guarded(Guard.ADMIN)
def show_scan(scan_id: str) -> ResponseReturnValue:
    """How far an extraction has got; once it has completed, the deals that it brought."""
    scan = _find(scan_id)
    return render_template(
        "console/extraction.html",
        **_about(scan),
        config=scan.config,
        most_properties=_PROPERTIES,
        formats=FORMATS,
        **(_browse(scan) if scan.status == "completed" else {}),
    )


@bp.get("/<scan_id>/events")
@guarded(Guard.ADMIN)
def watch(scan_id: str) -> Response:
    """The page's progress anew whenever there is some, and that it has ended."""
    scan = _find(scan_id)
    states = progress_stream.watch(current_caller().organization_id, scan.scan_id)
    return stream_events(_event(each) if each else None for each in states)


@bp.post("/<scan_id>/cancel")
@guarded(Guard.ADMIN)
def cancel(scan_id: str) -> ResponseReturnValue:
    """End an extraction."""
    scan = _find(scan_id)
    try:
        commands.cancel_scan(current_caller().organization_id, scan.scan_id)
    except InvalidCancellationError:
        flash("It had ended already.")
    else:
        flash("Cancelled. Nothing more is read, and the token is erased.")
    return redirect(url_for(".show_scan", scan_id=scan_id), 303)


@bp.get("/<scan_id>/download")
@guarded(Guard.ADMIN)
def download(scan_id: str) -> Response:
    """All deals of a completed extraction as a file."""
    name = request.args.get("format", "")
    if name not in FORMATS:
        raise NotFoundError
    scan = _find(scan_id)
    allowance = ResultsAllowance(current_caller().organization_id)
    allowance.check()
    scan = results.get_completed(current_caller().organization_id, scan.scan_id)
    return stream_response(
        allowance.pace(export.export(scan, name)),
        content_type=export.FORMATS[name],
        headers={"Content-Disposition": f'attachment; filename="{scan_id}.{name}"'},
    )


def _find(scan_id: str) -> ScanState:
    """The caller's extraction of this name.

    Raises:
        ScanNotFoundError: they have none, or it could not be called so.
    """
    is_name = SCAN_ID.fullmatch(scan_id)
    scan = scans_status.find_scan(current_caller().organization_id, scan_id) if is_name else None
    if scan is None:
        raise ScanNotFoundError
    return scan


def _first_choices() -> dict[str, Any]:
    like = request.args.get("like")
    if not like:
        return usual_choices()
    scan = _find(like)
    return choices_of(scan.scan_id, scan.config)


def _begin(form: StartForm) -> int | None:
    """Start what the form asks for; else the status of a refusal, which the form then explains."""
    organization_id, name = current_caller().organization_id, form.name.data
    found = scans_status.find_scan(organization_id, name)
    if found and found.has_ended and not form.replace.data:
        form.is_taken = True
        form.name.errors = ["There is one of this name already. Take another name, or replace it."]
        return ConflictError.status
    try:
        commands.start_scan(organization_id, name, form.token.data, form.config)
    except ScanInProgressError as error:
        form.name.errors = ["One of this name is at work. Take another name, or cancel it first."]
        return error.status
    except TooManyScansError as error:
        form.form_errors.append(
            f"{commands.MOST_AT_ONCE} extractions have not ended yet, and more cannot be at once."
            " Wait for one of them, or cancel one."
        )
        return error.status
    except UnavailableError as error:
        form.form_errors.append(
            "The token cannot be kept safely, so it was not kept at all: whoever runs this service"
            " has to set ENCRYPTION_KEYS first."
        )
        return error.status
    return None


def _show_form(form: StartForm, status: int) -> ResponseReturnValue:
    known = pipelines.find_pipelines(current_caller().portal_id, DEALS.name) or ()
    return render_template("console/extraction_start.html", form=form, pipelines=known), status


def _about(scan: ScanState) -> dict[str, Any]:
    """What the progress of an extraction is written from."""
    return {"scan": scan, "state": STATES[scan.status], "advice": ADVICE.get(scan.error_code or "")}


def _event(scan: ScanState) -> Event:
    part = render_template("console/extraction_progress.html", **_about(scan)).encode()
    return Event("end", part, scan.job_id) if scan.has_ended else Event("progress", part)


def _browse(scan: ScanState) -> dict[str, Any]:
    """A page of the deals that the address filters; they count as results that were read."""
    asked = {name: request.args.get(name, "")[:_LONGEST_FILTER] for name in FILTERS}
    chosen: dict[str, Any] = {
        name: value for name, value in asked.items() if value and is_storable(value)
    }
    allowance = ResultsAllowance(current_caller().organization_id)
    allowance.check()
    page = results.read_page(
        scan, chosen, page_size=_DEALS_ON_A_PAGE, cursor=request.args.get("cursor")
    )
    allowance.count(sum(map(len, page.deals)))
    here = url_for(".show_scan", scan_id=scan.scan_id, **chosen)
    return {
        "deals": [orjson.loads(each) for each in page.deals],
        "labels": results.find_labels(scan),
        "failures": results.list_failures(scan, _FAILURES) if scan.failed_items else (),
        "chosen": chosen,
        "total": page.total,
        "next_url": page.next_cursor
        and url_for(".show_scan", scan_id=scan.scan_id, **chosen, cursor=page.next_cursor),
        "first_url": here if request.args.get("cursor") else None,
    }
