"""What HubSpot refuses is rejected with its words, and holds up nothing else."""

import pytest
from sqlalchemy import text

from crm.db import transaction
from tests.domains.graphs import (
    differences,
    end_pause,
    pairs_in,
    portal,
    records_in,
    row,
    states,
    write_contact,
    write_graph,
)
from tests.hubspot.relay import Answer, Call


def without_traces(call):
    """As if HubSpot did not know 207: one bad input fails the batch."""
    for each in (call.body or {}).get("inputs", []):
        each.pop("objectWriteTraceId", None)
    return call.pass_on()


def rejected():
    with transaction() as session:
        found = session.execute(
            text("SELECT id, rejection FROM records WHERE state = 'rejected' ORDER BY id")
        )
        return dict(tuple(each) for each in found)


def test_a_bad_row_is_rejected_with_hubspots_words_while_the_others_pass(send, hubspot, portal_id):
    for number in range(100):
        category = "NO_SUCH" if number == 41 else "PRODUCT_ISSUE"
        ticket = {"hs_ticket_category": category}
        write_graph(portal_id, f"person{number}@example.com", ticket=ticket)

    send()

    [rejection] = rejected().values()
    assert states() == {
        "contacts synced": 100,
        "deals synced": 100,
        "tickets synced": 99,
        "tickets rejected": 1,
        "associations synced": 199,
        "associations pending": 1,
    }
    assert rejection["category"] == "VALIDATION_ERROR"
    assert "NO_SUCH was not one of the allowed options" in rejection["errors"]["hs_ticket_category"]
    assert len(records_in(hubspot, "tickets")) == 99


@pytest.mark.parametrize(
    "culprits", [{0}, {39}, {7, 8, 31}, set(range(40))], ids=["first", "last", "some", "all"]
)
def test_a_batch_that_is_refused_whole_is_halved_down_to_the_culprits(
    send, relay, hubspot, portal_id, culprits
):
    relay.handler = without_traces
    ids = [
        write_contact(
            portal_id,
            f"person{number}@example.com",
            lifecyclestage="king" if number in culprits else "lead",
        )
        for number in range(40)
    ]

    send()

    assert set(rejected()) == {ids[number] for number in culprits}
    assert all("lifecyclestage" in each["errors"] for each in rejected().values())
    assert len(records_in(hubspot, "contacts")) == 40 - len(culprits)


def test_a_batch_by_crm_uid_that_is_refused_whole_is_halved_down_to_the_culprits(
    set_up, send, relay, hubspot, portal_id
):
    relay.handler = without_traces
    for number in range(10):
        ticket = {"hs_pipeline_stage": "99" if number == 4 else "1"}
        write_graph(portal_id, f"person{number}@example.com", ticket=ticket)

    send()

    [rejection] = rejected().values()
    assert "99 is not a valid pipeline stage ID" in rejection["message"]
    assert len(records_in(hubspot, "tickets")) == 9


def test_a_row_that_hubspot_keeps_silent_about_is_sent_again_in_halves(
    send, relay, hubspot, portal_id
):
    def forgetful(call):
        answer = call.pass_on()
        if call.is_for("/batch/upsert") and len(answer.body["results"]) > 2:
            answer.body["results"] = answer.body["results"][:2]
        return answer

    relay.handler = forgetful
    for number in range(9):
        write_graph(portal_id, f"person{number}@example.com")

    send()

    assert differences(hubspot) == []


def test_a_row_of_which_hubspot_never_says_anything_is_rejected(send, relay, portal_id):
    def forgetful(call):
        answer = call.pass_on()
        if call.is_for("/contacts/batch/upsert"):
            answer.body["results"] = []
        return answer

    relay.handler = forgetful
    contact_id = write_contact(portal_id, "ada@example.com")

    send()

    assert row(contact_id).state == "rejected"
    assert "said nothing" in row(contact_id).rejection["message"]


def test_an_error_that_names_nobody_reaches_its_row_in_the_end(send, relay, hubspot, portal_id):
    def anonymous(call):
        answer = call.pass_on()
        for each in (answer.body or {}).get("errors", []):
            each.pop("context", None)
        return answer

    relay.handler = anonymous
    good = write_contact(portal_id, "ada@example.com")
    bad = write_contact(portal_id, "bob@example.com", lifecyclestage="king")

    send()

    assert row(good).state == "synced"
    assert "lifecyclestage" in row(bad).rejection["errors"]


def test_a_rejected_row_is_not_sent_again_by_itself(send, sandbox, portal_id):
    write_contact(portal_id, "ada@example.com", lifecyclestage="king")
    send()
    sandbox.clear_requests()

    send()

    assert sandbox.requests()["total"] == 0


def test_an_association_of_a_rejected_contact_waits_until_it_is_corrected(
    send, run_jobs, hubspot, portal_id
):
    contact_id = write_graph(portal_id, "ada@example.com", contact={"lifecyclestage": "king"})
    send()
    between = states()

    write_contact(portal_id, "ada@example.com", lifecyclestage="lead")
    run_jobs()

    assert between == {
        "contacts rejected": 1,
        "deals synced": 1,
        "tickets synced": 1,
        "associations pending": 1,
        "associations synced": 1,
    }
    assert row(contact_id).rejection is None
    assert len(pairs_in(hubspot, "contacts", "deals")) == 1
    assert differences(hubspot) == []


def test_an_association_that_hubspot_refuses_is_rejected_alone(send, relay, hubspot, portal_id):
    for number in range(5):
        write_graph(portal_id, f"person{number}@example.com")

    def without_the_third(call):
        if call.is_for("/contacts/deals/batch/create"):
            gone = records_in(hubspot, "contacts")[2]["id"]
            hubspot.delete(f"/crm/objects/2026-09/contacts/{gone}")
        return call.pass_on()

    relay.handler = without_the_third
    send()

    with transaction() as session:
        rejection = session.scalar(
            text("SELECT rejection FROM associations WHERE state = 'rejected'")
        )
    assert states()["associations rejected"] >= 1
    assert len(pairs_in(hubspot, "deals", "tickets")) == 5
    assert rejection["message"]


def test_a_record_that_was_archived_in_hubspot_meanwhile_is_archived_here_and_not_sent(
    send, hubspot, portal_id
):
    contact_id = write_contact(portal_id, "ada@example.com")
    other_id = write_contact(portal_id, "bob@example.com")
    send()
    hubspot.archive("contacts", row(contact_id).hs_object_id)
    for email in ("ada@example.com", "bob@example.com"):
        write_contact(portal_id, email, phone="2")

    send()

    assert (row(contact_id).state, row(contact_id).unsent) == ("synced", [])
    assert row(contact_id).archived_at
    assert row(other_id).state == "synced"


def test_a_known_record_that_is_gone_from_hubspot_for_good_is_rejected(send, hubspot, portal_id):
    contact_id = write_contact(portal_id, "ada@example.com")
    other_id = write_contact(portal_id, "bob@example.com")
    send()
    purge = {"objectId": row(contact_id).hs_object_id}
    assert hubspot.post("/crm/objects/2026-09/contacts/gdpr-delete", purge).status_code == 204
    for email in ("ada@example.com", "bob@example.com"):
        write_contact(portal_id, email, phone="2")

    send()

    assert row(contact_id).state == "rejected"
    assert row(contact_id).rejection["category"] == "OBJECT_NOT_FOUND"
    assert row(other_id).state == "synced"


@pytest.mark.parametrize("category", ["RATE_LIMITS", "INTERNAL_ERROR"])
def test_a_row_that_fails_through_no_fault_of_its_own_stays_pending(
    send, relay, hubspot, portal_id, category
):
    def overloaded(call):
        answer = call.pass_on()
        if call.is_for("/contacts/batch/upsert"):
            [*_, last] = answer.body["results"]
            answer.body["results"].remove(last)
            context = {"objectWriteTraceId": [last["objectWriteTraceId"]]}
            error = {"category": category, "message": "too busy", "context": context}
            return Answer(207, answer.body | {"errors": [error]})
        return answer

    relay.handler = overloaded
    for number in range(3):
        write_contact(portal_id, f"person{number}@example.com")

    send()

    assert states() == {"contacts synced": 2, "contacts pending": 1}
    assert portal().push_error == "too busy"

    relay.handler = Call.pass_on
    end_pause()
    send()

    assert differences(hubspot) == []


def test_an_association_that_fails_through_no_fault_of_its_own_stays_pending(
    send, relay, hubspot, portal_id
):
    write_graph(portal_id, "ada@example.com")

    def overloaded(call):
        if call.is_for("/contacts/deals/batch/create"):
            errors = [{"category": "RATE_LIMITS", "message": "too busy"}]
            return Answer(207, {"results": [], "errors": errors})
        return call.pass_on()

    relay.handler = overloaded
    send()

    assert states()["associations rejected"] == 0
    assert portal().push_error == "too busy"
