"""Notices: what a person should read is kept for them, whatever renews itself meanwhile."""

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from crm.console.guards import Guard
from crm.db import transaction
from crm.scans import progress_stream
from tests.api.scan_rows import make_scan

NIGHTLY = "/console/extractions/nightly"
NOTICE = "It had ended already"
CANCELLED = "Cancelled. Nothing more is read"
RENEWAL = {"X-Renewal": "part"}
LIVE = {
    "/": 15_000,
    "/console/extractions": 2_000,
    "/console/sync/webhooks": 5_000,
    "/console/sync/runs": 1_500,
}
"""The pages that ask for themselves again, and after how many milliseconds."""


@pytest.fixture
def visitor(admin, open_browser):
    """Somebody at a desktop: where notices go has nothing to do with the screen."""
    return open_browser()


@pytest.fixture
def at_work(app, monkeypatch):
    """An extraction and a comparison that go on, so that their pages renew themselves."""
    monkeypatch.setattr(progress_stream, "BETWEEN", 0.05)
    make_scan(status="running", total_items=100, processed_items=10)
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO sync_runs (portal_id, kind, object_type)"
                " SELECT id, 'reconcile', 'deals' FROM portals"
            )
        )


@pytest.fixture
def leave_notice(admin):
    """Has the next page that somebody opens say something."""

    def do(session):
        make_scan("done", deals=1)
        assert session.post("/console/extractions/done/cancel").status_code == 303

    return do


def leave_notice_in(visitor):
    """The same, in a window that is open already."""
    make_scan("done", deals=1)
    token = visitor.page.locator("[name=csrf_token]").first.get_attribute("value")
    url = f"{visitor.address}/console/extractions/done/cancel"
    form = {"csrf_token": token}
    assert visitor.page.context.request.post(url, form=form, max_redirects=0).status == 303


def end_sign_ins():
    with transaction() as session:
        session.execute(text("UPDATE sign_ins SET ended_at = now()"))


def is_renewal(answer):
    return answer.request.resource_type == "fetch"


def hold(page, pattern):
    """Keep what is asked of these addresses from arriving; returns the list of it."""
    held = []
    page.route(pattern, lambda route: held.append(route))  # noqa: PLW0108 - it wants a function
    return held


def first(page, held):
    """What was held first, as soon as there is something."""
    while not held:
        page.wait_for_timeout(10)
    return held[0]


def press_cancel(page):
    """Press it, and keep what is sent from arriving; returns that."""
    sent = hold(page, "**/cancel")
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Yes, cancel it").click(no_wait_after=True)
    return first(page, sent)


def test_a_notice_is_seen_when_the_page_renews_itself_before_the_next_one_comes(at_work, visitor):
    page = visitor.sign_in(NIGHTLY)
    sent = press_cancel(page)
    with page.expect_response(is_renewal) as renewed:
        answer = sent.fetch(max_redirects=0)
    renewed.value.finished()
    # The browser has its cookie already.
    headers = {name: each for name, each in answer.headers.items() if name != "set-cookie"}
    sent.fulfill(response=answer, headers=headers)

    expect(page.get_by_text(CANCELLED)).to_be_visible()


def test_a_notice_is_seen_when_the_renewal_fails_before_the_form_is_answered(at_work, visitor):
    page = visitor.sign_in(NIGHTLY)
    page.route(
        f"**{NIGHTLY}",
        lambda route: (
            route.fulfill(status=503, body="Not now")
            if route.request.resource_type == "fetch"
            else route.continue_()
        ),
    )
    sent = press_cancel(page)
    with page.expect_response(is_renewal) as renewed, transaction() as session:
        session.execute(text("UPDATE scans SET status = 'cancelled', updated_at = now()"))
    renewed.value.finished()
    page.wait_for_timeout(150)
    sent.continue_()

    expect(page.get_by_text(NOTICE)).to_be_visible()


@pytest.mark.parametrize("path", LIVE)
def test_a_notice_is_kept_when_another_window_renews_itself(at_work, visitor, path):
    visitor.page.clock.install()
    page = visitor.sign_in(path)
    leave_notice_in(visitor)
    with page.expect_response(is_renewal) as renewed:
        page.clock.run_for(LIVE[path] + 100)
    renewed.value.finished()
    page.goto(f"{visitor.address}/console/contacts")

    expect(page.get_by_text(NOTICE)).to_be_visible()


def test_a_notice_is_kept_when_another_window_searches(visitor):
    page = visitor.sign_in("/console/contacts")
    leave_notice_in(visitor)
    with page.expect_response("**/contacts?q=grace"):
        page.get_by_label("Search contacts").fill("grace")
    page.goto(f"{visitor.address}/console/contacts")

    expect(page.get_by_text(NOTICE)).to_be_visible()


@pytest.mark.parametrize("path", LIVE)
def test_a_notice_stays_when_the_page_cannot_renew_itself_any_more(at_work, visitor, path):
    visitor.page.clock.install()
    page = visitor.sign_in(path)
    leave_notice_in(visitor)
    page.goto(visitor.address + path)
    expect(page.get_by_text(NOTICE)).to_be_visible()
    end_sign_ins()
    page.clock.run_for(LIVE[path] + 100)

    expect(page.get_by_text("This page renews itself no more")).to_be_visible()
    expect(page.get_by_text(NOTICE)).to_be_visible()
    visitor.check_accessibility()


def test_a_page_without_a_notice_leads_to_the_sign_in_when_its_session_has_ended(visitor):
    visitor.page.clock.install()
    page = visitor.sign_in("/console/sync/webhooks")
    end_sign_ins()
    page.clock.run_for(5_100)

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_renewal_that_was_asked_for_first_does_not_replace_what_was_chosen_since(
    at_work, visitor
):
    visitor.page.clock.install()
    page = visitor.sign_in("/console/extractions")
    slow = hold(page, "**/console/extractions")
    page.clock.run_for(2_100)
    renewal = first(page, slow)
    page.get_by_label("How they stand").select_option("failed")
    page.clock.run_for(100)
    expect(page.get_by_text("No extraction stands like this")).to_be_visible()
    with page.expect_response("**/console/extractions") as late:
        renewal.continue_()
    late.value.finished()
    page.wait_for_timeout(150)

    # Now, and not once it has renewed itself again.
    assert page.get_by_text("No extraction stands like this").is_visible()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        *((path, RENEWAL) for path in LIVE),
        (NIGHTLY, RENEWAL),
        ("/console/extractions/done/events", {"Accept": "text/event-stream"}),
        ("/console/integrations", RENEWAL),
        ("/console/contacts", RENEWAL),
    ],
)
def test_no_renewal_changes_the_cookie_that_holds_a_notice(
    at_work, session, leave_notice, path, headers
):
    leave_notice(session)
    renewed = session.client.get(path, headers=headers, buffered=True)

    assert "Set-Cookie" not in renewed.headers
    assert NOTICE in session.get("/").text


@pytest.mark.parametrize("headers", [RENEWAL, {"Accept": "text/event-stream"}])
def test_a_renewal_that_is_led_to_the_sign_in_leaves_it_the_notice(
    at_work, session, leave_notice, headers
):
    leave_notice(session)
    end_sign_ins()
    led = session.client.get(f"{NIGHTLY}/events", headers=headers, follow_redirects=True)

    assert "<h1>Sign in</h1>" in led.text
    assert NOTICE in session.get("/console/sign-in").text


def test_the_page_that_leads_on_by_itself_leaves_a_notice_to_the_next(
    session, leave_notice, change_settings
):
    change_settings(
        hubspot_client_id="an-app", encryption_keys="a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
    )
    token = session.token
    leave_notice(session)
    leading = session.post("/console/integrations/hubspot/connect", csrf_token=token)

    assert 'http-equiv="refresh"' in leading.text
    assert NOTICE not in leading.text
    assert NOTICE in session.get("/").text


def test_every_page_that_renews_itself_is_among_those_that_are_tested_here(app, session, at_work):
    addresses = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("console.")
        and not rule.arguments
        and "GET" in (rule.methods or ())
        and isinstance(getattr(app.view_functions[rule.endpoint], "guard", None), Guard)
    }
    live = {each for each in addresses if "data-live" in session.get(each).text}

    assert live == {*LIVE}
