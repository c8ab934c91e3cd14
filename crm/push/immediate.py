"""Send to HubSpot within the request what its caller waits for, as the job would send it.

What cannot be sent in time is left to the job. Two senders of one row change nothing (see
``push``), but an older value must not arrive after a newer one: so a request waits for others who
may be sending the same row, and the job leaves alone what a request holds.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import structlog

from crm.db import transaction
from crm.errors import ConfigError
from crm.hubspot import associations as hubspot_associations
from crm.hubspot import records as hubspot_records
from crm.hubspot.answers import HubSpotRecord
from crm.hubspot.client import HubSpotClient, Timeouts
from crm.hubspot.errors import HubSpotError, HubSpotNotFoundError, HubSpotUnavailableError
from crm.hubspot.paging import parts
from crm.hubspot.retries import may_have_happened
from crm.mirror import pending, row_edits
from crm.mirror.pending import PendingRecord
from crm.mirror.row_edits import Edit
from crm.models import PENDING
from crm.object_types import ASSOCIATIONS, ObjectType
from crm.portals import portals
from crm.portals.property_schemas import list_mirrored
from crm.pull import apply
from crm.push.batches import (
    archive_records,
    create_associations,
    first_batch,
    raise_retryable,
    update_records,
    upsert_records,
)
from crm.push.job import TASK, enqueue_push
from crm.queue import list_running

log = structlog.get_logger(__name__)

FOR_ONE = Timeouts(connect=1, read=1.5, patience=3)
"""A person waits about three seconds for one record."""
FOR_MANY = Timeouts(connect=1, read=15, patience=20)
"""And longer for a thousand."""

_LOOK_AGAIN = 0.05


@dataclass
class Sent:
    """What became of rows, by id; one that is in neither waits for the job."""

    accepted: dict[int, HubSpotRecord] = field(default_factory=dict)
    refused: dict[int, HubSpotError] = field(default_factory=dict)
    refused_pairs: dict[int, HubSpotError] = field(default_factory=dict)
    """By the id of the association."""
    is_complete: bool = False
    """Whether everything was said to HubSpot and answered."""
    is_certain: bool = True
    """Whether HubSpot has surely nothing of what it neither accepted nor refused."""


def send_now(
    portal_id: int, object_type: ObjectType, rows: Sequence[Edit], timeouts: Timeouts
) -> Sent:
    """Send rows that were just written, and their associations.

    Never raises what HubSpot says: rows that it refuses are told of. Afterwards all others that it
    did not accept are to be left to the job, or undone.
    """
    sent = Sent()
    until = time.monotonic() + timeouts.patience
    ids = [row.id for row in rows]
    try:
        # A sender that finds HubSpot down tells the job, which pauses; nobody waits for it then.
        if not portals.find_push_pause(portal_id):
            _await_others(portal_id, rows, until)
            client = connect_now(portal_id, object_type, timeouts)
            sendable = pending.find_sendable(
                portal_id, object_type, pending.list_still_pending(ids)
            )
            sent.refused |= sendable.refused
            for batch in _batches(sendable.rows):
                if time.monotonic() > until:
                    raise HubSpotUnavailableError("HubSpot takes longer than the caller waits")
                _send(client, portal_id, object_type, batch, sent)
            _send_pairs(client, portal_id, [each for each in ids if each not in sent.refused], sent)
            sent.is_complete = not sendable.waiting
    except (HubSpotError, ConfigError) as error:
        log.warning("not sent at once", reason=error.message, rows=len(ids) - len(sent.accepted))
        sent.is_certain = not (isinstance(error, HubSpotError) and may_have_happened(error))
    return sent


def leave_to_job(portal_id: int, rows: Sequence[Edit], sent: Sent) -> None:
    """Release what HubSpot neither accepted nor refused, and have the job send it."""
    answered = sent.accepted.keys() | sent.refused.keys()
    with transaction() as session:
        row_edits.release(session, [row.id for row in rows if row.id not in answered])
        if not sent.is_complete:
            enqueue_push(portal_id)


def refresh_missing(
    portal_id: int, object_type: ObjectType, rows: Sequence[Edit], sent: Sent
) -> None:
    """Take into the mirror what became of records that HubSpot no longer has by their ids."""
    ids = [
        row.before.hs_object_id
        for row in rows
        if row.before
        and row.before.hs_object_id
        and isinstance(sent.refused.get(row.id), HubSpotNotFoundError)
    ]
    if ids:
        try:
            client = connect_now(portal_id, object_type, FOR_ONE)
            apply.refresh(client, portal_id, object_type, ids)
        except (HubSpotError, ConfigError) as error:
            log.warning("missing records not looked up", reason=error.message)


def archive_now(portal_id: int, object_type: ObjectType, row: Edit) -> bool:
    """Archive in HubSpot what was archived here; False where that is left to the job."""
    try:
        if not portals.find_push_pause(portal_id):
            _await_others(portal_id, [row], time.monotonic() + FOR_ONE.patience)
            waiting = pending.list_still_archiving([row.id])
            client = connect_now(portal_id, object_type, FOR_ONE)
            pending.apply_archived(waiting, archive_records(client, object_type, waiting))
            return True
    except (HubSpotError, ConfigError) as error:
        log.warning("archiving left to the job", reason=error.message)
    leave_to_job(portal_id, [row], Sent())
    return False


def connect_now(portal_id: int, object_type: ObjectType, timeouts: Timeouts) -> HubSpotClient:
    """A client with the patience of a caller, for a portal that has what push needs.

    Raises:
        HubSpotScopeError: HubSpot does not let us write this type for now.
        HubSpotError, ConfigError: see ``portals.set_up``.
    """
    client = replace(portals.connect(portal_id, someone_waits=True), timeouts=timeouts)
    portals.ensure_set_up(client, portal_id)
    portals.refuse_blocked(portal_id, object_type.name)
    return client


def _await_others(portal_id: int, rows: Sequence[Edit], until: float) -> None:
    """Wait until no job and no other request may be sending an older state of the rows."""
    befores = [row.before for row in rows if row.before]
    jobs = (
        list_running(TASK, portal_id) if any(each.state == PENDING for each in befores) else set()
    )
    held = {each.id for each in befores if each.is_held}
    while (jobs or held) and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN)
        jobs &= list_running(TASK, portal_id) if jobs else set()
        if held:
            with transaction() as session:
                held -= row_edits.hold(session, held)
    if jobs or held:
        raise HubSpotUnavailableError("Others are still sending the same records")


def _batches(rows: Sequence[PendingRecord]) -> Iterator[Sequence[PendingRecord]]:
    """Rows that HubSpot has and rows that it has not, each as full batches."""
    for is_known in (True, False):
        left = [row for row in rows if bool(row.hs_object_id) is is_known]
        while left:
            batch = first_batch(left[: hubspot_records.BATCH])
            yield batch
            left = left[len(batch) :]


def _send(
    client: HubSpotClient,
    portal_id: int,
    object_type: ObjectType,
    rows: Sequence[PendingRecord],
    sent: Sent,
) -> None:
    if rows[0].hs_object_id:
        outcome = update_records(client, object_type, rows)
    else:
        outcome = upsert_records(client, portal_id, object_type, rows)
    refused = pending.apply_outcome(rows, outcome, list_mirrored(portal_id, object_type))
    sent.refused |= refused
    sent.accepted |= {
        row.id: outcome.done[row.key]
        for row in rows
        if row.key in outcome.done and row.id not in refused
    }
    raise_retryable(outcome)


def _send_pairs(
    client: HubSpotClient, portal_id: int, row_ids: Collection[int], sent: Sent
) -> None:
    waiting = pending.list_pending_pairs_of(row_ids)
    for type_id, pairs in waiting.items():
        portals.refuse_blocked(portal_id, ASSOCIATIONS[type_id].name)
        for some in parts(list(pairs), hubspot_associations.BATCH):
            outcome = create_associations(client, ASSOCIATIONS[type_id], some)
            pending.apply_pair_outcome({pair: pairs[pair] for pair in some}, outcome)
            sent.refused_pairs |= {
                pairs[pair]: error for pair, error in outcome.refused.items() if not error.retryable
            }
            raise_retryable(outcome)
