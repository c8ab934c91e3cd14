"""The decision list, walked row by row: each is met on a real wire, as often as the row says."""

import socket
import struct
import threading
import time

import pytest

from crm.hubspot import transport
from crm.hubspot.errors import (
    HubSpotError,
    HubSpotRateLimitError,
    HubSpotUnavailableError,
)
from crm.hubspot.retries import (
    CONNECT_TIMEOUT,
    CONNECTION_LOST,
    NOT_CONNECTED,
    NOT_JSON,
    READ_TIMEOUT,
    TABLE,
    TOO_LARGE,
    Repeat,
)
from tests.conftest import free_port
from tests.hubspot.relay import Answer

ROWS = {row.met: row for row in TABLE}


def limit(policy, words):
    return Answer(429, {"message": f"You have reached your {words} limit.", "policyName": policy})


# What is met, and a way to meet it: an address, a fault of the sandbox, or a relay's answer.
MEETINGS = [
    (NOT_CONNECTED, "http://127.0.0.1:{free_port}"),
    (NOT_CONNECTED, "http://no-such-host.invalid"),
    (CONNECT_TIMEOUT, "http://127.0.0.1:{busy_port}"),
    (READ_TIMEOUT, {"kind": "slow", "seconds": 0.3}),
    (CONNECTION_LOST, {"kind": "reset_before"}),
    (CONNECTION_LOST, {"kind": "reset_after"}),
    (TOO_LARGE, Answer(200, raw=b"x" * 1_001)),
    (NOT_JSON, {"kind": "truncated_json"}),
    (NOT_JSON, Answer(200, raw=b"<html>Welcome</html>")),
    ("3xx", Answer(302, headers={"Location": "/elsewhere"})),
    ("4xx", Answer(403, raw=b"<html>Forbidden</html>")),
    *[("4xx", Answer(status, {"message": "no"})) for status in (400, 401, 403, 404, 409, 414, 418)],
    ("401 EXPIRED_AUTHENTICATION", Answer(401, {"category": "EXPIRED_AUTHENTICATION"})),
    ("401 INVALID_AUTHENTICATION", Answer(401, {"category": "INVALID_AUTHENTICATION"})),
    ("408", Answer(408)),
    ("423", {"kind": "status", "status": 423}),
    ("429 TEN_SECONDLY_ROLLING", {"kind": "status", "status": 429}),
    ("429 SECONDLY", limit("SECONDLY", "secondly")),
    ("429 SECONDLY", limit(None, "secondly")),
    ("429 DAILY", limit("DAILY", "daily")),
    ("429", limit("MINUTELY", "minutely")),
    ("429", Answer(429, raw=b"<html>Slow down</html>")),
    *[(str(status), {"kind": "status", "status": status}) for status in (477, 500, 502, 503, 504)],
    ("502", {"kind": "html", "status": 502}),
    *[(str(status), Answer(status)) for status in (521, 522, 523, 524, 525, 526)],
    ("5xx", Answer(501)),
]


def test_every_row_is_met():
    assert {met for met, _ in MEETINGS} == set(ROWS)


@pytest.fixture(scope="module")
def busy_port():
    """A port whose queue is full, so that nobody more is let in."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        first = socket.create_connection(listener.getsockname())
        yield listener.getsockname()[1]
        first.close()


@pytest.fixture
def meet(make_client, sandbox, relay, busy_port, monkeypatch):
    """A client that will meet with what is given; in spite of all the pauses it is patient."""
    monkeypatch.setattr(transport, "_LARGEST", 1_000)

    def make(meeting):
        url, read = "", 10.0
        if isinstance(meeting, str):
            url = meeting.format(free_port=free_port(), busy_port=busy_port)
        elif isinstance(meeting, Answer):
            relay.handler = lambda _: meeting
            url = relay.url
        else:
            sandbox.set_faults([meeting])
            read = 0.1 if meeting["kind"] == "slow" else read
        return make_client(url, connect=0.05, read=read, patience=1000)

    return make


@pytest.mark.parametrize("is_repeatable", [True, False], ids=["repeatable", "once"])
@pytest.mark.parametrize(("met", "meeting"), MEETINGS, ids=str)
def test_a_call_is_made_as_often_as_its_row_says(meet, pauses, met, meeting, is_repeatable):
    row = ROWS[met]
    client = meet(meeting)

    with pytest.raises(HubSpotError) as caught:
        client.call("GET", client.path("account", "details"), repeatable=is_repeatable)

    repeats = row.repeat is Repeat.ALWAYS or (row.repeat is Repeat.IF_REPEATABLE and is_repeatable)
    assert caught.value.met.startswith(met.removesuffix("xx"))
    assert len(pauses) == (row.attempts - 1 if repeats else 0)
    for number, pause in enumerate(pauses):
        assert row.pause * 2**number <= pause <= row.pause * 2**number * 1.5


def test_only_what_hubspot_certainly_did_not_do_is_repeated_whatever_it_is():
    assert {row.met for row in TABLE if row.repeat is Repeat.ALWAYS} == {
        NOT_CONNECTED,
        CONNECT_TIMEOUT,
        "423",
        "429",
        "429 TEN_SECONDLY_ROLLING",
        "429 SECONDLY",
    }


@pytest.mark.parametrize("met", sorted(ROWS))
def test_what_is_repeated_is_repeated_after_a_pause_and_not_for_ever(met):
    row = ROWS[met]

    if row.repeat in (Repeat.ALWAYS, Repeat.IF_REPEATABLE):
        assert row.pause >= 0.2
        assert 2 <= row.attempts <= 3
    else:
        assert row.attempts == 1


def test_a_creation_whose_answer_was_lost_is_not_made_again(client, sandbox):
    sandbox.set_faults([{"kind": "reset_after", "count": 1}])
    path = client.path("objects", "contacts")

    with pytest.raises(HubSpotUnavailableError):
        client.call("POST", path, body={"properties": {"firstname": "Ada"}}, repeatable=False)

    found = client.call("GET", path, repeatable=True)["results"]
    assert len(found) == 1


def test_a_call_succeeds_after_faults_that_pass(client, sandbox, pauses):
    faults = [{"kind": "status", "status": 500}, {"kind": "reset_before"}]
    sandbox.set_faults([fault | {"count": 1} for fault in faults])

    answer = client.call("GET", client.path("account", "details"), repeatable=True)

    assert answer["portalId"]
    assert len(pauses) == 2


def test_pauses_differ(make_client, pauses):
    for _ in range(2):
        with pytest.raises(HubSpotUnavailableError):
            make_client(f"http://127.0.0.1:{free_port()}").call("GET", "/", repeatable=True)

    assert pauses[0] != pauses[2]


@pytest.mark.parametrize("status", [423, 429, 503])
def test_a_pause_that_hubspot_asks_for_takes_the_place_of_ours(relay, relayed, pauses, status):
    relay.answer(status, {}, headers={"Retry-After": "5"})

    with pytest.raises(HubSpotUnavailableError):
        relayed.call("GET", "/anything", repeatable=True)

    assert pauses
    assert all(5 <= pause <= 7.5 for pause in pauses)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2),
        ("0", 0),
        # Whole days at most, however much is asked for.
        ("99999999999999999999", 24 * 3600),
        ("9" * 1000, 24 * 3600),
        # A date, a fraction, a digit that is none, less than nothing: no use is made of them.
        ("Fri, 21 Nov 2026 09:00:00 GMT", 60),
        ("1.5", 60),
        ("²", 60),
        ("-5", 60),
        ("", 60),
    ],
)
def test_the_error_says_when_to_come_back_whatever_the_header_is(relay, relayed, header, seconds):
    relay.answer(477, {"message": "moving"}, headers={"Retry-After": header})

    with pytest.raises(HubSpotUnavailableError) as caught:
        relayed.call("GET", "/anything", repeatable=True)

    assert caught.value.retry_after == seconds
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("meeting", "seconds"),
    [
        ({"kind": "status", "status": 429}, 10),
        ({"kind": "status", "status": 423}, 2),
        (limit("SECONDLY", "secondly"), 1),
        (limit("DAILY", "daily"), 900),
    ],
    ids=str,
)
def test_what_the_caller_has_no_patience_for_is_raised_with_the_time_to_come_back(
    make_client, meet, pauses, meeting, seconds
):
    client = meet(meeting)
    impatient = make_client(client.base_url, connect=0.1, read=0.8, patience=1)

    with pytest.raises(HubSpotUnavailableError) as caught:
        impatient.call("GET", impatient.path("account", "details"), repeatable=True)

    assert pauses == []
    assert caught.value.retry_after == seconds


def test_no_attempt_is_begun_that_there_is_not_the_time_to_wait_out(make_client, sandbox, pauses):
    sandbox.set_faults([{"kind": "reset_before"}])
    client = make_client(connect=1, read=10, patience=11)

    with pytest.raises(HubSpotUnavailableError):
        client.call("GET", client.path("account", "details"), repeatable=True)

    assert pauses == []


def test_an_answer_in_drops_is_waited_for_only_as_long_as_there_is_patience(make_client):
    """Each drop comes in time, so that the read timeout alone would wait for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
                while not is_over.wait(0.02):
                    connection.send(b"1")

        server = threading.Thread(target=serve)
        server.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()

        with pytest.raises(HubSpotUnavailableError) as caught:
            make_client(url, read=1, patience=0.2).call("GET", "/anything", repeatable=False)

        took = time.monotonic() - started
        is_over.set()
        server.join()

    assert caught.value.met == READ_TIMEOUT
    assert took < 10  # The drops alone would take minutes.


def test_the_limit_is_known_by_its_policy(relay, relayed):
    for policy, words in (("DAILY", "daily"), ("TEN_SECONDLY_ROLLING", "ten_secondly_rolling")):
        for name in (policy, None):
            relay.handler = lambda _, name=name, words=words: limit(name, words)

            with pytest.raises(HubSpotRateLimitError) as caught:
                relayed.call("GET", "/anything", repeatable=True)

            assert caught.value.policy == policy
