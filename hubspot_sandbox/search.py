"""Search: filters, words and one sort over an index that lags behind the records.

Source: HubSpot docs, search the CRM, and live observations. Groups are joined by OR, the filters
of a group by AND. The index shows a record as it stood ``index_lag_ms`` ago.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import invalid, invalid_json
from hubspot_sandbox.filters import Filter, Read, read_filter, reader
from hubspot_sandbox.payload import (
    JSONObject,
    as_list,
    as_object,
    as_text,
    find_text,
    object_list,
    text_field,
    text_list,
    whole_number,
)
from hubspot_sandbox.phones import is_phone_number, only_digits
from hubspot_sandbox.records import renderer, select
from hubspot_sandbox.schema import ObjectType
from hubspot_sandbox.store import Portal
from hubspot_sandbox.tables import Record

MAX_GROUPS = 5
MAX_FILTERS_IN_GROUP = 6
MAX_FILTERS = 18
MAX_PAGE = 200
MAX_RESULTS = 10_000
MAX_LENGTH = 3_000
_DEFAULT_PAGE = 10


@dataclass(frozen=True, slots=True)
class Search:
    """One search as it was asked for; ``descending`` turns the order of ``sort_by`` around."""

    words: tuple[str, ...]
    groups: tuple[tuple[Filter, ...], ...]
    sort_by: Read | None
    descending: bool
    size: int
    start: int


def search_objects(call: Call, object_type: ObjectType) -> Answer:
    """Return a page of matches with their total; ``after`` is an offset as text."""
    body = as_object(call.json())
    if len(call.body.decode(errors="replace")) > MAX_LENGTH:
        raise invalid(f"The search request must not be longer than {MAX_LENGTH} characters")
    search = _read_search(call.portal, object_type, body)
    found = find_matches(call.portal, object_type, search)
    page = found[search.start : search.start + search.size]
    selection = select(object_type, text_list(body, "properties"))
    payload: dict[str, Any] = {
        "total": len(found),
        "results": list(map(renderer(call.portal, object_type, selection), page)),
    }
    end = search.start + search.size
    if end < len(found):
        payload["paging"] = {"next": {"after": str(end)}}
    return Answer(payload)


def find_matches(portal: Portal, object_type: ObjectType, search: Search) -> list[Record]:
    """Return every record that the index shows and the search matches, in its order.

    Without a sort that order is the order of creation.
    """
    horizon = portal.clock.now_ms() - portal.settings.index_lag_ms
    matches = _matcher(object_type, search)
    found = [
        shown
        for record in portal.table(object_type).live()
        # Most records have been shown as they are for long.
        if (shown := record if record.updated_at <= horizon else record.as_of(horizon))
        and matches(shown)
    ]
    if search.sort_by is None:
        return found
    keys = list(map(search.sort_by, found))
    with_value = [place for place, key in enumerate(keys) if key is not None]
    with_value.sort(key=keys.__getitem__, reverse=search.descending)
    without = (place for place, key in enumerate(keys) if key is None)
    return [found[place] for place in (*with_value, *without)]


def _matcher(object_type: ObjectType, search: Search) -> Filter:
    """Return what says whether a record is searched for; it runs for every record there is."""
    groups = [_all_of(group) for group in search.groups]
    in_groups = _any_of(groups)
    if not search.words:
        return in_groups

    def matches(record: Record) -> bool:
        texts = [record.properties.get(name, "").lower() for name in object_type.searchable]
        has_words = all(any(word in text for text in texts) for word in search.words)
        return has_words and in_groups(record)

    return matches


def _all_of(filters: Sequence[Filter]) -> Filter:
    if len(filters) == 1:
        return filters[0]
    return lambda record: all(holds(record) for holds in filters)


def _any_of(groups: Sequence[Filter]) -> Filter:
    if not groups:
        return lambda _: True
    return lambda record: any(holds(record) for holds in groups)


def _read_search(portal: Portal, object_type: ObjectType, body: JSONObject) -> Search:
    size = _whole(body, "limit", _DEFAULT_PAGE)
    start = _whole(body, "after", 0)
    if not 1 <= size <= MAX_PAGE:
        raise invalid(f"The limit must be between 1 and {MAX_PAGE}, got {size}")
    if start + size > MAX_RESULTS:
        raise invalid(f"A search pages through its first {MAX_RESULTS} results only")
    sort_by, descending = _read_sort(portal, object_type, as_list(body.get("sorts") or []))
    return Search(
        words=_words(find_text(body, "query") or ""),
        groups=_read_groups(portal, object_type, body),
        sort_by=sort_by,
        descending=descending,
        size=size,
        start=start,
    )


def _words(query: str) -> tuple[str, ...]:
    """Return the words to look for; a phone number is one, however it is written."""
    if is_phone_number(query):
        return (only_digits(query),)
    return tuple(query.lower().split())


def _read_groups(
    portal: Portal, object_type: ObjectType, body: JSONObject
) -> tuple[tuple[Filter, ...], ...]:
    groups = [object_list(group, "filters") for group in object_list(body, "filterGroups")]
    bare = object_list(body, "filters")
    if bare:
        groups.append(bare)
    if len(groups) > MAX_GROUPS:
        raise invalid(f"A search may have at most {MAX_GROUPS} filter groups")
    if any(len(group) > MAX_FILTERS_IN_GROUP for group in groups):
        raise invalid(f"A filter group may have at most {MAX_FILTERS_IN_GROUP} filters")
    if sum(map(len, groups)) > MAX_FILTERS:
        raise invalid(f"A search may have at most {MAX_FILTERS} filters")
    return tuple(
        tuple(read_filter(portal, object_type, each) for each in group) for group in groups
    )


def _read_sort(
    portal: Portal, object_type: ObjectType, sorts: list[Any]
) -> tuple[Read | None, bool]:
    """Read the one sort that is allowed: a property's name, or an object with a direction."""
    if not sorts:
        return None, False
    if len(sorts) > 1:
        raise invalid("A search may have only one sort")
    if isinstance(sorts[0], dict):
        name = text_field(sorts[0], "propertyName")
        direction = find_text(sorts[0], "direction") or "ASCENDING"
    else:
        text = as_text(sorts[0])
        name, direction = text.removeprefix("-"), "DESCENDING" if text[:1] == "-" else "ASCENDING"
    if direction not in ("ASCENDING", "DESCENDING"):
        raise invalid_json(f"Cannot deserialize a sort direction from {direction}")
    definition = portal.find_property(object_type, name)
    if definition is None:
        raise invalid(f"There is no property {name} to sort by")
    return reader(object_type, definition), direction == "DESCENDING"


def _whole(body: JSONObject, name: str, default: int) -> int:
    text = find_text(body, name)
    value = default if text is None else whole_number(text)
    if value is None:
        raise invalid(f"The {name} must be a whole number, got {text}")
    return value


ROUTES = (Route("objects", "POST", "/<object_type>/search", search_objects),)
