"""Pipelines, in a browser: looked at, dragged about, moved by keyboard."""

import pytest
import requests
from playwright.sync_api import expect

from crm.portals import pipelines, property_schemas
from tests.console.conftest import at_a_desk

HUBSPOT = {"Authorization": "Bearer pat-na1-sandbox"}


@pytest.fixture
def ids(register, run_jobs):
    """HubSpot's ids of a deal and of a ticket that are in step."""
    person = register()
    run_jobs()
    property_schemas.refresh_stale_schemas()
    pipelines.refresh_stale_pipelines()
    [deal] = person.get("/me").json["data"]["contact"]["deals"]
    return {"deals": deal["id"], "tickets": deal["tickets"][0]["id"]}


@pytest.fixture
def hubspot(sandbox, ids):
    """Reads a property of our records in HubSpot, or changes it behind our back."""

    def do(object_type, name, value=None):
        path = f"{sandbox.url}/crm/v3/objects/{object_type}/{ids[object_type]}"
        if value is not None:
            body = {"properties": {name: value}}
            answer = requests.patch(path, json=body, headers=HUBSPOT, timeout=5)
        else:
            answer = requests.get(path, params={"properties": name}, headers=HUBSPOT, timeout=5)
        assert answer.status_code == 200, answer.text
        return answer.json()["properties"][name]

    return do


@pytest.fixture
def board(admin, ids, visitor):
    visitor.sign_in("/console/pipelines/deals")
    return visitor


def column(page, label):
    return page.get_by_role("region", name=label, exact=True)


def test_a_board_shows_each_stage_with_its_total(board):
    page = board.page

    expect(column(page, "Qualified To Buy")).to_contain_text("1 deal · 1,000,000")
    expect(column(page, "Qualified To Buy")).to_contain_text("A new engine")
    expect(column(page, "Closed Won")).to_contain_text("0 deals · 0")
    board.check_accessibility()
    page.get_by_role("link", name="Tickets").click()
    expect(column(page, "New")).to_contain_text("The engine stutters")
    board.check_accessibility()


def test_a_deal_that_is_dragged_to_another_stage_reaches_hubspot(admin, ids, hubspot, open_browser):
    visitor = open_browser({"width": 2200, "height": 900})
    page = visitor.sign_in("/console/pipelines/deals")
    page.get_by_text("A new engine", exact=True).drag_to(column(page, "Closed Won"))

    expect(page.get_by_role("status").first).to_contain_text("Moved, here and in HubSpot")
    expect(column(page, "Closed Won")).to_contain_text("A new engine")
    assert hubspot("deals", "dealstage") == "closedwon"


@at_a_desk
def test_a_ticket_is_moved_by_keyboard_alone(board, hubspot):
    page = board.go("/console/pipelines/tickets")
    page.get_by_text("Move The engine stutters to another stage").focus()
    for key in ("Enter", "Tab", "Enter"):
        page.keyboard.press(key)

    expect(page.get_by_role("status").first).to_contain_text("Moved, here and in HubSpot")
    expect(column(page, "Waiting on contact")).to_contain_text("The engine stutters")
    assert hubspot("tickets", "hs_pipeline_stage") == "2"


def test_a_board_works_without_script(admin, ids, hubspot, open_browser):
    visitor = open_browser(java_script_enabled=False)
    page = visitor.sign_in("/console/pipelines/deals")
    page.get_by_text("Move A new engine to another stage").click()
    page.get_by_role("button", name="Contract Sent").click()

    expect(page.get_by_role("status").first).to_contain_text("Moved")
    assert hubspot("deals", "dealstage") == "contractsent"


def test_of_two_who_move_one_deal_the_later_is_told(admin, ids, hubspot, open_browser):
    first, second = open_browser(), open_browser()
    for each in (first, second):
        each.sign_in("/console/pipelines/deals")
        each.page.get_by_text("Move A new engine to another stage").click()
    first.page.get_by_role("button", name="Closed Won").click()
    expect(first.page.get_by_role("status").first).to_contain_text("Moved")
    second.page.get_by_role("button", name="Closed Lost").click()

    expect(second.page.get_by_role("status").first).to_contain_text("Somebody else moved it")
    assert hubspot("deals", "dealstage") == "closedwon"


def test_a_change_of_something_else_does_not_hinder_a_move(admin, ids, hubspot, client, session):
    board = session.get("/console/pipelines/deals").text
    hubspot("deals", "amount", "5")
    stale = {"stage": "closedwon", "from": "qualifiedtobuy", "version": "1-0"}

    session.post(f"/console/pipelines/deals/{ids['deals']}", **stale)

    assert "A new engine" in board
    assert hubspot("deals", "dealstage") == "closedwon"


def test_a_stage_that_is_none_is_refused_in_words(admin, ids, hubspot, session):
    session.post(f"/console/pipelines/deals/{ids['deals']}", stage="nowhere")

    assert "It was not moved: Unknown stage" in session.get("/").text
    assert hubspot("deals", "dealstage") == "qualifiedtobuy"
