"""An address that one contact gives up while another takes it: two people stay two people."""

from contextlib import contextmanager

import pytest
from sqlalchemy import text

from crm.accounts import api_keys
from crm.db import transaction
from crm.object_types import COMPANIES, CONTACTS
from crm.portals.portals import connect
from crm.pull import runner
from crm.pull.apply import refresh
from crm.push import rejections
from tests.domains.graphs import differences, end_pause, portal, records_in, row, states
from tests.hubspot.relay import Call

pytestmark = pytest.mark.usefixtures("set_up")
OBJECTS = "/crm/objects/2026-09"
A, B, C, D = (f"{name}@example.com" for name in "abcd")
BATCHES = "contacts/batch/(update|upsert)"


class Story:
    """What applications and people do, and what HubSpot has in the end."""

    def __init__(self, client, sandbox, hubspot, send):
        self.key = {"X-API-Key": api_keys.create_key(name="a test", organization="Default")}
        self.client, self.sandbox, self.hubspot, self.send = client, sandbox, hubspot, send

    def call(self, method, path, body=None):
        return self.client.open(path, method=method, json=body, headers=self.key)

    def make(self, email, **properties):
        """Makes a contact on both sides; returns HubSpot's id."""
        answer = self.call("POST", "/contacts", {"email": email, **properties})
        assert answer.status_code == 201, answer.json
        return answer.json["hubspot_contact_id"]

    def post(self, email, **properties):
        return self.call("POST", "/contacts", {"email": email, **properties}).status_code

    def patch(self, record_id, **properties):
        return self.call("PATCH", f"/contacts/{record_id}", properties).status_code

    def down(self, match="", status=503):
        """HubSpot answers nothing, or not to what matches, until it is ``up``."""
        fault = {"kind": "status", "status": status, "match": match, "retry_after": 0}
        self.sandbox.set_faults([fault])

    def up(self, pushes=1):
        """HubSpot answers again, and everything is sent."""
        self.sandbox.set_faults([])
        for _ in range(pushes):
            end_pause()
            self.send()

    def push(self, times=1):
        for _ in range(times):
            end_pause()
            self.send()

    def touch(self, contact_id, **properties):
        """Somebody at HubSpot's screen, whom no fault meets, changes a contact."""
        with self._no_faults():
            path = f"{OBJECTS}/contacts/{contact_id}"
            assert self.hubspot.patch(path, {"properties": properties}).ok

    def make_there(self, **properties):
        """Somebody at HubSpot's screen makes a contact."""
        with self._no_faults():
            assert self.hubspot.post(f"{OBJECTS}/contacts", {"properties": properties}).ok

    def people(self):
        """First names in HubSpot by address."""
        found = records_in(self.hubspot, "contacts", "email", "firstname")
        named = {each["properties"]["email"]: each["properties"].get("firstname") for each in found}
        assert len(found) == len(named)
        return named

    def differences(self):
        return differences(self.hubspot)

    @contextmanager
    def _no_faults(self):
        faults = self.sandbox.sandbox.faults.describe()
        self.sandbox.set_faults([])
        yield
        for each in faults:
            del each["struck"]
        self.sandbox.set_faults(faults)


@pytest.fixture
def story(client, sandbox, hubspot, send):
    return Story(client, sandbox, hubspot, send)


def uuid_of(email):
    with transaction() as session:
        return str(
            session.scalar(text("SELECT uuid FROM records WHERE email = :email"), {"email": email})
        )


def run_incremental(*_):
    list(runner.follow("incremental"))


def run_reconcile(*_):
    list(runner.follow("reconcile"))


def run_backfill(*_):
    list(runner.follow("backfill"))


def read_by_id(portal_id, contact_id):
    refresh(connect(portal_id), portal_id, CONTACTS, [contact_id])


READINGS = [run_incremental, run_reconcile, run_backfill, read_by_id]


def test_a_registration_with_an_address_that_is_being_given_up_stays_a_person_of_its_own(
    story, register
):
    x = story.make(A, firstname="Xenia", phone="555")
    story.call(
        "POST",
        "/deals",
        {
            "external_id": "S",
            "dealname": "secret",
            "dealstage": "qualifiedtobuy",
            "pipeline": "default",
            "associations": {"contacts": [x]},
        },
    )
    story.down()
    assert story.patch(x, email=B) == 202
    person = register(A, firstname="Yuri")

    story.up()

    assert story.people() == {A: "Yuri", B: "Xenia"}
    me = person.get("/me").json["data"]
    assert me["contact"]["email"] == A
    assert me["contact"]["hs_object_id"] != x
    assert [each["dealname"] for each in me["contact"]["deals"]] == ["A new engine"]
    assert story.differences() == []


@pytest.mark.one_of_many
@pytest.mark.parametrize("read", READINGS)
@pytest.mark.parametrize("status", [423, 503])
def test_a_reading_of_the_record_meanwhile_does_not_make_one_person_of_two(
    story, portal_id, read, status
):
    x = story.make(A, firstname="Xenia")
    run_backfill()
    story.down(BATCHES, status)
    assert story.patch(x, email=B) == 202
    assert story.post(A, firstname="Yuri", phone="1") == 202
    story.touch(x, phone="777")

    read(portal_id, x)
    story.up()

    assert story.people() == {A: "Yuri", B: "Xenia"}
    assert story.differences() == []


def test_a_webhook_meanwhile_does_not_make_one_person_of_two(story, ear):
    x = story.make(A, firstname="Xenia")
    story.down(BATCHES, 423)
    assert story.patch(x, email=B) == 202
    assert story.post(A, firstname="Yuri") == 202
    story.touch(x, phone="777")

    ear.hear()
    story.up()

    assert story.people() == {A: "Yuri", B: "Xenia"}
    assert story.differences() == []


@pytest.mark.parametrize("first", ["upsert", "update"])
def test_the_new_contact_waits_as_long_as_the_change_of_address_fails(story, first):
    x = story.make(A, firstname="Xenia")
    story.down()
    assert story.patch(x, email=B) == 202
    assert story.post(A, firstname="Yuri") == 202
    story.down("contacts/batch/update", 423)

    story.push(2)
    halfway = story.people()
    again = (
        story.post(A, lastname="Late")
        if first == "upsert"
        else story.patch(uuid_of(A), lastname="Late")
    )
    still = story.people()
    story.up()

    assert halfway == still == {A: "Xenia"}
    assert again == 202
    assert story.people() == {A: "Yuri", B: "Xenia"}
    assert story.differences() == []


def test_a_batch_by_address_leaves_the_record_alone_that_still_has_it_there(story):
    x = story.make(A, firstname="Xenia")
    story.down("contacts/batch/update", 423)
    assert story.patch(x, email=B) == 202

    answer = story.call(
        "POST",
        "/contacts/batch",
        {
            "inputs": [
                {"email": A, "firstname": "Yuri"},
                {"email": B, "lastname": "Xu"},
                {"email": C},
            ]
        },
    )
    between = story.people()
    story.up()

    assert answer.status_code in (200, 207), answer.json
    assert between[A] == "Xenia"
    assert story.people() == {A: "Yuri", B: "Xenia", C: None}
    assert story.differences() == []


def test_a_customer_is_not_created_upon_the_record_that_still_has_the_address(story):
    x = story.make(A, firstname="Xenia")
    story.down("contacts/batch/update", 423)
    assert story.patch(x, email=B) == 202
    yuri = {"email": A, "firstname": "Yuri", "lastname": "Young"}

    answer = story.call("POST", "/customers", yuri)
    between = story.people()
    story.up()
    later = story.call("POST", "/customers", yuri)

    assert answer.status_code == 502, answer.json
    assert between == {A: "Xenia"}
    assert later.status_code == 201
    assert story.people() == {A: "Yuri", B: "Xenia"}


def test_a_customers_new_address_is_not_sent_before_the_other_has_given_it_up(story):
    x = story.make(A, firstname="Xenia")
    story.make(C, firstname="Yuri")
    story.down(f"contacts/{x}|contacts/batch/update", 423)
    assert story.patch(x, email=B) == 202
    story.down("nothing")

    answer = story.call("PUT", f"/customers/{C}", {"email": A})
    story.up()

    assert answer.status_code == 502, answer.json
    assert story.people() == {B: "Xenia", C: "Yuri"}
    assert story.differences() == []


def test_a_chain_of_addresses_arrives_in_its_order(story):
    x = story.make(A, firstname="Xenia")
    story.down()
    assert story.patch(x, email=B) == 202
    assert story.post(A, firstname="Yuri") == 202
    assert story.patch(uuid_of(A), email=C) == 202
    assert story.post(A, firstname="Zoe") == 202

    story.up()

    assert story.people() == {A: "Zoe", B: "Xenia", C: "Yuri"}
    assert story.differences() == []


def test_known_contacts_hand_on_their_addresses_whichever_is_older(story):
    one, two, three = (
        story.make(A, firstname="One"),
        story.make(B, firstname="Two"),
        story.make(C, firstname="Three"),
    )
    story.down()
    assert story.patch(three, email=D) == 202
    assert story.patch(two, email=C) == 202
    assert story.patch(one, email=B) == 202

    story.up()

    assert story.people() == {B: "One", C: "Two", D: "Three"}
    assert story.differences() == []


def test_a_reading_of_the_one_does_not_take_the_address_from_the_other(story, portal_id):
    one, two = story.make(A, firstname="One"), story.make(B, firstname="Two")
    story.down(BATCHES, 423)
    assert story.patch(two, email=C) == 202
    assert story.patch(one, email=B) == 202
    story.touch(two, phone="777")

    read_by_id(portal_id, two)
    story.up()

    assert story.people() == {B: "One", C: "Two"}
    assert story.differences() == []


def test_a_lost_answer_to_the_change_of_address_loses_and_doubles_nobody(story):
    x = story.make(A, firstname="Xenia")
    story.down()
    assert story.patch(x, email=B) == 202
    assert story.post(A, firstname="Yuri") == 202
    story.sandbox.set_faults(
        [
            {"kind": "reset_after", "match": f"POST .*{each}", "count": 4}
            for each in ("contacts/batch/update", "contacts/batch/upsert")
        ]
    )
    story.push(3)

    story.up()

    assert story.people() == {A: "Yuri", B: "Xenia"}
    assert story.differences() == []


@pytest.mark.parametrize("read", [None, run_incremental, run_backfill])
def test_a_new_contact_whose_answer_was_lost_is_found_again_after_its_address_changed(
    story, portal_id, read
):
    story.down()
    assert story.post(A, firstname="Yuri") == 202
    story.sandbox.set_faults([{"kind": "reset_after", "match": "contacts/batch/upsert"}])
    story.push()
    story.down()
    assert story.patch(uuid_of(A), email=C) == 202
    assert story.post(A, firstname="Zoe") == 202
    if read:
        story.sandbox.set_faults([])
        read()

    story.up()

    assert story.people() == {A: "Zoe", C: "Yuri"}
    assert story.differences() == []


def test_a_registration_does_not_land_on_the_contact_that_is_being_archived(story, register):
    x = story.make(A, firstname="Xenia", phone="555")
    story.down("contacts/batch/archive")
    assert story.call("DELETE", f"/contacts/{x}").status_code in (200, 202)
    person = register(A, firstname="Yuri")
    story.touch(x, phone="777")
    read_by_id(portal_id=portal().id, contact_id=x)

    story.up()

    assert story.people() == {A: "Yuri"}
    assert person.get("/me").json["data"]["contact"]["hs_object_id"] != x
    assert story.differences() == []


def test_an_upsert_does_not_land_on_the_contact_that_is_being_archived(story):
    x = story.make(A, firstname="Xenia")
    story.down("contacts/batch/(archive|update)", 423)
    assert story.patch(x, email=B) == 202
    assert story.call("DELETE", f"/contacts/{x}").status_code in (200, 202)

    assert story.post(A, firstname="Yuri") == 202
    between = story.people()
    story.up()

    assert between == {A: "Xenia"}
    assert story.people() == {A: "Yuri"}
    assert story.differences() == []


def test_a_contact_whose_address_the_other_keeps_after_a_refusal_is_rejected_with_the_reason(
    story, portal_id
):
    x = story.make(A, firstname="Xenia")
    story.down()
    assert story.patch(x, email=B) == 202
    assert story.post(A, firstname="Yuri") == 202
    story.make_there(email=B, firstname="Bob")

    story.up()

    assert story.people() == {A: "Xenia", B: "Bob"}
    refused = {each.properties["email"]: each.rejection for each in rejected()}
    assert refused[A]["message"] == f"Contact already exists. Existing ID: {x}"
    assert refused[B]["category"] == "CONFLICT"
    assert story.post(A, firstname="Yuri") == 409
    assert story.people() == {A: "Xenia", B: "Bob"}


def rejected():
    with transaction() as session:
        ids = session.scalars(text("SELECT id FROM records WHERE state = 'rejected'")).all()
    return [row(each) for each in ids]


def test_both_contacts_arrive_once_the_refused_change_of_address_was_corrected(story, portal_id):
    x = story.make(A, firstname="Xenia")
    story.down()
    assert story.patch(x, email=B) == 202
    assert story.post(A, firstname="Yuri") == 202
    story.make_there(email=B, firstname="Bob")
    story.up()
    [one] = [each for each in rejected() if each.hs_object_id]
    rejections.correct(portal_id, str(one.uuid), {"email": C})
    rejections.resend(portal_id)

    story.up()

    assert story.people() == {A: "Yuri", B: "Bob", C: "Xenia"}


def test_two_contacts_that_swap_their_addresses_both_arrive(story):
    x, y = story.make(A, firstname="Xenia"), story.make(B, firstname="Yuri")
    story.down()
    assert story.patch(x, email=C) == 202
    assert story.patch(y, email=A) == 202
    assert story.patch(x, email=B) == 202

    story.up(2)

    assert story.people() == {A: "Yuri", B: "Xenia"}
    assert story.differences() == []


@pytest.mark.parametrize("kind", ["reset_after", "status"])
def test_a_swap_whose_answers_are_lost_loses_no_address(story, kind):
    x, y = story.make(A, firstname="Xenia"), story.make(B, firstname="Yuri")
    story.down()
    assert story.patch(x, email=C) == 202
    assert story.patch(y, email=A) == 202
    assert story.patch(x, email=B) == 202
    # Often enough that each push is given up.
    fault = {"kind": kind, "match": "contacts/batch/update", "count": 8}
    story.sandbox.set_faults([fault])
    story.push(3)

    story.up(2)

    assert story.people() == {A: "Yuri", B: "Xenia"}
    assert story.differences() == []


def test_three_contacts_that_pass_their_addresses_around_all_arrive(story):
    one, two = story.make(A, firstname="One"), story.make(B, firstname="Two")
    three = story.make(C, firstname="Three")
    story.down()
    assert story.patch(one, email=D) == 202
    assert story.patch(three, email=A) == 202
    assert story.patch(two, email=C) == 202
    assert story.patch(one, email=B) == 202

    story.up()

    assert story.people() == {A: "Three", B: "One", C: "Two"}
    assert story.differences() == []


def test_new_contacts_that_swap_their_addresses_before_they_are_sent_both_arrive(story):
    story.down()
    assert story.post(A, firstname="Xenia") == story.post(B, firstname="Yuri") == 202
    x, y = uuid_of(A), uuid_of(B)
    assert story.patch(x, email=C) == 202
    assert story.patch(y, email=A) == 202
    assert story.patch(x, email=B) == 202

    story.up()

    assert story.people() == {A: "Yuri", B: "Xenia"}
    assert story.differences() == []


def test_a_person_who_gives_the_record_another_address_wins_and_nobody_is_mixed_up(story):
    x = story.make(A, firstname="Xenia")
    story.down()
    assert story.patch(x, email=B) == 202
    assert story.post(A, firstname="Yuri") == 202
    story.touch(x, email=D)

    story.up()

    assert story.people() == {A: "Yuri", D: "Xenia"}
    assert story.differences() == []


def test_a_contact_whose_address_a_person_gives_to_a_known_one_is_that_one(story):
    """HubSpot wins: nothing of the row's address waits any more, so the two are one record."""
    x = story.make(A, firstname="Xenia")
    story.down()
    assert story.patch(x, email=B) == 202
    assert story.post(D, firstname="Dora") == 202
    story.touch(x, email=D)

    story.up(2)

    assert story.people() == {D: "Dora"}
    assert story.differences() == []


def test_an_answer_that_still_has_the_old_address_is_taken_though_another_has_it_here(story, relay):
    """The address was changed and taken by another while a change of the phone was under way."""
    x = story.make(A, firstname="Xenia")
    done = []

    def handler(asked):
        if "batch/update" in asked.path and not done:
            done.append(1)
            with transaction() as session:
                session.execute(text(CHANGED_MEANWHILE), {"b": B})
                session.execute(text(TAKEN_MEANWHILE), {"a": A})
        return asked.pass_on()

    relay.handler = handler

    assert story.patch(x, phone="1") in (200, 202)

    relay.handler = Call.pass_on
    assert states()["contacts rejected"] == 0


CHANGED_MEANWHILE = """
    UPDATE records SET properties = properties || jsonb_build_object('email', CAST(:b AS text)),
        unsent = unsent || ARRAY['email'], revision = revision + 1,
        drafts = drafts || jsonb_build_object('email', jsonb_build_object(
            'at', now(), 'over', properties -> 'email'))
"""
TAKEN_MEANWHILE = """
    INSERT INTO records (portal_id, object_type, properties, unsent)
    SELECT id, 'contacts', jsonb_build_object('email', CAST(:a AS text)), ARRAY['email']
    FROM portals
"""


def test_a_company_whose_domain_another_takes_stays_a_company_of_its_own(story, portal_id):
    answer = story.call("POST", "/companies", {"domain": "a.example", "name": "One"})
    one = answer.json["hubspot_company_id"]
    story.down()
    assert story.call("PATCH", f"/companies/{one}", {"domain": "b.example"}).status_code == 202
    two = story.call("POST", "/companies", {"domain": "a.example", "name": "Two"})
    assert two.status_code == 202

    story.down("companies/batch/up", 423)
    refresh(connect(portal_id), portal_id, COMPANIES, [one])
    story.up()

    found = records_in(story.hubspot, "companies", "domain", "name")
    names = {each["properties"]["domain"]: each["properties"]["name"] for each in found}
    assert names == {"a.example": "Two", "b.example": "One"}
