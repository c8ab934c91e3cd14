"""Changes that a person makes in HubSpot itself, through the admin API that stands in for it."""

from typing import Any

import pytest
import requests

from hubspot_sandbox import DEFAULT_PORTAL_ID, SandboxServer
from hubspot_sandbox.clock import DAY_MS

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


def test_a_person_restores_what_was_archived(
    person: Person, hubspot: HubSpot, contact: dict[str, str]
) -> None:
    path = f"contacts/{contact['id']}"
    assert person("POST", f"{path}/restore").status_code == 404
    hubspot.delete(f"{OBJECTS}/{path}")
    person.told()
    restored = person("POST", f"{path}/restore")

    assert restored.status_code == 200
    assert (restored.json()["id"], restored.json()["archived"]) == (contact["id"], False)
    assert hubspot.get(f"{OBJECTS}/{path}").status_code == 200
    (event,) = person.told()
    assert event["subscriptionType"] == "contact.restore"
    assert event["objectId"] == int(contact["id"])
    assert event["changeSource"] == "CRM_UI"


def test_what_is_not_in_the_recycle_bin_any_more_cannot_be_restored(
    sandbox: SandboxServer, person: Person, hubspot: HubSpot, contact: dict[str, str]
) -> None:
    other = hubspot.create("contacts", email="grace@example.com")
    for each in (contact, other):
        hubspot.delete(f"{OBJECTS}/contacts/{each['id']}")
    hubspot.create("contacts", email="ada@example.com")
    assert person("POST", f"contacts/{contact['id']}/restore").status_code == 409

    sandbox.sandbox.clock.offset_ms += 91 * DAY_MS
    assert person("POST", f"contacts/{other['id']}/restore").status_code == 404
    assert person("POST", "contacts/x/restore").status_code == 404


def test_a_person_merges_two_records(
    person: Person, hubspot: HubSpot, contact: dict[str, str]
) -> None:
    other = hubspot.create("contacts", email="ada@work.example", city="Lagos")
    pair = {"primaryObjectId": contact["id"], "objectIdToMerge": other["id"]}
    person.told()
    merged = person("POST", "contacts/merge", pair)

    assert merged.status_code == 200
    assert merged.json()["properties"]["city"] == "Lagos"
    said = {each["subscriptionType"]: each for each in person.told()}
    assert said.keys() == {"contact.merge", "contact.deletion"}
    assert {each["changeSource"] for each in said.values()} == {"CRM_UI"}
    assert said["contact.merge"]["newObjectId"] == int(merged.json()["id"])
    assert person("POST", "contacts/merge", pair | {"objectIdToMerge": "1"}).status_code == 404
    assert person("POST", "line_items/merge", pair).status_code == 404


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
