"""Faults on request, and what the admin API says and does about them."""

import time
from typing import Any

import pytest
import requests

from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN, SandboxServer
from hubspot_sandbox.store import Settings

from .client import OBJECTS, HubSpot

CONTACTS = f"{OBJECTS}/contacts"


def create(sandbox: SandboxServer) -> requests.Response:
    """Create a contact on a connection of its own, so that nothing is retried."""
    return requests.post(
        sandbox.url + CONTACTS,
        json={"properties": {"firstname": "Ada"}},
        headers={"Authorization": f"Bearer {DEFAULT_TOKEN}"},
        timeout=5,
    )


@pytest.mark.parametrize("status", [423, 429, 477, 500, 502, 503, 504])
def test_a_status_fault_answers_like_hubspot_and_writes_nothing(
    sandbox: SandboxServer, hubspot: HubSpot, status: int
) -> None:
    sandbox.set_faults([{"kind": "status", "status": status, "count": 1}])
    answer = create(sandbox)

    assert answer.status_code == status
    assert answer.json()["status"] == "error"
    assert answer.headers["x-hubspot-correlation-id"] == answer.json()["correlationId"]
    assert hubspot.found("contacts") == []


@pytest.mark.parametrize("status", [521, 523, 524])
def test_the_proxys_own_errors_are_web_pages(
    sandbox: SandboxServer, hubspot: HubSpot, status: int
) -> None:
    sandbox.set_faults([{"kind": "status", "status": status, "count": 1}])
    answer = create(sandbox)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html"
    assert f"<title>{status} " in answer.text
    assert hubspot.found("contacts") == []


LIMIT = "X-HubSpot-RateLimit-"


@pytest.mark.parametrize("lifted", [False, True])
@pytest.mark.parametrize(
    ("policy", "message", "fields", "left"),
    [
        (
            "ten_secondly",
            "You have reached your ten_secondly_rolling limit.",
            {
                "policyName": "TEN_SECONDLY_ROLLING",
                "groupName": "publicapi:private_app-api-calls-ten-secondly:1836221:44021307",
            },
            {"Max": "190", "Remaining": "0", "Interval-Milliseconds": "10000"},
        ),
        (
            "daily",
            "You have reached your daily limit.",
            {"policyName": "DAILY", "groupName": "publicapi:private_app-api-calls-daily:44021307"},
            {"Daily": "625000", "Daily-Remaining": "0"},
        ),
        (
            "search",
            "You have reached your secondly limit.",
            {
                "policyName": "SECONDLY",
                "groupName": "publicapi:crm:search:private_app:1836221:44021307",
            },
            {"Max": None, "Remaining": None},
        ),
    ],
)
def test_a_429_tells_which_limit_was_reached(
    sandbox: SandboxServer,
    policy: str,
    message: str,
    fields: dict[str, str],
    left: dict[str, str | None],
    lifted: bool,
) -> None:
    if not lifted:
        sandbox.sandbox.settings = Settings(index_lag_ms=0)
        sandbox.reset()
    sandbox.set_faults([{"kind": "status", "status": 429, "policy": policy, "count": 1}])
    answer = create(sandbox)

    assert answer.status_code == 429
    assert answer.json() | {**fields, "errorType": "RATE_LIMIT"} == answer.json()
    assert answer.json()["message"] == message
    assert {name: answer.headers.get(LIMIT + name) for name in left} == left
    assert create(sandbox).status_code == 201


def test_a_429_of_a_search_may_lack_its_policy(sandbox: SandboxServer) -> None:
    sandbox.sandbox.settings.search_429_names_policy = False
    sandbox.set_faults([{"kind": "status", "status": 429, "policy": "search"}])
    body = create(sandbox).json()

    assert body["category"] == "RATE_LIMITS"
    assert "policyName" not in body


def test_who_shows_no_token_meets_faults_too(sandbox: SandboxServer) -> None:
    sandbox.set_faults([{"kind": "status", "status": 429}])

    assert requests.get(sandbox.url + CONTACTS, timeout=5).json()["errorType"] == "RATE_LIMIT"


def test_a_fault_may_say_when_to_come_back(sandbox: SandboxServer) -> None:
    sandbox.set_faults(
        [
            {"kind": "status", "status": status, "count": 1, "retry_after": 86_400}
            for status in (477, 429)
        ]
    )

    assert [create(sandbox).headers["Retry-After"] for _ in range(2)] == ["86400", "86400"]


def test_an_expiry_in_mid_run_ends_oauth_tokens_only(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    token = "oauth-token"
    body = {"token": token, "portal_id": DEFAULT_PORTAL_ID, "expires_in": 1_800}
    assert admin(sandbox, "POST", "tokens", body).status_code == 200
    headers = {"Authorization": f"Bearer {token}"}

    def read() -> requests.Response:
        return requests.get(sandbox.url + CONTACTS, headers=headers, timeout=5)

    assert read().status_code == 200
    sandbox.set_faults([{"kind": "expire_token", "count": 1}])
    refused = read()
    assert (refused.status_code, refused.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")
    assert hubspot.get(CONTACTS).status_code == 200


def test_only_a_data_centre_migration_says_when_to_come_back(sandbox: SandboxServer) -> None:
    sandbox.set_faults([{"kind": "status", "status": status, "count": 1} for status in (477, 429)])

    assert create(sandbox).headers["Retry-After"] == "2"
    assert "Retry-After" not in create(sandbox).headers


def test_a_reset_before_the_write_leaves_nothing(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    sandbox.set_faults([{"kind": "reset_before", "count": 1}])

    with pytest.raises(requests.ConnectionError):
        create(sandbox)
    assert hubspot.found("contacts") == []


def test_a_reset_after_the_write_leaves_the_record(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    sandbox.set_faults([{"kind": "reset_after", "count": 1}])

    with pytest.raises(requests.ConnectionError):
        create(sandbox)
    assert len(hubspot.found("contacts")) == 1


def test_truncated_json_is_cut_off_after_the_write(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    sandbox.set_faults([{"kind": "truncated_json", "count": 1}])
    answer = create(sandbox)

    assert answer.status_code == 201
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert len(hubspot.found("contacts")) == 1


def test_an_html_page_stands_where_json_should(sandbox: SandboxServer) -> None:
    sandbox.set_faults([{"kind": "html", "count": 1}])
    answer = create(sandbox)

    assert answer.status_code == 502
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.text.startswith("<html>")


def test_a_slow_answer_comes_late_but_whole(sandbox: SandboxServer) -> None:
    sandbox.set_faults([{"kind": "slow", "seconds": 0.2, "count": 1}])
    started = time.monotonic()

    assert create(sandbox).status_code == 201
    assert time.monotonic() - started >= 0.2


def test_a_fault_strikes_as_often_as_its_count_says(sandbox: SandboxServer) -> None:
    sandbox.set_faults([{"kind": "status", "status": 503, "count": 2}])

    assert [create(sandbox).status_code for _ in range(3)] == [503, 503, 201]


def test_a_fault_strikes_only_what_it_matches(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    sandbox.set_faults([{"kind": "status", "match": "^POST .*/contacts$"}])

    assert hubspot.get(CONTACTS).status_code == 200
    assert create(sandbox).status_code == 503


def test_reads_may_be_spared(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    sandbox.set_faults([{"kind": "reset_after", "match": "^(POST|PATCH|PUT|DELETE) "}])

    with pytest.raises(requests.ConnectionError):
        create(sandbox)
    (found,) = hubspot.get(CONTACTS).json()["results"]
    assert found["properties"]["firstname"] == "Ada"


def test_each_fault_counts_its_own_strikes(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    sandbox.set_faults(
        [
            {"kind": "status", "match": "POST", "count": 1},
            {"kind": "truncated_json", "probability": 0.5, "seed": 3},
        ]
    )
    create(sandbox)
    whole = 0
    for _ in range(20):
        answer = hubspot.get(CONTACTS)
        whole += answer.content.endswith(b"}")

    faults = admin(sandbox, "GET", "faults").json()["faults"]
    assert [each["struck"] for each in faults] == [1, 20 - whole]
    assert 0 < whole < 20


def test_a_seed_repeats_which_requests_are_struck(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    def run(seed: int) -> list[int]:
        sandbox.set_faults([{"kind": "status", "probability": 0.5, "seed": seed}])
        return [hubspot.get(CONTACTS).status_code for _ in range(20)]

    first = run(3)
    assert {200, 503} == set(first)
    assert run(3) == first
    assert run(4) != first


def admin(sandbox: SandboxServer, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(method, f"{sandbox.url}/_sandbox/{path}", json=body, timeout=5)


def test_the_admin_api_sets_shows_and_clears_faults(sandbox: SandboxServer) -> None:
    fault = {"kind": "status", "status": 500, "count": 2}

    assert admin(sandbox, "PUT", "faults", {"faults": [fault]}).status_code == 200
    create(sandbox)
    (shown,) = admin(sandbox, "GET", "faults").json()["faults"]
    assert (shown["status"], shown["count"], shown["struck"]) == (500, 1, 1)
    assert admin(sandbox, "DELETE", "faults").json() == {"faults": []}
    assert create(sandbox).status_code == 201


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "flood"},
        {"kind": "status", "status": 418},
        {"kind": "slow", "probability": 2},
        {"kind": "slow", "match": "("},
        {"kind": "slow", "colour": "red"},
        {"kind": "slow", "seconds": "x"},
        {"kind": "slow", "seconds": True},
        {"kind": "slow", "count": "2"},
        {"kind": "slow", "count": 1.5},
        {"kind": "slow", "count": -1},
        {"kind": "slow", "seed": 2**64},
        {"kind": "slow", "match": 5},
        {"kind": "slow", "struck": 5},
        {"kind": ["slow"]},
        {"kind": "html", "status": 418},
        {"kind": "status", "status": 429, "policy": "hourly"},
        {"kind": "status", "status": 477, "retry_after": 100_000},
        {},
        "slow",
    ],
)
def test_a_fault_that_cannot_be_is_refused_and_the_others_stay(
    sandbox: SandboxServer, fault: Any
) -> None:
    sandbox.set_faults([{"kind": "html"}])

    assert admin(sandbox, "PUT", "faults", {"faults": [fault]}).status_code == 400
    assert len(admin(sandbox, "GET", "faults").json()["faults"]) == 1


def test_a_reset_empties_everything(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    hubspot.create("contacts", email="a@example.com")
    sandbox.set_faults([{"kind": "html"}])

    assert admin(sandbox, "POST", "reset").status_code == 200
    assert hubspot.found("contacts") == []
    assert sandbox.requests()["total"] == 1


def test_a_reset_may_bring_demo_data(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    admin(sandbox, "POST", "reset", {"demo": True})

    assert hubspot.search("contacts").json()["total"] == 60


def test_settings_are_changed_one_by_one(sandbox: SandboxServer) -> None:
    before = admin(sandbox, "GET", "settings").json()
    answer = admin(sandbox, "PUT", "settings", {"index_lag_ms": 700})

    assert answer.json() == {**before, "index_lag_ms": 700}
    assert admin(sandbox, "GET", "settings").json() == answer.json()


@pytest.mark.parametrize("body", [{"lag": 1}, {"latency_ms": -1}, {"latency_ms": "1"}, []])
def test_wrong_settings_are_refused(sandbox: SandboxServer, body: Any) -> None:
    assert admin(sandbox, "PUT", "settings", body).status_code == 400


def test_latency_delays_every_answer_but_the_admin_apis(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    def duration(path: str) -> float:
        started = time.monotonic()
        hubspot.get(path)
        return time.monotonic() - started

    admin(sandbox, "PUT", "settings", {"latency_ms": 150})
    assert duration(CONTACTS) >= 0.15
    assert min(duration("/_sandbox/health") for _ in range(5)) < 0.15


def test_latency_may_vary(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    admin(sandbox, "PUT", "settings", {"latency_jitter_ms": 60})
    for _ in range(8):
        hubspot.get(CONTACTS)

    durations = [each["duration_ms"] for each in sandbox.list_requests()]
    assert max(durations) - min(durations) > 5
