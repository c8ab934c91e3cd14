"""The sandbox's clock: moved, frozen, and what follows it."""

import time
from typing import Any

import pytest
import requests

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.clock import parse_moment

from .client import OBJECTS, HubSpot

NOON = "2026-03-01T12:00:00Z"


@pytest.fixture
def sandbox(sandbox: SandboxServer) -> Any:
    yield sandbox
    sandbox.sandbox.clock.freeze(False)
    sandbox.sandbox.clock.offset_ms = 0


def clock(sandbox: SandboxServer, method: str = "GET", body: Any = None, path: str = "") -> Any:
    url = f"{sandbox.url}/_sandbox/clock{path}"
    return requests.request(method, url, json=body, timeout=5)


def freeze(sandbox: SandboxServer) -> None:
    assert clock(sandbox, "PUT", {"now": NOON, "frozen": True}).status_code == 200


def test_the_clock_is_the_walls_until_it_is_moved(sandbox: SandboxServer) -> None:
    told = clock(sandbox).json()
    moment = parse_moment(told.pop("now"))

    assert told == {"offset_ms": 0, "frozen": False}
    assert moment is not None
    assert abs(moment - time.time() * 1000) < 5_000


def test_the_clock_is_set_to_a_moment_and_goes_on_from_there(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    answer = clock(sandbox, "PUT", {"now": NOON})

    assert answer.json()["now"].startswith("2026-03-01T12:00:0")
    assert hubspot.create("contacts", email="a@example.com")["createdAt"].startswith(
        "2026-03-01T12:00:0"
    )
    first = sandbox.sandbox.clock.now_ms()
    time.sleep(0.01)
    assert sandbox.sandbox.clock.now_ms() > first


def test_the_clock_is_set_by_its_offset(sandbox: SandboxServer) -> None:
    assert clock(sandbox, "PUT", {"offset_ms": -3_600_000}).json()["offset_ms"] == -3_600_000
    assert abs(sandbox.sandbox.clock.now_ms() - time.time() * 1000 + 3_600_000) < 5_000


def test_a_frozen_clock_moves_only_when_it_is_advanced(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    freeze(sandbox)
    first = hubspot.create("contacts", email="a@example.com")
    time.sleep(0.01)
    second = hubspot.create("contacts", email="b@example.com")
    assert clock(sandbox, "POST", {"seconds": 90.5}, "/advance").json() == {
        "now": "2026-03-01T12:01:30.500Z",
        "offset_ms": sandbox.sandbox.clock.offset_ms,
        "frozen": True,
    }
    third = hubspot.create("contacts", email="c@example.com")

    assert [each["createdAt"] for each in (first, second)] == [NOON, NOON]
    assert third["properties"]["createdate"] == "2026-03-01T12:01:30.500Z"


def test_a_change_follows_the_clock(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    freeze(sandbox)
    record = hubspot.create("contacts", email="a@example.com")
    sandbox.advance(60)
    changed = hubspot.patch(
        f"{OBJECTS}/contacts/{record['id']}", {"properties": {"firstname": "Ada"}}
    ).json()

    assert changed["createdAt"] == NOON
    assert changed["updatedAt"] == changed["properties"]["lastmodifieddate"]
    assert changed["updatedAt"] == "2026-03-01T12:01:00Z"


def test_the_index_follows_the_clock(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    sandbox.sandbox.settings.index_lag_ms = 60_000
    freeze(sandbox)
    hubspot.create("contacts", email="a@example.com")

    sandbox.advance(59)
    assert hubspot.found("contacts") == []
    sandbox.advance(1)
    assert len(hubspot.found("contacts")) == 1


def test_a_thawed_clock_goes_on_from_where_it_stood(sandbox: SandboxServer) -> None:
    freeze(sandbox)
    while_frozen = clock(sandbox).json()
    time.sleep(0.05)
    told = clock(sandbox, "PUT", {"frozen": False}).json()

    assert told["now"].startswith("2026-03-01T12:00:0")
    assert told["frozen"] is False
    assert told["offset_ms"] <= while_frozen["offset_ms"] - 50


def test_a_clock_goes_back_to_the_walls(sandbox: SandboxServer) -> None:
    freeze(sandbox)
    time.sleep(0.01)
    clock(sandbox, "PUT", {"offset_ms": 0, "frozen": False})

    assert clock(sandbox).json()["offset_ms"] == 0
    assert clock(sandbox).json()["frozen"] is False


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"offset_ms": 10**18, "frozen": True},
        {"now": "noon"},
        {"now": None},
        {"now": {}},
        {"now": NOON, "offset_ms": 5},
        {"offset_ms": "5"},
        {"offset_ms": 1.5},
        {"offset_ms": 10**18},
        {"offset_ms": -(10**18)},
        {"now": "1969-12-31"},
        {"frozen": 1},
        {"now": NOON, "frozen": "yes"},
        {"speed": 2},
    ],
)
def test_a_clock_that_cannot_be_is_refused_and_nothing_moves(
    sandbox: SandboxServer, body: Any
) -> None:
    assert clock(sandbox, "PUT", body).status_code == 400
    assert clock(sandbox).json()["offset_ms"] == 0
    assert clock(sandbox).json()["frozen"] is False


@pytest.mark.parametrize(
    "body", [{}, {"seconds": "5"}, {"seconds": True}, {"seconds": 1e300}, {"seconds": -1e12}, []]
)
def test_an_advance_that_cannot_be_is_refused(sandbox: SandboxServer, body: Any) -> None:
    assert clock(sandbox, "POST", body, "/advance").status_code == 400
    assert clock(sandbox).json()["offset_ms"] == 0


def test_the_same_seed_and_a_frozen_clock_give_the_same_answers() -> None:
    def run() -> list[Any]:
        with SandboxServer(port=0, index_lag_ms=0, seed=5) as server:
            freeze(server)
            client = HubSpot(server.url)
            with client.session:
                created = client.batch(
                    "contacts",
                    "create",
                    *({"properties": {"email": f"p{n}@example.com"}} for n in range(5)),
                ).json()
                server.advance(1)
                refused = client.get(f"{OBJECTS}/contacts/1").json()
                return [created, refused]

    assert run() == run()
