"""Changes that HubSpot refused: listed, corrected and sent again, or dropped."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import select, text, update

from crm.accounts import users
from crm.db import transaction
from crm.mirror import rows as mirror_rows
from crm.mirror.rows import NewRecord
from crm.models import Association, Record, RecordChange
from crm.object_types import CONTACT_TO_DEAL, OBJECT_TYPES
from crm.push.job import enqueue_push
from tests.sandbox.client import HubSpot

IN_PROCESS = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def hubspot(sandbox):
    return HubSpot(sandbox.url)


@pytest.fixture
def call(client, make_key):
    headers = make_key()

    def call(method, path, **kwargs):
        return client.open(f"/sync/rejected{path}", method=method, headers=headers, **kwargs)

    return call


@pytest.fixture
def listed(call):
    def listed(**query):
        answer = call("GET", "", query_string=query)
        assert answer.status_code == 200, answer.json
        return answer.json["data"]["data"]["rejected"]

    return listed


@pytest.fixture
def write_deal(portal_id, run_jobs):
    """Writes a deal here and pushes it."""

    def write(**properties):
        new = NewRecord(OBJECT_TYPES["deals"], {"dealname": "A new engine"} | properties)
        with transaction():
            mirror_rows.create_records(portal_id, [new])
            enqueue_push(portal_id)
        run_jobs()
        return str(new.uuid)

    return write


@pytest.fixture
def refused_update(write_deal, hubspot, run_jobs, portal_id):
    """A deal that HubSpot has, with a stage from here that it refused; returns its uuid."""
    uuid = write_deal(dealstage="qualifiedtobuy", pipeline="default")
    change(uuid, {"dealstage": "nowhere", "dealname": "An old engine"}, over=True)
    with transaction():
        enqueue_push(portal_id)
    run_jobs()
    assert row(uuid)["state"] == "rejected"
    return uuid


def change(uuid, properties, *, over):
    """Change a row here as a writer does; ``over``: HubSpot's values are noted."""
    with transaction() as session:
        record = session.scalars(select(Record).where(Record.uuid == uuid)).one()
        drafts = {
            name: {"over": record.properties.get(name)} if over else {} for name in properties
        }
        session.execute(
            update(Record)
            .where(Record.uuid == uuid)
            .values(
                properties={**record.properties, **properties},
                unsent=list(properties),
                drafts=drafts,
                state="pending",
                revision=Record.revision + 1,
            )
        )


def row(uuid):
    with transaction() as session:
        found = session.execute(text("SELECT * FROM records WHERE uuid = :uuid"), {"uuid": uuid})
        return dict(found.mappings().one())


def exists(uuid):
    with transaction() as session:
        return bool(session.scalar(select(Record.id).where(Record.uuid == uuid)))


def reject(row_id, **values):
    said = {"message": "No", "category": None, "correlation_id": None, "errors": {}}
    with transaction() as session:
        session.execute(
            update(Record)
            .where(Record.id == row_id)
            .values(state="rejected", rejection=said, **values)
        )


def test_what_hubspot_said_stands_beside_the_field(write_deal, listed):
    uuid = write_deal(dealstage="nowhere", pipeline="default")

    (found,) = listed()

    assert found["id"] == uuid
    assert (found["type"], found["hubspot_id"]) == ("deals", None)
    assert found["properties"]["dealstage"] == "nowhere"
    assert "nowhere" in found["rejection"]["fields"]["dealstage"]
    assert found["rejection"]["category"] == "VALIDATION_ERROR"
    assert "nowhere" in found["rejection"]["message"]
    assert found["rejection"]["correlation_id"]


def test_only_what_was_sent_is_shown_of_a_record_that_hubspot_has(refused_update, listed):
    assert set(listed()[0]["properties"]) == {"dealstage", "dealname"}


def test_a_corrected_change_reaches_hubspot(write_deal, call, run_jobs, hubspot, listed):
    uuid = write_deal(dealstage="nowhere", pipeline="default")

    answer = call("POST", f"/{uuid}/resend", json={"properties": {"dealstage": "closedwon"}})
    run_jobs()

    assert (answer.status_code, answer.json) == (200, {"message": "The change will be sent again"})
    there = hubspot.get(f"/crm/objects/2026-09/deals/{row(uuid)['hs_object_id']}").json()
    assert there["properties"]["dealstage"] == "closedwon"
    assert row(uuid)["state"] == "synced"
    assert listed() == []


def test_a_change_is_sent_again_as_it_is_without_a_body(refused_update, call):
    assert call("POST", f"/{refused_update}/resend").status_code == 200
    assert row(refused_update)["state"] == "pending"


def test_a_wire_name_corrects_the_property_behind_it(make_contact, call, portal_id):
    new = NewRecord(OBJECT_TYPES["tickets"], {"subject": "x"})
    with transaction():
        row_id = mirror_rows.create_records(portal_id, [new])[new.uuid]
    reject(row_id)

    call("POST", f"/{new.uuid}/resend", json={"properties": {"category": "BILLING_ISSUE"}})

    changed = row(str(new.uuid))
    assert changed["properties"]["hs_ticket_category"] == "BILLING_ISSUE"
    assert sorted(changed["unsent"]) == ["hs_ticket_category", "subject"]
    assert "category" not in changed["properties"]


def test_a_correction_keeps_what_the_change_was_to_replace(refused_update, call):
    before = row(refused_update)["drafts"]["dealstage"]["over"]

    call("POST", f"/{refused_update}/resend", json={"properties": {"dealstage": "closedlost"}})

    assert before == "qualifiedtobuy"
    assert row(refused_update)["drafts"]["dealstage"]["over"] == before
    assert row(refused_update)["state"] == "pending"


def test_a_dropped_record_that_hubspot_never_had_is_gone_with_its_pairs(
    write_deal, call, portal_id, make_contact, listed
):
    uuid = write_deal(dealstage="nowhere", pipeline="default")
    with transaction():
        contact_id = make_contact("ada@example.com")
        mirror_rows.associate(portal_id, [(CONTACT_TO_DEAL, contact_id, row(uuid)["id"])])

    answer = call("DELETE", f"/{uuid}")

    assert (answer.status_code, answer.json) == (200, {"message": "The change was dropped"})
    assert not exists(uuid)
    with transaction() as session:
        assert session.scalars(select(Association.id)).all() == []
    assert call("DELETE", f"/{uuid}").status_code == 404


def test_a_user_keeps_the_account_when_their_contact_is_dropped(register, call, portal_id):
    ada = register()
    with transaction() as session:
        contact = session.scalars(select(Record).where(Record.object_type == "contacts")).one()
        row_id, uuid = contact.id, str(contact.uuid)
    reject(row_id)

    assert call("DELETE", f"/{uuid}").status_code == 200
    assert ada.get("/me").json["data"]["contact"] is None


def test_a_dropped_change_goes_back_to_hubspots_values_without_asking(
    refused_update, call, sandbox
):
    sandbox.stop()

    assert call("DELETE", f"/{refused_update}").status_code == 200

    back = row(refused_update)
    assert back["properties"]["dealstage"] == "qualifiedtobuy"
    assert back["properties"]["dealname"] == "A new engine"
    assert (back["state"], back["unsent"], back["drafts"]) == ("synced", [], {})
    assert back["rejection"] is None


def test_the_history_tells_that_a_change_was_dropped(refused_update, call):
    call("DELETE", f"/{refused_update}")

    with transaction() as session:
        changes = session.execute(
            select(RecordChange.value, RecordChange.side, RecordChange.reason)
            .where(RecordChange.name == "dealstage", RecordChange.was.is_not(None))
            .order_by(RecordChange.id)
        ).all()
    assert [tuple(each) for each in changes] == [
        ("nowhere", "here", "HubSpot refused it, and it was dropped here"),
        ("qualifiedtobuy", "hubspot", None),
    ]


def test_values_that_nobody_noted_are_asked_of_hubspot(refused_update, call, hubspot):
    with transaction() as session:
        session.execute(update(Record).values(drafts={}))
    hubspot.patch(
        f"/crm/objects/2026-09/deals/{row(refused_update)['hs_object_id']}",
        {"properties": {"dealstage": "closedlost"}},
    )

    assert call("DELETE", f"/{refused_update}").status_code == 200

    back = row(refused_update)
    assert back["properties"]["dealstage"] == "closedlost"
    assert back["properties"]["dealname"] == "A new engine"
    assert back["state"] == "synced"


def test_nothing_is_dropped_when_hubspot_cannot_tell_its_values(refused_update, call, sandbox):
    with transaction() as session:
        session.execute(update(Record).values(drafts={}))
    sandbox.stop()

    answer = call("DELETE", f"/{refused_update}")

    assert (answer.status_code, answer.json["error_code"]) == (503, "HUBSPOT_UNAVAILABLE")
    assert row(refused_update)["state"] == "rejected"
    assert row(refused_update)["properties"]["dealstage"] == "nowhere"


@pytest.fixture
def refused_pair(portal_id, make_contact):
    """A refused association; returns its id in the list."""
    deal = NewRecord(OBJECT_TYPES["deals"], {"dealname": "x"})
    with transaction() as session:
        contact_id = make_contact("ada@example.com", hs_object_id="1")
        ids = mirror_rows.create_records(portal_id, [deal])
        mirror_rows.associate(portal_id, [(CONTACT_TO_DEAL, contact_id, ids[deal.uuid])])
        said = {"message": "Limit reached", "category": "X", "correlation_id": "c", "errors": {}}
        session.execute(update(Association).values(state="rejected", rejection=said))
        return f"association-{session.scalars(select(Association.id)).one()}"


def test_a_refused_association_is_listed_by_its_ends(refused_pair, listed):
    (found,) = listed(type="associations")

    assert found["id"] == refused_pair
    assert found["rejection"] == {
        "message": "Limit reached",
        "category": "X",
        "correlation_id": "c",
        "fields": {},
    }
    assert (found["from"]["type"], found["from"]["id"]) == ("contacts", "1")
    assert found["to"]["type"] == "deals"
    assert listed(type="deals") == []


def test_a_refused_association_is_sent_again_or_dropped(refused_pair, call):
    assert call("POST", f"/{refused_pair}/resend", json={}).status_code == 200
    with transaction() as session:
        assert session.scalars(select(Association.state)).all() == ["pending"]
        session.execute(update(Association).values(state="rejected"))

    assert call("DELETE", f"/{refused_pair}").status_code == 200
    with transaction() as session:
        assert session.scalars(select(Association.state)).all() == []


def test_an_association_has_no_properties_to_correct(refused_pair, call):
    answer = call("POST", f"/{refused_pair}/resend", json={"properties": {"a": "b"}})

    assert (answer.status_code, list(answer.json["errors"])) == (400, ["properties"])


def test_everything_or_a_type_or_some_are_sent_again(call, make_contact, portal_id, listed):
    rows = [make_contact(f"{number}@example.com", hs_object_id=str(number)) for number in range(4)]
    deal = NewRecord(OBJECT_TYPES["deals"], {"dealname": "x"})
    with transaction():
        rows.append(mirror_rows.create_records(portal_id, [deal])[deal.uuid])
    for each in rows:
        reject(each)
    ids = [each["id"] for each in listed(type="contacts")]

    counts = [
        call("POST", "/resend", json=body).json["data"]["resent"]
        for body in ({"ids": ids[:2]}, {"ids": ids[:2]}, {"type": "deals"}, {}, {})
    ]

    assert counts == [2, 0, 1, 2, 0]


def test_pages_show_every_refused_change_once(call, make_contact, refused_pair):
    for number in range(4):
        reject(make_contact(f"b{number}@example.com", hs_object_id=f"9{number}"))
    seen, cursor = [], None

    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        data = call("GET", "", query_string=query).json["data"]["data"]
        seen += [each["id"] for each in data["rejected"]]
        cursor = data["next_after"]
        if cursor is None:
            break

    assert len(seen) == len(set(seen)) == 5
    assert seen[-1] == refused_pair


def test_a_correction_to_an_email_that_another_contact_has_is_refused(call, make_contact):
    make_contact("ada@example.com")
    row_id = make_contact("eve@example.com")
    reject(row_id)
    uuid = uuid_of(row_id)

    answer = call("POST", f"/{uuid}/resend", json={"properties": {"email": "ADA@example.com"}})
    empty = call("POST", f"/{uuid}/resend", json={"properties": {"email": None}})

    assert (answer.status_code, answer.json["message"]) == (409, "Another contact has this e-mail")
    assert (empty.status_code, list(empty.json["errors"])) == (400, ["properties.email"])
    assert row(uuid)["state"] == "rejected"


def test_what_another_organization_was_refused_is_not_there(client, make_key, refused_update):
    users.create_organization("Other")
    theirs = make_key("Other")

    listing = client.get("/sync/rejected", headers=theirs)
    again = client.post(f"/sync/rejected/{refused_update}/resend", headers=theirs, json={})
    many = client.post("/sync/rejected/resend", headers=theirs, json={"ids": [refused_update]})
    dropped = client.delete(f"/sync/rejected/{refused_update}", headers=theirs)

    assert listing.json["data"]["data"]["rejected"] == []
    assert (again.status_code, dropped.status_code) == (404, 404)
    assert many.json["data"]["resent"] == 0
    assert row(refused_update)["state"] == "rejected"


def test_a_plain_user_may_neither_see_nor_send_nor_drop(client, make_user):
    ada = make_user()

    answers = [
        client.open(f"/sync/rejected{path}", method=method, headers=ada.headers, json={})
        for method, path in (("GET", ""), ("POST", "/resend"), ("DELETE", f"/{uuid4()}"))
    ]

    assert {answer.status_code for answer in answers} == {403}


def test_what_is_not_refused_can_be_neither_sent_nor_dropped(call, make_contact):
    uuid = uuid_of(make_contact("ada@example.com", hs_object_id="1"))

    assert call("POST", f"/{uuid}/resend", json={"properties": {"a": "b"}}).status_code == 404
    assert call("POST", f"/{uuid}/resend", json={}).status_code == 404
    assert call("DELETE", f"/{uuid}").status_code == 404
    assert row(uuid)["state"] == "synced"


HOSTILE = ["0", "association-", "association-" + "9" * 30, "association-٣", "%00", "x" * 400, "-1"]


@pytest.mark.parametrize("rejected_id", HOSTILE, ids=range(len(HOSTILE)))
def test_an_id_that_is_none_is_not_found(call, rejected_id):
    assert call("POST", f"/{rejected_id}/resend", json={}).status_code == 404
    assert call("DELETE", f"/{rejected_id}").status_code == 404


def test_a_correction_that_is_none_is_refused(call, refused_update):
    bodies = {
        "no object": {"properties": []},
        "a name with a space": {"properties": {"a b": "x"}},
        "a name with a line's end": {"properties": {"a\n": "x"}},
        "a number": {"properties": {"dealname": 1}},
        "a NUL": {"properties": {"dealname": "\x00"}},
        "an object inside": {"properties": {"dealname": {"a": 1}}},
        "too long": {"properties": {"dealname": "x" * 65_537}},
        "too many": {"properties": {f"p{number}": "x" for number in range(1001)}},
        "another field": {"other": 1},
    }

    answers = {
        name: call("POST", f"/{refused_update}/resend", json=body) for name, body in bodies.items()
    }

    assert {
        name: (each.status_code, each.json["error_code"]) for name, each in answers.items()
    } == (dict.fromkeys(bodies, (400, "VALIDATION_ERROR")))


def test_no_body_and_no_query_make_a_500(call):
    anything = some.recursive(
        some.none() | some.booleans() | some.integers() | some.text(max_size=10),
        lambda inside: (
            some.lists(inside, max_size=3)
            | some.dictionaries(some.text(max_size=6), inside, max_size=3)
        ),
        max_leaves=6,
    )
    names = some.sampled_from(["ids", "type", "properties", "limit", "cursor"])

    @IN_PROCESS
    @given(body=some.dictionaries(names, anything), value=some.text(max_size=10), name=names)
    def check(body, value, name):
        query = {name: value.encode("utf-8", "replace").decode()}
        answers = [
            call("GET", "", query_string=query),
            call("POST", "/resend", json=body),
            call("POST", f"/{uuid4()}/resend", json=body),
        ]
        assert {answer.status_code for answer in answers} <= {200, 400, 404}

    check()


def uuid_of(row_id):
    with transaction() as session:
        return str(session.get_one(Record, row_id).uuid)
