"""The client of the fifth document: connecting a provider as a browser does, and its items."""

import json
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests

from tests.clients.conftest import TIMEOUT, check_error

PROVIDERS = {
    "hubspot": {"contacts", "companies", "deals"},
    "airtable": {"bases", "tables"},
    "notion": {"pages", "databases"},
}
ITEM = {"id", "type", "name", "creation_time", "last_modified_time", "url", "visibility"}
each_provider = pytest.mark.parametrize("provider", PROVIDERS)


class Form(HTMLParser):
    """The form of a page, with what is filled in already."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields, self.buttons = "", [], {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form":
            self.action = given.get("action") or ""
        elif tag == "button" and "name" in given:
            self.buttons[given["value"]] = (given["name"], given["value"])
        elif tag == "input" and (given.get("type") == "hidden" or "checked" in given):
            self.fields.append((given["name"], given["value"]))


class Browser:
    """Keeps cookies and follows redirects; nobody is signed in."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()

    def call(self, method, path, **query):
        return self.session.request(method, self.url + path, params=query, timeout=TIMEOUT)

    def begin(self, provider):
        answer = self.call("POST", f"/integrations/{provider}/authorize")
        assert answer.status_code == 200, answer.text
        return answer.json()["authorization_url"]

    def consent(self, address, button="connect"):
        """Press a button on the provider's page; returns the page to which that leads."""
        page = self.session.get(address, timeout=TIMEOUT)
        form = Form(page.text)
        return self.session.post(
            urljoin(page.url, form.action),
            data=[*form.fields, form.buttons[button]],
            timeout=TIMEOUT,
        )

    def connect(self, provider):
        return self.consent(self.begin(provider))


@pytest.fixture(scope="module")
def browser(url):
    return Browser(url)


@pytest.fixture(scope="module")
def connected(browser):
    """The last pages of connecting each provider."""
    return {provider: browser.connect(provider) for provider in PROVIDERS}


def test_the_integrations_client_lists_the_providers(browser):
    answer = browser.call("GET", "/integrations")

    listed = answer.json()["integrations"]
    assert answer.status_code == 200
    assert {each["provider"]: set(each["types"]) for each in listed} == PROVIDERS
    assert all(isinstance(each["connected"], bool) for each in listed)
    assert all({"account", "until"} <= set(each) for each in listed)


@each_provider
def test_the_integrations_client_is_sent_to_the_provider_with_a_state(url, provider):
    parts = urlsplit(Browser(url).begin(provider))
    query = parse_qs(parts.query)

    assert parts.scheme == "http"
    assert len(query["state"][0]) > 20
    assert query["redirect_uri"] == [f"{url}/integrations/{provider}/oauth2callback"]
    assert ("code_challenge" in query) == (provider != "notion")


@each_provider
def test_the_integrations_client_comes_back_to_a_page_that_says_connected(url, connected, provider):
    page = connected[provider]

    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert urlsplit(page.url).path == f"/integrations/{provider}/oauth2callback"
    assert "is connected</h1>" in page.text
    assert "This page closes itself." in page.text


@each_provider
def test_the_integrations_client_reads_the_state_of_a_connection_and_never_a_token(
    browser, connected, provider
):
    answer = browser.call("GET", f"/integrations/{provider}/credentials")
    body = answer.json()

    assert answer.status_code == 200
    assert (body["provider"], body["connected"]) == (provider, True)
    assert body["account"]
    assert "token" not in answer.text.lower()


@each_provider
def test_the_integrations_client_pages_through_the_items_of_every_type(
    browser, connected, provider
):
    items, cursor = [], None
    while True:
        query = {"cursor": cursor} if cursor else {}
        answer = browser.call("GET", f"/integrations/{provider}/items", limit=50, **query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert set(body) == {"items", "next_cursor"}
        items += body["items"]
        cursor = body["next_cursor"]
        if cursor is None:
            break

    assert {each["type"] for each in items} == PROVIDERS[provider]
    assert len({(each["type"], each["id"]) for each in items}) == len(items)
    for each in items:
        assert set(each) == ITEM
        assert all(isinstance(each[name], str) for name in ("id", "type", "name"))
        assert isinstance(each["visibility"], bool)
        for name in ("creation_time", "last_modified_time"):
            assert each[name] is None or each[name].endswith("Z")


def test_the_integrations_client_asks_for_the_items_of_one_type(browser, connected):
    for kind in PROVIDERS["hubspot"]:
        answer = browser.call("GET", "/integrations/hubspot/items", type=kind, limit=5)
        assert {each["type"] for each in answer.json()["items"]} == {kind}


def test_the_integrations_client_may_leave_parameters_empty(browser, connected):
    answer = browser.call("GET", "/integrations/hubspot/items", type="", limit="", cursor="")

    assert answer.status_code == 200
    assert answer.json()["items"]


def test_the_integrations_client_is_refused_a_type_and_a_provider_that_there_is_not(
    browser, connected
):
    items = browser.call("GET", "/integrations/hubspot/items", type="nonesuch")
    provider = browser.call("GET", "/integrations/nonesuch/credentials")

    assert items.status_code == 400
    check_error(provider, 404, "Resource not found", "NOT_FOUND")


def test_the_integrations_client_finds_a_state_used_up(url):
    browser = Browser(url)
    page = browser.connect("notion")
    again = browser.session.get(page.url, timeout=TIMEOUT)

    assert (page.status_code, again.status_code) == (200, 400)
    assert "Not connected" in again.text


def test_the_integrations_client_is_refused_in_a_browser_that_did_not_begin(url):
    address = Browser(url).begin("airtable")
    page = Browser(url).consent(address)

    assert page.status_code == 400
    assert "Not connected" in page.text


def test_the_integrations_client_learns_that_the_person_did_not_agree(url):
    browser = Browser(url)
    page = browser.consent(browser.begin("hubspot"), button="cancel")

    assert "Not connected" in page.text


def test_the_integrations_client_disconnects(url, browser, connected):
    answer = browser.call("DELETE", "/integrations/airtable")

    assert answer.status_code == 200
    assert json.loads(answer.text)["message"]
    state = browser.call("GET", "/integrations/airtable/credentials").json()
    assert state["connected"] is False
    assert browser.call("GET", "/integrations/airtable/items").status_code in (404, 409)
    browser.connect("airtable")
