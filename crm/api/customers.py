"""Customers: contacts, for applications that want a write done on both sides or on neither."""

from typing import Any

from flask import Response

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, current_caller, guarded
from crm.api.records import batch_response, expected_tags
from crm.api.schemas.customers import (
    CustomerParser,
    CustomerSchema,
    invalid_body,
    refuse_incomplete,
)
from crm.api.schemas.records import BatchInput, PropertiesInput, entry_of, results_schema
from crm.object_types import CONTACTS
from crm.portals.property_schemas import find_schema
from crm.push import customers
from crm.push.write_inputs import Entry


class _Blueprint(APIBlueprint):
    ARGUMENTS_PARSER = CustomerParser()


bp = _Blueprint("customers", __name__, url_prefix="/customers", description="Customers")
root = _Blueprint(
    "customers_at_root", __name__, description="Customers, where their clients look for them"
)


@bp.post("")
@guarded(Guard.ADMIN)
@bp.arguments(PropertiesInput, unknown=None)
@bp.response(201, CustomerSchema)
@bp.alt_response(409, "CONFLICT")
@bp.alt_response(502, "BAD_GATEWAY")
def create_customer(given: dict[str, Any]) -> dict[str, Any]:
    """Create a customer here and in HubSpot, or on neither side."""
    portal_id = current_caller().portal_id
    with invalid_body():
        entry = _entry_of(given)
        refuse_incomplete(entry.properties)
        entry.key(CONTACTS)
    return customers.create(portal_id, entry)


@bp.get("/<email_path:email>", merge_slashes=False)
@guarded(Guard.MEMBER)
@bp.response(200, CustomerSchema)
@bp.alt_response(404, "NOT_FOUND")
def get_customer(email: str) -> dict[str, Any]:
    """The customer with this e-mail, in whichever case its letters are."""
    caller = current_caller()
    return customers.get(caller.portal_id, email, only_contact_id=caller.only_contact_id)


@bp.put("/<email_path:email>", merge_slashes=False)
@guarded(Guard.ADMIN)
@bp.arguments(PropertiesInput, unknown=None)
@bp.response(200, description="It was changed; the body is empty")
@bp.alt_response(404, "NOT_FOUND")
@bp.alt_response(409, "CONFLICT")
@bp.alt_response(412, "PRECONDITION_FAILED")
@bp.alt_response(502, "BAD_GATEWAY")
def update_customer(given: dict[str, Any], email: str) -> Response:
    """Change a customer here and in HubSpot, or on neither side."""
    with invalid_body():
        entry = _entry_of(given)
    customers.update(current_caller().portal_id, email, entry, expected_tags())
    return Response(status=200)


@bp.post("/batch")
@guarded(Guard.ADMIN)
@bp.arguments(BatchInput)
@bp.response(200, results_schema(CONTACTS))
def upsert_customers(given: dict[str, Any]) -> Response:
    """Create or change up to 1,000 customers; a result for each, in the order of the inputs."""
    return batch_response(CONTACTS, given["inputs"])


root.add_url_rule("/", view_func=create_customer, methods=["POST"])
root.add_url_rule("/<email_segment:email>", view_func=get_customer, methods=["GET"])
root.add_url_rule("/<email_segment:email>", view_func=update_customer, methods=["PUT"])


def _entry_of(given: dict[str, Any]) -> Entry:
    return entry_of(given, find_schema(current_caller().portal_id, CONTACTS))
