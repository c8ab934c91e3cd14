"""Integrations, in a browser: connected on the sandbox's consent pages, looked at, disconnected."""

import re
from dataclasses import replace

import pytest
import requests
from playwright.sync_api import expect
from sqlalchemy import select

from crm.accounts import users
from crm.db import db, transaction
from crm.hubspot.account import get_details
from crm.models import Portal
from crm.portals import portals
from hubspot_sandbox import DEFAULT_APP, DEFAULT_PORTAL_ID
from hubspot_sandbox.airtable import Base
from hubspot_sandbox.notion import Thing
from tests.api.conftest import counted_statements
from tests.browser import DESKTOP, PHONE
from tests.conftest import PASSWORD
from tests.console.conftest import at_a_desk, on_a_phone, sign_in
from tests.console.test_pages import MOST_STATEMENTS
from tests.integrations.conftest import settings_of

HUBSPOT = {"Authorization": "Bearer pat-na1-sandbox"}
NAMES = {"hubspot": "HubSpot", "airtable": "Airtable", "notion": "Notion"}
LEADS_TO = '<meta http-equiv="refresh" content="0;url='


@pytest.fixture(autouse=True)
def _can_be_connected(address, change_settings, sandbox, monkeypatch):
    """All three providers, and none connected; each leads back to where the service is."""
    change_settings(**settings_of(sandbox), public_url=address)
    ways_back = {each: (f"{address}/integrations/{each}/oauth2callback",) for each in NAMES}
    sandbox.sandbox.registry.add_app(replace(DEFAULT_APP, redirect_uris=ways_back["hubspot"]))
    for name in ("airtable", "notion"):
        account = getattr(sandbox.sandbox, name)
        monkeypatch.setattr(account, "app", replace(account.app, redirect_uris=ways_back[name]))


@pytest.fixture
def ada(sandbox):
    """A contact that HubSpot has."""
    body = {"properties": {"email": "ada@example.com", "firstname": "Ada", "lastname": "Okoye"}}
    url = f"{sandbox.url}/crm/v3/objects/contacts"
    answer = requests.post(url, json=body, headers=HUBSPOT, timeout=5)
    assert answer.status_code == 201
    return answer.json()


@pytest.fixture
def integrations(admin, visitor):
    """The page of integrations."""
    visitor.sign_in("/console/integrations")
    expect(visitor.page.get_by_role("heading", name="Integrations")).to_be_visible()
    return visitor


def card(page, provider):
    return page.get_by_role("region", name=NAMES[provider])


def open_consent(page, provider):
    """Press Connect; the provider's page, in a tab of its own."""
    with page.expect_popup() as opened:
        card(page, provider).get_by_role("button", name="Connect").click()
    return opened.value


def allow(consent):
    consent.get_by_role("button", name=re.compile("Connect app|Allow access")).click()


def connect(page, provider):
    consent = open_consent(page, provider)
    allow(consent)
    expect(page.get_by_role("status")).to_have_text(f"{NAMES[provider]} is connected.")
    return consent


@pytest.mark.one_of_many
@pytest.mark.parametrize(
    ("visitor", "provider"),
    [(DESKTOP, "hubspot"), (DESKTOP, "airtable"), (DESKTOP, "notion"), (PHONE, "hubspot")],
    indirect=["visitor"],
    ids=["hubspot", "airtable", "notion", "hubspot-on-a-phone"],
)
def test_an_account_is_connected_looked_at_and_disconnected(integrations, ada, provider):
    page = integrations.page
    connect(page, provider)
    expect(card(page, provider)).to_contain_text("Your own connection; it ends in 12 hours.")
    integrations.check_accessibility()
    card(page, provider).get_by_role("link", name="Load data").click()
    expect(page.get_by_role("table")).to_be_visible()
    links = page.get_by_role("rowheader").get_by_role("link")
    assert all(each.get_attribute("href").startswith("https://") for each in links.all())
    for kind in page.get_by_role("navigation", name="What to load").get_by_role("link").all():
        kind.click()
        expect(kind).to_have_attribute("aria-current", "page")
    integrations.check_accessibility()
    page.get_by_text("Disconnect…").click()
    integrations.check_accessibility()
    page.get_by_role("button", name="Yes, disconnect it").click()

    expect(page.get_by_role("status")).to_contain_text(f"{NAMES[provider]} is disconnected")
    expect(card(page, provider)).to_contain_text("not connected")


@pytest.fixture
def by_settings(change_settings, portal_id):
    """The settings connect the organization's portal, as with `make run`; how that stands."""
    change_settings(hubspot_private_app_token="pat-na1-sandbox")

    def ask():
        db.session.rollback()
        columns = (Portal.hub_id, Portal.refresh_token, Portal.access_token, Portal.set_up_at)
        held = db.session.execute(select(*columns).where(Portal.id == portal_id)).one()
        return held, get_details(portals.connect(portal_id)).hub_id

    return ask


def test_an_own_account_is_connected_beside_the_portal_that_the_settings_connect(
    by_settings, integrations, ada
):
    before = by_settings()
    page = integrations.page
    hubspot = card(page, "hubspot")
    expect(hubspot).to_contain_text("Beside that you can connect an account of your own")
    integrations.check_accessibility()
    connect(page, "hubspot")
    expect(hubspot).to_contain_text("Your own connection; it ends in 12 hours.")
    expect(hubspot.get_by_role("button", name="Connect")).to_have_count(0)
    integrations.check_accessibility()
    hubspot.get_by_role("link", name="Load data").click()
    expect(page.get_by_role("rowheader", name="Ada Okoye")).to_be_visible()
    page.get_by_text("Disconnect…").click()
    page.get_by_role("button", name="Yes, disconnect it").click()

    expect(page.get_by_role("status")).to_contain_text("HubSpot is disconnected")
    expect(hubspot).to_contain_text("Mirrored in the background")
    expect(hubspot.get_by_role("button", name="Connect")).to_be_visible()
    expect(hubspot.get_by_text("Disconnect…")).to_have_count(0)
    assert by_settings() == before


def test_who_sees_the_own_contact_only_can_connect_an_own_account(
    user, by_settings, change_settings
):
    change_settings(contacts_visible_to_users="own")

    page = user.get("/console/integrations/hubspot").text

    assert "Connect HubSpot first" in page
    assert 'action="/console/integrations/hubspot/connect"' in page


def tell(page, provider, outcome="connected"):
    """What the page of a consent tells the other windows, from one of them."""
    other = page.context.new_page()
    other.goto(f"{page.url.partition('/console')[0]}/console/sign-in")
    other.evaluate(
        "data => new BroadcastChannel('integrations').postMessage(data)",
        {"provider": provider, "outcome": outcome},
    )
    return other


@at_a_desk
def test_what_came_of_one_consent_does_not_take_away_what_came_of_another(integrations):
    page = integrations.page
    status = page.get_by_role("status")
    tell(page, "notion", "refused")
    expect(status).to_contain_text("Notion was not connected")
    tell(page, "airtable")
    expect(status).to_contain_text("Airtable is connected")
    expect(status).to_contain_text("Notion was not connected")
    tell(page, "notion")

    expect(status).to_contain_text("Notion is connected")
    expect(status).not_to_contain_text("Notion was not connected")


@at_a_desk
def test_what_came_of_a_consent_is_said_where_the_page_cannot_be_renewed(integrations, sandbox):
    page = integrations.page
    connect(page, "notion")
    sandbox.stop()
    page.goto(f"{integrations.address}/console/integrations/notion")
    expect(page.get_by_role("alert")).to_contain_text("Notion")
    tell(page, "notion")
    expect(page.get_by_role("status")).to_contain_text("Notion is connected")
    page.route("**/console/integrations/notion", lambda route: route.fulfill(status=500))
    tell(page, "notion", "refused")

    expect(page.get_by_role("status")).to_contain_text("Notion was not connected")
    expect(page.get_by_role("status")).to_contain_text("This page renews itself no more")


@at_a_desk
def test_the_page_of_the_consent_closes_itself(integrations):
    page = integrations.page
    consent = open_consent(page, "notion")
    with consent.expect_event("close"):
        allow(consent)

    expect(card(page, "notion")).to_contain_text("Bright Harbor")


@on_a_phone
def test_the_page_that_leads_to_the_provider_has_a_way_on_of_its_own(integrations, sandbox):
    page = integrations.page
    page.context.route(f"{sandbox.url}/**", lambda route: route.fulfill(status=204))
    between = open_consent(page, "hubspot")

    way_on = between.get_by_role("link", name="Go on").get_attribute("href")
    assert way_on.startswith(f"{sandbox.url}/oauth/authorize?")
    replace(integrations, page=between).check_accessibility()


@pytest.mark.one_of_many
@pytest.mark.parametrize("provider", NAMES)
@at_a_desk
def test_who_refuses_is_told_that_nothing_is_connected(integrations, provider):
    page = integrations.page
    consent = open_consent(page, provider)
    consent.get_by_role("button", name="Cancel").click()

    expect(consent.get_by_role("heading", name="Not connected")).to_be_visible()
    expect(consent.locator("main")).to_contain_text("You did not allow it")
    replace(integrations, page=consent).check_accessibility()
    expect(page.get_by_role("status")).to_contain_text(f"{NAMES[provider]} was not connected")
    consent.get_by_role("link", name="Back to the integrations").click()
    expect(card(consent, provider)).to_contain_text("not connected")


@at_a_desk
def test_a_way_back_that_is_walked_twice_is_refused(integrations):
    page = integrations.page
    consent = open_consent(page, "hubspot")
    with consent.expect_request(re.compile("/oauth2callback")) as walked:
        allow(consent)
    expect(card(page, "hubspot")).to_contain_text("Your own connection")
    again = page.context.new_page()
    again.goto(walked.value.url)

    expect(again.get_by_role("heading", name="Not connected")).to_be_visible()
    expect(again.locator("main")).to_contain_text("used already")


def test_without_javascript_everything_works_as_well(admin, open_browser):
    visitor = open_browser(java_script_enabled=False)
    page = visitor.sign_in("/console/integrations")
    consent = open_consent(page, "airtable")
    allow(consent)
    consent.get_by_role("link", name="Back to the integrations").click()
    card(consent, "airtable").get_by_role("link", name="Load data").click()

    expect(consent.get_by_role("table")).to_be_visible()


@on_a_phone
def test_hubspot_stays_connected_until_an_administrator_ends_it(integrations, run_jobs):
    page = integrations.page
    hubspot = card(page, "hubspot")
    hubspot.get_by_text("Stay connected…").click()
    integrations.check_accessibility()
    with page.expect_popup() as opened:
        hubspot.get_by_role("button", name="Connect and stay connected").click()
    allow(opened.value)
    expect(hubspot).to_contain_text(f"portal {DEFAULT_PORTAL_ID}")
    expect(hubspot).to_contain_text("stays connected")
    run_jobs()
    integrations.check_accessibility()
    hubspot.get_by_text("Disconnect…").click()
    expect(hubspot).to_contain_text("What was mirrored stays")
    hubspot.get_by_role("button", name="Yes, disconnect it").click()

    expect(page.get_by_role("status")).to_contain_text("What was mirrored stays")
    expect(hubspot).to_contain_text("not connected")


@on_a_phone
def test_a_portal_whose_grant_was_ended_says_so_and_is_connected_again(integrations, sandbox):
    with transaction() as session:
        session.query(Portal).update({"disabled_reason": "Connect the portal again"})
        session.query(Portal).update({"refresh_token": b"a secret", "hub_id": DEFAULT_PORTAL_ID})
    page = integrations.go("/console/integrations")
    hubspot = card(page, "hubspot")
    expect(hubspot).to_contain_text("connection lost")
    expect(hubspot).to_contain_text("Connect the portal again")
    integrations.check_accessibility()
    hubspot.get_by_text("Connect it again…").click()
    with page.expect_popup() as opened:
        hubspot.get_by_role("button", name="Connect and stay connected").click()
    allow(opened.value)

    expect(hubspot).to_contain_text("stays connected")


@at_a_desk
def test_items_come_page_by_page(integrations, sandbox):
    sandbox.sandbox.airtable.bases = [
        Base(f"app{at:014}", f"Base {at}", ("Only",)) for at in range(25)
    ]
    page = integrations.page
    connect(page, "airtable")
    card(page, "airtable").get_by_role("link", name="Load data").click()
    expect(page.get_by_role("rowheader")).to_have_count(20)
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("rowheader")).to_have_count(5)
    page.get_by_role("link", name="First page").click()

    expect(page.get_by_role("rowheader").first).to_contain_text("Base 0")


@on_a_phone
def test_a_provider_that_is_away_is_an_answer_that_can_be_asked_for_again(integrations, sandbox):
    page = integrations.page
    connect(page, "notion")
    sandbox.stop()
    card(page, "notion").get_by_role("link", name="Load data").click()
    expect(page.get_by_role("alert")).to_contain_text("Notion")
    integrations.check_accessibility()
    sandbox.start()
    page.get_by_role("link", name="Try again").click()

    expect(page.get_by_role("table")).to_be_visible()


@at_a_desk
def test_a_connection_that_was_ended_there_can_be_made_again(integrations, sandbox):
    page = integrations.page
    connect(page, "airtable")
    sandbox.sandbox.airtable.book.reset()
    card(page, "airtable").get_by_role("link", name="Load data").click()
    expect(page.get_by_role("alert")).to_be_visible()
    integrations.check_accessibility()

    expect(page.get_by_role("button", name="Connect Airtable")).to_be_visible()


@on_a_phone
def test_what_is_not_connected_says_how_to(integrations):
    page = integrations.go("/console/integrations/notion")

    expect(page.get_by_role("main")).to_contain_text("Connect Notion first")
    integrations.check_accessibility()
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect Notion").click()
    allow(opened.value)
    expect(page.get_by_role("table")).to_be_visible()


@on_a_phone
def test_what_is_not_set_up_names_its_settings_to_administrators(integrations, change_settings):
    change_settings(notion_client_id="")
    page = integrations.go("/console/integrations")

    expect(card(page, "notion")).to_contain_text("NOTION_CLIENT_SECRET")
    expect(card(page, "notion").get_by_role("button")).to_have_count(0)
    integrations.check_accessibility()


@pytest.fixture
def user(app, admin):
    """The session of somebody who is no administrator."""
    email = "user@example.com"
    users.create_user(email=email, password=PASSWORD, role="user", organization="Default")
    return sign_in(app, email)


def test_a_user_is_not_offered_what_only_administrators_may(user, change_settings):
    page = user.get("/console/integrations").text
    assert "Stay connected" not in page

    user.post("/console/integrations/hubspot/connect", stay_connected="yes")
    assert "Only an admin can let HubSpot stay connected." in user.get("/").text
    change_settings(hubspot_private_app_token="pat-na1-sandbox")
    page = user.get("/console/integrations").text
    assert "stays connected" in page
    assert "Disconnect" not in page
    user.post("/console/integrations/hubspot/disconnect")
    assert "only an admin can disconnect it." in user.get("/").text


def test_what_the_settings_connect_is_not_offered_to_be_disconnected(session, change_settings):
    change_settings(hubspot_private_app_token="pat-na1-sandbox")

    assert "Disconnect" not in session.get("/console/integrations").text
    session.post("/console/integrations/hubspot/disconnect")
    assert "stays connected by the settings" in session.get("/").text


def test_what_is_begun_leaves_its_secret_in_a_cookie_for_the_way_back_alone(session):
    answer = session.post("/console/integrations/hubspot/connect")

    cookie = answer.headers["Set-Cookie"].split("; ")
    assert cookie[0].startswith("crm_consent_hubspot=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/integrations/hubspot/oauth2callback"} <= {*cookie}
    assert LEADS_TO in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("action", ["connect", "disconnect"])
def test_without_the_token_of_a_form_nothing_is_begun_or_ended(session, action):
    answer = session.post(f"/console/integrations/notion/{action}", csrf_token="")

    assert answer.status_code == 400
    assert "crm_consent" not in answer.headers.get("Set-Cookie", "")


@pytest.mark.parametrize("rest", ["", "/connect", "/disconnect"])
def test_a_provider_that_is_none_is_not_found(session, rest):
    path = f"/console/integrations/dropbox{rest}"

    assert (session.post(path) if rest else session.get(path)).status_code == 404


def connect_unseen(session, provider, choice=(), **form):
    """The whole way without a browser."""
    begun = session.post(f"/console/integrations/{provider}/connect", **form).text
    url = begun.split(LEADS_TO)[1].split('"')[0].replace("&amp;", "&")
    agreed = {"action": "connect", "choice": choice}
    answer = requests.post(url, data=agreed, allow_redirects=False, timeout=5)
    path = re.sub(r"^https?://[^/]+", "", answer.headers["Location"])
    assert session.get(path).status_code == 200


@pytest.mark.parametrize("form", [{}, {"stay_connected": "yes"}], ids=["own", "stays"])
def test_looking_at_items_makes_no_more_statements_than_a_page_may(session, form):
    connect_unseen(session, "hubspot", **form)
    session.get("/console/integrations/hubspot")

    with counted_statements() as statements:
        assert session.get("/console/integrations/hubspot").status_code == 200

    assert len(statements) <= MOST_STATEMENTS


def test_an_item_leads_to_no_address_but_a_web_page(session, sandbox, monkeypatch):
    connect_unseen(session, "notion", [each.id for each in sandbox.sandbox.notion.things])
    as_usual = Thing.render
    evil = {"url": "javascript:alert(1)"}
    monkeypatch.setattr(Thing, "render", lambda thing: as_usual(thing) | evil)

    page = session.get("/console/integrations/notion").text

    assert "Price list 2026" in page
    assert "javascript:" not in page
