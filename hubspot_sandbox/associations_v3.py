"""The associations API before labels: v3, where a type goes by its name and every id is text.

Source: HubSpot docs, associations v3 guide. It has no successor under the dated paths.
"""

from typing import Any

from hubspot_sandbox.association_routes import (
    MAX_ARCHIVE,
    MAX_CREATE,
    MAX_READ,
    PAGE,
    end_key,
    no_associations,
    write_pairs,
)
from hubspot_sandbox.associations import (
    associate,
    get_ref,
    live_targets,
    remove_types,
    type_ids_to_types,
)
from hubspot_sandbox.batches import batch_answer
from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import invalid
from hubspot_sandbox.payload import JSONObject, batch_inputs, text_field, whole_number
from hubspot_sandbox.records import Selection, find_record, get_record, render_record
from hubspot_sandbox.schema import AssociationType, ObjectType
from hubspot_sandbox.tables import Ref


def list_associations(
    call: Call, from_type: ObjectType, record_id: str, to_type: ObjectType
) -> Answer:
    """Return a page of what a record is associated with, one row for each type."""
    size, start = call.limit(PAGE, PAGE), whole_number(call.text("after") or "0")
    if start is None:
        raise invalid(f"Invalid paging cursor: {call.text('after')}")
    if call.portal.table(from_type).find_survivor(whole_number(record_id) or 0):
        return Answer({"results": []})
    source = get_ref(call.portal, from_type, record_id)
    rows, following = _page(call, source, to_type, start, size)
    paging = {"paging": call.page_link(following)} if following else {}
    return Answer({"results": rows, **paging})


def put_association(
    call: Call,
    from_type: ObjectType,
    record_id: str,
    to_type: ObjectType,
    to_id: str,
    type_name: str,
) -> Answer:
    """Add a type between two records and return the first of them."""
    declared = _get_type(call, from_type, to_type, type_name)
    source = get_ref(call.portal, from_type, record_id)
    associate(call.portal, source, get_ref(call.portal, to_type, to_id), [declared])
    record = get_record(call.portal, from_type, record_id)
    return Answer(render_record(call.portal, from_type, record, Selection()))


def archive_association(
    call: Call,
    from_type: ObjectType,
    record_id: str,
    to_type: ObjectType,
    to_id: str,
    type_name: str,
) -> Answer:
    """Remove a type between two records, with the unlabelled one all of them: 204."""
    declared = _get_type(call, from_type, to_type, type_name)
    source = get_ref(call.portal, from_type, record_id)
    remove_types(call.portal, source, get_ref(call.portal, to_type, to_id), [declared])
    return Answer(status=204)


def list_types(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Return the ids and names of the types of a direction."""
    types = call.portal.setup.types_between(from_type, to_type)
    return Answer({"results": [{"id": str(each.type_id), "name": each.name} for each in types]})


def batch_read(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Return the associations of many records: 207 when some of them have none."""
    results, errors = [], []
    for item in batch_inputs(call.json(), MAX_READ):
        key = text_field(item, "id")
        record = find_record(call.portal, from_type, key)
        rows: list[dict[str, str]] = []
        following = None
        if record:
            rows, following = _page(call, Ref(from_type.name, record.id), to_type, 0, PAGE)
        if not rows:
            errors.append(no_associations(from_type, key, to_type))
            continue
        paging = {"paging": {"next": {"after": following}}} if following else {}
        results.append({"from": {"id": key}, "to": rows, **paging})
    return batch_answer(call.portal, results, errors, 200)


def batch_create(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Add types between many pairs: 201, or 207 when some records do not exist."""
    inputs = batch_inputs(call.json(), MAX_CREATE)

    def write(source: Ref, target: Ref, item: JSONObject) -> list[dict[str, Any]]:
        declared = _get_type(call, from_type, to_type, text_field(item, "type"))
        associate(call.portal, source, target, [declared])
        ends = {"from": {"id": str(source.id)}, "to": {"id": str(target.id)}}
        return [{**ends, "type": declared.name}]

    return write_pairs(call, (from_type, to_type), inputs, write, 201)


def batch_archive(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Remove types between many pairs, whether they stood or not: 204."""
    for item in batch_inputs(call.json(), MAX_ARCHIVE):
        declared = _get_type(call, from_type, to_type, text_field(item, "type"))
        source, target = (
            Ref(object_type.name, whole_number(end_key(item, end)) or 0)
            for object_type, end in ((from_type, "from"), (to_type, "to"))
        )
        remove_types(call.portal, source, target, [declared])
    return Answer(status=204)


def _page(
    call: Call, source: Ref, to_type: ObjectType, start: int, size: int
) -> tuple[list[dict[str, str]], str | None]:
    """Return the rows of a page of records, and the id where the next page starts."""
    targets = [each for each in live_targets(call.portal, source, to_type) if each[0] >= start]
    rows = [
        {"id": str(target), "type": each.name}
        for target, type_ids in targets[:size]
        for each in type_ids_to_types(call.portal, type_ids)
    ]
    return rows, str(targets[size][0]) if len(targets) > size else None


def _get_type(call: Call, from_type: ObjectType, to_type: ObjectType, key: str) -> AssociationType:
    """Return the type with that name or id; raise 400 when the direction has none."""
    for each in call.portal.setup.types_between(from_type, to_type):
        if key in (each.name, str(each.type_id)):
            return each
    raise invalid(f"{key} is no association type from {from_type.name} to {to_type.name}")


_OF_RECORD = "/<from_type>/<record_id>/associations/<to_type>"
_PAIRS = "/<from_type>/<to_type>"

ROUTES = (
    Route("record_associations_v3", "GET", _OF_RECORD, list_associations),
    Route("record_associations_v3", "PUT", _OF_RECORD + "/<to_id>/<type_name>", put_association),
    Route(
        "record_associations_v3", "DELETE", _OF_RECORD + "/<to_id>/<type_name>", archive_association
    ),
    Route("associations_v3", "GET", _PAIRS + "/types", list_types),
    Route("associations_v3", "POST", _PAIRS + "/batch/read", batch_read),
    Route("associations_v3", "POST", _PAIRS + "/batch/create", batch_create),
    Route("associations_v3", "POST", _PAIRS + "/batch/archive", batch_archive),
)
