"""Customers are written on both sides or on neither."""

import pytest
from sqlalchemy import text

from crm.db import transaction
from tests.api.conftest import count_rows
from tests.sandbox.client import HubSpot

pytestmark = pytest.mark.usefixtures("set_up")
ADA = {
    "email": "ada@example.com",
    "firstname": "Ada",
    "lastname": "Lovelace",
    "phone": "+44 20 7946 0000",
    "company": "Engines",
    "website": "https://engines.example",
    "lifecyclestage": "lead",
}
FAULTS = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 423},
    {"kind": "html"},
    {"kind": "truncated_json"},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
]
each_fault = pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda each: "-".join(map(str, each.values()))
)


@pytest.fixture
def call(client, make_key):
    key = make_key()
    return lambda method, path, body=None, **headers: client.open(
        path, method=method, json=body, headers=key | headers
    )


def test_a_new_customer_stands_on_both_sides(call, in_hubspot):
    answer = call("POST", "/customers", ADA)

    assert answer.status_code == 201, answer.json
    [there] = in_hubspot("contacts", *ADA)
    assert ADA.items() <= there.items()
    assert ADA.items() <= answer.json.items()
    assert set(answer.json) - set(ADA) == {
        *("uuid", "createdat", "updatedat", "sync_state"),
        *("hubspot_id", "hubspot_createdat", "hubspot_updatedat"),
    }
    assert answer.json["hubspot_id"] == there["hs_object_id"]
    assert answer.json["sync_state"] == "synced"


def test_one_that_hubspot_has_already_is_a_conflict_with_its_id(call, make_hubspot_contact):
    hubspot_id = make_hubspot_contact(email="ada@example.com")

    answer = call("POST", "/customers", ADA)

    assert answer.status_code == 409
    expected = f"HubSpot API Error (409): Contact already exists. Existing ID: {hubspot_id}"
    assert answer.json["message"] == answer.json["error"] == expected
    assert count_rows("records") == 0


def test_one_that_the_mirror_has_already_is_the_same_conflict(call):
    hubspot_id = call("POST", "/customers", ADA).json["hubspot_id"]

    answer = call("POST", "/customers", ADA | {"email": "ADA@example.com"})

    assert answer.status_code == 409
    expected = f"HubSpot API Error (409): Contact already exists. Existing ID: {hubspot_id}"
    assert answer.json["message"] == expected
    assert count_rows("records") == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**ADA, "email": "nobody"}, "email"),
        ({**ADA, "email": 7}, "email"),
        ({**ADA, "firstname": ["Ada"]}, "firstname"),
        ({**ADA, "properties": "all"}, "properties"),
        ([], "body"),
    ],
)
def test_an_invalid_body_is_called_so(call, body, field):
    answer = call("POST", "/customers", body)

    assert answer.status_code == 400
    assert answer.json["message"] == "Invalid body"
    assert list(answer.json["errors"]) == [field]


REQUIRED = ("email", "firstname", "lastname")


@pytest.mark.parametrize("blank", [None, "", " ", "\u00a0\u2003"], ids=ascii)
@pytest.mark.parametrize("field", REQUIRED)
def test_a_new_customer_without_a_required_field_is_an_invalid_body_that_names_it(
    call, sandbox, field, blank
):
    body = {name: value for name, value in ADA.items() if name != field}
    if blank is not None:
        body[field] = blank

    answer = call("POST", "/customers", body)

    assert (answer.status_code, answer.json["error_code"]) == (400, "VALIDATION_ERROR")
    assert answer.json["message"] == "Invalid body"
    assert list(answer.json["errors"]) == [field]
    assert sandbox.list_requests() == []
    assert count_rows("records") == 0


def test_every_required_field_that_a_new_customer_lacks_is_named_at_once(call):
    answer = call("POST", "/customers", {"phone": "1"})

    assert answer.json["errors"] == dict.fromkeys(REQUIRED, "Field is required")


@pytest.mark.parametrize(
    "body",
    [
        {"email": "a@example.com", "first_name": "Ada", "last_name": "L."},
        {"properties": {"email": "a@example.com", "firstname": "Ada", "lastname": "L."}},
    ],
    ids=["other spellings", "within properties"],
)
def test_what_a_new_customer_must_have_counts_wherever_it_stands(call, body):
    assert call("POST", "/customers", body).status_code == 201


@each_fault
def test_when_hubspot_fails_at_a_creation_neither_side_keeps_half(
    call, sandbox, in_hubspot, run_jobs, fault
):
    sandbox.set_faults([fault])

    answer = call("POST", "/customers", ADA)

    assert answer.status_code == 502
    assert answer.json["message"] == "Error creating customer"
    assert count_rows("records") == count_rows("record_changes") == 0
    sandbox.set_faults([])
    end_pauses()
    run_jobs()
    assert in_hubspot("contacts") == []


def test_when_the_mirror_fails_at_a_creation_neither_side_keeps_half(
    call, in_hubspot, failing_inserts
):
    with failing_inserts("records"):
        answer = call("POST", "/customers", ADA)

    assert answer.status_code == 500
    assert answer.json["message"] == "Error creating customer"
    assert in_hubspot("contacts") == []


def test_when_the_mirror_fails_after_hubspot_neither_side_keeps_half(
    call, in_hubspot, failing_inserts
):
    with failing_inserts("records", "UPDATE"):
        answer = call("POST", "/customers", ADA)

    assert answer.status_code == 500
    assert answer.json["message"] == "Error creating customer"
    assert in_hubspot("contacts") == []
    assert count_rows("records") == 0


def test_somebody_who_was_there_before_is_never_withdrawn(
    call, sandbox, make_hubspot_contact, in_hubspot, run_jobs
):
    make_hubspot_contact(email="ada@example.com", firstname="Another")
    sandbox.set_faults([{"kind": "reset_after"}])

    answer = call("POST", "/customers", ADA)

    assert answer.status_code == 502
    sandbox.set_faults([])
    end_pauses()
    run_jobs()
    assert len(in_hubspot("contacts")) == 1


def test_a_change_stands_on_both_sides_and_the_answer_is_empty(call, in_hubspot):
    call("POST", "/customers", ADA)

    answer = call("PUT", "/customers/ADA@example.com", {"phone": "1", "lastname": "King"})

    assert (answer.status_code, answer.data) == (200, b"")
    [there] = in_hubspot("contacts", *ADA)
    assert (ADA | {"phone": "1", "lastname": "King"}).items() <= there.items()


@pytest.mark.parametrize("body", [{}, {"properties": {}}])
def test_a_change_of_nothing_is_refused_in_hubspots_name(call, body):
    call("POST", "/customers", ADA)

    answer = call("PUT", "/customers/ada@example.com", body)

    assert answer.status_code == 400
    assert answer.json["message"] == (
        "HubSpot API Error (400): No properties found to update, please provide at least one."
    )


@pytest.mark.parametrize("email", ["kai@hubspot.com", "%00", "%ff", "a%2Fb@c.ch", "x" * 5000])
def test_a_change_of_nobody_is_a_404(call, email):
    answer = call("PUT", f"/customers/{email}", {"phone": "1"})

    assert answer.status_code == 404
    if email == "kai@hubspot.com":
        assert answer.json["message"] == "Customer with email kai@hubspot.com not found"


def test_a_change_that_hubspot_refuses_is_told_and_changes_nothing(call, in_hubspot):
    call("POST", "/customers", ADA)

    answer = call("PUT", "/customers/ada@example.com", {"phone": "1", "no_such": "2"})

    assert answer.status_code == 400
    assert answer.json["message"].startswith("HubSpot API Error (400): ")
    assert phones(in_hubspot) == (ADA["phone"], ADA["phone"])


def test_an_email_that_another_has_is_a_conflict(call):
    call("POST", "/customers", ADA)
    other = call("POST", "/customers", ADA | {"email": "bob@example.com"}).json["hubspot_id"]

    answer = call("PUT", "/customers/ada@example.com", {"email": "bob@example.com"})

    assert answer.status_code == 409
    assert answer.json["message"].endswith(f"Existing ID: {other}")


@each_fault
def test_when_hubspot_fails_at_a_change_neither_side_keeps_half(
    call, sandbox, in_hubspot, run_jobs, fault
):
    call("POST", "/customers", ADA)
    sandbox.set_faults([fault])

    answer = call("PUT", "/customers/ada@example.com", {"phone": "1"})

    assert answer.status_code == 502
    assert answer.json["message"] == "Error updating customer"
    sandbox.set_faults([])
    end_pauses()
    run_jobs()
    assert phones(in_hubspot) == (ADA["phone"], ADA["phone"])
    with transaction() as session:
        assert session.scalar(text("SELECT state FROM records")) == "synced"


def test_a_batch_is_as_that_of_contacts(call, in_hubspot):
    answer = call("POST", "/customers/batch", {"inputs": [ADA, {"email": "no"}]})

    assert answer.status_code == 200
    assert [each["status"] for each in answer.json["results"]] == ["success", "error"]
    assert len(in_hubspot("contacts")) == 1


def phones(in_hubspot):
    with transaction() as session:
        here = session.scalar(text("SELECT properties ->> 'phone' FROM records"))
    return here, in_hubspot("contacts", "phone")[0]["phone"]


def end_pauses():
    with transaction() as session:
        session.execute(text("UPDATE portals SET push_retry_at = NULL"))
        session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL"))
        session.execute(text("UPDATE call_windows SET calls = '{}', closed_until = '-infinity'"))


def test_a_change_of_one_that_is_archived_in_hubspot_is_a_404(call, sandbox):
    hubspot_id = call("POST", "/customers", ADA).json["hubspot_id"]
    HubSpot(sandbox.url).archive("contacts", hubspot_id)

    answer = call("PUT", "/customers/ada@example.com", {"phone": "1"})

    assert answer.status_code == 404
    assert answer.json["message"] == "Customer with email ada@example.com not found"
