"""Pipelines and their stages: HubSpot's pipelines API."""

from typing import Any

from crm.hubspot.answers import reading
from crm.hubspot.client import HubSpotClient


def list_pipelines(client: HubSpotClient, object_type: str) -> list[dict[str, Any]]:
    """All live pipelines of an object type with their live stages, both in display order.

    Returns:
        ``[{"id", "label", "display_order", "stages": [{"id", "label", "display_order"}]}]``.
    """
    body = client.call("GET", client.path("pipelines", object_type), repeatable=True)
    with reading():
        return [
            _shown(pipeline) | {"stages": [_shown(stage) for stage in _live(pipeline["stages"])]}
            for pipeline in _live(body["results"])
        ]


def _live(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        (each for each in items if not each.get("archived")),
        key=lambda each: (each["displayOrder"], each["id"]),
    )


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    return {"id": item["id"], "label": item["label"], "display_order": item["displayOrder"]}
