"""One record at a time: create, read, update, archive, and the list of all.

Source: HubSpot docs, using object APIs.
"""

from collections.abc import Callable, Sequence
from typing import Any

from hubspot_sandbox.associations import associate_inline, inline_renderer
from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import id_not_numeric, invalid
from hubspot_sandbox.object_types import get_object_type
from hubspot_sandbox.payload import JSONObject, as_object, property_values, whole_number
from hubspot_sandbox.records import (
    Selection,
    archive_record,
    create_record,
    get_record,
    render_record,
    renderer,
    select,
    update_record,
)
from hubspot_sandbox.schema import ObjectType
from hubspot_sandbox.tables import Record
from hubspot_sandbox.write_rules import Warnings, check_may_associate, govern_write, with_warnings

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
    return Answer(_renderer(call, object_type)(record))


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
    table = call.portal.table(object_type)
    records, following = table.page(start, size, archived=call.flag("archived"))
    # Apart from the page, all that the renderer takes from the call.
    query = [(name, *each) for name, each in call.query.items() if name not in ("after", "limit")]
    selection = (call.url, *query)
    results = call.portal.json_cache.get_or_render(selection, records, _renderer(call, object_type))
    payload: dict[str, Any] = {"results": results}
    if following:
        payload["paging"] = call.page_link(str(following))
    return Answer(payload)


def _renderer(call: Call, object_type: ObjectType) -> Callable[[Record], dict[str, Any]]:
    """Return how to render records with what the query asks for, associations included."""
    selection = select(object_type, call.names("properties"), call.names("propertiesWithHistory"))
    render = renderer(call.portal, object_type, selection)
    targets = [get_object_type(name) for name in call.names("associations")]
    inline = [
        (each.association_key or each.name, each, inline_renderer(call.portal, object_type, each))
        for each in targets
    ]
    if not inline:
        return render

    def render_all(record: Record) -> dict[str, Any]:
        shape = render(record)
        associations: dict[str, Any] = {}
        for key, to_type, render_rows in inline:
            rows = render_rows(record)
            if len(rows) > _INLINE_ASSOCIATIONS_PAGE:
                associations[key] = _first_page(call, object_type, record, to_type, rows)
            elif rows:
                associations[key] = {"results": rows}
        if associations:
            shape["associations"] = associations
        return shape

    return render_all


def _first_page(
    call: Call,
    object_type: ObjectType,
    record: Record,
    to_type: ObjectType,
    rows: Sequence[dict[str, str]],
) -> dict[str, Any]:
    """Return as much as fits inline; the rest is read from the associations API."""
    after = rows[_INLINE_ASSOCIATIONS_PAGE]["id"]
    link = f"{call.url.partition('/crm/')[0]}/crm/v4/objects/{object_type.name}/{record.id}"
    return {
        "results": rows[:_INLINE_ASSOCIATIONS_PAGE],
        "paging": {
            "next": {"after": after, "link": f"{link}/associations/{to_type.name}?after={after}"}
        },
    }


ROUTES = (
    Route("objects", "POST", "/<object_type>", create_object),
    Route("objects", "GET", "/<object_type>", list_objects),
    Route("objects", "GET", "/<object_type>/<record_id>", read_object),
    Route("objects", "PATCH", "/<object_type>/<record_id>", update_object),
    Route("objects", "DELETE", "/<object_type>/<record_id>", archive_object),
)
