"""Keep passes over one object type each, with a cursor from which an interrupted one continues.

A run is unfinished until it is completed, whether it is at work, waits for its turn, was killed,
or failed: the next process that works on its kind continues it. Who works is decided by a lock
that Postgres holds for a connection, so it ends with its process, however that dies.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from crm.db import db, transaction
from crm.errors import ConflictError, CRMError
from crm.models import BACKFILL, COMPLETED, FAILED, INCREMENTAL, RUNNING, SyncRun
from crm.object_types import OBJECT_TYPES, ObjectType

_PATIENCE = 0.2


class AtWorkError(ConflictError):
    """Another process is at this already; see ``flask sync status``."""


_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:lock, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:lock, 0))")

_BEGIN = text("""
    INSERT INTO sync_runs (portal_id, kind, object_type)
    SELECT :portal_id, :kind, name FROM unnest(CAST(:names AS text[])) AS name
    WHERE NOT EXISTS (SELECT FROM sync_runs WHERE portal_id = :portal_id AND kind = :kind
        AND object_type = name AND state <> 'completed')
    ON CONFLICT DO NOTHING
""")

_START = text("""
    UPDATE sync_runs SET total = :total, started_at = clock_timestamp(),
        updated_at = clock_timestamp(), hubspot_time = greatest(:hubspot_time, (
            SELECT max(hubspot_time + (clock_timestamp() - started_at)) FROM sync_runs AS earlier
            WHERE earlier.portal_id = sync_runs.portal_id AND earlier.state = 'completed'
                AND earlier.object_type = sync_runs.object_type))
    WHERE id = :id
""")

_FORGET = text("""
    DELETE FROM sync_runs WHERE state = 'completed' AND completed_at < now() - CASE kind
        WHEN 'incremental' THEN interval '1 day' ELSE interval '90 days' END
    AND EXISTS (SELECT FROM sync_runs AS later
        WHERE later.portal_id = sync_runs.portal_id AND later.kind = sync_runs.kind
            AND later.object_type = sync_runs.object_type AND later.state = 'completed'
            AND later.id > sync_runs.id)
""")


@contextmanager
def at_work(portal_id: int, kind: str, patience: float = _PATIENCE) -> Iterator[None]:
    """Be the only one who works on a portal's runs of a kind.

    Raises:
        AtWorkError: somebody else is, and still is after so many seconds.
    """
    until = time.monotonic() + patience
    keys = {"lock": f"sync:{kind}:{portal_id}"}
    engine = db.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        while not connection.scalar(_LOCK, keys):
            if time.monotonic() > until:
                raise AtWorkError
            time.sleep(0.1)
        try:
            yield
        finally:
            try:
                connection.execute(_UNLOCK, keys)
            except DBAPIError:
                # The connection was lost, and the lock with it; nobody is to have this one again.
                connection.invalidate()


def begin(
    session: Session, portal_id: int, kind: str, object_types: Collection[ObjectType]
) -> None:
    """Have runs over these types; those that are unfinished go on instead."""
    names = [each.name for each in object_types]
    session.execute(_BEGIN, {"portal_id": portal_id, "kind": kind, "names": names})


def list_unfinished(portal_id: int, kind: str) -> list[SyncRun]:
    """In the order of the types."""
    order = list(OBJECT_TYPES)
    with transaction() as session:
        found = session.scalars(
            select(SyncRun).where(
                SyncRun.portal_id == portal_id, SyncRun.kind == kind, SyncRun.state != COMPLETED
            )
        ).all()
        for run in found:
            session.expunge(run)
    return sorted(found, key=lambda run: order.index(run.object_type))


def list_latest(portal_id: int) -> list[SyncRun]:
    """The latest run of each kind over each type."""
    latest = (
        select(func.max(SyncRun.id))
        .where(SyncRun.portal_id == portal_id)
        .group_by(SyncRun.kind, SyncRun.object_type)
    )
    order = list(OBJECT_TYPES)
    with transaction() as session:
        found = session.scalars(select(SyncRun).where(SyncRun.id.in_(latest))).all()
        for run in found:
            session.expunge(run)
    return sorted(found, key=lambda run: (run.kind, order.index(run.object_type)))


def list_backfilled(portal_id: int) -> list[ObjectType]:
    """The types of which everything has been taken in once."""
    statement = select(SyncRun.object_type).where(
        SyncRun.portal_id == portal_id, SyncRun.kind == BACKFILL, SyncRun.state == COMPLETED
    )
    with transaction() as session:
        names = set(session.scalars(statement))
    return [each for name, each in OBJECT_TYPES.items() if name in names]


def find_covered_until(portal_id: int, object_type: str) -> datetime | None:
    """HubSpot's time before which every change to a type has been looked at."""
    statement = select(func.max(SyncRun.hubspot_time)).where(
        SyncRun.portal_id == portal_id,
        SyncRun.object_type == object_type,
        SyncRun.kind.in_((BACKFILL, INCREMENTAL)),
        SyncRun.state == COMPLETED,
    )
    with transaction() as session:
        until: datetime | None = session.scalar(statement)
    return until


def find_seconds_left(run: SyncRun) -> float | None:
    """How long an unfinished run will take if it goes on as it did; None where nobody can tell."""
    seconds = (run.updated_at - run.started_at).total_seconds()
    if run.state == COMPLETED or run.total is None or not run.processed or seconds <= 0:
        return None
    return max(run.total - run.processed, 0) * seconds / run.processed


def start(run: SyncRun, total: int | None, hubspot_time: datetime | None) -> SyncRun:
    """Note what is known when work on a run begins.

    Args:
        run: that begins.
        total: how many records there are to go through.
        hubspot_time: the latest that HubSpot was heard to say. Where an earlier run heard
            something, HubSpot's clock has gone on since as ours has, so it may be later.
    """
    keys = {"id": run.id, "total": total, "hubspot_time": hubspot_time}
    with transaction() as session:
        session.execute(_START, keys)
    return _read(run.id)


def note_progress(run: SyncRun, cursor: str, processed: int, differences: int) -> SyncRun:
    """Keep how far a run has got."""
    return _change(
        run,
        state=RUNNING,
        error=None,
        cursor=cursor,
        processed=SyncRun.processed + processed,
        differences=SyncRun.differences + differences,
    )


def complete(run: SyncRun) -> SyncRun:
    """Note that a run has reached the end."""
    return _change(run, state=COMPLETED, error=None, completed_at=func.clock_timestamp())


def note_failure(run: SyncRun, error: CRMError) -> None:
    """Note what keeps a run from going on: for the time being, or until somebody does something."""
    passes = getattr(error, "retryable", False)
    _change(run, state=RUNNING if passes else FAILED, error=error.message)


def forget_old() -> None:
    """Delete completed runs that nobody asks for any more; the latest of each kind stays."""
    with transaction() as session:
        session.execute(_FORGET)


def _change(run: SyncRun, **values: object) -> SyncRun:
    with transaction() as session:
        session.execute(
            update(SyncRun)
            .where(SyncRun.id == run.id)
            .values(updated_at=func.clock_timestamp(), **values)
        )
    return _read(run.id)


def _read(run_id: int) -> SyncRun:
    with transaction() as session:
        run = session.scalars(
            select(SyncRun).where(SyncRun.id == run_id).execution_options(populate_existing=True)
        ).one()
        session.expunge(run)
    return run
