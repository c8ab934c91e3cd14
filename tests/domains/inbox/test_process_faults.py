"""Whatever becomes of events, of HubSpot and of us, the mirror is right."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from crm import jobs
from crm.db import transaction
from crm.inbox import process
from crm.inbox.receive import TASK, store_events
from crm.mirror import rows as mirror_rows
from crm.object_types import CONTACTS
from crm.portals.property_schemas import list_mirrored
from crm.push.job import enqueue_push
from tests.domains import graphs
from tests.domains.inbox.test_privacy import everything
from tests.domains.webhook_listener import event, let_pauses_pass, outcomes
from tests.hubspot.relay import Answer
from tests.sandbox.client import OBJECTS

EMAIL = "ada@personal.example"
PAST, FUTURE = 1_000_000_000_000, 4_000_000_000_000


@pytest.fixture
def tell(portal_id):
    """Store events, and act on them."""

    def tell(*events):
        store_events(events)
        process.process(portal_id)

    return tell


@pytest.fixture
def contact(portal_id, send, set_up):
    """A contact that both sides have; its row."""
    row_id = graphs.write_contact(portal_id, "ada@example.com", phone="1")
    send()
    return graphs.row(row_id)


def rows(object_type="contacts"):
    statement = """
        SELECT hs_object_id, properties, archived_at IS NOT NULL AS is_archived, state
        FROM records WHERE object_type = :type ORDER BY id
    """
    with transaction() as session:
        return session.execute(text(statement), {"type": object_type}).all()


def changed(row, **changes):
    """That the phone of a contact was once changed."""
    told = event("contact.propertyChange", row.hs_object_id, propertyName="phone")
    return told | {"occurredAt": PAST} | changes


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["create", "update", "archive", "restore", "join", "part", "merge", "hear"]
        ),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    min_size=3,
    max_size=14,
)
EMPTY = """
    DELETE FROM record_aliases; DELETE FROM records; DELETE FROM inbox;
    DELETE FROM procrastinate_jobs; UPDATE portals SET set_up_at = NULL;
"""


class Story:
    """Things that people do in HubSpot with contacts and a deal, as far as they can be done."""

    def __init__(self, hubspot):
        self._hubspot = hubspot
        self._made = 0
        self.live, self.archived = [], []
        self.deal = hubspot.create("deals", dealname="Engine", dealstage="qualifiedtobuy")["id"]

    def take(self, step, one, other):
        at_hand = self.archived if step == "restore" else self.live
        if step == "create" or len(at_hand) > one:
            getattr(self, step)(at_hand[one] if at_hand[one:] else None, other)

    def create(self, *_):
        self._made += 1
        made = self._hubspot.create("contacts", email=f"p{self._made}@example.com", lastname="A")
        self.live.append(made["id"])

    def update(self, contact_id, number):
        self._hubspot.update("contacts", contact_id, phone=str(number), lastname="")

    def archive(self, contact_id, _):
        self._hubspot.archive("contacts", contact_id)
        self.live.remove(contact_id)
        self.archived.append(contact_id)

    def restore(self, contact_id, _):
        self._hubspot.restore("contacts", contact_id)
        self.archived.remove(contact_id)
        self.live.append(contact_id)

    def join(self, contact_id, _):
        assert self._hubspot.put(self._pair(contact_id, "default/")).status_code == 200

    def part(self, contact_id, _):
        assert self._hubspot.delete(self._pair(contact_id)).status_code == 204

    def merge(self, contact_id, other):
        others = [each for each in self.live if each != contact_id]
        if others[other:]:
            merged = self._hubspot.merge("contacts", contact_id, others[other])
            self.live.remove(contact_id)
            self.live.remove(others[other])
            self.live.append(merged["id"])

    def _pair(self, contact_id, default=""):
        return f"{OBJECTS}/contacts/{contact_id}/associations/{default}deals/{self.deal}"


def in_hubspot(hubspot, portal_id):
    names = list_mirrored(portal_id, CONTACTS)
    contacts = graphs.records_in(hubspot, "contacts", *names)
    return {each["id"]: given_of(each["properties"], names) for each in contacts}, [
        *graphs.pairs_in(hubspot, "contacts", "deals")
    ]


def in_mirror(portal_id):
    names = list_mirrored(portal_id, CONTACTS)
    contacts = {
        row.hs_object_id: given_of(row.properties, names) for row in rows() if not row.is_archived
    }
    with transaction() as session:
        found = sorted(tuple(each)[:2] for each in session.execute(text(graphs._PAIRS)))
    return contacts, [pair for pair in found if pair[0] in contacts]


def given_of(properties, names):
    return {name: properties[name] for name in names if properties.get(name)}


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, seed=st.integers(0, 1000))
def test_doubled_and_shuffled_events_leave_the_mirror_as_hubspot_is(
    ear, sandbox, hubspot, portal_id, steps, seed
):
    sandbox.reset()
    with transaction() as session:
        session.execute(text(EMPTY))
    sandbox.set_delivery(duplicates=0.3, reordering=0.7, delay_ms=2000, seed=seed)
    story = Story(hubspot)
    for step, one, other in steps:
        if step == "hear":
            # What is delayed is not delivered yet.
            process.process(portal_id)
        else:
            story.take(step, one, other)
    ear.listen_long()

    assert in_mirror(portal_id) == in_hubspot(hubspot, portal_id)
    assert None not in [outcome for _, outcome in outcomes()]


def test_events_that_come_a_day_late_change_nothing_that_is_newer(
    ear, contact, hubspot, sandbox, portal_id
):
    ear.hear()
    sandbox.set_delivery(delay=1.0, delay_ms=86_400_000)
    hubspot.update("contacts", contact.hs_object_id, phone="2")
    sandbox.set_delivery(delay=0.0)
    hubspot.update("contacts", contact.hs_object_id, phone="3")
    ear.hear()
    sandbox.clear_requests()

    ear.hear()

    assert graphs.row(contact.id).properties["phone"] == "3"
    assert outcomes()["contact.propertyChange", "read"] >= 1


def test_a_record_that_hubspot_does_not_show_at_once_is_found_a_moment_later(
    tell, hubspot, relay, set_up, portal_id
):
    made = hubspot.create("contacts", email=EMAIL)
    relay.handler = hide_everything
    tell(event("contact.creation", made["id"]))
    first = rows(), outcomes()
    let_pauses_pass()
    process.process(portal_id)
    relay.handler = lambda call: call.pass_on()
    let_pauses_pass()
    process.process(portal_id)

    assert first == ([], {("contact.creation", None): 1})
    assert [row.hs_object_id for row in rows()] == [made["id"]]
    assert outcomes() == {("contact.creation", "read"): 1}


def hide_everything(call):
    if call.is_for("batch/read"):
        ids = [each["id"] for each in call.body["inputs"]]
        error = {"status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": ids}}
        return Answer(207, {"status": "COMPLETE", "results": [], "errors": [error]})
    return Answer(404, {"status": "error", "message": "resource not found"})


def test_a_record_that_hubspot_never_shows_is_given_up_after_growing_pauses(
    tell, set_up, portal_id
):
    tell(event("contact.creation", "77"))
    pauses = []
    for _ in process.PAUSES:
        with transaction() as session:
            statement = "SELECT due_at - now(), outcome FROM inbox"
            pauses.append(session.execute(text(statement)).one())
        let_pauses_pass()
        process.process(portal_id)

    assert {outcome for _, outcome in pauses} == {None}
    waits = [round(pause / timedelta(seconds=1)) for pause, _ in pauses]
    assert waits == list(process.PAUSES)
    assert outcomes() == {("contact.creation", "given up"): 1}


def test_an_old_event_of_what_hubspot_does_not_have_is_given_up_at_once(tell, set_up):
    tell(event("contact.creation", "77", occurredAt=PAST))

    assert outcomes() == {("contact.creation", "given up"): 1}


def test_a_row_whose_record_hubspot_has_nowhere_is_archived_with_what_it_still_wanted(
    tell, contact, relay, portal_id
):
    with transaction():
        mirror_rows.write_contact(portal_id, {"email": "ada@example.com", "phone": "2"})
    relay.handler = hide_everything
    tell(event("contact.deletion", contact.hs_object_id))
    for _ in process.PAUSES:
        let_pauses_pass()
        process.process(portal_id)

    row = graphs.row(contact.id)
    assert row.archived_at is not None
    assert (row.state, row.unsent, row.drafts) == ("synced", [], {})
    with transaction() as session:
        statement = "SELECT reason FROM record_changes WHERE overruled_at IS NOT NULL"
        assert set(session.scalars(text(statement))) == {"gone from HubSpot"}


def test_an_answer_older_than_the_event_is_not_the_end_of_it(
    tell, contact, hubspot, relay, portal_id
):
    old = hubspot.post(
        f"{OBJECTS}/contacts/batch/read",
        {
            "inputs": [{"id": contact.hs_object_id}],
            "properties": list_mirrored(portal_id, CONTACTS),
        },
    ).json()
    hubspot.update("contacts", contact.hs_object_id, phone="2")
    relay.handler = lambda call: Answer(200, old) if call.is_for("batch/read") else call.pass_on()
    tell(changed(contact, propertyValue="2", occurredAt=FUTURE))
    stale = graphs.row(contact.id).properties["phone"], outcomes()
    relay.handler = lambda call: call.pass_on()
    let_pauses_pass()
    process.process(portal_id)

    assert stale == ("1", {("contact.propertyChange", None): 1})
    assert graphs.row(contact.id).properties["phone"] == "2"


def test_a_record_that_is_deleted_while_it_is_read_ends_up_archived(
    ear, contact, hubspot, relay, portal_id
):
    hubspot.update("contacts", contact.hs_object_id, phone="2")

    def delete_first(call):
        relay.handler = lambda call: call.pass_on()
        hubspot.archive("contacts", contact.hs_object_id)
        return call.pass_on()

    relay.handler = delete_first
    ear.hear()
    ear.hear()

    assert graphs.row(contact.id).archived_at is not None
    assert None not in [outcome for _, outcome in outcomes()]


def test_a_merge_in_the_middle_of_a_push_loses_nothing(
    ear, contact, hubspot, relay, portal_id, send
):
    other = hubspot.create("contacts", email="a@work.example")
    ear.hear()
    with transaction():
        mirror_rows.write_contact(portal_id, {"email": "ada@example.com", "phone": "2"})
        enqueue_push(portal_id)

    def merge_first(call):
        if call.is_for("contacts/batch/update"):
            relay.handler = lambda call: call.pass_on()
            hubspot.merge("contacts", contact.hs_object_id, other["id"])
        return call.pass_on()

    relay.handler = merge_first
    send()
    ear.listen_long()
    send()
    ear.listen_long()

    [survivor] = graphs.records_in(hubspot, "contacts", "phone")
    [row] = rows()
    assert (row.hs_object_id, row.state) == (survivor["id"], "synced")
    assert survivor["properties"]["phone"] == row.properties["phone"] == "2"


def test_a_crash_before_the_outcome_is_written_is_mended_by_doing_it_again(
    tell, contact, hubspot, portal_id
):
    hubspot.update("contacts", contact.hs_object_id, phone="2")
    store_events([changed(contact)])
    with transaction() as session:
        session.execute(text(REFUSE))
    try:
        with pytest.raises(DBAPIError):
            process.process(portal_id)
    finally:
        with transaction() as session:
            session.execute(text("DROP TRIGGER refuse ON inbox; DROP FUNCTION refuse()"))
    crashed = graphs.row(contact.id).properties["phone"], outcomes()
    process.process(portal_id)

    assert crashed == ("2", {("contact.propertyChange", None): 1})
    # What the crash left behind is known by now.
    assert outcomes() == {("contact.propertyChange", "known"): 1}


REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE 'no power'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON inbox FOR EACH ROW
    WHEN (NEW.outcome = 'read') EXECUTE FUNCTION refuse()
"""


def waiting():
    """The one job that waits: in how many seconds, and after how many failures."""
    [job] = [
        each
        for each in graphs.jobs("task_name", "status", "args", "scheduled_at - now()")
        if each.task_name == TASK
    ]
    return job[3] / timedelta(seconds=1), job.args.get("failures", 0)


def test_events_wait_with_growing_pauses_while_hubspot_is_down(
    contact, hubspot, sandbox, run_jobs, portal_id
):
    hubspot.update("contacts", contact.hs_object_id, phone="2")
    sandbox.stop()
    store_events([changed(contact)])
    run_jobs()
    first = waiting()
    let_pauses_pass()
    run_jobs()
    second = waiting()
    store_events([changed(contact)])
    process.sweep()
    kept = waiting()
    sandbox.start()
    let_pauses_pass()
    run_jobs()

    assert (first[1], second[1], kept[1]) == (1, 2, 2)
    assert 0 < first[0] <= 1 < 2 * second[0] <= 4
    assert outcomes() == {("contact.propertyChange", "read"): 2}
    assert graphs.row(contact.id).properties["phone"] == "2"


def test_the_pauses_of_the_inbox_never_grow_beyond_a_minute(contact, sandbox, portal_id):
    sandbox.stop()
    store_events([changed(contact)])
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))

    process.process(portal_id, failures=1000)

    assert 29 < waiting()[0] <= 60


def test_a_token_that_is_revoked_half_way_stops_it_until_the_portal_is_connected_again(
    contact, hubspot, relay, run_jobs, portal_id, caplog
):
    deal = hubspot.create("deals", dealname="Engine", dealstage="qualifiedtobuy")
    hubspot.update("contacts", contact.hs_object_id, phone="2")

    def refuse_deals(call):
        if call.is_for("deals/batch/read"):
            message = "This account isn't authorized"
            body = {"status": "error", "message": message, "category": "INVALID_AUTHENTICATION"}
            return Answer(401, body)
        return call.pass_on()

    relay.handler = refuse_deals
    store_events([changed(contact), event("deal.creation", deal["id"])])
    run_jobs()
    revoked = outcomes()
    relay.handler = lambda call: call.pass_on()
    let_pauses_pass()
    run_jobs()

    assert revoked == {("contact.propertyChange", None): 1, ("deal.creation", None): 1}
    assert "This account isn't authorized" in caplog.text
    assert graphs.row(contact.id).properties["phone"] == "2"
    assert [row.hs_object_id for row in rows("deals")] == [deal["id"]]


def test_a_type_that_the_token_may_not_read_does_not_hold_up_the_others(
    contact, hubspot, relay, tell, portal_id
):
    hubspot.update("contacts", contact.hs_object_id, phone="2")

    def forbid_tickets(call):
        if "/tickets/" in call.path:
            return Answer(403, {"status": "error", "message": "no", "category": "MISSING_SCOPES"})
        return call.pass_on()

    relay.handler = forbid_tickets
    tell(event("ticket.creation", "77"), changed(contact))
    for _ in process.PAUSES:
        let_pauses_pass()
        process.process(portal_id)

    assert graphs.row(contact.id).properties["phone"] == "2"
    assert outcomes()["ticket.creation", "given up"] == 1


def test_a_portal_that_is_not_connected_keeps_its_events(contact, change_settings, portal_id):
    change_settings(hubspot_private_app_token="")
    store_events([changed(contact)])

    process.process(portal_id)

    assert outcomes() == {("contact.propertyChange", None): 1}


def test_a_token_of_another_portal_takes_nothing_in(contact, hubspot, portal_id):
    with transaction() as session:
        session.execute(text("UPDATE portals SET set_up_at = NULL, hub_id = 7"))
    hubspot.update("contacts", contact.hs_object_id, phone="2")
    store_events([changed(contact, portalId=7)])

    process.process(portal_id)

    assert graphs.row(contact.id).properties["phone"] == "1"
    assert outcomes() == {("contact.propertyChange", None): 1}


def gdpr_delete(hubspot, contact_id):
    answer = hubspot.post(f"{OBJECTS}/contacts/gdpr-delete", {"objectId": contact_id})
    assert answer.status_code == 204


def test_a_person_who_is_deleted_for_privacy_leaves_nothing_in_tables_or_events(ear, hubspot):
    contact_id = hubspot.create("contacts", email=EMAIL, lastname="Okoye")["id"]
    hubspot.update("contacts", contact_id, lastname="Okoye-Lovelace")
    ear.hear()
    before = everything()
    gdpr_delete(hubspot, contact_id)
    ear.hear()

    assert EMAIL in before
    assert "Okoye-Lovelace" in before
    assert EMAIL not in everything()
    assert "Okoye" not in everything()


@pytest.mark.parametrize("order", [1, -1])
def test_a_privacy_deletion_may_come_before_or_after_its_deletion(ear, hubspot, tell, order):
    contact_id = hubspot.create("contacts", email=EMAIL)["id"]
    ear.hear()
    gdpr_delete(hubspot, contact_id)

    for kind in ("contact.privacyDeletion", "contact.deletion")[::order]:
        tell(event(kind, contact_id))

    assert EMAIL not in everything()


def test_events_about_a_purged_person_keep_no_values(set_up, tell):
    tell(event("contact.privacyDeletion", "77"))
    for kind in ("contact.propertyChange", "object.propertyChange"):
        names = {"propertyName": "email", "propertyValue": EMAIL, "objectTypeId": "0-1"}
        tell(event(kind, "77", **names))
    tell(event("contact.creation", "77"))

    assert EMAIL not in everything()
    assert {outcome for _, outcome in outcomes()} == {"purged"}


def test_a_person_who_was_merged_into_a_purged_one_is_purged_too(ear, hubspot, tell):
    one = hubspot.create("contacts", email=EMAIL)["id"]
    other = hubspot.create("contacts", email="ada@work.example")["id"]
    ear.hear()
    # Both are told of only afterwards, and in the wrong order.
    merged = hubspot.merge("contacts", one, other)["id"]
    gdpr_delete(hubspot, merged)
    names = {"propertyName": "email", "propertyValue": EMAIL}
    tell(
        event("contact.privacyDeletion", merged),
        event(
            "contact.merge",
            merged,
            newObjectId=int(merged),
            primaryObjectId=int(one),
            mergedObjectIds=[int(other)],
        ),
        event("contact.propertyChange", one, **names),
    )
    tell(event("contact.propertyChange", other, **names))

    assert EMAIL not in everything()
    assert "ada@work.example" not in everything()


def test_many_deliveries_at_once_while_the_job_runs_are_all_acted_on(
    ear, contact, hubspot, portal_id
):
    for number in range(30):
        hubspot.update("contacts", contact.hs_object_id, phone=str(number))
        if number % 10 == 0:
            process.process(portal_id)
    ear.hear()

    assert graphs.row(contact.id).properties["phone"] == "29"
    assert None not in [outcome for _, outcome in outcomes()]


def test_a_long_inbox_is_gone_through_by_several_jobs(contact, hubspot, portal_id, monkeypatch):
    monkeypatch.setattr(process, "BATCH", 3)
    monkeypatch.setattr(jobs, "LONGEST_RUN", 0)
    ids = [hubspot.create("contacts", email=f"p{n}@example.com")["id"] for n in range(10)]
    store_events([event("contact.creation", each) for each in ids])
    process.process(portal_id)
    first = outcomes()
    following = graphs.jobs()
    for _ in range(3):
        process.process(portal_id)

    assert first["contact.creation", "read"] == 3
    assert (TASK, "todo") in [tuple(each) for each in following]
    assert outcomes() == {("contact.creation", "read"): 10}
