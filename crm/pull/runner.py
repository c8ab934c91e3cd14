"""Bring the mirror to what HubSpot has, without waiting for its webhooks.

- ``backfill`` lists everything and applies it.
- ``incremental`` searches for what was modified since the last time, and reads that.
- ``reconcile`` lists everything with nothing but its time of modification, reads what is not so
  in the mirror, and finds what HubSpot has no longer.

Each is a run over one object type after another, in the order in which associations need both
ends. Jobs do a run bit by bit; a command does it in one go; if one is killed, the next continues
from the cursor, and what was done twice changes nothing.
"""

import math
import time
from collections.abc import Collection, Generator, Iterator
from datetime import datetime

import structlog
from sqlalchemy import func, select

from crm import jobs
from crm.db import transaction
from crm.errors import ConfigError, ConflictError
from crm.hubspot import search
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError, HubSpotScopeError
from crm.models import BACKFILL, INCREMENTAL, RECONCILE, Record, SyncRun
from crm.object_types import OBJECT_TYPES, ObjectType
from crm.portals import portals
from crm.portals.rate_budget import BACKFILL as BACKFILL_LANE
from crm.portals.rate_budget import SYNC
from crm.pull import runs
from crm.pull.backfill import backfill
from crm.pull.incremental import search_changes
from crm.pull.reconcile import reconcile

log = structlog.get_logger(__name__)

TASK = "sync"
KINDS = (BACKFILL, INCREMENTAL, RECONCILE)
TYPES = tuple(OBJECT_TYPES)

_TAKE_OVER = 15.0
"""Seconds in which a worker's job ends, and a command takes over from it."""


def sweep() -> None:
    """Backfill portals that are set up and never were; continue what was interrupted."""
    for portal_id in portals.list_connected_portal_ids():
        if not portals.is_set_up(portal_id):
            continue
        backfilled = runs.list_backfilled(portal_id)
        lacking = [each for each in OBJECT_TYPES.values() if each not in backfilled]
        with transaction() as session:
            runs.begin(session, portal_id, BACKFILL, lacking)
        for kind in KINDS:
            _enqueue_unfinished(portal_id, kind)


def begin_for_new_portal(portal_id: int) -> None:
    """Have a portal that was just connected taken in, and compared where it was mirrored before."""
    backfilled = runs.list_backfilled(portal_id)
    lacking = [each for each in OBJECT_TYPES.values() if each not in backfilled]
    with transaction() as session:
        runs.begin(session, portal_id, BACKFILL, lacking)
        runs.begin(session, portal_id, RECONCILE, backfilled)
    for kind in (BACKFILL, RECONCILE):
        _enqueue_unfinished(portal_id, kind)


def begin_for_all_portals(kind: str) -> None:
    """Have every portal searched or reconciled, as far as it was backfilled."""
    for portal_id in portals.list_connected_portal_ids():
        if runs.list_backfilled(portal_id):
            begin(portal_id, kind)


def begin(portal_id: int, kind: str) -> None:
    """Have a portal searched or reconciled, as far as it was backfilled.

    A run that is at work goes on instead.

    Raises:
        ConflictError: the portal is not connected, or nothing of it was backfilled yet.
    """
    if portal_id not in portals.list_connected_portal_ids():
        raise ConflictError("No HubSpot portal is connected")
    backfilled = runs.list_backfilled(portal_id)
    if not backfilled:
        raise ConflictError("HubSpot's records are still being taken in for the first time")
    with transaction() as session:
        runs.begin(session, portal_id, kind, backfilled)
    _enqueue_unfinished(portal_id, kind)


def work(key: str) -> None:
    """Continue a portal's runs of a kind for some seconds; ``key`` is kind:portal id."""
    kind, _, portal_id = key.partition(":")
    try:
        for _ in continue_runs(int(portal_id), kind, until=jobs.deadline()):
            pass
    except (runs.AtWorkError, HubSpotError, ConfigError) as error:
        # The next sweep comes back to it.
        log.warning("sync interrupted", kind=kind, reason=error.message)
    else:
        _enqueue_unfinished(int(portal_id), kind)


def follow(kind: str, names: Collection[str] = ()) -> Generator[SyncRun, None, None]:
    """Do a kind of run over types, all without names, for every connected portal, in one go.

    What is unfinished goes on where it was, the unfinished runs of other types included.

    Yields:
        The run that is at work, after each step; the last time it is completed.

    Raises:
        AtWorkError: another process keeps its lock.
        HubSpotError: HubSpot cannot be reached or refuses; done again, it goes on.
        ConfigError: no portal is connected; or see ``portals.set_up``.
    """
    chosen = [each for name, each in OBJECT_TYPES.items() if not names or name in names]
    connected = portals.list_connected_portal_ids()
    if not connected:
        raise ConfigError("No HubSpot portal is connected; ask `flask hubspot doctor`")
    for portal_id in connected:
        with transaction() as session:
            runs.begin(session, portal_id, kind, chosen)
        yield from continue_runs(portal_id, kind, patience=_TAKE_OVER)


def list_status() -> list[SyncRun]:
    """The latest run of each kind over each type of every connected portal."""
    return [
        run
        for portal_id in portals.list_connected_portal_ids()
        for run in runs.list_latest(portal_id)
    ]


def continue_runs(
    portal_id: int, kind: str, *, until: float = math.inf, patience: float = 0
) -> Iterator[SyncRun]:
    """Continue the unfinished runs of a kind, until the end or a time by ``time.monotonic``.

    A type that HubSpot does not let us see does not hold up the others.

    Yields and raises what ``follow`` does.
    """
    refused = None
    with runs.at_work(portal_id, kind, patience):
        for run in runs.list_unfinished(portal_id, kind):
            try:
                yield from _continue_run(run, until)
            except (HubSpotError, ConfigError) as error:
                runs.note_failure(run, error)
                if not isinstance(error, HubSpotScopeError):
                    raise
                refused = error
            if time.monotonic() > until:
                break
    if refused:
        raise refused


def _continue_run(run: SyncRun, until: float) -> Iterator[SyncRun]:
    lane = SYNC if run.kind == INCREMENTAL else BACKFILL_LANE
    client = portals.connect(run.portal_id, lane=lane)
    portals.ensure_set_up(client, run.portal_id)
    object_type = OBJECT_TYPES[run.object_type]
    if not run.cursor:
        run = _start(client, run, object_type)
    steps = {BACKFILL: backfill, INCREMENTAL: search_changes, RECONCILE: reconcile}[run.kind]
    for step in steps(client, run, object_type, until):
        cursor = run.cursor if step.cursor is None else step.cursor
        run = runs.note_progress(run, cursor, step.processed, step.differences)
        if step.cursor is None:
            run = runs.complete(run)
            _report(run)
        yield run


def _start(client: HubSpotClient, run: SyncRun, object_type: ObjectType) -> SyncRun:
    if run.kind == BACKFILL:
        extent = search.measure(client, object_type)
        return runs.start(run, extent.total, extent.newest)
    newest, total = _extent_here(run)
    return runs.start(run, total if run.kind == RECONCILE else None, newest)


def _extent_here(run: SyncRun) -> tuple[datetime | None, int]:
    """When a record of the mirror was last modified by HubSpot's clock, and how many there are."""
    mine = (Record.portal_id == run.portal_id, Record.object_type == run.object_type)
    newest = select(func.max(Record.hs_modified_at)).where(*mine)
    total = (
        select(func.count())
        .select_from(Record)
        .where(*mine, Record.archived_at.is_(None), Record.hs_object_id.is_not(None))
    )
    with transaction() as session:
        return session.scalar(newest), session.scalar(total) or 0


def _enqueue_unfinished(portal_id: int, kind: str) -> None:
    if runs.list_unfinished(portal_id, kind):
        jobs.hand_over(TASK, f"{kind}:{portal_id}")


def _report(run: SyncRun) -> None:
    if run.kind != INCREMENTAL or run.differences:
        log.info(
            "sync completed",
            portal_id=run.portal_id,
            kind=run.kind,
            object_type=run.object_type,
            records=run.processed,
            differences=run.differences,
        )
