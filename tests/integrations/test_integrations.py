"""Connecting, items and disconnecting, over real HTTP against the sandbox's three providers."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
import requests

from crm.accounts import api_keys
from crm.cursors import cursor_of
from crm.integrations import connections
from crm.integrations.providers import airtable
from crm.integrations.store import get_store
from hubspot_sandbox.airtable import Base
from hubspot_sandbox.notion import make_thing
from tests.integrations.conftest import query_of
from tests.sandbox.client import HubSpot

ALL = ["hubspot", "airtable", "notion"]
THINGS = ("page", "data_source")
SHAPE = {
    *("id", "type", "name", "creation_time", "last_modified_time", "url", "visibility"),
}

each_provider = pytest.mark.parametrize("provider", ALL)


@pytest.fixture
def hubspot(sandbox):
    client = HubSpot(sandbox.url)
    with client.session:
        yield client


def expire(sandbox, provider):
    """Let every access token end now."""
    if provider == "hubspot":
        sandbox.sandbox.expire_tokens()
    else:
        getattr(sandbox.sandbox, provider).book.expire_access()


def secrets_of(sandbox, provider):
    """What the provider has given and not taken back, but for HubSpot's access tokens."""
    if provider == "hubspot":
        return [*sandbox.sandbox.registry.grants]
    return getattr(sandbox.sandbox, provider).book.list_secrets()


def names(answer):
    assert answer.status_code == 200, answer.json
    return [each["name"] for each in answer.json["items"]]


@each_provider
def test_a_person_connects_and_is_told_so(browser, provider):
    page = browser.connect(provider)

    assert page.status_code == 200, page.text
    assert "is connected</h1>" in page.text
    told = browser.get(f"/{provider}/credentials").json
    assert (told["connected"], told["stays_connected"]) == (True, False)
    assert told["account"]
    assert told["until"].endswith("Z")


def test_the_list_tells_of_every_provider(browser):
    browser.connect("notion")

    told = browser.get("").json["integrations"]

    assert [(each["provider"], each["name"]) for each in told] == [
        *(("hubspot", "HubSpot"), ("airtable", "Airtable"), ("notion", "Notion")),
    ]
    assert [each["connected"] for each in told] == [False, False, True]
    assert [each["account"] for each in told] == [None, None, "Bright Harbor"]
    assert all(each["is_available"] for each in told)
    assert [each["types"] for each in told] == [
        ["contacts", "companies", "deals"],
        ["bases", "tables"],
        ["pages", "databases"],
    ]


@pytest.mark.parametrize(
    ("setting", "name"),
    [("airtable_client_id", "AIRTABLE_CLIENT_ID"), ("encryption_keys", "ENCRYPTION_KEYS")],
)
def test_what_is_not_set_up_says_which_setting_is_missing(browser, change_settings, setting, name):
    change_settings(**{setting: ""})

    answer = browser.client.post("/integrations/airtable/authorize", headers=browser.person.headers)

    assert (answer.status_code, answer.json["error_code"]) == (409, "CONFLICT")
    assert f"{name} is not set" in answer.json["message"]
    assert not browser.get("").json["integrations"][1]["is_available"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/dropbox/authorize"),
        ("GET", "/dropbox/oauth2callback"),
        ("GET", "/dropbox/credentials"),
        ("GET", "/dropbox/items"),
        ("DELETE", "/dropbox"),
    ],
)
def test_an_unknown_provider_is_not_found(browser, method, path):
    answer = browser.client.open(
        f"/integrations{path}", method=method, headers=browser.person.headers
    )

    assert (answer.status_code, answer.json["error_code"]) == (404, "NOT_FOUND")


def test_an_api_key_can_agree_to_nothing(browser):
    key = {"X-API-Key": api_keys.create_key(name="a test", organization="Default")}

    answer = browser.client.post("/integrations/airtable/authorize", headers=key)

    assert (answer.status_code, answer.json["error_code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    "body", [{"stay_connected": "yes"}, {"stay_connected": None}, {"other": 1}, {"scope": "all"}]
)
def test_how_to_connect_is_read_strictly(browser, body):
    answer = browser.client.post(
        "/integrations/hubspot/authorize", json=body, headers=browser.person.headers
    )

    assert (answer.status_code, answer.json["error_code"]) == (400, "VALIDATION_ERROR")


@each_provider
@pytest.mark.parametrize("action", ["items", "disconnect"])
def test_what_is_not_connected_says_so(browser, provider, action):
    answer = (
        browser.disconnect(provider)
        if action == "disconnect"
        else browser.get(f"/{provider}/items")
    )

    assert (answer.status_code, answer.json["error_code"]) == (409, "CONFLICT")
    assert "is not connected" in answer.json["message"]


@each_provider
def test_every_item_has_the_same_shape(browser, hubspot, provider):
    hubspot.create("contacts", email="ada@example.com", firstname="Ada")
    browser.connect(provider)

    items = browser.get(f"/{provider}/items").json["items"]

    assert items
    for each in items:
        assert set(each) == SHAPE
        assert each["url"].startswith("https://")
        assert each["visibility"] is True
        for moment in (each["creation_time"], each["last_modified_time"]):
            assert (moment is None) == (provider == "airtable")
            assert moment is None or moment.endswith("Z")


@pytest.mark.parametrize(
    ("item_type", "properties", "name"),
    [
        (
            "contacts",
            {"email": "ada@example.com", "firstname": "Ada", "lastname": "Okoye"},
            "Ada Okoye",
        ),
        ("contacts", {"email": "ada@example.com"}, "ada@example.com"),
        ("companies", {"name": "Bright Harbor"}, "Bright Harbor"),
        ("companies", {"domain": "harbor.example"}, "harbor.example"),
        ("deals", {"dealname": "Pilot", "dealstage": "qualifiedtobuy"}, "Pilot"),
    ],
)
def test_a_hubspot_record_is_an_item_with_a_name(browser, hubspot, item_type, properties, name):
    record = hubspot.create(item_type, **properties)
    browser.connect("hubspot")

    [item] = browser.get("/hubspot/items", type=item_type).json["items"]

    assert (item["id"], item["type"], item["name"]) == (record["id"], item_type, name)
    assert item["url"].endswith(f"/{record['id']}")


def test_hubspots_items_come_page_by_page_each_once(browser, hubspot):
    made = {hubspot.create("contacts", email=f"{at}@example.com")["id"] for at in range(7)}
    browser.connect("hubspot")

    assert sorted(each["id"] for each in walk(browser, "hubspot", "contacts", 3)) == sorted(made)


@pytest.mark.parametrize("item_type", ["bases", "tables"])
def test_airtables_items_come_page_by_page_each_once(browser, sandbox, item_type):
    account = sandbox.sandbox.airtable
    account.bases = [
        Base(f"app{at:014}", f"Base {at}", tuple(f"Table {each}" for each in range(at % 4)))
        for at in range(7)
    ]
    bases = [each.name for each in account.bases]
    tables = [name for each in account.bases for name in each.tables]
    browser.connect("airtable")

    for account.page_size, limit in product((1, 2, 1000), (1, 2, 4, 100)):
        found = [each["name"] for each in walk(browser, "airtable", item_type, limit)]
        assert found == (bases if item_type == "bases" else tables)


def test_a_page_of_tables_that_takes_long_ends_early_and_goes_on(browser, sandbox, monkeypatch):
    monkeypatch.setattr(airtable, "LONGEST_PAGE", 0)
    browser.connect("airtable")

    first = browser.get("/airtable/items", type="tables", limit=100).json["items"]
    found = [each["name"] for each in walk(browser, "airtable", "tables", 100)]

    bases = sandbox.sandbox.airtable.bases
    assert len(first) == len(bases[0].tables)
    assert found == [name for each in bases for name in each.tables]


def walk(browser, provider, item_type, limit):
    asked = {"limit": limit} | ({"type": item_type} if item_type else {})
    for _ in range(100):
        answer = browser.get(f"/{provider}/items", **asked)
        assert answer.status_code == 200, answer.json
        assert len(answer.json["items"]) <= limit
        yield from answer.json["items"]
        if answer.json["next_cursor"] is None:
            return
        asked["cursor"] = answer.json["next_cursor"]
    raise AssertionError("the pages have no end")


def test_only_the_bases_that_the_person_chose_are_seen(browser, sandbox):
    chosen = sandbox.sandbox.airtable.bases[1]
    browser.form = {"choice": [chosen.id]}
    browser.connect("airtable")

    assert names(browser.get("/airtable/items")) == [chosen.name]
    assert names(browser.get("/airtable/items", type="tables")) == list(chosen.tables)


def test_a_base_without_permission_is_told_as_invisible(browser, sandbox):
    sandbox.sandbox.airtable.bases = [Base("app00000000000001", "Shut", (), permission="none")]
    browser.connect("airtable")

    [item] = browser.get("/airtable/items").json["items"]

    assert item["visibility"] is False


@pytest.mark.parametrize(("item_type", "kind"), [("pages", "page"), ("databases", "data_source")])
def test_notions_items_come_page_by_page_the_newest_first(browser, sandbox, item_type, kind):
    things = [make_thing(kind, f"Thing {at}", at) for at in range(7)]
    sandbox.sandbox.notion.things = [*things, make_thing("page", "", 99)]
    browser.connect("notion")

    found = [each["name"] for each in walk(browser, "notion", item_type, 3)]

    expected = [each.title for each in reversed(things)]
    assert found == (["Untitled", *expected] if item_type == "pages" else expected)


@pytest.fixture
def some_of_each(hubspot, sandbox):
    """Some items of every type of every provider, but for one that has none; by provider."""
    for at in range(3):
        hubspot.create("contacts", email=f"{at}@example.com")
        hubspot.create("deals", dealname=f"Deal {at}", dealstage="qualifiedtobuy")
    sandbox.sandbox.airtable.bases = [
        Base(f"app{at:014}", f"Base {at}", ("First", "Second")) for at in range(3)
    ]
    things = [make_thing(kind, f"Thing {at}", at) for at in range(3) for kind in THINGS]
    sandbox.sandbox.notion.things = things
    return {
        "hubspot": ["contacts"] * 3 + ["deals"] * 3,
        "airtable": ["bases"] * 3 + ["tables"] * 6,
        "notion": ["pages"] * 3 + ["databases"] * 3,
    }


@each_provider
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_items_of_all_types_come_one_type_after_another_each_once(
    browser, some_of_each, provider, limit
):
    browser.connect(provider)

    found = [*walk(browser, provider, None, limit)]

    assert [each["type"] for each in found] == some_of_each[provider]
    assert len({(each["type"], each["id"]) for each in found}) == len(found)


@each_provider
def test_the_first_page_holds_the_first_type_when_nobody_says_which(
    browser, some_of_each, provider
):
    browser.connect(provider)
    first = browser.get(f"/{provider}/credentials").json["types"][0]

    assert {each["type"] for each in browser.get(f"/{provider}/items").json["items"]} == {first}


def test_a_type_without_items_makes_no_page_among_all_types(browser, some_of_each):
    browser.connect("hubspot")
    first = browser.get("/hubspot/items", limit=3).json

    second = browser.get("/hubspot/items", limit=3, cursor=first["next_cursor"]).json

    assert [each["type"] for each in second["items"]] == ["deals"] * 3
    assert second["next_cursor"] is None


@each_provider
def test_items_of_all_types_are_an_empty_page_where_there_is_nothing(browser, sandbox, provider):
    browser.connect(provider)
    sandbox.sandbox.airtable.bases = []
    sandbox.sandbox.notion.things = []

    assert browser.get(f"/{provider}/items").json == {"items": [], "next_cursor": None}


def test_an_empty_question_about_items_counts_as_not_asked(browser, some_of_each):
    browser.connect("airtable")
    whole = browser.get("/airtable/items").json

    assert len(whole["items"]) == 3
    assert {each["type"] for each in whole["items"]} == {"bases"}
    for name in ("type", "limit", "cursor"):
        assert browser.get("/airtable/items", **{name: ""}).json == whole


@pytest.mark.parametrize(
    "query",
    [
        *({"type": each} for each in ("tickets", " ", "Contacts", "contacts,deals", "all", "\0")),
        *({"limit": each} for each in (0, 101, "all")),
        {"page": 1},
    ],
)
def test_what_to_list_is_read_strictly(browser, query):
    browser.connect("hubspot")

    answer = browser.get("/hubspot/items", **query)

    assert (answer.status_code, answer.json["error_code"]) == (400, "VALIDATION_ERROR")
    assert [*answer.json["errors"]] == [*query]


@pytest.mark.parametrize("item_type", [None, "bases"])
def test_a_cursor_counts_for_its_own_list_and_person_only(open_browser, app, item_type):
    ada, grace = open_browser(), open_browser("grace@example.com")
    for each in (ada, grace):
        each.connect("airtable")
        each.connect("notion")
    own = {"type": item_type} if item_type else {}
    cursor = ada.get("/airtable/items", limit=1, **own).json["next_cursor"]
    forged = [cursor[:-1], f"{cursor}a", "0.0.", "null", "é", "=", cursor_of("contacts ", 1, 2)]

    assert names(ada.get("/airtable/items", cursor=cursor, **own))
    for answer in (
        ada.get("/airtable/items", type="tables", cursor=cursor),
        ada.get("/airtable/items", cursor=cursor, **({} if item_type else {"type": "bases"})),
        ada.get("/notion/items", cursor=cursor),
        grace.get("/airtable/items", cursor=cursor, **own),
        *(ada.get("/airtable/items", cursor=each, **own) for each in forged),
    ):
        assert answer.status_code == 400
        assert [*answer.json["errors"]] == ["cursor"]


def test_one_persons_connection_is_nobody_elses(open_browser):
    ada, grace = open_browser(), open_browser("grace@example.com")
    ada.connect("airtable")

    assert not grace.is_connected("airtable")
    assert grace.get("/airtable/items").status_code == 409
    assert grace.disconnect("airtable").status_code == 409
    assert ada.is_connected("airtable")


@each_provider
def test_an_access_token_that_ended_is_replaced_unnoticed(browser, hubspot, sandbox, provider):
    hubspot.create("contacts", email="ada@example.com")
    browser.connect(provider)
    expire(sandbox, provider)

    assert names(browser.get(f"/{provider}/items"))


def test_an_access_token_is_replaced_before_it_ends(browser, sandbox, monkeypatch):
    browser.connect("airtable")
    monkeypatch.setattr(connections, "_MARGIN", 3600 + 1)
    sandbox.clear_requests()

    assert names(browser.get("/airtable/items"))
    assert sandbox.requests()["by_status"] == {"200": 2}
    assert "POST /oauth2/v1/token" in sandbox.requests()["by_route"]


@pytest.mark.parametrize("provider", ["airtable", "notion"])
def test_of_many_who_meet_an_ended_token_one_refreshes(browser, sandbox, provider):
    browser.connect(provider)
    expire(sandbox, provider)
    sandbox.clear_requests()

    def ask(_):
        return browser.get(f"/{provider}/items").status_code

    with ThreadPoolExecutor(5) as threads:
        assert [*threads.map(ask, range(5))] == [200] * 5
    routes = sandbox.requests()["by_route"]
    # A refresh token counts once, so a second refresh would have ended the connection.
    assert [count for route, count in routes.items() if route.endswith("/token")] == [1]


@each_provider
def test_a_connection_that_was_ended_at_the_provider_is_forgotten(browser, sandbox, provider):
    browser.connect(provider)
    if provider == "hubspot":
        sandbox.sandbox.registry.uninstall(44021307, 1836221)
        sandbox.sandbox.expire_tokens()
    else:
        getattr(sandbox.sandbox, provider).book.reset()

    answer = browser.get(f"/{provider}/items")

    codes = ("HUBSPOT_AUTH_FAILED", "PROVIDER_AUTH_FAILED")
    assert (answer.status_code, answer.json["error_code"]) == (401, codes[provider != "hubspot"])
    assert not browser.is_connected(provider)


@each_provider
def test_disconnecting_revokes_and_forgets(browser, sandbox, provider):
    browser.connect(provider)

    answer = browser.disconnect(provider)

    assert answer.status_code == 200
    assert not browser.is_connected(provider)
    assert get_store().list_keys("connection:") == []
    # Airtable documents no way for an app to end its grant.
    is_for_the_person_to_do = provider == "airtable"
    assert ("own settings" in answer.json["message"]) == is_for_the_person_to_do
    assert bool(secrets_of(sandbox, provider)) == is_for_the_person_to_do


@each_provider
def test_disconnecting_forgets_also_while_the_provider_is_away(browser, sandbox, provider):
    browser.connect(provider)
    sandbox.stop()

    answer = browser.disconnect(provider)

    assert answer.status_code == 200
    assert "remove the app in" in answer.json["message"]
    assert not browser.is_connected(provider)


@each_provider
def test_a_provider_that_is_away_is_a_503_and_the_connection_stays(browser, sandbox, provider):
    browser.connect(provider)
    sandbox.set_faults([{"kind": "status", "status": 503}])

    answer = browser.get(f"/{provider}/items")

    codes = ("HUBSPOT_UNAVAILABLE", "PROVIDER_UNAVAILABLE")
    assert (answer.status_code, answer.json["error_code"]) == (503, codes[provider != "hubspot"])
    assert browser.is_connected(provider)


def test_a_provider_that_is_called_too_often_says_when_to_come_back(browser, sandbox):
    browser.connect("notion")
    sandbox.sandbox.settings.limit_notion = 1

    try:
        first, second = browser.get("/notion/items"), browser.get("/notion/items")
    finally:
        sandbox.sandbox.settings.limit_notion = 0

    assert (first.status_code, second.status_code) == (200, 503)
    assert second.json["details"]["retry_after"] == "1"


def test_a_connection_is_forgotten_after_twelve_hours(browser):
    browser.connect("airtable")
    store = get_store()
    now = time.monotonic()
    store.now = lambda: now + 12 * 3600 - 1

    try:
        assert browser.is_connected("airtable")
        store.now = lambda: now + 12 * 3600
        assert not browser.is_connected("airtable")
    finally:
        store.now = time.monotonic


def test_connecting_again_takes_the_place_of_the_first(browser):
    browser.connect("airtable")
    first = browser.get("/airtable/credentials").json["until"]
    browser.connect("airtable")

    assert browser.get("/airtable/credentials").json["until"] > first
    assert len(get_store().list_keys("connection:")) == 1


@each_provider
def test_no_token_is_in_an_answer_a_log_or_the_store(browser, sandbox, provider, caplog):
    caplog.set_level(logging.DEBUG)
    page = browser.connect(provider)
    answers = [page.text, browser.get("").text, browser.get(f"/{provider}/credentials").text]
    answers += [browser.get(f"/{provider}/items").text]
    stored = b"".join(get_store().find(key) for key in get_store().list_keys(""))

    assert stored
    for secret in secrets_of(sandbox, provider):
        assert all(secret not in each for each in answers)
        assert secret not in caplog.text
        assert secret.encode() not in stored


def test_the_sandbox_leads_back_to_where_the_settings_say(browser, change_settings):
    change_settings(public_url="https://crm.example.com/sub/")

    hubspot, notion = (query_of(browser.begin(each)) for each in ("hubspot", "notion"))

    assert hubspot["redirect_uri"] == (
        "https://crm.example.com/sub/integrations/hubspot/oauth2callback"
    )
    change_settings(hubspot_redirect_uri="https://other.example.com/back")
    assert query_of(browser.begin("hubspot"))["redirect_uri"] == "https://other.example.com/back"
    assert query_of(browser.begin("notion"))["redirect_uri"] == notion["redirect_uri"]


def test_the_page_loads_its_own_files_only(browser):
    page = browser.connect("notion")

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "<script>" not in page.text
    for name in ("oauth2callback.js", "oauth2callback.css"):
        assert f'"/integrations/static/{name}"' in page.text
        with browser.client.get(f"/integrations/static/{name}") as file:
            assert file.status_code == 200


def test_the_sandboxs_pages_stand_in_no_frame(browser):
    page = requests.get(browser.begin("airtable"), timeout=5)

    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"
