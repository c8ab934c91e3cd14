"""Lists of records, which HubSpot's user interface calls segments: definitions and members.

Sources: HubSpot docs, lists guide and reference; the official client for the shapes; a client of
the live API for the sub-category of a taken name. All other refusals are unverified. The sandbox
evaluates no filters: it refuses lists that need them, since they would stay empty for ever.
"""

from dataclasses import replace
from typing import Any, Final

from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.clock import DAY_MS, iso
from hubspot_sandbox.errors import NOT_FOUND, HubSpotError, invalid, missing_fields
from hubspot_sandbox.object_types import OBJECT_TYPES, get_object_type
from hubspot_sandbox.payload import (
    JSONObject,
    as_object,
    find_text,
    text_field,
    text_list,
    whole_number,
)
from hubspot_sandbox.schema import ObjectType
from hubspot_sandbox.setup import RecordList
from hubspot_sandbox.store import Portal

# Unverified: what the cheapest accounts may have of static lists.
MAX_LISTS: Final = 1_000
_MAX_NAME_LENGTH: Final = 255
_PROCESSING_TYPES: Final = ("MANUAL", "SNAPSHOT", "DYNAMIC")
_REQUIRED: Final = ("name", "objectTypeId", "processingType")
_LISTS_PAGE: Final = 20
_MAX_LISTS_PAGE: Final = 500
_DAYS_TO_RESTORE: Final = 90


def create_list(call: Call) -> Answer:
    """Create an empty list; one that needs filters is refused."""
    item = as_object(call.json())
    absent = [name for name in _REQUIRED if find_text(item, name) is None]
    if absent:
        raise missing_fields(*absent)
    name, type_id, processing_type = (text_field(item, each) for each in _REQUIRED)
    object_type = get_object_type(type_id)
    if object_type.type_id != type_id:
        raise invalid(f"The objectTypeId {type_id} is not the id of an object type")
    _check_processing(item, processing_type)
    _check_name(call.portal, name)
    if len(present_lists(call.portal)) >= MAX_LISTS:
        raise invalid(f"An account can have at most {MAX_LISTS} lists")
    now, author = call.portal.clock.now_ms(), _author(call)
    created = RecordList(
        id=call.portal.setup.take_list_id(),
        name=name,
        object_type=object_type.name,
        processing_type=processing_type,
        created_at=now,
        created_by=author,
        updated_at=now,
        updated_by=author,
    )
    call.portal.setup.put_list(created)
    return Answer({"list": _render(call.portal, created)})


def read_lists(call: Call) -> Answer:
    """Return those of the lists named by ``listIds`` that there are."""
    wanted = {whole_number(each) for each in call.names("listIds")}
    found = [each for each in present_lists(call.portal) if each.id in wanted]
    return Answer({"lists": [_render(call.portal, each) for each in found]})


def read_list(call: Call, list_id: str) -> Answer:
    """Return one list."""
    return Answer({"list": _render(call.portal, get_list(call.portal, list_id))})


def read_list_by_name(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Return the list of a type that has a name, in whatever letter case."""
    found = _find_by_name(call.portal, name)
    if found is None or found.object_type != object_type.name:
        message = f"There is no list of {object_type.type_id} with the name {name}"
        raise HubSpotError(404, message, NOT_FOUND)
    return Answer({"list": _render(call.portal, found)})


def search_lists(call: Call) -> Answer:
    """Return a page of the lists with a text in their name; ``offset`` leads to the next page."""
    item = as_object(call.json())
    if item.get("sort") is not None:
        raise invalid("The sandbox does not know the orders that lists can be sorted in")
    size, start = _whole(item, "count", _LISTS_PAGE), _whole(item, "offset", 0)
    if not 1 <= size <= _MAX_LISTS_PAGE:
        raise invalid(f"The count must be between 1 and {_MAX_LISTS_PAGE}, got {size}")
    ids, kinds = text_list(item, "listIds"), text_list(item, "processingTypes")
    words, type_id = (find_text(item, "query") or "").lower(), find_text(item, "objectTypeId")
    found = [
        each
        for each in present_lists(call.portal)
        if words in each.name.lower()
        and (not ids or str(each.id) in ids)
        and (not kinds or each.processing_type in kinds)
        and type_id in (None, OBJECT_TYPES[each.object_type].type_id)
    ]
    page = found[start : start + size]
    return Answer(
        {
            "offset": start + len(page),
            "hasMore": start + size < len(found),
            "lists": [_render_found(call.portal, each) for each in page],
            "total": len(found),
        }
    )


def rename_list(call: Call, list_id: str) -> Answer:
    """Give a list the name that the parameter ``listName`` says."""
    before, name = get_list(call.portal, list_id), call.text("listName")
    if name is None:
        raise missing_fields("listName")
    _check_name(call.portal, name, besides=before)
    after = put_list(call, replace(before, name=name))
    return Answer({"updatedList": _render(call.portal, after)})


def delete_list(call: Call, list_id: str) -> Answer:
    """Delete a list, which can be restored for 90 days: 204."""
    put_list(call, replace(get_list(call.portal, list_id), deleted_at=call.portal.clock.now_ms()))
    return Answer(status=204)


def restore_list(call: Call, list_id: str) -> Answer:
    """Bring a deleted list back with its members, unless its name was taken since: 204."""
    found = call.portal.setup.lists.get(whole_number(list_id) or 0)
    now = call.portal.clock.now_ms()
    if not found or not found.deleted_at or now - found.deleted_at > _DAYS_TO_RESTORE * DAY_MS:
        raise _no_such_list(list_id)
    _check_name(call.portal, found.name)
    put_list(call, replace(found, deleted_at=None))
    return Answer(status=204)


def present_lists(portal: Portal) -> list[RecordList]:
    """Return all lists but the deleted ones, oldest first."""
    return [each for each in portal.setup.lists.values() if each.deleted_at is None]


def get_list(portal: Portal, list_id: str) -> RecordList:
    """Return a list that is not deleted; raise 404."""
    found = portal.setup.lists.get(whole_number(list_id) or 0)
    if found is None or found.deleted_at is not None:
        raise _no_such_list(list_id)
    return found


def _no_such_list(list_id: str) -> HubSpotError:
    return HubSpotError(404, f"List {list_id} does not exist", NOT_FOUND)


def _find_by_name(portal: Portal, name: str) -> RecordList | None:
    found = (each for each in present_lists(portal) if each.name.lower() == name.lower())
    return next(found, None)


def _check_name(portal: Portal, name: str, *, besides: RecordList | None = None) -> None:
    if not 1 <= len(name.strip()) <= _MAX_NAME_LENGTH:
        raise invalid(f"A list's name must have 1 to {_MAX_NAME_LENGTH} characters")
    holder = _find_by_name(portal, name)
    if holder and holder is not besides:
        message = f"A list with the name {name} exists already"
        raise invalid(message, sub_category="ILS.DUPLICATE_LIST_NAMES")


def _check_processing(item: JSONObject, processing_type: str) -> None:
    if processing_type not in _PROCESSING_TYPES:
        raise invalid(f"{processing_type} is none of {', '.join(_PROCESSING_TYPES)}")
    if processing_type == "DYNAMIC" or item.get("filterBranch") is not None:
        raise invalid("The sandbox evaluates no filters, so it holds lists without them only")
    if item.get("listFolderId") not in (None, 0, "0"):
        raise invalid("The sandbox holds no folders, so every list stands in the root, 0")


def _author(call: Call) -> int:
    return call.access.user_id or call.access.app_id


def put_list(call: Call, changed: RecordList) -> RecordList:
    """Keep a changed list, and return it with who changed it and when."""
    now = call.portal.clock.now_ms()
    after = replace(changed, updated_at=now, updated_by=_author(call))
    call.portal.setup.put_list(after)
    return after


def members_of(portal: Portal, listed: RecordList) -> dict[int, int]:
    """Return the live members and when they joined; what was merged away is its survivor.

    Source: HubSpot's knowledge base, "Merge records": the survivor is in the static lists of both.
    """
    table = portal.tables[listed.object_type]
    found: dict[int, int] = {}
    for record_id, at in listed.members.items():
        record = table.find(record_id) or table.find_survivor(record_id)
        if record:
            found[record.id] = min(at, found.get(record.id, at))
    return found


def _whole(item: JSONObject, name: str, default: int) -> int:
    text = find_text(item, name)
    value = default if text is None else whole_number(text)
    if value is None:
        raise invalid(f"The {name} must be a whole number, got {text}")
    return value


def _render(portal: Portal, listed: RecordList) -> dict[str, Any]:
    return {**_render_definition(listed), "size": len(members_of(portal, listed))}


def _render_found(portal: Portal, listed: RecordList) -> dict[str, Any]:
    """Return what a search shows; properties of a list are text, and left out when empty."""
    members = members_of(portal, listed)
    properties = {"hs_list_size": str(len(members)), "hs_list_reference_count": "0"}
    if members:
        properties["hs_last_record_added_at"] = str(max(members.values()))
    if listed.removed_at is not None:
        properties["hs_last_record_removed_at"] = str(listed.removed_at)
    return {**_render_definition(listed), "additionalProperties": properties}


def _render_definition(listed: RecordList) -> dict[str, Any]:
    return {
        "listId": str(listed.id),
        "listVersion": 1,
        "name": listed.name,
        "objectTypeId": OBJECT_TYPES[listed.object_type].type_id,
        "processingType": listed.processing_type,
        "processingStatus": "COMPLETE",
        "createdAt": iso(listed.created_at),
        "createdById": str(listed.created_by),
        "updatedAt": iso(listed.updated_at),
        "updatedById": str(listed.updated_by),
        "filtersUpdatedAt": iso(listed.created_at),
    }


_ONE: Final = "/<list_id>"

ROUTES = (
    Route("lists", "POST", "", create_list),
    Route("lists", "GET", "", read_lists),
    Route("lists", "POST", "/search", search_lists),
    Route("lists", "GET", _ONE, read_list),
    Route("lists", "DELETE", _ONE, delete_list),
    Route("lists", "GET", "/object-type-id/<object_type>/name/<name>", read_list_by_name),
    Route("lists", "PUT", _ONE + "/update-list-name", rename_list),
    Route("lists", "PUT", _ONE + "/restore", restore_list),
)
