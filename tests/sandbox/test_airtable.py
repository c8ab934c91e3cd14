"""The sandbox's Airtable: as strict as Airtable's Web API says it is."""

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from hubspot_sandbox import DEFAULT_AIRTABLE_APP, SandboxServer
from hubspot_sandbox.airtable import Base

APP = DEFAULT_AIRTABLE_APP
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
ASKED = {
    "client_id": APP.client_id,
    "redirect_uri": APP.redirect_uris[0],
    "response_type": "code",
    "scope": "schema.bases:read user.email:read",
    "state": "s" * 16,
    "code_challenge": CHALLENGE.decode(),
    "code_challenge_method": "S256",
}


class Airtable:
    """An app that is connected to the sandbox's Airtable, and the person's browser."""

    def __init__(self, server: SandboxServer) -> None:
        self.url = server.url
        self.bases = [each.id for each in server.sandbox.airtable.bases]

    def consent(self, form: dict[str, Any] | None = None, **changes: str | None) -> Any:
        asked = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}
        given = form or {"action": "connect", "choice": self.bases}
        address = f"{self.url}/oauth2/v1/authorize?{urlencode(asked)}"
        return requests.post(address, data=given, allow_redirects=False, timeout=5)

    def code(self, **changes: str) -> str:
        return told(self.consent(**changes))["code"]

    def token(self, auth: Any = (APP.client_id, APP.client_secret), **form: str) -> Any:
        return requests.post(f"{self.url}/oauth2/v1/token", data=form, auth=auth, timeout=5)

    def exchange(self, code: str, /, **changes: Any) -> Any:
        given = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        return self.token(**{**given, "redirect_uri": APP.redirect_uris[0], **changes})

    def refresh(self, token: str) -> Any:
        return self.token(grant_type="refresh_token", refresh_token=token)

    def connect(self, **changes: str) -> dict[str, Any]:
        return dict(self.exchange(self.code(**changes)).json())

    def get(self, path: str, token: str, **query: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.get(f"{self.url}/v0/meta/{path}", params=query, headers=headers, timeout=5)


def told(answer: requests.Response) -> dict[str, str]:
    """What the app is told by the redirect."""
    assert answer.status_code == 302, answer.text
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    return {name: values[0] for name, values in query.items()}


def refusal(answer: requests.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    return answer.status_code, error["type"] if isinstance(error, dict) else error


@pytest.fixture
def airtable(sandbox: SandboxServer) -> Airtable:
    return Airtable(sandbox)


def test_a_person_lets_an_app_in(airtable: Airtable) -> None:
    back = told(airtable.consent())
    assert back["state"] == ASKED["state"]
    assert back["code_challenge"] == ASKED["code_challenge"]

    given = airtable.exchange(back["code"]).json()

    assert (given["expires_in"], given["refresh_expires_in"]) == (3600, 60 * 86_400)
    assert (given["token_type"], given["scope"]) == ("Bearer", ASKED["scope"])
    who = airtable.get("whoami", given["access_token"]).json()
    assert who["id"].startswith("usr")
    assert (who["email"], who["scopes"]) == ("dana@brightharbor.example", ASKED["scope"].split())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"state": None}, "invalid_request"),
        ({"state": "s" * 15}, "invalid_request"),
        ({"state": "s" * 1025}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "schema.bases:read schema.bases:read"}, "invalid_scope"),
        ({"scope": "everything"}, "invalid_scope"),
    ],
)
def test_what_is_asked_wrongly_is_told_to_the_app(
    airtable: Airtable, changes: dict[str, Any], error: str
) -> None:
    assert told(airtable.consent(**changes))["error"] == error


@pytest.mark.parametrize(
    "changes",
    [{"client_id": "another"}, {"redirect_uri": "https://evil.example"}, {"redirect_uri": None}],
)
def test_who_asks_from_elsewhere_is_sent_nowhere(
    airtable: Airtable, changes: dict[str, Any]
) -> None:
    assert airtable.consent(**changes).status_code == 400


def test_who_says_no_is_sent_back_with_that(airtable: Airtable) -> None:
    back = told(airtable.consent({"action": "cancel"}))

    assert (back["error"], back["state"]) == ("access_denied", ASKED["state"])


@pytest.mark.parametrize("auth", [None, (APP.client_id, "wrong"), ("wrong", APP.client_secret)])
def test_an_app_shows_its_secret_by_basic_authentication(airtable: Airtable, auth: Any) -> None:
    answer = airtable.token(auth, grant_type="refresh_token", refresh_token="x")

    assert refusal(answer) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": "http://localhost:4012/other"}, "invalid_grant"),
        ({"code_verifier": "w" * 64}, "invalid_grant"),
        ({"code_verifier": "v" * 42}, "invalid_request"),
        ({"code_verifier": "v" * 129}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": "another"}, "invalid_request"),
    ],
)
def test_a_code_counts_for_what_it_was_made_with(
    airtable: Airtable, changes: dict[str, str], error: str
) -> None:
    answer = airtable.exchange(airtable.code(), **changes)

    assert refusal(answer) == (400, error)


def test_a_code_that_is_used_twice_ends_what_it_gave(airtable: Airtable) -> None:
    code = airtable.code()
    token = airtable.exchange(code).json()["access_token"]

    assert refusal(airtable.exchange(code)) == (400, "invalid_grant")
    assert refusal(airtable.get("whoami", token)) == (401, "UNAUTHORIZED")


def test_a_code_counts_for_ten_minutes(airtable: Airtable, sandbox: SandboxServer) -> None:
    code = airtable.code()
    sandbox.advance(601)

    assert refusal(airtable.exchange(code)) == (400, "invalid_grant")


def test_a_refresh_token_counts_once_and_ends_the_access_token(airtable: Airtable) -> None:
    first = airtable.connect()

    second = airtable.refresh(first["refresh_token"]).json()

    assert refusal(airtable.refresh(first["refresh_token"])) == (400, "invalid_grant")
    assert refusal(airtable.get("whoami", first["access_token"])) == (401, "UNAUTHORIZED")
    assert airtable.get("whoami", second["access_token"]).status_code == 200


@pytest.mark.parametrize(("seconds", "works"), [(3599, True), (3601, False)])
def test_an_access_token_lives_an_hour(
    airtable: Airtable, sandbox: SandboxServer, seconds: int, works: bool
) -> None:
    token = airtable.connect()["access_token"]
    sandbox.advance(seconds)

    assert (airtable.get("whoami", token).status_code == 200) is works


def test_a_refresh_token_that_nobody_uses_lives_sixty_days(
    airtable: Airtable, sandbox: SandboxServer
) -> None:
    given = airtable.connect()
    sandbox.advance(60 * 86_400 + 1)

    assert refusal(airtable.refresh(given["refresh_token"])) == (400, "invalid_grant")


def test_bases_come_by_offset(airtable: Airtable, sandbox: SandboxServer) -> None:
    state = sandbox.sandbox.airtable
    state.bases = [Base(f"app{at:014}", f"Base {at}", ()) for at in range(5)]
    state.page_size = 2
    airtable.bases = [each.id for each in state.bases]
    token = airtable.connect()["access_token"]

    pages = [airtable.get("bases", token).json()]
    while "offset" in pages[-1]:
        pages.append(airtable.get("bases", token, offset=pages[-1]["offset"]).json())

    assert [len(page["bases"]) for page in pages] == [2, 2, 1]
    assert {*pages[0]["bases"][0]} == {"id", "name", "permissionLevel"}
    refused = airtable.get("bases", token, offset="itr-of-nobody")
    assert refusal(refused) == (422, "INVALID_OFFSET_VALUE")


def test_a_base_tells_its_tables_only_if_it_was_chosen(airtable: Airtable) -> None:
    chosen, other = airtable.bases[:2]
    airtable.bases = [chosen]
    token = airtable.connect()["access_token"]

    tables = airtable.get(f"bases/{chosen}/tables", token).json()["tables"]

    assert tables[0]["id"].startswith("tbl")
    assert {"id", "name", "primaryFieldId", "fields", "views"} == {*tables[0]}
    refused = airtable.get(f"bases/{other}/tables", token)
    assert refusal(refused) == (403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND")


def test_a_scope_that_was_not_asked_for_is_lacking(airtable: Airtable) -> None:
    token = airtable.connect(scope="data.records:read")["access_token"]

    assert "email" not in airtable.get("whoami", token).json()
    refused = airtable.get("bases", token)
    assert refusal(refused) == (403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND")


def test_who_shows_no_token_is_asked_for_one(airtable: Airtable) -> None:
    assert refusal(airtable.get("whoami", "")) == (401, "AUTHENTICATION_REQUIRED")


def test_who_calls_too_often_is_shut_out_for_half_a_minute(
    airtable: Airtable, sandbox: SandboxServer
) -> None:
    token, base = airtable.connect()["access_token"], airtable.bases[0]
    sandbox.sandbox.settings.limit_airtable_base = 5

    statuses = [airtable.get(f"bases/{base}/tables", token).status_code for _ in range(6)]

    assert statuses == [200] * 5 + [429]
    sandbox.advance(29)
    assert airtable.get(f"bases/{base}/tables", token).status_code == 429
    sandbox.advance(2)
    assert airtable.get(f"bases/{base}/tables", token).status_code == 200
