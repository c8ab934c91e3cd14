"""The associations API: one pair at a time and in batches.

Source: HubSpot docs, associations v4 guide and associate records. Ids come as HubSpot mixes
them: ``from.id`` is text, ``toObjectId`` a number.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hubspot_sandbox.associations import (
    associate,
    dissociate,
    get_ref,
    live_targets,
    read_types,
    remove_types,
    render_pair,
    replace_types,
    type_ids_to_types,
    unlabelled_type,
)
from hubspot_sandbox.batches import batch_answer
from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import NOT_FOUND, HubSpotError, invalid
from hubspot_sandbox.payload import (
    JSONObject,
    as_list,
    as_object,
    batch_inputs,
    find_text,
    object_list,
    text_field,
    whole_number,
)
from hubspot_sandbox.records import find_record
from hubspot_sandbox.schema import AssociationType, ObjectType
from hubspot_sandbox.tables import Ref
from hubspot_sandbox.write_rules import check_may_associate

PAGE = 500
MAX_READ = 1_000
MAX_CREATE = 2_000
MAX_DEFAULT = 1_000
MAX_ARCHIVE = 100

Write: TypeAlias = Callable[[Ref, Ref, JSONObject], list[dict[str, Any]]]


def list_associations(
    call: Call, from_type: ObjectType, record_id: str, to_type: ObjectType
) -> Answer:
    """Return a page of what a record is associated with."""
    if call.portal.table(from_type).find_survivor(whole_number(record_id) or 0):
        # Source: HubSpot changelog, "Deals now support merging": they are the survivor's.
        return Answer({"results": []})
    source = get_ref(call.portal, from_type, record_id)
    rows, following = _page(call, source, to_type, call.text("after"), call.limit(PAGE, PAGE))
    paging = {"paging": call.page_link(following)} if following else {}
    return Answer({"results": rows, **paging})


def associate_default(
    call: Call, from_type: ObjectType, record_id: str, to_type: ObjectType, to_id: str
) -> Answer:
    """Associate two records without a label; doing it again changes nothing."""
    check_may_associate(call, from_type, to_type)
    source = get_ref(call.portal, from_type, record_id)
    target = get_ref(call.portal, to_type, to_id)
    associate(call.portal, source, target, [])
    return batch_answer(call.portal, _default_rows(source, target, from_type, to_type), [], 200)


def replace_labels(
    call: Call, from_type: ObjectType, record_id: str, to_type: ObjectType, to_id: str
) -> Answer:
    """Make the given types the only ones between two records: 201."""
    check_may_associate(call, from_type, to_type)
    specs = [as_object(each) for each in as_list(call.json())]
    types = read_types(call.portal, specs, from_type, to_type)
    source = get_ref(call.portal, from_type, record_id)
    target = get_ref(call.portal, to_type, to_id)
    replace_types(call.portal, source, target, types)
    return Answer(render_pair(source, target, types), 201)


def archive_association(
    call: Call, from_type: ObjectType, record_id: str, to_type: ObjectType, to_id: str
) -> Answer:
    """Remove every type between two records: 204."""
    check_may_associate(call, from_type, to_type)
    source = get_ref(call.portal, from_type, record_id)
    target = get_ref(call.portal, to_type, to_id)
    dissociate(call.portal, source, target)
    return Answer(status=204)


def batch_read(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Return the associations of many records: 207 when some of them have none."""
    results, errors = [], []
    for item in batch_inputs(call.json(), MAX_READ):
        key = text_field(item, "id")
        record = find_record(call.portal, from_type, key)
        rows: list[dict[str, Any]] = []
        following = None
        if record:
            source = Ref(from_type.name, record.id)
            rows, following = _page(call, source, to_type, find_text(item, "after"), PAGE)
        if not rows:
            errors.append(no_associations(from_type, key, to_type))
            continue
        paging = {"paging": {"next": {"after": following}}} if following else {}
        results.append({"from": {"id": key}, "to": rows, **paging})
    return batch_answer(call.portal, results, errors, 200)


def batch_create(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Add types between many pairs: 201, or 207 when some records do not exist."""
    check_may_associate(call, from_type, to_type)
    inputs = batch_inputs(call.json(), MAX_CREATE)

    def write(source: Ref, target: Ref, item: JSONObject) -> list[dict[str, Any]]:
        types = read_types(call.portal, object_list(item, "types"), from_type, to_type)
        associate(call.portal, source, target, types)
        return [render_pair(source, target, types)]

    return write_pairs(call, (from_type, to_type), inputs, write, 201)


def batch_associate_default(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Associate many pairs without a label: 200, or 207 when some records do not exist."""
    check_may_associate(call, from_type, to_type)
    inputs = batch_inputs(call.json(), MAX_DEFAULT)

    def write(source: Ref, target: Ref, _: JSONObject) -> list[dict[str, Any]]:
        associate(call.portal, source, target, [])
        return _default_rows(source, target, from_type, to_type)

    return write_pairs(call, (from_type, to_type), inputs, write, 200)


def batch_archive(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Remove every type between many pairs: nothing happens for those that have none."""
    check_may_associate(call, from_type, to_type)
    for item in batch_inputs(call.json(), MAX_ARCHIVE):
        source = Ref(from_type.name, _end(item, "from"))
        for target in object_list(item, "to"):
            target_id = whole_number(text_field(target, "id")) or 0
            dissociate(call.portal, source, Ref(to_type.name, target_id))
    return Answer(status=_archived_status(call))


def batch_archive_labels(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Remove some types between many pairs; removing the unlabelled one removes all."""
    check_may_associate(call, from_type, to_type)
    for item in batch_inputs(call.json(), MAX_CREATE):
        types = read_types(call.portal, object_list(item, "types"), from_type, to_type)
        source = Ref(from_type.name, _end(item, "from"))
        remove_types(call.portal, source, Ref(to_type.name, _end(item, "to")), types)
    return Answer(status=_archived_status(call))


def _page(
    call: Call, source: Ref, to_type: ObjectType, after: str | None, size: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return associations from the id ``after`` on, and where the next page starts."""
    start = whole_number(after or "0")
    if start is None:
        raise invalid(f"Invalid paging cursor: {after}")
    targets = [each for each in live_targets(call.portal, source, to_type) if each[0] >= start]
    rows = [
        {
            "toObjectId": target,
            "associationTypes": [
                each.render() for each in type_ids_to_types(call.portal, type_ids)
            ],
        }
        for target, type_ids in targets[:size]
    ]
    return rows, str(targets[size][0]) if len(targets) > size else None


def write_pairs(
    call: Call,
    ends: tuple[ObjectType, ObjectType],
    inputs: Sequence[JSONObject],
    write: Write,
    success: int,
) -> Answer:
    """Write every pair whose records exist and list the others; a wrong type fails them all."""
    from_type, to_type = ends
    results: list[dict[str, Any]] = []
    errors = []
    for item in inputs:
        try:
            source = get_ref(call.portal, from_type, end_key(item, "from"))
            target = get_ref(call.portal, to_type, end_key(item, "to"))
        except HubSpotError as error:
            if error.category != NOT_FOUND:
                raise
            errors.append(
                error.batch_item(fromObjectId=end_key(item, "from"), toObjectId=end_key(item, "to"))
            )
            continue
        results += write(source, target, item)
    return batch_answer(call.portal, results, errors, success)


def end_key(item: JSONObject, name: str) -> str:
    """Return the id of an input's ``from`` or ``to``."""
    return text_field(as_object(item.get(name)), "id")


def _end(item: JSONObject, name: str) -> int:
    return whole_number(end_key(item, name)) or 0


def _default_rows(
    source: Ref, target: Ref, from_type: ObjectType, to_type: ObjectType
) -> list[dict[str, Any]]:
    """Return a default association as HubSpot answers it: one row for each direction."""
    return [
        _default_row(source, target, unlabelled_type(from_type, to_type)),
        _default_row(target, source, unlabelled_type(to_type, from_type)),
    ]


def _default_row(source: Ref, target: Ref, each: AssociationType) -> dict[str, Any]:
    return {
        "from": {"id": str(source.id)},
        "to": {"id": str(target.id)},
        "associationSpec": {
            "associationCategory": each.category,
            "associationTypeId": each.type_id,
        },
    }


def no_associations(from_type: ObjectType, key: str, to_type: ObjectType) -> dict[str, Any]:
    """Return the error entry of a batch read for a record without associations."""
    return HubSpotError(
        404,
        f"No {to_type.singular} is associated with {from_type.singular} {key}.",
        NOT_FOUND,
        sub_category="crm.associations.NO_ASSOCIATIONS_FOUND",
        context={
            "fromObjectId": [key],
            "fromObjectType": [from_type.singular],
            "toObjectType": [to_type.singular],
        },
    ).batch_item()


def _archived_status(call: Call) -> int:
    """Return what a batch removal answers: 204 in v4, 200 in the dated versions' spec."""
    return 204 if call.version.startswith("v") else 200


_OF_RECORD = "/<from_type>/<record_id>/associations"

ROUTES = (
    Route("record_associations", "GET", _OF_RECORD + "/<to_type>", list_associations),
    Route(
        "record_associations", "PUT", _OF_RECORD + "/default/<to_type>/<to_id>", associate_default
    ),
    Route("record_associations", "PUT", _OF_RECORD + "/<to_type>/<to_id>", replace_labels),
    Route("record_associations", "DELETE", _OF_RECORD + "/<to_type>/<to_id>", archive_association),
    Route("associations", "POST", "/<from_type>/<to_type>/batch/read", batch_read),
    Route("associations", "POST", "/<from_type>/<to_type>/batch/create", batch_create),
    Route(
        "associations",
        "POST",
        "/<from_type>/<to_type>/batch/associate/default",
        batch_associate_default,
    ),
    Route("associations", "POST", "/<from_type>/<to_type>/batch/archive", batch_archive),
    Route(
        "associations", "POST", "/<from_type>/<to_type>/batch/labels/archive", batch_archive_labels
    ),
)
