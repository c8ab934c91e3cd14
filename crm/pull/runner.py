"""Sync: the mirror is brought to what HubSpot has, without waiting to be told.

- **Backfill** lists everything and takes it in.
- **Incremental** searches for what was modified since the last time, and reads that.
- **Reconcile** lists everything with nothing but its time of modification, reads what is not so
  in the mirror, and finds what HubSpot has no longer.

Each is a run over one object type after another, in the order in which associations need both
ends. Jobs do a run bit by bit; a command does it in one go; whoever is killed, the next one goes
on from the cursor, and what was done twice changes nothing.
"""

import math
import time
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import structlog
from sqlalchemy import func, select

from crm import jobs
from crm.db import transaction
from crm.errors import ConfigError, ConflictError
from crm.hubspot import search
from crm.hubspot.answers import HubSpotRecord
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError, HubSpotScopeError
from crm.hubspot.lists import Selection, list_pages
from crm.models import BACKFILL, INCREMENTAL, RECONCILE, Record, SyncRun
from crm.object_types import OBJECT_TYPES, ObjectType
from crm.portals import portals
from crm.portals.property_schemas import list_mirrored
from crm.portals.rate_budget import BACKFILL as BACKFILL_LANE
from crm.portals.rate_budget import SYNC
from crm.pull import apply, associations, diff, runs
from crm.pull.prefetch import Batch, read_ahead

log = structlog.get_logger(__name__)

TASK = "sync"
KINDS = (BACKFILL, INCREMENTAL, RECONCILE)
TYPES = tuple(OBJECT_TYPES)

_SEARCHED = 1_000
"""Records of a search that are looked at together: as many as one read of associations takes."""
_TAKE_OVER = 15.0
"""Seconds in which a worker's job ends, and a command takes over from it."""


@dataclass(frozen=True)
class _Step:
    """What was done of a run, which goes on from the cursor; None at the end."""

    cursor: str | None
    processed: int
    differences: int


def sweep() -> None:
    """Backfill portals that are set up and never were; go on with what was interrupted."""
    for portal_id in portals.list_connected_portal_ids():
        if not portals.is_set_up(portal_id):
            continue
        backfilled = runs.list_backfilled(portal_id)
        lacking = [each for each in OBJECT_TYPES.values() if each not in backfilled]
        with transaction() as session:
            runs.begin(session, portal_id, BACKFILL, lacking)
        for kind in KINDS:
            _enqueue_unfinished(portal_id, kind)


def begin_anew(portal_id: int) -> None:
    """Have a portal that was just connected taken in, and compared where it was mirrored before."""
    backfilled = runs.list_backfilled(portal_id)
    lacking = [each for each in OBJECT_TYPES.values() if each not in backfilled]
    with transaction() as session:
        runs.begin(session, portal_id, BACKFILL, lacking)
        runs.begin(session, portal_id, RECONCILE, backfilled)
    for kind in (BACKFILL, RECONCILE):
        _enqueue_unfinished(portal_id, kind)


def begin_everywhere(kind: str) -> None:
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
    """Go on with a portal's runs of a kind for some seconds; ``key`` is kind:portal id."""
    kind, _, portal_id = key.partition(":")
    try:
        for _ in go_on(int(portal_id), kind, until=jobs.deadline()):
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
        AtWorkError: another process does not let go of it.
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
        yield from go_on(portal_id, kind, patience=_TAKE_OVER)


def list_status() -> list[SyncRun]:
    """The latest run of each kind over each type of every connected portal."""
    return [
        run
        for portal_id in portals.list_connected_portal_ids()
        for run in runs.list_latest(portal_id)
    ]


def go_on(
    portal_id: int, kind: str, *, until: float = math.inf, patience: float = 0
) -> Iterator[SyncRun]:
    """Go on with the unfinished runs of a kind, until the end or a time by ``time.monotonic``.

    A type that HubSpot does not let us see does not hold up the others.

    Yields and raises what ``follow`` does.
    """
    refused = None
    with runs.at_work(portal_id, kind, patience):
        for run in runs.list_unfinished(portal_id, kind):
            try:
                yield from _go_on_with(run, until)
            except (HubSpotError, ConfigError) as error:
                runs.note_failure(run, error)
                if not isinstance(error, HubSpotScopeError):
                    raise
                refused = error
            if time.monotonic() > until:
                break
    if refused:
        raise refused


def _go_on_with(run: SyncRun, until: float) -> Iterator[SyncRun]:
    lane = SYNC if run.kind == INCREMENTAL else BACKFILL_LANE
    client = portals.connect(run.portal_id, lane=lane)
    portals.ensure_set_up(client, run.portal_id)
    object_type = OBJECT_TYPES[run.object_type]
    if not run.cursor:
        run = _start(client, run, object_type)
    steps = {BACKFILL: _backfill, INCREMENTAL: _search, RECONCILE: _reconcile}[run.kind]
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


def _backfill(
    client: HubSpotClient, run: SyncRun, object_type: ObjectType, until: float
) -> Iterator[_Step]:
    selection = Selection(
        object_type,
        properties=list_mirrored(run.portal_id, object_type),
        associations=_earlier_types(run.portal_id, object_type),
    )
    pages = list_pages(client, selection, start=run.cursor)
    for batch in read_ahead(pages, run.cursor, until):
        applied = apply.apply_records(client, run.portal_id, object_type, batch.records)
        changed = applied.changed
        if applied.undecided:
            changed += apply.refresh(client, run.portal_id, object_type, applied.undecided).changed
        changed += _associate(client, run.portal_id, object_type, batch)
        yield _listed(run, batch, changed)


def _reconcile(
    client: HubSpotClient, run: SyncRun, object_type: ObjectType, until: float
) -> Iterator[_Step]:
    selection = Selection(
        object_type,
        properties=[object_type.modified_property],
        associations=_earlier_types(run.portal_id, object_type),
    )
    pages = list_pages(client, selection, start=run.cursor)
    after = run.cursor
    for batch in read_ahead(pages, run.cursor, until):
        ids = [each.id for each in batch.records]
        through = None if batch.is_last else ids[-1] if ids else after
        stale = diff.find_stale(run.portal_id, object_type, batch.records)
        unlisted = diff.find_unlisted(run.portal_id, object_type, ids, after, through)
        changed = _refresh(client, run.portal_id, object_type, stale | unlisted)
        changed += _associate(client, run.portal_id, object_type, batch)
        yield _listed(run, batch, changed)
        after = through or after


def _search(
    client: HubSpotClient, run: SyncRun, object_type: ObjectType, until: float
) -> Iterator[_Step]:
    covered = runs.find_covered_until(run.portal_id, object_type.name)
    begin = datetime.fromisoformat(run.cursor) if run.cursor else _before(covered)
    found = search.search_modified(client, object_type, begin)
    while some := list(islice(found, _SEARCHED)):
        # The index may be behind, and tell of what was archived: only a read decides.
        stale = diff.find_stale(run.portal_id, object_type, some)
        changed = _refresh(client, run.portal_id, object_type, stale)
        for other_type in associations.list_associated_types(object_type):
            with _unseen_left_out(other_type):
                changed += associations.refresh_associations(
                    client, run.portal_id, object_type, other_type, stale
                )
        reached = _modified(some[-1])
        yield _Step(reached.isoformat(), len(some), changed)
        # Those of one moment are looked at in one go, since a cursor cannot tell them apart.
        if time.monotonic() > until and reached > begin:
            return
    yield _Step(None, 0, 0)


def _before(covered: datetime | None) -> datetime:
    return covered - search.LAG if covered else datetime.fromtimestamp(0, UTC)


def _modified(record: HubSpotRecord) -> datetime:
    if record.updated_at is None:
        raise HubSpotError(f"HubSpot tells no time of record {record.id}")
    return record.updated_at


def _refresh(
    client: HubSpotClient, portal_id: int, object_type: ObjectType, ids: Collection[str]
) -> int:
    if not ids:
        return 0
    refreshed = apply.refresh(client, portal_id, object_type, ids)
    gone = apply.archive_missing(portal_id, object_type, refreshed.missing)
    return refreshed.changed + gone


def _earlier_types(portal_id: int, object_type: ObjectType) -> list[ObjectType]:
    """The associated types whose records are taken in before those of this one.

    Usually those that come first; others too while this one could not be seen.
    """
    order = list(OBJECT_TYPES.values())
    earlier = order[: order.index(object_type)]
    backfilled = runs.list_backfilled(portal_id)
    if object_type not in backfilled:
        earlier += backfilled
    return [each for each in associations.list_associated_types(object_type) if each in earlier]


@contextmanager
def _unseen_left_out(other_type: ObjectType) -> Iterator[None]:
    """Within it, records of another type that HubSpot does not let us see are nobody's failure."""
    try:
        yield
    except HubSpotScopeError as error:
        log.warning("associations left out", object_type=other_type.name, reason=error.message)


def _associate(client: HubSpotClient, portal_id: int, object_type: ObjectType, batch: Batch) -> int:
    changed = 0
    for other_type in _earlier_types(portal_id, object_type):
        targets = {each.id: each.associations.get(other_type.name, ()) for each in batch.records}
        with _unseen_left_out(other_type):
            associations.refresh_unknown(client, portal_id, other_type, targets)
        changed += associations.apply_associations(
            portal_id, object_type, other_type, targets, batch.asked_at
        )
    return changed


def _listed(run: SyncRun, batch: Batch, changed: int) -> _Step:
    ids = [each.id for each in batch.records]
    cursor = None if batch.is_last else ids[-1] if ids else run.cursor
    # The one to go on from comes again.
    return _Step(cursor, len(ids) - ids.count(run.cursor), changed)


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
