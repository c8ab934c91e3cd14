"""Push: what was changed here reaches HubSpot, once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from crm import jobs as background_jobs
from crm.db import db, transaction
from crm.push import job as push_service
from tests.domains.graphs import (
    differences,
    end_pause,
    jobs,
    pairs_in,
    portal,
    records_in,
    row,
    states,
    write_contact,
    write_graph,
)
from tests.hubspot.relay import Call


def test_a_registration_reaches_hubspot_as_an_associated_graph(register, run_jobs, hubspot):
    ada = register()

    run_jobs()

    contact = ada.get("/contacts").json["data"]["data"]["contacts"][0]
    deal = contact["deals"][0]
    there = {
        object_type: records_in(hubspot, object_type, "email", "dealname", "subject")[0]
        for object_type in ("contacts", "deals", "tickets")
    }
    assert contact["sync_state"] == "synced"
    assert there["contacts"]["properties"]["email"] == "ada@example.com"
    assert there["deals"]["properties"]["dealname"] == "A new engine"
    assert there["tickets"]["properties"]["subject"] == "The engine stutters"
    assert pairs_in(hubspot, "contacts", "deals") == [
        (there["contacts"]["id"], there["deals"]["id"])
    ]
    assert pairs_in(hubspot, "deals", "tickets") == [(there["deals"]["id"], there["tickets"]["id"])]
    assert deal["sync_state"] == deal["tickets"][0]["sync_state"] == "synced"
    assert differences(hubspot) == []


def test_a_hundred_registrations_cost_at_most_six_requests(
    set_up, send, sandbox, hubspot, portal_id
):
    for number in range(100):
        write_graph(portal_id, f"person{number}@example.com")

    send()

    assert sandbox.requests()["total"] <= 6
    assert differences(hubspot) == []


def test_push_works_over_hubspots_older_paths_too(change_settings, send, hubspot, portal_id):
    change_settings(hubspot_api_version="v3")
    write_graph(portal_id, "ada@example.com")

    send()

    assert differences(hubspot) == []


def test_a_second_push_sends_nothing(send, sandbox, portal_id):
    write_graph(portal_id, "ada@example.com")
    send()
    sandbox.clear_requests()

    send()

    assert sandbox.requests()["total"] == 0


def test_a_push_of_more_than_a_batch_is_sent_whole(send, hubspot, portal_id):
    for number in range(150):
        write_graph(portal_id, f"person{number}@example.com")

    send()

    assert differences(hubspot) == []
    assert len(pairs_in(hubspot, "contacts", "deals")) == 150


def test_a_contact_of_that_email_is_updated_whatever_its_letter_case(send, hubspot, portal_id):
    there = hubspot.create("contacts", email="Ada@Example.com", lastname="King", phone="1")
    write_contact(portal_id, "ada@example.com", lastname="Lovelace")

    send()

    records = records_in(hubspot, "contacts", "lastname", "phone")
    assert [(each["id"], each["properties"]["lastname"]) for each in records] == [
        (there["id"], "Lovelace")
    ]
    assert differences(hubspot) == []


@pytest.fixture
def someone(hubspot, sandbox):
    """A contact in HubSpot with two addresses."""
    yield hubspot.create(
        "contacts", email="countess@example.com", hs_additional_emails="ada@example.com"
    )
    sandbox.sandbox.settings.conflict_names_id = True


@pytest.mark.parametrize("is_told", [True, False], ids=["id told", "id kept"])
def test_a_contact_known_under_a_secondary_email_is_adopted(
    send, hubspot, sandbox, portal_id, someone, is_told
):
    sandbox.sandbox.settings.conflict_names_id = is_told
    contact_id = write_graph(portal_id, "ada@example.com", contact={"phone": "12345"})

    send()

    [record] = records_in(hubspot, "contacts", "email", "phone", "hs_additional_emails")
    assert record["id"] == someone["id"] == row(contact_id).hs_object_id
    assert record["properties"]["phone"] == "12345"
    assert record["properties"]["email"] == "countess@example.com"
    assert record["properties"]["hs_additional_emails"] == "ada@example.com"
    assert differences(hubspot) == []


def test_an_adopted_contact_with_nothing_else_to_send_is_taken_as_it_is(
    send, hubspot, portal_id, someone
):
    contact_id = write_contact(portal_id, "ada@example.com")
    with transaction() as session:
        only_email = '{"email": "ada@example.com"}'
        session.execute(
            text("UPDATE records SET properties = :only, unsent = '{email}'"), {"only": only_email}
        )

    send()

    assert row(contact_id).state == "synced"
    assert row(contact_id).hs_object_id == someone["id"]


def test_two_people_whom_hubspot_takes_for_one_do_not_overwrite_each_other(
    send, hubspot, portal_id, someone
):
    first = write_contact(portal_id, "countess@example.com", phone="1")
    second = write_contact(portal_id, "ada@example.com", phone="2")

    send()

    [record] = records_in(hubspot, "contacts", "phone")
    assert record["properties"]["phone"] == "1"
    assert row(first).state == "synced"
    assert row(second).state == "rejected"
    assert someone["id"] in row(second).rejection["message"]


def test_two_people_whom_hubspot_takes_for_one_do_not_overwrite_each_other_in_two_pushes(
    send, hubspot, portal_id, someone
):
    write_contact(portal_id, "countess@example.com", phone="1")
    send()
    second = write_contact(portal_id, "ada@example.com", phone="2")

    send()

    assert records_in(hubspot, "contacts", "phone")[0]["properties"]["phone"] == "1"
    assert row(second).state == "rejected"


def test_a_known_contact_is_updated_by_its_id_with_what_changed(send, relay, portal_id):
    write_contact(portal_id, "ada@example.com", phone="1")
    send()
    relay.calls.clear()
    write_contact(portal_id, "ada@example.com", phone="2")

    send()

    [look, call] = relay.calls
    assert look.is_for("/contacts/batch/read")
    assert call.is_for("/contacts/batch/update")
    # What a caller sends again counts as changed; what it leaves out does not.
    assert set(call.body["inputs"][0]["properties"]) == {"email", "firstname", "lastname", "phone"}


def test_a_change_made_while_push_is_in_flight_is_sent_by_the_next(
    app, send, relay, hubspot, portal_id
):
    contact_id = write_contact(portal_id, "ada@example.com", phone="1", company="Before")

    def change():
        with app.app_context():
            write_contact(portal_id, "ada@example.com", phone="2")

    def change_meanwhile(call):
        if call.is_for("/contacts/batch/upsert"):
            with ThreadPoolExecutor() as pool:
                pool.submit(change).result()
        return call.pass_on()

    relay.handler = change_meanwhile
    send()
    between = row(contact_id)
    send()

    assert (between.state, between.properties["phone"]) == ("pending", "2")
    assert between.hs_object_id
    assert row(contact_id).state == "synced"
    assert records_in(hubspot, "contacts", "phone")[0]["properties"]["phone"] == "2"
    assert differences(hubspot) == []


def test_a_refusal_of_a_value_that_was_changed_meanwhile_does_not_stick(
    app, send, relay, hubspot, portal_id
):
    contact_id = write_contact(portal_id, "ada@example.com", lifecyclestage="king")

    def change_meanwhile(call):
        if call.is_for("/contacts/batch/upsert"):
            relay.handler = Call.pass_on
            with ThreadPoolExecutor() as pool:
                pool.submit(correct).result()
        return call.pass_on()

    def correct():
        with app.app_context():
            write_contact(portal_id, "ada@example.com", lifecyclestage="lead")

    relay.handler = change_meanwhile
    send()
    between = row(contact_id)
    send()

    assert between.state == "pending"
    assert row(contact_id).state == "synced"
    assert differences(hubspot) == []


def test_no_transaction_is_open_while_hubspot_is_called(app, send, relay, portal_id):
    write_graph(portal_id, "ada@example.com")
    idle = []

    def look(call):
        def ask():
            with app.app_context(), transaction() as session:
                query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
                idle.append(session.scalar(text(query)))

        with ThreadPoolExecutor() as pool:
            pool.submit(ask).result()
        return call.pass_on()

    relay.handler = look

    send()

    assert len(idle) == len(relay.calls) > 8
    assert set(idle) == {0}


def test_jobs_leave_no_connection_behind(app, run_jobs, portal_id):
    for number in range(3):
        write_graph(portal_id, f"person{number}@example.com")
        run_jobs()

    db.session.remove()
    assert db.engine.pool.checkedout() == 0


def test_the_mirror_has_what_hubspot_made_of_our_values(send, relay, portal_id):
    def normalise(call):
        answer = call.pass_on()
        if call.is_for("/contacts/batch/upsert"):
            answer.body["results"][0]["properties"] |= {"phone": "+1 2", "lastname": "a\0b"}
        return answer

    relay.handler = normalise
    contact_id = write_contact(portal_id, "ada@example.com", phone="0012")

    send()

    assert row(contact_id).state == "synced"
    assert row(contact_id).properties["phone"] == "+1 2"
    assert row(contact_id).properties["lastname"] == "ab"


def test_an_answer_with_another_id_moves_the_row_to_it(send, relay, hubspot, portal_id):
    contact_id = write_contact(portal_id, "ada@example.com")
    send()
    survivor = hubspot.create("contacts", email="survivor@example.com")
    write_contact(portal_id, "ada@example.com", phone="2")

    def merged(call):
        answer = call.pass_on()
        if call.is_for("/contacts/batch/update"):
            answer.body["results"][0]["id"] = survivor["id"]
        return answer

    relay.handler = merged
    send()

    assert row(contact_id).state == "synced"
    assert row(contact_id).hs_object_id == survivor["id"]


def test_times_that_hubspot_leaves_out_are_kept(send, relay, portal_id):
    contact_id = write_contact(portal_id, "ada@example.com")
    send()
    before = row(contact_id)
    write_contact(portal_id, "ada@example.com", phone="2")

    def timeless(call):
        answer = call.pass_on()
        for name in ("createdAt", "updatedAt"):
            del answer.body["results"][0][name]
        return answer

    relay.handler = timeless
    send()

    assert row(contact_id).state == "synced"
    assert row(contact_id).hs_created_at == before.hs_created_at is not None
    assert row(contact_id).hs_modified_at == before.hs_modified_at is not None


def test_a_batch_is_kept_to_a_size_that_hubspot_takes(send, relay, hubspot, portal_id):
    for number in range(100):
        write_graph(portal_id, f"person{number}@example.com", ticket={"content": "x" * 65_536})

    send()

    sizes = [len(str(call.body)) for call in relay.calls if call.is_for("/tickets/batch/upsert")]
    assert len(sizes) == 2
    assert max(sizes) < 4_200_000
    assert differences(hubspot) == []


def test_a_long_push_is_done_in_several_jobs(
    monkeypatch, set_up, run_jobs, relay, hubspot, portal_id
):
    """So that a worker that is told to stop need not finish everything first."""
    monkeypatch.setattr(background_jobs, "LONGEST_RUN", 0.02)
    for number in range(120):
        write_graph(portal_id, f"person{number}@example.com")
    sent = []

    def slowly(call):
        if "/batch/" in call.path:
            sent.append(call.path)
            threading.Event().wait(0.03)
        return call.pass_on()

    relay.handler = slowly
    push_service.push(portal_id)
    by_the_first = len(sent)
    run_jobs()

    assert by_the_first == 1
    assert portal().push_error is None
    assert differences(hubspot) == []


def test_a_sweep_finds_what_lost_its_job(run_jobs, sandbox, hubspot, portal_id):
    write_graph(portal_id, "ada@example.com")
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))

    push_service.sweep()
    run_jobs()

    assert differences(hubspot) == []


def test_a_sweep_finds_an_association_that_lost_its_job(send, run_jobs, hubspot, portal_id):
    write_graph(portal_id, "ada@example.com")
    send()
    with transaction() as session:
        session.execute(text("UPDATE associations SET state = 'pending'"))
        session.execute(text("DELETE FROM procrastinate_jobs"))

    push_service.sweep()
    run_jobs()

    assert states()["associations pending"] == 0


def test_a_sweep_enqueues_nothing_where_nothing_waits(send, portal_id):
    write_graph(portal_id, "ada@example.com")
    send()
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))

    push_service.sweep()

    assert jobs() == []


def test_a_sweep_leaves_a_portal_that_is_not_connected(change_settings, portal_id):
    change_settings(hubspot_private_app_token="")
    write_graph(portal_id, "ada@example.com")
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))

    push_service.sweep()

    assert jobs() == []


def test_changes_are_kept_while_there_is_no_portal(change_settings, send, hubspot, portal_id):
    change_settings(hubspot_private_app_token="")
    write_graph(portal_id, "ada@example.com")
    send()
    reason = portal().push_error

    change_settings(hubspot_private_app_token="pat-na1-sandbox")
    end_pause()
    send()

    assert "HUBSPOT_PRIVATE_APP_TOKEN" in reason
    assert differences(hubspot) == []


def test_a_worker_that_begins_checks_the_portal_again(set_up, portal_id):
    push_service.begin()

    assert portal().set_up_at is None
    assert [each.task_name for each in jobs()] == ["push"]
