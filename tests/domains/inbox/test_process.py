"""The inbox: what HubSpot tells is looked up there and stands here, in whatever order it came."""

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.inbox import process
from crm.inbox.receive import TASK, store_events, unpack
from crm.mirror import rows
from crm.push.job import enqueue_push
from hubspot_sandbox import DEFAULT_PORTAL_ID
from tests.domains import graphs
from tests.domains.webhook_listener import event, let_pauses_pass, outcomes
from tests.sandbox.client import OBJECTS

PAST, FUTURE = 1_000_000_000_000, 4_000_000_000_000


@pytest.fixture
def contact(portal_id, send, set_up, sandbox):
    """A contact that both sides have; its row."""
    row_id = graphs.write_contact(portal_id, "ada@example.com", phone="1")
    send()
    sandbox.clear_requests()
    return graphs.row(row_id)


@pytest.fixture
def tell(portal_id):
    """Store events, and act on them."""

    def tell(*events):
        store_events(events)
        process.process(portal_id)

    return tell


def find(hs_object_id):
    statement = "SELECT id FROM records WHERE hs_object_id = :id"
    with transaction() as session:
        row_id = session.scalar(text(statement), {"id": str(hs_object_id)})
    return row_id and graphs.row(row_id)


def pairs():
    statement = """
        SELECT a.hs_object_id, b.hs_object_id FROM associations
        JOIN records a ON a.id = from_id JOIN records b ON b.id = to_id ORDER BY 1, 2
    """
    with transaction() as session:
        return [tuple(row) for row in session.execute(text(statement))]


def as_person(hubspot, path, **properties):
    url = f"/_sandbox/portals/{DEFAULT_PORTAL_ID}/objects/{path}"
    answer = hubspot.patch(url, {"properties": properties})
    assert answer.status_code == 200, answer.text


def test_a_value_that_a_person_changes_in_hubspot_is_changed_here(ear, contact, hubspot):
    as_person(hubspot, f"contacts/{contact.hs_object_id}", firstname="Augusta")

    ear.hear()

    assert graphs.row(contact.id).properties["firstname"] == "Augusta"
    assert outcomes()["contact.propertyChange", "read"] == 1


def test_a_record_that_is_created_in_hubspot_is_here(ear, hubspot):
    deal = hubspot.create("deals", dealname="An engine", dealstage="qualifiedtobuy")

    ear.hear()

    assert find(deal["id"]).properties["dealname"] == "An engine"


def test_a_record_that_is_deleted_in_hubspot_is_archived_here_until_it_is_restored(
    ear, contact, hubspot
):
    hubspot.archive("contacts", contact.hs_object_id)
    ear.hear()
    archived_at = graphs.row(contact.id).archived_at
    hubspot.restore("contacts", contact.hs_object_id)
    ear.hear()

    assert archived_at is not None
    assert graphs.row(contact.id).archived_at is None


def test_two_records_that_are_joined_and_parted_in_hubspot_are_so_here(ear, contact, hubspot):
    company = hubspot.create("companies", name="Engines Ltd")
    pair = (contact.hs_object_id, company["id"])
    base = f"{OBJECTS}/contacts/{contact.hs_object_id}/associations"
    assert hubspot.put(f"{base}/default/companies/{company['id']}").status_code == 200
    ear.hear()
    joined = pairs()
    assert hubspot.delete(f"{base}/companies/{company['id']}").status_code == 204
    ear.hear()

    assert (joined, pairs()) == ([pair], [])


def test_a_merge_in_hubspot_makes_one_row_that_all_ids_lead_to(ear, contact, hubspot, portal_id):
    other = hubspot.create("contacts", email="a@work.example", phone="2")
    ear.hear()
    deal = hubspot.create("deals", dealname="An engine", dealstage="qualifiedtobuy")
    path = f"{OBJECTS}/contacts/{other['id']}/associations/default/deals/{deal['id']}"
    assert hubspot.put(path).status_code == 200
    merged = hubspot.merge("contacts", contact.hs_object_id, other["id"])
    ear.hear()

    assert find(merged["id"]).id == contact.id
    assert find(other["id"]) is None
    assert pairs() == [(merged["id"], deal["id"])]


def test_events_of_the_generic_form_are_understood(contact, hubspot, tell):
    company = hubspot.create("companies", name="Engines Ltd")
    path = f"{OBJECTS}/companies/{company['id']}/associations/default/contacts"
    assert hubspot.put(f"{path}/{contact.hs_object_id}").status_code == 200
    hubspot.update("contacts", contact.hs_object_id, firstname="Augusta")

    tell(
        event("object.creation", company["id"], objectTypeId="0-2"),
        event(
            "object.propertyChange",
            contact.hs_object_id,
            objectTypeId="0-1",
            propertyName="firstname",
            propertyValue="Augusta",
        ),
        event(
            "object.associationChange",
            contact.hs_object_id,
            fromObjectTypeId="0-2",
            toObjectTypeId="0-1",
            fromObjectId=int(company["id"]),
            toObjectId=int(contact.hs_object_id),
            associationTypeId=280,
            associationCategory="HUBSPOT_DEFINED",
            associationRemoved=False,
        ),
    )

    assert graphs.row(contact.id).properties["firstname"] == "Augusta"
    assert pairs() == [(contact.hs_object_id, company["id"])]


OF_NOTHING_HERE = {
    "another kind": {"subscriptionType": "conversation.newMessage"},
    "another type": {"subscriptionType": "product.creation"},
    "another generic type": {"subscriptionType": "object.creation", "objectTypeId": "2-77"},
    "no kind": {"subscriptionType": None},
    "a number": {"subscriptionType": 7},
    "no record": {"objectId": None},
    "no number": {"objectId": "1; DROP TABLE"},
    "many numbers": {"objectId": [1]},
    "unmirrored": {"subscriptionType": "contact.propertyChange", "propertyName": "hs_color"},
    "a pair that is not mirrored": {
        "subscriptionType": "contact.associationChange",
        "associationType": "CONTACT_TO_LINE_ITEM",
        "fromObjectId": 1,
        "toObjectId": 2,
    },
    "a merge of nothing": {"subscriptionType": "contact.merge", "mergedObjectIds": 7},
}


@pytest.mark.parametrize("changes", OF_NOTHING_HERE.values(), ids=OF_NOTHING_HERE)
def test_an_event_about_nothing_here_is_ignored_without_a_request(changes, sandbox, set_up, tell):
    tell(event("contact.creation", "77") | changes)

    assert [outcome for _, outcome in outcomes()] == ["ignored"]
    assert sandbox.requests()["total"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"subscriptionType": "contact.creation"},
        {"subscriptionType": "contact.restore"},
        {"propertyName": "phone", "propertyValue": "1", "occurredAt": PAST},
        {"propertyName": "email", "propertyValue": "ada@example.com", "occurredAt": PAST},
        {"propertyName": "company", "propertyValue": "", "occurredAt": PAST},
        {"propertyName": "company", "propertyValue": None, "occurredAt": PAST},
    ],
)
def test_an_event_that_is_already_known_costs_no_request(changes, contact, sandbox, tell):
    tell(event("contact.propertyChange", contact.hs_object_id) | changes)

    assert [outcome for _, outcome in outcomes()] == ["known"]
    assert sandbox.requests()["total"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"propertyName": "phone", "propertyValue": "2", "occurredAt": PAST},
        {"propertyName": "phone", "propertyValue": "1", "occurredAt": FUTURE},
        {"propertyName": "phone", "propertyValue": "REDACTED", "occurredAt": PAST},
        {"propertyName": "phone", "propertyValue": "1", "isSensitive": True, "occurredAt": PAST},
        {"propertyName": "phone", "occurredAt": PAST},
        {"subscriptionType": "contact.deletion"},
    ],
)
def test_an_event_that_may_be_news_is_read(changes, contact, sandbox, tell):
    tell(event("contact.propertyChange", contact.hs_object_id) | changes)

    assert sandbox.requests()["total"] > 0


def test_an_event_from_before_the_last_reading_costs_no_request(contact, hubspot, sandbox, tell):
    hubspot.update("contacts", contact.hs_object_id, phone="2")
    told = {"propertyName": "phone", "propertyValue": "3"}
    tell(event("contact.propertyChange", contact.hs_object_id, **told, occurredAt=FUTURE))
    sandbox.clear_requests()

    tell(event("contact.propertyChange", contact.hs_object_id, **told, occurredAt=PAST))
    tell(event("contact.deletion", contact.hs_object_id, occurredAt=PAST))

    assert sandbox.requests()["total"] == 0


def test_hundreds_of_events_cost_a_request_a_hundred_records(hubspot, sandbox, set_up, tell):
    inputs = [{"properties": {"email": f"p{n}@example.com"}} for n in range(100)]
    made = hubspot.batch("contacts", "create", *inputs).json()["results"]
    sandbox.clear_requests()

    tell(*(event("contact.creation", each["id"]) for each in made for _ in range(3)))

    assert sandbox.requests()["total"] == 1
    assert graphs.states()["contacts synced"] == 100


def test_a_value_that_waits_here_for_its_answer_is_waited_for_too(contact, sandbox, tell, send):
    with transaction():
        rows.write_contact(contact.portal_id, {"email": "ada@example.com", "phone": "2"})
        enqueue_push(contact.portal_id)
    told = {"propertyName": "phone", "propertyValue": "2", "occurredAt": PAST}
    tell(event("contact.propertyChange", contact.hs_object_id, **told))
    before = sandbox.requests()["total"], outcomes()
    send()
    sandbox.clear_requests()
    let_pauses_pass()
    process.process(contact.portal_id)

    assert before == (0, {("contact.propertyChange", None): 1})
    assert (sandbox.requests()["total"], outcomes()) == (
        0,
        {("contact.propertyChange", "known"): 1},
    )


def test_an_event_of_a_portal_that_is_not_ours_is_kept_and_ignored(set_up, tell):
    tell(event("contact.creation", "77", portalId=7))

    assert outcomes() == {("contact.creation", "ignored"): 1}
    assert [each for each in graphs.jobs() if each.task_name == TASK] == []


def test_an_event_that_comes_before_the_portal_is_known_is_looked_at_later(
    portal_id, hubspot, send, run_jobs
):
    made = hubspot.create("contacts", email="grace@example.com")
    store_events([event("contact.creation", made["id"]), event("deal.creation", "1", portalId=7)])
    process.sweep()
    before = outcomes()

    send()
    process.sweep()
    run_jobs()

    assert before == {("contact.creation", None): 1, ("deal.creation", None): 1}
    assert find(made["id"]) is not None
    assert outcomes()["deal.creation", "ignored"] == 1


def test_an_event_without_a_time_or_with_an_absurd_one_is_read(contact, hubspot, tell):
    hubspot.update("contacts", contact.hs_object_id, phone="2")
    for occurred_at in (None, "yesterday", -(2**62), 2**62):
        told = {"propertyName": "phone", "propertyValue": "2", "occurredAt": occurred_at}
        tell(event("contact.propertyChange", contact.hs_object_id, **told))

    assert graphs.row(contact.id).properties["phone"] == "2"
    assert None not in [outcome for _, outcome in outcomes()]


def test_the_job_of_a_delivery_waits_once_and_does_it(contact, hubspot, run_jobs):
    hubspot.update("contacts", contact.hs_object_id, phone="2")
    for _ in range(3):
        store_events([event("contact.propertyChange", contact.hs_object_id, propertyName="phone")])
    waiting = [each for each in graphs.jobs() if each.task_name == TASK]
    run_jobs()

    assert len(waiting) == 1
    assert graphs.row(contact.id).properties["phone"] == "2"


def test_the_sweep_finds_events_whose_job_was_lost(contact, hubspot, run_jobs):
    hubspot.update("contacts", contact.hs_object_id, phone="2")
    store_events([event("contact.propertyChange", contact.hs_object_id, propertyName="phone")])
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))

    process.sweep()
    run_jobs()

    assert graphs.row(contact.id).properties["phone"] == "2"


def test_events_are_kept_for_a_month_after_they_were_processed(set_up, tell):
    tell(*(event("product.creation", each) for each in "123"))
    store_events([event("product.creation", "4")])
    with transaction() as session:
        session.execute(
            text(
                "UPDATE inbox SET processed_at = processed_at - CAST(:past AS interval)"
                " WHERE payload ->> 'objectId' = :id"
            ),
            [{"past": "31 days", "id": "1"}, {"past": "29 days", "id": "2"}],
        )

    unpack()
    process.forget_processed()

    with transaction() as session:
        left = session.scalars(text("SELECT payload ->> 'objectId' FROM inbox ORDER BY 1")).all()
    assert left == ["2", "3", "4"]
