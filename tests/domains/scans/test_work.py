"""A scan pulls every deal once, with all that belongs to it."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.scans import work
from hubspot_sandbox import DEFAULT_PORTAL_ID
from hubspot_sandbox.access import Access
from tests.domains.scans.conftest import results

LIST = r"GET /crm/objects/2026-09/deals\?"
SEARCH = "POST /crm/objects/2026-09/deals/search"
NAMES = ("contacts", "companies", "line_items")


def associated(deal_id, object_type):
    return sorted((each["id"] for each in results()[deal_id]["associations"][object_type]), key=int)


def test_every_deal_is_pulled_once(scan, create):
    ids = create("deals", 350)

    row = scan()

    assert row["status"] == "completed", row["error_message"]
    assert row["total_items"] == row["processed_items"] == 350
    assert results().keys() == set(ids)


def test_a_portal_without_deals_makes_an_empty_scan(scan):
    row = scan()

    assert (row["status"], row["total_items"], row["processed_items"]) == ("completed", 0, 0)
    assert row["completed_at"] >= row["started_at"]


def test_several_readers_cost_few_requests_more_than_one(scan, create, sandbox):
    create("deals", 3_000)
    sandbox.sandbox.settings.latency_ms = 20
    sandbox.clear_requests()

    scan()

    sandbox.sandbox.settings.latency_ms = 0
    lists = sandbox.list_requests(LIST)
    # Where a range ends, half a page is read in vain, on average.
    assert 30 < len(lists) <= 30 + 8
    assert len(results()) == 3_000
    assert sandbox.requests()["total"] - len(lists) == 5


def test_a_deal_comes_with_what_it_is_associated_with(scan, create, associate):
    deals = create("deals", 120)
    others = {name: create(name, 3) for name in NAMES}
    for name in NAMES:
        associate(deals[0], name, others[name])
    associate(deals[110], "contacts", others["contacts"][:1])

    row = scan(association_types=NAMES)

    assert row["with_associations"] == 2
    assert {name: associated(deals[0], name) for name in NAMES} == others
    assert results()[deals[110]]["associations"] == {
        "contacts": [{"id": others["contacts"][0], "type": "deal_to_contact"}],
        "companies": [],
        "line_items": [],
    }


def test_associations_beyond_what_a_list_shows_are_completed_in_one_batch(
    scan, create, associate, sandbox
):
    deals = create("deals", 5)
    contacts = create("contacts", 620)
    for each in deals[:3]:
        associate(each, "contacts", contacts)
    sandbox.clear_requests()

    scan(association_types=("contacts",))

    for each in deals[:3]:
        assert associated(each, "contacts") == contacts
    reads = sandbox.list_requests("POST .*/associations/2026-09/deals/contacts/batch/read")
    # The first 500 of all three, and the rest.
    assert len(reads) == 2


def test_a_result_has_the_portals_names_for_things(scan, hubspot, sandbox, monkeypatch):
    deal = hubspot.create(
        "deals",
        dealname="A new engine",
        dealstage="qualifiedtobuy",
        pipeline="default",
        amount="50000",
        closedate="2026-12-31T00:00:00Z",
        hubspot_owner_id="71204385",
        dealtype="newbusiness",
    )
    portal = sandbox.sandbox.portals[DEFAULT_PORTAL_ID]
    gone = [replace(owner, archived=owner.id == "71204385") for owner in portal.owners]
    monkeypatch.setattr(portal, "owners", gone)

    scan()

    result = results()[deal["id"]]
    assert result["deal_name"] == "A new engine"
    assert result["amount"] == 50_000.0
    assert result["currency"] == "USD"
    assert (result["deal_stage"], result["deal_stage_label"]) == (
        "qualifiedtobuy",
        "Qualified To Buy",
    )
    assert (result["pipeline_id"], result["pipeline_label"]) == ("default", "Sales Pipeline")
    assert result["close_date"].isoformat() == "2026-12-31T00:00:00+00:00"
    # Of somebody who has left.
    assert result["owner_email"] == "ines.aldaba@brightharbor.example"
    assert result["deal_type"] == "newbusiness"
    assert result["deal_url"].endswith(f"/record/0-3/{deal['id']}")
    assert result["deal_url"].startswith("https://app.hubspot.com/contacts/")
    assert not result["is_archived"]


def test_the_properties_that_are_asked_for_are_kept_and_no_others(scan, hubspot):
    deal = hubspot.create(
        "deals", dealname="A new engine", dealstage="qualifiedtobuy", description="With brass."
    )

    scan(properties=("description", "amount"))

    result = results()[deal["id"]]
    assert result["properties"] == {"description": "With brass.", "amount": None}
    assert result["deal_name"] == "A new engine"


def test_the_batch_size_is_that_of_a_page(scan, create, sandbox):
    create("deals", 30)
    sandbox.clear_requests()

    scan(batch_size=10)

    assert len(sandbox.list_requests(LIST + ".*limit=10&")) == 3


def test_archived_deals_come_along_when_they_are_asked_for(scan, create, hubspot):
    ids = create("deals", 230)
    for each in ids[:3]:
        hubspot.archive("deals", each)

    row = scan(include_archived=True)

    assert results().keys() == set(ids)
    assert {each for each, result in results().items() if result["is_archived"]} == set(ids[:3])
    assert (row["archived_deals"], row["total_items"], row["processed_items"]) == (3, 230, 230)


def test_a_scan_asks_for_the_portals_names_once(begin, create, run_jobs, sandbox, monkeypatch):
    create("deals", 1_500)
    monkeypatch.setattr(work, "is_leaving", lambda: True)
    begin()
    sandbox.clear_requests()

    for _ in range(3):
        run_jobs()

    routes = sandbox.requests()["by_route"]
    assert routes["GET /account-info/2026-09/details"] == 1
    assert routes["GET /crm/pipelines/2026-09/deals"] == 1
    assert routes[SEARCH] == 1


@pytest.mark.parametrize("is_exclusive", [False, True])
def test_a_cursor_may_name_the_last_id_or_the_next(scan, create, relay, is_exclusive):
    ids = create("deals", 2_000)

    def answer(call):
        given = call.pass_on()
        following = ((given.body or {}).get("paging") or {}).get("next")
        if is_exclusive and call.is_for("/objects/2026-09/deals") and following:
            # The next page then begins with the last one's last deal, as it may.
            following["after"] = given.body["results"][-1]["id"]
        return given

    relay.handler = answer

    row = scan()

    assert row["status"] == "completed", row["error_message"]
    assert not row["has_one_reader"]
    assert results().keys() == set(ids)


def test_one_reader_goes_through_all_where_cursors_are_no_ids(scan, create, relay):
    ids = create("deals", 1_500)

    def answer(call):
        call.path = call.path.replace("after=opaque-", "after=")
        if "after=" in call.path and int(call.path.split("after=")[1].split("&")[0]) not in shown:
            raise AssertionError("jumped")
        given = call.pass_on()
        following = ((given.body or {}).get("paging") or {}).get("next")
        if call.is_for("/objects/2026-09/deals") and following:
            shown.add(int(following["after"]))
            following["after"] = f"opaque-{following['after']}"
        return given

    shown: set[int] = set()
    relay.handler = answer

    row = scan()

    assert row["status"] == "completed", row["error_message"]
    assert row["has_one_reader"]
    assert results().keys() == set(ids)
    assert row["processed_items"] == 1_500


def test_one_reader_goes_through_all_where_a_jump_leads_elsewhere(scan, create, relay):
    ids = create("deals", 3_000)
    given_cursors: set[str] = set()

    def answer(call):
        cursor = call.path.partition("after=")[2].partition("&")[0]
        if call.is_for("/objects/2026-09/deals") and cursor and cursor not in given_cursors:
            # What no page named leads back to the beginning.
            call.path = call.path.replace(f"after={cursor}", "after=0")
        given = call.pass_on()
        following = ((given.body or {}).get("paging") or {}).get("next")
        if following:
            given_cursors.add(following["after"])
        return given

    relay.handler = answer

    row = scan()

    assert row["status"] == "completed", row["error_message"]
    assert row["has_one_reader"]
    assert results().keys() == set(ids)


def test_a_scan_of_the_mirrors_portal_draws_on_the_mirrors_budget(scan, create, portal_id):
    create("deals", 10)
    before = used(portal_id)

    scan()

    assert used(portal_id) == before + 6
    assert budgets() == {portal_id}


def test_a_scan_of_another_portal_draws_on_a_budget_of_that_portals(scan, sandbox, portal_id):
    sandbox.sandbox.open_portal(555)
    sandbox.sandbox.registry.add_token("pat-na1-other", Access(555, 77))

    row = scan(token="pat-na1-other")

    assert row["status"] == "completed", row["error_message"]
    assert row["hub_id"] == 555
    assert budgets() == {portal_id, -555}
    assert used(-555) == 6


def budgets():
    with transaction() as session:
        return set(session.scalars(text("SELECT portal_id FROM call_windows")))


def used(budget_id):
    statement = text("SELECT used FROM day_quotas WHERE portal_id = :id")
    with transaction() as session:
        return session.scalar(statement, {"id": budget_id})
