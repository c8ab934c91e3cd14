"""OAuth against the sandbox, and against answers that HubSpot might give some day."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from crm.hubspot.errors import (
    HubSpotAuthError,
    HubSpotRateLimitError,
    HubSpotRevokedError,
    HubSpotUnavailableError,
)
from crm.hubspot.oauth import OAuthApp
from hubspot_sandbox import DEFAULT_APP, DEFAULT_PORTAL_ID
from hubspot_sandbox.access import Grant
from tests.conftest import free_port
from tests.hubspot.relay import Answer

REDIRECT = DEFAULT_APP.redirect_uris[0]
SCOPES = ["crm.objects.contacts.read", "oauth"]
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
TOKEN = {"access_token": "a-new-one", "refresh_token": "r-new-one", "expires_in": 1800}


@pytest.fixture
def make_oauth(sandbox):
    def make(**changes):
        given = {
            "base_url": sandbox.url,
            "version": "2026-09",
            "client_id": DEFAULT_APP.client_id,
            "client_secret": DEFAULT_APP.client_secret,
        }
        return OAuthApp(**given | changes)

    return make


@pytest.fixture
def oauth(make_oauth):
    return make_oauth()


@pytest.fixture
def granted(sandbox):
    """The refresh token of a portal that let our app in."""
    grant = Grant(DEFAULT_PORTAL_ID, DEFAULT_APP.id, 60318841, frozenset(SCOPES))
    return sandbox.sandbox.registry.add_grant(grant)


@pytest.fixture
def odd(make_oauth, relay):
    """Talks to a HubSpot that answers everything with this."""

    def make(status, body=None, **more):
        relay.handler = lambda _: Answer(status, body, **more)
        return make_oauth(base_url=relay.url)

    return make


def consent(oauth, **changes):
    """The code that the browser of a person who agrees brings back."""
    given = {
        "redirect_uri": REDIRECT,
        "scopes": SCOPES,
        "state": "a state & more",
        "code_challenge": CHALLENGE.decode(),
    }
    answer = requests.post(
        oauth.authorization_url(**given | changes),
        data={"action": "connect"},
        allow_redirects=False,
        timeout=5,
    )
    returned = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert returned["state"] == ["a state & more"]
    return returned["code"][0]


@pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])
def test_a_portal_is_connected_refreshed_and_revoked_in_every_version(make_oauth, version):
    oauth = make_oauth(version=version)
    first = oauth.exchange_code(consent(oauth), redirect_uri=REDIRECT, code_verifier=VERIFIER)
    second = oauth.refresh(first.refresh_token)
    state = oauth.introspect(second.access_token)

    assert (first.hub_id, first.expires_in) == (DEFAULT_PORTAL_ID, 1800)
    assert second.access_token != first.access_token
    assert (state.is_active, state.hub_id, state.scopes) == (True, DEFAULT_PORTAL_ID, (*SCOPES,))
    assert 1790 <= state.expires_in <= 1800

    oauth.revoke(second.refresh_token)
    with pytest.raises(HubSpotRevokedError):
        oauth.refresh(second.refresh_token)


def test_a_person_is_sent_to_hubspots_own_pages(make_oauth):
    oauth = make_oauth(base_url="https://api.hubapi.com")

    url = oauth.authorization_url(
        redirect_uri=REDIRECT, scopes=SCOPES, state="s", code_challenge="c"
    )

    assert url.startswith("https://app.hubspot.com/oauth/authorize?client_id=")
    assert "scope=crm.objects.contacts.read%20oauth" in url


def test_a_token_that_hubspot_does_not_know_is_not_active(oauth):
    assert not oauth.introspect("unknown").is_active


def test_a_code_counts_once(oauth):
    code = consent(oauth)
    oauth.exchange_code(code, redirect_uri=REDIRECT, code_verifier=VERIFIER)

    with pytest.raises(HubSpotAuthError, match="begin to connect again") as caught:
        oauth.exchange_code(code, redirect_uri=REDIRECT, code_verifier=VERIFIER)
    assert not isinstance(caught.value, HubSpotRevokedError)
    assert code not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"redirect_uri": "http://localhost:4012/other"}, "name this redirect URL in the app"),
        ({"code_verifier": "w" * 64}, "invalid code verifier"),
    ],
    ids=["redirect", "verifier"],
)
def test_a_code_belongs_to_the_redirect_and_the_verifier_it_was_made_with(oauth, changes, sentence):
    given = {"redirect_uri": REDIRECT, "code_verifier": VERIFIER}

    with pytest.raises(HubSpotAuthError, match=sentence) as caught:
        oauth.exchange_code(consent(oauth), **given | changes)
    assert not isinstance(caught.value, HubSpotRevokedError)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"client_id": "x"}, "check HUBSPOT_CLIENT_ID"),
        ({"client_secret": "x"}, "check HUBSPOT_CLIENT_SECRET"),
    ],
    ids=["id", "secret"],
)
def test_an_app_that_is_configured_wrongly_has_not_lost_its_grant(
    make_oauth, granted, changes, advice
):
    with pytest.raises(HubSpotAuthError, match=advice) as caught:
        make_oauth(**changes).refresh(granted)
    assert not isinstance(caught.value, HubSpotRevokedError)


def test_a_portal_that_is_gone_has_revoked(oauth, sandbox):
    grant = Grant(7, DEFAULT_APP.id, 60318841, frozenset(SCOPES))

    with pytest.raises(HubSpotRevokedError, match="hub id"):
        oauth.refresh(sandbox.sandbox.registry.add_grant(grant))


def test_what_revokes_is_told_apart_by_the_rfcs_name_too(odd):
    oauth = odd(400, {"error": "invalid_grant", "error_description": "gone"})

    with pytest.raises(HubSpotRevokedError, match="gone"):
        oauth.refresh("r")
    with pytest.raises(HubSpotAuthError) as caught:
        oauth.exchange_code("c", redirect_uri=REDIRECT, code_verifier=VERIFIER)
    assert not isinstance(caught.value, HubSpotRevokedError)


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 409, 415, 422])
def test_any_other_refusal_is_about_the_token_and_never_about_a_record(odd, status):
    with pytest.raises(HubSpotAuthError) as caught:
        odd(status, {"message": "no"}).refresh("r")
    assert not isinstance(caught.value, HubSpotRevokedError)


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "truncated_json", "html"])
def test_an_answer_that_is_lost_may_be_asked_for_again(oauth, sandbox, granted, kind):
    sandbox.set_faults([{"kind": kind, "count": 1}])

    with pytest.raises(HubSpotUnavailableError):
        oauth.refresh(granted)
    assert oauth.refresh(granted).access_token


@pytest.mark.parametrize("status", [423, 429, 477, 500, 502, 503, 504])
def test_a_busy_hubspot_is_no_refusal(oauth, sandbox, granted, status):
    sandbox.set_faults([{"kind": "status", "status": status, "count": 1}])

    with pytest.raises(HubSpotUnavailableError) as caught:
        oauth.refresh(granted)
    assert isinstance(caught.value, HubSpotRateLimitError) is (status == 429)


def test_nothing_is_asked_twice(oauth, sandbox, granted):
    sandbox.clear_requests()
    sandbox.set_faults([{"kind": "reset_after"}])

    with pytest.raises(HubSpotUnavailableError):
        oauth.refresh(granted)
    assert sandbox.requests()["total"] == 1


def test_a_hubspot_that_is_down_is_unavailable(make_oauth):
    with pytest.raises(HubSpotUnavailableError, match="NewConnectionError"):
        make_oauth(base_url=f"http://127.0.0.1:{free_port()}").refresh("r")


def test_a_refresh_token_that_comes_not_back_stays_in_force(odd):
    grant = odd(200, {"access_token": "a", "expires_in": 1800}).refresh("the-old-one")

    assert grant.refresh_token == "the-old-one"


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "a\nb"},
        {"access_token": "é"},
        {"access_token": ["a"]},
        {"access_token": "a" * 4097},
        {"refresh_token": 7},
        {"refresh_token": "r\0"},
        {"expires_in": None},
        {"expires_in": "1800"},
        {"expires_in": True},
        {"expires_in": 0},
        {"expires_in": -1},
        {"expires_in": 10**9},
    ],
    ids=str,
)
def test_tokens_that_cannot_be_used_are_none(odd, changes):
    with pytest.raises(HubSpotUnavailableError) as caught:
        odd(200, TOKEN | changes).refresh("r")
    assert "new-one" not in str(caught.value)


@pytest.mark.parametrize("body", [[], "text", 7, None, {}], ids=repr)
def test_an_answer_of_another_shape_is_none(odd, body):
    with pytest.raises(HubSpotUnavailableError):
        odd(200, body).refresh("r")
    assert not odd(200, body).introspect("a").is_active


def test_no_error_and_no_repr_holds_a_secret(odd, make_oauth):
    secrets = ["hush-secret", "hush-refresh", "hush-code", "hush-verifier"]
    echo = {"status": "BAD_AUTH_CODE", "message": "no: " + ", ".join(secrets)}
    oauth = make_oauth(client_secret="hush-secret", base_url=odd(400, echo).base_url)
    shown = [repr(oauth)]
    for call in (
        lambda: oauth.refresh("hush-refresh"),
        lambda: oauth.exchange_code(
            "hush-code", redirect_uri=REDIRECT, code_verifier="hush-verifier"
        ),
    ):
        with pytest.raises(HubSpotAuthError) as caught:
            call()
        shown.append(f"{caught.value!r} {caught.value.details}")
    grant = odd(200, TOKEN).refresh("r")
    shown.append(repr(grant))

    assert "hush-secret" not in "".join(shown)
    assert "hush-refresh" not in shown[1]
    assert "hush-code" not in shown[2]
    assert "hush-verifier" not in shown[2]
    assert "new-one" not in shown[3]
