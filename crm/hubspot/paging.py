"""Pages and parts: what HubSpot gives and takes only so much of at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from crm.hubspot.answers import reading
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotError

Item = TypeVar("Item")


def list_all(client: HubSpotClient, path: str, params: Mapping[str, Any]) -> Iterator[list[Any]]:
    """The results of each page of a list, until the last.

    Raises:
        HubSpotError: also where the pages go round in a circle.
    """
    after = None
    while True:
        page = params if after is None else {**params, "after": after}
        body = client.call("GET", path, params=page, repeatable=True)
        with reading():
            results, following = list(body["results"]), next_after(body)
        yield results
        if following is None:
            return
        if following == after:
            raise HubSpotError("HubSpot's list does not go on after the page that it says is next")
        after = following


def next_after(body: Mapping[str, Any]) -> str | None:
    """The cursor of the page after this one; None at the end."""
    following = (body.get("paging") or {}).get("next") or {}
    return str(following["after"]) if following.get("after") else None


def parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in their order, up to ``size`` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
