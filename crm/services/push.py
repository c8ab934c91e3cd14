"""Push: everything that was changed here and not yet accepted there goes to HubSpot.

Doing it twice changes nothing: contacts go by e-mail, other records by ``crm_uid``, known ones by
their id, associations by their pair. So a crash, or an answer that was lost, at any point is
mended by doing it again. No transaction is open while HubSpot is being called.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from crm.errors import ConfigError
from crm.extensions import transaction
from crm.hubspot.answers import BatchOutcome, HubSpotRecord
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError
from crm.objects import ASSOCIATIONS, OBJECT_TYPES, AssociationType, ObjectType
from crm.queue import enqueue_once, wait_for_enqueuers
from crm.services import portals
from crm.services.delivery import (
    archive_records,
    create_associations,
    fitting,
    raise_what_may_pass,
    update_records,
    upsert_records,
)
from crm.services.outbox import (
    PendingRecord,
    list_pending_archived,
    list_pending_pairs,
    list_pending_records,
    list_still_pending,
    settle_archived,
    settle_pairs,
    settle_records,
)
from crm.services.pull import refresh
from crm.services.records import list_portals_with_unsent
from crm.services.schemas import list_mirrored

TASK = "push"

LONGEST_RUN = 5.0
"""Seconds after which a push leaves the rest to the next one, so that a worker can stop soon."""


def enqueue_push(portal_id: int) -> None:
    """Have a portal's changes sent; call it last in the transaction that makes them."""
    enqueue_once(TASK, portal_id)


def begin() -> None:
    """Look at every connected portal anew: is the token its own, is what push needs still there."""
    for portal_id in portals.list_connected_portal_ids():
        portals.forget_set_up(portal_id)
        with transaction():
            enqueue_push(portal_id)


def sweep() -> None:
    """Enqueue a push for every connected portal that has something to send, whatever was lost."""
    connected = set(portals.list_connected_portal_ids())
    for portal_id in connected.intersection(list_portals_with_unsent()):
        with transaction():
            enqueue_push(portal_id)


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
        if not portals.is_set_up(portal_id):
            portals.set_up(client, portal_id)
        _push_all(client, portal_id)
    except (HubSpotError, ConfigError) as error:
        with transaction():
            enqueue_once(TASK, portal_id, at=portals.note_push_failure(portal_id, error))
    else:
        portals.note_push_success(portal_id)


def _push_all(client: HubSpotClient, portal_id: int) -> None:
    """Send level by level, or as much as there is time for and the rest in another job.

    The clock is looked at only once something was sent: however long the way there takes, each
    job gets on.
    """
    until = time.monotonic() + LONGEST_RUN
    batches = chain(
        # First what goes: it may hold an e-mail that something else is to have.
        *(_push_archived(client, portal_id, each) for each in OBJECT_TYPES.values()),
        *(_push_records(client, portal_id, each) for each in OBJECT_TYPES.values()),
        *(_push_associations(client, portal_id, each) for each in ASSOCIATIONS.values()),
    )
    for _ in batches:
        if time.monotonic() > until:
            with transaction():
                enqueue_push(portal_id)
            return


def _push_archived(
    client: HubSpotClient, portal_id: int, object_type: ObjectType
) -> Iterator[None]:
    """Archive a batch for each step."""
    after = 0
    while rows := list_pending_archived(portal_id, object_type, after):
        after = rows[-1].id
        settle_archived(rows, archive_records(client, object_type, rows))
        yield


def _push_records(client: HubSpotClient, portal_id: int, object_type: ObjectType) -> Iterator[None]:
    """Send a batch for each step."""
    after, mirrored = 0, list_mirrored(portal_id, object_type)
    while rows := fitting(list_pending_records(portal_id, object_type, after)):
        after = rows[-1].id
        known_ids = [row.hs_object_id for row in rows if row.hs_object_id]
        if known_ids:
            # HubSpot takes any value. So see first what it has, and let the policies decide.
            refresh(client, portal_id, object_type, known_ids)
            rows = list_still_pending([row.id for row in rows])
        known = [row for row in rows if row.hs_object_id]
        new = [row for row in rows if not row.hs_object_id]
        if known:
            _settle(known, update_records(client, object_type, known), mirrored)
        if new:
            _settle(new, upsert_records(client, portal_id, object_type, new), mirrored)
        yield


def _settle(
    rows: Sequence[PendingRecord],
    outcome: BatchOutcome[str, HubSpotRecord],
    mirrored: Collection[str],
) -> None:
    settle_records(rows, outcome, mirrored)
    raise_what_may_pass(outcome)


def _push_associations(
    client: HubSpotClient, portal_id: int, association: AssociationType
) -> Iterator[None]:
    """Send a batch for each step."""
    after = 0
    while ids := list_pending_pairs(portal_id, association, after):
        after = max(ids.values())
        outcome = create_associations(client, association, list(ids))
        settle_pairs(ids, outcome)
        raise_what_may_pass(outcome)
        yield
