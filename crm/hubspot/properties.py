"""Property definitions: HubSpot's properties API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crm.hubspot.answers import reading
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotConflictError
from crm.object_types import ObjectType


@dataclass(frozen=True)
class Option:
    """A value that an enumeration may have."""

    value: str
    label: str
    hidden: bool


@dataclass(frozen=True)
class Property:
    """What HubSpot says of a property."""

    name: str
    label: str
    type: str
    """bool, date, datetime, enumeration, number, string, phone_number, or a rarer one."""
    options: tuple[Option, ...]
    """Of an enumeration; empty where the values are other records, such as owners."""
    has_unique_value: bool
    calculated: bool
    read_only: bool
    hidden: bool
    has_many: bool = False
    """Whether a value is several options, ``a;b``."""


def list_properties(client: HubSpotClient, object_type: ObjectType) -> list[Property]:
    """All live properties of an object type, also the portal's own."""
    body = client.call("GET", client.path("properties", object_type.name), repeatable=True)
    with reading():
        return [_property(each) for each in body["results"]]


def ensure_unique_property(
    client: HubSpotClient, object_type: ObjectType, name: str, *, label: str, description: str
) -> bool:
    """Make a text property with unique values, unless the portal has one of that name.

    HubSpot sets ``hasUniqueValue`` at creation only (docs: properties guide), so one that exists
    without it cannot be mended from here.

    Returns:
        Whether it had to be made.

    Raises:
        HubSpotConflictError: a property of that name exists, but its values are not unique.
        HubSpotScopeError: the token lacks ``crm.schemas.{object type}.write``.
    """
    existing = {each.name: each.has_unique_value for each in list_properties(client, object_type)}
    if name not in existing:
        _create(client, object_type, name, label, description)
    elif not existing[name]:
        raise HubSpotConflictError(
            f"The portal has a property {name} on {object_type.name} whose values are not unique; "
            "archive or rename it in HubSpot (Settings, Properties), then try again"
        )
    return name not in existing


def _create(
    client: HubSpotClient, object_type: ObjectType, name: str, label: str, description: str
) -> None:
    try:
        client.call(
            "POST",
            client.path("properties", object_type.name),
            body={
                "name": name,
                "label": label,
                "description": description,
                "groupName": object_type.singular.replace("_", "") + "information",
                "type": "string",
                "fieldType": "text",
                "hasUniqueValue": True,
                "formField": False,
            },
            # A second attempt after a lost answer is told that the name exists, as is this one
            # when another process was faster: either way the property is there.
            repeatable=True,
        )
    except HubSpotConflictError:
        return


def _property(body: Mapping[str, Any]) -> Property:
    return Property(
        name=str(body["name"]),
        label=body.get("label") or body["name"],
        type=body["type"],
        options=tuple(
            Option(str(each["value"]), each.get("label") or each["value"], bool(each.get("hidden")))
            for each in body.get("options") or ()
        ),
        has_unique_value=bool(body.get("hasUniqueValue")),
        calculated=bool(body.get("calculated")),
        read_only=bool((body.get("modificationMetadata") or {}).get("readOnlyValue")),
        hidden=bool(body.get("hidden")),
        has_many=body.get("fieldType") == "checkbox",
    )
