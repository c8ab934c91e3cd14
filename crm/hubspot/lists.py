"""Lists: every record of a type, by id, page after page, with the ids that it is associated with.

Source: HubSpot docs, using object APIs; the order and the cursor, which is a record id, are live
observations and promised nowhere.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crm.hubspot import associations as hubspot_associations
from crm.hubspot.answers import HubSpotRecord, association_key, reading
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError
from crm.hubspot.paging import next_after
from crm.hubspot.records import BATCH, read_batch
from crm.object_types import OBJECT_TYPES, ObjectType

_LONGEST_QUERY = 4000
"""Characters; from which length on HubSpot answers 414 is not documented."""


@dataclass(frozen=True)
class Selection:
    """What is listed, and what of it."""

    object_type: ObjectType
    properties: Sequence[str]
    associations: Collection[ObjectType] = ()
    """The types of which to read the associated ids."""
    archived: bool = False
    """The archived records instead of the live ones."""


@dataclass(frozen=True)
class Page:
    """Records in HubSpot's order, and where the next page begins."""

    records: Sequence[HubSpotRecord]
    unreadable: Mapping[str, str]
    """What is of another shape than a record, by its id or place: why."""
    after: str | None
    """The cursor of the page after this one; None at the end."""


def read_page(
    client: HubSpotClient, selection: Selection, *, after: str = "", limit: int = BATCH
) -> Page:
    """One page of a list, its associations complete.

    Args:
        client: of the portal.
        selection: what to list.
        after: a cursor as HubSpot gave it, or an id, which may then come again; empty for the
            beginning.
        limit: of its records, up to 100.
    """
    names = ",".join(selection.properties)
    is_long = len(names) > _LONGEST_QUERY
    params = {
        "limit": str(limit),
        "archived": str(selection.archived).lower(),
        "properties": "" if is_long else names,
        "associations": ",".join(each.name for each in selection.associations),
        "after": after,
    }
    path = client.path("objects", selection.object_type.name)
    given = {name: value for name, value in params.items() if value}
    body = client.call("GET", path, params=given, repeatable=True)
    with reading():
        results, following = list(body["results"]), next_after(body)
    records: dict[str, HubSpotRecord] = {}
    unreadable: dict[str, str] = {}
    cut_off: dict[str, list[str]] = {}
    for number, each in enumerate(results):
        try:
            with reading():
                record = HubSpotRecord.from_json(each)
                for name in _cut_off(each):
                    cut_off.setdefault(name, []).append(record.id)
                records[record.id] = record
        except HubSpotError as error:
            unreadable[_name(each, f"{after or 'first'}+{number}")] = error.message
    for name, ids in cut_off.items():
        records |= _completed(client, selection.object_type, records, name, ids)
    found = list(records.values())
    if is_long:
        found = _with_properties(client, selection, found)
    return Page(found, unreadable, following)


def list_pages(
    client: HubSpotClient, selection: Selection, *, start: str = ""
) -> Iterator[Sequence[HubSpotRecord]]:
    """Every record of a selection, by id, 100 a request; there is no limit to their number.

    Args:
        client: of the portal.
        selection: what to list.
        start: the id to go on from, which may come again; empty for the beginning.

    Raises:
        HubSpotError: also where the pages go round in a circle, or hold something unreadable.
    """
    after: str | None = start
    while after is not None:
        page = read_page(client, selection, after=after)
        for reason in page.unreadable.values():
            raise HubSpotError(reason)
        yield page.records
        if page.after == after:
            raise HubSpotError("HubSpot's list does not go on after the page that it says is next")
        after = page.after


def _cut_off(body: Mapping[str, Any]) -> list[str]:
    """The associations of which the list shows only the first some hundreds."""
    return [
        association_key(name)
        for name, page in (body.get("associations") or {}).items()
        if next_after(page)
    ]


def _completed(
    client: HubSpotClient,
    object_type: ObjectType,
    records: Mapping[str, HubSpotRecord],
    name: str,
    ids: Collection[str],
) -> dict[str, HubSpotRecord]:
    """Records with all of their associated ids of one type."""
    found = hubspot_associations.read(client, object_type, OBJECT_TYPES[name], ids)
    return {
        each: replace(
            records[each],
            associations={**records[each].associations, name: [to.id for to in found[each]]},
        )
        for each in ids
    }


def _with_properties(
    client: HubSpotClient, selection: Selection, records: Sequence[HubSpotRecord]
) -> list[HubSpotRecord]:
    """The same records with properties too many for an address; without those gone meanwhile."""
    found = read_batch(
        client,
        selection.object_type,
        [record.id for record in records],
        properties=selection.properties,
        archived=selection.archived,
    ).found
    return [
        replace(found[record.id], associations=record.associations)
        for record in records
        if record.id in found
    ]


def _name(body: Any, place: str) -> str:
    record_id = body.get("id") if isinstance(body, dict) else None
    return str(record_id) if record_id else place
