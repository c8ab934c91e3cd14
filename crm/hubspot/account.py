"""The portal itself: HubSpot's account information API."""

from crm.hubspot.answers import reading
from crm.hubspot.client import HubSpotClient


def get_hub_id(client: HubSpotClient) -> int:
    """The id of the portal that the token belongs to."""
    body = client.call("GET", client.path("account", "details"), repeatable=True)
    with reading():
        return int(body["portalId"])
