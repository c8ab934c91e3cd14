"""GET /contacts: the shape of its answer, its pages and its orders."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sqlalchemy import text

from crm.db import READS, db, transaction
from crm.mirror.rows import NewRecord, create_records
from crm.object_types import DEALS

from .conftest import contacts_in, counted_statements, emails_in

CONTACT = ["id", "hs_object_id", "email", "firstname", "lastname", "createdate"]
CONTACT += ["lastmodifieddate", "sync_state", "deals"]
DEAL = ["id", "hs_object_id", "dealname", "dealstage", "pipeline", "amount", "closedate"]
DEAL += ["createdate", "hs_lastmodifieddate", "sync_state", "tickets"]
TICKET = ["id", "hs_object_id", "subject", "description", "category", "pipeline"]
TICKET += ["hs_pipeline_stage", "hs_ticket_priority", "createdate", "hs_lastmodifieddate"]
TICKET += ["sync_state"]


def test_a_contact_shows_before_hubspot_has_it_without_an_id(register):
    answer = register().get("/contacts")

    assert answer.json == {
        "data": {
            "data": {
                "contacts": [
                    {
                        "id": None,
                        "hs_object_id": None,
                        "email": "ada@example.com",
                        "firstname": "Ada",
                        "lastname": "Lovelace",
                        "createdate": None,
                        "lastmodifieddate": None,
                        "sync_state": "pending",
                        "deals": [
                            {
                                "id": None,
                                "hs_object_id": None,
                                "dealname": "A new engine",
                                "dealstage": "qualifiedtobuy",
                                "pipeline": None,
                                "amount": "1000000",
                                "closedate": None,
                                "createdate": None,
                                "hs_lastmodifieddate": None,
                                "sync_state": "pending",
                                "tickets": [
                                    {
                                        "id": None,
                                        "hs_object_id": None,
                                        "subject": "The engine stutters",
                                        "description": "Only on Mondays.",
                                        "category": "PRODUCT_ISSUE",
                                        "pipeline": "0",
                                        "hs_pipeline_stage": "1",
                                        "hs_ticket_priority": "HIGH",
                                        "createdate": None,
                                        "hs_lastmodifieddate": None,
                                        "sync_state": "pending",
                                    }
                                ],
                            }
                        ],
                    }
                ],
                "next_after": None,
            }
        },
        "message": "Contacts retrieved successfully",
    }


def test_the_fields_stand_in_the_contracts_order(register):
    contact = contacts_in(register().get("/contacts"))[0]
    deal = contact["deals"][0]

    assert list(contact) == CONTACT
    assert list(deal) == DEAL
    assert list(deal["tickets"][0]) == TICKET


def test_after_the_push_every_value_is_a_string_or_null_as_hubspot_gives_it(register, run_jobs):
    ada = register()
    run_jobs()

    contact = contacts_in(ada.get("/contacts"))[0]
    deal = contact["deals"][0]
    nodes = [contact, deal, deal["tickets"][0]]

    for node in nodes:
        values = [value for value in node.values() if not isinstance(value, list)]
        assert all(value is None or isinstance(value, str) for value in values)
        assert node["id"] == node["hs_object_id"]
        assert node["id"].isdigit()
        assert node["sync_state"] == "synced"
        assert datetime.fromisoformat(node["createdate"]).tzinfo is not None
    assert deal["amount"] == "1000000"
    assert deal["pipeline"] == "default"


def test_an_archived_contact_deal_or_ticket_is_left_out(client, make_key, make_graph):
    headers = make_key()
    ids = make_graph(
        "ada@example.com", deals=[{"dealname": "One"}, {}], tickets=[{"subject": "One"}, {}]
    )
    _archive(ids["tickets"][0], ids["deals"][1])
    shown = contacts_in(client.get("/contacts", headers=headers))
    _archive(ids["contact"])

    assert [len(deal["tickets"]) for deal in shown[0]["deals"]] == [1]
    assert contacts_in(client.get("/contacts", headers=headers)) == []


def test_10_contacts_make_a_page_unless_asked_otherwise(client, make_key, make_contact):
    headers = make_key()
    for number in range(12):
        make_contact(f"{number}@example.com")

    sizes = {
        limit: len(
            contacts_in(client.get("/contacts", query_string={"limit": limit}, headers=headers))
        )
        for limit in (1, 11, 100)
    }

    assert len(contacts_in(client.get("/contacts", headers=headers))) == 10
    assert sizes == {1: 1, 11: 11, 100: 12}


def test_the_newest_come_first(client, make_key, make_contact):
    for number in range(3):
        make_contact(f"{number}@example.com")

    assert emails_in(client.get("/contacts", headers=make_key())) == [
        "2@example.com",
        "1@example.com",
        "0@example.com",
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("sort", ["", "email", "-createdate"])
def test_pages_show_every_contact_once(client, make_key, make_contact, size, sort):
    for number in range(6):
        make_contact(f"{number}@example.com", hs_created_at=_day(number % 2))

    seen = [email for page in _pages(client, make_key(), limit=size, sort=sort) for email in page]

    assert sorted(seen) == [f"{number}@example.com" for number in range(6)]


def test_the_last_page_has_no_cursor_even_when_it_is_full(client, make_key, make_contact):
    for number in range(4):
        make_contact(f"{number}@example.com")

    assert [len(page) for page in _pages(client, make_key(), limit=2)] == [2, 2]


def test_paging_is_stable_while_contacts_are_added(client, make_key, make_contact):
    headers = make_key()
    orders = ["", "email", "-email", "createdate", "-createdate", "lastname", "-lastmodifieddate"]
    counter = iter(range(10_000))

    def add(name):
        email = f"{name}{next(counter)}@example.com"
        make_contact(email, lastname=name, hs_created_at=_day(len(name)))
        return email

    @settings(max_examples=15, deadline=None)
    @given(
        sort=some.sampled_from(orders),
        limit=some.integers(1, 4),
        names=some.lists(some.sampled_from(["a", "b", "bb", "z"]), max_size=4),
    )
    def check(sort, limit, names):
        before = {email for page in _pages(client, headers, limit=100) for email in page}
        before |= {add("a"), add("z")}
        later = iter(names)
        seen = []
        for page in _pages(client, headers, limit=limit, sort=sort):
            seen += page
            add(next(later, "a")) if len(seen) < 5 else None
        assert before <= set(seen)
        assert len(seen) == len(set(seen))
        with transaction() as session:
            session.execute(text("DELETE FROM records"))

    check()


PEOPLE = [
    # email, firstname, lastname, created, modified
    ("bea@example.com", "Bea", "Zuse", 3, 1),
    ("ada@example.com", "ada", "Lovelace", 1, 3),
    ("eve@example.com", "Eve", None, 2, 2),
    ("dan@example.com", None, "lovelace", 2, 2),
    ("cai@example.com", "Ada", "Ångström", 2, 2),
]
ORDERS = {
    "email": ["ada", "bea", "cai", "dan", "eve"],
    "firstname": ["dan", "ada", "cai", "bea", "eve"],
    "lastname": ["eve", "ada", "dan", "bea", "cai"],
    "createdate": ["ada", "eve", "dan", "cai", "bea"],
    "lastmodifieddate": ["bea", "eve", "dan", "cai", "ada"],
}


@pytest.mark.parametrize("limit", [2, 100])
@pytest.mark.parametrize("name", ORDERS)
def test_each_order_works_both_ways_with_ties_and_missing_values(
    client, make_key, make_contact, name, limit
):
    for email, firstname, lastname, created, modified in PEOPLE:
        make_contact(
            email,
            firstname=firstname,
            lastname=lastname,
            hs_created_at=_day(created),
            hs_modified_at=_day(modified),
        )
    headers = make_key()

    upwards, downwards = (
        [
            email.partition("@")[0]
            for page in _pages(client, headers, limit=limit, sort=sort)
            for email in page
        ]
        for sort in (name, f"-{name}")
    )

    assert upwards == ORDERS[name]
    assert downwards == ORDERS[name][::-1]


def test_a_contact_without_an_email_is_listed_in_every_order(client, make_key, make_contact):
    make_contact(None, hs_object_id="5", firstname="Nameless")

    for sort in ("", "email", "-email", "lastname", "createdate"):
        found = contacts_in(client.get(f"/contacts?sort={sort}", headers=make_key()))
        assert [each["email"] for each in found] == [None]


@pytest.mark.parametrize("sort", ["firstname", "-lastname"])
def test_names_of_any_length_can_be_paged_through(client, make_key, make_contact, sort):
    dice = random.Random(1)  # So that they cannot be compressed.
    names = ["".join(map(chr, dice.choices(range(0x20000, 0x2A000), k=9000))) for _ in range(3)]
    for number, name in enumerate(names):
        make_contact(f"{number}@example.com", firstname=name, lastname=name)

    pages = list(_pages(client, make_key(), limit=1, sort=sort))

    assert sorted(email for page in pages for email in page) == [
        "0@example.com",
        "1@example.com",
        "2@example.com",
    ]


@pytest.mark.parametrize("query", [{}, {"q": "ada"}, {"sort": "email"}, {"firstname": "Ada"}])
def test_a_page_takes_as_many_statements_for_20_contacts_as_for_one(
    client, make_key, make_graph, query
):
    headers = make_key()
    for number in range(20):
        deals = [{"dealname": "One"}, {"dealname": "Other"}]
        make_graph(
            f"{number}@example.com", firstname="Ada", deals=deals, tickets=[{"subject": "A"}]
        )
    counts = {}
    for limit in (1, 1, 20):  # The first time, connections are made and statements prepared.
        with counted_statements() as found:
            answer = client.get("/contacts", query_string=query | {"limit": limit}, headers=headers)
        counts[len(contacts_in(answer))] = len(found)

    assert 0 < counts[1] == counts[20]


def test_a_page_does_not_read_through_the_deals_that_came_after_the_contacts(
    client, portal_id, make_contact, make_key
):
    make_contact("ada@example.com")
    with transaction() as session:
        create_records(portal_id, [NewRecord(DEALS, {"dealname": str(n)}) for n in range(1000)])
        session.execute(text("ANALYZE records"))
    db.engines[READS].dispose()  # Which may have prepared others before.
    client.get("/contacts", headers=make_key())

    with db.engines[READS].connect() as connection:
        name = connection.scalar(
            text("SELECT name FROM pg_prepared_statements WHERE statement LIKE '%json_agg%'")
        )
        plan = connection.scalars(text(f"EXPLAIN EXECUTE {name} ({portal_id}, 11)")).all()

    assert "ix_records_live" in "".join(plan)


def _archive(*row_ids):
    with transaction() as session:
        session.execute(
            text("UPDATE records SET archived_at = now() WHERE id = ANY(:ids)"),
            {"ids": list(row_ids)},
        )


def _pages(client, headers, **query):
    cursor = None
    while True:
        given_query = {**query, **({"cursor": cursor} if cursor else {})}
        answer = client.get("/contacts", query_string=given_query, headers=headers)
        yield emails_in(answer)
        cursor = answer.json["data"]["data"]["next_after"]
        if cursor is None:
            return


def _day(number):
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


@pytest.fixture
def ask(client, make_key):
    headers = make_key()
    return lambda **query: client.get("/contacts", query_string=query, headers=headers)


def test_a_plain_hubspot_id_as_cursor_gives_the_contacts_after_it_in_ascending_order(
    ask, make_contact
):
    for hubspot_id in ("1000", "99", "200", "101", None, "7"):
        make_contact(f"p{hubspot_id}@example.com", hs_object_id=hubspot_id)

    found, cursor = [], "99"
    while cursor:
        answer = ask(cursor=cursor, limit=2)
        found += [each["id"] for each in contacts_in(answer)]
        cursor = answer.json["data"]["data"]["next_after"]

    assert found == ["101", "200", "1000"]


def test_a_plain_id_as_cursor_need_not_be_that_of_a_contact(ask, make_contact):
    make_contact("a@example.com", hs_object_id="501")

    assert emails_in(ask(cursor="0")) == ["a@example.com"]
    assert emails_in(ask(cursor="500")) == ["a@example.com"]
    assert emails_in(ask(cursor="501")) == []
    assert emails_in(ask(cursor="9" * 20)) == []


def test_a_plain_id_as_cursor_goes_with_filters_and_not_with_an_order(ask, make_contact):
    make_contact("a@example.com", hs_object_id="501", lifecyclestage="lead")
    make_contact("b@example.com", hs_object_id="502", lifecyclestage="customer")

    filtered = ask(cursor="5", lifecyclestage="customer")
    sorted_too = ask(cursor="5", sort="email")

    assert emails_in(filtered) == ["b@example.com"]
    assert (sorted_too.status_code, list(sorted_too.json["errors"])) == (400, ["cursor"])


@pytest.mark.parametrize("cursor", ["-1", "1.5", "9" * 21, "٣", "0x1f", " 7"])
def test_what_is_no_plain_id_is_no_cursor(ask, cursor):
    answer = ask(cursor=cursor)

    assert (answer.status_code, list(answer.json["errors"])) == (400, ["cursor"])
