"""Records of any object type as other applications write them."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, post_load, validate

from crm.api.schemas.inputs import Few, Input, Line, flat
from crm.errors import CRMError, InvalidInputError
from crm.object_types import ObjectType
from crm.portals.property_schemas import Schema as PropertySchema
from crm.push.write_inputs import Entry
from crm.push.writes import MOST, Written

MOST_ASSOCIATIONS = 100
"""Of one record in one request."""


class AssociationInput(Input):
    """A record to be associated with."""

    to_type = Line(required=True, metadata={"description": "Such as contacts"})
    to = Line(
        required=True,
        shortest=1,
        metadata={"description": "HubSpot's id, or the e-mail address of a contact"},
    )


class PropertiesInput(Input):
    """Any property of the portal by its name; besides, or instead, within ``properties``."""

    class Meta:
        """What is not declared is a property, which the portal's definitions judge."""

        unknown = INCLUDE

    properties = fields.Dict(
        keys=fields.String(),
        load_default=dict,
        metadata={"description": "Any properties that the portal defines"},
    )

    @post_load
    def _set_apart(self, loaded: dict[str, Any], **_: Any) -> dict[str, Any]:
        declared = {name: loaded.pop(name) for name in self.fields if name in loaded}
        return {"beside": loaded, **declared}


class _RecordInput(PropertiesInput):
    associations = Few(AssociationInput, most=MOST_ASSOCIATIONS, load_default=list)


class _KeyedInput(_RecordInput):
    external_id = Line(
        required=True, shortest=1, metadata={"description": "The caller's own id of the record"}
    )


def change_input(object_type: ObjectType) -> Schema:
    """The body of a PATCH: what to change."""
    return _named_input(object_type, _RecordInput, "Changes")


def upsert_input(object_type: ObjectType) -> Schema:
    """The body of a POST: what the record shall be, and the key it goes by."""
    base = _RecordInput if object_type.key_property else _KeyedInput
    return _named_input(object_type, base, "Upsert")


@cache
def _named_input(object_type: ObjectType, base: type[Schema], kind: str) -> Schema:
    name = "".join(part.title() for part in object_type.singular.split("_"))
    return base.from_dict({}, name=f"{name}{kind}")()


class BatchInput(Input):
    """Up to 1,000 upserts, each with the body of one."""

    inputs = fields.List(fields.Raw(), required=True, validate=validate.Length(min=1, max=MOST))


def entry_of(given: Mapping[str, Any], schema: PropertySchema) -> Entry:
    """A loaded record, checked against the portal's definitions.

    Raises:
        InvalidInputError: names every wrong field by its path.
    """
    return Entry(
        schema.check({"": given["beside"], "properties": given["properties"]}),
        given.get("external_id"),
        [(each["to_type"], each["to"]) for each in given.get("associations", ())],
    )


def load_each(
    inputs: list[Any], object_type: ObjectType, schema: PropertySchema
) -> list[Entry | CRMError]:
    """Each input of a batch, or what is wrong with it."""
    loader = upsert_input(object_type)

    def load(given: Any) -> Entry | CRMError:
        try:
            return entry_of(loader.load(given), schema)
        except ValidationError as error:
            return InvalidInputError(errors=dict(flat(error.messages)))
        except InvalidInputError as error:
            return error

    return [load(each) for each in inputs]


def id_field(object_type: ObjectType) -> str:
    """The field of an answer that holds HubSpot's id."""
    return f"hubspot_{object_type.singular}_id"


_VERBS = {
    "created": "created/updated",
    "updated": "created/updated",
    "archived": "archived",
    "queued": "accepted; HubSpot will get it",
}


def written_as(object_type: ObjectType, written: Written) -> dict[str, Any]:
    """The answer to a write."""
    noun = object_type.singular.replace("_", " ").capitalize()
    verb = _VERBS[written.action]
    return {
        "status": "success",
        "message": f"{noun} {verb}" + ("" if written.action == "queued" else " successfully"),
        id_field(object_type): written.hs_object_id,
        "action": written.action,
    } | (
        {"association_errors": written.refused_associations} if written.refused_associations else {}
    )


def result_as(object_type: ObjectType, index: int, result: Written | CRMError) -> dict[str, Any]:
    """The answer to one input of a batch."""
    if isinstance(result, Written):
        answer = written_as(object_type, result)
        return {"index": index, **{name: answer[name] for name in answer if name != "message"}}
    return {
        "index": index,
        "status": "error",
        "action": None,
        id_field(object_type): None,
        "error": result.message,
        "error_code": result.error_code,
        "errors": result.errors,
        "details": result.details,
    }


@cache
def written_schema(object_type: ObjectType) -> Schema:
    """The answer to a write, for the document."""
    return Schema.from_dict(
        {
            "status": fields.String(required=True),
            "message": fields.String(required=True),
            **_result_fields(object_type),
        },
        name=f"{object_type.singular.title().replace('_', '')}Written",
    )()


@cache
def results_schema(object_type: ObjectType) -> Schema:
    """The answer to a batch, for the document."""
    name = object_type.singular.title().replace("_", "")
    result = Schema.from_dict(
        {
            "index": fields.Integer(required=True),
            "status": fields.String(required=True, validate=validate.OneOf(("success", "error"))),
            **_result_fields(object_type),
            "error": fields.String(),
            "error_code": fields.String(),
            "errors": fields.Dict(keys=fields.String(), values=fields.String()),
            "details": fields.Dict(),
        },
        name=f"{name}Result",
    )
    return Schema.from_dict(
        {
            "status": fields.String(required=True),
            "message": fields.String(required=True),
            "results": fields.List(fields.Nested(result), required=True),
        },
        name=f"{name}Results",
    )()


def _result_fields(object_type: ObjectType) -> dict[str, fields.Field[Any]]:
    actions = ("created", "updated", "archived", "queued")
    return {
        id_field(object_type): fields.String(required=True, allow_none=True),
        "action": fields.String(required=True, allow_none=True, validate=validate.OneOf(actions)),
        "association_errors": fields.List(fields.String()),
    }
