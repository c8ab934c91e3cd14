"""Write what was read, how far, and what became of a scan, each in one transaction.

Every write is fenced: a job whose scan was cancelled, or went on elsewhere because the job was
taken for dead, writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from crm import jobs
from crm.db import transaction
from crm.models import Scan, ScanRange
from crm.models.scans import COMPLETED_SCAN, FAILED_SCAN, RUNNING_SCAN, UNFINISHED
from crm.queue import enqueue_once
from crm.scans.commands import TASK, ScanConfig
from crm.scans.ranges import Bounds

_COLUMNS = {
    "deal_id": "bigint",
    "deal_name": "text",
    "amount": "double precision",
    "currency": "text",
    "deal_stage": "text",
    "deal_stage_label": "text",
    "pipeline_id": "text",
    "pipeline_label": "text",
    "close_date": "timestamptz",
    "deal_created_at": "timestamptz",
    "deal_updated_at": "timestamptz",
    "owner_id": "text",
    "owner_email": "text",
    "deal_type": "text",
    "is_archived": "boolean",
    "deal_url": "text",
    "properties": "jsonb",
    "associations": "jsonb",
}

# A deal that comes again, as where two ranges meet, stays as it was first.
_STORE_DEALS = text(f"""
    WITH new AS (
        INSERT INTO scan_deals (scan_id, {", ".join(_COLUMNS)})
        SELECT :id, {", ".join(_COLUMNS)} FROM json_to_recordset(CAST(:deals AS json))
            AS given({", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())})
        ON CONFLICT DO NOTHING RETURNING is_archived, properties, associations
    )
    SELECT count(*) AS processed,
        count(*) FILTER (WHERE is_archived) AS archived,
        count(*) FILTER (WHERE jsonb_path_exists(associations, '$.*[*]')) AS with_associations,
        coalesce(sum(octet_length(properties::text) + octet_length(associations::text)), 0) AS size
    FROM new
""")  # noqa: S608 - the columns from above

_STORE_FAILURES = text("""
    WITH new AS (
        INSERT INTO scan_failures (scan_id, deal_id, reason)
        SELECT :id, key, value FROM json_each_text(CAST(:failures AS json))
        ON CONFLICT DO NOTHING RETURNING deal_id
    )
    SELECT count(*) FROM new
""")

_STORE_RANGES = text("""
    INSERT INTO scan_ranges (scan_id, number, is_archived, after, until, is_done)
    SELECT :id, given.* FROM json_to_recordset(CAST(:ranges AS json)) AS given(
        number integer, is_archived boolean, after text, until bigint, is_done boolean)
    ON CONFLICT (scan_id, number) DO UPDATE SET
        after = excluded.after, until = excluded.until, is_done = excluded.is_done
""")


class LostLeaseError(Exception):
    """The scan was cancelled, or another job goes on with it."""


@dataclass(frozen=True)
class Hold:
    """A scan that a job is working on, as it was when the job took it over."""

    id: int
    takeover: int
    config: ScanConfig
    token: bytes = field(repr=False)
    """Encrypted."""
    hub_id: int | None
    labels: Mapping[str, Any] | None
    last_deal_id: int
    has_one_reader: bool


def take_over(row_id: int) -> Hold | None:
    """Be the one who works on a scan; None where there is nothing to do any more."""
    with transaction() as session:
        row = session.execute(
            update(Scan)
            .where(Scan.id == row_id, Scan.status.in_(UNFINISHED))
            .values(
                status=RUNNING_SCAN,
                takeovers=Scan.takeovers + 1,
                started_at=func.coalesce(Scan.started_at, func.clock_timestamp()),
                updated_at=func.clock_timestamp(),
            )
            .returning(
                *(Scan.takeovers, Scan.config, Scan.token, Scan.hub_id, Scan.labels),
                *(Scan.last_deal_id, Scan.has_one_reader),
            )
        ).one_or_none()
    if row is None:
        return None
    return Hold(
        id=row_id,
        takeover=row.takeovers,
        config=ScanConfig.from_json(row.config),
        token=bytes(row.token),
        hub_id=row.hub_id,
        labels=row.labels,
        last_deal_id=row.last_deal_id or 0,
        has_one_reader=row.has_one_reader,
    )


def check(hold: Hold) -> None:
    """See whether the scan is still ours.

    Raises:
        LostLeaseError: it is not.
    """
    with transaction() as session:
        _fence(session, hold)


def change(hold: Hold, **values: Any) -> None:
    """Keep what was found out about a scan; raises as ``check`` does."""
    with transaction() as session:
        _fence(session, hold)
        session.execute(update(Scan).where(Scan.id == hold.id).values(**values))


def list_ranges(hold: Hold) -> list[Bounds]:
    """The ranges that are kept, in the order of their numbers."""
    columns = (ScanRange.number, ScanRange.is_archived, ScanRange.after, ScanRange.until)
    with transaction() as session:
        rows = session.execute(
            select(*columns, ScanRange.is_done)
            .where(ScanRange.scan_id == hold.id)
            .order_by(ScanRange.number)
        )
        return [Bounds(*row) for row in rows]


def forget_ranges(hold: Hold) -> None:
    """Have one reader go through everything from the beginning; raises as ``check`` does."""
    with transaction() as session:
        _fence(session, hold)
        session.execute(delete(ScanRange).where(ScanRange.scan_id == hold.id))
        session.execute(update(Scan).where(Scan.id == hold.id).values(has_one_reader=True))


def store(
    hold: Hold,
    deals: Sequence[Mapping[str, Any]],
    failures: Mapping[str, str],
    ranges: Sequence[Bounds],
) -> None:
    """Store deals, and how far the ranges were read by them.

    Args:
        hold: of the scan.
        deals: rows as ``make_row`` makes them; those that are stored already are left out.
        failures: what cannot be stored, by its id: why.
        ranges: those that changed.

    Raises:
        LostLeaseError: nothing was stored.
    """
    with transaction() as session:
        _fence(session, hold)
        keys = {"id": hold.id}
        new = session.execute(_STORE_DEALS, {**keys, "deals": orjson.dumps(deals).decode()}).one()
        failed = 0
        if failures:
            given = {**keys, "failures": orjson.dumps(failures).decode()}
            failed = session.scalar(_STORE_FAILURES, given) or 0
        given = {**keys, "ranges": orjson.dumps([asdict(each) for each in ranges]).decode()}
        session.execute(_STORE_RANGES, given)
        processed, failed_items = Scan.processed_items + new.processed, Scan.failed_items + failed
        session.execute(
            update(Scan)
            .where(Scan.id == hold.id)
            .values(
                processed_items=processed,
                failed_items=failed_items,
                archived_deals=Scan.archived_deals + new.archived,
                with_associations=Scan.with_associations + new.with_associations,
                data_size=Scan.data_size + int(new.size),
                # HubSpot's search counts no archived deals, nor those created meanwhile.
                total_items=func.greatest(
                    Scan.total_items + new.archived, processed + failed_items
                ),
                updated_at=func.clock_timestamp(),
                **_NO_FAILURE,
            )
        )


def complete(hold: Hold) -> None:
    """Note that everything is stored; raises as ``check`` does."""
    with transaction() as session:
        _fence(session, hold)
        session.execute(delete(ScanRange).where(ScanRange.scan_id == hold.id))
        _end(
            session,
            hold,
            status=COMPLETED_SCAN,
            # What was archived or merged away before it was read is no part of it.
            total_items=Scan.processed_items + Scan.failed_items,
            **_NO_FAILURE,
        )


def fail(hold: Hold, code: str, message: str) -> None:
    """End a scan that cannot go on; what it has stored stays. Raises as ``check`` does."""
    with transaction() as session:
        _fence(session, hold)
        _end(session, hold, status=FAILED_SCAN, error_code=code, error_message=message)


def retry_later(
    hold: Hold, code: str, message: str, *, pause: float = 0, longest: timedelta
) -> datetime | None:
    """Have a scan gone on with after a pause, which doubles, unless nothing has helped for long.

    Args:
        hold: of the scan.
        code: of what keeps it from going on.
        message: the same for people.
        pause: seconds that somebody asked for.
        longest: without any progress, after which the scan fails.

    Returns:
        When it goes on; None where it has failed.

    Raises:
        LostLeaseError: it is not ours.
    """
    now = func.clock_timestamp()
    with transaction() as session:
        _fence(session, hold)
        failures, is_over = session.execute(
            update(Scan)
            .where(Scan.id == hold.id)
            .values(
                failures=Scan.failures + 1,
                failing_since=func.coalesce(Scan.failing_since, now),
                error_code=code,
                error_message=message,
                updated_at=now,
            )
            .returning(Scan.failures, Scan.failing_since < now - longest)
        ).one()
        if is_over:
            _end(session, hold, status=FAILED_SCAN)
            return None
        at = session.scalar(select(now + jobs.back_off(failures, pause)))
        enqueue_once(TASK, hold.id, at=at)
        return at


_NO_FAILURE: Mapping[str, Any] = {
    "failures": 0,
    "failing_since": None,
    "error_code": None,
    "error_message": None,
}


def _fence(session: Session, hold: Hold) -> None:
    found = session.scalar(
        select(Scan.id)
        .where(Scan.id == hold.id, Scan.takeovers == hold.takeover, Scan.status == RUNNING_SCAN)
        .with_for_update(key_share=True)
    )
    if found is None:
        raise LostLeaseError


def _end(session: Session, hold: Hold, **values: Any) -> None:
    now = func.clock_timestamp()
    session.execute(
        update(Scan)
        .where(Scan.id == hold.id)
        .values(token=None, completed_at=now, updated_at=now, **values)
    )
