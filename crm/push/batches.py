"""Send what waits in batches, so that one bad input never holds up the good ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import TypeVar

from crm.errors import ConfigError
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
from crm.mirror.pending import PendingRecord, same_record
from crm.mirror.rows import find_known_ids
from crm.object_types import CONTACTS, CRM_UID, AssociationType, ObjectType
from crm.portals import portals

LARGEST_BATCH = 4_000_000
"""Characters of one request, about: nobody knows from which size on HubSpot cuts us off."""

Item = TypeVar("Item")
Key = TypeVar("Key")
Answer = TypeVar("Answer")


def first_batch(rows: Sequence[PendingRecord]) -> Sequence[PendingRecord]:
    """As many of the rows as make one request, the first in any case."""
    sizes = (sum(len(value or "") for value in row.properties.values()) for row in rows)
    return rows[: max(1, sum(size <= LARGEST_BATCH for size in accumulate(sizes)))]


def update_records(
    client: HubSpotClient, object_type: ObjectType, rows: Sequence[PendingRecord]
) -> BatchOutcome[str, HubSpotRecord]:
    """Send what changed of records that HubSpot has."""
    return _by_halves(rows, _key, partial(_update, client, object_type))


def upsert_records(
    client: HubSpotClient, portal_id: int, object_type: ObjectType, rows: Sequence[PendingRecord]
) -> BatchOutcome[str, HubSpotRecord]:
    """Send records that HubSpot has not, as far as we know.

    Raises:
        ConfigError: the portal lacks the property that the records go by.
        HubSpotError: none was written, or it is not known whether.
    """
    moved = _find_moved(client, portal_id, rows)
    outcome = _by_halves(moved, _key, partial(_update, client, object_type))
    keys = {row.key for row in moved}
    rest = [row for row in rows if row.key not in keys]
    outcome.add(_by_halves(rest, _key, partial(_upsert, client, object_type)))
    if object_type is CONTACTS:
        _adopt(client, portal_id, rest, outcome)
    return outcome


def _find_moved(
    client: HubSpotClient, portal_id: int, rows: Sequence[PendingRecord]
) -> list[PendingRecord]:
    """The rows that HubSpot has under an e-mail that they had before, with its ids.

    They were sent, the answer was lost, and then they got another e-mail.
    """
    former = {
        row.replaced_email: row
        for row in rows
        if row.replaced_email not in (None, row.properties.get("email"))
    }
    found = hubspot_records.find_ids(client, CONTACTS, list(filter(None, former)))
    known = find_known_ids(portal_id, CONTACTS, found.values()) if found else set()
    return [
        replace(former[email], hs_object_id=each)
        for email, each in found.items()
        if each not in known
    ]


def archive_records(
    client: HubSpotClient, object_type: ObjectType, rows: Sequence[PendingRecord]
) -> dict[str, str]:
    """Archive records; returns HubSpot's ids of those that it has, by key.

    One that we know no id of may have been sent all the same, and its answer lost.
    """
    ids = {row.key: row.hs_object_id for row in rows if row.hs_object_id}
    unknown = {_unique_value(object_type, row): row.key for row in rows if row.key not in ids}
    found = hubspot_records.find_ids(client, object_type, [each for each in unknown if each])
    ids |= {unknown[value]: record_id for value, record_id in found.items()}
    if ids:
        hubspot_records.archive(client, object_type, ids.values())
    return ids


def create_associations(
    client: HubSpotClient, association: AssociationType, pairs: Sequence[Pair]
) -> BatchOutcome[Pair, None]:
    """Associate pairs."""
    send = partial(hubspot_associations.create, client, association)
    return _by_halves(pairs, lambda pair: pair, send)


def raise_retryable(outcome: BatchOutcome[Key, Answer]) -> None:
    """Raise what HubSpot says of single inputs but means of itself, such as a rate limit."""
    for error in outcome.refused.values():
        if error.retryable:
            raise error


def _key(row: PendingRecord) -> str:
    return row.key


def _upsert(
    client: HubSpotClient, object_type: ObjectType, rows: Sequence[PendingRecord]
) -> BatchOutcome[str, HubSpotRecord]:
    writes = [
        Write(
            trace_id=row.key,
            id=_unique_value(object_type, row),
            # All of them: HubSpot does not support partial upserts by e-mail (docs: contacts).
            properties={name: value for name, value in row.properties.items() if value is not None},
        )
        for row in rows
    ]
    try:
        outcome = hubspot_records.upsert(client, object_type, writes)
    except (HubSpotNotFoundError, HubSpotRefusedError):
        _recheck_unique_property(client, object_type)
        raise
    if outcome.refused and not outcome.done:
        _recheck_unique_property(client, object_type)
    return outcome


def _recheck_unique_property(client: HubSpotClient, object_type: ObjectType) -> None:
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
    return row.properties.get(object_type.id_property) or ""


def _update(
    client: HubSpotClient, object_type: ObjectType, rows: Sequence[PendingRecord]
) -> BatchOutcome[str, HubSpotRecord]:
    writes = [
        Write(
            trace_id=row.key,
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
        row.key: existing_id
        for row in rows
        if (existing_id := _existing_id(client, row, outcome.refused.get(row.key)))
    }
    taken = {record.id for record in outcome.done.values()}
    taken |= find_known_ids(portal_id, CONTACTS, existing.values())
    adopted = []
    for row in rows:
        existing_id = existing.get(row.key)
        if existing_id in taken:
            outcome.refused[row.key] = same_record(existing_id)
        elif existing_id:
            del outcome.refused[row.key]
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
        outcome = update_records(client, CONTACTS, changed)
    for row in rows:
        if not row.unsent:  # HubSpot refuses an update of nothing.
            outcome.done[row.key] = hubspot_records.get(client, CONTACTS, row.hs_object_id or "")
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


def _by_halves(
    items: Sequence[Item],
    key_of: Callable[[Item], Key],
    send: Callable[[Sequence[Item]], BatchOutcome[Key, Answer]],
) -> BatchOutcome[Key, Answer]:
    """Send a batch; where HubSpot refuses it whole or is silent about some, send those in halves.

    So one bad input never holds up the good ones, however HubSpot chooses to say no.
    """
    if not items:
        return BatchOutcome()
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
            outcome.add(_by_halves(half, key_of, send))
    return outcome
