"""Changes that a person makes in HubSpot itself, through the admin API that stands in for it."""

from typing import Any

import pytest
import requests

from crm.sandbox import DEFAULT_PORTAL_ID, SandboxServer

from .client import OBJECTS, HubSpot
from .receiver import Receiver

PERSON = 60318841


class Person:
    """Somebody at work in the portal."""

    def __init__(self, sandbox: SandboxServer, receiver: Receiver) -> None:
        self._sandbox, self._receiver = sandbox, receiver

    def __call__(
        self, method: str, path: str, body: Any = None, portal_id: Any = DEFAULT_PORTAL_ID
    ) -> requests.Response:
        url = f"{self._sandbox.url}/_sandbox/portals/{portal_id}/objects/{path}"
        return requests.request(method, url, json=body, timeout=5)

    def told(self) -> list[dict[str, Any]]:
        self._sandbox.flush_webhooks()
        said = self._receiver.events
        self._receiver.clear()
        return said


@pytest.fixture
def person(sandbox: SandboxServer, receiver: Receiver) -> Person:
    return Person(sandbox, receiver)


def test_a_persons_changes_are_told_as_theirs(person: Person, hubspot: HubSpot) -> None:
    made = person("POST", "contacts", {"properties": {"email": "Ada@Example.com"}})
    assert made.status_code == 201
    path = f"contacts/{made.json()['id']}"
    assert person("PATCH", path, {"properties": {"jobtitle": "1"}}).status_code == 200
    assert (
        hubspot.get(f"{OBJECTS}/{path}", properties="jobtitle").json()["properties"]["jobtitle"]
        == "1"
    )
    assert person("DELETE", path).status_code == 204
    said = person.told()

    assert sorted(each["subscriptionType"] for each in said) == [
        "contact.creation",
        "contact.deletion",
        "contact.propertyChange",
    ]
    assert {(each["changeSource"], each["sourceId"]) for each in said} == {
        ("CRM_UI", f"userId:{PERSON}")
    }


def test_the_person_may_be_named(person: Person) -> None:
    person("POST", "contacts?userId=60318907", {"properties": {"firstname": "A"}})

    assert [each["sourceId"] for each in person.told()] == ["userId:60318907"]


def test_a_persons_associations_are_told_as_those_of_a_user(
    person: Person, hubspot: HubSpot, contact: dict[str, str]
) -> None:
    company = hubspot.create("companies", name="Bletchley")
    pair = f"contacts/{contact['id']}/associations/{{}}companies/{company['id']}"
    person.told()
    assert person("PUT", pair.format("default/")).status_code == 200
    primary = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}]
    assert person("PUT", pair.format(""), primary).status_code == 201
    assert person("DELETE", pair.format("")).status_code == 204
    said = person.told()

    assert len(said) == 8
    assert {each["changeSource"] for each in said} == {"USER"}


def test_a_person_is_held_to_the_rules_of_the_api(person: Person) -> None:
    refused = person("POST", "deals", {"properties": {"dealname": "Pilot", "dealstage": "x"}})

    assert refused.status_code == 400
    assert "is not a valid pipeline stage ID" in refused.json()["message"]
    assert person.told() == []


@pytest.mark.parametrize(
    ("path", "portal_id", "status"),
    [
        ("contacts", 1, 404),
        ("contacts", "x", 404),
        ("widgets", DEFAULT_PORTAL_ID, 400),
        ("contacts?userId=x", DEFAULT_PORTAL_ID, 400),
        ("contacts?userId=-1", DEFAULT_PORTAL_ID, 400),
    ],
)
def test_a_change_in_an_unknown_portal_or_by_nobody_is_refused(
    person: Person, path: str, portal_id: Any, status: int
) -> None:
    answer = person("POST", path, {"properties": {"firstname": "A"}}, portal_id)

    assert answer.status_code == status
    assert answer.json()["status"] == "error"


def test_a_persons_changes_are_no_requests_of_an_app(
    sandbox: SandboxServer, person: Person
) -> None:
    sandbox.set_faults([{"kind": "status"}])
    sandbox.clear_requests()

    assert person("POST", "contacts", {"properties": {"firstname": "A"}}).status_code == 201
    assert sandbox.requests()["total"] == 0
