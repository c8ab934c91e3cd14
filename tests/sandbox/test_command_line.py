"""The command line: what it takes, and one clear line for what it does not."""

import pytest
import requests

from hubspot_sandbox.__main__ import main
from hubspot_sandbox.faults import FaultError, parse_fault

from .client import OBJECTS, HubSpot
from .process import Process


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("status=503", {"kind": "status", "status": 503}),
        (
            "status=503,probability=0.1,seed=7,match=POST",
            {"kind": "status", "status": 503, "probability": 0.1, "seed": 7, "match": "POST"},
        ),
        ("slow,seconds=2", {"kind": "slow", "seconds": 2.0}),
        ("reset_after,count=1", {"kind": "reset_after", "count": 1}),
        ("kind=html,status=504", {"kind": "html", "status": 504}),
        ("html,status=504", {"kind": "html", "status": 504}),
        ("expire_token", {"kind": "expire_token"}),
        (
            "status=429,policy=daily,retry_after=5",
            {"kind": "status", "status": 429, "policy": "daily", "retry_after": 5},
        ),
        (
            r"slow,match=^POST .{2,40}/batch\?a=b,count=1",
            {"kind": "slow", "match": r"^POST .{2,40}/batch\?a=b", "count": 1},
        ),
    ],
)
def test_a_fault_is_read_from_the_command_line(text: str, described: dict[str, object]) -> None:
    assert parse_fault(text) == described


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flood",
        "status=teapot",
        "status=418",
        "slow,seconds=long",
        "slow,colour=red",
        "probability=1",
        "slow,html=1",
        "slow,match=(",
    ],
)
def test_a_fault_that_cannot_be_is_an_error(text: str) -> None:
    with pytest.raises(FaultError):
        parse_fault(text)


def test_faults_and_latency_are_there_from_the_start() -> None:
    process = Process(
        *("--port", "0", "--latency-ms", "1", "--latency-jitter-ms", "2"),
        *("--fault", "status=503,count=1,match=^GET"),
        *("--fault", "status=429,policy=search,match=/search$"),
    )
    client = HubSpot(process.url())
    with client.session:
        statuses = [client.get(f"{OBJECTS}/contacts").status_code for _ in range(2)]
        refusal = client.search("contacts").json()
        settings = client.get("/_sandbox/settings").json()

    assert statuses == [503, 200]
    assert refusal["policyName"] == "SECONDLY"
    assert (settings["latency_ms"], settings["latency_jitter_ms"]) == (1, 2)
    assert process.end() == (0, "")


def test_time_begins_when_it_is_told_to_and_may_stand_still() -> None:
    process = Process("--port", "0", "--now", "2026-03-01T12:00:00Z", "--freeze")
    client = HubSpot(process.url())
    with client.session:
        first = client.create("contacts", email="a@example.com")
        requests.post(f"{client.url}/_sandbox/clock/advance", json={"seconds": 1}, timeout=5)
        second = client.create("contacts", email="b@example.com")

    assert first["createdAt"] == "2026-03-01T12:00:00Z"
    assert second["createdAt"] == "2026-03-01T12:00:01Z"
    assert process.end() == (0, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--fault", "status=418"), "argument --fault: 'status=418': status 418 is none of ["),
        (("--fault", "flood"), "argument --fault: 'flood': unknown kind 'flood'"),
        (("--now", "noon"), "argument --now: invalid _moment value: 'noon'"),
        (("--port", "99999"), "argument --port: invalid _port value: '99999'"),
        (("--colour", "red"), "unrecognized arguments: --colour red"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert errors.startswith(f"hubspot_sandbox: {told}")
    assert errors.count("\n") == 1


def test_help_tells_all_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    output = capsys.readouterr().out
    for option in (
        *("host", "port", "state", "demo", "latency-ms", "latency-jitter-ms", "index-lag-ms"),
        *("portal-id", "seed", "now", "freeze", "fault"),
    ):
        assert f"--{option} " in output
