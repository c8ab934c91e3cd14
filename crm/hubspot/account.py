"""The portal itself: HubSpot's account information API."""

from dataclasses import dataclass

from crm.hubspot.answers import reading
from crm.hubspot.client import HubSpotClient


@dataclass(frozen=True)
class Account:
    """A portal as HubSpot describes it."""

    hub_id: int
    time_zone: str | None
    """Such as ``US/Eastern``."""


def get_account(client: HubSpotClient) -> Account:
    """The portal that the token belongs to."""
    body = client.call("GET", client.path("account", "details"), repeatable=True)
    with reading():
        return Account(hub_id=int(body["portalId"]), time_zone=body.get("timeZone"))
