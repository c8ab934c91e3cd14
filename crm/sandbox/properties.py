"""Property definitions: list, read, create, change, archive.

Source: HubSpot docs, properties guide; the 409 and 404 bodies from recorded answers.
"""

import re
from dataclasses import replace
from typing import Any

from crm.sandbox.calls import Answer, Call, Route
from crm.sandbox.errors import NOT_FOUND, HubSpotError, invalid, missing_fields
from crm.sandbox.payload import JSONObject, as_object, find_text, object_list, text_field
from crm.sandbox.schema import FIELD_TYPES, ObjectType, Option, Property
from crm.sandbox.store import Portal

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_REQUIRED = ("name", "label", "type", "fieldType", "groupName")
_MAX_UNIQUE = 10
_CHANGEABLE = {
    "label": "label",
    "description": "description",
    "groupName": "group",
    "fieldType": "field_type",
}


def list_properties(call: Call, object_type: ObjectType) -> Answer:
    """Return every definition, or with ``archived=true`` every archived one."""
    definitions = call.portal.properties[object_type.name].values()
    archived = call.flag("archived")
    return Answer({"results": [each.render() for each in definitions if each.archived == archived]})


def read_property(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Return one definition."""
    found = call.portal.properties[object_type.name].get(name)
    if found is None or found.archived != call.flag("archived"):
        raise _no_such_property(name)
    return Answer(found.render())


def create_property(call: Call, object_type: ObjectType) -> Answer:
    """Define a property, or restore an archived one: 201; 409 when the name is taken."""
    item = as_object(call.json())
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
    return Answer(definition.render(), 201)


def update_property(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Change a custom definition; ``options`` replaces the whole list."""
    item = as_object(call.json())
    present = _get_custom(call.portal, object_type, name)
    changes: dict[str, Any] = {
        field: text_field(item, key) for key, field in _CHANGEABLE.items() if item.get(key)
    }
    if item.get("options") is not None:
        changes["options"] = _read_options(item)
    definition = replace(present, **changes, updated_at=call.portal.clock.now_ms())
    _check_definition(call.portal, object_type, definition)
    call.portal.put_property(object_type, definition)
    return Answer(definition.render())


def archive_property(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Archive a custom definition: 204."""
    present = _get_custom(call.portal, object_type, name)
    now = call.portal.clock.now_ms()
    call.portal.put_property(object_type, replace(present, archived=True, updated_at=now))
    return Answer(status=204)


def list_groups(call: Call, object_type: ObjectType) -> Answer:
    """Return the groups that properties can be in."""
    groups = [
        {"name": name, "label": name, "displayOrder": order, "archived": False}
        for order, name in enumerate(_group_names(call.portal, object_type))
    ]
    return Answer({"results": groups})


def _group_names(portal: Portal, object_type: ObjectType) -> list[str]:
    definitions = portal.properties[object_type.name].values()
    return list(dict.fromkeys(each.group for each in definitions))


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
    if not _NAME.fullmatch(definition.name):
        raise invalid(
            f"Property name {definition.name} must start with a letter and hold only lower case "
            "letters, digits and underscores"
        )
    if definition.field_type not in FIELD_TYPES.get(definition.type, ()):
        raise invalid(
            f"The field type {definition.field_type} does not fit the type {definition.type}"
        )
    if definition.group not in _group_names(portal, object_type):
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
    Route("properties", "GET", "/<object_type>/groups", list_groups),
    Route("properties", "GET", "/<object_type>/<name>", read_property),
    Route("properties", "PATCH", "/<object_type>/<name>", update_property),
    Route("properties", "DELETE", "/<object_type>/<name>", archive_property),
)
