"""Whoever tries to connect in another's place is refused, and told nothing of use."""

import base64
import hashlib
import time
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from crm.integrations.store import get_store
from tests.integrations.conftest import KEY, OTHER_KEY, query_of

ALL = ["hubspot", "airtable", "notion"]
COOKIE = "crm_consent_{}"

each_provider = pytest.mark.parametrize("provider", ALL)


def refused(page):
    """The sentence of a page that refuses."""
    assert page.status_code == 400, page.text
    assert page.content_type.startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "<h1>Not connected</h1>" in page.text
    return page.text


@each_provider
def test_a_state_that_is_replayed_is_refused(browser, provider):
    back = browser.consent(browser.begin(provider))
    secret = browser.client.get_cookie(COOKIE.format(provider), path=urlsplit(back).path)
    assert browser.client.get(back).status_code == 200

    # Also with the cookie, which the first answer took away.
    browser.client.set_cookie(secret.key, secret.value, path=secret.path)
    assert "used already" in refused(browser.client.get(back))
    assert browser.is_connected(provider)


@each_provider
def test_a_state_counts_once_even_if_it_was_refused(open_browser, provider):
    victim, thief = open_browser(), open_browser(role="admin")
    back = victim.consent(victim.begin(provider))
    refused(thief.client.get(back))

    assert "used already" in refused(victim.client.get(back))


@each_provider
def test_another_browsers_state_is_refused(open_browser, provider):
    """Else they would go on in the attacker's account without noticing."""
    attacker, victim = open_browser(), open_browser(role="admin")
    back = attacker.consent(attacker.begin(provider))

    assert "another browser" in refused(victim.client.get(back))
    assert not attacker.is_connected(provider)
    assert not victim.is_connected(provider)


@each_provider
def test_another_users_state_is_refused_in_a_browser_that_began_too(open_browser, provider):
    attacker, victim = open_browser(), open_browser(role="admin")
    back = attacker.consent(attacker.begin(provider))
    victim.begin(provider)

    assert "another browser" in refused(victim.client.get(back))
    assert not victim.is_connected(provider)


def test_of_two_who_share_a_browser_the_second_finishes_nothing_of_the_firsts(open_browser):
    ada, grace = open_browser(), open_browser(role="admin")
    grace.client = ada.client
    back = ada.consent(ada.begin("airtable"))
    ada.sign_out()

    assert "signed out" in refused(grace.client.get(back))
    assert not grace.is_connected("airtable")


def test_the_cookie_of_a_later_beginning_does_not_open_an_earlier_one(open_browser):
    ada, grace = open_browser(), open_browser(role="admin")
    grace.client = ada.client
    adas = ada.consent(ada.begin("airtable"))
    graces = grace.consent(grace.begin("airtable"))

    refused(ada.client.get(adas))
    assert ada.client.get(graces).status_code == 400  # The page before took the cookie away.
    assert not ada.is_connected("airtable")


@pytest.mark.parametrize(("began", "ends"), [("airtable", "notion"), ("notion", "hubspot")])
def test_a_state_of_another_provider_is_refused(browser, began, ends):
    """A provider that turned bad is handed the code of another one."""
    back = browser.consent(browser.begin(began))
    browser.begin(ends)

    page = browser.client.get(back.replace(f"/{began}/", f"/{ends}/"))

    assert "another integration" in refused(page)
    assert not browser.is_connected(began)
    assert not browser.is_connected(ends)


@each_provider
def test_a_state_that_is_too_old_is_refused(browser, provider):
    back = browser.consent(browser.begin(provider))
    store, now = get_store(), time.monotonic()
    store.now = lambda: now + 601

    try:
        assert "ten minutes" in refused(browser.client.get(back))
    finally:
        store.now = time.monotonic


def test_a_state_of_ten_minutes_is_young_enough(browser):
    back = browser.consent(browser.begin("notion"))
    store, now = get_store(), time.monotonic()
    store.now = lambda: now + 595

    try:
        assert browser.client.get(back).status_code == 200
    finally:
        store.now = time.monotonic


@each_provider
def test_a_person_who_says_no_is_told_that_nothing_is_connected(browser, provider):
    back = browser.consent(browser.begin(provider), action="cancel")

    assert "You did not allow it" in refused(browser.client.get(back))
    assert not browser.is_connected(provider)


@pytest.mark.parametrize("provider", ["hubspot", "airtable"])
def test_a_code_of_an_attackers_consent_is_refused(open_browser, provider):
    """Code injection: the victim's own state with another's code. PKCE tells them apart."""
    attacker, victim = open_browser(), open_browser(role="admin")
    stolen = query_of(attacker.consent(attacker.begin(provider)))["code"]
    back = query_of(victim.consent(victim.begin(provider)))
    query = urlencode({**back, "code": stolen})

    page = victim.client.get(f"/integrations/{provider}/oauth2callback?{query}")

    assert page.status_code in (401, 502)
    assert "Not connected" in page.text
    assert stolen not in page.text
    assert not victim.is_connected(provider)


@each_provider
def test_a_code_that_nobody_gave_is_refused(browser, provider):
    state = query_of(browser.begin(provider))["state"]
    query = urlencode({"state": state, "code": "made-up"})

    page = browser.client.get(f"/integrations/{provider}/oauth2callback?{query}")

    assert page.status_code in (401, 502)
    assert "made-up" not in page.text
    assert not browser.is_connected(provider)


@each_provider
@pytest.mark.parametrize("lack", ["state", "code", "cookie", "everything"])
def test_what_comes_back_incomplete_is_refused(browser, provider, lack):
    back = query_of(browser.consent(browser.begin(provider)))
    back.pop(lack, None)
    if lack == "cookie":
        path = f"/integrations/{provider}/oauth2callback"
        browser.client.delete_cookie(COOKIE.format(provider), path=path)
    query = "" if lack == "everything" else urlencode(back)

    refused(browser.client.get(f"/integrations/{provider}/oauth2callback?{query}"))
    assert not browser.is_connected(provider)


def test_a_parameter_that_comes_twice_is_refused(browser):
    back = browser.consent(browser.begin("notion"))

    refused(browser.client.get(f"{back}&state={query_of(back)['state']}"))


def test_the_way_back_is_the_services_own_whatever_a_request_says(browser):
    """Open redirect: neither a parameter, a body nor a header changes where anybody is sent."""
    path = "/integrations/notion/authorize?redirect_uri=https://evil.example&next=//evil.example"
    headers = {
        **browser.person.headers,
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "Origin": "https://evil.example",
        "Referer": "https://evil.example/",
    }

    answer = browser.client.post(path, headers=headers)

    assert "evil" not in answer.text
    assert query_of(answer.json["authorization_url"])["redirect_uri"] == (
        "http://localhost:4012/integrations/notion/oauth2callback"
    )


def test_the_callback_redirects_nowhere(browser):
    back = browser.consent(browser.begin("notion"))

    page = browser.client.get(f"{back}&redirect_uri=https://evil.example&next=//evil.example")

    assert page.status_code == 200
    assert "Location" not in page.headers
    assert "evil" not in page.text


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/integrations/airtable/oauth2callback"},
        {"redirect_uri": "http://localhost:4012/integrations/airtable/oauth2callback/"},
        {"redirect_uri": "http://localhost:4012/integrations/airtable/oauth2callback?a=b"},
        {"client_id": "another"},
    ],
    ids=["host", "slash", "query", "client"],
)
def test_the_providers_send_nobody_to_an_address_that_was_changed(browser, changes):
    asked = browser.begin("airtable")
    forged = f"{asked.partition('?')[0]}?{urlencode({**query_of(asked), **changes})}"

    page = requests.post(forged, data={"action": "connect"}, allow_redirects=False, timeout=5)

    assert page.status_code == 400
    assert "Location" not in page.headers


@pytest.mark.parametrize("name", ["error", "error_description", "code", "state"])
def test_nothing_that_came_with_the_address_is_on_the_page(browser, name):
    attack = "<script>alert(1)</script>"
    back = query_of(browser.consent(browser.begin("notion")))
    query = urlencode({**back, name: attack, "error": attack})

    page = browser.client.get(f"/integrations/notion/oauth2callback?{query}")

    assert "alert(1)" not in refused(page)


@each_provider
def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(browser, provider):
    answer = browser.client.post(
        f"/integrations/{provider}/authorize", headers=browser.person.headers
    )

    [cookie] = answer.headers.getlist("Set-Cookie")
    parts = {each.strip() for each in cookie.split(";")[1:]}
    path = f"/integrations/{provider}/oauth2callback"
    assert {"HttpOnly", "SameSite=Lax", "Max-Age=600", f"Path={path}"} <= parts
    assert "Secure" not in parts
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_cookie_goes_over_https_only_where_the_service_does(browser, change_settings):
    change_settings(public_url="https://crm.example.com")

    answer = browser.client.post("/integrations/notion/authorize", headers=browser.person.headers)

    assert "; Secure" in answer.headers["Set-Cookie"]


def test_a_state_is_new_every_time_and_its_challenge_is_a_digest(browser):
    asked = [query_of(browser.begin("airtable")) for _ in range(5)]

    assert len({each["state"] for each in asked}) == 5
    assert len({each["code_challenge"] for each in asked}) == 5
    assert {each["code_challenge_method"] for each in asked} == {"S256"}
    for each in asked:
        assert len(base64.urlsafe_b64decode(each["state"] + "=")) == 32
        assert len(base64.urlsafe_b64decode(each["code_challenge"] + "=")) == 32


def test_what_is_stored_of_a_state_is_of_no_use_to_who_reads_it(browser):
    state = query_of(browser.begin("airtable"))["state"]
    cookie = browser.client.get_cookie(
        COOKIE.format("airtable"), path="/integrations/airtable/oauth2callback"
    )

    [key] = get_store().list_keys("consent:")
    stored = key.encode() + get_store().find(key)

    for secret in (state, cookie.value, hashlib.sha256(cookie.value.encode()).hexdigest()):
        assert secret.encode() not in stored


def test_a_state_whose_key_was_taken_away_is_refused(browser, change_settings):
    back = browser.consent(browser.begin("notion"))
    change_settings(encryption_keys=OTHER_KEY)

    refused(browser.client.get(back))


def test_a_state_survives_a_new_key_in_front(browser, change_settings):
    back = browser.consent(browser.begin("notion"))
    change_settings(encryption_keys=f"{OTHER_KEY},{KEY}")

    assert browser.client.get(back).status_code == 200


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    query=some.dictionaries(
        some.sampled_from(["state", "code", "error", "iss", "x"]),
        some.one_of(some.text(max_size=60), some.binary(max_size=40)),
    ),
    cookie=some.text(some.characters(min_codepoint=33, max_codepoint=126), max_size=60),
    provider=some.sampled_from(ALL),
)
def test_nothing_that_comes_back_makes_a_500(client, query, cookie, provider):
    path = f"/integrations/{provider}/oauth2callback"
    headers = {"Cookie": f"{COOKIE.format(provider)}={cookie}"}
    encoded = urlencode(query, errors="surrogatepass")

    refused(client.get(f"{path}?{encoded}", headers=headers))


def test_what_is_very_long_is_refused(client):
    refused(client.get(f"/integrations/notion/oauth2callback?state={'a' * 20_000}"))
