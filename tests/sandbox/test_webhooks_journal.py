"""The Webhooks Journal: entries that an app fetches by itself."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN, SandboxServer
from hubspot_sandbox.access import DEFAULT_APP, Access
from hubspot_sandbox.clock import DAY_MS

from .client import OBJECTS, HubSpot

SCOPES = frozenset(
    f"developer.webhooks_journal.{each}"
    for each in ("read", "subscriptions.read", "subscriptions.write")
)
EARLIEST = "journal/2026-03/earliest"
LATEST = "journal/2026-03/latest"


class Reader:
    """An app that reads its journal, with a token of the grant client_credentials."""

    def __init__(self, sandbox: SandboxServer, token: str) -> None:
        self._url = f"{sandbox.url}/webhooks-journal"
        self._headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(
            method, f"{self._url}/{path}", json=body, headers=self._headers, timeout=5
        )

    def subscribe(self, *actions: str, **more: Any) -> dict[str, Any]:
        body = {
            "subscriptionType": "OBJECT",
            "objectTypeId": "0-1",
            "portalId": DEFAULT_PORTAL_ID,
            "actions": list(actions),
            **more,
        }
        answer = self("POST", "subscriptions/2026-03", body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def entry(self, path: str) -> dict[str, Any]:
        """Return the file that an entry's URL leads to, fetched without a token."""
        answer = self("GET", path)
        assert answer.status_code == 200, answer.text
        fetched = requests.get(answer.json()["url"], timeout=5)
        assert fetched.status_code == 200, fetched.text
        assert fetched.json()["offset"] == answer.json()["currentOffset"]
        return dict(fetched.json())


@pytest.fixture
def reader(sandbox: SandboxServer) -> Iterator[Reader]:
    state = sandbox.sandbox
    expires_at = state.clock.now_ms() + 10 * DAY_MS
    state.tokens["journal-token"] = Access(DEFAULT_PORTAL_ID, DEFAULT_APP.id, SCOPES, expires_at)
    reading = Reader(sandbox, "journal-token")
    yield reading
    for each in reading("GET", "subscriptions/2026-03").json()["results"]:
        reading("DELETE", f"subscriptions/2026-03/{each['id']}")
    del state.tokens["journal-token"]


def test_a_subscribed_change_is_found_behind_a_url_that_needs_no_token(
    reader: Reader, hubspot: HubSpot
) -> None:
    reader.subscribe("CREATE", "UPDATE")
    contact = hubspot.create("contacts", firstname="A")
    entry = reader.entry(EARLIEST)

    (event,) = entry["journalEvents"]
    assert (event["action"], event["objectTypeId"]) == ("CREATE", "0-1")
    assert (event["objectId"], event["portalId"]) == (int(contact["id"]), DEFAULT_PORTAL_ID)
    assert entry["publishedAt"].endswith("Z")


def test_entries_follow_each_other_by_offset_until_there_is_none(
    reader: Reader, hubspot: HubSpot
) -> None:
    reader.subscribe("CREATE", "UPDATE")
    assert reader("GET", EARLIEST).status_code == 204
    contact = hubspot.create("contacts", firstname="A")
    properties = {"firstname": "B", "jobtitle": "1"}
    hubspot.patch(f"{OBJECTS}/contacts/{contact['id']}", {"properties": properties})
    first = reader.entry(EARLIEST)
    second = reader.entry(f"journal/2026-03/offset/{first['offset']}/next")

    (update,) = second["journalEvents"]
    assert update["action"] == "UPDATE"
    assert update["propertyChanges"] == {**properties, "hs_full_name_or_email": "B"}
    assert reader.entry(LATEST) == second
    assert reader("GET", f"journal/2026-03/offset/{second['offset']}/next").status_code == 204


def test_only_what_is_subscribed_to_is_written(reader: Reader, hubspot: HubSpot) -> None:
    reader.subscribe("UPDATE", properties=["jobtitle"])
    contact = hubspot.create("contacts", firstname="A")
    hubspot.create("companies", name="B")
    properties = {"firstname": "B", "jobtitle": "1"}
    hubspot.patch(f"{OBJECTS}/contacts/{contact['id']}", {"properties": properties})
    (event,) = reader.entry(EARLIEST)["journalEvents"]

    assert event["propertyChanges"] == {"jobtitle": "1"}
    assert reader.entry(LATEST)["offset"] == reader.entry(EARLIEST)["offset"]


def test_associations_are_events_of_their_own_type(reader: Reader, hubspot: HubSpot) -> None:
    reader.subscribe("ASSOCIATION_ADDED", "ASSOCIATION_REMOVED", subscriptionType="ASSOCIATION")
    contact = hubspot.create("contacts", firstname="A")
    company = hubspot.create("companies", name="B")
    pair = f"contacts/{contact['id']}/associations/{{}}companies/{company['id']}"
    hubspot.put(f"{OBJECTS}/{pair.format('default/')}")
    hubspot.delete(f"{OBJECTS}/{pair.format('')}")
    added, removed = (reader.entry(each)["journalEvents"] for each in (EARLIEST, LATEST))

    assert [each["action"] for each in (*added, *removed)] == [
        "ASSOCIATION_ADDED",
        "ASSOCIATION_REMOVED",
    ]
    assert added[0]["associatedObjectId"] == int(company["id"])


def test_entries_are_kept_for_three_days(
    sandbox: SandboxServer, reader: Reader, hubspot: HubSpot
) -> None:
    reader.subscribe("CREATE")
    hubspot.create("contacts", firstname="A")
    offset = reader.entry(EARLIEST)["offset"]
    sandbox.sandbox.clock.offset_ms += 3 * DAY_MS + 1

    assert reader("GET", EARLIEST).status_code == 204
    assert reader("GET", f"journal/2026-03/offset/{offset}/next").status_code == 404
    assert reader("GET", "journal/2026-03/offset/nonsense/next").status_code == 404


def test_a_url_that_is_too_old_or_tampered_with_is_refused(
    sandbox: SandboxServer, reader: Reader, hubspot: HubSpot
) -> None:
    reader.subscribe("CREATE")
    hubspot.create("contacts", firstname="A")
    url = reader("GET", EARLIEST).json()["url"]
    bare, _, query = url.partition("?")

    for wrong in (bare, f"{bare}?{query[:-1]}", f"{bare}?{query.replace('expires=', 'expires=9')}"):
        assert requests.get(wrong, timeout=5).status_code == 403
    sandbox.sandbox.clock.offset_ms += 10 * 60_000
    assert requests.get(url, timeout=5).status_code == 403


def test_a_local_journal_holds_one_portal(reader: Reader, hubspot: HubSpot) -> None:
    reader.subscribe("CREATE")
    hubspot.create("contacts", firstname="A")
    local = "journal-local/2026-03/latest?installPortalId="

    assert reader.entry(f"{local}{DEFAULT_PORTAL_ID}")["journalEvents"]
    assert reader("GET", f"{local}1").status_code == 204
    assert reader("GET", f"{local}x").status_code == 404


@pytest.mark.parametrize(("token", "status"), [(DEFAULT_TOKEN, 403), ("unknown", 401), ("", 401)])
def test_another_token_than_that_of_client_credentials_is_refused(
    sandbox: SandboxServer, token: str, status: int
) -> None:
    assert Reader(sandbox, token)("GET", EARLIEST).status_code == status


def test_an_expired_token_is_refused(sandbox: SandboxServer, reader: Reader) -> None:
    sandbox.sandbox.clock.offset_ms += 10 * DAY_MS
    try:
        assert reader("GET", EARLIEST).status_code == 401
    finally:
        sandbox.sandbox.clock.offset_ms = 0


def test_subscriptions_are_listed_read_deleted_and_part_of_the_state(
    sandbox: SandboxServer, reader: Reader
) -> None:
    made = reader.subscribe("CREATE")
    path = f"subscriptions/2026-03/{made['id']}"
    sandbox.sandbox.restore(sandbox.sandbox.serialize())

    assert reader("GET", "subscriptions/2026-03").json() == {"results": [made]}
    assert reader("GET", path).json() == made
    assert reader("DELETE", path).status_code == 204
    assert reader("GET", path).status_code == 404
    assert reader("DELETE", path).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"subscriptionType": "EVERYTHING"},
        {"actions": []},
        {"actions": ["GDPR_DELETE"]},
        {"actions": "CREATE"},
        {"objectTypeId": "0-99"},
        {"portalId": 1},
        {"portalId": None},
        {"properties": [{}]},
    ],
)
def test_a_subscription_that_cannot_be_is_refused(reader: Reader, change: dict[str, Any]) -> None:
    body = {
        "subscriptionType": "OBJECT",
        "objectTypeId": "0-1",
        "portalId": DEFAULT_PORTAL_ID,
        "actions": ["CREATE"],
        **change,
    }

    assert reader("POST", "subscriptions/2026-03", body).status_code == 400
