"""Tell what has become of scans: state, progress and outcome, of one or as a list."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import orjson
from sqlalchemy import text

from crm.db import db, read
from crm.models.scans import CANCELLED_SCAN, COMPLETED_SCAN, FAILED_SCAN, RUNNING_SCAN, UNFINISHED

STATUSES = (*UNFINISHED, COMPLETED_SCAN, FAILED_SCAN, CANCELLED_SCAN)
SCAN_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
"""What a caller may call a scan."""

TIME = """'YYYY-MM-DD"T"HH24:MI:SS"Z"'"""
"""How ``to_char`` writes a time of UTC as all answers about scans do: in whole seconds."""

_COLUMNS = ", ".join(
    (
        *("id", "job_id", "scan_id", "status"),
        "coalesce(organization_label, organization_id::text)",
        *(
            f"to_char({each} AT TIME ZONE 'UTC', {TIME})"
            for each in ("created_at", "started_at", "completed_at", "updated_at")
        ),
        "updated_at::text",
        *("total_items", "processed_items", "failed_items"),
        *("archived_deals", "with_associations", "data_size"),
        "CAST(extract(epoch FROM coalesce(completed_at, clock_timestamp()) - started_at) AS float)",
        *("error_code", "error_message", "config::text"),
    )
)
_ONE = (
    f"SELECT {_COLUMNS} FROM scans"  # noqa: S608 - our own names
    " WHERE organization_id = :organization_id AND scan_id = :scan_id"
)
MINE = """organization_id = :organization_id
    AND (CAST(:label AS text) IS NULL
        OR coalesce(organization_label, organization_id::text) = :label)
"""
"""The condition of an organization's scans; with a label, of those that show it as their own."""
_LISTED = f"FROM scans WHERE {MINE} AND status = ANY(:statuses)"

_TIMES = ((3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True)
class ScanState:
    """A scan as it stands now; times as answers write them."""

    row_id: int
    job_id: str
    scan_id: str
    status: str
    organization_id: str
    """As it was given at the start."""
    created_at: str
    started_at: str | None
    completed_at: str | None
    """When it ended, however it did."""
    updated_at: str
    version: str
    """When it was updated, to the microsecond: another one after every change."""
    total_items: int | None
    processed_items: int
    failed_items: int
    archived_deals: int
    with_associations: int
    data_size: int
    """In bytes."""
    seconds: float | None
    """From its start to its end, or until now."""
    error_code: str | None
    error_message: str | None
    config_json: str

    @property
    def config(self) -> Mapping[str, Any]:
        """What it was asked to do, as ``ScanConfig`` writes it."""
        config: Mapping[str, Any] = orjson.loads(self.config_json)
        return config

    @property
    def has_ended(self) -> bool:
        """Whether nothing will be added any more."""
        return self.status not in UNFINISHED

    @property
    def looked_at(self) -> int:
        """How many deals were stored, or could not be."""
        return self.processed_items + self.failed_items

    @property
    def success_rate(self) -> str:
        """Of the deals looked at, those that are stored: ``99.75%``."""
        return percentage(self.processed_items, self.looked_at)

    @property
    def progress(self) -> str:
        """How much of it is done, as far as that is known: ``45%``."""
        return f"{self.looked_at * 100 // self.total_items if self.total_items else 0}%"

    @property
    def data_size_mb(self) -> float:
        """Millions of bytes."""
        return round(self.data_size / 1_000_000, 2)

    @property
    def duration_seconds(self) -> int | None:
        """How long it took; None before it has ended."""
        return round(self.seconds) if self.has_ended and self.seconds is not None else None

    @property
    def time_left(self) -> str | None:
        """How long it takes yet if it goes on as it did: ``3 minutes``; None if nobody can tell."""
        if self.status != RUNNING_SCAN or not self.total_items or not self.looked_at:
            return None
        left = max(self.total_items - self.looked_at, 0) * (self.seconds or 0) / self.looked_at
        return in_words(left)

    def batches(self, size: int) -> tuple[int, int]:
        """At which batch of this size it is, and how many there are as far as that is known."""
        return ceil(self.looked_at / size), ceil((self.total_items or 0) / size)


@dataclass(frozen=True)
class ScanPage:
    """A page of scans, and how many there are."""

    scans: Sequence[ScanState]
    total: int


def find_scan(organization_id: int, scan_id: str) -> ScanState | None:
    """A scan of an organization, by the name that its caller gave it."""
    rows = read(_ONE, {"organization_id": organization_id, "scan_id": scan_id})
    return ScanState(*rows[0]) if rows else None


def list_scans(
    organization_id: int,
    *,
    label: str | None = None,
    status: str | None = None,
    page: int = 1,
    page_size: int = 20,
    sort: str = "-created_at",
) -> ScanPage:
    """A page of an organization's scans.

    Args:
        organization_id: whose.
        label: only those whose starter called the organization so; None for all.
        status: one of ``STATUSES``; None for all.
        page: from 1 on; one beyond the last is empty.
        page_size: scans on a page.
        sort: ``created_at`` or ``completed_at``, or with ``-`` in front the latest first; what has
            not ended comes last.
    """
    statuses = [status] if status else [*STATUSES]
    parameters = {"organization_id": organization_id, "label": label, "statuses": statuses}
    total = db.session.scalar(text(f"SELECT count(*) {_LISTED}"), parameters) or 0
    skipped = (page - 1) * page_size
    if skipped >= total:
        return ScanPage([], total)
    direction = "DESC" if sort.startswith("-") else "ASC"
    order = {"created_at": "created_at", "completed_at": "completed_at"}[sort.removeprefix("-")]
    rows = db.session.execute(
        text(
            f"SELECT {_COLUMNS} {_LISTED} ORDER BY {order} {direction} NULLS LAST, id {direction}"
            " LIMIT :page_size OFFSET :skipped"
        ),
        {**parameters, "page_size": page_size, "skipped": skipped},
    )
    return ScanPage([ScanState(*row) for row in rows], total)


def percentage(part: int, whole: int) -> str:
    """``99.75%``; what is not whole never shows as 100, and of nothing it is ``0%``."""
    return f"{floor(part / whole * 10_000) / 100:.2f}%" if whole else "0%"


def in_words(seconds: float) -> str:
    """A time as people say it: ``1 minute``, ``3 hours``."""
    for length, name in _TIMES:
        if seconds >= length:
            count = round(seconds / length)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "1 second"
