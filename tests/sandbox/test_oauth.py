"""OAuth: consent, tokens, refreshing, revoking, and what HubSpot says when it refuses."""

import base64
import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from hubspot import Client
from hubspot.utils.oauth import get_auth_url

from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN, SandboxServer
from hubspot_sandbox.access import DEFAULT_APP

REDIRECT = DEFAULT_APP.redirect_uris[0]
SCOPES = "crm.objects.contacts.read oauth"
VERSIONS = ["v1", "v3", "2026-03", "2026-09"]
NEW_VERSIONS = VERSIONS[1:]
CREDENTIALS = {"client_id": DEFAULT_APP.client_id, "client_secret": DEFAULT_APP.client_secret}
MINUTE_MS = 60_000
USES = ("access", "refresh")


class Connector:
    """An app that connects to the sandbox, with the browser of the person who lets it in."""

    def __init__(self, url: str) -> None:
        self.url = url

    def consent_url(self, **changes: str | None) -> str:
        asked = {"client_id": DEFAULT_APP.client_id, "redirect_uri": REDIRECT, "scope": SCOPES}
        changed = {**asked, **changes}
        query = urlencode({name: value for name, value in changed.items() if value is not None})
        return f"{self.url}/oauth/authorize?{query}"

    def look(self, **changes: str | None) -> requests.Response:
        return requests.get(self.consent_url(**changes), timeout=5)

    def answer(
        self, form: dict[str, str] | None = None, origin: str | None = None, **changes: str | None
    ) -> requests.Response:
        return requests.post(
            self.consent_url(**changes),
            data=form or {"action": "connect"},
            headers={"Origin": origin} if origin else {},
            allow_redirects=False,
            timeout=5,
        )

    def code(self, form: dict[str, str] | None = None, **changes: str | None) -> str:
        return returned(self.answer(form, **changes))["code"]

    def ask(self, path: str, **fields: str) -> requests.Response:
        form = {**CREDENTIALS, **fields}
        return requests.post(f"{self.url}/oauth/{path}", data=form, timeout=5)

    def exchange(self, code: str, /, version: str = "2026-09", **fields: str) -> requests.Response:
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        return self.ask(f"{version}/token", **{**given, **fields})

    def refresh(self, token: str, version: str = "2026-09", **fields: str) -> requests.Response:
        given = {"grant_type": "refresh_token", "refresh_token": token}
        return self.ask(f"{version}/token", **{**given, **fields})

    def connect(self, **changes: str | None) -> dict[str, Any]:
        return dict(self.exchange(self.code(**changes)).json())

    def contacts(self, token: str) -> requests.Response:
        return requests.get(
            f"{self.url}/crm/v3/objects/contacts",
            headers={"Authorization": f"Bearer {token}"},
            timeout=5,
        )


def returned(answer: requests.Response) -> dict[str, str]:
    """What the app is told by the redirect."""
    assert answer.status_code == 302, answer.text
    return {
        name: value
        for name, (value,) in parse_qs(
            urlsplit(answer.headers["Location"]).query, keep_blank_values=True
        ).items()
    }


def refusal(answer: requests.Response) -> tuple[int, str, str]:
    """The status, and HubSpot's and the RFC's names of a refusal."""
    body = answer.json()
    assert body["message"] == body["error_description"]
    return answer.status_code, body["status"], body["error"]


@pytest.fixture
def connector(sandbox: SandboxServer) -> Connector:
    return Connector(sandbox.url)


@pytest.fixture
def add_app(sandbox: SandboxServer) -> Callable[..., dict[str, Any]]:
    def add(**fields: Any) -> dict[str, Any]:
        answer = requests.post(f"{sandbox.url}/_sandbox/apps", json=fields, timeout=5)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return add


@pytest.mark.parametrize("version", VERSIONS)
def test_a_code_is_exchanged_for_tokens_in_every_version(
    connector: Connector, version: str
) -> None:
    tokens = connector.exchange(connector.code(), version).json()

    assert connector.contacts(tokens.pop("access_token")).status_code == 200
    assert tokens.pop("refresh_token")
    assert tokens == {
        "token_type": "bearer",
        "token_use": "access_token",
        "expires_in": 1800,
        "hub_id": DEFAULT_PORTAL_ID,
        "user_id": 60318841,
        "scopes": ["crm.objects.contacts.read", "oauth"],
    }


def test_an_access_token_is_longer_than_a_hasty_column(connector: Connector) -> None:
    assert 255 < len(connector.connect()["access_token"]) <= 512


def test_the_state_comes_back_as_it_was(connector: Connector) -> None:
    state = "a b&code=x\r\nSet-Cookie: y=1"

    assert returned(connector.answer(state=state))["state"] == state
    assert "state" not in returned(connector.answer())


def test_who_cancels_sends_the_app_away_with_an_error(connector: Connector) -> None:
    told = returned(connector.answer({"action": "cancel"}, state="s"))

    assert told.pop("error_description")
    assert told == {"error": "access_denied", "state": "s"}


def test_optional_scopes_are_granted_with_the_others(connector: Connector) -> None:
    tokens = connector.connect(optional_scope="tickets e-commerce")

    assert set(tokens["scopes"]) == {*SCOPES.split(), "tickets", "e-commerce"}


def test_every_token_has_the_scope_oauth(connector: Connector) -> None:
    assert connector.connect(scope="tickets")["scopes"] == ["oauth", "tickets"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"client_id": None}, "client_id"),
        ({"client_id": "nobody"}, "client_id"),
        ({"redirect_uri": None}, "redirect_uri"),
        ({"redirect_uri": "https://evil.example/"}, "redirect_uri"),
        ({"redirect_uri": REDIRECT + "/more"}, "redirect_uri"),
        ({"scope": None}, "scope"),
        ({"scope": "crm.objects.everything"}, "crm.objects.everything"),
        ({"optional_scope": "everything"}, "everything"),
        ({"state": "s" * 4_001}, "state"),
        ({"code_challenge": "c" * 43, "code_challenge_method": "plain"}, "S256"),
        ({"code_challenge": "c" * 43}, "S256"),
        ({"code_challenge": "c", "code_challenge_method": "S256"}, "code_challenge"),
    ],
)
def test_a_wrong_request_for_consent_is_told_to_the_person_and_sent_nowhere(
    connector: Connector, changes: dict[str, str | None], told: str
) -> None:
    for answer in (connector.look(**changes), connector.answer(**changes)):
        assert answer.status_code == 400
        assert told in answer.text
        assert "Location" not in answer.headers


def test_an_app_asks_for_no_more_than_its_settings_say(
    connector: Connector, add_app: Callable[..., dict[str, Any]]
) -> None:
    app = add_app(scopes=["oauth", "tickets"], redirect_uris=[REDIRECT])

    assert connector.look(client_id=app["client_id"], scope="tickets").status_code == 200
    refused = connector.look(client_id=app["client_id"], scope="tickets e-commerce")
    assert refused.status_code == 400
    assert "e-commerce" in refused.text


def test_the_page_shows_app_account_and_scopes_escaped(
    connector: Connector, add_app: Callable[..., dict[str, Any]]
) -> None:
    app = add_app(name="<script>alert(1)</script>", redirect_uris=[REDIRECT])
    page = connector.look(client_id=app["client_id"]).text

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert str(DEFAULT_PORTAL_ID) in page
    assert "crm.objects.contacts.read" in page


def test_the_page_loads_nothing_runs_nothing_and_stands_in_no_frame(connector: Connector) -> None:
    answer = connector.look()
    policy = answer.headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://localhost:4012" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert not re.search(r"(?i)<script|<link|<img|src=|javascript:", answer.text)


def test_an_answer_from_another_site_is_refused(connector: Connector) -> None:
    assert connector.answer(origin="https://evil.example").status_code == 400
    assert connector.answer(origin="null").status_code == 400
    assert connector.answer(origin=connector.url).status_code == 302


def test_with_several_accounts_one_has_to_be_chosen(
    sandbox: SandboxServer, connector: Connector
) -> None:
    requests.post(f"{sandbox.url}/_sandbox/portals", json={"id": 77, "name": "Second"}, timeout=5)

    assert connector.answer().status_code == 400
    assert connector.answer({"portal_id": "78"}).status_code == 400
    code = connector.code({"action": "connect", "portal_id": "77"})
    assert connector.exchange(code).json()["hub_id"] == 77


def test_a_code_works_once(connector: Connector) -> None:
    code = connector.code()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: connector.exchange(code), range(8)))

    assert sorted(each.status_code for each in answers) == [200, *[400] * 7]
    assert refusal(connector.exchange(code)) == (400, "BAD_AUTH_CODE", "invalid_grant")


def test_a_code_expires(sandbox: SandboxServer, connector: Connector) -> None:
    code = connector.code()
    sandbox.sandbox.clock.offset_ms = 6 * MINUTE_MS

    assert refusal(connector.exchange(code))[1] == "BAD_AUTH_CODE"


def test_a_code_is_of_its_own_app_only(
    connector: Connector, add_app: Callable[..., dict[str, Any]]
) -> None:
    other = add_app()
    fields = {name: other[name] for name in CREDENTIALS}

    assert refusal(connector.exchange(connector.code(), **fields))[1] == "BAD_AUTH_CODE"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"grant_type": "password"}, (400, "BAD_GRANT_TYPE", "unsupported_grant_type")),
        ({"client_id": "nobody"}, (400, "BAD_CLIENT_ID", "invalid_client")),
        ({"client_secret": "guessed"}, (400, "BAD_CLIENT_SECRET", "invalid_client")),
        ({"client_secret": "gu\u00e9ssed"}, (400, "BAD_CLIENT_SECRET", "invalid_client")),
        ({"code": "guessed"}, (400, "BAD_AUTH_CODE", "invalid_grant")),
        ({"redirect_uri": "https://x.example"}, (400, "BAD_REDIRECT_URI", "invalid_grant")),
    ],
)
def test_a_wrong_exchange_is_refused_by_what_is_wrong(
    connector: Connector, fields: dict[str, str], told: tuple[int, str, str]
) -> None:
    assert refusal(connector.exchange(connector.code(), **fields)) == told


def test_credentials_in_the_address_count_for_nothing(connector: Connector) -> None:
    query = {**CREDENTIALS, "grant_type": "authorization_code", "code": connector.code()}
    answer = requests.post(
        f"{connector.url}/oauth/v3/token", params=query, data={"grant_type": "x"}, timeout=5
    )

    assert refusal(answer)[1] == "BAD_GRANT_TYPE"


def test_a_token_is_asked_for_by_a_form_only(connector: Connector) -> None:
    answer = requests.post(f"{connector.url}/oauth/v3/token", json=CREDENTIALS, timeout=5)

    assert answer.status_code == 415


def test_a_challenge_is_met_by_its_verifier_only(connector: Connector) -> None:
    verifier = "v" * 64
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }

    without = connector.exchange(connector.code(**asked))
    wrong = connector.exchange(connector.code(**asked), code_verifier="w" * 64)
    right = connector.exchange(connector.code(**asked), code_verifier=verifier)
    assert refusal(without) == refusal(wrong) == (400, "BAD_CODE_VERIFIER", "invalid_grant")
    assert right.status_code == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refresh_gives_another_access_token_and_the_same_refresh_token(
    connector: Connector, version: str
) -> None:
    first = connector.connect()
    second = connector.refresh(first["refresh_token"], version).json()

    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] == first["refresh_token"]
    assert connector.contacts(second["access_token"]).status_code == 200
    assert connector.contacts(first["access_token"]).status_code == 200


def test_refresh_tokens_rotate_when_told_to(sandbox: SandboxServer, connector: Connector) -> None:
    sandbox.sandbox.settings.rotate_refresh_tokens = True
    first = connector.connect()["refresh_token"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: connector.refresh(first), range(4)))
    (second,) = [each.json()["refresh_token"] for each in answers if each.ok]

    assert second != first
    assert connector.refresh(first).status_code == 400
    assert connector.refresh(second).status_code == 200


@pytest.mark.parametrize("version", NEW_VERSIONS)
def test_after_a_revoke_no_refresh_works_while_the_access_token_lives_on(
    sandbox: SandboxServer, connector: Connector, version: str
) -> None:
    tokens = connector.connect()
    revoked = connector.ask(f"{version}/token/revoke", token=tokens["refresh_token"])

    assert (revoked.status_code, revoked.content) == (200, b"")
    refused = connector.refresh(tokens["refresh_token"], version)
    assert refusal(refused) == (400, "BAD_REFRESH_TOKEN", "invalid_grant")
    assert refused.json()["message"] == "refresh token is invalid, expired or revoked"
    assert connector.contacts(tokens["access_token"]).status_code == 200
    sandbox.sandbox.clock.offset_ms = 30 * MINUTE_MS
    assert connector.contacts(tokens["access_token"]).status_code == 401


def test_v1_spells_a_dead_refresh_token_as_it_was_seen_to(connector: Connector) -> None:
    answer = connector.refresh("na1-guessed", "v1")

    assert refusal(answer) == (400, "BAD_REFRESH_TOKEN", "invalid_request")
    assert answer.json()["message"] == "missing or invalid refresh token"


def test_a_refresh_token_is_of_its_own_app_only(
    connector: Connector, add_app: Callable[..., dict[str, Any]]
) -> None:
    token = connector.connect()["refresh_token"]
    app = add_app()
    other = {name: app[name] for name in CREDENTIALS}

    assert refusal(connector.refresh(token, **other))[1] == "BAD_REFRESH_TOKEN"
    connector.ask("v3/token/revoke", token=token, **other)
    assert connector.ask("v3/token/introspect", token=token, **other).json() == {"active": False}
    assert connector.refresh(token).status_code == 200


def test_a_portal_that_is_gone_is_named_by_the_refusal(
    sandbox: SandboxServer, connector: Connector
) -> None:
    requests.post(f"{sandbox.url}/_sandbox/portals", json={"id": 77}, timeout=5)
    code = connector.code({"portal_id": "77"})
    tokens = connector.exchange(code).json()
    requests.delete(f"{sandbox.url}/_sandbox/portals/77", timeout=5)

    refused = connector.refresh(tokens["refresh_token"])
    assert refusal(refused) == (400, "BAD_HUB", "access_denied")
    assert refused.json()["message"] == "missing or unknown hub id"
    assert connector.contacts(tokens["access_token"]).status_code == 401


@pytest.mark.parametrize("version", ["v3", "2026-09"])
def test_an_app_that_uninstalls_itself_cannot_refresh(connector: Connector, version: str) -> None:
    tokens = connector.connect()
    answer = requests.delete(
        f"{connector.url}/appinstalls/{version}/external-install",
        headers={"Authorization": f"Bearer {tokens['access_token']}"},
        timeout=5,
    )

    assert (answer.status_code, answer.content) == (204, b"")
    assert refusal(connector.refresh(tokens["refresh_token"]))[1] == "BAD_REFRESH_TOKEN"


def test_an_expired_token_is_told_when_it_expired(
    sandbox: SandboxServer, connector: Connector
) -> None:
    token = connector.connect()["access_token"]
    clock = sandbox.sandbox.clock
    clock.offset_ms = 30 * MINUTE_MS - 5_000
    assert connector.contacts(token).status_code == 200
    clock.offset_ms = 30 * MINUTE_MS + 7_500
    answer = connector.contacts(token)

    body = answer.json()
    assert answer.status_code == 401
    assert body["category"] == "EXPIRED_AUTHENTICATION"
    assert body["message"] == "The OAuth token used to make this call expired 7 second(s) ago."
    (moment,) = body["context"]["expire time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", moment)


def test_an_expired_token_is_known_for_a_day_and_then_forgotten(
    sandbox: SandboxServer, connector: Connector
) -> None:
    token = connector.connect()["access_token"]
    told = []
    for hours in (1, 23, 25):
        sandbox.sandbox.clock.offset_ms = hours * 60 * MINUTE_MS
        connector.connect()
        told.append(connector.contacts(token).json()["category"])

    assert told == ["EXPIRED_AUTHENTICATION"] * 2 + ["INVALID_AUTHENTICATION"]


def test_the_lifetime_of_access_tokens_can_be_set(
    sandbox: SandboxServer, connector: Connector
) -> None:
    sandbox.sandbox.settings.access_token_seconds = 60
    tokens = connector.connect()
    sandbox.sandbox.clock.offset_ms = MINUTE_MS

    assert tokens["expires_in"] == 60
    assert connector.contacts(tokens["access_token"]).status_code == 401


def test_all_oauth_tokens_can_be_made_to_expire_at_once(
    sandbox: SandboxServer, connector: Connector
) -> None:
    tokens = connector.connect()
    answer = requests.post(f"{sandbox.url}/_sandbox/tokens/expire", timeout=5)

    assert answer.json() == {"expired": 1}
    assert connector.contacts(tokens["access_token"]).json()["category"] == "EXPIRED_AUTHENTICATION"
    assert connector.contacts(DEFAULT_TOKEN).status_code == 200
    fresh = connector.refresh(tokens["refresh_token"]).json()
    assert connector.contacts(fresh["access_token"]).status_code == 200


@pytest.mark.parametrize("version", NEW_VERSIONS)
def test_introspection_tells_what_a_token_is(connector: Connector, version: str) -> None:
    tokens = connector.connect()
    told = {
        use: connector.ask(f"{version}/token/introspect", token=tokens[use]).json()
        for use in ("access_token", "refresh_token")
    }

    assert 0 < told["access_token"].pop("expires_in") <= 1800
    for use, each in told.items():
        assert each == {
            "active": True,
            "hub_id": DEFAULT_PORTAL_ID,
            "hub_domain": "brightharbor.example",
            "user_id": 60318841,
            "user": "ines.aldaba@brightharbor.example",
            "app_id": DEFAULT_APP.id,
            "client_id": DEFAULT_APP.client_id,
            "scopes": ["crm.objects.contacts.read", "oauth"],
            "token_type": "bearer",
            "token_use": use,
        }


def test_introspection_says_of_anything_else_only_that_it_is_not_active(
    sandbox: SandboxServer, connector: Connector
) -> None:
    tokens = connector.connect()
    connector.ask("v3/token/revoke", token=tokens["refresh_token"])
    sandbox.sandbox.expire_tokens()

    for token in ("", "guessed", DEFAULT_TOKEN, *(tokens[f"{use}_token"] for use in USES)):
        answer = connector.ask("2026-09/token/introspect", token=token)
        assert answer.json() == {"active": False}
    assert refusal(connector.ask("v3/token/introspect", client_secret="x"))[1] == (
        "BAD_CLIENT_SECRET"
    )


def test_v1_neither_introspects_nor_revokes(connector: Connector) -> None:
    for path in ("v1/token/introspect", "v1/token/revoke", "2025-09/token"):
        assert connector.ask(path).status_code == 404


def test_client_credentials_open_no_customers_data(connector: Connector) -> None:
    scope = "developer.webhooks_journal.read"
    tokens = connector.ask("v3/token", grant_type="client_credentials", scope=scope).json()

    assert tokens["scopes"] == [scope]
    assert "refresh_token" not in tokens
    assert connector.contacts(tokens["access_token"]).status_code == 403
    for wrong in ("", "crm.objects.contacts.read"):
        answer = connector.ask("v3/token", grant_type="client_credentials", scope=wrong)
        assert refusal(answer) == (400, "BAD_SCOPES", "invalid_scope")


def test_the_official_client_connects_refreshes_and_revokes(
    sandbox: SandboxServer, connector: Connector
) -> None:
    address = get_auth_url(
        DEFAULT_APP.client_id, REDIRECT, tuple(SCOPES.split()), ("tickets",), "s"
    )
    consent = address.replace("https://app.hubspot.com", sandbox.url)
    assert requests.get(consent, timeout=5).status_code == 200
    answer = requests.post(consent, allow_redirects=False, timeout=5)
    oauth = Client(host=sandbox.url).oauth

    first = oauth.tokens_api.create(
        grant_type="authorization_code",
        code=returned(answer)["code"],
        redirect_uri=REDIRECT,
        **CREDENTIALS,
    )
    told = oauth.access_tokens_api.get(first.access_token)
    kept = oauth.refresh_tokens_api.get(first.refresh_token)
    second = oauth.tokens_api.create(
        grant_type="refresh_token", refresh_token=first.refresh_token, **CREDENTIALS
    )
    page = Client(access_token=second.access_token, host=sandbox.url).crm.contacts.basic_api
    assert page.get_page().results == []
    oauth.refresh_tokens_api.archive(first.refresh_token)

    assert (told.hub_id, told.app_id, told.token_type) == (
        DEFAULT_PORTAL_ID,
        DEFAULT_APP.id,
        "access",
    )
    assert (kept.client_id, kept.token_type) == (DEFAULT_APP.client_id, "refresh")
    assert told.user == kept.user == "ines.aldaba@brightharbor.example"
    assert connector.refresh(first.refresh_token).status_code == 400


@pytest.mark.parametrize(
    "path", ["access-tokens/guessed", f"access-tokens/{DEFAULT_TOKEN}", "refresh-tokens/x"]
)
def test_v1_knows_no_other_tokens(connector: Connector, path: str) -> None:
    assert requests.get(f"{connector.url}/oauth/v1/{path}", timeout=5).status_code == 404


def test_oauth_is_asked_without_a_bearer_token_and_is_not_limited(
    sandbox: SandboxServer, connector: Connector
) -> None:
    sandbox.sandbox.settings.limit_ten_secondly = 1
    sandbox.sandbox.settings.limit_oauth_ten_secondly = 1
    token = connector.connect()["refresh_token"]

    assert [connector.refresh(token).status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/x-www-form-urlencoded", b"grant_type=" + b"x" * 1_000_000, 400),
        ("application/x-www-form-urlencoded", b"client_id=%ff%00&grant_type=\xff&=&&%", 400),
        ("application/x-www-form-urlencoded", b"grant_type=refresh_token&client_id[]=1", 400),
        ("application/x-www-form-urlencoded", b"", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n", 415),
        ("text/plain", b"grant_type=refresh_token", 415),
    ],
)
def test_nonsense_for_a_token_is_refused(
    connector: Connector, content_type: str, body: bytes, status: int
) -> None:
    headers = {"Content-Type": content_type}
    answer = requests.post(f"{connector.url}/oauth/v3/token", data=body, headers=headers, timeout=5)

    assert answer.status_code == status
    assert answer.json()["message"]


@pytest.mark.parametrize("portal_id", ["", "x", "-1", "9" * 30, "1.5"])
def test_nonsense_for_an_account_is_told_to_the_person(
    connector: Connector, portal_id: str
) -> None:
    assert connector.answer({"action": "connect", "portal_id": portal_id}).status_code == 400


def test_tokens_are_not_kept_by_caches(connector: Connector) -> None:
    code = connector.answer()
    tokens = connector.exchange(returned(code)["code"])

    assert {each.headers["Cache-Control"] for each in (code, tokens)} == {"no-store"}
