"""With CONTACTS_VISIBLE_TO_USERS=own a user reads what hangs on the own contact, and no more."""

import pytest
from sqlalchemy import select, text

from crm.db import transaction
from crm.models import Association, Record, User
from crm.object_types import ASSOCIATIONS
from tests.conftest import Person

from .conftest import sign_in

# Two contacts, each with a graph; "shared" hangs on both.
MINE = {
    "contacts": {"me"},
    "deals": {"my deal", "shared deal"},
    "tickets": {"my ticket", "ticket of my deal"},
    "companies": {"shared company", "company of my deal"},
    "line_items": {"my item"},
}
THEIRS = {
    "contacts": {"them"},
    "deals": {"their deal"},
    "tickets": {"their ticket"},
    "companies": {"their company"},
    "line_items": {"their item"},
}
PAIRS = [
    ("me", "my deal"),
    ("me", "shared deal"),
    ("me", "my ticket"),
    ("me", "shared company"),
    ("my deal", "ticket of my deal"),
    ("my deal", "my item"),
    ("my deal", "company of my deal"),
    ("them", "their deal"),
    ("them", "shared deal"),
    ("them", "shared company"),
    ("their deal", "their ticket"),
    ("their deal", "their item"),
    ("their deal", "their company"),
    ("them", "their company"),
]
TYPES = sorted(MINE)


@pytest.fixture
def graph(portal_id):
    """Writes the graph; returns HubSpot's ids by name."""
    names = {
        name: object_type
        for each in (MINE, THEIRS)
        for object_type, found in each.items()
        for name in sorted(found)
    }
    with transaction() as session:
        rows = {}
        for number, (name, object_type) in enumerate(names.items(), 100):
            rows[name] = Record(
                portal_id=portal_id,
                object_type=object_type,
                hs_object_id=str(number),
                properties={"email": f"{name}@example.com"} if object_type == "contacts" else {},
                state="synced",
            )
        session.add_all(rows.values())
        session.flush()
        for one, other in PAIRS:
            ends = (rows[one].object_type, rows[other].object_type)
            kind = next(
                each
                for each in ASSOCIATIONS.values()
                if (each.from_type.name, each.to_type.name) == ends
            )
            session.add(
                Association(
                    portal_id=portal_id,
                    type_id=kind.type_id,
                    from_id=rows[one].id,
                    to_id=rows[other].id,
                )
            )
        return {name: row.hs_object_id for name, row in rows.items()}


@pytest.fixture
def me(app, change_settings, make_user, graph) -> Person:
    make_user("me@example.com")
    with transaction() as session:
        session.scalars(select(User)).one().contact_id = session.scalars(
            select(Record.id).where(Record.email == "me@example.com")
        ).one()
    change_settings(contacts_visible_to_users="own")
    return sign_in(app.test_client(), "me@example.com")


def listed(person, object_type, **query):
    data = person.get(f"/{object_type}", **query).json["data"]["data"]
    return {each["id"] for each in data[object_type]}


@pytest.mark.parametrize("object_type", TYPES)
def test_a_list_shows_what_hangs_on_the_own_contact(me, graph, object_type):
    assert listed(me, object_type) == {graph[name] for name in MINE[object_type]}


@pytest.mark.parametrize("object_type", TYPES)
def test_a_record_that_does_not_hang_on_it_is_not_found(me, graph, object_type):
    statuses = {
        name: me.get(f"/{object_type}/{graph[name]}").status_code
        for name in MINE[object_type] | THEIRS[object_type]
    }

    assert {name for name, status in statuses.items() if status == 200} == MINE[object_type]
    assert {statuses[name] for name in THEIRS[object_type]} == {404}


@pytest.mark.parametrize("shared", [("deals", "shared deal"), ("companies", "shared company")])
def test_a_shared_record_does_not_tell_who_else_has_it(me, graph, shared):
    object_type, name = shared

    record = me.get(f"/{object_type}/{graph[name]}").json["data"]

    assert [each["id"] for each in record["associations"]["contacts"]] == [graph["me"]]
    assert record["association_totals"]["contacts"] == 1


def test_what_hangs_on_an_archived_record_is_not_shown(me, graph):
    with transaction() as session:
        session.execute(
            text("UPDATE records SET archived_at = now() WHERE hs_object_id = :id"),
            {"id": graph["my deal"]},
        )

    assert listed(me, "line_items") == set()
    assert listed(me, "tickets") == {graph["my ticket"]}


@pytest.mark.parametrize("object_type", TYPES)
def test_a_user_without_a_contact_sees_nothing(change_settings, graph, make_user, object_type):
    nobody = make_user("nobody@example.com")
    change_settings(contacts_visible_to_users="own")

    assert listed(nobody, object_type) == set()


def test_a_caller_who_sees_all_contacts_sees_all_records(make_user, graph):
    anybody = make_user("anybody@example.com")

    for object_type in TYPES:
        everything = MINE[object_type] | THEIRS[object_type]
        assert listed(anybody, object_type) == {graph[name] for name in everything}
