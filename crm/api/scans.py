"""Deal extractions: all deals of a portal, pulled with a token that the caller brings."""

from typing import Any

import orjson
from flask import Response, request

from crm.accounts import users
from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, current_caller, guarded
from crm.api.schemas.inputs import saying
from crm.api.schemas.scan_answers import (
    CancelledSchema,
    ScanListSchema,
    ScanResultsSchema,
    ScanStatusSchema,
    StartedSchema,
    StatsSchema,
    listed_as,
    pagination_as,
    status_as,
)
from crm.api.schemas.scan_inputs import (
    INVALID,
    ExportQueryInput,
    ListQueryInput,
    ResultsQueryInput,
    ScanParser,
    StartInput,
    StatsQueryInput,
    check_path,
    config_of,
)
from crm.errors import ForbiddenError
from crm.scans import commands, export, progress_stream, results, statistics, status
from crm.scans.results import FILTERS
from crm.scans.status import ScanState
from crm.streams import Event, ResultsAllowance, stream_events, stream_response


class _Blueprint(APIBlueprint):
    ARGUMENTS_PARSER = ScanParser()


bp = _Blueprint(
    "scans",
    __name__,
    url_prefix="/api/v1",
    description="Deal extraction",
    in_open_access=True,
)
root = _Blueprint(
    "scans_at_root",
    __name__,
    description="Deal extraction, without a prefix",
    in_open_access=True,
)


@bp.post("/scan/start")
@guarded(Guard.ADMIN)
@bp.arguments(StartInput)
@bp.response(202, StartedSchema)
@bp.alt_response(409, "CONFLICT")
@bp.alt_response(413, "REQUEST_ENTITY_TOO_LARGE")
def start(given: dict[str, Any]) -> dict[str, str]:
    """Begin to pull all deals of the portal that the token opens.

    The token is held encrypted until the scan ends, and then erased. A scan of the same name that
    has ended gives way, with its results.
    """
    config = given["config"]
    job_id = commands.start_scan(
        current_caller().organization_id,
        config["scan_id"],
        config["auth"]["hubspot_access_token"],
        config_of(config),
        label=_own_name(config["organization_id"]),
    )
    return {
        "message": "HubSpot deal extraction started",
        "scan_id": config["scan_id"],
        "job_id": job_id,
        "estimated_duration": "5-10 minutes",
    }


@bp.get("/scan/status/<scan_id>")
@guarded(Guard.ADMIN)
@bp.response(200, ScanStatusSchema)
def get_status(scan_id: str) -> Response:
    """How far a scan has got, and what it brought; ``not_found`` for one that is not there."""
    check_path(scan_id, request.args)
    return _json(status_as(status.find_scan(current_caller().organization_id, scan_id)))


@bp.post("/scan/cancel/<scan_id>")
@guarded(Guard.ADMIN)
@bp.response(200, CancelledSchema)
@bp.alt_response(404, "NOT_FOUND")
def cancel(scan_id: str) -> dict[str, Any]:
    """End a scan; nothing is added to its results any more."""
    check_path(scan_id, request.args)
    cancelled = commands.cancel_scan(current_caller().organization_id, scan_id)
    return {
        "message": "Extraction cancelled successfully",
        "scan_id": scan_id,
        "items_processed": cancelled.items_processed,
        "cancelled_at": cancelled.cancelled_at,
    }


@bp.get("/scan/results/<scan_id>")
@guarded(Guard.ADMIN)
@bp.arguments(ResultsQueryInput(), location="query")
@bp.response(200, ScanResultsSchema)
@bp.alt_response(404, "NOT_FOUND")
def get_results(given: dict[str, Any], scan_id: str) -> Response:
    """A page of the deals of a completed scan, in the order of their ids.

    By number, or by the ``next_cursor`` of the page before, which is as fast far down as at the
    beginning.
    """
    check_path(scan_id, {})
    allowance = ResultsAllowance(current_caller().organization_id)
    allowance.check()
    scan = results.get_completed(current_caller().organization_id, scan_id)
    size = given["page_size"]
    with saying(INVALID):
        page = results.read_page(
            scan,
            {name: given[name] for name in FILTERS if name in given},
            page=given["page"] or 1,
            page_size=size,
            cursor=given["cursor"],
        )
    pagination = pagination_as(page=page.number, page_size=size, total=page.total)
    pagination["next_cursor"] = page.next_cursor
    head = {"scanId": scan.scan_id, "status": scan.status, "pagination": pagination}
    body = f'{orjson.dumps(head).decode()[:-1]},"deals":[{",".join(page.deals)}]}}'.encode()
    allowance.count(len(body))
    return Response(body, content_type="application/json", headers=allowance.headers())


@bp.get("/scan/results/<scan_id>/export")
@guarded(Guard.ADMIN)
@bp.arguments(ExportQueryInput(), location="query")
@bp.response(200, content_type="text/csv", description="A file, as CSV or as JSON lines")
@bp.alt_response(404, "NOT_FOUND")
def export_results(given: dict[str, str], scan_id: str) -> Response:
    """All deals of a completed scan as one file.

    It comes no faster than results may be read. In CSV, a text that a spreadsheet would take for a
    formula has an apostrophe in front.
    """
    check_path(scan_id, {})
    allowance = ResultsAllowance(current_caller().organization_id)
    allowance.check()
    scan = results.get_completed(current_caller().organization_id, scan_id)
    name = given["format"]
    return stream_response(
        allowance.pace(export.export(scan, name)),
        content_type=export.FORMATS[name],
        headers={
            "Content-Disposition": f'attachment; filename="{scan_id}.{name}"',
            **allowance.headers(),
        },
    )


@bp.get("/scan/events/<scan_id>")
@guarded(Guard.ADMIN)
@bp.response(200, content_type="text/event-stream", description="Server-sent events")
@bp.alt_response(204, success=True, description="The end was told already; come no more")
@bp.alt_response(404, "NOT_FOUND")
def watch(scan_id: str) -> Response:
    """Watch a scan run: ``progress`` whenever its status changes, and ``end`` with the last one.

    The data of each is what ``/scan/status`` answers. A stream lasts a minute at most; browsers
    come again by themselves.
    """
    check_path(scan_id, request.args)
    states = progress_stream.watch(current_caller().organization_id, scan_id)
    return stream_events(_event(each) if each else None for each in states)


@bp.get("/scan/list")
@guarded(Guard.ADMIN)
@bp.arguments(ListQueryInput(), location="query")
@bp.response(200, ScanListSchema)
def list_scans(given: dict[str, Any]) -> Response:
    """A page of the organization's scans."""
    page, size = given["page"], given["page_size"]
    found = status.list_scans(
        current_caller().organization_id,
        label=_label(given["organization_id"]),
        status=given["status"],
        page=page,
        page_size=size,
        sort="-" * (given["sort_order"] == "desc") + given["sort_by"],
    )
    return _json(
        {
            "pagination": pagination_as(page=page, page_size=size, total=found.total),
            "scans": [listed_as(each) for each in found.scans],
        }
    )


@bp.get("/stats")
@guarded(Guard.ADMIN)
@bp.arguments(StatsQueryInput(), location="query")
@bp.response(200, StatsSchema)
def get_stats(given: dict[str, Any]) -> Response:
    """What became of the organization's scans that were started within a period."""
    own, label = current_caller().organization_id, _label(given["organization_id"])
    return _json(statistics.count_up(own, given["period"], label=label))


root.add_url_rule("/stats", view_func=get_stats, methods=["GET"])


def _own_name(name: str | None) -> str | None:
    """What the caller calls their organization, which is the only one that they may name.

    Under open access nobody has one of their own, and any name is a label.
    """
    caller = current_caller()
    if not name:
        return None
    if not caller.is_open_access and not users.is_called(caller.organization_id, name):
        raise ForbiddenError("This is not your organization")
    return name


def _label(name: str | None) -> str | None:
    """The label by which scans are chosen; None for all of the caller's organization."""
    own_name = _own_name(name)
    return own_name if current_caller().is_open_access else None


def _event(scan: ScanState) -> Event:
    data = orjson.dumps(status_as(scan))
    return Event("end", data, scan.job_id) if scan.has_ended else Event("progress", data)


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), content_type="application/json")
