"""Records of every type, as lists, alone, and with their history."""

from functools import lru_cache
from typing import Any

from marshmallow import Schema, fields, validate

from crm.api.schemas.lists import list_input
from crm.mirror.reads.records import sorts_of
from crm.object_types import ObjectType

_STATES = ("pending", "synced", "rejected")


class RejectionSchema(Schema):
    """What HubSpot said when it refused a change."""

    message = fields.String(required=True)
    category = fields.String(required=True, allow_none=True)
    correlation_id = fields.String(
        required=True, allow_none=True, metadata={"description": "For HubSpot's support"}
    )
    fields_ = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        data_key="fields",
        required=True,
        metadata={"description": "Property to what HubSpot said of it"},
    )


class AssociatedSchema(Schema):
    """A record at the other end of an association."""

    id = fields.String(allow_none=True)
    uuid = fields.UUID()
    type = fields.String(metadata={"description": "Such as deal_to_contact"})
    sync_state = fields.String(validate=validate.OneOf(_STATES))


class ChangeSchema(Schema):
    """One value that a property took."""

    property = fields.String()
    from_ = fields.String(data_key="from", allow_none=True)
    to = fields.String(allow_none=True)
    side = fields.String(validate=validate.OneOf(("here", "hubspot")))
    changed_at = fields.AwareDateTime()
    overruled = fields.Boolean(metadata={"description": "Whether the other side's value has won"})
    reason = fields.String(allow_none=True, metadata={"description": "Why it was overruled"})


def _schema(name: str, /, **declared: Any) -> type[Schema]:
    return Schema.from_dict(declared, name=name)


def page_of(name: str, item: type[Schema], schema_name: str) -> type[Schema]:
    """The schema of a page: ``{"data": {"data": {name: [...], "next_after"}}, "message"}``."""
    inner = _schema(
        f"{schema_name}List",
        **{
            name: fields.List(fields.Nested(item), required=True),
            "next_after": fields.String(required=True, allow_none=True),
        },
    )
    data = _schema(f"{schema_name}Data", data=fields.Nested(inner, required=True))
    return _schema(
        f"{schema_name}Page",
        data=fields.Nested(data, required=True),
        message=fields.String(required=True),
    )


ChangePageSchema = page_of("changes", ChangeSchema, "Change")


@lru_cache
def record_schema(object_type: ObjectType) -> type[Schema]:
    """The schema of a record in a list."""
    names = ("id", "hs_object_id", *object_type.answer)
    return _schema(
        f"{_title(object_type)}Record",
        **{name: fields.String(allow_none=True) for name in names},
        sync_state=fields.String(validate=validate.OneOf(_STATES)),
        uuid=fields.UUID(),
        properties=fields.Dict(
            keys=fields.String(), values=fields.String(allow_none=True), required=True
        ),
        rejection=fields.Nested(RejectionSchema, allow_none=True),
    )


@lru_cache
def single_schema(object_type: ObjectType) -> type[Schema]:
    """The schema of a record alone, with its associations."""
    associated = fields.List(fields.Nested(AssociatedSchema))
    whole = type(
        f"{_title(object_type)}WithAssociations",
        (record_schema(object_type),),
        {
            "associations": fields.Dict(keys=fields.String(), values=associated),
            "association_totals": fields.Dict(keys=fields.String(), values=fields.Integer()),
        },
    )
    return _schema(
        f"{_title(object_type)}Single",
        data=fields.Nested(whole, required=True),
        message=fields.String(required=True),
    )


@lru_cache
def page_schema(object_type: ObjectType) -> type[Schema]:
    """The schema of a page of records."""
    return page_of(object_type.name, record_schema(object_type), _title(object_type))


@lru_cache
def query_input(object_type: ObjectType) -> type[Schema]:
    """Paging, search and order, and a filter for each property that the type names."""
    return list_input(sorts_of(object_type), object_type.filters)


def _title(object_type: ObjectType) -> str:
    return object_type.singular.title().replace("_", "")
