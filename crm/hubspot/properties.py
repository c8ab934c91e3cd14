"""Property definitions: HubSpot's properties API."""

from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotConflictError
from crm.objects import ObjectType


def ensure_unique_property(
    client: HubSpotClient, object_type: ObjectType, name: str, *, label: str, description: str
) -> None:
    """Make a text property with unique values, unless the portal has one of that name.

    HubSpot sets ``hasUniqueValue`` at creation only (docs: properties guide), so one that exists
    without it cannot be mended from here.

    Raises:
        HubSpotConflictError: a property of that name exists, but its values are not unique.
        HubSpotScopeError: the token lacks ``crm.schemas.{object type}.write``.
    """
    body = client.call("GET", client.path("properties", object_type.name), repeatable=True)
    existing = next((each for each in body["results"] if each["name"] == name), None)
    if existing is None:
        _create(client, object_type, name, label, description)
    elif not existing.get("hasUniqueValue"):
        raise HubSpotConflictError(
            f"The portal has a property {name} on {object_type.name} whose values are not unique; "
            "archive or rename it in HubSpot (Settings, Properties), then try again"
        )


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
