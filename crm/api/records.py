"""Records of any object type, written by other applications: one blueprint for each type."""

from functools import cache
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, request

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, current_caller, guarded
from crm.api.schemas.records import (
    BatchInput,
    change_input,
    entry_of,
    load_each,
    result_as,
    results_schema,
    upsert_input,
    written_as,
    written_schema,
)
from crm.errors import CRMError
from crm.object_types import ObjectType
from crm.portals.property_schemas import find_schema
from crm.push import writes
from crm.push.writes import Written

_STATUS = {
    "created": HTTPStatus.CREATED,
    "updated": HTTPStatus.OK,
    "archived": HTTPStatus.OK,
    "queued": HTTPStatus.ACCEPTED,
}


@cache
def record_blueprint(object_type: ObjectType) -> APIBlueprint:
    """The routes that write records of a type."""
    name = object_type.name
    bp = APIBlueprint(
        f"write_{name}",
        __name__,
        url_prefix=f"/{name}",
        description=f"{name.replace('_', ' ').capitalize()}, written",
        in_open_access=True,
    )
    written, results = written_schema(object_type), results_schema(object_type)

    @bp.post("")
    @guarded(Guard.ADMIN)
    @bp.arguments(upsert_input(object_type), unknown=None)
    @bp.response(201, written)
    @bp.alt_response(200, schema=written, description="It was there, and was changed")
    @bp.alt_response(202, schema=written, description="HubSpot cannot be reached; it will get it")
    @bp.alt_response(409, "CONFLICT")
    def upsert(given: dict[str, Any]) -> Response:
        """Create a record, or change the one with the same key, here and in HubSpot."""
        portal_id = current_caller().portal_id
        entry = entry_of(given, find_schema(portal_id, object_type))
        [result] = writes.upsert(portal_id, object_type, [entry])
        return _answer(object_type, result)

    @bp.post("/batch")
    @guarded(Guard.ADMIN)
    @bp.arguments(BatchInput)
    @bp.response(200, results)
    def upsert_batch(given: dict[str, Any]) -> Response:
        """Create or change up to 1,000 records; a result for each, in the order of the inputs."""
        return batch_response(object_type, given["inputs"])

    @bp.patch("/<record_id>")
    @guarded(Guard.ADMIN)
    @bp.arguments(change_input(object_type), unknown=None)
    @bp.response(200, written)
    @bp.alt_response(202, schema=written, description="HubSpot cannot be reached; it will get it")
    @bp.alt_response(404, "NOT_FOUND")
    @bp.alt_response(409, "CONFLICT")
    @bp.alt_response(412, "PRECONDITION_FAILED")
    def change(given: dict[str, Any], record_id: str) -> Response:
        """Change a record, by HubSpot's id or its own; with If-Match, only that version."""
        portal_id = current_caller().portal_id
        entry = entry_of(given, find_schema(portal_id, object_type))
        result = writes.change(portal_id, object_type, record_id, entry, expected_tags())
        return _answer(object_type, result)

    @bp.delete("/<record_id>")
    @guarded(Guard.ADMIN)
    @bp.response(200, written)
    @bp.alt_response(202, schema=written, description="HubSpot cannot be reached; it will be told")
    @bp.alt_response(404, "NOT_FOUND")
    @bp.alt_response(412, "PRECONDITION_FAILED")
    def archive(record_id: str) -> Response:
        """Archive a record, by HubSpot's id or its own; HubSpot can restore it for 90 days."""
        portal_id = current_caller().portal_id
        return _answer(
            object_type, writes.archive(portal_id, object_type, record_id, expected_tags())
        )

    return bp


def batch_response(object_type: ObjectType, inputs: list[Any]) -> Response:
    """Upsert a batch for the caller, and tell of each input."""
    portal_id = current_caller().portal_id
    loaded = load_each(inputs, object_type, find_schema(portal_id, object_type))
    entries = [each for each in loaded if not isinstance(each, CRMError)]
    outcomes = iter(writes.upsert(portal_id, object_type, entries))
    results = [each if isinstance(each, CRMError) else next(outcomes) for each in loaded]
    failed = sum(isinstance(each, CRMError) for each in results)
    body = {
        "status": "success",
        "message": f"{len(results) - failed} of {len(results)} accepted",
        "results": [result_as(object_type, index, result) for index, result in enumerate(results)],
    }
    return Response(orjson.dumps(body), content_type="application/json")


def expected_tags() -> set[str] | None:
    """The versions that the caller's If-Match allows to be written; None for any."""
    tags = request.if_match
    return None if tags.star_tag or "If-Match" not in request.headers else set(tags.as_set())


def _answer(object_type: ObjectType, result: Written | CRMError) -> Response:
    if isinstance(result, CRMError):
        raise result
    answer = Response(
        orjson.dumps(written_as(object_type, result)),
        _STATUS[result.action],
        content_type="application/json",
    )
    if result.etag:
        answer.set_etag(result.etag)
    return answer
