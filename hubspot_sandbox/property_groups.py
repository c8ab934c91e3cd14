"""The groups that properties stand in.

Source: HubSpot docs, properties guide. The bodies of the refusals are unverified, and so is that a
group with properties cannot be archived.
"""

import re
from dataclasses import replace
from typing import Final

from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import NOT_FOUND, HubSpotError, invalid
from hubspot_sandbox.payload import JSONObject, as_object, find_text, text_field
from hubspot_sandbox.schema import ObjectType, PropertyGroup
from hubspot_sandbox.store import Portal

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
MAX_LABEL_LENGTH: Final = 255
# HubSpot puts -1 after all others.
_WHOLE: Final = re.compile(r"-1|[0-9]{1,9}", re.ASCII)


def list_groups(call: Call, object_type: ObjectType) -> Answer:
    """Return the groups that properties can be in."""
    return Answer(
        {"results": [each.render() for each in list_property_groups(call.portal, object_type)]}
    )


def read_group(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Return one group."""
    return Answer(_get(call.portal, object_type, name).render())


def create_group(call: Call, object_type: ObjectType) -> Answer:
    """Add a group: 201; 409 when the name is taken."""
    item = as_object(call.json())
    name = text_field(item, "name")
    if not NAME.fullmatch(name):
        raise invalid(f"{name} is no name of a property group")
    present = list_property_groups(call.portal, object_type)
    if any(each.name == name for each in present):
        message = f"A property group named '{name}' already exists."
        raise HubSpotError(409, message, "OBJECT_ALREADY_EXISTS")
    group = PropertyGroup(name, _label(item), _display_order(item, len(present)))
    call.portal.setup.put_group(object_type, group)
    return Answer(group.render(), 201)


def update_group(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Change a group's label or place, of HubSpot's own ones too."""
    before, item = _get(call.portal, object_type, name), as_object(call.json())
    label = before.label if item.get("label") is None else _label(item)
    after = replace(before, label=label, display_order=_display_order(item, before.display_order))
    call.portal.setup.put_group(object_type, after)
    return Answer(after.render())


def archive_group(call: Call, object_type: ObjectType, name: str) -> Answer:
    """Take away a group of the portal's own that no property stands in: 204."""
    _get(call.portal, object_type, name)
    if any(each.group == name for each in object_type.properties):
        raise invalid(f"The property group {name} is HubSpot's own and cannot be archived")
    definitions = call.portal.properties[object_type.name].values()
    if any(each.group == name and not each.archived for each in definitions):
        raise invalid(f"The property group {name} still has properties")
    call.portal.setup.remove_group(object_type, name)
    return Answer(status=204)


def list_property_groups(portal: Portal, object_type: ObjectType) -> list[PropertyGroup]:
    """Return HubSpot's groups, which its properties name, and the portal's own."""
    stock = dict.fromkeys(each.group for each in object_type.properties)
    groups = {name: PropertyGroup(name, name, order) for order, name in enumerate(stock)}
    changed = portal.setup.groups.items()
    groups |= {name: group for (of, name), group in changed if of == object_type.name}
    return list(groups.values())


def _get(portal: Portal, object_type: ObjectType, name: str) -> PropertyGroup:
    for group in list_property_groups(portal, object_type):
        if group.name == name:
            return group
    raise HubSpotError(404, f"Property group {name} does not exist", NOT_FOUND)


def _label(item: JSONObject) -> str:
    label = text_field(item, "label")
    if not 1 <= len(label.strip()) <= MAX_LABEL_LENGTH:
        raise invalid(f"A label must have 1 to {MAX_LABEL_LENGTH} characters")
    return label


def _display_order(item: JSONObject, default: int) -> int:
    text = find_text(item, "displayOrder")
    if text is None:
        return default
    if not _WHOLE.fullmatch(text):
        raise invalid(f"The displayOrder must be a whole number, got {text}")
    return int(text)


ROUTES = (
    Route("properties", "GET", "/<object_type>/groups", list_groups),
    Route("properties", "POST", "/<object_type>/groups", create_group),
    Route("properties", "GET", "/<object_type>/groups/<name>", read_group),
    Route("properties", "PATCH", "/<object_type>/groups/<name>", update_group),
    Route("properties", "DELETE", "/<object_type>/groups/<name>", archive_group),
)
