"""Owners, to whom records are assigned: HubSpot's owners API."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crm.hubspot.answers import reading
from crm.hubspot.client import HubSpotClient
from crm.hubspot.paging import list_all

_PAGE = "100"


@dataclass(frozen=True)
class Owner:
    """A user or a queue."""

    id: str
    """What ``hubspot_owner_id`` holds; not the user id."""
    email: str
    first_name: str
    last_name: str
    archived: bool
    """Whether the user was deactivated; their records stay theirs."""


def iterate(client: HubSpotClient, *, archived: bool = False) -> Iterator[Owner]:
    """All owners that are active, or all that are not."""
    params = {"limit": _PAGE, "archived": str(archived).lower()}
    for page in list_all(client, client.path("owners"), params):
        with reading():
            owners = [_owner(each) for each in page]
        yield from owners


def _owner(body: Mapping[str, Any]) -> Owner:
    return Owner(
        id=str(body["id"]),
        # A queue has none of these.
        email=body.get("email") or "",
        first_name=body.get("firstName") or "",
        last_name=body.get("lastName") or "",
        archived=bool(body.get("archived")),
    )
