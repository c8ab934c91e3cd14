"""Contacts with their deals and tickets, as answers and as a query."""

from typing import Any

from marshmallow import Schema, fields, validate

from crm.api.schemas.lists import list_input
from crm.mirror.reads.contact_tree import FILTERS, SORTS
from crm.object_types import CONTACTS, DEALS, TICKETS, ObjectType


def _node(object_type: ObjectType, **inside: fields.Field[Any]) -> type[Schema]:
    """The schema of a record in an answer: the registry's fields, then what is nested in it."""
    names = ("id", "hs_object_id", *object_type.answer)
    return Schema.from_dict(
        {
            **{name: fields.String(allow_none=True) for name in names},
            "sync_state": fields.String(validate=validate.OneOf(("pending", "synced", "rejected"))),
            **inside,
        },
        name=object_type.singular.title(),
    )


TicketSchema = _node(TICKETS)
DealSchema = _node(DEALS, tickets=fields.List(fields.Nested(TicketSchema)))
ContactSchema = _node(CONTACTS, deals=fields.List(fields.Nested(DealSchema)))


class ContactListSchema(Schema):
    """A page of contacts; ``next_after`` goes back in as ``cursor``."""

    contacts = fields.List(fields.Nested(ContactSchema), required=True)
    next_after = fields.String(required=True, allow_none=True)


class _ContactsData(Schema):
    data = fields.Nested(ContactListSchema, required=True)


class ContactPageSchema(Schema):
    """The answer to ``GET /contacts``."""

    data = fields.Nested(_ContactsData, required=True)
    message = fields.String(required=True)


ContactQueryInput = list_input(SORTS, FILTERS)
"""Paging, search and order, and a filter for each property that the registry names."""
