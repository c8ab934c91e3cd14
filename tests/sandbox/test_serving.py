"""Serving: quick persistent connections, going down and coming back, state in a file."""

import json
import signal
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from hubspot_sandbox import SandboxServer
from tests.conftest import wait_until

from .client import OBJECTS, HubSpot
from .process import Process
from .receiver import Receiver


def test_a_kept_connection_serves_many_requests_without_delay(hubspot: HubSpot) -> None:
    inputs = [
        {"id": f"p{n}@example.com", "idProperty": "email", "properties": {"firstname": "A"}}
        for n in range(100)
    ]
    durations = []
    for _ in range(10):
        started = time.monotonic()
        assert hubspot.batch("contacts", "upsert", *inputs).status_code == 200
        durations.append(time.monotonic() - started)

    assert_undelayed(durations)


def assert_undelayed(durations: list[float]) -> None:
    """40 ms would be the mark of Nagle's algorithm waiting for a delayed acknowledgement.

    After the first ones each would be late by it; a busy machine is so now and then.
    """
    assert min(durations[5:]) < 0.035


def test_an_answer_larger_than_a_buffer_is_not_delayed_either(hubspot: HubSpot) -> None:
    rows = [{"properties": {"firstname": "A", "message": "x" * 2_000}} for _ in range(100)]
    hubspot.batch("contacts", "create", *rows)
    durations = []
    for _ in range(10):
        started = time.monotonic()
        answer = hubspot.get(f"{OBJECTS}/contacts", limit=100, properties="message")
        durations.append(time.monotonic() - started)

    assert len(answer.content) > 200_000
    assert_undelayed(durations)


def test_a_request_waits_until_it_has_its_portal_to_itself(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    (portal,) = sandbox.sandbox.portals.values()
    with ThreadPoolExecutor(1) as pool:
        with portal.lock:
            answer = pool.submit(hubspot.get, f"{OBJECTS}/contacts")
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.2)

        assert answer.result(timeout=30).status_code == 200


def test_head_and_empty_answers_keep_the_connection_usable(hubspot: HubSpot) -> None:
    assert hubspot.session.head(f"{hubspot.url}{OBJECTS}/contacts", timeout=5).text == ""
    assert hubspot.delete(f"{OBJECTS}/contacts/1").content == b""
    assert hubspot.get(f"{OBJECTS}/contacts").status_code == 200


def test_concurrent_creates_of_one_email_make_one_contact(hubspot: HubSpot) -> None:
    def create(_: int) -> int:
        url = f"{hubspot.url}{OBJECTS}/contacts"
        body = {"properties": {"email": "ada@example.com"}}
        headers = dict(hubspot.session.headers)
        return requests.post(url, json=body, headers=headers, timeout=10).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(create, range(40)))

    assert statuses == {201: 1, 409: 39}


def test_a_stopped_server_refuses_and_a_started_one_remembers() -> None:
    server = SandboxServer(port=0, index_lag_ms=0)
    server.start()
    client = HubSpot(server.url)
    with client.session:
        client.create("contacts", email="ada@example.com")
        server.stop()
        with pytest.raises(requests.ConnectionError):
            client.get("/crm/v3/objects/contacts")
        server.start()
        assert client.url == server.url
        assert len(client.found("contacts")) == 1
    server.stop()


def test_a_taken_port_is_an_error(sandbox: SandboxServer) -> None:
    port = int(sandbox.url.rpartition(":")[2])

    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=port).start()


def test_demo_data_is_plenty_associated_and_the_same_every_time(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    def read() -> dict[str, Any]:
        sandbox.reset(demo=True)
        return {
            name: hubspot.get(
                f"{OBJECTS}/{name}", limit=100, associations="contacts,companies,deals"
            ).json()["results"]
            for name in ("contacts", "companies", "deals", "tickets", "line_items")
        }

    first = read()
    assert {name: len(records) for name, records in first.items()} == {
        "contacts": 60,
        "companies": 20,
        "deals": 80,
        "tickets": 40,
        "line_items": 100,
    }
    for name, records in first.items():
        assert all(record.get("associations") for record in records), name
    stages = Counter(each["properties"]["dealstage"] for each in first["deals"])
    months = Counter(each["createdAt"][:7] for each in first["deals"])
    assert len(stages) == 7
    assert len(months) >= 6
    assert read() == first


def contacts(url: str) -> list[str]:
    client = HubSpot(url)
    with client.session:
        results = client.get("/crm/v3/objects/contacts", limit=100).json()["results"]
    return [each["properties"]["email"] for each in results]


def add_contact(url: str, email: str) -> None:
    client = HubSpot(url)
    with client.session:
        client.create("contacts", email=email)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_state_outlives_a_clean_end(tmp_path: Path, number: int) -> None:
    arguments = ("--port", "0", "--state", str(tmp_path / "state.json"))
    first = Process(*arguments)
    add_contact(first.url(), "ada@example.com")
    assert first.end(number) == (0, "")

    second = Process(*arguments)
    assert contacts(second.url()) == ["ada@example.com"]
    assert second.end() == (0, "")


def test_a_kill_loses_nothing_but_the_last_moments(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    arguments = ("--port", "0", "--state", str(state))
    first = Process(*arguments)
    add_contact(first.url(), "ada@example.com")
    wait_until(lambda: state.exists() and "ada@example.com" in state.read_text())
    first.end(signal.SIGKILL)

    second = Process(*arguments)
    assert contacts(second.url()) == ["ada@example.com"]
    second.end()


def test_everything_comes_back_from_the_state_file(tmp_path: Path) -> None:
    arguments = (
        "--port",
        "0",
        "--index-lag-ms",
        "0",
        "--demo",
        "--state",
        str(tmp_path / "s.json"),
    )

    def read(url: str) -> list[Any]:
        client = HubSpot(url)
        with client.session:
            return [
                client.get(path, limit=100, associations="contacts,companies", **more).json()
                for path in (
                    *("/crm/v3/objects/deals", "/crm/v3/objects/contacts"),
                    *("/crm/v3/properties/deals", "/crm/v3/pipelines/tickets"),
                )
                for more in ({}, {"archived": "true"})
            ]

    first = Process(*arguments)
    url = first.url()
    client = HubSpot(url)
    with client.session:
        definition = {"name": "uid", "label": "U", "type": "string", "fieldType": "text"}
        more = {"groupName": "dealinformation", "hasUniqueValue": True}
        client.post("/crm/v3/properties/deals", {**definition, **more})
        client.create("deals", dealname="D", dealstage="closedwon", uid="u-1")
        client.delete(f"/crm/v3/objects/contacts/{client.found('contacts')[0]}")
        stages = [{"id": "7", "label": "Neu", "metadata": {"ticketState": "OPEN"}}]
        client.put("/_sandbox/pipelines/tickets", {"results": [{"id": "5", "stages": stages}]})
    before = [json.dumps(each).replace(url, "") for each in read(url)]
    first.end()

    second = Process(*arguments)
    url = second.url()
    assert [json.dumps(each).replace(url, "") for each in read(url)] == before
    client = HubSpot(url)
    with client.session:
        found = client.get("/crm/v3/objects/deals/u-1", idProperty="uid")
        new = client.create("contacts", email="new@example.com")
        ids = [each["id"] for each in client.get("/crm/v3/objects/contacts").json()["results"]]
    assert found.status_code == 200
    assert new["id"] not in ids
    second.end()


def test_a_taken_port_is_one_clear_line_and_exit_code_1(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    port = sandbox.url.rpartition(":")[2]
    state = tmp_path / "state.json"
    code, errors = Process("--port", port, "--state", str(state)).wait()

    assert code == 1
    assert errors == f"hubspot_sandbox: cannot listen at 127.0.0.1:{port}: Address already in use\n"
    assert not state.exists()


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": 2}', '{"format": 1, "portals": [{"id": 1, "next_ids": {}}]}']
)
def test_a_state_file_that_is_none_is_one_clear_line_and_is_left_alone(
    tmp_path: Path, content: str
) -> None:
    state = tmp_path / "state.json"
    state.write_text(content)
    code, errors = Process("--port", "0", "--state", str(state)).wait()

    assert code == 1
    assert errors.startswith(f"hubspot_sandbox: cannot read the state file {state}: ")
    assert errors.count("\n") == 1
    assert state.read_text() == content


def test_a_state_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    state = tmp_path / "nowhere" / "state.json"
    code, errors = Process("--port", "0", "--state", str(state)).wait()

    assert code == 1
    assert errors.startswith(f"hubspot_sandbox: cannot write the state file {state}: ")
    assert errors.count("\n") == 1


def test_a_process_says_when_it_is_up_and_serves_on_the_asked_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = Process("--port", str(port), "--portal-id", "77", "--latency-ms", "1")

    assert process.url() == f"http://127.0.0.1:{port}"
    assert requests.get(f"http://127.0.0.1:{port}/_sandbox/health", timeout=5).json() == {
        "status": "ok"
    }
    client = HubSpot(f"http://127.0.0.1:{port}")
    with client.session:
        assert client.get("/account-info/v3/details").json()["portalId"] == 77
    process.end()


def test_a_process_sends_webhooks_where_and_how_its_options_say() -> None:
    with Receiver() as receiver:
        options = ("--webhook-url", receiver.url, "--webhook-setting", "duplicates=1.0")
        process = Process("--port", "0", "--demo", *options)
        url = process.url()
        add_contact(url, "ada@example.com")
        requests.post(f"{url}/_sandbox/deliveries/flush", timeout=10)
        assert process.end() == (0, "")

    assert receiver.types() == ["contact.creation"] * 2


@pytest.mark.parametrize(
    "options",
    [
        ("--webhook-setting", "luck=1"),
        ("--webhook-url", "http://example.com/"),
    ],
)
def test_webhook_options_that_cannot_be_are_one_clear_line(options: tuple[str, str]) -> None:
    code, errors = Process("--port", "0", *options).wait()

    assert code == 1
    assert errors.startswith("hubspot_sandbox: The")
    assert errors.count("\n") == 1
