"""The client: where it calls, what it repeats, what it never tells."""

import gzip
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from crm.hubspot import transport
from crm.hubspot.errors import (
    HubSpotAuthError,
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotRateLimitError,
    HubSpotUnavailableError,
)
from crm.version import VERSION
from hubspot_sandbox import DEFAULT_TOKEN
from tests.conftest import free_port
from tests.hubspot.relay import Answer


def test_a_kept_alive_connection_that_the_other_side_closed_does_not_cost_a_call(client, sandbox):
    client.call("GET", client.path("account", "details"), repeatable=False)
    sandbox.stop()
    sandbox.start()

    answer = client.call("GET", client.path("account", "details"), repeatable=False)

    assert answer["portalId"]


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


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "reset_before"},
        {"kind": "truncated_json"},
        {"kind": "html", "status": 502},
        {"kind": "slow", "seconds": 0.2},
    ],
    ids=str,
)
def test_the_token_is_never_told(make_client, sandbox, caplog, fault):
    caplog.set_level(logging.DEBUG)
    client = make_client(read=0.1)
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


class Tokens:
    """A source that has some tokens, one after the other."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)
        self.refused = []

    def get(self):
        return self.tokens[0]

    def renew(self, refused):
        self.refused.append(refused)
        self.tokens.pop(0)
        if not self.tokens:
            raise HubSpotAuthError("the app was uninstalled")
        return self.tokens[0]


EXPIRED = {"status": "error", "message": "expired", "category": "EXPIRED_AUTHENTICATION"}
CREATION = {"properties": {"email": "ada@example.com"}}


def test_a_refused_token_is_renewed_and_even_a_write_made_again(make_client, sandbox):
    tokens = Tokens("pat-old", DEFAULT_TOKEN)
    client = make_client(token=tokens)
    path = client.path("objects", "contacts")

    created = client.call("POST", path, body=CREATION, repeatable=False)

    assert created["id"]
    assert tokens.refused == ["pat-old"]


def test_an_expired_token_is_renewed(make_client, relay):
    def expire(call):
        is_old = call.headers["Authorization"] == "Bearer old"
        return Answer(401, EXPIRED) if is_old else Answer(200, {})

    relay.handler = expire
    tokens = Tokens("old", "new")

    make_client(relay.url, token=tokens).call("GET", "/anything", repeatable=False)

    assert [call.headers["Authorization"] for call in relay.calls] == ["Bearer old", "Bearer new"]


def test_a_token_is_renewed_once_a_call(make_client, relay):
    relay.answer(401, EXPIRED)
    tokens = Tokens("a", "b", "c")

    with pytest.raises(HubSpotAuthError) as caught:
        make_client(relay.url, token=tokens).call("GET", "/anything", repeatable=True)

    assert caught.value.is_expired
    assert tokens.refused == ["a"]


def test_without_another_token_the_source_says_why(make_client, relay):
    relay.answer(401, EXPIRED)

    with pytest.raises(HubSpotAuthError, match="the app was uninstalled"):
        make_client(relay.url, token=Tokens("a")).call("GET", "/anything", repeatable=True)


def test_a_constant_token_is_not_renewed_and_hubspot_says_why(make_client):
    client = make_client(token="pat-unknown")

    with pytest.raises(HubSpotAuthError, match="credentials not found") as caught:
        client.call("GET", client.path("account", "details"), repeatable=True)

    assert not caught.value.is_expired


def test_a_mangled_token_of_a_source_is_refused_without_being_told(make_client):
    client = make_client(token=Tokens("pat-na1-new\nline"))

    with pytest.raises(HubSpotAuthError) as caught:
        client.call("GET", "/anything", repeatable=True)

    assert "pat" not in caught.value.message


class Budget:
    """Lets everything pass, and writes it down."""

    def __init__(self):
        self.waited = []
        self.learned = []

    def wait(self, kind):
        self.waited.append(kind)

    def learn(self, kind, headers, error):
        self.learned.append((kind, headers.get("x-hubspot-ratelimit-remaining"), error))


@pytest.mark.parametrize("version", ["2026-09", "v3"])
@pytest.mark.parametrize(
    ("segments", "kind"),
    [
        (("objects", "contacts"), "general"),
        (("objects", "contacts", "batch", "read"), "general"),
        (("objects", "contacts", "search"), "search"),
        (("associations", "contacts", "deals", "batch", "read"), "associations"),
        (("objects", "contacts", "1", "associations", "deals"), "associations"),
        (("account", "details"), "general"),
    ],
)
def test_the_budget_is_asked_for_the_kind_of_call(make_client, relay, version, segments, kind):
    budget = Budget()
    client = make_client(relay.url, version=version, budget=budget)
    relay.answer(200, {}, headers={"X-HubSpot-RateLimit-Remaining": "7"})

    client.call("POST", client.path(*segments), body={}, repeatable=True)

    assert budget.waited == [kind]
    assert budget.learned == [(kind, "7", None)]


def test_the_budget_is_asked_before_every_attempt_and_told_every_answer(make_client, sandbox):
    budget = Budget()
    client = make_client(budget=budget)
    sandbox.set_faults(
        [{"kind": kind, "status": 500, "count": 1} for kind in ("reset_before", "status")]
    )

    client.call("GET", client.path("account", "details"), repeatable=True)

    assert len(budget.waited) == 3
    assert len(budget.learned) == 2


def test_a_limit_is_waited_out_by_the_budget_that_was_told_of_it(make_client, sandbox, pauses):
    budget = Budget()
    client = make_client(budget=budget, patience=12)
    sandbox.set_faults([{"kind": "status", "status": 429, "count": 1}])

    client.call("GET", client.path("account", "details"), repeatable=False)

    assert pauses == [0]
    assert [error and error.policy for *_, error in budget.learned] == [
        "TEN_SECONDLY_ROLLING",
        None,
    ]


def test_a_call_for_which_the_budget_has_no_room_is_not_made(make_client, relay):
    class Spent(Budget):
        def wait(self, kind):
            raise HubSpotRateLimitError("come back tomorrow")

    with pytest.raises(HubSpotRateLimitError, match="tomorrow"):
        make_client(relay.url, budget=Spent()).call("GET", "/anything", repeatable=True)

    assert relay.calls == []


def test_without_a_token_no_call_is_booked(make_client, relay):
    budget = Budget()

    class Tokens:
        def get(self):
            raise HubSpotAuthError("there is none")

    with pytest.raises(HubSpotAuthError):
        make_client(relay.url, token=Tokens(), budget=budget).call("GET", "/any", repeatable=True)

    assert budget.waited == []


@pytest.mark.parametrize("body", [None, {}, ["x" * 300_000]], ids=["empty", "short", "long"])
def test_all_clients_share_the_connections_that_are_open(make_client, relay, body):
    relay.answer(200, body)

    for _ in range(5):
        make_client(relay.url).call("GET", "/anything", repeatable=False)

    assert len({call.caller for call in relay.calls}) == 1


def test_an_answer_without_end_is_given_up_once(make_client, relay, monkeypatch):
    monkeypatch.setattr(transport, "_LARGEST", 100_000)
    relay.answer(200, ["x" * 100_000])

    with pytest.raises(HubSpotUnavailableError, match="too large"):
        make_client(relay.url).call("GET", "/anything", repeatable=True)

    assert len(relay.calls) == 1


def test_many_threads_get_each_their_own_answer(make_client, relay):
    relay.handler = lambda call: Answer(200, {"path": call.path})
    client = make_client(relay.url)

    def call(number):
        return client.call("GET", f"/{number}", repeatable=False)["path"]

    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(call, range(200)))

    assert paths == [f"/{number}" for number in range(200)]


def test_a_forked_process_opens_connections_of_its_own(make_client, relay):
    relay.answer(200, {})
    client = make_client(relay.url)
    client.call("GET", "/parent", repeatable=False)

    child = os.fork()
    if child == 0:
        client.call("GET", "/child", repeatable=False)
        os._exit(0)
    os.waitpid(child, 0)

    assert relay.calls[0].caller != relay.calls[1].caller


def test_cookies_are_not_kept(relay, relayed):
    relay.answer(200, {}, headers={"Set-Cookie": "__cf_bm=1; path=/"})

    for _ in range(2):
        relayed.call("GET", "/anything", repeatable=False)

    assert "Cookie" not in relay.calls[1].headers


def test_hubspot_is_told_who_calls(relay, relayed):
    relay.answer(200, {})

    relayed.call("GET", "/anything", repeatable=False)

    assert relay.calls[0].headers["User-Agent"] == f"crm-middleware/{VERSION}"


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_a_compressed_answer_is_read(relay, relayed, size):
    content = gzip.compress(json.dumps("x" * size).encode())
    relay.answer(200, raw=content, headers={"Content-Encoding": "gzip"})

    assert relayed.call("GET", "/anything", repeatable=False) == "x" * size
