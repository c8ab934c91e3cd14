"""The members of lists: who they are, page by page, and adding and removing them.

Sources: HubSpot docs, lists guide and reference; the official client for the shapes. The refusals
are unverified.
"""

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, TypeAlias

from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.clock import iso
from hubspot_sandbox.errors import invalid, invalid_json, missing_fields
from hubspot_sandbox.lists import get_list, members_of, present_lists, put_list
from hubspot_sandbox.payload import as_list, as_object, as_text, whole_number
from hubspot_sandbox.records import get_record
from hubspot_sandbox.schema import ObjectType

MAX_RECORDS: Final = 100_000
_DEFAULT_PAGE: Final = 100
_MAX_PAGE: Final = 250

# A member's place in the order of a page: the moment it joined, or 0 by id; and its id.
Place: TypeAlias = tuple[int, int]


def list_members(call: Call, list_id: str) -> Answer:
    """Return a page of the members in the order of their ids, with ``before`` backwards."""
    members = members_of(call.portal, get_list(call.portal, list_id))
    return _page(call, members, {(0, record_id) for record_id in members})


def list_members_as_joined(call: Call, list_id: str) -> Answer:
    """Return a page of the members in the order of their joining, with ``before`` backwards."""
    members = members_of(call.portal, get_list(call.portal, list_id))
    return _page(call, members, {(at, record_id) for record_id, at in members.items()})


def add_members(call: Call, list_id: str) -> Answer:
    """Add records, and say which were added and which there are not."""
    return _change_members(call, list_id, add=_read_ids(call.json()))


def remove_members(call: Call, list_id: str) -> Answer:
    """Take records out, and say which were members and which there are not."""
    return _change_members(call, list_id, remove=_read_ids(call.json()))


def add_and_remove_members(call: Call, list_id: str) -> Answer:
    """Add some records and take others out; one that is named twice ends outside (unverified)."""
    item = as_object(call.json())
    absent = [name for name in ("recordIdsToAdd", "recordIdsToRemove") if item.get(name) is None]
    if absent:
        raise missing_fields(*absent)
    add, remove = _read_ids(item["recordIdsToAdd"]), _read_ids(item["recordIdsToRemove"])
    return _change_members(call, list_id, add, remove)


def add_members_of(call: Call, list_id: str, source_id: str) -> Answer:
    """Add all members of another list of the same type: 204."""
    target, source = get_list(call.portal, list_id), get_list(call.portal, source_id)
    if target.id == source.id or target.object_type != source.object_type:
        raise invalid("The lists must be two, and of records of the same type")
    _change_members(call, list_id, add=members_of(call.portal, source))
    return Answer(status=204)


def remove_all_members(call: Call, list_id: str) -> Answer:
    """Take all records out of a list, which stays: 204."""
    _change_members(call, list_id, remove=members_of(call.portal, get_list(call.portal, list_id)))
    return Answer(status=204)


def list_record_memberships(call: Call, object_type: ObjectType, record_id: str) -> Answer:
    """Return the lists that a record is a member of."""
    record = get_record(call.portal, object_type, record_id)
    results = []
    for each in present_lists(call.portal):
        joined = members_of(call.portal, each).get(record.id)
        if each.object_type == object_type.name and joined is not None:
            times = {"firstAddedTimestamp": iso(joined), "lastAddedTimestamp": iso(joined)}
            results.append({"listId": str(each.id), "listVersion": 1, **times})
    return Answer({"results": results, "total": len(results)})


def _change_members(
    call: Call, list_id: str, add: Iterable[int] = (), remove: Iterable[int] = ()
) -> Answer:
    before = get_list(call.portal, list_id)
    table, now = call.portal.tables[before.object_type], call.portal.clock.now_ms()
    members, adding, removing = members_of(call.portal, before), list(add), set(remove)
    added = [
        each for each in adding if table.find(each) and each not in members and each not in removing
    ]
    removed = [each for each in members if each in removing]
    missing = [each for each in dict.fromkeys([*adding, *removing]) if not table.find(each)]
    kept = {record_id: at for record_id, at in members.items() if record_id not in removing}
    # Who comes back from the recycle bin is a member again.
    archived = {
        record_id: at
        for record_id, at in before.members.items()
        if table.find(record_id, archived=True)
    }
    after = {**archived, **kept, **dict.fromkeys(added, now)}
    removed_at = now if removed else before.removed_at
    put_list(call, replace(before, members=after, removed_at=removed_at))
    return Answer(
        {
            "recordsIdsAdded": list(map(str, added)),
            "recordIdsRemoved": list(map(str, removed)),
            "recordIdsMissing": list(map(str, missing)),
        }
    )


def _read_ids(value: object) -> list[int]:
    texts = [as_text(each) for each in as_list(value)]
    if len(texts) > MAX_RECORDS:
        raise invalid(f"At most {MAX_RECORDS} records can be added or removed at once")
    ids = list(map(whole_number, texts))
    if None in ids:
        raise invalid_json(f"Cannot deserialize value of type `long` from {texts[ids.index(None)]}")
    return list(dict.fromkeys(each for each in ids if each is not None))


def _page(call: Call, members: dict[int, int], places: set[Place]) -> Answer:
    """Return the places after or before the cursor; ``after`` goes before ``before``."""
    size = call.limit(_DEFAULT_PAGE, _MAX_PAGE)
    after, before = call.text("after"), call.text("before")
    order = sorted(places)
    if after:
        shown = order[bisect_right(order, _read_cursor(after)) :][:size]
    elif before:
        shown = order[: bisect_left(order, _read_cursor(before))][::-1][:size]
    else:
        shown = order[:size]
    results = [{"recordId": str(e[1]), "membershipTimestamp": iso(members[e[1]])} for e in shown]
    payload: dict[str, Any] = {"total": len(order), "results": results}
    paging: dict[str, Any] = {}
    if shown and max(shown) < order[-1]:
        paging = call.page_link(_cursor(max(shown)))
    if shown and min(shown) > order[0]:
        paging["prev"] = {"before": _cursor(min(shown))}
    return Answer({**payload, "paging": paging} if paging else payload)


def _cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(b"%d:%d" % place).decode()


def _read_cursor(text: str) -> Place:
    try:
        at, record_id = map(int, base64.urlsafe_b64decode(text).split(b":"))
    except (binascii.Error, ValueError):
        raise invalid(f"Invalid paging cursor {text}") from None
    return at, record_id


_MEMBERS: Final = "/<list_id>/memberships"
_OF_RECORD: Final = "/records/<object_type>/<record_id>/memberships"

ROUTES = (
    Route("lists", "GET", _MEMBERS, list_members),
    Route("lists", "GET", _MEMBERS + "/join-order", list_members_as_joined),
    Route("lists", "PUT", _MEMBERS + "/add", add_members),
    Route("lists", "PUT", _MEMBERS + "/remove", remove_members),
    Route("lists", "PUT", _MEMBERS + "/add-and-remove", add_and_remove_members),
    Route("lists", "PUT", _MEMBERS + "/add-from/<source_id>", add_members_of),
    Route("lists", "DELETE", _MEMBERS, remove_all_members),
    Route("lists", "GET", _OF_RECORD, list_record_memberships),
)
