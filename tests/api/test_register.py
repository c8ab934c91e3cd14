"""POST /register."""

import threading

import pytest
import requests
from sqlalchemy import text

from crm.db import db, transaction
from crm.portals import pipelines
from tests.conftest import registration, wait_until

from .conftest import contacts_in, count_rows, sign_in


def test_the_contracts_example_is_answered_exactly(client):
    answer = client.post("/register", json=registration("ada@example.com"))

    assert answer.status_code == 201
    assert answer.json == {"message": "User registered successfully", "data": {}}


def test_a_person_without_deals_may_register(client):
    body = registration("ada@example.com")
    for name in ("deals", "phone"):
        del body[name]

    assert client.post("/register", json=body).status_code == 201
    assert count_rows("records") == 1


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@Example.COM", " ada@example.com "])
def test_a_taken_email_is_refused_in_any_letter_case(client, register, email):
    register("Ada@example.com")

    answer = client.post("/register", json=registration(email))

    assert answer.status_code == 409
    assert answer.json["error_code"] == "USER_EXISTS"
    assert answer.json["message"] == "User already exists"
    assert count_rows("records") == 3


def test_of_two_registrations_at_once_with_one_email_one_is_refused(app):
    statuses = []

    def run():
        answer = app.test_client().post("/register", json=registration("ada@example.com"))
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=run) for _ in range(2)]
    with transaction() as session:
        # Both have looked whether the e-mail is free, and now want to write.
        session.execute(text("LOCK TABLE records IN SHARE MODE"))
        for thread in threads:
            thread.start()
        wait_until(lambda: _waiting_for_locks() == 2)
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [201, 409]
    assert count_rows("users") == 1
    assert count_rows("records") == 3


def test_a_closed_registration_answers_403(make_app):
    app = make_app(REGISTRATION="closed")

    answer = app.test_client().post("/register", json=registration("ada@example.com"))

    assert answer.status_code == 403
    assert answer.json["error_code"] == "FORBIDDEN"


WRONG_STAGES = [
    ({"dealstage": "nowhere"}, {}, "deals.0.dealstage", "qualifiedtobuy"),
    ({"pipeline": "nowhere"}, {}, "deals.0.pipeline", "default"),
    ({}, {"pipeline": "7"}, "deals.0.tickets.0.pipeline", "0"),
    ({}, {"hs_pipeline_stage": "99"}, "deals.0.tickets.0.hs_pipeline_stage", "1, 2, 3, 4"),
]


@pytest.mark.parametrize(("deal", "ticket", "field", "valid"), WRONG_STAGES)
def test_a_wrong_pipeline_or_stage_names_its_field_and_the_valid_ids(
    client, deal, ticket, field, valid
):
    for object_type in ("deals", "tickets"):
        client.get("/contacts/pipelines", query_string={"object_type": object_type})
    body = registration("ada@example.com")
    body["deals"][0] |= deal
    body["deals"][0]["tickets"][0] |= ticket

    answer = client.post("/register", json=body)

    assert answer.status_code == 400
    assert answer.json["error_code"] == "VALIDATION_ERROR"
    assert list(answer.json["errors"]) == [field]
    assert valid in answer.json["errors"][field]
    assert count_rows("users") == 0


def test_each_wrong_stage_is_named(client):
    for object_type in ("deals", "tickets"):
        client.get("/contacts/pipelines", query_string={"object_type": object_type})
    body = registration("ada@example.com")
    good, bad = body["deals"][0], body["deals"][0] | {"dealstage": "nowhere"}
    body["deals"] = [good, bad, good, bad]

    answer = client.post("/register", json=body)

    assert list(answer.json["errors"]) == ["deals.1.dealstage", "deals.3.dealstage"]


def test_any_stage_is_taken_while_the_pipelines_are_unknown_and_hubspot_is_down(client, sandbox):
    sandbox.stop()
    body = registration("ada@example.com")
    body["deals"][0]["dealstage"] = "who knows"

    assert client.post("/register", json=body).status_code == 201


def test_a_registration_never_asks_hubspot(client, sandbox):
    client.post("/register", json=registration("ada@example.com"))

    assert sandbox.requests()["total"] == 0


def test_a_list_that_is_too_long_by_itself_is_named(client):
    ticket = {"subject": "A", "pipeline": "0", "hs_pipeline_stage": "1"}
    deals = [{"dealname": "A", "dealstage": "qualifiedtobuy", "tickets": [ticket] * 101}]

    answer = client.post("/register", json=registration("a@example.com", deals=deals))

    assert list(answer.json["errors"]) == ["deals.0.tickets"]


def test_a_contact_that_the_mirror_has_is_updated_not_doubled(client, make_contact):
    make_contact("ada@example.com", hs_object_id="77", firstname="A.", company="Analytical Engines")

    client.post("/register", json=registration("Ada@Example.com", deals=[]))

    contacts = contacts_in(sign_in(client, "ada@example.com").get("/contacts"))
    assert [(each["id"], each["firstname"]) for each in contacts] == [("77", "Ada")]
    assert contacts[0]["sync_state"] == "pending"
    with transaction() as session:
        properties = session.execute(text("SELECT properties FROM records")).scalar_one()
    assert properties["company"] == "Analytical Engines"


def test_a_contact_that_hubspot_has_is_updated_not_doubled(
    client, register, run_jobs, in_hubspot, make_hubspot_contact
):
    make_hubspot_contact(email="ada@example.com", firstname="A.", company="Analytical Engines")
    register("Ada@Example.com")

    run_jobs()

    found = in_hubspot("contacts", "email", "firstname", "company")
    assert [each["firstname"] for each in found] == ["Ada"]
    assert found[0]["company"] == "Analytical Engines"


@pytest.mark.parametrize("table", ["procrastinate_jobs", "associations", "users"])
def test_user_graph_and_job_are_committed_together_or_not_at_all(client, failing_inserts, table):
    with failing_inserts(table):
        answer = client.post("/register", json=registration("ada@example.com"))

    assert answer.status_code == 500
    for each in ("users", "records", "associations", "procrastinate_jobs"):
        assert count_rows(each) == 0, each


def test_a_hundred_registrations_wait_in_one_job(client):
    for number in range(5):
        client.post("/register", json=registration(f"ada{number}@example.com"))

    assert count_rows("procrastinate_jobs") == 1


def test_the_password_is_stored_as_an_argon2id_hash_only(client, register):
    register(password="correct horse battery staple")

    stored = db.session.execute(text("SELECT password_hash FROM users")).scalar_one()
    assert stored.startswith("$argon2id$")
    everything = db.session.execute(text("SELECT properties::text FROM records")).scalars()
    assert not any("horse" in each for each in everything)


@pytest.mark.parametrize(
    ("amount", "stored"),
    [
        ("1000000", "1000000"),
        (2000000, "2000000"),
        (1000000.0, "1000000"),
        (0.1, "0.1"),
        (1234567.1234567, "1234567.1234567"),
        ("-12.50", "-12.50"),
        (1e-7, "0.0000001"),
    ],
)
def test_an_amount_is_kept_as_the_text_of_the_number(register, amount, stored):
    deal = {"dealname": "A", "dealstage": "qualifiedtobuy", "amount": amount}
    ada = register(deals=[deal])

    assert contacts_in(ada.get("/contacts"))[0]["deals"][0]["amount"] == stored


@pytest.mark.parametrize(
    ("closedate", "stored"),
    [
        ("2026-12-31", "2026-12-31T00:00:00.000Z"),
        ("2026-12-31T17:00:00Z", "2026-12-31T17:00:00.000Z"),
        ("2026-12-31T17:00:00+02:00", "2026-12-31T15:00:00.000Z"),
    ],
)
def test_a_close_date_is_kept_in_utc(register, closedate, stored):
    deal = {"dealname": "A", "dealstage": "qualifiedtobuy", "closedate": closedate}
    ada = register(deals=[deal])

    assert contacts_in(ada.get("/contacts"))[0]["deals"][0]["closedate"] == stored


def _waiting_for_locks():
    # From a connection of its own: the test's is in a transaction.
    with db.engine.connect() as connection:
        statement = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
        return connection.execute(text(statement)).scalar_one()


def test_a_hundred_wrong_stages_are_a_hundred_sentences(client, app):
    pipelines.refresh_stale_pipelines()
    ticket = {"subject": "It stutters", "pipeline": "0", "hs_pipeline_stage": "none"}
    deals = [{"dealname": "An engine", "dealstage": "none", "tickets": [ticket]}] * 50

    answer = client.post("/register", json=registration("ada@example.com", deals=deals))

    assert answer.status_code == 400
    assert len(answer.json["errors"]) == 100


def test_a_stage_made_in_hubspot_a_moment_ago_is_taken(client, sandbox):
    client.get("/contacts/pipelines", query_string={"object_type": "deals"})
    answer = requests.post(
        f"{sandbox.url}/crm/v3/pipelines/deals/default/stages",
        json={"label": "New", "displayOrder": 9, "metadata": {"probability": "0.5"}},
        headers={"Authorization": "Bearer pat-na1-sandbox"},
        timeout=10,
    )
    assert answer.status_code == 201, answer.text
    body = registration("ada@example.com")
    body["deals"][0]["dealstage"] = answer.json()["id"]

    assert client.post("/register", json=body).status_code == 201


def test_an_unknown_stage_is_looked_up_once_in_hubspot_and_refused(client, sandbox):
    client.get("/contacts/pipelines", query_string={"object_type": "deals"})
    sandbox.clear_requests()
    body = registration("ada@example.com")
    body["deals"][0]["dealstage"] = "nowhere"

    assert client.post("/register", json=body).status_code == 400
    assert sandbox.requests()["total"] == 1


def test_an_unknown_stage_is_refused_by_what_is_known_when_hubspot_is_down(client, sandbox):
    client.get("/contacts/pipelines", query_string={"object_type": "deals"})
    sandbox.stop()
    body = registration("ada@example.com")
    body["deals"][0]["dealstage"] = "nowhere"

    answer = client.post("/register", json=body)

    assert "qualifiedtobuy" in answer.json["errors"]["deals.0.dealstage"]


@pytest.mark.parametrize(
    ("deals", "tickets", "status"),
    [(100, 0, 201), (101, 0, 400), (1, 99, 201), (1, 100, 400), (50, 1, 201), (51, 1, 400)],
)
def test_a_registration_takes_at_most_100_deals_and_tickets_together(
    client, deals, tickets, status
):
    body = registration("ada@example.com")
    deal = body["deals"][0]
    body["deals"] = [deal | {"tickets": deal["tickets"] * tickets}] * deals

    answer = client.post("/register", json=body)

    assert answer.status_code == status
    assert status == 201 or list(answer.json["errors"]) == ["deals"]
