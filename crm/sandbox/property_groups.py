"""The groups that properties stand in.

Source: HubSpot docs, properties guide.
"""

import re
from typing import Final

from crm.sandbox.calls import Answer, Call, Route
from crm.sandbox.errors import NOT_FOUND, HubSpotError, invalid
from crm.sandbox.payload import as_object, text_field
from crm.sandbox.schema import ObjectType, PropertyGroup
from crm.sandbox.store import Portal

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
MAX_LABEL_LENGTH: Final = 255


def list_groups(call: Call, object_type: ObjectType) -> Answer:
    """Return the groups that properties can be in."""
    return Answer(
        {"results": [each.render() for each in list_property_groups(call.portal, object_type)]}
    )


def read_group(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Return one group."""
    for group in list_property_groups(call.portal, object_type):
        if group.name == name:
            return Answer(group.render())
    raise HubSpotError(404, f"Property group {name} does not exist", NOT_FOUND)


def create_group(call: Call, object_type: ObjectType) -> Answer:
    """Add a group: 201; 409 when the name is taken (its body is unverified)."""
    item = as_object(call.json())
    name, label = text_field(item, "name"), text_field(item, "label")
    if not NAME.fullmatch(name) or not 1 <= len(label) <= MAX_LABEL_LENGTH:
        raise invalid(f"{name} is no name, or {label!r} no label, of a property group")
    present = list_property_groups(call.portal, object_type)
    if any(each.name == name for each in present):
        message = f"A property group named '{name}' already exists."
        raise HubSpotError(409, message, "OBJECT_ALREADY_EXISTS")
    group = PropertyGroup(name, label, len(present))
    call.portal.setup.put_group(object_type, group)
    return Answer(group.render(), 201)


def list_property_groups(portal: Portal, object_type: ObjectType) -> list[PropertyGroup]:
    """Return HubSpot's groups, which its properties name, and the portal's own."""
    stock = dict.fromkeys(each.group for each in object_type.properties)
    own = [group for (name, _), group in portal.setup.groups.items() if name == object_type.name]
    return [*(PropertyGroup(name, name, order) for order, name in enumerate(stock)), *own]


ROUTES = (
    Route("properties", "GET", "/<object_type>/groups", list_groups),
    Route("properties", "POST", "/<object_type>/groups", create_group),
    Route("properties", "GET", "/<object_type>/groups/<name>", read_group),
)
