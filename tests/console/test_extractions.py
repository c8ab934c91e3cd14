"""Extractions, in a browser: started, watched, cancelled, looked through and downloaded."""

import base64
import json
import re
from threading import BoundedSemaphore

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from crm import streams
from crm.accounts import users
from crm.db import db, transaction
from crm.scans import progress_stream
from crm.scans.commands import ScanConfig
from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN
from tests.api.scan_rows import make_scan
from tests.conftest import PASSWORD
from tests.console.conftest import on_a_phone, sign_in
from tests.sandbox.client import HubSpot

HERE = "/console/extractions"
FORM = {"name": "nightly", "token": DEFAULT_TOKEN}


@pytest.fixture(autouse=True)
def ready(app, change_settings, monkeypatch):
    """There is a key, and the sandbox's portal is the mirror's, which may call often."""
    change_settings(encryption_keys=base64.urlsafe_b64encode(b"k" * 32).decode())
    monkeypatch.setattr(progress_stream, "BETWEEN", 0.05)
    with transaction() as session:
        session.execute(text("UPDATE portals SET hub_id = :id"), {"id": DEFAULT_PORTAL_ID})


@pytest.fixture
def deals(sandbox):
    """Thirty deals in HubSpot, of which ten are won."""
    hubspot = HubSpot(sandbox.url)
    inputs = [
        {
            "properties": {
                "dealname": f"Deal {number}",
                "amount": str(number * 1000),
                "pipeline": "default",
                "dealstage": "qualifiedtobuy" if number % 3 else "closedwon",
                "description": f"Note {number}",
            }
        }
        for number in range(1, 31)
    ]
    assert hubspot.batch("deals", "create", *inputs).status_code == 201


def change(**values):
    with transaction() as session:
        for name, value in values.items():
            session.execute(
                text(f"UPDATE scans SET {name} = :value, updated_at = clock_timestamp()"),  # noqa: S608
                {"value": value},
            )


def one_scan():
    row = db.session.execute(text("SELECT * FROM scans")).mappings().one()
    db.session.rollback()
    return row


def test_an_extraction_is_started_looked_through_and_downloaded(admin, deals, run_jobs, visitor):
    page = visitor.sign_in(HERE)
    visitor.check_accessibility()
    page.get_by_role("link", name="Start the first one").click()
    page.get_by_label("Name").fill("nightly")
    page.get_by_label("HubSpot access token").fill(DEFAULT_TOKEN)
    page.get_by_label("Properties").fill("amount, description")
    page.get_by_text("Only some: filters").click()
    visitor.check_accessibility()
    page.get_by_role("button", name="Start the extraction").click()
    expect(page.get_by_text("Waits for a worker")).to_be_visible()
    visitor.check_accessibility()
    run_jobs()

    # The page renews itself.
    expect(page.get_by_role("link", name="Deal 1 in HubSpot")).to_be_visible()
    expect(page.locator("#scan-line")).to_have_text("Completed: 30 deals.")
    visitor.check_accessibility()
    page.get_by_text("Properties of Deal 1", exact=True).click()
    expect(page.get_by_text("Note 1", exact=True)).to_be_visible()
    # Without loading the page anew, which the form has come into by itself.
    page.get_by_label("Stage").select_option("closedwon")
    expect(page.get_by_text("10 deals", exact=True)).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(1 + 10)
    assert "dealstage=closedwon" in page.url
    page.get_by_label("Stage").select_option("")
    expect(page.get_by_role("row")).to_have_count(1 + 25)
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("row")).to_have_count(1 + 5)
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV").click()
    assert downloading.value.suggested_filename == "nightly.csv"
    assert len(downloading.value.path().read_text().splitlines()) == 1 + 30


def test_what_was_chosen_is_what_is_asked_for(session):
    choices = {
        "associations": ["contacts", "tickets"],
        "archived": "y",
        "properties": "amount; hs_priority\n amount",
        "pipeline": "default",
        "stage": "closedwon",
        "date_property": "closedate",
        "since": "2026-01-01",
        "until": "2026-03-31",
    }
    answer = session.post(f"{HERE}/new", **FORM, **choices)

    assert answer.headers["Location"] == f"{HERE}/nightly"
    assert ScanConfig.from_json(one_scan()["config"]) == ScanConfig(
        properties=("amount", "hs_priority"),
        association_types=("contacts", "tickets"),
        include_archived=True,
        pipeline_id="default",
        deal_stage="closedwon",
        date_property="closedate",
        start_date="2026-01-01",
        end_date="2026-03-31",
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "last night"}, "and no spaces"),
        ({"name": "a/b"}, "and no spaces"),
        ({"name": ""}, "Please fill this in"),
        ({"token": " "}, "Please paste the token"),
        ({"token": "a\nb"}, "cannot be stored"),
        ({"token": "a" * 2001}, "At most 2000"),
        ({"properties": "Amount"}, "no internal name"),
        ({"properties": " ".join(f"p{n}" for n in range(251))}, "At most 250"),
        ({"associations": "owners"}, "Choose from these"),
        ({"since": "2026-01-01"}, "Say which date"),
        ({"date_property": "closedate"}, "Give a first day"),
        ({"date_property": "Close date", "since": "2026-01-01"}, "internal name"),
        (
            {"date_property": "closedate", "since": "2026-02-01", "until": "2026-01-01"},
            "before the first day",
        ),
        ({"date_property": "closedate", "since": "yesterday"}, "Not a valid date"),
    ],
)
def test_a_choice_that_cannot_be_is_explained_and_nothing_is_started(session, changes, sentence):
    answer = session.post(f"{HERE}/new", **(FORM | changes))

    assert answer.status_code == 400
    assert sentence in answer.text
    assert db.session.scalar(text("SELECT count(*) FROM scans")) == 0


def test_a_token_is_never_written_into_a_page(session):
    token = "pat-na1-very-secret"
    refused = session.post(f"{HERE}/new", name="not a name", token=token)
    session.post(f"{HERE}/new", name="nightly", token=token)

    for page in (refused, session.get(f"{HERE}/nightly"), session.get(f"{HERE}/new?like=nightly")):
        assert token not in page.text
        assert page.text
    assert "paste it once more" in refused.text


def test_results_are_not_replaced_unless_somebody_says_so(session):
    make_scan(deals=3)
    refused = session.post(f"{HERE}/new", **FORM)

    assert refused.status_code == 409
    assert "There is one of this name already" in refused.text
    assert "Replace the one of this name" in refused.text
    assert one_scan()["status"] == "completed"
    assert session.post(f"{HERE}/new", **FORM, replace="y").status_code == 303
    assert one_scan()["status"] == "pending"


def test_a_name_that_is_at_work_is_refused(session):
    make_scan(status="running")
    answer = session.post(f"{HERE}/new", **FORM, replace="y")

    assert answer.status_code == 409
    assert "One of this name is at work" in answer.text


def test_more_than_ten_at_once_are_refused(session):
    for number in range(10):
        make_scan(f"scan-{number}", status="pending")
    answer = session.post(f"{HERE}/new", **FORM)

    assert answer.status_code == 429
    assert "Wait for one of them, or cancel one" in answer.text


def test_without_a_key_nothing_is_started_and_it_says_who_can_help(session, change_settings):
    change_settings(encryption_keys="")
    answer = session.post(f"{HERE}/new", **FORM)

    assert answer.status_code == 503
    assert "ENCRYPTION_KEYS" in answer.text


def test_progress_moves_as_it_happens(admin, visitor):
    make_scan(status="running", total_items=100, processed_items=10, deals=0)
    asked = []
    page = visitor.sign_in(f"{HERE}/nightly")
    page.on("request", lambda request: asked.append(request.url))
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("value", "10")
    expect(page.get_by_text(re.compile("About .* left"))).to_be_visible()
    visitor.check_accessibility()
    # What somebody has opened stays open.
    page.get_by_text("Cancel…").click()
    change(processed_items=60)
    expect(bar).to_have_attribute("value", "60")
    expect(page.get_by_role("button", name="Yes, cancel it")).to_be_visible()
    assert f"{visitor.address}{HERE}/nightly" not in asked
    change(status="completed", processed_items=0)

    expect(page.get_by_role("heading", name="What came of it")).to_be_visible()
    expect(page.get_by_text("It brought no deals")).to_be_visible()
    expect(bar).to_have_count(0)


def test_progress_is_asked_for_where_it_is_not_told(admin, open_browser, monkeypatch):
    monkeypatch.setattr(streams, "_streams", BoundedSemaphore(0))
    make_scan(status="running", total_items=100, processed_items=10)
    visitor = open_browser(is_new=True)
    visitor.page.clock.install()
    with visitor.page.expect_response("**/events") as refused:
        page = visitor.sign_in(f"{HERE}/nightly")
    assert refused.value.status == 429
    change(processed_items=60)
    page.clock.run_for(2500)

    expect(page.get_by_role("progressbar")).to_have_attribute("value", "60")


def test_progress_is_looked_at_again_without_a_script(admin, open_browser):
    make_scan(status="running", total_items=100, processed_items=10)
    visitor = open_browser(java_script_enabled=False)
    page = visitor.sign_in(f"{HERE}/nightly")
    change(processed_items=60)
    page.get_by_role("link", name="Look how far it is now").click()

    expect(page.get_by_role("progressbar")).to_have_attribute("value", "60")


def test_events_bring_a_part_of_the_page_and_then_the_end(session):
    make_scan(deals=3)
    answer = session.client.get(f"{HERE}/nightly/events", buffered=True)

    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert "event: end" in answer.text
    assert 'data: <div id="progress">' in answer.text
    # The part alone, and no line of it outside the event's data.
    assert "<html" not in answer.text
    lines = [line.partition(":")[0] for line in answer.text.splitlines() if line]
    assert set(lines) == {"retry", "event", "id", "data"}


@on_a_phone
def test_an_extraction_is_cancelled_after_a_second_thought(admin, visitor):
    make_scan(status="running", total_items=100, processed_items=10)
    page = visitor.sign_in(f"{HERE}/nightly")
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Yes, cancel it").click()

    expect(page.get_by_text("Cancelled. Nothing more is read")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    visitor.check_accessibility()
    assert one_scan()["status"] == "cancelled"


def test_cancelling_what_has_ended_says_so(session):
    make_scan(deals=1)
    answer = session.post(f"{HERE}/nightly/cancel")

    assert answer.status_code == 303
    assert "It had ended already" in session.get(answer.headers["Location"]).text
    assert one_scan()["status"] == "completed"


@on_a_phone
def test_a_refused_token_is_explained_and_all_else_kept_for_another_try(admin, run_jobs, visitor):
    page = visitor.sign_in(f"{HERE}/new")
    page.get_by_label("Name").fill("nightly")
    page.get_by_label("HubSpot access token").fill("pat-na1-wrong")
    page.get_by_label("Tickets").check()
    page.get_by_label("Properties").fill("amount")
    page.get_by_role("button", name="Start the extraction").click()
    expect(page.get_by_role("heading", name="nightly")).to_be_visible()
    run_jobs()
    expect(page.get_by_text("Copy the token from HubSpot once more")).to_be_visible()
    visitor.check_accessibility()
    page.get_by_role("link", name="Start again").click()

    expect(page.get_by_label("Name", exact=True)).to_have_value("nightly")
    expect(page.get_by_label("Replace the one of this name")).to_be_checked()
    expect(page.get_by_label("HubSpot access token")).to_be_empty()
    expect(page.get_by_label("Tickets")).to_be_checked()
    expect(page.get_by_label("Properties")).to_have_value("amount")


def test_deals_that_could_not_be_stored_are_named(session):
    row_id = make_scan(deals=1, failed_items=1)
    with transaction() as at:
        insert = "INSERT INTO scan_failures VALUES (:id, '4<2', 'It has no <properties>')"
        at.execute(text(insert), {"id": row_id})
    page = session.get(f"{HERE}/nightly").text

    assert "4&lt;2" in page
    assert "It has no &lt;properties&gt;" in page


def test_every_extraction_is_listed_with_how_it_stands(admin, visitor):
    make_scan("done", deals=3)
    make_scan("broken", status="failed", error_message="HubSpot refused the token")
    make_scan("busy", status="running", total_items=100, processed_items=10)
    page = visitor.sign_in(HERE)
    visitor.check_accessibility()

    expect(page.get_by_role("row", name="done")).to_contain_text("completed")
    expect(page.get_by_role("row", name="broken")).to_contain_text("HubSpot refused the token")
    expect(page.get_by_role("row", name="busy")).to_contain_text("of 100")
    page.get_by_label("How they stand").select_option("failed")
    expect(page.get_by_role("row", name="busy")).to_have_count(0)
    expect(page.get_by_role("row", name="broken")).to_be_visible()
    page.get_by_label("How they stand").select_option("pending")
    expect(page.get_by_text("No extraction stands like this")).to_be_visible()


def test_a_long_list_of_extractions_has_pages(session):
    for number in range(21):
        make_scan(f"scan-{number}", ago=number * 60)

    assert "scan-20<" not in session.get(HERE).text
    assert "Next page" in session.get(HERE).text
    second = session.get(HERE, page=2).text
    assert "scan-20<" in second
    assert "Next page" not in second


def test_a_download_has_every_deal(session):
    make_scan(deals=30)
    answer = session.client.get(f"{HERE}/nightly/download?format=jsonl", buffered=True)

    assert answer.headers["Content-Disposition"] == 'attachment; filename="nightly.jsonl"'
    names = [json.loads(line)["deal_name"] for line in answer.text.splitlines()]
    assert names == [f"Deal {number}" for number in range(1, 31)]


def test_there_is_no_download_before_the_end_and_none_of_another_kind(session):
    def status_of(question):
        return session.client.get(f"{HERE}/nightly/download{question}", buffered=True).status_code

    make_scan(status="running", deals=3)
    assert status_of("?format=csv") == 404
    change(status="completed")

    assert status_of("?format=csv") == 200
    assert status_of("?format=exe") == 404
    assert status_of("") == 404


def test_a_caller_who_has_read_too_much_is_asked_to_wait(session, change_settings):
    make_scan(deals=30)
    change_settings(rate_limit_results="1000 per 1 minute")

    assert session.get(f"{HERE}/nightly").status_code == 200
    for path in (f"{HERE}/nightly", f"{HERE}/nightly/download?format=csv"):
        answer = session.get(path)
        assert answer.status_code == 429
        assert re.search(r"Wait \d+ seconds", answer.text)


def test_another_organization_s_extraction_is_not_there(app, session):
    users.create_organization("Other")
    make_scan(status="running", organization="Other")

    assert "nightly" not in session.get(HERE).text
    for path in ("", "/events", "/download?format=csv"):
        assert session.get(f"{HERE}/nightly{path}").status_code == 404
    assert session.get(f"{HERE}/new?like=nightly").status_code == 404
    assert session.post(f"{HERE}/nightly/cancel").status_code == 404
    assert one_scan()["status"] == "running"


def test_users_see_nothing_of_it(app, admin):
    users.create_user(
        email="user@example.com", password=PASSWORD, role="user", organization="Default"
    )
    make_scan(deals=3)
    session = sign_in(app, "user@example.com")

    assert "xtract" not in session.get("/").text
    for path in ("", "/new", "/nightly", "/nightly/events", "/nightly/download?format=csv"):
        assert session.get(HERE + path).status_code == 403
    assert session.post(f"{HERE}/new", **FORM, replace="y").status_code == 403
    assert session.post(f"{HERE}/nightly/cancel").status_code == 403


def test_the_overview_charts_the_deals_of_each_day(admin, visitor):
    make_scan("today", deals=30, ago=60, took=10)
    make_scan("yesterday", deals=20, ago=86_400, took=10)
    make_scan("also-yesterday", deals=40, ago=86_400, took=20)
    make_scan("long-ago", deals=7, ago=40 * 86_400)
    make_scan("cancelled", deals=5, ago=60, status="cancelled")
    users.create_organization("Other")
    make_scan("theirs", deals=500, ago=60, organization="Other")
    page = visitor.sign_in()
    chart = page.get_by_role("img", name="Deals of completed extractions")
    expect(chart).to_have_accessible_name(re.compile("the most were 60"))
    page.get_by_text("As a table").click()
    table = page.get_by_role("table", name="Deals of completed extractions")
    expect(table.get_by_role("row")).to_have_count(1 + 14)
    visitor.check_accessibility()

    cells = [row.get_by_role("cell").all_inner_texts() for row in table.get_by_role("row").all()]
    assert [each for each in cells[1:] if each[0] != "0"] == [
        ["30", "3 a second"],
        ["60", "2 a second"],
    ]


def test_the_overview_says_how_to_begin_where_nothing_was_extracted(admin, open_browser):
    visitor = open_browser()
    page = visitor.sign_in()
    page.get_by_role("link", name="Start an extraction").click()

    expect(page.get_by_role("heading", name="New extraction")).to_be_visible()
