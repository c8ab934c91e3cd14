"""Send HubSpot everything that was changed here and not yet accepted there.

Doing it twice changes nothing: contacts go by e-mail, other records by ``crm_uid``, known ones by
their id, associations by their pair. So a crash, or an answer that was lost, at any point is
mended by doing it again. No transaction is open while HubSpot is being called.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from crm import jobs
from crm.db import transaction
from crm.errors import ConfigError
from crm.hubspot.answers import BatchOutcome, HubSpotRecord
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError
from crm.mirror.pending import (
    PendingRecord,
    apply_archived,
    apply_outcome,
    apply_pair_outcome,
    find_in_cycle,
    find_sendable,
    list_pending_archived,
    list_pending_pairs,
    list_pending_records,
    list_still_pending,
    note_cleared,
)
from crm.mirror.rows import list_portals_with_unsent
from crm.object_types import ASSOCIATIONS, OBJECT_TYPES, AssociationType, ObjectType
from crm.portals import portals
from crm.portals.property_schemas import list_mirrored
from crm.pull.apply import refresh
from crm.push.batches import (
    archive_records,
    create_associations,
    first_batch,
    raise_retryable,
    update_records,
    upsert_records,
)
from crm.queue import enqueue_once, wait_for_enqueuers

TASK = "push"


def enqueue_push(portal_id: int) -> None:
    """Have a portal's changes sent; call it last in the transaction that makes them."""
    enqueue_once(TASK, portal_id)


def begin() -> None:
    """Check every connected portal again: is the token its own, is what push needs still there."""
    for portal_id in portals.list_connected_portal_ids():
        portals.forget_set_up(portal_id)
        jobs.hand_over(TASK, portal_id)


def sweep() -> None:
    """Enqueue a push for every connected portal that has something to send, whatever was lost.

    Also for one of which it is time to see what is still blocked.
    """
    connected = set(portals.list_connected_portal_ids())
    waiting = {*list_portals_with_unsent(), *portals.list_to_unblock()}
    jobs.sweep_up(TASK, connected & waiting)


def push(portal_id: int) -> None:
    """Send all that waits for a portal, or note why it cannot be sent and come back later."""
    wait_for_enqueuers(TASK, portal_id)
    pause = portals.find_push_pause(portal_id)
    if pause:
        with transaction():
            enqueue_once(TASK, portal_id, at=pause.until)
        return
    try:
        client = portals.connect(portal_id)
        portals.ensure_set_up(client, portal_id)
        known = portals.find_blocked(portal_id)
        blocked = dict(known)
        _push_all(client, portal_id, blocked)
    except (HubSpotError, ConfigError) as error:
        with transaction():
            enqueue_once(TASK, portal_id, at=portals.note_push_failure(portal_id, error))
    else:
        if blocked.keys() - known.keys():
            portals.note_blocked(portal_id, blocked)
        elif not blocked:
            portals.note_push_success(portal_id)


def _push_all(client: HubSpotClient, portal_id: int, blocked: dict[str, str]) -> None:
    """Send level by level, or as much as there is time for and the rest in another job.

    The clock is looked at only once something was sent: however long the way there takes, each
    job gets on. What is blocked is left out, and what HubSpot does not let us write is added to it.
    """
    until = jobs.deadline()
    types = OBJECT_TYPES.values()
    steps = (
        # First what goes: it may hold an e-mail that something else is to have.
        *((each.name, _push_archived(client, portal_id, each)) for each in types),
        *((each.name, _push_records(client, portal_id, each)) for each in types),
        *(
            (each.name, _push_associations(client, portal_id, each))
            for each in ASSOCIATIONS.values()
        ),
    )
    batches = chain.from_iterable(_unless_blocked(blocked, name, step) for name, step in steps)
    for _ in batches:
        if time.monotonic() > until:
            with transaction():
                enqueue_push(portal_id)
            return


def _unless_blocked(blocked: dict[str, str], name: str, steps: Iterator[None]) -> Iterator[None]:
    if name not in blocked:
        with portals.noting_blocks(blocked, name):
            yield from steps


def _push_archived(
    client: HubSpotClient, portal_id: int, object_type: ObjectType
) -> Iterator[None]:
    """Archive a batch for each step."""
    after = 0
    while rows := list_pending_archived(portal_id, object_type, after):
        after = rows[-1].id
        apply_archived(rows, archive_records(client, object_type, rows))
        yield


def _push_records(client: HubSpotClient, portal_id: int, object_type: ObjectType) -> Iterator[None]:
    """Send a batch for each step; what waits for another's e-mail comes after that one."""
    mirrored = list_mirrored(portal_id, object_type)
    waiting: set[int] = set()
    while True:
        waited, waiting = waiting, set()
        after = 0
        while rows := first_batch(list_pending_records(portal_id, object_type, after)):
            after = rows[-1].id
            waiting |= _push_batch(client, portal_id, object_type, rows, mirrored)
            yield
        # As long as that helps: the other one may be somebody else's to send.
        is_stuck = waiting == waited
        if not waiting or (is_stuck and not _break_cycle(client, portal_id, object_type, waiting)):
            return


def _break_cycle(
    client: HubSpotClient, portal_id: int, object_type: ObjectType, waiting: Collection[int]
) -> bool:
    """Have one contact give its e-mail up, where several wait for each other's.

    Returns:
        Whether one has.
    """
    mirrored = list_mirrored(portal_id, object_type)
    row = find_in_cycle(waiting)
    if row is None:
        return False
    if not row.hs_object_id:
        outcome = upsert_records(client, portal_id, object_type, [row])
    else:
        note_cleared(row.id)
        without = {**row.properties, "email": ""}
        # As one that changed meanwhile: its own e-mail is still to be sent.
        row = replace(row, properties=without, unsent=["email"], revision=0)
        outcome = update_records(client, object_type, [row])
        outcome.done = {
            key: replace(record, properties={**record.properties, "email": None})
            for key, record in outcome.done.items()
        }
    _apply_outcome([row], outcome, mirrored)
    return row.key in outcome.done


def _push_batch(
    client: HubSpotClient,
    portal_id: int,
    object_type: ObjectType,
    rows: Sequence[PendingRecord],
    mirrored: Collection[str],
) -> set[int]:
    """Send a batch; returns the rows that were left out, since they wait for another's e-mail."""
    known_ids = [row.hs_object_id for row in rows if row.hs_object_id]
    if known_ids:
        # HubSpot takes any value. So see first what it has, and let the policies decide.
        refresh(client, portal_id, object_type, known_ids)
        rows = list_still_pending([row.id for row in rows])
    known = find_sendable(portal_id, object_type, [row for row in rows if row.hs_object_id])
    if known.rows:
        _apply_outcome(known.rows, update_records(client, object_type, known.rows), mirrored)
    new = find_sendable(portal_id, object_type, [row for row in rows if not row.hs_object_id])
    if new.rows:
        _apply_outcome(new.rows, upsert_records(client, portal_id, object_type, new.rows), mirrored)
    return {*known.waiting, *new.waiting}


def _apply_outcome(
    rows: Sequence[PendingRecord],
    outcome: BatchOutcome[str, HubSpotRecord],
    mirrored: Collection[str],
) -> None:
    apply_outcome(rows, outcome, mirrored)
    raise_retryable(outcome)


def _push_associations(
    client: HubSpotClient, portal_id: int, association: AssociationType
) -> Iterator[None]:
    """Send a batch for each step."""
    after = 0
    while ids := list_pending_pairs(portal_id, association, after):
        after = max(ids.values())
        outcome = create_associations(client, association, list(ids))
        apply_pair_outcome(ids, outcome)
        raise_retryable(outcome)
        yield
