"""Other applications write records: to the mirror first, and at once to HubSpot."""

import pytest
from sqlalchemy import text

from crm.extensions import transaction
from crm.objects import OBJECT_TYPES
from crm.services import pipelines, schemas
from crm.services import push as push_module
from crm.services.push import push
from tests.api.conftest import count_rows

DEAL = {"dealname": "A new engine", "dealstage": "qualifiedtobuy", "pipeline": "default"}
RECORDS = {
    "contacts": ({"email": "ada@example.com", "firstname": "Ada"}, {"firstname": "Augusta"}),
    "companies": ({"domain": "engines.example", "name": "Engines"}, {"name": "More engines"}),
    "deals": ({"external_id": "D-1", **DEAL}, {"dealname": "Two engines"}),
    "tickets": (
        {"external_id": "T-1", "subject": "It stutters", "pipeline": "0", "hs_pipeline_stage": "1"},
        {"description": "Only on Mondays"},
    ),
    "line_items": ({"external_id": "L-1", "name": "Cog", "price": 12.5}, {"quantity": 3}),
}
ID_FIELDS = {name: f"hubspot_{each.singular}_id" for name, each in OBJECT_TYPES.items()}


@pytest.fixture
def key(make_key):
    return make_key()


@pytest.fixture(autouse=True)
def _set_up(portal_id, sandbox):
    push(portal_id)
    sandbox.clear_requests()


@pytest.fixture
def call(client, key):
    """Calls as another application does."""

    def do(method, path, body=None, **headers):
        return client.open(path, method=method, json=body, headers=key | headers)

    return do


@pytest.fixture
def definitions(app):
    """The portal's property definitions are known."""
    schemas.refresh_stale_schemas()
    pipelines.refresh_stale_pipelines()


def rows(*columns):
    with transaction() as session:
        return list(session.execute(text(f"SELECT {', '.join(columns)} FROM records ORDER BY id")))  # noqa: S608


@pytest.mark.parametrize("name", RECORDS)
def test_a_new_record_stands_in_hubspot_when_the_caller_is_told(call, in_hubspot, name):
    given, _ = RECORDS[name]

    answer = call("POST", f"/{name}", given)

    singular = OBJECT_TYPES[name].singular
    assert answer.status_code == 201, answer.json
    [there] = in_hubspot(name)
    noun = singular.replace("_", " ").capitalize()
    assert answer.json == {
        "status": "success",
        "message": f"{noun} created/updated successfully",
        f"hubspot_{singular}_id": there["hs_object_id"],
        "action": "created",
    }
    assert rows("state", "hs_object_id", "unsent", "held_until") == [
        ("synced", there["hs_object_id"], [], None)
    ]


@pytest.mark.parametrize("name", RECORDS)
def test_the_same_key_again_changes_the_record(call, in_hubspot, name):
    given, more = RECORDS[name]
    first = call("POST", f"/{name}", given).json

    answer = call("POST", f"/{name}", given | more)

    assert answer.status_code == 200, answer.json
    assert answer.json == first | {"action": "updated"}
    [there] = in_hubspot(name, *map(OBJECT_TYPES[name].property_for, more))
    assert {name: str(value) for name, value in more.items()}.items() <= {
        wire: there[OBJECT_TYPES[name].property_for(wire)] for wire in more
    }.items()
    assert count_rows("records") == 1


def test_what_hubspot_refuses_is_refused_with_its_reason_and_leaves_no_trace(call, in_hubspot):
    answer = call("POST", "/contacts", {"email": "ada@example.com", "no_such": "1"})

    assert answer.status_code == 400
    assert answer.json["error_code"] == "VALIDATION_ERROR"
    assert 'Property "no_such" does not exist' in answer.json["errors"]["no_such"]
    assert in_hubspot("contacts") == []
    assert count_rows("records") == count_rows("record_changes") == 0


def test_a_refused_change_leaves_the_record_and_its_history_as_they_were(call, in_hubspot):
    call("POST", "/contacts", {"email": "ada@example.com", "firstname": "Ada"})
    before = whole_mirror()

    answer = call(
        "POST", "/contacts", {"email": "ada@example.com", "firstname": "Eve", "no_such": "1"}
    )

    assert answer.status_code == 400
    assert in_hubspot("contacts", "firstname")[0]["firstname"] == "Ada"
    assert whole_mirror() == before


def test_a_refused_change_of_what_still_waits_leaves_it_waiting(call, sandbox):
    sandbox.stop()
    call("POST", "/contacts", {"email": "ada@example.com", "firstname": "Ada"})
    end_pause()
    before = whole_mirror()
    sandbox.start()

    answer = call(
        "POST", "/contacts", {"email": "ada@example.com", "firstname": "Eve", "no_such": "1"}
    )

    assert answer.status_code == 400
    assert whole_mirror() == before
    assert rows("state") == [("pending",)]


def whole_mirror():
    tables = ("records", "record_changes", "associations")
    with transaction() as session:
        return [
            [
                {name: value for name, value in row.items() if name != "updated_at"}
                for row in session.execute(
                    text(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
                ).mappings()
            ]
            for table in tables
        ]


@pytest.mark.parametrize("name", RECORDS)
def test_while_hubspot_is_down_a_write_is_queued_and_delivered_later(
    call, sandbox, in_hubspot, run_jobs, name
):
    given, _ = RECORDS[name]
    sandbox.stop()

    answer = call("POST", f"/{name}", given)

    assert answer.status_code == 202, answer.json
    assert answer.json["action"] == "queued"
    assert answer.json[ID_FIELDS[name]] is None
    sandbox.start()
    end_pause()
    run_jobs()
    assert len(in_hubspot(name)) == 1
    assert rows("state") == [("synced",)]


def test_while_hubspot_is_known_to_be_down_nobody_waits_for_it(call, sandbox, run_jobs):
    sandbox.set_faults([{"kind": "status", "status": 503}])
    call("POST", "/contacts", {"email": "ada@example.com"})
    run_jobs()
    sandbox.clear_requests()

    answer = call("POST", "/contacts", {"email": "bob@example.com"})

    assert answer.status_code == 202
    assert sandbox.requests()["total"] == 0


def test_a_write_whose_answer_was_lost_stands_once(call, sandbox, in_hubspot, run_jobs):
    sandbox.set_faults([{"kind": "reset_after"}])
    answer = call("POST", "/deals", RECORDS["deals"][0])
    sandbox.set_faults([])
    end_pause()

    run_jobs()

    assert answer.status_code == 202
    assert len(in_hubspot("deals")) == 1


def test_without_a_portal_a_write_is_queued(make_app, make_key):
    client = make_app(HUBSPOT_PRIVATE_APP_TOKEN="").test_client()

    answer = client.post("/contacts", json={"email": "ada@example.com"}, headers=make_key())

    assert answer.status_code == 202


def test_a_request_that_died_after_its_commit_is_delivered_by_the_sweep(call, portal_id):
    call("POST", "/contacts", {"email": "ada@example.com"})
    with transaction() as session:
        session.execute(
            text(
                "UPDATE records SET state = 'pending', unsent = '{email}',"
                " held_until = now() - interval '1 second'"
            )
        )

    push_module.sweep()
    push(portal_id)

    assert rows("state") == [("synced",)]


def test_the_job_leaves_alone_what_a_request_is_sending(call, portal_id, sandbox):
    call("POST", "/contacts", {"email": "ada@example.com"})
    with transaction() as session:
        session.execute(
            text(
                "UPDATE records SET state = 'pending', unsent = '{email}',"
                " held_until = now() + interval '1 minute'"
            )
        )

    push(portal_id)

    assert rows("state") == [("pending",)]


def end_pause():
    with transaction() as session:
        session.execute(text("UPDATE portals SET push_retry_at = NULL"))
        session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL"))


def test_someone_hubspot_knows_already_is_updated_not_doubled(
    call, make_hubspot_contact, in_hubspot
):
    hubspot_id = make_hubspot_contact(email="ada@example.com", lastname="Lovelace")

    answer = call("POST", "/contacts", {"email": "Ada@Example.com ", "firstname": "Ada"})

    assert (answer.status_code, answer.json["action"]) == (200, "updated")
    assert answer.json["hubspot_contact_id"] == hubspot_id
    [there] = in_hubspot("contacts", "firstname", "lastname")
    assert (there["firstname"], there["lastname"]) == ("Ada", "Lovelace")


@pytest.mark.parametrize(
    ("name", "path"),
    [("contacts", "email"), ("companies", "domain")]
    + [(each, "external_id") for each in ("deals", "tickets", "line_items")],
)
def test_a_record_without_its_key_is_refused(call, name, path):
    answer = call("POST", f"/{name}", {"properties": {}})

    assert answer.status_code == 400
    assert answer.json["errors"] == {path: "Missing data for required field."}


def test_a_user_may_not_write(client, make_user):
    answer = client.post("/contacts", json={"email": "a@b.ch"}, headers=make_user().headers)

    assert answer.status_code == 403


def test_an_admin_may_write(client, make_user):
    admin = make_user(role="admin")

    answer = client.post("/contacts", json={"email": "a@b.ch"}, headers=admin.headers)

    assert answer.status_code == 201


# The portal's definitions


def test_names_and_values_are_turned_into_hubspots(call, definitions, in_hubspot):
    answer = call(
        "POST",
        "/contacts",
        {
            "email": "ADA@example.com",
            "first_name": "Ada",
            "Last_Name": "Lovelace",
            "properties": {"lifecycle_stage": "lead", "hs_whatsapp_phone_number": None},
        },
    )

    assert answer.status_code == 400
    assert set(answer.json["errors"]) == {"properties.hs_whatsapp_phone_number"}


def test_snake_case_spellings_and_wire_names_are_accepted(call, definitions, in_hubspot):
    contact = {"email": "ada@example.com", "first_name": "Ada", "properties": {"last_name": "L"}}
    ticket = RECORDS["tickets"][0] | {"category": "BILLING_ISSUE", "description": "Why?"}

    assert call("POST", "/contacts", contact).status_code == 201
    assert call("POST", "/tickets", ticket).status_code == 201

    assert (
        in_hubspot("contacts", "firstname", "lastname")[0].items()
        >= {
            "firstname": "Ada",
            "lastname": "L",
        }.items()
    )
    assert (
        in_hubspot("tickets", "content", "hs_ticket_category")[0].items()
        >= {
            "content": "Why?",
            "hs_ticket_category": "BILLING_ISSUE",
        }.items()
    )


def test_every_wrong_field_is_named_by_its_path(call, definitions, sandbox):
    answer = call(
        "POST",
        "/deals",
        {
            "external_id": "D-1",
            "dealnam": "A new engine",
            "amount": "a lot",
            "dealstage": "nowhere",
            "properties": {"hs_is_closed": "true", "closedate": "soon", "hs_priority": "urgent"},
        },
    )

    assert answer.status_code == 400
    assert answer.json["errors"] == {
        "dealnam": "Unknown property of deals. Did you mean dealname?",
        "amount": "Must be a number of at most 20 digits, without separators.",
        "dealstage": answer.json["errors"]["dealstage"],
        "properties.hs_is_closed": "Read-only in HubSpot.",
        "properties.closedate": "Must be a date or a time like 2026-12-31T17:00:00Z.",
        "properties.hs_priority": "Unknown option; valid ones are: low, medium, high",
    }
    assert count_rows("records") == 0
