"""Reading records of every type: lists, single records, histories."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, current_caller, guarded
from crm.api.pages import page_response
from crm.api.schemas.lists import PageInput
from crm.api.schemas.reading import ChangePageSchema, page_schema, query_input, single_schema
from crm.mirror.reads import history, records
from crm.mirror.reads.pages import ListQuery
from crm.object_types import CONTACTS, OBJECT_TYPES, ObjectType


def reading_blueprint(object_type: ObjectType) -> APIBlueprint:
    """The blueprint that reads records of a type."""
    bp = APIBlueprint(
        f"{object_type.name}_reading",
        __name__,
        url_prefix=f"/{object_type.name}",
        description=f"Reading {_words(object_type.name)}",
        in_open_access=True,
    )
    add_reading(bp, object_type)
    return bp


def add_reading(bp: APIBlueprint, object_type: ObjectType) -> None:
    """Give a blueprint the views that read records of a type."""
    # Contacts are listed with their deals and tickets, by crm.api.contacts.
    if object_type is not CONTACTS:
        _add_list(bp, object_type)

    @bp.get("/<record_id>")
    @guarded(Guard.MEMBER)
    @bp.response(200, single_schema(object_type))
    @bp.alt_response(304, success=True, description="The version that If-None-Match names")
    @bp.alt_response(404, "NOT_FOUND")
    def get_record(record_id: str) -> Response:
        """One record with what it is associated with.

        By HubSpot's id, also one from before a merge, or by uuid.
        """
        caller = current_caller()
        found = records.find_record(
            caller.portal_id, object_type, record_id, only_contact_id=caller.only_contact_id
        )
        message = f"{_words(object_type.singular).capitalize()} retrieved successfully"
        response = Response(
            f'{{"data":{found.item},"message":"{message}"}}', content_type="application/json"
        )
        response.set_etag(found.etag)
        # Kept by nobody but the caller, and not without asking.
        response.cache_control.private = response.cache_control.no_cache = True
        if found.is_synced:
            response.make_conditional(request)
        return response

    @bp.get("/<record_id>/history")
    @guarded(Guard.ADMIN)
    @bp.arguments(PageInput(), location="query")
    @bp.response(200, ChangePageSchema)
    @bp.alt_response(404, "NOT_FOUND")
    def get_history(given: Mapping[str, Any], record_id: str) -> Response:
        """The values that a record's properties took, here and in HubSpot, the newest first."""
        page = history.list_changes(
            current_caller().portal_id,
            object_type,
            record_id,
            limit=given["limit"],
            cursor=given.get("cursor"),
        )
        return page_response(
            name="changes",
            items=page.items,
            next_after=page.next_after,
            message="History retrieved successfully",
        )


def _add_list(bp: APIBlueprint, object_type: ObjectType) -> None:
    @bp.get("")
    @guarded(Guard.MEMBER)
    @bp.arguments(query_input(object_type)(), location="query")
    @bp.response(200, page_schema(object_type))
    def list_records(given: dict[str, Any]) -> Response:
        """A page of records from the mirror, the newest first unless sorted."""
        filters = {name: given.pop(name) for name in object_type.filters if name in given}
        caller = current_caller()
        page = records.list_records(
            caller.portal_id,
            object_type,
            ListQuery(filters=filters, **given),
            only_contact_id=caller.only_contact_id,
        )
        return page_response(
            name=object_type.name,
            items=page.items,
            next_after=page.next_after,
            message=f"{_words(object_type.name).capitalize()} retrieved successfully",
        )


def _words(name: str) -> str:
    return name.replace("_", " ")


blueprints = [reading_blueprint(each) for each in OBJECT_TYPES.values()]
