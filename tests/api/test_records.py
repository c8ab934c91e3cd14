"""Other applications write records: to the mirror first, and at once to HubSpot."""

import pytest
from sqlalchemy import text

from crm.accounts import users
from crm.db import transaction
from crm.object_types import CONTACTS, OBJECT_TYPES
from crm.portals import pipelines, property_schemas
from crm.portals.portals import connect
from crm.pull.apply import refresh
from crm.push import job as push_module
from crm.push.job import push
from tests.api.conftest import count_rows, counted_statements
from tests.domains.graphs import pairs_in
from tests.sandbox.client import HubSpot

pytestmark = pytest.mark.usefixtures("set_up")
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


@pytest.fixture
def hubspot(sandbox):
    """HubSpot's own API."""
    client = HubSpot(sandbox.url)
    with client.session:
        yield client


@pytest.fixture
def call(client, key):
    """Calls as another application does."""

    def do(method, path, body=None, **headers):
        return client.open(path, method=method, json=body, headers=key | headers)

    return do


@pytest.fixture
def definitions(app):
    """The portal's property definitions are known."""
    property_schemas.refresh_stale_schemas()
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
                {
                    # The order of the unsent means nothing.
                    name: sorted(value) if name == "unsent" else value
                    for name, value in row.items()
                    if name != "updated_at"
                }
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
    assert answer.json["errors"] == {path: "Field is required"}


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


# Batches


def test_a_batch_answers_each_input_in_its_order(call, definitions, in_hubspot):
    call("POST", "/contacts", {"email": "there@example.com"})
    inputs = [
        {"email": "ada@example.com", "firstname": "Ada"},
        {"email": "nobody"},
        {"email": "there@example.com", "firstname": "There"},
        7,
        {"firstname": "Nameless"},
        {"email": "bob@example.com", "nickname": "Bob"},
        {"email": "cy@example.com", "associations": [{"to_type": "companies", "to": "1"}]},
        {"email": "dee@example.com", "associations": "all"},
    ]

    answer = call("POST", "/contacts/batch", {"inputs": inputs})

    assert answer.status_code == 200
    results = answer.json["results"]
    ids = {each["email"]: each["hs_object_id"] for each in in_hubspot("contacts", "email")}
    assert [each["index"] for each in results] == list(range(len(inputs)))
    assert [(each["status"], each["action"], each["hubspot_contact_id"]) for each in results] == [
        ("success", "created", ids["ada@example.com"]),
        ("error", None, None),
        ("success", "updated", ids["there@example.com"]),
        *[("error", None, None)] * 5,
    ]
    assert [list(each["errors"]) for each in results if each["status"] == "error"] == [
        ["email"],
        ["body"],
        ["email"],
        ["nickname"],
        ["associations.0.to"],
        ["associations"],
    ]
    assert set(ids) == {"ada@example.com", "there@example.com"}


def test_one_that_hubspot_refuses_does_not_fail_the_others(call, in_hubspot):
    inputs = [{"email": f"a{each}@example.com"} for each in range(5)]
    inputs[2]["no_such"] = "1"

    results = call("POST", "/contacts/batch", {"inputs": inputs}).json["results"]

    assert [each["status"] for each in results] == ["success"] * 2 + ["error"] + ["success"] * 2
    assert "no_such" in results[2]["errors"]
    assert len(in_hubspot("contacts")) == count_rows("records") == 4


def test_one_key_twice_in_a_batch_is_one_record_with_the_last_values(call, in_hubspot):
    inputs = [
        {"email": "ada@example.com", "firstname": "A", "lastname": "Lovelace"},
        {"email": "ADA@example.com", "firstname": "Ada"},
    ]

    results = call("POST", "/contacts/batch", {"inputs": inputs}).json["results"]

    assert [each["action"] for each in results] == ["created", "updated"]
    assert len({each["hubspot_contact_id"] for each in results}) == 1
    [there] = in_hubspot("contacts", "firstname", "lastname")
    assert (there["firstname"], there["lastname"]) == ("Ada", "Lovelace")


# Found by an e-mail, by a domain, and by the id that we give.
@pytest.mark.parametrize("name", ["contacts", "companies", "deals"])
def test_a_thousand_cost_eleven_requests_and_a_constant_number_of_statements(
    call, client, key, sandbox, name
):
    def statements(count):
        inputs = [many(name, each) for each in range(count)]
        sandbox.clear_requests()
        with counted_statements() as found:
            answer = call("POST", f"/{name}/batch", {"inputs": inputs})
        assert {each["status"] for each in answer.json["results"]} == {"success"}
        return len(found) - 12 * sandbox.requests()["total"]

    few = statements(1)
    many_ = statements(1000)

    assert sandbox.requests()["total"] <= 11
    assert many_ <= few + 10


def many(name, number):
    given, _ = RECORDS[name]
    keys = {"contacts": "email", "companies": "domain"}
    values = {"email": f"ada{number}@example.com", "domain": f"e{number}.example"}
    key = keys.get(name, "external_id")
    return given | {key: values.get(key, f"X-{number}")}


@pytest.mark.parametrize("inputs", [[], [{}] * 1001, "all", None])
def test_a_batch_has_one_to_a_thousand_inputs(call, inputs):
    answer = call("POST", "/contacts/batch", {"inputs": inputs})

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["inputs"]


def test_a_batch_is_queued_while_hubspot_is_down(call, sandbox, in_hubspot, run_jobs):
    sandbox.stop()
    inputs = [{"email": f"a{each}@example.com"} for each in range(3)]

    results = call("POST", "/contacts/batch", {"inputs": inputs}).json["results"]

    assert [(each["status"], each["action"]) for each in results] == [("success", "queued")] * 3
    sandbox.start()
    end_pause()
    run_jobs()
    assert len(in_hubspot("contacts")) == 3


# Associations


def test_records_are_associated_by_email_and_by_id(call, hubspot):
    contact = call("POST", "/contacts", RECORDS["contacts"][0]).json["hubspot_contact_id"]
    company = call("POST", "/companies", RECORDS["companies"][0]).json["hubspot_company_id"]
    wanted = [
        {"to_type": "contacts", "to": "Ada@example.com"},
        {"to_type": "companies", "to": company},
    ]

    deal = call("POST", "/deals", RECORDS["deals"][0] | {"associations": wanted}).json

    assert deal["action"] == "created"
    deal_id = deal["hubspot_deal_id"]
    assert pairs_in(hubspot, "deals", "contacts") == [(deal_id, contact)]
    assert pairs_in(hubspot, "deals", "companies") == [(deal_id, company)]
    with transaction() as session:
        states = session.scalars(text("SELECT state FROM associations")).all()
    assert states == ["synced", "synced"]


@pytest.mark.parametrize(
    ("association", "path"),
    [
        ({"to_type": "contacts", "to": "bob@example.com"}, "associations.0.to"),
        ({"to_type": "contacts", "to": "12345"}, "associations.0.to"),
        ({"to_type": "line_items", "to": "12345"}, "associations.0.to_type"),
        ({"to_type": "unicorns", "to": "12345"}, "associations.0.to_type"),
        ({"to_type": "contacts"}, "associations.0.to"),
        ({"to_type": "contacts", "to": 5}, "associations.0.to"),
        ({"to_type": "contacts", "to": "\x00"}, "associations.0.to"),
        ("ada@example.com", "associations.0"),
    ],
)
def test_an_unknown_association_is_refused_by_its_path(call, association, path):
    given = RECORDS["tickets"][0] | {"associations": [association]}

    answer = call("POST", "/tickets", given)

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == [path]
    assert count_rows("records") == 0


def test_a_pair_that_hubspot_refuses_is_told_and_not_kept(call, hubspot):
    deals = [
        call("POST", "/deals", DEAL | {"external_id": each}).json["hubspot_deal_id"]
        for each in ("D-1", "D-2")
    ]
    given = RECORDS["line_items"][0]
    call("POST", "/line_items", given | {"associations": [{"to_type": "deals", "to": deals[0]}]})

    answer = call(
        "POST", "/line_items", given | {"associations": [{"to_type": "deals", "to": deals[1]}]}
    )

    assert answer.status_code == 200
    assert len(answer.json["association_errors"]) == 1
    assert count_rows("associations") == 1


def test_a_record_can_be_associated_without_being_changed(call, hubspot):
    contact = call("POST", "/contacts", RECORDS["contacts"][0]).json["hubspot_contact_id"]
    deal = call("POST", "/deals", RECORDS["deals"][0]).json["hubspot_deal_id"]

    answer = call(
        "PATCH",
        f"/deals/{deal}",
        {"associations": [{"to_type": "contacts", "to": "ada@example.com"}]},
    )

    assert answer.status_code == 200, answer.json
    assert pairs_in(hubspot, "deals", "contacts") == [(deal, contact)]


# One record


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_changed_by_hubspots_id_and_by_its_own(call, in_hubspot, name):
    given, more = RECORDS[name]
    hubspot_id = call("POST", f"/{name}", given).json[ID_FIELDS[name]]
    [(uuid,)] = rows("uuid")

    for each in (hubspot_id, uuid):
        answer = call("PATCH", f"/{name}/{each}", {"properties": more})
        assert answer.status_code == 200, answer.json
        assert answer.json["action"] == "updated"
        assert answer.json[ID_FIELDS[name]] == hubspot_id

    [there] = in_hubspot(name, *map(OBJECT_TYPES[name].property_for, more))
    for wire, value in more.items():
        assert there[OBJECT_TYPES[name].property_for(wire)] == str(value)


def test_an_id_that_was_merged_away_leads_to_what_it_became(call, hubspot, portal_id, in_hubspot):
    ids = [
        call("POST", "/contacts", {"email": f"a{each}@example.com"}).json["hubspot_contact_id"]
        for each in range(2)
    ]
    merged = hubspot.merge("contacts", *ids)["id"]
    refresh(connect(portal_id), portal_id, CONTACTS, ids)

    answer = call("PATCH", f"/contacts/{ids[1]}", {"firstname": "Ada"})

    assert answer.status_code == 200, answer.json
    assert answer.json["hubspot_contact_id"] == merged


@pytest.mark.parametrize(
    "record_id",
    ["12345", "no", "%00", "%ff", "9" * 400, "٣", "00000000-0000-0000-0000-000000000000", "..%2f"],
)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_an_unknown_record_is_a_404(call, method, record_id):
    answer = call(method, f"/contacts/{record_id}", {"firstname": "Ada"})

    assert answer.status_code == 404
    assert answer.json["error_code"] == "NOT_FOUND"


def test_anothers_record_is_a_404(call, client, make_key):
    hubspot_id = call("POST", "/contacts", RECORDS["contacts"][0]).json["hubspot_contact_id"]
    users.create_organization("Another")
    other = make_key("Another")

    for method in ("PATCH", "DELETE"):
        answer = client.open(
            f"/contacts/{hubspot_id}", method=method, json={"firstname": "Eve"}, headers=other
        )
        assert answer.status_code == 404


def test_a_change_of_nothing_is_refused(call):
    hubspot_id = call("POST", "/contacts", RECORDS["contacts"][0]).json["hubspot_contact_id"]

    assert call("PATCH", f"/contacts/{hubspot_id}", {}).status_code == 400


def test_a_value_is_cleared_by_nothing(call, in_hubspot):
    given = RECORDS["contacts"][0] | {"lastname": "L"}
    hubspot_id = call("POST", "/contacts", given).json["hubspot_contact_id"]

    call("PATCH", f"/contacts/{hubspot_id}", {"firstname": None, "lastname": ""})

    [there] = in_hubspot("contacts", "firstname", "lastname")
    assert (there["firstname"], there["lastname"]) == (None, None)


def test_an_email_that_another_contact_has_is_a_conflict(call):
    first, second = (
        call("POST", "/contacts", {"email": f"a{each}@example.com"}).json["hubspot_contact_id"]
        for each in range(2)
    )

    answer = call("PATCH", f"/contacts/{first}", {"email": "a1@example.com"})

    assert answer.status_code == 409
    assert answer.json["message"] == f"Contact already exists. Existing ID: {second}"


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_archived_on_both_sides(call, in_hubspot, name):
    hubspot_id = call("POST", f"/{name}", RECORDS[name][0]).json[ID_FIELDS[name]]

    answer = call("DELETE", f"/{name}/{hubspot_id}")

    assert answer.status_code == 200
    assert (answer.json["action"], answer.json[ID_FIELDS[name]]) == ("archived", hubspot_id)
    assert in_hubspot(name) == []
    assert rows("state", "archived_at IS NOT NULL", "held_until") == [("synced", True, None)]
    assert call("DELETE", f"/{name}/{hubspot_id}").status_code == 404


def test_while_hubspot_is_down_archiving_is_queued(call, sandbox):
    hubspot_id = call("POST", "/contacts", RECORDS["contacts"][0]).json["hubspot_contact_id"]
    sandbox.stop()

    answer = call("DELETE", f"/contacts/{hubspot_id}")

    assert (answer.status_code, answer.json["action"]) == (202, "queued")
    assert rows("state", "archived_at IS NOT NULL", "held_until") == [("pending", True, None)]
    assert [each for (each,) in jobs()] == ["push"]


def jobs():
    with transaction() as session:
        return list(session.execute(text("SELECT task_name FROM procrastinate_jobs")))


def test_what_was_perhaps_sent_is_archived_once_hubspot_can_be_asked(call, sandbox, in_hubspot):
    sandbox.set_faults([{"kind": "reset_after", "match": "contacts/batch/upsert"}])
    call("POST", "/contacts", RECORDS["contacts"][0])
    sandbox.set_faults([])
    end_pause()
    [(uuid,)] = rows("uuid")
    assert len(in_hubspot("contacts")) == 1

    assert call("DELETE", f"/contacts/{uuid}").json["action"] == "archived"
    assert in_hubspot("contacts") == []


def test_what_was_never_sent_is_not_sent_to_be_archived(call, sandbox, in_hubspot):
    sandbox.stop()
    call("POST", "/contacts", RECORDS["contacts"][0])
    end_pause()
    [(uuid,)] = rows("uuid")
    sandbox.start()

    assert call("DELETE", f"/contacts/{uuid}").json["action"] == "archived"
    assert in_hubspot("contacts") == []
    assert rows("state") == [("synced",)]


def test_a_version_that_has_moved_on_is_not_overwritten(call, in_hubspot):
    first = call("POST", "/contacts", RECORDS["contacts"][0])
    path, tag = f"/contacts/{first.json['hubspot_contact_id']}", first.headers["ETag"]

    second = call("PATCH", path, {"firstname": "Augusta"}, **{"If-Match": tag})
    answers = [
        call("PATCH", path, {"firstname": "Eve"}, **{"If-Match": tag}),
        call("DELETE", path, **{"If-Match": tag}),
        call("PATCH", path, {"firstname": "Eve"}, **{"If-Match": ""}),
        call("PATCH", path, {"firstname": "Eve"}, **{"If-Match": "nonsense"}),
    ]

    assert second.status_code == 200
    assert second.headers["ETag"] != tag
    for answer in answers:
        assert (answer.status_code, answer.json["error_code"]) == (412, "PRECONDITION_FAILED")
    assert in_hubspot("contacts", "firstname")[0]["firstname"] == "Augusta"


def test_any_version_and_one_of_several_may_be_overwritten(call):
    first = call("POST", "/contacts", RECORDS["contacts"][0])
    path, tag = f"/contacts/{first.json['hubspot_contact_id']}", first.headers["ETag"]

    one = call("PATCH", path, {"firstname": "A"}, **{"If-Match": f'"x", {tag}'})
    any_ = call("DELETE", path, **{"If-Match": "*"})

    assert (one.status_code, any_.status_code) == (200, 200)


# What happened in HubSpot and is not known here yet


def test_a_record_that_is_archived_in_hubspot_is_created_again(call, hubspot, in_hubspot):
    old = call("POST", "/contacts", RECORDS["contacts"][0]).json["hubspot_contact_id"]
    hubspot.archive("contacts", old)

    answer = call("POST", "/contacts", RECORDS["contacts"][0])

    [there] = in_hubspot("contacts")
    assert answer.status_code == 201, answer.json
    assert answer.json["hubspot_contact_id"] == there["hs_object_id"] != old
    assert call("PATCH", f"/contacts/{old}", {"firstname": "A"}).status_code == 404


def test_a_change_of_one_that_is_archived_in_hubspot_is_a_404(call, hubspot):
    old = call("POST", "/contacts", RECORDS["contacts"][0]).json["hubspot_contact_id"]
    hubspot.archive("contacts", old)

    answer = call("PATCH", f"/contacts/{old}", {"firstname": "A"})

    assert answer.status_code == 404
    assert rows("state", "archived_at IS NOT NULL") == [("synced", True)]


def test_a_change_of_one_that_is_merged_away_in_hubspot_reaches_what_it_became(
    call, hubspot, in_hubspot
):
    ids = [
        call("POST", "/contacts", {"email": f"a{each}@example.com"}).json["hubspot_contact_id"]
        for each in range(2)
    ]
    merged = hubspot.merge("contacts", *ids)["id"]

    answer = call("PATCH", f"/contacts/{ids[1]}", {"firstname": "Ada"})

    assert answer.status_code == 200, answer.json
    assert answer.json["hubspot_contact_id"] == merged
    assert in_hubspot("contacts", "firstname")[0]["firstname"] == "Ada"
