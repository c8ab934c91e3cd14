"""Property definitions: HubSpot's properties API."""

from crm.hubspot.answers import reading
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotConflictError, HubSpotNotFoundError
from crm.objects import ObjectType


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
    body = client.call("GET", client.path("properties", object_type.name), repeatable=True)
    with reading():
        existing = {each["name"]: bool(each.get("hasUniqueValue")) for each in body["results"]}
    if name not in existing:
        _create(client, object_type, name, label, description)
    elif not existing[name]:
        raise HubSpotConflictError(
            f"The portal has a property {name} on {object_type.name} whose values are not unique; "
            "archive or rename it in HubSpot (Settings, Properties), then try again"
        )
    return name not in existing


def find_uniqueness(client: HubSpotClient, object_type: ObjectType, name: str) -> bool | None:
    """Whether the values of a property are unique; None if the portal has no such property."""
    try:
        body = client.call(
            "GET", client.path("properties", object_type.name, name), repeatable=True
        )
    except HubSpotNotFoundError:
        return None
    with reading():
        return bool(body.get("hasUniqueValue"))


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
