"""Sync: the mirror becomes what HubSpot has, whatever happens on the way."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from crm import jobs
from crm.db import transaction
from crm.errors import CRMError
from crm.hubspot.errors import HubSpotAuthError
from crm.object_types import CONTACTS
from crm.portals import portals
from crm.pull import apply, runner, runs
from hubspot_sandbox import DEFAULT_APP, DEFAULT_PORTAL_ID
from hubspot_sandbox.access import Access
from tests.conftest import wait_until
from tests.contracts.source import ROOT
from tests.domains import graphs
from tests.sandbox.client import OBJECTS

DEAL = {"dealname": "A new engine", "dealstage": "qualifiedtobuy", "pipeline": "default"}
LIST = r"GET /crm/objects/2026-09/{}\?"
TYPES = ("contacts", "companies", "deals", "tickets", "line_items")


@pytest.fixture
def follow(portal_id, set_up):
    """Do a kind of run in one go; returns the processed records and the differences by type."""

    def do(kind, *names):
        last = {run.object_type: run for run in runner.follow(kind, names)}
        return {name: (run.processed, run.differences) for name, run in last.items()}

    return do


@pytest.fixture
def step(portal_id, set_up):
    """Do as much of a run as a job does that has no time: one page of each."""
    return lambda kind: list(runner.continue_runs(portal_id, kind, until=0))


@pytest.fixture
def begin(portal_id):
    """Have runs that wait for being worked on."""

    def do(kind, *names):
        chosen = [each for name, each in runner.OBJECT_TYPES.items() if name in names]
        with transaction() as session:
            runs.begin(session, portal_id, kind, chosen)

    return do


@pytest.fixture
def create(hubspot):
    """Create contacts in HubSpot; returns their ids."""
    numbers = iter(range(1_000_000))

    def do(count):
        made = []
        for first in range(0, count, 100):
            inputs = [
                {"properties": {"email": f"person{next(numbers)}@example.com"}}
                for _ in range(min(100, count - first))
            ]
            made += hubspot.batch("contacts", "create", *inputs).json()["results"]
        return [each["id"] for each in made]

    return do


def rows(object_type="contacts"):
    """The live records of the mirror by HubSpot's ids, with their properties."""
    statement = (
        "SELECT hs_object_id, properties FROM records"
        " WHERE object_type = :type AND archived_at IS NULL"
    )
    with transaction() as session:
        found = session.execute(text(statement), {"type": object_type})
        return {row.hs_object_id: row.properties for row in found}


def pairs():
    statement = """
        SELECT a.hs_object_id, b.hs_object_id FROM associations
        JOIN records AS a ON a.id = from_id JOIN records AS b ON b.id = to_id
        WHERE associations.state = 'synced'"""
    with transaction() as session:
        return {tuple(row) for row in session.execute(text(statement))}


def associate(hubspot, deal_id, contact_id):
    hubspot.put(f"{OBJECTS}/deals/{deal_id}/associations/default/contacts/{contact_id}")


def part(hubspot, deal_id, contact_id):
    hubspot.delete(f"{OBJECTS}/deals/{deal_id}/associations/contacts/{contact_id}")


def latest(kind, object_type="contacts"):
    [run] = [
        run for run in runner.list_status() if (run.kind, run.object_type) == (kind, object_type)
    ]
    return run


def assert_equal(hubspot):
    """Live contacts are the same here and there."""
    names = ("email", "firstname", "lastname", "lastmodifieddate")
    there = {
        each["id"]: {name: each["properties"].get(name) for name in names}
        for each in graphs.records_in(hubspot, "contacts", *names)
    }
    here = {key: {name: each.get(name) for name in names} for key, each in rows().items()}
    assert here == there


def test_a_backfill_takes_in_every_record_with_its_associations(follow, hubspot, create):
    ids = create(150)
    deal = hubspot.create("deals", **DEAL)
    associate(hubspot, deal["id"], ids[0])

    done = follow("backfill")

    assert done["contacts"] == (150, 150)
    assert rows().keys() == set(ids)
    assert rows("deals")[deal["id"]]["dealname"] == "A new engine"
    assert pairs() == {(ids[0], deal["id"])}


def test_a_backfill_in_small_steps_reads_each_page_once(step, begin, create, sandbox, follow):
    ids = create(300)
    begin("backfill", "contacts")
    sandbox.clear_requests()

    while runs.list_unfinished(graphs.portal().id, "backfill"):
        step("backfill")

    assert rows().keys() == set(ids)
    assert latest("backfill").processed == 300
    # Each step begins with the last record of the one before.
    assert len(sandbox.list_requests(LIST.format("contacts"))) == 5


def test_a_backfill_that_was_killed_goes_on_where_it_was(app, follow, create, sandbox):
    ids = create(1_000)
    settings = app.extensions["crm_settings"]
    names = ("DATABASE_URL", "SECRET_KEY", "JWT_SECRET_KEY", "HUBSPOT_API_URL")
    environment = {name: getattr(settings, name.lower()) for name in names}
    environment["HUBSPOT_PRIVATE_APP_TOKEN"] = settings.hubspot_private_app_token
    sandbox.sandbox.settings.latency_ms = 100
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "crm", "sync", "backfill"],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: [run for run in runner.list_status() if run.processed >= 200])
    finally:
        process.kill()
        process.wait()
        sandbox.sandbox.settings.latency_ms = 0
    left = 1_000 - latest("backfill").processed
    sandbox.clear_requests()

    done = follow("backfill")

    assert 0 < left < 1_000
    assert rows().keys() == set(ids)
    assert done["contacts"][0] == 1_000
    # The last record comes again, and the killed one's last request may only now be answered.
    assert len(sandbox.list_requests(LIST.format("contacts"))) <= left / 100 + 2


def test_a_search_mends_what_happened_to_records_while_a_backfill_ran(
    step, begin, follow, create, hubspot
):
    ids = create(450)
    archived_before = ids[150]
    hubspot.archive("contacts", archived_before)
    begin("backfill", *TYPES)
    step("backfill")

    hubspot.archive("contacts", ids[0])
    hubspot.archive("contacts", ids[440])
    hubspot.restore("contacts", archived_before)
    hubspot.merge("contacts", ids[1], ids[430])
    hubspot.update("contacts", ids[2], firstname="Ada")
    hubspot.post(f"{OBJECTS}/contacts/gdpr-delete", {"objectId": ids[3]})
    create(3)
    follow("backfill")
    follow("incremental")
    differences = follow("reconcile")

    assert_equal(hubspot)
    assert differences["contacts"][1] == 2
    assert {name: each[1] for name, each in follow("reconcile").items()} == dict.fromkeys(TYPES, 0)


def test_a_search_finds_what_was_created_and_changed_since_the_last_time(follow, create, hubspot):
    ids = create(3)
    follow("backfill")
    hubspot.update("contacts", ids[0], firstname="Augusta")
    [new] = create(1)
    deal = hubspot.create("deals", **DEAL)
    associate(hubspot, deal["id"], new)

    done = follow("incremental")

    # Two records and a pair.
    assert done["contacts"][1] == 3
    assert rows()[ids[0]]["firstname"] == "Augusta"
    assert pairs() == {(new, deal["id"])}
    assert_equal(hubspot)


def test_a_search_that_finds_nothing_new_reads_nothing(follow, create, sandbox):
    create(120)
    follow("backfill")
    sandbox.clear_requests()

    done = follow("incremental")

    assert {differences for _, differences in done.values()} == {0}
    assert sandbox.requests()["total"] == len(TYPES)


def test_changes_that_the_index_shows_a_minute_later_are_found(
    follow, hubspot, create, sandbox, portal_id
):
    one, other = create(2)
    follow("backfill")
    sandbox.sandbox.settings.index_lag_ms = 60_000
    try:
        hubspot.update("contacts", one, firstname="Augusta")
        sandbox.advance(50)
        # A webhook told of another, so that HubSpot was heard to be further on.
        hubspot.update("contacts", other, firstname="Grace")
        apply.refresh(portals.connect(portal_id), portal_id, CONTACTS, [other])
        follow("incremental")
        before = rows()[one].get("firstname")
        sandbox.advance(11)
        follow("incremental")
    finally:
        sandbox.sandbox.settings.index_lag_ms = 0

    assert (before, rows()[one]["firstname"]) == (None, "Augusta")


@pytest.mark.long
def test_ten_thousand_and_one_records_of_one_moment_are_all_found(
    follow, step, begin, create, sandbox
):
    follow("backfill")
    moment = sandbox.sandbox.clock.now_ms()
    sandbox.sandbox.clock.now_ms = lambda: moment
    try:
        create(10_001)
    finally:
        del sandbox.sandbox.clock.now_ms
    begin("incremental", "contacts")

    # Without time, which must not keep it from getting on.
    step("incremental")
    step("incremental")

    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM records")) == 10_001
    assert latest("incremental").state == "completed"


def test_the_search_after_a_pass_begins_when_that_began_by_hubspots_clock(
    follow, create, sandbox, hubspot
):
    follow("backfill")
    sandbox.advance(-86_400)
    create(1)
    follow("incremental")
    first = latest("incremental").hubspot_time
    follow("incremental")
    second = latest("incremental").hubspot_time
    now = datetime.fromtimestamp(sandbox.sandbox.clock.now_ms() / 1000, UTC)
    sandbox.advance(86_400)

    assert first is None
    assert second is not None
    assert second <= now


def test_a_reconciliation_mends_pairs_that_changed_without_their_records(follow, create, hubspot):
    one, other = create(2)
    deal = hubspot.create("deals", **DEAL)
    associate(hubspot, deal["id"], one)
    follow("backfill")
    part(hubspot, deal["id"], one)
    associate(hubspot, deal["id"], other)

    done = follow("reconcile")

    assert pairs() == {(other, deal["id"])}
    assert done["deals"][1] == 2


def test_a_reconciliation_mends_records_and_counts_them(follow, create, hubspot):
    ids = create(210)
    hubspot.archive("contacts", ids[4])
    follow("backfill")
    hubspot.update("contacts", ids[0], firstname="Augusta")
    hubspot.archive("contacts", ids[1])
    hubspot.archive("contacts", ids[209])
    hubspot.merge("contacts", ids[2], ids[3])
    hubspot.restore("contacts", ids[4])
    hubspot.post(f"{OBJECTS}/contacts/gdpr-delete", {"objectId": ids[5]})
    create(1)

    done = follow("reconcile", "contacts")

    assert_equal(hubspot)
    # Changed, twice archived, merged with another, restored, deleted for good, new.
    assert done["contacts"][1] in (7, 8)
    assert follow("reconcile", "contacts")["contacts"][1] == 0


def test_a_record_that_only_the_mirror_takes_for_archived_is_live_after_a_reconciliation(
    follow, create
):
    ids = create(2)
    follow("backfill")
    with transaction() as session:
        session.execute(text("UPDATE records SET archived_at = now()"))

    done = follow("reconcile", "contacts")

    assert rows().keys() == set(ids)
    assert done["contacts"][1] == 2


def test_a_reconciliation_of_what_is_equal_costs_a_request_a_page(follow, create, sandbox):
    create(1_000)
    follow("backfill")
    sandbox.clear_requests()

    done = follow("reconcile")

    assert done["contacts"] == (1_000, 0)
    assert sandbox.requests()["total"] == 10 + len(TYPES) - 1


def test_a_change_that_waits_for_a_record_that_is_nowhere_any_more_is_overruled(
    follow, create, hubspot, portal_id
):
    ids = create(2)
    follow("backfill")
    email = rows()[ids[0]]["email"]
    row_id = graphs.write_contact(portal_id, email, firstname="Augusta")
    hubspot.post(f"{OBJECTS}/contacts/gdpr-delete", {"objectId": ids[0]})

    follow("reconcile", "contacts")

    row = graphs.row(row_id)
    assert (row.state, row.unsent) == ("synced", [])
    assert row.archived_at
    with transaction() as session:
        reasons = session.scalars(
            text("SELECT reason FROM record_changes WHERE overruled_at IS NOT NULL")
        ).all()
    assert set(reasons) == {"gone from HubSpot"}


def test_a_revoked_token_stops_a_backfill_which_says_why_and_goes_on_with_a_good_one(
    step, begin, follow, create, change_settings, sandbox
):
    ids = create(300)
    begin("backfill", *TYPES)
    step("backfill")
    change_settings(hubspot_private_app_token="pat-na1-revoked")

    with pytest.raises(HubSpotAuthError):
        step("backfill")

    failed = latest("backfill")
    assert (failed.state, failed.processed) == ("failed", 100)
    assert "authentication" in failed.error.lower()
    change_settings(hubspot_private_app_token="pat-na1-sandbox")
    sandbox.clear_requests()
    follow("backfill")
    assert rows().keys() == set(ids)
    assert len(sandbox.list_requests(LIST.format("contacts"))) == 3
    done = latest("backfill")
    assert (done.state, done.processed, done.error) == ("completed", 300, None)


def test_limits_and_outages_during_a_run_lose_nothing(follow, create, hubspot, sandbox):
    ids = create(500)
    with transaction() as session:
        session.execute(text("UPDATE call_windows SET period = '1 second'"))
    sandbox.set_faults(
        [
            {"kind": "status", "status": 429, "policy": "search", "match": "search", "count": 1},
            {"kind": "status", "status": 503, "probability": 0.3, "seed": 2, "count": 9},
            {"kind": "truncated_json", "probability": 0.3, "seed": 3, "count": 9},
        ]
    )

    def persist(kind):
        for _ in range(50):
            try:
                return follow(kind)
            except CRMError:
                continue
        raise AssertionError("it does not get on")

    persist("backfill")
    hubspot_ids = rows().keys()
    sandbox.set_faults([])

    assert hubspot_ids == set(ids)


def test_a_sweep_backfills_a_portal_that_is_set_up_and_then_searches_it(
    portal_id, set_up, run_jobs, create
):
    ids = create(2)

    runner.sweep()
    run_jobs()
    [new] = create(1)
    runner.begin_for_all_portals("incremental")
    run_jobs()

    assert rows().keys() == {*ids, new}
    assert latest("incremental").differences == 1


def test_a_sweep_leaves_a_portal_alone_that_is_not_set_up(portal_id, app):
    runner.sweep()

    assert runner.list_status() == []


def test_a_sweep_goes_on_with_what_an_outage_interrupted(set_up, run_jobs, create, sandbox):
    ids = create(250)
    sandbox.set_faults([{"kind": "status", "status": 503, "match": "/companies$"}])
    runner.sweep()
    run_jobs()
    interrupted = latest("backfill", "companies")
    sandbox.set_faults([])

    runner.sweep()
    run_jobs()

    assert (interrupted.state, interrupted.processed) == ("running", 0)
    assert interrupted.error
    assert rows().keys() == set(ids)
    assert latest("backfill", "line_items").state == "completed"


def test_a_type_that_we_may_not_see_does_not_hold_up_those_after_it(
    set_up, run_jobs, create, hubspot, sandbox, change_settings
):
    ids = create(2)
    scopes = {f"crm.objects.{name}.read" for name in ("contacts", "deals", "line_items")}
    narrow = Access(DEFAULT_PORTAL_ID, DEFAULT_APP.id, scopes=frozenset(scopes | {"tickets"}))
    sandbox.sandbox.registry.add_token("pat-na1-narrow", narrow)
    change_settings(hubspot_private_app_token="pat-na1-narrow")

    runner.sweep()
    run_jobs()

    assert rows().keys() == set(ids)
    refused = latest("backfill", "companies")
    assert refused.state == "failed"
    assert "scope" in refused.error
    assert latest("backfill", "line_items").state == "completed"


def test_a_job_without_time_leaves_the_rest_to_the_next(set_up, run_jobs, create, monkeypatch):
    monkeypatch.setattr(jobs, "LONGEST_RUN", 0.0)
    ids = create(250)

    runner.sweep()
    run_jobs()

    assert rows().keys() == set(ids)
    assert latest("backfill", "line_items").state == "completed"


def test_the_nightly_reconciliation_mends_what_was_backfilled(set_up, run_jobs, create, hubspot):
    ids = create(2)
    runner.sweep()
    run_jobs()
    hubspot.archive("contacts", ids[0])

    runner.begin_for_all_portals("reconcile")
    run_jobs()

    assert rows().keys() == {ids[1]}
    assert latest("reconcile").differences == 1


def test_the_second_process_at_work_on_the_same_runs_gives_way(portal_id, follow):
    with runs.at_work(portal_id, "backfill"), pytest.raises(runs.AtWorkError):
        list(runner.continue_runs(portal_id, "backfill"))

    assert list(runner.continue_runs(portal_id, "backfill")) == []
