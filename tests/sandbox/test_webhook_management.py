"""The webhooks management API: settings and subscriptions of an app, with its developer's key."""

from typing import Any

import pytest
import requests

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.access import DEFAULT_APP
from hubspot_sandbox.subscriptions import EVENT_TYPES, check_target_url
from hubspot_sandbox.webhook_routes import DEVELOPER_API_KEY

from .client import OBJECTS, HubSpot
from .receiver import Receiver

V3 = f"/webhooks/v3/{DEFAULT_APP.id}"
TARGET = {
    "targetUrl": "https://app.example.com/hooks",
    "throttling": {"maxConcurrentRequests": 10},
}


class Developer:
    """Calls the management API of the sandbox's app."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(
        self, method: str, path: str, body: Any = None, *, key: str = DEVELOPER_API_KEY
    ) -> requests.Response:
        return requests.request(
            method, self.url + path, json=body, params={"hapikey": key}, timeout=5
        )

    def subscribe(self, event_type: str, **more: Any) -> dict[str, Any]:
        answer = self("POST", f"{V3}/subscriptions", {"eventType": event_type, **more})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


@pytest.fixture
def developer(sandbox: SandboxServer) -> Developer:
    return Developer(sandbox.url)


@pytest.mark.parametrize(
    "prefix",
    [
        "/webhooks/v3",
        "/webhooks/2026-03",
        "/app-webhooks/2025-09",
        "/app-webhooks/2026-09",
        "/app-webhooks/2027-03-beta",
    ],
)
def test_every_version_has_its_own_prefix(developer: Developer, prefix: str) -> None:
    assert developer("GET", f"{prefix}/{DEFAULT_APP.id}/subscriptions").json() == {"results": []}


@pytest.mark.parametrize(
    "prefix", ["/webhooks/2026-09", "/app-webhooks/2026-03", "/app-webhooks/v3"]
)
def test_no_version_answers_under_the_prefix_of_another(developer: Developer, prefix: str) -> None:
    assert developer("GET", f"{prefix}/{DEFAULT_APP.id}/subscriptions").status_code == 404


@pytest.mark.parametrize("key", ["", "wrong", "pat-na1-sandbox", "schlüssel"])
def test_another_key_than_the_developers_is_refused(developer: Developer, key: str) -> None:
    answer = developer("GET", f"{V3}/subscriptions", key=key)

    assert answer.status_code == 401
    assert answer.json()["category"] == "INVALID_AUTHENTICATION"


def test_the_webhooks_of_an_unknown_app_are_not_found(developer: Developer) -> None:
    assert developer("GET", "/webhooks/v3/1/subscriptions").status_code == 404


def test_settings_are_put_read_and_deleted(developer: Developer) -> None:
    assert developer("GET", f"{V3}/settings").status_code == 404
    put = developer("PUT", f"{V3}/settings", TARGET)
    assert put.status_code == 200
    assert put.json()["targetUrl"] == TARGET["targetUrl"]
    assert put.json()["throttling"] == {"maxConcurrentRequests": 10, "period": "SECONDLY"}
    assert developer("GET", f"{V3}/settings").json() == put.json()
    assert developer("DELETE", f"{V3}/settings").status_code == 204
    assert developer("GET", f"{V3}/settings").status_code == 404


@pytest.mark.parametrize("concurrency", [5, 0, -1, 101, "many", 7.5])
def test_too_few_or_too_many_concurrent_requests_are_refused(
    developer: Developer, concurrency: Any
) -> None:
    body = {**TARGET, "throttling": {"maxConcurrentRequests": concurrency}}

    assert developer("PUT", f"{V3}/settings", body).status_code == 400


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example.com/hooks",
        "http://10.0.0.1/hooks",
        "http://[fe80::1]/hooks",
        "http://127.example.com/hooks",
        "ftp://localhost/",
        "https://",
        "https:///hooks",
        "/hooks",
        "",
        "https://user:word@app.example.com/",
        "https://app.example.com/#part",
        "https://app.example.com:port/",
        "https://app.example.com:99999/",
        "https://app.example.com/a b",
        "https://app.example.com/\r\nX: 1",
        "https://ex\u00e4mple.com/",
        "https://[::1/",
        f"https://app.example.com/{'x' * 2_000}",
    ],
)
def test_a_target_that_hubspot_would_not_call_is_refused(developer: Developer, url: str) -> None:
    answer = developer("PUT", f"{V3}/settings", {**TARGET, "targetUrl": url})

    assert answer.status_code == 400
    assert developer("GET", f"{V3}/settings").status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com",
        "http://127.0.0.1:4012/x?y=%2F",
        "http://localhost/",
        "http://[::1]:4012/",
        "http://web:4012/hooks",
    ],
)
def test_https_anywhere_and_http_nearby_are_targets(url: str) -> None:
    check_target_url(url)


def test_a_new_subscription_rests_until_it_is_activated(
    sandbox: SandboxServer, developer: Developer, hubspot: HubSpot, receiver: Receiver
) -> None:
    sandbox.set_webhooks(receiver.url, [])
    made = developer.subscribe("contact.creation")
    assert made["active"] is False
    hubspot.create("contacts", firstname="A")
    sandbox.flush_webhooks()
    assert receiver.events == []

    path = f"{V3}/subscriptions/{made['id']}"
    changed = developer("PATCH", path, {"active": True})
    assert changed.json()["active"] is True
    assert developer("GET", path).json() == changed.json()
    hubspot.create("contacts", firstname="B")
    sandbox.flush_webhooks()
    assert [each["subscriptionId"] for each in receiver.events] == [int(made["id"])]

    assert developer("DELETE", path).status_code == 204
    assert developer("GET", path).status_code == 404
    hubspot.create("contacts", firstname="C")
    sandbox.flush_webhooks()
    assert len(receiver.events) == 1


def test_only_the_subscribed_property_is_told(
    sandbox: SandboxServer, developer: Developer, hubspot: HubSpot, receiver: Receiver
) -> None:
    sandbox.set_webhooks(receiver.url, [])
    developer.subscribe("contact.propertyChange", propertyName="phone", active=True)
    contact = hubspot.create("contacts", firstname="A")
    for properties in ({"firstname": "B"}, {"phone": "1"}):
        hubspot.patch(f"{OBJECTS}/contacts/{contact['id']}", {"properties": properties})
    sandbox.flush_webhooks()

    assert [each["propertyName"] for each in receiver.events] == ["phone"]


def test_without_settings_every_subscription_rests(
    sandbox: SandboxServer, developer: Developer, hubspot: HubSpot, receiver: Receiver
) -> None:
    developer("DELETE", f"{V3}/settings")
    hubspot.create("contacts", firstname="A")

    assert sandbox.flush_webhooks()["counts"]["events"] == 0
    assert receiver.events == []
    assert developer("GET", f"{V3}/subscriptions").json()["results"]


def test_subscriptions_are_activated_in_batches(developer: Developer) -> None:
    ids = [developer.subscribe(each)["id"] for each in ("deal.creation", "deal.merge")]
    inputs = [{"id": int(ids[0]), "active": True}, {"id": 4567, "active": True}]
    answer = developer("POST", f"{V3}/subscriptions/batch/update", {"inputs": inputs})

    assert answer.status_code == 207
    assert [(each["id"], each["active"]) for each in answer.json()["results"]] == [(ids[0], True)]
    (error,) = answer.json()["errors"]
    assert error["category"] == "SUBSCRIPTION_ID_NOT_FOUND"
    assert error["context"] == {"subscriptionIds": ["4567"]}
    whole = developer("POST", f"{V3}/subscriptions/batch/update", {"inputs": inputs[:1]})
    assert whole.status_code == 200


def test_hubspots_48_event_types_are_known() -> None:
    assert len(EVENT_TYPES) == 48
    assert "product.associationChange" not in EVENT_TYPES


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"eventType": "contact.installed"},
        {"eventType": "widget.creation"},
        {"eventType": ["contact.creation"]},
        {"eventType": "contact.propertyChange"},
        {"eventType": "company.propertyChange", "propertyName": "hs_lastmodifieddate"},
        {"eventType": "contact.propertyChange", "propertyName": "num_unique_conversion_events"},
        {"eventType": "object.creation"},
        {"eventType": "object.creation", "objectTypeId": "0-99"},
        {"eventType": "contact.creation", "active": "yes"},
        [],
        None,
    ],
)
def test_what_cannot_be_subscribed_to_is_refused(developer: Developer, wanted: Any) -> None:
    answer = developer("POST", f"{V3}/subscriptions", wanted)

    assert answer.status_code in (400, 415)
    assert developer("GET", f"{V3}/subscriptions").json() == {"results": []}


def test_a_subscription_is_made_once(developer: Developer) -> None:
    developer.subscribe("deal.propertyChange", propertyName="amount")
    twice = developer(
        "POST",
        f"{V3}/subscriptions",
        {"eventType": "deal.propertyChange", "propertyName": "amount"},
    )

    assert twice.status_code == 409
    developer.subscribe("deal.propertyChange", propertyName="dealname")


def test_an_app_has_a_thousand_subscriptions_at_most(
    sandbox: SandboxServer, developer: Developer
) -> None:
    names = [f"property_{number}" for number in range(1_000)]
    many = [{"eventType": "deal.propertyChange", "propertyName": name} for name in names]
    sandbox.set_webhooks(TARGET["targetUrl"], many)
    answer = developer("POST", f"{V3}/subscriptions", {"eventType": "deal.creation"})

    assert answer.status_code == 400
    assert "1000" in answer.json()["message"]
