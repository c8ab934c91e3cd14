"""The log of requests: what is told of each, what never is, and the counters beside it."""

from typing import Any
from uuid import UUID

import pytest
import requests

from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN, SandboxServer
from hubspot_sandbox.access import DEFAULT_APP
from hubspot_sandbox.clock import Clock
from hubspot_sandbox.request_log import RequestLog

from .client import OBJECTS, HubSpot

CONTACTS = f"{OBJECTS}/contacts"


def log(sandbox: SandboxServer, **query: Any) -> requests.Response:
    return requests.get(f"{sandbox.url}/_sandbox/requests/log", params=query, timeout=5)


def counts(sandbox: SandboxServer) -> Any:
    return requests.get(f"{sandbox.url}/_sandbox/requests", timeout=5).json()


def test_a_request_is_logged_with_who_called_and_what_was_answered(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    sandbox.sandbox.clock.set_now(1_700_000_000_000)
    answer = hubspot.get(f"{CONTACTS}/1", properties="email,phone")

    (entry,) = log(sandbox).json()["results"]
    duration = entry.pop("duration_ms")
    assert entry == {
        "at": entry["at"],
        "method": "GET",
        "path": f"{CONTACTS}/1?properties=email,phone",
        "status": 404,
        "correlation_id": answer.json()["correlationId"],
        "portal_id": DEFAULT_PORTAL_ID,
        "app_id": DEFAULT_APP.id,
        "fault": None,
    }
    assert entry["at"].startswith("2023-11-14T22:13:2")
    assert 0 < duration < 5_000
    assert sandbox.list_requests()[0]["correlation_id"] == entry["correlation_id"]


def test_the_newest_request_stands_first_and_a_limit_cuts_the_oldest(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    for number in range(5):
        hubspot.get(f"{CONTACTS}/{number}")

    paths = [each["path"] for each in log(sandbox, limit=2).json()["results"]]
    assert paths == [f"{CONTACTS}/4", f"{CONTACTS}/3"]


def test_the_log_is_sought_by_expression_and_status(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    hubspot.get(CONTACTS)
    hubspot.get(f"{CONTACTS}/1")
    hubspot.post(CONTACTS, {"properties": {"email": "ada@example.com"}})

    def found(**query: Any) -> list[tuple[str, int]]:
        return [
            (each["method"], each["status"]) for each in log(sandbox, **query).json()["results"]
        ]

    assert found(match="^POST .*/contacts$") == [("POST", 201)]
    assert found(status=404) == [("GET", 404)]
    assert found(match="^GET", status=200) == [("GET", 200)]
    assert found(match="PATCH") == []


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 1_001}, {"limit": "x"}, {"status": "-1"}, {"match": "("}]
)
def test_a_question_that_cannot_be_is_refused(sandbox: SandboxServer, query: Any) -> None:
    assert log(sandbox, **query).status_code == 400


def test_only_the_last_thousand_are_kept_and_all_are_counted() -> None:
    requests_served = RequestLog(Clock(), None)
    for number in range(1_010):
        requests_served.add(requests_served.open("GET", f"/{number}", ""))

    entries = requests_served.list()
    assert len(entries) == 1_000
    assert (entries[0]["path"], entries[-1]["path"]) == ("/1009", "/10")
    assert requests_served.count()["total"] == 1_010


@pytest.mark.parametrize(
    "path",
    [
        "/oauth/v1/access-tokens/VERYSECRET",
        "/oauth/v1/refresh-tokens/VERYSECRET",
        "/oauth/v1/refresh-tokens/VERYSECRET/",
        f"{CONTACTS}?access_token=VERYSECRET",
        f"{CONTACTS}?client%5Fsecret=VERYSECRET&limit=1",
        f"{CONTACTS}?hapikey=VERYSECRET",
        f"{CONTACTS}?a=1&code=VERYSECRET",
        f"{CONTACTS}?a={'1' * 1_990}&code=VERYSECRET",
        f"{CONTACTS}?after=pat-na1-VERYSECRET",
        f"{CONTACTS}?after=pat%2Dna1%2DVERYSECRET",
        f"{CONTACTS}/pat-eu1-VERYSECRET",
    ],
)
def test_secrets_are_never_told(sandbox: SandboxServer, hubspot: HubSpot, path: str) -> None:
    hubspot.get(path)

    text = log(sandbox).text
    assert "***" in text or len(path) > 2_000
    assert "VERYSECRET" not in text
    assert DEFAULT_TOKEN not in text


def test_the_log_of_a_hostile_address_is_short(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    hubspot.get(f"{CONTACTS}/{'9' * 30_000}")

    (entry,) = sandbox.list_requests()
    assert entry["status"] == 414
    assert len(entry["path"]) == 2_000


def test_admin_requests_are_not_logged(sandbox: SandboxServer) -> None:
    log(sandbox)

    assert log(sandbox).json() == {"results": []}


def test_nobody_is_named_without_a_token(sandbox: SandboxServer) -> None:
    requests.get(sandbox.url + CONTACTS, timeout=5)

    (entry,) = sandbox.list_requests()
    assert (entry["status"], entry["portal_id"], entry["app_id"]) == (401, None, None)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "status", "status": 500}, 500),
        ({"kind": "html"}, 502),
        ({"kind": "truncated_json"}, 200),
        ({"kind": "slow", "seconds": 0.01}, 200),
        ({"kind": "reset_before"}, None),
        ({"kind": "reset_after"}, None),
    ],
)
def test_a_fault_stands_in_the_log(
    sandbox: SandboxServer, fault: dict[str, Any], status: int | None
) -> None:
    sandbox.set_faults([fault])
    headers = {"Authorization": f"Bearer {DEFAULT_TOKEN}"}
    try:
        answer = requests.get(sandbox.url + CONTACTS, headers=headers, timeout=5)
        told = answer.headers["x-hubspot-correlation-id"]
    except requests.ConnectionError:
        told = None

    (entry,) = sandbox.list_requests()
    assert (entry["fault"], entry["status"]) == (fault["kind"], status)
    assert entry["portal_id"] == DEFAULT_PORTAL_ID
    assert told in (None, entry["correlation_id"])
    assert (told is None) is (status is None)


def test_every_answer_has_a_correlation_id_of_its_own(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    answers = [hubspot.get(path) for path in (CONTACTS, f"{CONTACTS}/1", "/nowhere")]
    answers.append(requests.get(f"{sandbox.url}/_sandbox/health", timeout=5))
    for kind in ("status", "status", "html", "truncated_json"):
        sandbox.set_faults([{"kind": kind}])
        answers.append(hubspot.get(CONTACTS))

    ids = [each.headers["x-hubspot-correlation-id"] for each in answers]
    assert len({UUID(each) for each in ids}) == len(ids)


def test_a_seed_repeats_the_correlation_ids() -> None:
    def run(seed: int) -> list[str]:
        with SandboxServer(port=0, seed=seed) as server:
            client = HubSpot(server.url)
            with client.session:
                return [
                    client.get("/nowhere").headers["x-hubspot-correlation-id"] for _ in range(3)
                ]

    assert run(1) == run(1) != run(2)


def test_requests_are_counted_by_route_status_and_fault(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    sandbox.clear_requests()
    hubspot.batch("contacts", "read", {"id": "1"})
    hubspot.get(f"{CONTACTS}/1")
    hubspot.get(f"{CONTACTS}/2")
    hubspot.get("/nowhere")
    sandbox.set_faults([{"kind": "html", "count": 1}, {"kind": "truncated_json", "count": 1}])
    hubspot.get(CONTACTS)
    hubspot.get(CONTACTS)
    log(sandbox)

    assert sandbox.requests() == {
        "total": 6,
        "by_route": {
            f"POST {CONTACTS}/batch/read": 1,
            f"GET {CONTACTS}/{{record_id}}": 2,
            "GET (no such route)": 1,
            "GET (struck by html)": 1,
            f"GET {CONTACTS}": 1,
        },
        "by_status": {"207": 1, "404": 3, "502": 1, "200": 1},
        "by_fault": {"html": 1, "truncated_json": 1},
    }
    assert counts(sandbox) == sandbox.requests()


def test_clearing_forgets_the_log_and_the_counters(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    sandbox.set_faults([{"kind": "html", "count": 1}])
    hubspot.get(CONTACTS)
    answer = requests.delete(f"{sandbox.url}/_sandbox/requests", timeout=5)

    assert answer.json() == {"total": 0, "by_route": {}, "by_status": {}, "by_fault": {}}
    assert sandbox.list_requests() == []
