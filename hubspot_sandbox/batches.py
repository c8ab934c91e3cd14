"""Batches of records: create, read, update, upsert, archive, with HubSpot's partial successes.

Sources: HubSpot docs, error-handling (multi-status) and using object APIs; live observations.
Without an ``objectWriteTraceId`` on every input a write is all or nothing; with unique ones on
all, good inputs are written and bad ones listed in a 207. Results never come in input order.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.clock import iso
from hubspot_sandbox.errors import HubSpotError, invalid, objects_not_found, resource_not_found
from hubspot_sandbox.objects import create_associated
from hubspot_sandbox.payload import (
    JSONObject,
    as_object,
    batch_inputs,
    find_text,
    property_values,
    text_field,
    text_list,
)
from hubspot_sandbox.records import (
    RECORD_ID,
    Selection,
    archive_record,
    create_record,
    find_record,
    normal_key,
    render_record,
    select,
    update_record,
)
from hubspot_sandbox.schema import ObjectType
from hubspot_sandbox.store import Portal
from hubspot_sandbox.write_rules import govern_write, with_warnings

MAX_INPUTS = 100
MAX_INPUTS_WITH_HISTORY = 50

Write: TypeAlias = Callable[[JSONObject], dict[str, Any]]


def batch_create(call: Call, object_type: ObjectType) -> Answer:
    """Create records with their associations: 201, or 207."""
    inputs = batch_inputs(call.json(), MAX_INPUTS)

    def write(item: JSONObject) -> dict[str, Any]:
        record, warnings = create_associated(call, object_type, item)
        shape = render_record(call.portal, object_type, record, Selection())
        return with_warnings(shape, warnings)

    return _write_all(call, inputs, write, 201)


def batch_read(call: Call, object_type: ObjectType) -> Answer:
    """Return records by id or a unique property: 200, or 207 when some are not there."""
    body = as_object(call.json())
    id_property, archived = find_text(body, "idProperty"), call.flag("archived")
    history = text_list(body, "propertiesWithHistory")
    if history:
        inputs = batch_inputs(body, MAX_INPUTS_WITH_HISTORY, " for property histories")
    else:
        inputs = batch_inputs(body, MAX_INPUTS)
    keys = [text_field(item, "id") for item in inputs]
    _refuse_duplicates([normal_key(object_type, key, id_property) for key in keys])
    selection = select(object_type, text_list(body, "properties"), history)
    results, missing = [], []
    for key in keys:
        record = find_record(call.portal, object_type, key, id_property, archived=archived)
        if record is None:
            missing.append(key)
        else:
            results.append(render_record(call.portal, object_type, record, selection))
    errors = [objects_not_found(object_type.singular, missing).batch_item()] if missing else []
    return batch_answer(call.portal, results, errors, 200)


def batch_update(call: Call, object_type: ObjectType) -> Answer:
    """Update records: 200, or 207; an id that is not there never fails the others."""
    inputs = batch_inputs(call.json(), MAX_INPUTS)
    _refuse_duplicates(_input_keys(object_type, inputs))

    def write(item: JSONObject) -> dict[str, Any]:
        key = text_field(item, "id")
        values = property_values(item)
        record = find_record(call.portal, object_type, key, find_text(item, "idProperty"))
        if record is None:
            raise objects_not_found(object_type.singular, [key])
        values, warnings = govern_write(call, object_type, values, record)
        update_record(call.portal, object_type, record, values)
        shape = render_record(call.portal, object_type, record, Selection())
        return with_warnings(shape, warnings)

    return _write_all(call, inputs, write, 200)


def batch_upsert(call: Call, object_type: ObjectType) -> Answer:
    """Create or update by a unique property: 200, or 207; each result says ``new``."""
    inputs = batch_inputs(call.json(), MAX_INPUTS)
    _refuse_duplicates(_input_keys(object_type, inputs))

    def write(item: JSONObject) -> dict[str, Any]:
        key, id_property = text_field(item, "id"), find_text(item, "idProperty")
        values = property_values(item)
        if not id_property:
            raise resource_not_found()
        record = find_record(call.portal, object_type, key, id_property)
        is_new = record is None
        if record is None:
            # A record id is HubSpot's to give: there is nothing to create by it.
            if id_property == RECORD_ID:
                raise resource_not_found()
            values = {id_property: key, **values}
            values, warnings = govern_write(call, object_type, values)
            record = create_record(call.portal, object_type, values)
        else:
            values, warnings = govern_write(call, object_type, values, record)
            update_record(call.portal, object_type, record, values)
        shape = render_record(call.portal, object_type, record, Selection())
        return with_warnings({**shape, "new": is_new}, warnings)

    return _write_all(call, inputs, write, 200)


def batch_archive(call: Call, object_type: ObjectType) -> Answer:
    """Archive records: 204, whatever state they were in."""
    for item in batch_inputs(call.json(), MAX_INPUTS):
        record = find_record(call.portal, object_type, text_field(item, "id"))
        if record:
            archive_record(call.portal, object_type, record)
    return Answer(status=204)


def batch_answer(portal: Portal, results: list[Any], errors: Sequence[Any], success: int) -> Answer:
    """Make a batch's answer: shuffled results, and 207 when there are errors."""
    now = iso(portal.clock.now_ms())
    payload: dict[str, Any] = {
        "status": "COMPLETE",
        "results": shuffled(portal, results),
        "startedAt": now,
        "completedAt": now,
    }
    if errors:
        payload |= {"numErrors": len(errors), "errors": errors}
    return Answer(payload, 207 if errors else success)


def shuffled(portal: Portal, results: list[Any]) -> list[Any]:
    """Return the results in an order that is never the one they came in."""
    mixed = portal.random.sample(results, len(results))
    # Chance may give back the order of the inputs, on which no client shall ever rely.
    return [*mixed[1:], mixed[0]] if mixed == results and mixed else mixed


def _write_all(call: Call, inputs: Sequence[JSONObject], write: Write, success: int) -> Answer:
    """Write every input, or with trace ids every good one."""
    traces = [find_text(item, "objectWriteTraceId") for item in inputs]
    traced = None not in traces and len(set(traces)) == len(traces)
    results, errors = [], []
    for item, trace in zip(inputs, traces, strict=True):
        context = {"objectWriteTraceId": trace} if trace else {}
        try:
            with call.portal.undo_log.transaction():
                results.append({**write(item), **context})
        except HubSpotError as error:
            # An id that is not there is reported beside the others even without trace ids.
            if not traced and not _is_missing_id(error):
                raise
            errors.append(error.batch_item(**context))
    return batch_answer(call.portal, results, errors, success)


def _is_missing_id(error: HubSpotError) -> bool:
    return bool(error.context and "ids" in error.context) and error.status == 404


def _input_keys(object_type: ObjectType, inputs: Sequence[JSONObject]) -> list[str]:
    return [
        normal_key(object_type, text_field(item, "id"), find_text(item, "idProperty"))
        for item in inputs
    ]


def _refuse_duplicates(keys: Sequence[str]) -> None:
    """Refuse a batch that names a record twice, trace ids or not."""
    if len(set(keys)) == len(keys):
        return
    twice = sorted({key for key in keys if keys.count(key) > 1})
    message = f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique"
    raise invalid(message, ids=twice)


ROUTES = (
    Route("objects", "POST", "/<object_type>/batch/create", batch_create),
    Route("objects", "POST", "/<object_type>/batch/read", batch_read),
    Route("objects", "POST", "/<object_type>/batch/update", batch_update),
    Route("objects", "POST", "/<object_type>/batch/upsert", batch_upsert),
    Route("objects", "POST", "/<object_type>/batch/archive", batch_archive),
)
