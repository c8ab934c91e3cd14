"""Property definitions: list, read, create, change, archive, one by one and in batches.

Source: HubSpot docs, properties guide; the 409 and 404 bodies from recorded answers. What is
sensitive shows only to those who ask for its sensitivity.
"""

from dataclasses import replace
from typing import Any

from hubspot_sandbox.batches import batch_answer
from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import NOT_FOUND, HubSpotError, invalid, missing_fields
from hubspot_sandbox.payload import (
    JSONObject,
    as_object,
    batch_inputs,
    find_text,
    object_list,
    text_field,
)
from hubspot_sandbox.property_groups import MAX_LABEL_LENGTH, NAME, list_property_groups
from hubspot_sandbox.schema import FIELD_TYPES, NON_SENSITIVE, ObjectType, Option, Property
from hubspot_sandbox.store import Portal

_REQUIRED = ("name", "label", "type", "fieldType", "groupName")
_MAX_UNIQUE = 10
_MAX_INPUTS = 100
_BOOLEANS = {"true", "false"}
_SENSITIVITIES = (NON_SENSITIVE, "sensitive", "highly_sensitive")
_CHANGEABLE = {
    "label": "label",
    "description": "description",
    "groupName": "group",
    "type": "type",
    "fieldType": "field_type",
}
_CHANGEABLE_FLAGS = {"hidden": "hidden", "formField": "form_field"}


def list_properties(call: Call, object_type: ObjectType) -> Answer:
    """Return every definition, or with ``archived=true`` every archived one."""
    definitions = call.portal.properties[object_type.name].values()
    shown = call.flag("archived"), _sensitivity(call.text("dataSensitivity"))
    return Answer(
        {
            "results": [
                each.render()
                for each in definitions
                if (each.archived, each.data_sensitivity) == shown
            ]
        }
    )


def read_property(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Return one definition."""
    sensitivity = _sensitivity(call.text("dataSensitivity"))
    found = _find(call.portal, object_type, name, sensitivity, archived=call.flag("archived"))
    return Answer(found.render())


def create_property(call: Call, object_type: ObjectType) -> Answer:
    """Define a property, or restore an archived one: 201; 409 when the name is taken."""
    return Answer(_create(call, object_type, as_object(call.json())).render(), 201)


def batch_create(call: Call, object_type: ObjectType) -> Answer:
    """Define properties, each by the rules of one alone: 201, or 207 (unverified)."""
    results, errors = [], []
    for item in batch_inputs(call.json(), _MAX_INPUTS):
        try:
            with call.portal.undo_log.transaction():
                results.append(_create(call, object_type, item).render())
        except HubSpotError as error:
            errors.append(error.batch_item(name=find_text(item, "name") or ""))
    return batch_answer(call.portal, results, errors, 201)


def batch_read(call: Call, object_type: ObjectType) -> Answer:
    """Return definitions by name: 200, or 207 when some are not there."""
    body = as_object(call.json())
    sensitivity = _sensitivity(find_text(body, "dataSensitivity"))
    archived = body.get("archived") is True
    results, errors = [], []
    for item in batch_inputs(body, _MAX_INPUTS):
        name = text_field(item, "name")
        try:
            found = _find(call.portal, object_type, name, sensitivity, archived=archived)
        except HubSpotError as error:
            errors.append(error.batch_item(name=name))
        else:
            results.append(found.render())
    return batch_answer(call.portal, results, errors, 200)


def batch_archive(call: Call, object_type: ObjectType) -> Answer:
    """Archive custom definitions: 204, whatever state they were in."""
    for item in batch_inputs(call.json(), _MAX_INPUTS):
        found = call.portal.find_property(object_type, text_field(item, "name"))
        if found:
            _archive(call, object_type, found.name)
    return Answer(status=204)


def _create(call: Call, object_type: ObjectType, item: JSONObject) -> Property:
    missing = [name for name in _REQUIRED if find_text(item, name) is None]
    if missing:
        raise missing_fields(*missing)
    definition = _read_definition(item, call.portal.clock.now_ms())
    _check_definition(call.portal, object_type, definition)
    present = call.portal.properties[object_type.name].get(definition.name)
    if present and not present.archived:
        raise _name_taken(definition.name)
    if present:
        # Whether values are unique is settled when a property is made, and never again.
        definition = replace(definition, unique=present.unique, created_at=present.created_at)
    call.portal.put_property(object_type, definition)
    return definition


def update_property(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Change a custom definition; ``options`` replaces the whole list."""
    item = as_object(call.json())
    present = _get_custom(call.portal, object_type, name)
    changes: dict[str, Any] = {
        field: text_field(item, key) for key, field in _CHANGEABLE.items() if item.get(key)
    }
    changes |= {field: item[key] is True for key, field in _CHANGEABLE_FLAGS.items() if key in item}
    if item.get("options") is not None:
        changes["options"] = _read_options(item)
    definition = replace(present, **changes, updated_at=call.portal.clock.now_ms())
    _check_definition(call.portal, object_type, definition)
    call.portal.put_property(object_type, definition)
    return Answer(definition.render())


def archive_property(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Archive a custom definition: 204."""
    _archive(call, object_type, name)
    return Answer(status=204)


def _archive(call: Call, object_type: ObjectType, name: str) -> None:
    present = _get_custom(call.portal, object_type, name)
    now = call.portal.clock.now_ms()
    call.portal.put_property(object_type, replace(present, archived=True, updated_at=now))


def _find(
    portal: Portal, object_type: ObjectType, name: str, sensitivity: str, *, archived: bool
) -> Property:
    found = portal.properties[object_type.name].get(name)
    if found is None or (found.archived, found.data_sensitivity) != (archived, sensitivity):
        raise _no_such_property(name)
    return found


def _sensitivity(text: str | None) -> str:
    chosen = text or _SENSITIVITIES[0]
    if chosen not in _SENSITIVITIES:
        raise invalid(f"The dataSensitivity {chosen} is none of {', '.join(_SENSITIVITIES)}")
    return chosen


def _get_custom(portal: Portal, object_type: ObjectType, name: str) -> Property:
    found = portal.find_property(object_type, name)
    if found is None:
        raise _no_such_property(name)
    if found.hubspot_defined:
        raise invalid(f"The definition of the property {name} is read only")
    return found


def _read_definition(item: JSONObject, now: int) -> Property:
    return Property(
        name=text_field(item, "name"),
        label=text_field(item, "label"),
        type=text_field(item, "type"),
        field_type=text_field(item, "fieldType"),
        group=text_field(item, "groupName"),
        description=find_text(item, "description") or "",
        options=_read_options(item),
        unique=item.get("hasUniqueValue") is True,
        hidden=item.get("hidden") is True,
        form_field=item.get("formField") is True,
        data_sensitivity=_sensitivity(find_text(item, "dataSensitivity")),
        hubspot_defined=False,
        created_at=now,
        updated_at=now,
    )


def _read_options(item: JSONObject) -> tuple[Option, ...]:
    options = tuple(
        Option(
            value=text_field(each, "value"),
            label=text_field(each, "label"),
            display_order=order,
            hidden=each.get("hidden") is True,
            description=find_text(each, "description") or "",
        )
        for order, each in enumerate(object_list(item, "options"))
    )
    if len({option.value for option in options}) != len(options):
        raise invalid("Property option values must be unique")
    return options


def _check_definition(portal: Portal, object_type: ObjectType, definition: Property) -> None:
    """Refuse a definition that HubSpot would not take."""
    if not NAME.fullmatch(definition.name):
        raise invalid(
            f"Property name {definition.name} must start with a letter and hold only lower case "
            "letters, digits and underscores"
        )
    if definition.field_type not in FIELD_TYPES.get(definition.type, ()):
        raise invalid(
            f"The field type {definition.field_type} does not fit the type {definition.type}"
        )
    if not 1 <= len(definition.label) <= MAX_LABEL_LENGTH:
        raise invalid(f"A label must have 1 to {MAX_LABEL_LENGTH} characters")
    if definition.type == "bool" and {each.value for each in definition.options} != _BOOLEANS:
        raise invalid("A property of type bool needs the options true and false, and no others")
    if all(each.name != definition.group for each in list_property_groups(portal, object_type)):
        raise invalid(f"Property group {definition.group} does not exist")
    if definition.unique:
        _check_unique(portal, object_type, definition)


def _check_unique(portal: Portal, object_type: ObjectType, definition: Property) -> None:
    if definition.type not in ("string", "number"):
        raise invalid(f"A property of type {definition.type} cannot have unique values")
    others = [
        each
        for each in portal.properties[object_type.name].values()
        if each.unique and not each.hubspot_defined and each.name != definition.name
    ]
    if len(others) >= _MAX_UNIQUE:
        raise invalid(f"An object type can have at most {_MAX_UNIQUE} unique properties")


def _name_taken(name: str) -> HubSpotError:
    return HubSpotError(
        409,
        f"A property named '{name}' already exists.",
        "OBJECT_ALREADY_EXISTS",
        sub_category="Properties.PROPERTY_WITH_NAME_EXISTS",
    )


def _no_such_property(name: str) -> HubSpotError:
    return HubSpotError(404, f"Property {name} does not exist", NOT_FOUND)


ROUTES = (
    Route("properties", "GET", "/<object_type>", list_properties),
    Route("properties", "POST", "/<object_type>", create_property),
    Route("properties", "POST", "/<object_type>/batch/create", batch_create),
    Route("properties", "POST", "/<object_type>/batch/read", batch_read),
    Route("properties", "POST", "/<object_type>/batch/archive", batch_archive),
    Route("properties", "GET", "/<object_type>/<name>", read_property),
    Route("properties", "PATCH", "/<object_type>/<name>", update_property),
    Route("properties", "DELETE", "/<object_type>/<name>", archive_property),
)
