"""Read a completed scan's deals: in pages by number or by cursor, or all of them in a row.

A scan's deals stand in the order of their ids and do not change once it has completed. So a page
goes on after the last id of the one before, however far down that is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from crm.cursors import cursor_of, position_of
from crm.db import db, read
from crm.errors import ScanNotFoundError, ScanNotReadyError
from crm.models.scans import COMPLETED_SCAN
from crm.scans.status import TIME, ScanState, find_scan

MOST = 500
"""Deals on a page."""
FILTERS: Mapping[str, str] = {
    "pipeline": "pipeline_id",
    "dealstage": "deal_stage",
    "owner_id": "owner_id",
}
"""Wire name to column."""
_PIECE = 500
"""Deals that are read at once when all are."""

_TIMES = ("close_date", "deal_created_at", "deal_updated_at")
COLUMNS = (
    *("deal_id", "deal_name", "amount", "currency"),
    *("deal_stage", "deal_stage_label", "pipeline_id", "pipeline_label"),
    *(*_TIMES, "owner_id", "owner_email", "deal_type", "is_archived", "deal_url"),
)
"""Of a deal beside its properties and associations."""


def _sql_of(column: str) -> str:
    if column == "deal_id":
        return "deal_id::text"
    return f"to_char({column} AT TIME ZONE 'UTC', {TIME})" if column in _TIMES else column


_PAIRS = ", ".join(f"'{each}', {_sql_of(each)}" for each in COLUMNS)
_NUMBER = "(:before + row_number() OVER (ORDER BY deal_id))::text"
_WHERE = " AND ".join(
    [
        "scan_id = :row_id",
        *(f"(CAST(:{name} AS text) IS NULL OR {each} = :{name})" for name, each in FILTERS.items()),
    ]
)
# The plan is made before the limit is known; the number inside tells Postgres that it is small.
_PAGE = f"""
    SELECT deal_id, json_build_object(
        'id', 'result_' || lpad({_NUMBER}, greatest(3, length({_NUMBER})), '0'),
        {_PAIRS}, 'properties', properties, 'associations', associations)::text
    FROM (SELECT * FROM scan_deals WHERE {_WHERE} AND deal_id > :after
        ORDER BY scan_id, deal_id LIMIT {MOST + 1}) AS deals
    ORDER BY deal_id LIMIT :more
"""  # noqa: S608 - our own names
_LABELS = text("SELECT labels FROM scans WHERE id = :row_id")
_FAILURES = text(
    "SELECT deal_id, reason FROM scan_failures WHERE scan_id = :row_id ORDER BY deal_id LIMIT :most"
)
_COUNT = text(f"SELECT count(*) FROM scan_deals WHERE {_WHERE}")  # noqa: S608 - our own names
_LAST_BEFORE = text(
    f"SELECT deal_id FROM scan_deals WHERE {_WHERE}"  # noqa: S608 - our own names
    " ORDER BY scan_id, deal_id LIMIT 1 OFFSET :skipped"
)


@dataclass(frozen=True)
class ResultPage:
    """Deals as JSON texts, and where they stand among all that the filters let through."""

    deals: Sequence[str]
    number: int
    """Of the page, from 1 on."""
    total: int
    next_cursor: str | None


def get_completed(organization_id: int, scan_id: str) -> ScanState:
    """A scan whose results can be read.

    Raises:
        ScanNotFoundError: the organization has none of this name.
        ScanNotReadyError: it has not completed.
    """
    scan = find_scan(organization_id, scan_id)
    if scan is None:
        raise ScanNotFoundError
    if scan.status != COMPLETED_SCAN:
        raise ScanNotReadyError(details=_progress_of(scan))
    return scan


def read_page(
    scan: ScanState,
    filters: Mapping[str, str],
    *,
    page: int = 1,
    page_size: int = 50,
    cursor: str | None = None,
) -> ResultPage:
    """A page of a completed scan's deals.

    Args:
        scan: as ``get_completed`` gave it.
        filters: names of ``FILTERS`` to the value that the deals have.
        page: from 1 on; one beyond the last is empty.
        page_size: at most ``MOST``.
        cursor: where the page before ended, instead of a number.

    Raises:
        InvalidInputError: a cursor that is none of ours, or of other results.
    """
    listing = f"{scan.job_id} {sorted(filters.items())}"
    wanted = {"row_id": scan.row_id, **{name: filters.get(name) for name in FILTERS}}
    if cursor is not None:
        # With the total, which need not be counted again: it does not change.
        after, before, total = position_of(cursor, listing)
    else:
        total = scan.processed_items if not filters else db.session.scalar(_COUNT, wanted) or 0
        before = (page - 1) * page_size
        if before >= total:
            return ResultPage([], page, total, None)
        after = 0
        if before:
            after = db.session.scalar(_LAST_BEFORE, {**wanted, "skipped": before - 1})
    rows = read(_PAGE, {**wanted, "after": after, "before": before, "more": page_size + 1})
    deals = rows[:page_size]
    next_cursor = None
    if len(rows) > page_size:
        next_cursor = cursor_of(listing, deals[-1][0], before + page_size, total)
    return ResultPage([item for _, item in deals], before // page_size + 1, total, next_cursor)


def find_labels(scan: ScanState) -> Mapping[str, Any]:
    """What the portal calls its pipelines, stages and owners, as the scan found them.

    Returns:
        ``{"pipelines": {id: {"label", "stages": {id: label}}}, "owners": {id: e-mail}}`` and more;
        empty before HubSpot has told.
    """
    return db.session.scalar(_LABELS, {"row_id": scan.row_id}) or {}


def list_failures(scan: ScanState, most: int) -> Sequence[tuple[str, str]]:
    """Deals that could not be stored: of each the id that HubSpot gave, and the reason."""
    rows = db.session.execute(_FAILURES, {"row_id": scan.row_id, "most": most})
    return [(deal_id, reason) for deal_id, reason in rows]


def read_all(scan: ScanState) -> Iterator[Sequence[str]]:
    """All deals of a completed scan as JSON texts, some hundreds at a time.

    In statements of their own, not by one cursor of Postgres's: a caller who reads slowly would
    keep its transaction open, and with it everything that was deleted meanwhile.

    Raises:
        ScanNotReadyError: the scan was purged or started again meanwhile.
    """
    after = given = 0
    nothing = dict.fromkeys(FILTERS)
    while True:
        rows = read(
            _PAGE,
            {"row_id": scan.row_id, **nothing, "after": after, "before": given, "more": _PIECE},
        )
        if not rows:
            break
        yield [item for _, item in rows]
        given += len(rows)
        after = rows[-1][0]
    if given != scan.processed_items:
        raise ScanNotReadyError


def _progress_of(scan: ScanState) -> dict[str, object]:
    return {
        "scanId": scan.scan_id,
        "currentStatus": scan.status,
        "progress": scan.progress,
        "counts": {
            "total_items": scan.total_items or 0,
            "processed_items": scan.processed_items,
            "failed_items": scan.failed_items,
        },
    }
