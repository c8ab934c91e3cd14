"""Scans that meet refusals, outages, disorder, and users who change their mind."""

import random
import time
from datetime import timedelta

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.errors import InvalidCancellationError
from crm.scans import storage, work
from crm.scans.commands import cancel_scan
from hubspot_sandbox import DEFAULT_PORTAL_ID
from hubspot_sandbox.access import Access
from tests.domains.scans.conftest import results, status
from tests.hubspot.relay import Answer

TOKEN = "pat-na1-of-a-scan"
SCOPES = frozenset({"crm.objects.deals.read", "oauth", "crm.objects.owners.read"})


@pytest.fixture
def let_in(sandbox):
    """Make a token known, with scopes."""

    def do(*without, expires_at=None):
        access = Access(DEFAULT_PORTAL_ID, 77, SCOPES - set(without), expires_at)
        sandbox.sandbox.registry.add_token(TOKEN, access)

    return do


@pytest.fixture
def id_of_scan():
    return lambda: status()["id"]


@pytest.fixture
def due(run_jobs):
    """Let the next attempt's time come, and make it."""

    def do():
        with transaction() as session:
            session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL"))
        run_jobs()
        return status()

    return do


def test_a_token_that_hubspot_refuses_ends_the_scan(scan):
    row = scan(token="pat-na1-unknown")

    assert (row["status"], row["error_code"]) == ("failed", "HUBSPOT_AUTH_FAILED")
    assert row["error_message"].startswith(
        "HubSpot API authentication failed: Authentication credentials not found"
    )
    assert row["token"] is None
    assert row["completed_at"]


@pytest.mark.parametrize("token", ["two words", "ünïcode", "line\nbreak", "nul\0"])
def test_a_mangled_token_ends_the_scan_and_is_not_shown(scan, token):
    row = scan(token=token)

    assert (row["status"], row["error_code"]) == ("failed", "HUBSPOT_AUTH_FAILED")
    assert token not in row["error_message"]


def test_a_missing_scope_ends_the_scan_and_is_named(scan, let_in):
    let_in("crm.objects.deals.read")

    row = scan(token=TOKEN)

    assert (row["status"], row["error_code"]) == ("failed", "FORBIDDEN")
    assert "crm.objects.deals.read" in row["error_message"]


def test_results_have_no_addresses_without_the_scope_of_owners(scan, let_in, hubspot):
    deal = hubspot.create(
        "deals", dealname="A", dealstage="qualifiedtobuy", hubspot_owner_id="71204385"
    )
    let_in("crm.objects.owners.read")

    row = scan(token=TOKEN)

    assert row["status"] == "completed", row["error_message"]
    assert results()[deal["id"]]["owner_id"] == "71204385"
    assert results()[deal["id"]]["owner_email"] is None


def test_a_token_that_expires_half_way_leaves_what_was_read(scan, create, relay):
    create("deals", 1_500)

    def answer(call):
        if len(relay.paths("GET")) > 12:
            return Answer(401, {"message": "expired", "category": "EXPIRED_AUTHENTICATION"})
        return call.pass_on()

    relay.handler = answer

    row = scan()

    assert (row["status"], row["error_code"]) == ("failed", "HUBSPOT_AUTH_FAILED")
    assert 0 < row["processed_items"] < 1_500
    assert len(results()) == row["processed_items"]
    assert row["token"] is None


def test_a_scan_survives_an_outage_and_goes_on_where_it_was(
    begin, run_jobs, due, create, sandbox, relay
):
    ids = create("deals", 2_000)
    relay.handler = lambda call: (
        call.pass_on() if len(relay.calls) < 15 else Answer(503, {"message": "down"})
    )
    begin()
    run_jobs()
    before = status()
    for _ in range(4):
        due()
    during = status()
    relay.handler = type(relay.calls[0]).pass_on
    lists_before = len(relay.paths("GET"))
    after = due()

    assert before["status"] == during["status"] == "running"
    assert (during["error_code"], during["failures"]) == ("HUBSPOT_UNAVAILABLE", 5)
    assert during["token"] is not None
    assert after["status"] == "completed", after["error_message"]
    assert (after["error_code"], after["error_message"], after["failures"]) == (None, None, 0)
    assert results().keys() == set(ids)
    assert len(relay.paths("GET")) - lists_before < 20


def test_the_pauses_of_a_scan_grow_to_a_minute(begin, run_jobs, due, relay):
    relay.answer(503, {"message": "down"})
    begin()
    run_jobs()
    pauses = []
    for _ in range(9):
        with transaction() as session:
            pauses.append(
                session.scalar(
                    text("SELECT extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs")
                )
            )
        due()

    assert pauses[0] <= 1
    assert 25 < pauses[-1] <= 60


def test_an_outage_that_does_not_end_ends_the_scan(begin, run_jobs, due, relay):
    relay.answer(503, {"message": "down"})
    begin()
    run_jobs()
    with transaction() as session:
        session.execute(
            text("UPDATE scans SET failing_since = now() - CAST(:long AS interval)"),
            {"long": work.LONGEST_OUTAGE + timedelta(seconds=1)},
        )

    row = due()

    assert (row["status"], row["error_code"]) == ("failed", "HUBSPOT_UNAVAILABLE")
    assert row["token"] is None


def test_a_scan_waits_out_a_used_up_day(begin, run_jobs, due, create, relay):
    create("deals", 10)
    relay.answer(
        429,
        {"message": "You have reached your daily limit.", "policyName": "DAILY"},
        headers={"Retry-After": "900"},
    )
    begin()
    run_jobs()
    with transaction() as session:
        session.execute(text("UPDATE scans SET failing_since = now() - interval '20 hours'"))
        pause = session.scalar(text("SELECT scheduled_at - now() FROM procrastinate_jobs"))
    row = due()

    assert pause > timedelta(minutes=14)
    assert (row["status"], row["error_code"]) == ("running", "RATE_LIMIT_EXCEEDED")


def test_faults_of_every_kind_cost_no_deal(scan, due, create, sandbox):
    ids = create("deals", 1_500)
    kinds = [
        *({"kind": "status", "status": each} for each in (423, 500, 502, 503, 504)),
        {"kind": "reset_before"},
        {"kind": "reset_after"},
        {"kind": "truncated_json"},
        {"kind": "html"},
    ]
    sandbox.set_faults([{**kind, "probability": 0.04, "seed": n} for n, kind in enumerate(kinds)])

    row = scan()
    for _ in range(20):
        row = row if row["status"] != "running" else due()

    sandbox.set_faults([])
    assert row["status"] == "completed", row["error_message"]
    assert results().keys() == set(ids)
    assert row["processed_items"] == 1_500


def test_a_scans_error_does_not_repeat_what_a_proxy_says(scan, relay):
    relay.answer(403, raw=b"<html>internal host 10.1.2.3</html>")

    row = scan()

    assert row["status"] == "failed"
    assert "10.1.2.3" not in row["error_message"]
    assert "403" in row["error_message"]


def test_a_scans_error_does_not_show_a_token_that_hubspot_repeats(scan, relay):
    relay.answer(401, {"message": f"{TOKEN} is no good", "category": "INVALID_AUTHENTICATION"})

    row = scan(token=TOKEN)

    assert row["error_message"] == "HubSpot API authentication failed: … is no good"


def test_a_scan_fails_without_the_key_that_its_token_was_stored_under(
    begin, run_jobs, change_settings
):
    begin()
    change_settings(encryption_keys="bGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGw=")
    run_jobs()

    row = status()
    assert (row["status"], row["error_code"]) == ("failed", "INTERNAL_ERROR")
    assert "ENCRYPTION_KEYS" in row["error_message"]


def test_a_cancelled_scan_makes_no_more_than_the_calls_that_are_under_way(
    begin, run_jobs, create, relay, app, organization_id
):
    create("deals", 3_000)
    cancelled: list[int] = []

    def answer(call):
        if len(relay.calls) == 14:
            with app.app_context():
                cancelled.append(cancel_scan(organization_id, "scan").items_processed)
                cancelled.append(len(relay.calls))
        time.sleep(0.02)
        return call.pass_on()

    relay.handler = answer
    begin()

    run_jobs()

    row = status()
    items, calls = cancelled
    assert row["status"] == "cancelled"
    assert row["token"] is None
    assert row["processed_items"] == items == len(results())
    # Of each of the eight readers, the one under way and one more.
    assert len(relay.calls) <= calls + 16


def test_a_cancelled_scan_is_not_worked_on(begin, run_jobs, sandbox, organization_id):
    begin()
    cancel_scan(organization_id, "scan")
    sandbox.clear_requests()

    run_jobs()

    assert status()["status"] == "cancelled"
    assert sandbox.requests()["total"] == 0
    with pytest.raises(InvalidCancellationError) as refusal:
        cancel_scan(organization_id, "scan")
    assert refusal.value.details == {"scanId": "scan", "currentStatus": "cancelled"}


def test_a_job_that_was_taken_for_dead_writes_nothing(begin, id_of_scan):
    begin()
    first = storage.take_over(id_of_scan())
    second = storage.take_over(id_of_scan())

    with pytest.raises(storage.LostLeaseError):
        storage.store(first, [], {"1": "late"}, [])
    storage.store(second, [], {"2": "in time"}, [])

    assert status()["failed_items"] == 1


def test_a_scan_whose_job_was_lost_is_found(begin, run_jobs, create):
    ids = create("deals", 20)
    begin()
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
        session.execute(text("UPDATE scans SET updated_at = now() - interval '1 minute'"))

    work.sweep()
    run_jobs()

    assert results().keys() == set(ids)


def test_an_error_of_ours_does_not_end_a_scan_at_once(begin, run_jobs, due, create, monkeypatch):
    ids = create("deals", 20)
    with monkeypatch.context() as broken:
        broken.setattr(work, "make_row", None)
        begin()
        run_jobs()
    before = status()
    after = due()

    assert (before["status"], before["error_code"]) == ("running", "INTERNAL_ERROR")
    assert "see the log" in before["error_message"]
    assert after["status"] == "completed"
    assert results().keys() == set(ids)


def test_a_scan_waits_out_a_full_disk(begin, run_jobs, due, create):
    ids = create("deals", 20)
    with transaction() as session:
        session.execute(
            text(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " RAISE 'No space left on device' USING ERRCODE = 'disk_full'; END $$"
            )
        )
        session.execute(
            text(
                "CREATE TRIGGER full_disk BEFORE INSERT ON scan_deals EXECUTE FUNCTION full_disk()"
            )
        )
    try:
        begin()
        run_jobs()
        before = status()
    finally:
        with transaction() as session:
            session.execute(text("DROP FUNCTION full_disk CASCADE"))
    after = due()

    assert (before["status"], before["processed_items"]) == ("running", 0)
    assert after["status"] == "completed"
    assert results().keys() == set(ids)


def test_hostile_values_fail_no_scan(scan, create, relay):
    ids = create("deals", 8)
    amounts = ["1e6", "", "NaN", "abc", "1e999", None, "-12.50", "1" * 400]

    def answer(call):
        given = call.pass_on()
        if call.is_for("/objects/2026-09/deals"):
            for deal, amount in zip(given.body["results"], amounts, strict=True):
                deal["properties"] |= {
                    "amount": amount,
                    "dealname": "nul \0 within",
                    "dealstage": None,
                    "pipeline": "gone",
                    "closedate": "2026-13-45T99:00:00Z",
                    "hs_lastmodifieddate": "0001-01-01T00:00:00+14:00",
                    "createdate": "9" * 30,
                    "hubspot_owner_id": "",
                }
        return given

    relay.handler = answer

    row = scan()

    found = results()
    assert row["status"] == "completed", row["error_message"]
    assert row["failed_items"] == 0
    assert [found[each]["amount"] for each in ids] == [
        1e6,
        None,
        None,
        None,
        None,
        None,
        -12.5,
        None,
    ]
    assert found[ids[0]]["properties"]["amount"] == "1e6"
    assert found[ids[0]]["deal_name"] == "nul  within"
    assert found[ids[0]]["pipeline_id"] == "gone"
    assert found[ids[0]]["pipeline_label"] is None
    assert found[ids[0]]["deal_stage"] is None


def test_a_deal_that_cannot_be_stored_is_counted_with_the_reason(scan, create, relay):
    ids = create("deals", 5)
    number = str(random.Random(1).getrandbits(14_000))

    def answer(call):
        given = call.pass_on()
        if call.is_for("/objects/2026-09/deals"):
            first, second, third, _, fifth = given.body["results"]
            fifth["id"] = number
            first["id"] = "not-a-number"
            second["properties"] = "not a mapping"
            third["createdAt"] = "yesterday"
        return given

    relay.handler = answer

    row = scan()

    with transaction() as session:
        reasons = dict(session.execute(text("SELECT deal_id, reason FROM scan_failures")).all())
    assert row["status"] == "completed", row["error_message"]
    assert (row["processed_items"], row["failed_items"], row["total_items"]) == (1, 4, 5)
    assert reasons.keys() == {"not-a-number", ids[1], ids[2], number[:100]}
    assert all(reasons.values())
    assert results().keys() == {ids[3]}
