"""The portal itself: HubSpot's account information API."""

from dataclasses import dataclass
from datetime import datetime

from crm.hubspot.answers import parse_time, reading
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotNotFoundError


@dataclass(frozen=True)
class AccountDetails:
    """What a portal says of itself."""

    hub_id: int
    time_zone: str | None
    """Such as ``US/Eastern``; the day of HubSpot's limits ends at midnight there."""
    utc_offset: str | None
    """Of that time zone now, such as ``-05:00``."""
    ui_domain: str
    """Where people open it, such as ``app.hubspot.com``; that of EU portals differs."""
    currency: str | None
    """Of amounts that name no other, such as ``USD``."""


@dataclass(frozen=True)
class DailyUsage:
    """The calls of all private apps of the portal, today."""

    limit: int
    used: int
    resets_at: datetime | None


def get_details(client: HubSpotClient) -> AccountDetails:
    """What the portal that the token belongs to says of itself."""
    body = client.call("GET", client.path("account", "details"), repeatable=True)
    with reading():
        return AccountDetails(
            hub_id=int(body["portalId"]),
            time_zone=body.get("timeZone"),
            utc_offset=body.get("utcOffset"),
            ui_domain=body.get("uiDomain") or "app.hubspot.com",
            currency=body.get("companyCurrency"),
        )


def get_usage(client: HubSpotClient) -> DailyUsage:
    """How many calls the portal has used up today.

    Raises:
        HubSpotNotFoundError: HubSpot does not count them, as for OAuth apps.
    """
    path = client.path("account", "api-usage", "daily", "private-apps")
    body = client.call("GET", path, repeatable=True)
    with reading():
        for each in body["results"]:
            return DailyUsage(
                limit=int(each["usageLimit"]),
                used=int(each["currentUsage"]),
                resets_at=parse_time(each.get("resetsAt")),
            )
    raise HubSpotNotFoundError("HubSpot does not count the calls of this portal")
