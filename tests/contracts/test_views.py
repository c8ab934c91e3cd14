"""The views for analysts keep to the declared types, to HubSpot's properties and to their page."""

import re

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from crm.db import db, transaction
from crm.models import Record
from crm.object_types import ASSOCIATIONS, CRM_UID, OBJECT_TYPES
from tests.contracts.source import ROOT
from tests.sandbox.client import HubSpot

PAGE = (ROOT / "docs" / "analysts.md").read_text()
# HubSpot's types, and Postgres's.
KINDS = {
    "number": "numeric",
    "datetime": "timestamp with time zone",
    "date": "timestamp with time zone",
    "bool": "boolean",
    "string": "text",
    "enumeration": "text",
    "phone_number": "text",
}
SHARED = {"id": "text", "uuid": "uuid", "organization": "text", "sync_state": "text"}
SHARED["properties"] = "jsonb"

each_type = pytest.mark.parametrize("object_type", OBJECT_TYPES.values(), ids=OBJECT_TYPES)


@pytest.fixture
def write(portal_id):
    """Writes a record into the mirror; returns its row's id."""

    def write(object_type, properties, **columns):
        with transaction() as session:
            record = Record(
                portal_id=portal_id, object_type=object_type, properties=properties, **columns
            )
            session.add(record)
            session.flush()
            return record.id

    return write


def columns_of(view):
    statement = text(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :view"
    )
    with transaction() as session:
        return dict(map(tuple, session.execute(statement, {"view": view})))


def documented(title):
    """The columns of a table of the page, by the title above it."""
    section = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section, re.MULTILINE)
    return {name: kind.replace("timestamptz", "timestamp with time zone") for name, kind in rows}


def read(statement, **parameters):
    with transaction() as session:
        return [tuple(row) for row in session.execute(text(statement), parameters)]


def test_there_is_a_view_of_every_type_and_one_of_the_pairs(app):
    views = {f"mirror_{name}" for name in (*OBJECT_TYPES, "associations")}

    assert {row[0] for row in read("SELECT viewname FROM pg_views WHERE viewname ~ '^mirror'")} == (
        views
    )
    assert set(re.findall(r"^## (mirror_\w+)$", PAGE, re.MULTILINE)) == views


@each_type
def test_a_view_has_the_columns_that_the_page_tells(app, object_type):
    view = f"mirror_{object_type.name}"

    assert documented("What every view has") == SHARED
    assert columns_of(view) == documented(view) | SHARED


def test_the_view_of_the_pairs_has_the_columns_that_the_page_tells(app):
    assert columns_of("mirror_associations") == documented("mirror_associations")


@each_type
def test_a_view_has_whatever_the_type_declares(app, object_type):
    named = {object_type.property_for(name) for name in object_type.answer + object_type.filters}
    named |= {object_type.modified_property, object_type.stage_property}
    named |= {object_type.pipeline_property, object_type.id_property}

    assert named - {None, CRM_UID} - set(columns_of(f"mirror_{object_type.name}")) == set()


@each_type
def test_a_column_has_the_type_that_hubspot_gives_the_property(app, sandbox, object_type):
    answer = HubSpot(sandbox.url).get(f"/crm/properties/2026-09/{object_type.name}")
    defined = {each["name"]: KINDS[each["type"]] for each in answer.json()["results"]}
    columns = columns_of(f"mirror_{object_type.name}")

    assert {name: kind for name, kind in columns.items() if name not in SHARED} == {
        name: defined[name] for name in columns if name not in SHARED
    }


@each_type
def test_a_view_shows_the_live_records_of_its_type(write, object_type):
    write(object_type.name, {}, hs_object_id="1", state="synced")
    write(object_type.name, {}, hs_object_id="2", archived_at=text("now()"))
    other = next(each for each in OBJECT_TYPES if each != object_type.name)
    write(other, {}, hs_object_id="3")

    rows = read(f"SELECT id, organization, sync_state FROM mirror_{object_type.name}")  # noqa: S608

    assert rows == [("1", "Default", "synced")]


NUMBERS = {
    "12": "12",
    "-0.50": "-0.50",
    "1e3": "1000",
    "1000000000000000000000": "1000000000000000000000",
    "1e9999999": None,
    "NaN": None,
    "Infinity": None,
    "1,000": None,
    " 1": None,
    "1\n": None,
    "0x1f": None,
    "٣": None,
    "": None,
    "a lot": None,
}


@pytest.mark.parametrize(("given", "number"), NUMBERS.items())
def test_a_number_is_a_number_or_nothing(write, given, number):
    write("deals", {"amount": given})

    assert read("SELECT amount::text, properties ->> 'amount' FROM mirror_deals") == [
        (number, given)
    ]


TIMES = {
    "2026-11-21T10:30:00Z": "2026-11-21 10:30:00+00",
    "2026-11-21T10:30:00.123Z": "2026-11-21 10:30:00.123+00",
    "2026-11-21T10:30:00+02:00": "2026-11-21 08:30:00+00",
    "2026-11-21": "2026-11-21 00:00:00+00",
    "2026-02-30": None,
    "2026-13-01T00:00:00Z": None,
    "2026-11-21T99:00:00Z": None,
    "2026-11-21T:::Z": None,
    "now": None,
    "infinity": None,
    "tomorrow": None,
    "1763720000000": None,
    "": None,
}


@pytest.mark.parametrize(("given", "moment"), TIMES.items())
def test_a_time_is_a_time_or_nothing_whatever_the_sessions_zone(write, given, moment):
    write("deals", {"closedate": given})
    with transaction() as session:
        session.execute(text("SET LOCAL timezone = 'America/New_York'"))
        found = session.scalars(
            text("SELECT (closedate AT TIME ZONE 'UTC')::text || '+00' FROM mirror_deals")
        ).one()

    assert found == moment


@pytest.mark.parametrize(
    ("given", "value"), [("true", True), ("FALSE", False), ("yes", None), ("1", None), ("", None)]
)
def test_a_boolean_is_one_or_nothing(write, given, value):
    write("deals", {"hs_is_closed": given})

    assert read("SELECT hs_is_closed FROM mirror_deals") == [(value,)]


def test_pairs_are_shown_while_both_ends_live(write, portal_id):
    deal = write("deals", {}, hs_object_id="2")
    kind = next(each for each in ASSOCIATIONS.values() if each.from_type.name == "contacts")
    for number, archived in ((1, None), (3, text("now()"))):
        contact = write("contacts", {}, hs_object_id=str(number), archived_at=archived)
        with transaction() as session:
            session.execute(
                text(
                    "INSERT INTO associations (portal_id, type_id, from_id, to_id, state)"
                    " VALUES (:portal_id, :type_id, :from_id, :to_id, 'synced')"
                ),
                {
                    "portal_id": portal_id,
                    "type_id": kind.type_id,
                    "from_id": contact,
                    "to_id": deal,
                },
            )

    assert read(
        "SELECT organization, from_type, from_id, to_type, to_id, sync_state"
        " FROM mirror_associations"
    ) == [("Default", "contacts", "1", "deals", "2", "synced")]


def statements(title):
    section = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```sql\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize("number", range(len(statements("Examples"))))
def test_the_examples_of_the_page_run(app, number):
    assert read(statements("Examples")[number]) == []


def test_the_role_of_the_page_reads_the_views_and_nothing_else(write):
    (recipe,) = statements("A role that only reads")
    write("deals", {"amount": "5"})
    with db.engine.connect() as connection:
        # All of it is undone at the end: roles belong to the whole server.
        connection.execute(text(recipe.replace("choose-one", "x")))
        connection.execute(text("SET LOCAL ROLE analyst"))
        assert connection.scalars(text("SELECT amount FROM mirror_deals")).all() == [5]
        for name in (*OBJECT_TYPES, "associations"):
            connection.execute(text(f"SELECT * FROM mirror_{name}"))  # noqa: S608
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text("SELECT * FROM users"))
        connection.rollback()
