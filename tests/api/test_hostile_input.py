"""Whatever comes in is answered with a 4xx that names the field, never with a 500."""

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.conftest import registration

JSON = "application/json"
DEEP = "[" * 100_000 + "]" * 100_000
MANY_DIGITS = "9" * 5000
IN_PROCESS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

BODIES = [
    pytest.param(b"", "body", id="nothing"),
    pytest.param(b"{", "body", id="unfinished"),
    pytest.param(b"{'email': 1}", "body", id="single quotes"),
    pytest.param(b"\xef\xbb\xbf{}", "body", id="byte order mark"),
    pytest.param(b"[]", "body", id="array"),
    pytest.param(b'"text"', "body", id="string"),
    pytest.param(b"null", "body", id="null"),
    pytest.param(b"true", "body", id="true"),
    pytest.param(b"7", "body", id="number"),
    pytest.param(MANY_DIGITS.encode(), "body", id="number of 5,000 digits"),
    pytest.param(b'{"email": NaN}', "body", id="NaN"),
    pytest.param(b'{"email": -Infinity}', "body", id="Infinity"),
    pytest.param(b'{"email": "\xff\xfe"}', "body", id="invalid UTF-8"),
    pytest.param(b'{"email": "\xed\xa0\x80"}', "body", id="surrogate in UTF-8"),
    pytest.param('{"email": "a@b.ch"}'.encode("utf-16"), "body", id="UTF-16"),
    pytest.param(DEEP.encode(), "body", id="100,000 deep"),
    pytest.param(b'{"email": ' + DEEP.encode() + b"}", "body", id="100,000 deep inside"),
    pytest.param(b'{"email": "a\x00b"}', "body", id="raw NUL"),
    pytest.param(b'{"\\ud800": 1}', "\\ud800", id="lone surrogate as a name"),
    pytest.param(b'{"\\u0000": 1}', "\x00", id="NUL as a name"),
    pytest.param(b'{"a.b": 1}', "a.b", id="dotted name"),
    pytest.param(b'{"_schema": 1}', "body", id="marshmallow's own name"),
    pytest.param(b'{"email": ' + MANY_DIGITS.encode() + b"}", "email", id="5,000 digits"),
    pytest.param(b'{"email": 1e999}', "email", id="beyond a float"),
]


@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.parametrize(("body", "field"), BODIES)
def test_a_body_that_is_no_object_of_ours_is_refused(client, path, body, field):
    answer = client.post(path, data=body, content_type=JSON)

    _assert_refused(answer, field)


@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"],
)
def test_a_body_of_another_content_type_is_refused(client, path, content_type):
    body = json.dumps({"email": "a@b.ch", "password": "secret"})

    answer = client.post(path, data=body, content_type=content_type)

    _assert_refused(answer, "body")
    assert "application/json" in answer.json["errors"]["body"]


@pytest.mark.parametrize("path", ["/register", "/login"])
def test_a_charset_in_the_content_type_is_fine(client, path):
    answer = client.post(path, data=b"{}", content_type="application/json; charset=utf-8")

    _assert_refused(answer, "email")


NO_TEXTS = [None, True, 0, 1.5, [], ["a"], {}, {"a": 1}]
NO_LINES = ["\x00", "a\x00b", "a\nb", "a\tb", "\x1b[31m", "\x7f", "\x85", "\ud800", "a\udfffb"]
REGISTRATION_FIELDS = {
    "email": [*NO_TEXTS, *NO_LINES, "", "a", "a@", "@b.ch", "a@b", "a b@c.ch", "a" * 250 + "@b.ch"],
    "password": [*NO_TEXTS, "short", "x" * 129, "secret\x00", "secret\ud800"],
    "firstname": [*NO_TEXTS, *NO_LINES, "", "x" * 256],
    "lastname": [*NO_TEXTS, *NO_LINES, "", "x" * 256],
    "phone": [*NO_TEXTS, *NO_LINES, "1" * 65],
    "deals": [None, True, 0, "text", {}, {"0": {}}],
}
DEAL_FIELDS = {
    "dealname": [*NO_TEXTS, *NO_LINES, "", "x" * 256],
    "dealstage": [*NO_TEXTS, *NO_LINES],
    "pipeline": [*NO_TEXTS, *NO_LINES],
    "description": [*NO_TEXTS, "a\x00b", "\x1b", "\ud800", "x" * 65_537],
    "amount": [
        *(None, True, False, [], {}, "", "a", "1,000", "1e3", "NaN", "Infinity", "0x1f", " 1"),
        *("٣", "1\n", "--1", "1.", ".5", "9" * 21, 1e300, -1e300, 10**30, "\x00", "\ud800"),
    ],
    "closedate": [
        *(None, True, 0, 1.5, [], {}, "", "tomorrow", "2026-13-01", "2026-02-30"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\x00", "\ud800", "2" * 5000),
    ],
    "tickets": [None, True, 0, "text", {}],
}
TICKET_FIELDS = {
    "subject": [*NO_TEXTS, *NO_LINES, "", "x" * 256],
    "description": [*NO_TEXTS, "a\x00b", "\x1b", "\ud800", "x" * 65_537],
    "category": [*NO_TEXTS, *NO_LINES],
    "pipeline": [*NO_TEXTS, *NO_LINES],
    "hs_ticket_priority": [*NO_TEXTS, *NO_LINES],
    "hs_pipeline_stage": [*NO_TEXTS, *NO_LINES],
}


@pytest.mark.parametrize("field", REGISTRATION_FIELDS)
def test_a_wrong_value_in_a_registration_names_the_field(client, field):
    for value in REGISTRATION_FIELDS[field]:
        _assert_refused(_post(client, registration("a@b.ch") | {field: value}), field, value)


@pytest.mark.parametrize("field", DEAL_FIELDS)
def test_a_wrong_value_in_a_deal_names_its_dotted_path(client, field):
    for value in DEAL_FIELDS[field]:
        body = registration("a@b.ch")
        body["deals"].append(body["deals"][0] | {field: value})
        _assert_refused(_post(client, body), f"deals.1.{field}", value)


@pytest.mark.parametrize("field", TICKET_FIELDS)
def test_a_wrong_value_in_a_ticket_names_its_dotted_path(client, field):
    for value in TICKET_FIELDS[field]:
        body = registration("a@b.ch")
        tickets = body["deals"][0]["tickets"]
        tickets.append(tickets[0] | {field: value})
        _assert_refused(_post(client, body), f"deals.0.tickets.1.{field}", value)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("deals",), "deals.0"),
        (("deals", 0, "tickets"), "deals.0.tickets.0"),
    ],
)
def test_items_that_are_no_objects_are_named(client, path, field):
    for item in (None, True, 0, "text", [], [[]]):
        body = registration("a@b.ch")
        inside = body
        for step in path[:-1]:
            inside = inside[step]
        inside[path[-1]] = [item]
        _assert_refused(_post(client, body), field, item)


def test_an_unknown_field_is_named_wherever_it_is(client):
    body = registration("a@b.ch", is_admin=True)
    body["deals"][0]["hubspot_owner_id"] = "1"
    body["deals"][0]["tickets"][0]["content"] = "the property behind description"

    errors = _post(client, body).json["errors"]

    assert errors == {
        "is_admin": "Unknown field.",
        "deals.0.hubspot_owner_id": "Unknown field.",
        "deals.0.tickets.0.content": "Unknown field.",
    }


@pytest.mark.parametrize("field", ["email", "password"])
def test_a_wrong_value_in_a_login_names_the_field(client, field):
    for value in (*NO_TEXTS, "\x00", "\ud800", "x" * 255):
        body = {"email": "a@b.ch", "password": "secret"} | {field: value}
        answer = client.post("/login", data=json.dumps(body), content_type=JSON)
        _assert_refused(answer, field, value)


@pytest.mark.parametrize("path", ["/register", "/login"])
def test_every_missing_field_is_named(client, path):
    required = {"/register": ["email", "firstname", "lastname", "password"]}

    errors = client.post(path, json={}).json["errors"]

    assert sorted(errors) == required.get(path, ["email", "password"])


def test_10000_deals_are_refused_quickly_and_in_few_words(client):
    began = time.process_time()

    answer = _post(client, registration("a@b.ch", deals=[{"x": 1}] * 10_000))

    assert list(answer.json["errors"]) == ["deals"]
    assert len(answer.data) < 1000
    assert time.process_time() - began < 3


def test_thousands_of_unknown_fields_do_not_make_a_huge_answer(client):
    answer = _post(client, registration("a@b.ch") | {f"x{number}": 1 for number in range(20_000)})

    assert answer.status_code == 400
    assert len(answer.data) < 20_000


@pytest.mark.parametrize("path", ["/register", "/login", "/contacts", "/nowhere"])
def test_a_body_of_2_mib_is_refused(client, path):
    answer = client.post(path, data=b" " * 2**21, content_type=JSON)

    # Who shows nothing is refused before the body is looked at.
    refused_before = {"/contacts": 401, "/nowhere": 404}
    assert answer.status_code == refused_before.get(path, 413)


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 1])
def test_the_largest_body_is_1_mib(client, size):
    answer = client.post("/login", data=b"{}".ljust(size), content_type=JSON)

    assert answer.status_code == (413 if size > 2**20 else 400)


QUERIES = [
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("limit=-1", "limit"),
    ("limit=abc", "limit"),
    ("limit=1.5", "limit"),
    ("limit=1e1", "limit"),
    ("limit=" + "9" * 5000, "limit"),
    ("limit=%00", "limit"),
    ("sort=password", "sort"),
    ("sort=--email", "sort"),
    ("sort=email;DROP TABLE records", "sort"),
    ("sort=" + "x" * 10_000, "sort"),
    ("q=" + "x" * 201, "q"),
    ("q=%00", "q"),
    ("q=%1b", "q"),
    ("cursor=abc", "cursor"),
    ("cursor=é", "cursor"),
    ("cursor=%ff", "cursor"),
    ("cursor=.", "cursor"),
    ("cursor=" + "x" * 10_000, "cursor"),
    ("cursor=WyIiLDEsMV0.AAAAAAAAAAAAAAAAAAAAAAAAAAA", "cursor"),
    ("email=nonsense", "email"),
    ("firstname=%00", "firstname"),
    ("dealstage=" + "x" * 300, "dealstage"),
    ("nothing=1", "nothing"),
    ("Limit=1", "Limit"),
    ("properties=password_hash", "properties"),
    ("=1", ""),
]


@pytest.mark.parametrize(("query", "field"), QUERIES, ids=[each[:24] for each, _ in QUERIES])
def test_a_wrong_query_names_the_parameter(client, make_key, query, field):
    answer = client.get(f"/contacts?{query}", headers=make_key())

    _assert_refused(answer, field or "body")


@pytest.mark.parametrize(
    "query", ["q=%ff%fe", "q=%ed%a0%80", "q=%F0%9F%98%80", "&&&", "q", "limit=5&q=a&limit=6"]
)
def test_an_odd_query_is_no_fault(client, make_key, query):
    assert client.get(f"/contacts?{query}", headers=make_key()).status_code == 200


def test_a_cursor_of_another_order_is_refused(client, make_key, make_contact):
    for number in range(3):
        make_contact(f"{number}@example.com")
    headers = make_key()
    page = client.get("/contacts?limit=1&sort=email", headers=headers).json
    cursor = page["data"]["data"]["next_after"]

    for order in ({}, {"sort": "-email"}, {"sort": "createdate"}):
        query = {"cursor": cursor, **order}
        _assert_refused(client.get("/contacts", query_string=query, headers=headers), "cursor")


def test_a_tampered_cursor_is_refused(client, make_key, make_contact):
    for number in range(3):
        make_contact(f"{number}@example.com")
    headers = make_key()
    cursor = client.get("/contacts?limit=1", headers=headers).json["data"]["data"]["next_after"]
    other = ("A" if cursor[0] != "A" else "B") + cursor[1:]

    _assert_refused(
        client.get("/contacts", query_string={"cursor": other}, headers=headers), "cursor"
    )


@pytest.mark.parametrize("object_type", ["contacts", "deals,tickets", "\x00", "x" * 5000])
def test_pipelines_of_anything_else_are_refused(client, object_type):
    answer = client.get("/contacts/pipelines", query_string={"object_type": object_type})

    _assert_refused(answer, "object_type")


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inside: (
        some.lists(inside, max_size=4)
        | some.dictionaries(some.text(max_size=10), inside, max_size=4)
    ),
    max_leaves=12,
)
field_names = some.sampled_from([*REGISTRATION_FIELDS, *DEAL_FIELDS, *TICKET_FIELDS])
near_misses = some.dictionaries(
    field_names | some.text(max_size=5),
    anything
    | some.lists(some.dictionaries(field_names, anything, max_size=5), max_size=3)
    | some.sampled_from(["a@b.ch", "1", "0", "secret"]),
    max_size=8,
)


@IN_PROCESS
@given(body=anything | near_misses, path=some.sampled_from(["/register", "/login"]))
def test_no_json_makes_a_500(client, body, path):
    answer = client.post(path, data=json.dumps(body), content_type=JSON)

    assert answer.status_code in (400, 401)


@IN_PROCESS
@given(body=some.binary(max_size=60), content_type=some.sampled_from([JSON, "a/b+json", "text/x"]))
def test_no_bytes_make_a_500(client, body, content_type):
    assert client.post("/login", data=body, content_type=content_type).status_code == 400


def test_no_query_makes_a_500(client, make_key):
    headers = make_key()
    names = some.sampled_from(["q", "cursor", "sort", "limit", "firstname", "email", "amount"])

    @IN_PROCESS
    @given(query=some.dictionaries(names | some.text(max_size=5), some.text(max_size=30)))
    def check(query):
        encodable = {
            name: value.encode("utf-8", "replace").decode() for name, value in query.items()
        }
        answer = client.get("/contacts", query_string=encodable, headers=headers)
        assert answer.status_code in (200, 400)

    check()


def _post(client, body):
    return client.post("/register", data=json.dumps(body), content_type=JSON)


def _assert_refused(answer, field, value=None):
    assert answer.status_code == 400, (value, answer.text)
    assert answer.json["error_code"] == "VALIDATION_ERROR"
    assert answer.json["message"] == "Validation error"
    assert field in answer.json["errors"], (value, answer.json["errors"])
