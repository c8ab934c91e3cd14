"""Sync, in a browser: what HubSpot refused and told, and comparing both sides."""

import re

import pytest
import requests
from playwright.sync_api import expect
from sqlalchemy import text

from crm.accounts import users
from crm.db import db, transaction
from crm.mirror import rows
from crm.mirror.rows import NewRecord
from crm.object_types import DEALS
from crm.pull import runner as service
from crm.push.job import enqueue_push
from tests.conftest import PASSWORD
from tests.console.conftest import sign_in

HUBSPOT = {"Authorization": "Bearer pat-na1-sandbox"}


@pytest.fixture
def refused(admin, portal_id, run_jobs):
    """A deal whose amount HubSpot refused."""
    stage = {"dealstage": "qualifiedtobuy", "pipeline": "default"}
    deal = NewRecord(DEALS, {"dealname": "A new engine", "amount": "a lot", **stage})
    with transaction():
        rows.create_records(portal_id, [deal])
        enqueue_push(portal_id)
    run_jobs()
    return str(deal.uuid)


@pytest.fixture
def deals_in_hubspot(sandbox):
    def do():
        query = {"properties": "dealname,amount"}
        path = f"{sandbox.url}/crm/v3/objects/deals"
        found = requests.get(path, params=query, headers=HUBSPOT, timeout=5).json()["results"]
        return [(each["properties"]["dealname"], each["properties"]["amount"]) for each in found]

    return do


def test_a_refused_change_is_corrected_and_sent_again(refused, run_jobs, deals_in_hubspot, visitor):
    page = visitor.sign_in()
    page.get_by_role("link", name="1", exact=True).click()
    article = page.get_by_role("article", name="Deal: A new engine")
    expect(article.get_by_role("blockquote")).to_contain_text("HubSpot")
    expect(article.get_by_label("amount")).to_have_accessible_description(re.compile("."))
    visitor.check_accessibility()
    article.get_by_label("amount").fill("1000")
    article.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("status").first).to_contain_text("It is sent again")
    run_jobs()

    page.reload()
    expect(page.get_by_text("HubSpot refused nothing")).to_be_visible()
    visitor.check_accessibility()
    assert deals_in_hubspot() == [("A new engine", "1000")]


def test_a_refused_change_is_dropped_after_a_second_thought(
    refused, deals_in_hubspot, open_browser
):
    visitor = open_browser()
    page = visitor.sign_in("/console/sync")
    page.get_by_text("Drop…").click()
    expect(page.get_by_text("HubSpot never had this record")).to_be_visible()
    page.get_by_role("button", name="Yes, drop it").click()

    expect(page.get_by_text("HubSpot refused nothing")).to_be_visible()
    assert db.session.scalar(text("SELECT count(*) FROM records")) == 0


def test_all_refused_changes_are_sent_again_at_once(refused, session, run_jobs):
    session.post("/console/sync/rejected")
    page = session.get("/console/sync").text

    assert "1 will be sent again" in page
    assert "HubSpot refused nothing" in page


def test_a_correction_that_cannot_be_stored_is_refused(refused, session):
    session.post(f"/console/sync/rejected/{refused}", **{"property-amount": "1\x00"})

    assert "cannot be stored" in session.get("/console/sync").text


def test_webhooks_are_listed_with_what_came_of_them(admin, client, sandbox, make_contact, visitor):
    db.session.execute(text("UPDATE portals SET hub_id = 1"))
    db.session.execute(
        text(
            "INSERT INTO inbox (hub_id, payload, outcome, processed_at) VALUES"
            """ (1, '{"subscriptionType": "contact.propertyChange", "objectId": 42,"""
            """ "propertyName": "phone"}', 'read', now()),"""
            """ (1, '{"subscriptionType": "deal.creation", "objectId": 43}', NULL, NULL),"""
            """ (2, '{"subscriptionType": "ticket.creation", "objectId": 44}', NULL, NULL)"""
        )
    )
    db.session.commit()
    page = visitor.sign_in("/console/sync/webhooks")

    expect(page.get_by_role("row", name="contact.propertyChange")).to_contain_text("looked up")
    expect(page.get_by_role("row", name="deal.creation")).to_contain_text("waiting")
    # Another portal's.
    expect(page.get_by_role("row", name="ticket.creation")).to_have_count(0)
    visitor.check_accessibility()
    page.get_by_label("What came of it").select_option("read")
    expect(page.get_by_role("row", name="deal.creation")).to_have_count(0)


def test_both_sides_are_compared_and_the_report_told(admin, register, sandbox, run_jobs, visitor):
    register()
    run_jobs()
    service.sweep()
    run_jobs()
    page = visitor.sign_in("/console/sync/runs")
    visitor.check_accessibility()
    path = f"{sandbox.url}/crm/v3/objects/contacts"
    new = {"properties": {"email": "grace@example.com"}}
    assert requests.post(path, json=new, headers=HUBSPOT, timeout=5).status_code == 201
    page.get_by_role("button", name="Compare everything now").click()
    expect(page.get_by_role("progressbar").first).to_be_visible()
    visitor.check_accessibility()
    run_jobs()

    # The page renews itself.
    expect(page.get_by_text("1 difference found and mended")).to_be_visible()


def test_users_see_nothing_of_it(app, admin):
    users.create_user(
        email="user@example.com", password=PASSWORD, role="user", organization="Default"
    )
    session = sign_in(app, "user@example.com")

    assert "Sync" not in session.get("/").text
    assert session.get("/console/sync").status_code == 403
    assert session.post("/console/sync/runs").status_code == 403


def test_comparing_before_everything_was_taken_in_says_so(session):
    session.post("/console/sync/runs")

    assert "Not now" in session.get("/console/sync/runs").text
