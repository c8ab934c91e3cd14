"""Contacts with their deals and tickets."""

from typing import Any

from flask import Response

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, current_caller, guarded
from crm.api.pages import page_response
from crm.api.schemas.contacts import ContactPageSchema, ContactQueryInput
from crm.mirror.reads import contact_tree
from crm.mirror.reads.contact_tree import FILTERS
from crm.mirror.reads.pages import ListQuery

bp = APIBlueprint(
    "contacts",
    __name__,
    url_prefix="/contacts",
    description="Contacts",
    in_open_access=True,
)


@bp.get("")
@guarded(Guard.MEMBER)
@bp.arguments(ContactQueryInput(), location="query")
@bp.response(200, ContactPageSchema)
def list_contacts(given: dict[str, Any]) -> Response:
    """A page of contacts from the mirror, the newest first unless sorted."""
    filters = {name: given.pop(name) for name in FILTERS if name in given}
    caller = current_caller()
    page = contact_tree.list_contacts(
        caller.portal_id,
        ListQuery(filters=filters, **given),
        only_contact_id=caller.only_contact_id,
    )
    return page_response(
        name="contacts",
        items=page.items,
        next_after=page.next_after,
        message="Contacts retrieved successfully",
    )
