"""GET /{type} and GET /{type}/{id}: every type, by every id, in pages."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import text

from crm.accounts.users import create_organization
from crm.db import READS, db, transaction
from crm.models import Association, Record, RecordAlias
from crm.object_types import ASSOCIATIONS, CONTACTS, OBJECT_TYPES

from .conftest import counted_statements

LISTED = [each for each in OBJECT_TYPES.values() if each is not CONTACTS]
each_listed = pytest.mark.parametrize("object_type", LISTED, ids=lambda each: each.name)
each_type = pytest.mark.parametrize("object_type", OBJECT_TYPES.values(), ids=OBJECT_TYPES)
IN_PROCESS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def make(portal_id):
    """Writes a record into the mirror as if it had come from HubSpot; returns its row's id."""

    def make(object_type, hs_object_id=None, *, portal_id=portal_id, properties=None, **columns):
        record = Record(
            portal_id=portal_id,
            object_type=object_type,
            hs_object_id=hs_object_id,
            properties=properties or {},
            **{"state": "synced", **columns},
        )
        with transaction() as session:
            session.add(record)
            session.flush()
            return record.id

    return make


@pytest.fixture
def ask(client, make_key):
    headers = make_key()

    def ask(path, **query):
        return client.get(path, query_string=query, headers=headers)

    return ask


def items_in(answer):
    assert answer.status_code == 200, answer.json
    return next(each for each in answer.json["data"]["data"].values() if isinstance(each, list))


def ids_in(answer):
    return [each["id"] for each in items_in(answer)]


def associate(portal_id, from_type, from_id, to_type, to_id):
    kind = next(
        each
        for each in ASSOCIATIONS.values()
        if (each.from_type.name, each.to_type.name) == (from_type, to_type)
    )
    with transaction() as session:
        session.add(
            Association(
                portal_id=portal_id,
                type_id=kind.type_id,
                from_id=from_id,
                to_id=to_id,
                state="synced",
            )
        )


@each_listed
def test_a_listed_record_has_the_fields_of_its_type_by_their_wire_names(ask, make, object_type):
    properties = {object_type.property_for(name): name for name in object_type.answer}
    make(object_type.name, "7", properties=properties | {"website": "https://example.com"})

    answer = ask(f"/{object_type.name}")

    (record,) = items_in(answer)
    assert list(answer.json["data"]["data"]) == [object_type.name, "next_after"]
    assert record["id"] == "7"
    assert {name: record[name] for name in object_type.answer} == {
        name: name for name in object_type.answer
    }
    assert record["properties"] == properties | {"website": "https://example.com"}
    assert (record["sync_state"], record["rejection"]) == ("synced", None)


def test_a_row_that_hubspot_does_not_have_yet_shows_without_an_id(ask, make):
    make("deals", state="pending", properties={"dealname": "A new engine"})

    (deal,) = items_in(ask("/deals"))

    assert (deal["id"], deal["sync_state"], deal["dealname"]) == (None, "pending", "A new engine")
    assert ask(f"/deals/{deal['uuid']}").json["data"]["dealname"] == "A new engine"


def test_a_rejected_row_shows_what_hubspot_said_beside_the_field(ask, make):
    said = {"message": "Not valid", "category": "VALIDATION_ERROR", "correlation_id": "c-1"}
    rejection = said | {"errors": {"dealstage": "x is no stage"}}
    make("deals", "7", state="rejected", rejection=rejection)

    shown = {**said, "fields": {"dealstage": "x is no stage"}}

    assert items_in(ask("/deals"))[0]["rejection"] == shown
    assert ask("/deals/7").json["data"]["rejection"] == shown


@each_type
def test_a_record_is_found_by_hubspots_id_by_an_old_one_and_by_uuid(
    ask, make, portal_id, object_type
):
    row_id = make(object_type.name, "700")
    with transaction() as session:
        session.add(
            RecordAlias(
                portal_id=portal_id,
                object_type=object_type.name,
                hs_object_id="699",
                record_id=row_id,
            )
        )
        uuid = str(session.get_one(Record, row_id).uuid)

    found = [ask(f"/{object_type.name}/{each}") for each in ("700", "699", uuid, uuid.upper())]

    assert [answer.json["data"]["id"] for answer in found] == ["700"] * 4
    assert [answer.json["data"]["uuid"] for answer in found] == [uuid] * 4


@each_type
def test_an_id_of_another_type_archived_or_purged_is_not_found(ask, make, portal_id, object_type):
    other = next(each for each in OBJECT_TYPES.values() if each is not object_type)
    make(other.name, "1")
    make(object_type.name, "2", archived_at=datetime.now(UTC))
    with transaction() as session:
        session.add(
            RecordAlias(portal_id=portal_id, object_type=object_type.name, hs_object_id="3")
        )

    for each in ("1", "2", "3", str(uuid4())):
        answer = ask(f"/{object_type.name}/{each}")
        assert (answer.status_code, answer.json["message"]) == (404, "Resource not found")


HOSTILE_IDS = ["0", "-1", "%00", "1%00", "9" * 400, "٣", "1e3", "' OR 1=1 --", "%ff", "null", "1.0"]
HOSTILE_IDS += ["{12345678123456781234567812345678}", "12345678-1234-1234-1234-1234567890ag", "%0a"]


@each_type
@pytest.mark.parametrize("record_id", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
def test_an_id_that_is_none_is_not_found(ask, object_type, record_id):
    for path in ("", "/history"):
        assert ask(f"/{object_type.name}/{record_id}{path}").status_code == 404


def test_no_id_makes_a_500(ask):
    @IN_PROCESS
    @given(record_id=some.text(min_size=1, max_size=50))
    def check(record_id):
        path = quote(record_id.encode("utf-8", "replace"), safe="")
        assert ask(f"/deals/{path}").status_code in (200, 404, 308, 405)

    check()


def test_no_query_makes_a_500(ask, make):
    make("tickets", "1")
    names = some.sampled_from(["q", "cursor", "sort", "limit", "subject", "category"])

    @IN_PROCESS
    @given(query=some.dictionaries(names | some.text(max_size=5), some.text(max_size=30)))
    def check(query):
        encodable = {name: each.encode("utf-8", "replace").decode() for name, each in query.items()}
        assert ask("/tickets", **encodable).status_code in (200, 400)

    check()


def test_what_another_organization_has_is_not_found(client, make, make_key, portal_id):
    create_organization("Other")
    make("deals", "7")

    theirs = make_key("Other")

    assert client.get("/deals/7", headers=theirs).status_code == 404
    assert client.get("/deals/7/history", headers=theirs).status_code == 404
    assert items_in(client.get("/deals", headers=theirs)) == []


def test_a_single_record_tells_its_associations_from_either_end(ask, make, portal_id):
    contact, deal, ticket = make("contacts", "1"), make("deals", "2"), make("tickets", "3")
    gone = make("tickets", "4", archived_at=datetime.now(UTC))
    associate(portal_id, "contacts", contact, "deals", deal)
    associate(portal_id, "deals", deal, "tickets", ticket)
    associate(portal_id, "deals", deal, "tickets", gone)

    told = ask("/deals/2").json["data"]

    assert list(told["associations"]) == ["contacts", "tickets", "companies", "line_items"]
    shown = {
        name: [(each["id"], each["type"], each["sync_state"]) for each in found]
        for name, found in told["associations"].items()
    }
    assert shown == {
        "contacts": [("1", "deal_to_contact", "synced")],
        "tickets": [("3", "deal_to_ticket", "synced")],
        "companies": [],
        "line_items": [],
    }
    assert told["association_totals"] == {
        "contacts": 1,
        "tickets": 1,
        "companies": 0,
        "line_items": 0,
    }
    uuid = ask("/tickets/3").json["data"]["uuid"]
    assert told["associations"]["tickets"][0]["uuid"] == uuid


def test_associations_are_capped_and_counted(ask, make, portal_id):
    make("companies", "1")
    with transaction() as session:
        session.execute(
            text("""
                WITH made AS (
                    INSERT INTO records (portal_id, object_type, hs_object_id, properties)
                    SELECT :portal_id, 'contacts', n::text, '{}' FROM generate_series(1, 1001) AS n
                    RETURNING id)
                INSERT INTO associations (portal_id, type_id, from_id, to_id)
                SELECT :portal_id, 279, made.id, records.id FROM made, records
                WHERE object_type = 'companies'
            """),
            {"portal_id": portal_id},
        )

    company = ask("/companies/1").json["data"]

    assert len(company["associations"]["contacts"]) == 1000
    assert company["association_totals"]["contacts"] == 1001


def test_the_etag_changes_with_every_version(ask, make):
    modified_at = datetime(2026, 11, 21, tzinfo=UTC)
    make("deals", "1", revision=4)
    make("deals", "2", revision=4, hs_modified_at=modified_at)

    assert ask("/deals/1").headers["ETag"] == '"4-0"'
    assert ask("/deals/2").headers["ETag"] == f'"4-{round(modified_at.timestamp() * 1000)}"'


def test_a_version_that_is_known_is_not_sent_again(client, make, make_key):
    make("deals", "1")
    headers = make_key()
    etag = client.get("/deals/1", headers=headers).headers["ETag"]

    again = client.get("/deals/1", headers=headers | {"If-None-Match": f'"x", {etag}'})
    other = client.get("/deals/1", headers=headers | {"If-None-Match": '"0-0"'})

    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    assert again.headers["Cache-Control"] == "private, no-cache"
    assert other.status_code == 200


def test_a_watcher_gets_hubspots_answer_though_the_version_is_the_same(client, make, make_key):
    make("deals", "1", state="rejected", rejection={"message": "No", "errors": {}})
    headers = make_key()
    etag = client.get("/deals/1", headers=headers).headers["ETag"]

    assert client.get("/deals/1", headers=headers | {"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("value", ["*", "", "W/", '"', "\xff", "x" * 5000])
def test_an_odd_if_none_match_is_no_fault(client, make, make_key, value):
    make("deals", "1")

    answer = client.get("/deals/1", headers=make_key() | {"If-None-Match": value})

    assert answer.status_code in (200, 304)


@each_listed
@pytest.mark.parametrize("way", ["", "-"])
def test_a_list_has_an_order_by_creation_and_by_modification(ask, make, object_type, way):
    day = datetime(2026, 1, 1, tzinfo=UTC)
    for number, (created, modified) in enumerate([(2, 1), (1, 3), (3, 2)]):
        make(
            object_type.name,
            str(number),
            hs_created_at=day + timedelta(days=created),
            hs_modified_at=day + timedelta(days=modified),
        )

    def order(name):
        found, cursor = [], None
        while True:
            query = {"sort": way + name, "limit": 1, **({"cursor": cursor} if cursor else {})}
            answer = ask(f"/{object_type.name}", **query)
            found += ids_in(answer)
            cursor = answer.json["data"]["data"]["next_after"]
            if cursor is None:
                return found if not way else found[::-1]

    assert order("createdate") == ["1", "0", "2"]
    assert order(object_type.modified_property) == ["0", "2", "1"]


def test_pages_show_every_record_once_while_others_are_added(ask, make):
    for number in range(7):
        make("companies", str(number))
    seen, cursor = [], None

    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        answer = ask("/companies", **query)
        seen += ids_in(answer)
        make("companies", str(100 + len(seen)))
        cursor = answer.json["data"]["data"]["next_after"]
        if cursor is None:
            break

    assert seen == [str(number) for number in range(6, -1, -1)]


def test_a_cursor_of_another_list_is_refused(ask, make):
    for number in range(3):
        make("deals", str(number))
        make("tickets", str(number))
    cursor = ask("/deals", limit=1).json["data"]["data"]["next_after"]

    for path in ("/tickets", "/contacts", "/deals/1/history"):
        answer = ask(path, cursor=cursor)
        assert answer.status_code == 400, path
        assert "cursor" in answer.json["errors"]
    assert ask("/deals", cursor=cursor, sort="createdate").status_code == 400


def test_filters_and_words_find_records_of_the_type_alone(ask, make):
    make("tickets", "1", properties={"subject": "It stutters", "hs_ticket_category": "BILLING"})
    make("tickets", "2", properties={"subject": "It stops", "hs_ticket_category": "PRODUCT"})
    make("deals", "3", properties={"dealname": "It stutters"})

    assert ids_in(ask("/tickets", category="PRODUCT")) == ["2"]
    assert ids_in(ask("/tickets", q="stutt")) == ["1"]
    assert ids_in(ask("/tickets", q="it", category="BILLING")) == ["1"]
    assert ids_in(ask("/deals", q="STUTTERS it")) == ["3"]
    assert ids_in(ask("/line_items", q="stutters")) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [({"sort": "dealname"}, "sort"), ({"limit": 101}, "limit"), ({"subject": "x"}, "subject")],
)
def test_a_wrong_query_names_the_parameter(ask, query, field):
    answer = ask("/deals", **query)

    assert (answer.status_code, list(answer.json["errors"])) == (400, [field])


@pytest.mark.parametrize("path", ["/deals", "/deals/1"])
def test_reading_takes_one_statement_however_much_there_is(client, make, make_key, portal_id, path):
    headers = make_key()
    for number in range(10):
        make("deals", str(number), properties={"dealname": "A"})
    client.get(path, headers=headers)
    counts = []
    for _ in range(2):
        with counted_statements() as found:
            client.get(path, headers=headers)
        counts.append(len(found))
        deal_id = make("deals", f"1{counts}")
        associate(portal_id, "deals", deal_id, "tickets", make("tickets", f"1{counts}"))

    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ("sort", "index"),
    [
        ("", "ix_records_live"),
        ("createdate", "ix_records_created"),
        ("-hs_lastmodifieddate", "ix_records_modified"),
    ],
)
def test_a_page_is_read_from_the_index_of_its_order(ask, portal_id, sort, index):
    with transaction() as session:
        session.execute(
            text("""
                INSERT INTO records (portal_id, object_type, hs_object_id, properties, state)
                SELECT :portal_id, object_type, n::text, '{"dealname": "x"}', 'synced'
                FROM generate_series(1, 1000) AS n, unnest(ARRAY['deals', 'tickets']) AS object_type
            """),
            {"portal_id": portal_id},
        )
        session.execute(text("ANALYZE records"))
    db.engines[READS].dispose()
    ask("/deals", sort=sort)

    with db.engines[READS].connect() as connection:
        name = connection.scalar(
            text(
                "SELECT name FROM pg_prepared_statements"
                " WHERE statement LIKE '%''deals''%' AND statement LIKE '%ORDER BY r.sorted%'"
            )
        )
        plan = connection.scalars(text(f"EXPLAIN EXECUTE {name} ({portal_id}, 11)")).all()

    assert index in "".join(plan)
