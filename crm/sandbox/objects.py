"""One record at a time: create, read, update, archive, and the list of all.

Source: HubSpot docs, using object APIs.
"""

from collections.abc import Sequence
from typing import Any

from crm.sandbox.associations import associate_inline, render_inline
from crm.sandbox.calls import Answer, Call, Route
from crm.sandbox.errors import id_not_numeric, invalid
from crm.sandbox.object_types import get_object_type
from crm.sandbox.payload import JSONObject, as_object, property_values, whole_number
from crm.sandbox.records import (
    Selection,
    archive_record,
    create_record,
    get_record,
    render_record,
    select,
    update_record,
)
from crm.sandbox.schema import ObjectType
from crm.sandbox.tables import Record
from crm.sandbox.write_rules import Warnings, check_may_associate, govern_write, with_warnings

MAX_LIST_PAGE = 100
MAX_LIST_PAGE_WITH_HISTORY = 50
_DEFAULT_LIST_PAGE = 10
_INLINE_ASSOCIATIONS_PAGE = 500


def create_object(call: Call, object_type: ObjectType) -> Answer:
    """Create a record with its associations: 201, its address in ``Location``."""
    item = as_object(call.json())
    record, warnings = create_associated(call, object_type, item)
    shape = with_warnings(render_record(call.portal, object_type, record, Selection()), warnings)
    return Answer(shape, 201, {"Location": f"{call.url}/{record.id}"})


def create_associated(
    call: Call, object_type: ObjectType, item: JSONObject
) -> tuple[Record, Warnings]:
    """Create a record of an input with ``properties`` and perhaps ``associations``."""
    values, warnings = govern_write(call, object_type, property_values(item))
    record = create_record(call.portal, object_type, values)
    if item.get("associations"):
        targets = associate_inline(call.portal, object_type, record, item)
        check_may_associate(call, object_type, *targets)
    return record, warnings


def read_object(call: Call, object_type: ObjectType, record_id: str) -> Answer:
    """Return a record by id or by ``idProperty``; an archived one only when asked for."""
    id_property, archived = call.text("idProperty"), call.flag("archived")
    record = get_record(call.portal, object_type, record_id, id_property, archived=archived)
    return Answer(_render_with_associations(call, object_type, record, _target_types(call)))


def update_object(call: Call, object_type: ObjectType, record_id: str) -> Answer:
    """Write properties to a live record and return all that are set."""
    item = as_object(call.json())
    record = get_record(call.portal, object_type, record_id, call.text("idProperty"))
    values, warnings = govern_write(call, object_type, property_values(item), record)
    update_record(call.portal, object_type, record, values)
    shape = render_record(call.portal, object_type, record, Selection())
    return Answer(with_warnings(shape, warnings))


def archive_object(call: Call, object_type: ObjectType, record_id: str) -> Answer:
    """Archive a record: 204, also when there was none.

    The id of a merged record archives what it became, as GET and PATCH find that (unverified).
    """
    number = whole_number(record_id)
    if number is None:
        raise id_not_numeric(record_id)
    table = call.portal.table(object_type)
    record = table.find(number) or table.find_survivor(number)
    if record:
        archive_record(call.portal, object_type, record)
    return Answer(status=204)


def list_objects(call: Call, object_type: ObjectType) -> Answer:
    """Return a page of records by id; ``paging.next.after`` is the next record's id."""
    history = call.names("propertiesWithHistory")
    maximum = MAX_LIST_PAGE_WITH_HISTORY if history else MAX_LIST_PAGE
    size = call.limit(_DEFAULT_LIST_PAGE, maximum)
    after = call.text("after") or "0"
    start = whole_number(after)
    if start is None:
        raise invalid(f"Invalid paging cursor: {after}")
    targets = _target_types(call)
    table = call.portal.table(object_type)
    records, following = table.page(start, size, archived=call.flag("archived"))
    results = [_render_with_associations(call, object_type, each, targets) for each in records]
    payload: dict[str, Any] = {"results": results}
    if following:
        payload["paging"] = call.page_link(str(following))
    return Answer(payload)


def _target_types(call: Call) -> list[ObjectType]:
    return [get_object_type(name) for name in call.names("associations")]


def _render_with_associations(
    call: Call, object_type: ObjectType, record: Record, targets: Sequence[ObjectType]
) -> dict[str, Any]:
    selection = select(object_type, call.names("properties"), call.names("propertiesWithHistory"))
    shape = render_record(call.portal, object_type, record, selection)
    associations = {
        each.association_key or each.name: _associations_page(call, object_type, record, each)
        for each in targets
    }
    present = {name: page for name, page in associations.items() if page["results"]}
    if present:
        shape["associations"] = present
    return shape


def _associations_page(
    call: Call, object_type: ObjectType, record: Record, to_type: ObjectType
) -> dict[str, Any]:
    """Return the first page of inline associations; the rest is read from the associations API."""
    rows = render_inline(call.portal, object_type, record, to_type)
    page: dict[str, Any] = {"results": rows[:_INLINE_ASSOCIATIONS_PAGE]}
    if len(rows) > _INLINE_ASSOCIATIONS_PAGE:
        after = rows[_INLINE_ASSOCIATIONS_PAGE]["id"]
        link = f"{call.url.partition('/crm/')[0]}/crm/v4/objects/{object_type.name}/{record.id}"
        page["paging"] = {
            "next": {"after": after, "link": f"{link}/associations/{to_type.name}?after={after}"}
        }
    return page


ROUTES = (
    Route("objects", "POST", "/<object_type>", create_object),
    Route("objects", "GET", "/<object_type>", list_objects),
    Route("objects", "GET", "/<object_type>/<record_id>", read_object),
    Route("objects", "PATCH", "/<object_type>/<record_id>", update_object),
    Route("objects", "DELETE", "/<object_type>/<record_id>", archive_object),
)
