"""A small client of the sandbox, as plain as curl."""

from typing import Any

import requests

from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN

OBJECTS = "/crm/objects/2026-09"
ASSOCIATIONS = "/crm/associations/2026-09"


class HubSpot:
    """Sends requests with the sandbox's token, as any client of HubSpot's would."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {DEFAULT_TOKEN}"

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.session.get(self.url + path, params=query, timeout=10)

    def post(self, path: str, body: Any) -> requests.Response:
        return self.session.post(self.url + path, json=body, timeout=10)

    def patch(self, path: str, body: Any, **query: Any) -> requests.Response:
        return self.session.patch(self.url + path, json=body, params=query, timeout=10)

    def put(self, path: str, body: Any = None) -> requests.Response:
        return self.session.put(self.url + path, json=body, timeout=10)

    def delete(self, path: str) -> requests.Response:
        return self.session.delete(self.url + path, timeout=10)

    def create(self, object_type: str, **properties: str) -> dict[str, Any]:
        answer = self.post(f"{OBJECTS}/{object_type}", {"properties": properties})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def read(self, object_type: str, record_id: str, *properties: str) -> dict[str, Any]:
        path = f"{OBJECTS}/{object_type}/{record_id}"
        answer = self.get(path, properties=",".join(properties))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def first_page(self, object_type: str) -> list[dict[str, Any]]:
        answer = self.get(f"{OBJECTS}/{object_type}", limit=100)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["results"])

    def update(self, object_type: str, record_id: str, **properties: str) -> None:
        answer = self.patch(f"{OBJECTS}/{object_type}/{record_id}", {"properties": properties})
        assert answer.status_code == 200, answer.text

    def archive(self, object_type: str, record_id: str) -> None:
        assert self.delete(f"{OBJECTS}/{object_type}/{record_id}").status_code == 204

    def restore(self, object_type: str, record_id: str) -> None:
        """As a person does in HubSpot's recycle bin; the API has nothing for it."""
        path = f"/_sandbox/portals/{DEFAULT_PORTAL_ID}/objects/{object_type}/{record_id}/restore"
        assert self.post(path, {}).status_code == 200

    def merge(self, object_type: str, primary_id: str, other_id: str) -> dict[str, Any]:
        body = {"primaryObjectId": primary_id, "objectIdToMerge": other_id}
        answer = self.post(f"{OBJECTS}/{object_type}/merge", body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def batch(self, object_type: str, action: str, *inputs: Any, **more: Any) -> requests.Response:
        return self.post(
            f"{OBJECTS}/{object_type}/batch/{action}", {"inputs": list(inputs), **more}
        )

    def search(self, object_type: str, *filters: Any, **more: Any) -> requests.Response:
        groups = {"filterGroups": [{"filters": list(filters)}]} if filters else {}
        return self.post(f"{OBJECTS}/{object_type}/search", {**groups, **more})

    def found(self, object_type: str, *filters: Any, **more: Any) -> list[str]:
        answer = self.search(object_type, *filters, **more)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["results"]]
