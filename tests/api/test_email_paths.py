"""E-mail addresses as paths: at the root, and under /customers."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from tests.api.conftest import serving

GRACE = {"email": "grace@example.com", "firstname": "Grace", "lastname": "Hopper"}
ODD = {
    "sl/ash@example.com": "sl%2Fash@example.com",
    "/ash@example.com": "%2Fash@example.com",
    "a//b@example.com": "a%2F%2Fb@example.com",
    "a%2Fb@example.com": "a%252Fb@example.com",
    "a+b@example.com": "a+b@example.com",
    "a b@example.com": "a%20b@example.com",
    "zoë@example.com": "zo%C3%AB@example.com",
    "o'brien@example.com": "o'brien@example.com",
    "why?@example.com": "why%3F@example.com",
    "x#y@example.com": "x%23y@example.com",
    "kai@example.com": "kai%40example.com",
}
each_odd = pytest.mark.parametrize(("email", "written"), ODD.items(), ids=ODD)


@pytest.fixture
def key(make_key):
    return make_key()


@each_odd
def test_an_address_at_the_root_names_a_customer(client, key, make_contact, email, written):
    make_contact(email)

    answer = client.get(f"/{written}?", headers=key)

    assert (answer.status_code, answer.json.get("email")) == (200, email)


@each_odd
def test_all_the_rest_of_the_path_under_customers_is_the_address(
    client, key, make_contact, email, written
):
    make_contact(email)

    answer = client.get(f"/customers/{written}", headers=key)

    assert (answer.status_code, answer.json.get("email")) == (200, email)


@pytest.mark.parametrize("email", ["sl/ash@example.com", "/ash@example.com", "a//b@example.com"])
def test_a_slash_under_customers_may_stand_as_it_is(client, key, make_contact, email):
    make_contact(email)
    make_contact("ash@example.com")

    assert client.get(f"/customers/{email}", headers=key).json["email"] == email


@pytest.mark.usefixtures("set_up")
def test_the_same_three_calls_work_at_the_root(client, key, in_hubspot):
    created = client.post("/", json=GRACE, headers=key)
    found = client.get("/grace@example.com", headers=key)
    changed = client.put("/GRACE@example.com", json={"phone": "+1 555 123"}, headers=key)

    assert created.status_code == 201
    assert found.json == created.json
    assert (changed.status_code, changed.data) == (200, b"")
    assert client.get("/customers/grace@example.com", headers=key).json["phone"] == "+1 555 123"
    assert [each["phone"] for each in in_hubspot("contacts", "phone")] == ["+1 555 123"]


def test_an_address_that_nobody_has_is_told_at_the_root_in_the_same_words(client, key):
    answer = client.get("/kai@hubspot.com", headers=key)

    assert answer.status_code == 404
    assert answer.json["message"] == "Customer with email kai@hubspot.com not found"


@pytest.mark.parametrize("body", [b"", b"a=1", b"{", b"[]", b"{}"])
def test_a_post_to_the_root_without_a_customer_is_an_invalid_body(client, key, body):
    answer = client.post("/", data=body, headers=key, content_type="application/json")

    assert (answer.status_code, answer.json["message"]) == (400, "Invalid body")


def test_a_form_posted_to_the_root_is_refused(client, key):
    answer = client.post("/", data=GRACE, headers=key)

    assert (answer.status_code, answer.json["message"]) == (400, "Invalid body")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("PUT", "/a@example.com"), ("GET", "/a@example.com")]
)
def test_nobody_gets_to_customers_at_the_root_without_credentials(client, method, path):
    answer = client.open(path, method=method, json=GRACE)

    assert answer.status_code == 401


def test_a_user_reads_customers_at_the_root_and_may_not_write_them(client, make_user, make_contact):
    make_contact("kai@hubspot.com")
    headers = make_user().headers

    assert client.get("/kai@hubspot.com", headers=headers).status_code == 200
    assert client.put("/kai@hubspot.com", json={}, headers=headers).status_code == 403
    assert client.post("/", json=GRACE, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/nowhere", 404),
        ("PUT", "/nowhere", 404),
        ("GET", "/nowhere/a@example.com", 404),
        ("POST", "/nowhere/a@example.com", 404),
        ("DELETE", "/nowhere/a@example.com", 404),
        ("GET", "/a@example.com/", 404),
        ("GET", "/a@example.com/history", 404),
        ("GET", "/sl/ash@example.com", 404),
        ("GET", "/static/a@example.com", 404),
        ("GET", "/console/static/a@b.css", 404),
        ("GET", "/docs/a@b.js", 404),
        ("DELETE", "/a@example.com", 405),
        ("POST", "/a@example.com", 405),
        ("PUT", "/", 405),
        ("DELETE", "/", 405),
        ("PUT", "/login", 405),
        ("GET", "/webhooks/hubspot", 405),
    ],
)
def test_nothing_else_at_the_root_is_an_address(client, key, method, path, status):
    assert client.open(path, method=method, headers=key).status_code == status


def test_contacts_with_an_at_in_their_path_are_records_as_before(client, key, make_contact):
    make_contact("kai@hubspot.com")

    answer = client.get("/contacts/kai@hubspot.com", headers=key)

    assert answer.json.get("message") != "Customer with email kai@hubspot.com not found"


def test_the_root_is_still_the_console_to_a_browser(client):
    answer = client.get("/", headers={"Accept": "text/html"})

    assert answer.status_code == 303
    assert "/console/sign-in" in answer.headers["Location"]


def test_below_another_path_an_address_is_found_too(client, key, make_contact):
    make_contact("sl/ash@example.com")

    answer = client.get(
        "/crm/sl%2Fash@example.com",
        headers=key,
        environ_overrides={"SCRIPT_NAME": "/crm", "PATH_INFO": "/sl/ash@example.com"},
    )

    assert answer.json["email"] == "sl/ash@example.com"


def test_an_address_is_found_where_the_server_does_not_tell_the_path_as_it_was_sent(
    client, key, make_contact
):
    make_contact("kai@hubspot.com")
    untold = {"RAW_URI": "", "REQUEST_URI": ""}

    answer = client.get("/kai@hubspot.com", headers=key, environ_overrides=untold)

    assert answer.status_code == 200


@pytest.fixture
def served_port(make_settings, app, tmp_path):
    settings = make_settings()
    with serving(settings, tmp_path) as (url, _):
        yield urlsplit(url).port


def test_an_address_with_a_slash_is_found_as_gunicorn_serves_it(served_port, key, make_contact):
    make_contact("sl/ash@example.com")
    paths = ["/sl%2Fash@example.com", "/customers/sl/ash@example.com"]
    paths += ["/customers/sl%2Fash@example.com", "http://localhost/sl%2fash%40example.com?limit="]

    assert {_get(served_port, path, key) for path in paths} == {(200, "sl/ash@example.com")}
    assert _get(served_port, "/sl/ash@example.com", key)[0] == 404


def _get(port, path, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()).get("email")
    finally:
        connection.close()
