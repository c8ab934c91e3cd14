"""The overview: one verdict, the gravest thing first, and the numbers behind it."""

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from crm.db import transaction
from crm.portals import pipelines

SET_UP = "UPDATE portals SET set_up_at = now(), hub_id = 1"
WAITING = "INSERT INTO inbox (hub_id, payload) VALUES (1, '{}')"
PENDING = (
    "INSERT INTO records (portal_id, object_type, properties) SELECT id, 'deals', '{}' FROM portals"
)
REFUSED = (
    "INSERT INTO records (portal_id, object_type, properties, state)"
    " SELECT id, 'line_items', '{}', 'rejected' FROM portals"
)
BACKFILL = (
    "INSERT INTO sync_runs (portal_id, kind, object_type)"
    " SELECT id, 'backfill', 'deals' FROM portals"
)
PAUSE = "UPDATE portals SET push_retry_at = now() + interval '1 minute', push_error = 'It is away'"
BLOCKED = PAUSE + """, blocked = '{"deals": "A scope is missing"}'"""
REVOKED = "UPDATE portals SET disabled_reason = 'Somebody removed the app'"


@pytest.fixture
def run(app):
    def do(*statements):
        with transaction() as session:
            for each in statements:
                session.execute(text(each))

    return do


@pytest.fixture
def working(run):
    """Somebody works on the queue, and HubSpot was reached."""
    run(SET_UP, "INSERT INTO procrastinate_workers DEFAULT VALUES")
    yield
    run("DELETE FROM procrastinate_workers")


@pytest.mark.parametrize(
    ("statements", "verdict"),
    [
        ([], "Everything is in step"),
        ([WAITING], "Nearly in step"),
        ([PENDING], "Nearly in step"),
        ([PENDING, BACKFILL], "records are being taken in"),
        ([BACKFILL, REFUSED], "HubSpot refused 1 change<"),
        ([REFUSED, PAUSE], "It is away"),
        ([REFUSED, BLOCKED], "deals: A scope is missing"),
        ([PAUSE, "DELETE FROM procrastinate_workers"], "Nobody works on the queue"),
        ([REVOKED, PAUSE], "Somebody removed the app"),
    ],
)
def test_the_gravest_thing_is_said_first(session, working, run, statements, verdict):
    run(*statements)
    page = session.get("/").text
    said = page[page.index('class="verdict') : page.index("<dl")]

    assert verdict in said.replace("&#39;", "'")


def test_before_hubspot_was_ever_reached_it_says_so(session):
    assert "HubSpot has not been reached yet" in session.get("/").text


def test_numbers_and_chart_say_the_same_in_words(admin, run, register, run_jobs, visitor):
    register()
    run_jobs()
    pipelines.refresh_stale_pipelines()
    run(REFUSED)
    page = visitor.sign_in()

    expect(page.get_by_role("row", name="Qualified To Buy")).to_contain_text("1 1,000,000")
    expect(page.get_by_role("row", name="Closed Won")).to_contain_text("0")
    visitor.check_accessibility()
    page.locator(".figure-bad").get_by_role("link").click()
    expect(page.get_by_role("heading", name="Refused changes")).to_be_visible()
