"""HubSpot down, slow, refusing, dying on us: nothing is lost, nothing is doubled."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.hubspot.errors import HubSpotRateLimitError, HubSpotUnavailableError
from crm.portals import portals
from crm.push.job import push
from tests.domains.graphs import (
    differences,
    end_pause,
    jobs,
    portal,
    records_in,
    states,
    write_contact,
    write_graph,
)
from tests.hubspot.relay import Call

WRITES = [
    "contacts/batch/upsert",
    "deals/batch/upsert",
    "tickets/batch/upsert",
    "contacts/deals/batch/create",
    "deals/tickets/batch/create",
]


def pending_push():
    """When the one waiting push is due."""
    [job] = [
        each for each in jobs("task_name", "status", "scheduled_at") if each.task_name == "push"
    ]
    assert job.status == "todo"
    return job.scheduled_at


def test_push_is_paused_while_hubspot_is_down_and_resumed_after(
    run_jobs, sandbox, hubspot, portal_id
):
    sandbox.stop()
    for number in range(3):
        write_graph(portal_id, f"person{number}@example.com")
    run_jobs()
    paused, due, waiting = portal(), pending_push(), states()

    sandbox.start()
    end_pause()
    run_jobs()

    assert waiting["contacts pending"] == 3
    assert "HubSpot cannot be reached" in paused.push_error
    assert paused.push_failures >= 1
    assert due == paused.push_retry_at > paused.now
    assert differences(hubspot) == []
    assert (portal().push_error, portal().push_failures, portal().push_retry_at) == (None, 0, None)


def test_a_push_that_comes_during_the_pause_waits_for_its_end(run_jobs, sandbox, send, portal_id):
    sandbox.set_faults([{"kind": "status", "status": 503}])
    write_contact(portal_id, "ada@example.com")
    send()
    until = portal().push_retry_at
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
        later = until + timedelta(hours=1)
        session.execute(text("UPDATE portals SET push_retry_at = :later"), {"later": later})
    write_contact(portal_id, "bob@example.com")

    run_jobs()

    assert pending_push() == until + timedelta(hours=1)
    assert portal().push_failures == 1


def test_a_registration_during_the_pause_adds_no_job(send, sandbox, portal_id):
    sandbox.set_faults([{"kind": "status", "status": 503}])
    write_contact(portal_id, "ada@example.com")
    send()

    write_contact(portal_id, "bob@example.com")

    assert len([each for each in jobs() if each.task_name == "push"]) == 1


def test_the_pauses_of_push_grow_up_to_a_minute(portal_id):
    pauses = []
    for _ in range(12):
        with transaction():
            until = portals.note_push_failure(portal_id, HubSpotUnavailableError("down"))
        pauses.append((until - portal().now).total_seconds())

    floors = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]
    # The clock went on a little between the two readings.
    assert all(
        floor - 0.5 <= pause <= 2 * floor for floor, pause in zip(floors, pauses, strict=True)
    )


def test_a_pause_that_hubspot_asks_for_is_kept(portal_id):
    error = HubSpotRateLimitError("slow down")
    error.retry_after = 3600

    with transaction():
        until = portals.note_push_failure(portal_id, error)

    assert until - datetime.now(UTC) > timedelta(minutes=59)


@pytest.mark.parametrize(
    ("kind", "write"),
    [("reset_after", write) for write in WRITES]
    + [(kind, "tickets/batch/upsert") for kind in ("reset_before", "truncated_json", "html")],
)
def test_an_answer_that_is_lost_doubles_nothing(send, sandbox, hubspot, portal_id, kind, write):
    # More often than one call is repeated, so that the push as a whole is, too.
    sandbox.set_faults([{"kind": kind, "match": f"POST .*{write}", "count": 4}])
    for number in range(3):
        write_graph(portal_id, f"person{number}@example.com", tickets=2)
    sandbox_was_paused = []

    for _ in range(3):
        send()
        sandbox_was_paused.append(portal().push_error is not None)
        end_pause()

    assert sandbox_was_paused == [True, False, False]
    assert differences(hubspot) == []
    assert len(records_in(hubspot, "tickets")) == 6


def test_a_refused_token_pauses_and_rejects_nothing(send, change_settings, hubspot, portal_id):
    change_settings(hubspot_private_app_token="pat-na1-revoked")
    write_graph(portal_id, "ada@example.com")
    send()
    reason, waiting = portal().push_error, states()

    change_settings(hubspot_private_app_token="pat-na1-sandbox")
    end_pause()
    send()

    assert "Authentication credentials not found" in reason
    assert waiting["contacts pending"] == waiting["deals pending"] == 1
    assert differences(hubspot) == []


@pytest.mark.one_of_many
@pytest.mark.parametrize("status", [401, 403, 418, 302])
@pytest.mark.parametrize("where", ["/account-info/", "/properties/", "contacts/batch", "/associa"])
def test_a_portal_that_says_no_pauses_and_rejects_nothing(
    send, relay, hubspot, portal_id, status, where
):
    relay_says_no(relay, where, status)
    write_graph(portal_id, "ada@example.com")
    send()
    reason, waiting = portal().push_error, states()

    relay.handler = Call.pass_on
    end_pause()
    send()

    assert reason == "says who?"
    assert not [each for each in waiting if "rejected" in each]
    assert differences(hubspot) == []


def relay_says_no(relay, where, status):
    def handler(call):
        answer = call.pass_on()
        if where in call.path:
            answer.status, answer.body = status, {"message": "says who?"}
        return answer

    relay.handler = handler


def test_a_mangled_token_pauses_with_a_reason_that_does_not_tell_it(
    send, change_settings, portal_id
):
    change_settings(hubspot_private_app_token="pat-na1-“quoted”")
    write_contact(portal_id, "ada@example.com")

    send()

    assert portal().push_error == "The HubSpot token holds characters that no token has"


@pytest.mark.parametrize("how_many", [1, 3])
def test_a_crm_uid_that_was_archived_meanwhile_is_restored_and_nothing_rejected(
    set_up, send, hubspot, portal_id, how_many
):
    for object_type in ("deals", "tickets"):
        hubspot.delete(f"/crm/properties/2026-09/{object_type}/crm_uid")
    for number in range(how_many):
        write_graph(portal_id, f"person{number}@example.com")

    for _ in range(3):
        send()
        assert not [each for each in states() if "rejected" in each]
        end_pause()

    assert differences(hubspot) == []


@pytest.mark.parametrize("how_many", [1, 3])
def test_an_archived_crm_uid_is_restored_when_hubspot_refuses_the_batch_whole(
    set_up, send, relay, hubspot, portal_id, how_many
):
    def without_traces(call):
        for each in (call.body or {}).get("inputs", []):
            each.pop("objectWriteTraceId", None)
        return call.pass_on()

    relay.handler = without_traces
    hubspot.delete("/crm/properties/2026-09/deals/crm_uid")
    for number in range(how_many):
        write_graph(portal_id, f"person{number}@example.com")

    send()
    reason, waiting = portal().push_error, states()
    end_pause()
    send()

    assert "crm_uid of deals was gone" in reason
    assert not [each for each in waiting if "rejected" in each]
    assert differences(hubspot) == []


@pytest.fixture
def plain_crm_uid(hubspot):
    """Somebody made a property of that name, whose values are not unique."""
    body = {
        "name": "crm_uid",
        "label": "mine",
        "type": "string",
        "fieldType": "text",
        "groupName": "dealinformation",
    }
    hubspot.post("/crm/properties/2026-09/deals", body)


@pytest.mark.parametrize("is_set_up", [False, True], ids=["found by set-up", "found later"])
def test_a_crm_uid_that_is_not_unique_pauses_with_the_remedy(
    plain_crm_uid, send, hubspot, portal_id, is_set_up
):
    if is_set_up:
        with transaction() as session:
            session.execute(text("UPDATE portals SET set_up_at = now()"))
    write_graph(portal_id, "ada@example.com")
    write_graph(portal_id, "bob@example.com")

    send()

    assert "archive or rename it in HubSpot" in portal().push_error
    assert states()["deals pending"] == 2
    assert records_in(hubspot, "deals") == []


def test_a_token_of_another_portal_sends_nothing(send, sandbox, hubspot, portal_id):
    with transaction() as session:
        session.execute(text("UPDATE portals SET hub_id = 12345"))
    write_graph(portal_id, "ada@example.com")

    send()

    assert "belongs to portal 44021307, but this mirror to portal 12345" in portal().push_error
    assert list(sandbox.requests()["by_route"]) == ["GET /account-info/2026-09/details"]
    assert states()["contacts pending"] == 1


def test_a_push_that_failed_half_way_goes_on_where_it_was(send, sandbox, hubspot, portal_id):
    write_graph(portal_id, "ada@example.com")
    sandbox.set_faults([{"kind": "status", "match": "tickets/batch"}])
    send()
    half_way = states()
    sandbox.set_faults([])
    sandbox.clear_requests()
    end_pause()

    send()

    assert half_way["contacts synced"] == half_way["deals synced"] == 1
    assert sandbox.requests()["total"] == 3
    assert differences(hubspot) == []


def test_two_pushes_at_once_double_nothing(app, sandbox, hubspot, portal_id, set_up):
    """As when a worker is taken for dead although it is not."""
    sandbox.sandbox.settings.latency_ms = 20
    for number in range(30):
        write_graph(portal_id, f"person{number}@example.com")

    try:
        run_at_once(app, portal_id, 3)
    finally:
        sandbox.sandbox.settings.latency_ms = 0

    assert differences(hubspot) == []


def run_at_once(app, portal_id, how_many):
    def run(_):
        with app.app_context():
            push(portal_id)

    with ThreadPoolExecutor(how_many) as pool:
        list(pool.map(run, range(how_many)))
