"""The client: where it calls, what it repeats, what it never tells."""

import logging
import socket
import struct
import threading

import pytest
import requests

from crm.hubspot.errors import (
    HubSpotAuthError,
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotRateLimitError,
    HubSpotRefusedError,
    HubSpotUnavailableError,
)
from crm.sandbox import DEFAULT_TOKEN
from tests.conftest import free_port

MANY = 100

# Fault, attempts of a repeatable call and of any other, the class of the error.
REPEATS = [
    ({"kind": "status", "status": 500}, (3, 1), HubSpotUnavailableError),
    ({"kind": "status", "status": 502}, (3, 1), HubSpotUnavailableError),
    ({"kind": "status", "status": 503}, (3, 1), HubSpotUnavailableError),
    ({"kind": "status", "status": 504}, (3, 1), HubSpotUnavailableError),
    ({"kind": "status", "status": 423}, (1, 1), HubSpotUnavailableError),
    ({"kind": "status", "status": 429}, (1, 1), HubSpotRateLimitError),
    ({"kind": "status", "status": 477}, (1, 1), HubSpotUnavailableError),
    ({"kind": "reset_before"}, (3, 1), HubSpotUnavailableError),
    ({"kind": "reset_after"}, (3, 1), HubSpotUnavailableError),
    ({"kind": "truncated_json"}, (3, 1), HubSpotUnavailableError),
    ({"kind": "html"}, (3, 1), HubSpotUnavailableError),
    ({"kind": "html", "status": 400}, (1, 1), HubSpotRefusedError),
    ({"kind": "slow", "seconds": 0.4}, (3, 1), HubSpotUnavailableError),
]


def struck(sandbox):
    """How many calls the one fault struck."""
    return MANY - sandbox.sandbox.faults.describe()[0]["count"]


@pytest.mark.parametrize("is_repeatable", [True, False])
@pytest.mark.parametrize(
    ("fault", "attempts", "error_class"),
    REPEATS,
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_call_is_repeated_only_where_that_can_help_and_cannot_harm(
    make_client, sandbox, fault, attempts, error_class, is_repeatable
):
    client = make_client(read_timeout=0.1)
    sandbox.set_faults([fault | {"count": MANY}])

    with pytest.raises(HubSpotError) as caught:
        client.call("GET", client.path("account", "details"), repeatable=is_repeatable)

    assert type(caught.value) is error_class
    assert struck(sandbox) == attempts[0 if is_repeatable else 1]


@pytest.mark.parametrize("is_repeatable", [True, False])
def test_a_call_that_never_arrived_is_always_repeated(make_client, pauses, is_repeatable):
    client = make_client(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(HubSpotUnavailableError) as caught:
        client.call("POST", "/anything", repeatable=is_repeatable)

    assert caught.value.never_arrived
    assert len(pauses) == 2


def test_a_host_without_a_name_is_unavailable(make_client):
    client = make_client("http://no-such-host.invalid")

    with pytest.raises(HubSpotUnavailableError) as caught:
        client.call("GET", "/anything", repeatable=True)

    assert caught.value.never_arrived


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
def test_a_broken_answer_is_not_taken_for_a_call_that_never_arrived(client, sandbox, kind):
    sandbox.set_faults([{"kind": kind}])

    with pytest.raises(HubSpotUnavailableError) as caught:
        client.call("POST", "/anything", repeatable=False)

    assert not caught.value.never_arrived


def test_a_kept_alive_connection_that_the_other_side_closed_does_not_cost_a_call(client, sandbox):
    client.call("GET", client.path("account", "details"), repeatable=False)
    sandbox.stop()
    sandbox.start()

    answer = client.call("GET", client.path("account", "details"), repeatable=False)

    assert answer["portalId"]


def test_a_call_succeeds_after_faults_that_pass(client, sandbox, pauses):
    sandbox.set_faults([{"kind": "status", "status": 503, "count": 2}])

    answer = client.call("GET", client.path("account", "details"), repeatable=True)

    assert answer["portalId"]
    assert len(pauses) == 2


def test_the_pauses_between_attempts_grow_with_jitter(make_client, pauses):
    client = make_client(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(HubSpotUnavailableError):
        client.call("GET", "/anything", repeatable=True)

    assert 0.2 <= pauses[0] <= 0.4 <= pauses[1] <= 0.8


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2),
        ("0", 0),
        # Whole days at most, however much is asked for.
        ("99999999999999999999", 24 * 3600),
        # A date, a fraction, a digit that is none: no use is made of them.
        ("Fri, 21 Nov 2026 09:00:00 GMT", None),
        ("²", None),
    ],
)
def test_retry_after_is_kept(relay, relayed, header, seconds):
    relay.answer(429, {"message": "slow down"}, headers={"Retry-After": header})

    with pytest.raises(HubSpotRateLimitError) as caught:
        relayed.call("GET", "/anything", repeatable=True)

    assert caught.value.retry_after == seconds
    assert caught.value.retryable


def test_an_account_that_moves_says_when_to_come_back(client, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 477}])

    with pytest.raises(HubSpotUnavailableError) as caught:
        client.call("GET", "/anything", repeatable=True)

    assert caught.value.retry_after == 2


def test_a_5xx_that_asks_for_a_pause_is_not_repeated_at_once(relay, relayed):
    relay.answer(503, {"message": "later"}, headers={"Retry-After": "60"})

    with pytest.raises(HubSpotUnavailableError):
        relayed.call("GET", "/anything", repeatable=True)

    assert len(relay.calls) == 1


def test_an_answer_in_drops_is_waited_for_only_so_long(make_client):
    """A server that sends its header and then nothing costs the read timeout, not for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections = []

        def serve():
            connection, _ = listener.accept()
            connections.append(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")

        threading.Thread(target=serve, daemon=True).start()
        client = make_client(f"http://127.0.0.1:{listener.getsockname()[1]}", read_timeout=0.1)

        with pytest.raises(HubSpotUnavailableError) as caught:
            client.call("GET", "/anything", repeatable=False)

        for each in connections:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()

    assert not caught.value.never_arrived


@pytest.mark.parametrize(
    ("version", "api", "path"),
    [
        ("2026-09", "objects", "/crm/objects/2026-09/deals/1"),
        ("2026-09", "associations", "/crm/associations/2026-09/deals/1"),
        ("2026-09", "pipelines", "/crm/pipelines/2026-09/deals/1"),
        ("2026-09", "properties", "/crm/properties/2026-09/deals/1"),
        ("2026-09", "account", "/account-info/2026-09/deals/1"),
        ("v3", "objects", "/crm/v3/objects/deals/1"),
        ("v3", "associations", "/crm/v4/associations/deals/1"),
        ("v3", "pipelines", "/crm/v3/pipelines/deals/1"),
        ("v3", "properties", "/crm/v3/properties/deals/1"),
        ("v3", "account", "/account-info/v3/deals/1"),
    ],
)
def test_each_api_has_its_path_in_both_families(make_client, version, api, path):
    assert make_client(version=version).path(api, "deals", "1") == path


@pytest.mark.parametrize(
    "record_id",
    ["../owners", "1?archived=true", "1#", "a/b", "a b", "ü€😀", "%2e%2e", "1;2", "a\nb", "..%2f"],
)
def test_an_id_stays_one_segment_of_the_path(relay, relayed, record_id):
    relay.answer(200, {"id": "1"})

    relayed.call("GET", relayed.path("objects", "contacts", record_id), repeatable=True)

    segment = relay.paths()[0].removeprefix("/crm/objects/2026-09/contacts/")
    assert requests.utils.unquote(segment) == record_id
    assert not set("/?#") & set(segment)


@pytest.mark.parametrize("record_id", ["", ".", ".."])
def test_an_id_that_would_name_another_path_is_not_found(relay, relayed, record_id):
    # URLs are normalised on their way, whether the dots are quoted or not.
    with pytest.raises(HubSpotNotFoundError):
        relayed.path("objects", "contacts", record_id)

    assert relay.calls == []


def test_a_redirect_is_not_followed(relay, relayed):
    relay.answer(302, headers={"Location": f"{relay.url}/elsewhere"})

    with pytest.raises(HubSpotError):
        relayed.call("GET", "/anything", repeatable=True)

    assert relay.paths() == ["/anything"]


def test_the_environment_names_neither_proxies_nor_credentials(
    monkeypatch, tmp_path, relay, relayed
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    relay.answer(200, {})

    relayed.call("GET", "/anything", repeatable=False)

    assert relay.calls[0].headers["Authorization"] == f"Bearer {DEFAULT_TOKEN}"


@pytest.mark.parametrize("fault", [row[0] for row in REPEATS], ids=str)
def test_the_token_is_never_told(make_client, sandbox, caplog, fault):
    caplog.set_level(logging.DEBUG)
    client = make_client(read_timeout=0.1)
    sandbox.set_faults([fault])

    with pytest.raises(HubSpotError) as caught:
        client.call("GET", "/anything", repeatable=True)

    told = (repr(client), str(client), caplog.text, repr(caught.value), caught.value.message)
    causes = (repr(caught.value.__cause__), repr(caught.value.details))
    assert not [each for each in (*told, *causes) if DEFAULT_TOKEN in each]


@pytest.mark.parametrize("token", ["pat-na1-new\nline", " pat-na1", "pat-“quoted”", "", "pat na1"])
def test_a_mangled_token_is_refused_without_being_told(make_client, token):
    with pytest.raises(HubSpotAuthError) as caught:
        make_client(token=token)

    assert "pat" not in caught.value.message
    assert caught.value.__context__ is None


def test_threads_have_sessions_of_their_own(client):
    sessions = []
    threads = [threading.Thread(target=lambda: sessions.append(client._session())) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sessions[0] is not sessions[1]
    assert client._session() is client._session()
