"""Push: everything that was changed here and not yet accepted there goes to HubSpot.

Doing it twice changes nothing: contacts go by e-mail, other records by ``crm_uid``, known ones by
their id, associations by their pair. So a crash, or an answer that was lost, at any point is
mended by doing it again. No transaction is open while HubSpot is being called.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any, TypeVar
from uuid import UUID

import orjson
import structlog
from sqlalchemy import select, text, update
from sqlalchemy.orm import aliased

from crm.errors import ConfigError
from crm.extensions import transaction
from crm.hubspot import associations as hubspot_associations
from crm.hubspot import records as hubspot_records
from crm.hubspot.answers import BatchOutcome, HubSpotRecord
from crm.hubspot.associations import Pair
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import (
    HubSpotConflictError,
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotRefusedError,
)
from crm.hubspot.records import Write
from crm.models import PENDING, SYNCED, Association, Record
from crm.objects import ASSOCIATIONS, CONTACTS, CRM_UID, OBJECT_TYPES, AssociationType, ObjectType
from crm.queue import enqueue_once, wait_for_enqueuers
from crm.services import portals
from crm.services.records import find_known_ids, list_portals_with_unsent

log = structlog.get_logger(__name__)

TASK = "push"

LONGEST_RUN = 5.0
"""Seconds after which a push leaves the rest to the next one, so that a worker can stop soon."""
LARGEST_BATCH = 4_000_000
"""Characters of one request, about: nobody knows from which size on HubSpot cuts us off."""

Item = TypeVar("Item")
Key = TypeVar("Key")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class PendingRecord:
    """A row as it was read for sending; ``revision`` tells whether it has changed since."""

    id: int
    uuid: UUID
    hs_object_id: str | None
    properties: Mapping[str, str | None]
    unsent: Sequence[str]
    revision: int


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
    """Send level by level, or as much as there is time for and the rest in another job."""
    until = time.monotonic() + LONGEST_RUN
    for object_type in OBJECT_TYPES.values():
        _push_records(client, portal_id, object_type, until)
    for association in ASSOCIATIONS.values():
        _push_associations(client, portal_id, association, until)
    if time.monotonic() > until:
        with transaction():
            enqueue_push(portal_id)


def _push_records(
    client: HubSpotClient, portal_id: int, object_type: ObjectType, until: float
) -> None:
    after = 0
    while time.monotonic() <= until and (
        rows := _fitting(_pending_records(portal_id, object_type, after))
    ):
        after = rows[-1].id
        known = [row for row in rows if row.hs_object_id]
        new = [row for row in rows if not row.hs_object_id]
        if known:
            _settle(known, _deliver(known, _key, partial(_update, client, object_type)))
        if new:
            outcome = _deliver(new, _key, partial(_upsert, client, object_type))
            if object_type is CONTACTS:
                _adopt(client, portal_id, new, outcome)
            _settle(new, outcome)


def _pending_records(portal_id: int, object_type: ObjectType, after: int) -> list[PendingRecord]:
    columns = (
        Record.id,
        Record.uuid,
        Record.hs_object_id,
        Record.properties,
        Record.unsent,
        Record.revision,
    )
    statement = (
        select(*columns)
        .where(Record.portal_id == portal_id, Record.object_type == object_type.name)
        .where(Record.state == PENDING, Record.archived_at.is_(None), Record.id > after)
        .order_by(Record.id)
        .limit(hubspot_records.BATCH)
    )
    with transaction() as session:
        return [PendingRecord(*row) for row in session.execute(statement)]


def _fitting(rows: Sequence[PendingRecord]) -> Sequence[PendingRecord]:
    """As many of the rows as make one request, the first in any case."""
    sizes = (sum(len(value or "") for value in row.properties.values()) for row in rows)
    return rows[: max(1, sum(size <= LARGEST_BATCH for size in accumulate(sizes)))]


def _key(row: PendingRecord) -> str:
    return str(row.uuid)


def _upsert(
    client: HubSpotClient, object_type: ObjectType, rows: Sequence[PendingRecord]
) -> BatchOutcome[str, HubSpotRecord]:
    writes = [
        Write(
            trace_id=_key(row),
            id=_unique_value(object_type, row),
            # All of them: HubSpot does not support partial upserts by e-mail (docs: contacts).
            properties={name: value for name, value in row.properties.items() if value is not None},
        )
        for row in rows
    ]
    try:
        outcome = hubspot_records.upsert(client, object_type, writes)
    except (HubSpotNotFoundError, HubSpotRefusedError):
        _blame_the_portal(client, object_type)
        raise
    if outcome.refused and not outcome.done:
        _blame_the_portal(client, object_type)
    return outcome


def _blame_the_portal(client: HubSpotClient, object_type: ObjectType) -> None:
    """When every row is refused, see that it is not for want of the property they go by.

    Raises:
        ConfigError: it is; then the rows wait until it is there again.
    """
    if object_type.id_property == CRM_UID and portals.ensure_crm_uid(client, object_type.name):
        raise ConfigError(
            f"The property {CRM_UID} of {object_type.name} was gone from the portal; it is back"
        )


def _unique_value(object_type: ObjectType, row: PendingRecord) -> str:
    if object_type.id_property == CRM_UID:
        return str(row.uuid)
    return row.properties[object_type.id_property] or ""


def _update(
    client: HubSpotClient, object_type: ObjectType, rows: Sequence[PendingRecord]
) -> BatchOutcome[str, HubSpotRecord]:
    writes = [
        Write(
            trace_id=_key(row),
            id=row.hs_object_id or "",
            properties={name: row.properties.get(name) or "" for name in row.unsent},
        )
        for row in rows
    ]
    return hubspot_records.update(client, object_type, writes)


def _adopt(
    client: HubSpotClient,
    portal_id: int,
    rows: Sequence[PendingRecord],
    outcome: BatchOutcome[str, HubSpotRecord],
) -> None:
    """Update the contacts that HubSpot has under another address of theirs, by the id it told us.

    Takes them out of the refused. Their e-mail is not sent: it stands there as a secondary one.
    """
    existing = {
        _key(row): existing_id
        for row in rows
        if (existing_id := _existing_id(client, row, outcome.refused.get(_key(row))))
    }
    taken = {record.id for record in outcome.done.values()}
    taken |= find_known_ids(portal_id, CONTACTS, existing.values())
    adopted = []
    for row in rows:
        existing_id = existing.get(_key(row))
        if existing_id in taken:
            outcome.refused[_key(row)] = _same_record(existing_id)
        elif existing_id:
            del outcome.refused[_key(row)]
            names = [name for name in row.unsent if name != "email"]
            adopted.append(replace(row, hs_object_id=existing_id, unsent=names))
            taken.add(existing_id)
    outcome.add(_take_over(client, adopted))


def _take_over(
    client: HubSpotClient, rows: Sequence[PendingRecord]
) -> BatchOutcome[str, HubSpotRecord]:
    changed = [row for row in rows if row.unsent]
    outcome: BatchOutcome[str, HubSpotRecord] = BatchOutcome()
    if changed:
        outcome = _deliver(changed, _key, partial(_update, client, CONTACTS))
    for row in rows:
        if not row.unsent:  # HubSpot refuses an update of nothing.
            outcome.done[_key(row)] = hubspot_records.get(client, CONTACTS, row.hs_object_id or "")
    return outcome


def _existing_id(
    client: HubSpotClient, row: PendingRecord, error: HubSpotError | None
) -> str | None:
    if not isinstance(error, HubSpotConflictError):
        return None
    # HubSpot does not always say which contact it means (seen in real answers).
    return error.existing_id or hubspot_records.find_contact_id(
        client, row.properties["email"] or ""
    )


def _deliver(
    items: Sequence[Item],
    key_of: Callable[[Item], Key],
    send: Callable[[Sequence[Item]], BatchOutcome[Key, Answer]],
) -> BatchOutcome[Key, Answer]:
    """Send a batch; where HubSpot refuses it whole or is silent about some, send those in halves.

    So one bad input never holds up the good ones, however HubSpot chooses to say no.
    """
    try:
        outcome = send(items)
    except (HubSpotRefusedError, HubSpotConflictError, HubSpotNotFoundError) as error:
        outcome = BatchOutcome(refused={key_of(items[0]): error} if len(items) == 1 else {})
    silent = [
        item
        for item in items
        if key_of(item) not in outcome.done and key_of(item) not in outcome.refused
    ]
    if len(silent) == len(items) == 1:
        outcome.refused[key_of(silent[0])] = HubSpotError(
            "HubSpot accepted the batch and said nothing of this input"
        )
    elif silent:
        middle = (len(silent) + 1) // 2
        for half in filter(None, (silent[:middle], silent[middle:])):
            outcome.add(_deliver(half, key_of, send))
    return outcome


# An answer that was overtaken by news of the same record tells nothing new.
_ACCEPTED = text("""
    UPDATE records
    SET hs_object_id = answer.hs_object_id,
        properties = records.properties || CASE
            WHEN answer.updated_at < records.hs_modified_at THEN '{}'::jsonb
            ELSE answer.properties END || CASE
            WHEN records.revision = answer.revision THEN '{}'::jsonb
            ELSE coalesce((SELECT jsonb_object_agg(name, records.properties -> name)
                           FROM unnest(records.unsent) AS name), '{}') END,
        unsent = CASE WHEN records.revision = answer.revision THEN '{}' ELSE records.unsent END,
        state = CASE WHEN records.revision = answer.revision THEN 'synced' ELSE records.state END,
        rejection = NULL,
        hs_created_at = coalesce(answer.created_at, records.hs_created_at),
        hs_modified_at = greatest(answer.updated_at, records.hs_modified_at),
        updated_at = now()
    FROM jsonb_to_recordset(CAST(:answers AS jsonb)) AS answer(
        id bigint, revision bigint, hs_object_id text, properties jsonb,
        created_at timestamptz, updated_at timestamptz)
    WHERE records.id = answer.id AND NOT EXISTS (
        SELECT FROM records AS other
        WHERE other.portal_id = records.portal_id AND other.object_type = records.object_type
            AND other.id <> records.id
            AND (other.hs_object_id = answer.hs_object_id OR (
                other.archived_at IS NULL
                AND other.email = lower(answer.properties ->> 'email'))))
    RETURNING records.id
""")

_REFUSED = text("""
    UPDATE records
    SET state = 'rejected', rejection = refusal.rejection, updated_at = now()
    FROM jsonb_to_recordset(CAST(:refusals AS jsonb)) AS refusal(
        id bigint, revision bigint, rejection jsonb)
    WHERE records.id = refusal.id AND records.revision = refusal.revision
""")


def _settle(rows: Sequence[PendingRecord], outcome: BatchOutcome[str, HubSpotRecord]) -> None:
    """Write down what became of the rows; one that changed meanwhile stays pending."""
    # Two rows that HubSpot takes for one record: the first has it, the other is told so below.
    answers = {
        outcome.done[_key(row)].id: _answer(row, outcome.done[_key(row)])
        for row in reversed(rows)
        if _key(row) in outcome.done
    }
    with transaction() as session:
        accepted = set(
            session.scalars(_ACCEPTED, {"answers": orjson.dumps(list(answers.values())).decode()})
        )
        refusals = []
        for row in rows:
            error = outcome.refused.get(_key(row)) or (
                None if row.id in accepted else _same_record(outcome.done[_key(row)].id)
            )
            if error and not error.retryable:
                log.warning("record rejected", record_id=row.id, reason=error.message)
                refusals.append(
                    {"id": row.id, "revision": row.revision, "rejection": error.as_rejection()}
                )
        session.execute(_REFUSED, {"refusals": orjson.dumps(refusals).decode()})
    _pause_if_asked(outcome.refused.values())


def _pause_if_asked(errors: Iterable[HubSpotError]) -> None:
    """Raise what HubSpot says of single inputs but means of itself, such as a rate limit."""
    for error in errors:
        if error.retryable:
            raise error


def _answer(row: PendingRecord, record: HubSpotRecord) -> dict[str, Any]:
    return {
        "id": row.id,
        "revision": row.revision,
        "hs_object_id": record.id,
        "properties": record.properties,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def _same_record(hs_object_id: str) -> HubSpotError:
    return HubSpotConflictError(
        f"HubSpot keeps this as record {hs_object_id}, which stands in the mirror as another row"
    )


def _push_associations(
    client: HubSpotClient, portal_id: int, association: AssociationType, until: float
) -> None:
    after = 0
    while time.monotonic() <= until and (ids := _pending_pairs(portal_id, association, after)):
        after = max(ids.values())
        outcome = _deliver(
            list(ids), lambda pair: pair, partial(hubspot_associations.create, client, association)
        )
        _settle_pairs(ids, outcome)


def _pending_pairs(portal_id: int, association: AssociationType, after: int) -> dict[Pair, int]:
    """Pairs of HubSpot ids to the row's id, both ends being in HubSpot already."""
    from_record, to_record = aliased(Record), aliased(Record)
    statement = (
        select(from_record.hs_object_id, to_record.hs_object_id, Association.id)
        .join(from_record, from_record.id == Association.from_id)
        .join(to_record, to_record.id == Association.to_id)
        .where(Association.portal_id == portal_id, Association.type_id == association.type_id)
        .where(Association.state == PENDING, Association.id > after)
        .where(from_record.hs_object_id.is_not(None), to_record.hs_object_id.is_not(None))
        .order_by(Association.id)
        .limit(hubspot_associations.BATCH)
    )
    with transaction() as session:
        return {
            (from_id, to_id): row_id
            for from_id, to_id, row_id in session.execute(statement)
            if from_id and to_id
        }


_REFUSED_PAIRS = text("""
    UPDATE associations
    SET state = 'rejected', rejection = refusal.rejection
    FROM jsonb_to_recordset(CAST(:refusals AS jsonb)) AS refusal(id bigint, rejection jsonb)
    WHERE associations.id = refusal.id
""")


def _settle_pairs(ids: Mapping[Pair, int], outcome: BatchOutcome[Pair, None]) -> None:
    synced = [ids[pair] for pair in outcome.done]
    refusals = []
    for pair, error in outcome.refused.items():
        if error.retryable:
            continue
        log.warning("association rejected", association_id=ids[pair], reason=error.message)
        refusals.append({"id": ids[pair], "rejection": error.as_rejection()})
    with transaction() as session:
        session.execute(
            update(Association)
            .where(Association.id.in_(synced))
            .values(state=SYNCED, rejection=None)
        )
        session.execute(_REFUSED_PAIRS, {"refusals": orjson.dumps(refusals).decode()})
    _pause_if_asked(outcome.refused.values())
