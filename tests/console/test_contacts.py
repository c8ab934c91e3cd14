"""Contacts, in a browser: found, looked at, changed."""

import re

import pytest
import requests
from playwright.sync_api import expect
from sqlalchemy import text

from crm.accounts import users
from crm.console.contacts import EDITABLE
from crm.db import transaction
from crm.portals import property_schemas
from tests.conftest import PASSWORD
from tests.console.conftest import on_a_phone

HUBSPOT = {"Authorization": "Bearer pat-na1-sandbox"}


@pytest.fixture
def ada(register, run_jobs):
    """A contact with a deal and a ticket that HubSpot has; returns HubSpot's id."""
    person = register()
    run_jobs()
    property_schemas.refresh_stale_schemas()
    return person.get("/me").json["data"]["contact"]["id"]


@pytest.fixture
def in_hubspot(sandbox):
    """Reads or changes a contact behind our back."""

    def do(contact_id, **changes):
        path = f"{sandbox.url}/crm/v3/objects/contacts/{contact_id}"
        if changes:
            answer = requests.patch(path, json={"properties": changes}, headers=HUBSPOT, timeout=5)
        else:
            query = {"properties": ",".join(EDITABLE)}
            answer = requests.get(path, params=query, headers=HUBSPOT, timeout=5)
        assert answer.status_code == 200, answer.text
        return answer.json()["properties"]

    return do


@pytest.fixture
def some(make_graph):
    """Two contacts of our own making, the second with a deal."""
    make_graph("grace@example.com", firstname="Grace", lastname="Hopper", company="Navy")
    make_graph(
        "mary@example.com", deals=[{"dealname": "A compiler"}], firstname="Mary", lastname="Keller"
    )


def test_contacts_are_found_while_somebody_types(admin, some, visitor):
    visitor.sign_in("/console/contacts")
    page = visitor.page
    expect(page.get_by_role("link", name="Mary Keller")).to_be_visible()
    visitor.check_accessibility()

    page.get_by_label("Search contacts").press_sequentially("grac", delay=20)

    expect(page.get_by_role("link", name="Mary Keller")).to_have_count(0)
    expect(page.get_by_role("link", name="Grace Hopper")).to_be_visible()
    expect(page.locator("#found-line")).to_have_text("1 contact found")
    expect(page).to_have_url(re.compile(r"\?q=grac$"))
    expect(page.get_by_label("Search contacts")).to_be_focused()


def test_the_address_of_a_search_is_the_search(admin, some, open_browser):
    visitor = open_browser()
    page = visitor.sign_in("/console/contacts?q=compiler&sort=email&state=synced")

    expect(page.get_by_role("link", name="Mary Keller")).to_be_visible()
    expect(page.get_by_role("link", name="Grace Hopper")).to_have_count(0)
    expect(page.get_by_label("Sync state")).to_have_value("synced")
    expect(page.get_by_label("Order")).to_have_value("email")


def test_a_search_works_without_script(admin, some, open_browser):
    visitor = open_browser(java_script_enabled=False)
    page = visitor.sign_in("/console/contacts")
    page.get_by_label("Search contacts").fill("hop")
    page.get_by_role("button", name="Search").click()

    expect(page.get_by_role("link", name="Grace Hopper")).to_be_visible()
    expect(page.get_by_role("link", name="Mary Keller")).to_have_count(0)


@on_a_phone
def test_what_nobody_is_called_says_so_and_leads_back(admin, some, visitor):
    page = visitor.sign_in("/console/contacts?q=nobody")

    expect(page.get_by_text("Nobody like this")).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("link", name="Show all contacts").click()
    expect(page.get_by_role("link", name="Grace Hopper")).to_be_visible()


def test_a_contact_is_shown_with_its_deal_ticket_and_state(admin, ada, visitor):
    page = visitor.sign_in(f"/console/contacts/{ada}")

    expect(page.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    for words in ("A new engine", "1,000,000", "The engine stutters", "Both sides hold the same"):
        expect(page.get_by_text(words)).to_be_visible()
    visitor.check_accessibility()


def test_a_change_made_in_place_reaches_hubspot(admin, ada, in_hubspot, visitor):
    page = visitor.sign_in(f"/console/contacts/{ada}")
    page.get_by_role("link", name="Edit").click()
    visitor.check_accessibility()
    page.get_by_label("Job title").fill("Countess")
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("status").first).to_contain_text("Saved, here and in HubSpot")
    assert in_hubspot(ada)["jobtitle"] == "Countess"
    expect(page.get_by_role("region", name="History")).to_contain_text("Countess")


def test_two_who_change_the_same_are_shown_both_and_one_chooses(
    admin, ada, in_hubspot, open_browser
):
    first, second = open_browser(), open_browser()
    for each in (first, second):
        each.sign_in(f"/console/contacts/{ada}?edit=1")
    first.page.get_by_label("Phone").fill("111")
    first.page.get_by_role("button", name="Save").click()
    expect(first.page.get_by_role("status").first).to_contain_text("Saved")
    second.page.get_by_label("Phone").fill("222")
    second.page.get_by_role("button", name="Save").click()

    expect(second.page.get_by_role("alert")).to_contain_text("while you were editing")
    expect(second.page.get_by_label("Phone")).to_have_accessible_description("Theirs: 111")
    second.check_accessibility()
    assert in_hubspot(ada)["phone"] == "111"
    second.page.get_by_role("button", name="Save").click()
    expect(second.page.get_by_role("status").first).to_contain_text("Saved")
    assert in_hubspot(ada)["phone"] == "222"


def test_two_who_change_different_things_do_not_notice(admin, ada, in_hubspot, open_browser):
    first, second = open_browser(), open_browser()
    for each in (first, second):
        each.sign_in(f"/console/contacts/{ada}?edit=1")
    first.page.get_by_label("Phone").fill("111")
    first.page.get_by_role("button", name="Save").click()
    expect(first.page.get_by_role("status").first).to_contain_text("Saved")
    second.page.get_by_label("Job title").fill("Countess")
    second.page.get_by_role("button", name="Save").click()

    expect(second.page.get_by_role("status").first).to_contain_text("Saved")
    found = in_hubspot(ada)
    assert (found["phone"], found["jobtitle"]) == ("111", "Countess")


@on_a_phone
def test_what_hubspot_would_refuse_is_said_at_its_field(admin, ada, visitor):
    page = visitor.sign_in(f"/console/contacts/{ada}?edit=1")
    page.get_by_label("Email").fill("no address")
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_label("Email")).to_have_accessible_description("Not a valid email address.")
    expect(page.get_by_label("Email")).to_have_value("no address")
    visitor.check_accessibility()


def test_while_hubspot_is_down_a_change_is_kept_and_said_so(
    admin, ada, sandbox, in_hubspot, open_browser
):
    visitor = open_browser()
    page = visitor.sign_in(f"/console/contacts/{ada}?edit=1")
    sandbox.stop()
    page.get_by_label("Job title").fill("Countess")
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("status").first).to_contain_text("as soon as it can")
    expect(page.get_by_text("on its way to HubSpot")).to_be_visible()


def test_a_user_looks_and_cannot_change(app, ada, client, open_browser):
    users.create_user(
        email="user@example.com", password=PASSWORD, role="user", organization="Default"
    )
    visitor = open_browser()
    page = visitor.sign_in(f"/console/contacts/{ada}?edit=1", email="user@example.com")

    expect(page.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)


def test_of_two_answers_only_that_to_the_last_question_is_shown(admin, some, open_browser):
    visitor = open_browser()
    page = visitor.sign_in("/console/contacts")
    slow = []

    def hold(route):
        slow.append(route)

    page.route("**/contacts?q=mary", hold)
    search = page.get_by_label("Search contacts")
    with page.expect_request("**/contacts?q=mary"):
        search.fill("mary")
    search.fill("grace")
    expect(page.get_by_role("link", name="Grace Hopper")).to_be_visible()
    expect(page.get_by_role("link", name="Mary Keller")).to_have_count(0)
    with page.expect_response("**/contacts?q=mary") as late:
        slow[0].continue_()
    late.value.finished()
    page.wait_for_timeout(150)

    expect(page).to_have_url(re.compile("grace"))
    expect(page.get_by_role("link", name="Grace Hopper")).to_be_visible()


def test_whose_session_ended_meanwhile_is_asked_to_sign_in(admin, some, open_browser):
    visitor = open_browser()
    page = visitor.sign_in("/console/contacts")
    with transaction() as session:
        session.execute(text("UPDATE sign_ins SET ended_at = now()"))
    page.get_by_label("Search contacts").fill("grace")

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("E-mail").fill(admin)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Search contacts")).to_have_value("grace")
