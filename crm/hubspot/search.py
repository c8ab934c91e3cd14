"""Search: HubSpot's CRM search API, without its limit of 10,000 results.

Source: HubSpot docs, search the CRM; live observations. The index lags behind the records, by
seconds and at worst a minute, and archived records are never in it: search does not decide whether
something exists.

Pages are never asked for by offset, which ends at 10,000 and skips a record whenever one before it
leaves the results. Each search begins after the last record of the one before.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from crm.hubspot.answers import HubSpotRecord, parse_time, reading
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError
from crm.hubspot.paging import next_after
from crm.hubspot.records import read_batch
from crm.object_types import ObjectType

PAGE = 200
"""The most results of one search."""

LAG = timedelta(minutes=1)
"""By how much the index may be behind, to be on the safe side; HubSpot promises nothing."""

_RECORD_ID = "hs_object_id"
_LONGEST_BODY = 3000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Filter:
    """A condition on one property.

    Enumerations are compared with their letter case; texts without, but the ``values`` of IN and
    NOT_IN must be in lower case.
    """

    name: str
    operator: str
    """HubSpot's: EQ, NEQ, LT, LTE, GT, GTE, BETWEEN, IN, NOT_IN, HAS_PROPERTY and so on."""
    value: str | None = None
    """Moments are milliseconds since 1970."""
    high_value: str | None = None
    """The upper end of BETWEEN."""
    values: Sequence[str] = ()
    """Of IN and NOT_IN."""

    def as_json(self) -> dict[str, Any]:
        """The filter as HubSpot reads it."""
        given = {
            "propertyName": self.name,
            "operator": self.operator,
            "value": self.value,
            "highValue": self.high_value,
            "values": list(self.values),
        }
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True)
class _Page:
    """A page as the index shows it; ``records`` may be newer, and fewer."""

    ids: Sequence[str]
    modified: Sequence[int]
    records: Sequence[HubSpotRecord]
    is_last: bool


@dataclass(frozen=True)
class Extent:
    """How many live records there are, and when one of them was last modified."""

    total: int
    newest: datetime | None
    """By HubSpot's clock; None without records."""


def measure(client: HubSpotClient, object_type: ObjectType) -> Extent:
    """The extent of a type, as the index shows it, with one request."""
    total, last = _find_last(client, object_type, (), object_type.modified_property)
    return Extent(total, last.updated_at if last else None)


@dataclass(frozen=True)
class Count:
    """How many live records match, and the highest of their ids."""

    total: int
    last_id: int | None
    """None without records."""


def count(client: HubSpotClient, object_type: ObjectType, filters: Sequence[Filter] = ()) -> Count:
    """Count the records that match all filters, as the index shows them, with one request."""
    total, last = _find_last(client, object_type, filters, _RECORD_ID)
    with reading():
        return Count(total, int(last.id) if last else None)


def _find_last(
    client: HubSpotClient, object_type: ObjectType, filters: Sequence[Filter], name: str
) -> tuple[int, HubSpotRecord | None]:
    """How many records match all filters, and the last of them by a property."""
    asked = {
        "filterGroups": [{"filters": [each.as_json() for each in filters]}] if filters else [],
        "sorts": [{"propertyName": name, "direction": "DESCENDING"}],
        "properties": [name],
        "limit": 1,
    }
    path = client.path("objects", object_type.name, "search")
    body = client.call("POST", path, body=asked, repeatable=True)
    with reading():
        records = [HubSpotRecord.from_json(each) for each in body["results"]]
        return int(body["total"]), records[0] if records else None


def search(
    client: HubSpotClient,
    object_type: ObjectType,
    filters: Sequence[Filter] = (),
    *,
    properties: Sequence[str] = (),
    after: int = 0,
) -> Iterator[HubSpotRecord]:
    """Every record that matches all filters, each once, by id.

    What is written meanwhile is found or not, but never makes another record come twice or not
    at all.

    Args:
        client: of the portal.
        object_type: whose records.
        filters: five at most, since HubSpot takes six.
        properties: to read; without any, HubSpot's few default ones.
        after: the id to begin after.
    """
    last = after
    while True:
        after_last = Filter(_RECORD_ID, "GT", str(last))
        page = _find(client, object_type, [*filters, after_last], _RECORD_ID, properties)
        if not page.is_last:
            last = _beyond(last, map(int, page.ids))
        yield from page.records
        if page.is_last:
            return


def search_modified(
    client: HubSpotClient,
    object_type: ObjectType,
    since: datetime,
    *,
    properties: Sequence[str] = (),
) -> Iterator[HubSpotRecord]:
    """Every record that was modified at or after a moment, each once, oldest modification first.

    Any number of records may have been modified at the same moment, as by an import. A record that
    is modified again while the search runs still comes once, maybe as it was before; so the next
    search begins where this one began, less ``LAG``, not at the last record's modification.

    Args:
        client: of the portal.
        object_type: whose records.
        since: aware of its time zone.
        properties: to read; without any, HubSpot's few default ones.
    """
    name = object_type.modified_property
    start = _milliseconds(since)
    seen: set[str] = set()

    def unseen(records: Iterable[HubSpotRecord]) -> Iterator[HubSpotRecord]:
        for record in records:
            if record.id not in seen:
                seen.add(record.id)
                yield record

    while True:
        since_start = Filter(name, "GTE", str(start))
        page = _find(client, object_type, [since_start], name, properties)
        yield from unseen(page.records)
        if page.is_last:
            return
        last = max(page.modified, default=start)
        if last == start:
            # A whole page of one moment, and only one sort is allowed: so these by their ids.
            at_start = Filter(name, "EQ", str(start))
            yield from unseen(search(client, object_type, [at_start], properties=properties))
            last += 1
        # Of those modified last there may be more on the next page, which begins with them again.
        start = last


def _find(
    client: HubSpotClient,
    object_type: ObjectType,
    filters: Sequence[Filter],
    sort: str,
    properties: Sequence[str],
) -> _Page:
    modified = object_type.modified_property
    asked: dict[str, Any] = {
        "filterGroups": [{"filters": [each.as_json() for each in filters]}],
        "sorts": [{"propertyName": sort, "direction": "ASCENDING"}],
        "properties": [*properties, modified] if properties else [],
        "limit": PAGE,
    }
    # HubSpot refuses longer ones, so many properties are read in batches.
    is_long = len(orjson.dumps(asked)) > _LONGEST_BODY
    if is_long:
        asked["properties"] = [modified]
    path = client.path("objects", object_type.name, "search")
    body = client.call("POST", path, body=asked, repeatable=True)
    with reading():
        records = [HubSpotRecord.from_json(each) for each in body["results"]]
        ids = [record.id for record in records]
        moments = [_milliseconds(_moment(record, modified)) for record in records]
        is_last = next_after(body) is None
    if is_long:
        found = read_batch(client, object_type, ids, properties=properties).found
        records = [found[each] for each in ids if each in found]
    return _Page(ids, moments, records, is_last)


def _moment(record: HubSpotRecord, name: str) -> datetime:
    moment = parse_time(record.properties.get(name))
    if moment is None:
        raise HubSpotError(f"HubSpot's search found a record without its {name}")
    return moment


def _beyond(last: int, found: Iterator[int]) -> int:
    furthest = max(found, default=last)
    if furthest <= last:
        raise HubSpotError("HubSpot's search does not go on after the records that it has found")
    return furthest


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
