"""Taking records away for good: merging two into one, and deleting a contact's every trace.

Sources: HubSpot docs, objects APIs; its knowledge base, "Merge records" and "Perform a permanent
delete"; live observations of merged ids.
"""

from collections.abc import Sequence
from typing import Final

from hubspot_sandbox.associations import move_associations, remove_associations
from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import HubSpotError, invalid, resource_not_found
from hubspot_sandbox.events import DELETION, MERGE, PRIVACY_DELETION, Event
from hubspot_sandbox.object_types import COMPANIES, CONTACTS, DEALS, TICKETS
from hubspot_sandbox.payload import as_object, find_text, text_field
from hubspot_sandbox.records import (
    RECORD_ID,
    Selection,
    find_record,
    forward_order,
    get_record,
    render_record,
    with_derived,
)
from hubspot_sandbox.schema import ObjectType, Values
from hubspot_sandbox.store import Portal
from hubspot_sandbox.tables import Record, RecordTable, Ref

MAX_IDENTITIES: Final = 250
_MERGEABLE: Final = frozenset(each.name for each in (CONTACTS, COMPANIES, DEALS, TICKETS))
_MERGED_IDS: Final = "hs_merged_object_ids"
_MERGED_VIDS: Final = "hs_calculated_merged_vids"


def merge_objects(call: Call, object_type: ObjectType) -> Answer:
    """Merge two records and return what they became, in most portals under a new id."""
    if object_type.name not in _MERGEABLE:
        raise resource_not_found()
    item = as_object(call.json())
    keys = text_field(item, "primaryObjectId"), text_field(item, "objectIdToMerge")
    primary, other = (get_record(call.portal, object_type, key) for key in keys)
    survivor = merge_records(call.portal, object_type, primary, other)
    return Answer(render_record(call.portal, object_type, survivor, Selection()))


def gdpr_delete(call: Call, object_type: ObjectType) -> Answer:
    """Purge a contact with its history and associations: 204.

    An address that nobody has is 204 too: HubSpot then blocks it for imports and its own user
    interface, but not for the API. Source: HubSpot's knowledge base, "Perform a permanent delete".
    """
    if object_type is not CONTACTS:
        raise resource_not_found()
    item = as_object(call.json())
    key, id_property = text_field(item, "objectId"), find_text(item, "idProperty")
    record = find_record(call.portal, object_type, key, id_property)
    if record is None and id_property in (None, "", RECORD_ID):
        # What is in the recycle bin has its personal data still.
        record = get_record(call.portal, object_type, key, archived=True)
    if record:
        purge_record(call.portal, object_type, record)
    return Answer(status=204)


def purge_record(portal: Portal, object_type: ObjectType, record: Record) -> None:
    """Forget a record for good: its values, their history and its associations."""
    remove_associations(portal, Ref(object_type.name, record.id))
    portal.table(object_type).purge(record)
    now = portal.clock.now_ms()
    for kind in (PRIVACY_DELETION, DELETION):
        portal.undo_log.emit(Event(kind, object_type.name, record.id, now))


def merge_records(
    portal: Portal, object_type: ObjectType, primary: Record, other: Record
) -> Record:
    """Merge two live records: the primary one's values win, and the other's fill the gaps.

    Their ids lead to the survivor from then on, and their associations are the survivor's.
    Raises 400 for a record with itself and 414 beyond HubSpot's 250 identities of a record.
    """
    if primary is other:
        raise invalid(f"Cannot merge the object {primary.id} with itself")
    table, now = portal.table(object_type), portal.clock.now_ms()
    properties = _merged_properties(portal, object_type, primary, other, now)
    computed = object_type.computed or {}
    moved = other.properties.keys() - primary.properties.keys() - computed.keys()
    _check_identities(table, properties[_MERGED_IDS])
    if portal.settings.merge_mints_new_id:
        survivor = _mint(portal, object_type, primary, other, properties, now)
    else:
        survivor = primary
        table.merge(other, primary)
        table.change(primary, properties, now)
    for gone in (primary, other):
        if gone is not survivor:
            move_associations(
                portal, Ref(object_type.name, gone.id), Ref(object_type.name, survivor.id)
            )
    portal.undo_log.emit(
        Event(
            MERGE,
            object_type.name,
            survivor.id,
            now,
            {
                "primaryObjectId": primary.id,
                "mergedObjectIds": [other.id],
                "newObjectId": survivor.id,
                "numberOfPropertiesMoved": len(moved),
            },
        )
    )
    return survivor


def _mint(
    portal: Portal,
    object_type: ObjectType,
    primary: Record,
    other: Record,
    properties: dict[str, str],
    now: int,
) -> Record:
    """Put a new record in the place of both; it goes on with the primary one's history."""
    table = portal.table(object_type)
    actor = portal.undo_log.actor
    names = {name for name, _ in primary.properties.items() ^ properties.items()}
    before = {name: primary.properties.get(name) for name in names}
    survivor = Record(
        portal.take_id(object_type),
        properties,
        min(primary.created_at, other.created_at),
        now,
        changes=[*primary.changes, (now, before, actor.source, actor.source_id)],
        minted_at=now,
    )
    # The first to go makes room for the survivor, who holds its unique values.
    table.merge(primary, survivor)
    table.merge(other, survivor)
    return survivor


def _merged_properties(
    portal: Portal, object_type: ObjectType, primary: Record, other: Record, now: int
) -> dict[str, str]:
    """Return what the survivor holds; a lifecycle stage is the furthest of both.

    Source: HubSpot's knowledge base, "Merge records".
    """
    mine, theirs = primary.properties, other.properties
    merged = {**theirs, **mine}
    stage = object_type.forward_only
    if stage and stage in mine and stage in theirs:
        order = forward_order(portal, object_type)
        merged[stage] = max(mine[stage], theirs[stage], key=lambda each: order.get(each, 0))
    if object_type.email and object_type.more_emails:
        merged |= _merged_emails(object_type.email, object_type.more_emails, mine, theirs)
    gone = (primary, other) if portal.settings.merge_mints_new_id else (other,)
    merged[_MERGED_IDS] = _joined(mine, theirs, _MERGED_IDS, [str(each.id) for each in gone])
    if object_type is CONTACTS:
        vids = [f"{each.id}:{now}" for each in (primary, other)]
        merged[_MERGED_VIDS] = _joined(mine, theirs, _MERGED_VIDS, vids)
    return with_derived(portal, object_type, merged)


def _merged_emails(email: str, more: str, mine: Values, theirs: Values) -> dict[str, str]:
    """Return the survivor's address, and all others of both as additional ones."""
    lists = (values.get(name, "").split(";") for name in (email, more) for values in (mine, theirs))
    addresses = list(dict.fromkeys(each for addresses in lists for each in addresses if each))
    first = {email: addresses[0]} if addresses else {}
    return first | ({more: ";".join(addresses[1:])} if addresses[1:] else {})


def _joined(mine: Values, theirs: Values, name: str, added: Sequence[str]) -> str:
    return ";".join(filter(None, (mine.get(name), theirs.get(name), *added)))


def _check_identities(table: RecordTable, merged_ids: str) -> None:
    """Refuse one record more than HubSpot merges; ids that came from a merge are none."""
    minted = set(table.merged.values())
    identities = [each for each in merged_ids.split(";") if int(each) not in minted]
    if len(identities) > MAX_IDENTITIES:
        message = f"Cannot have more than {MAX_IDENTITIES} identities on a profile"
        raise HubSpotError(414, message)


ROUTES = (
    Route("objects", "POST", "/<object_type>/merge", merge_objects),
    Route("objects", "POST", "/<object_type>/gdpr-delete", gdpr_delete),
)
