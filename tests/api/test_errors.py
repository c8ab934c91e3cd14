"""The one error body, and the id of every request."""

import re
from datetime import UTC, datetime

import pytest
from flask import abort

from crm.api.guards import Guard, guarded
from crm.errors import ConfigError
from crm.hubspot.errors import HubSpotError

from .conftest import sign_in

KEYS = [
    "status",
    "error",
    "message",
    "error_code",
    "errors",
    "details",
    "timestamp",
    "request_id",
]
ERRORS = [
    ("POST", "/login", {"json": {}}, 400, "VALIDATION_ERROR", "Validation error"),
    ("POST", "/login", {"data": "{"}, 400, "VALIDATION_ERROR", "Validation error"),
    ("GET", "/contacts", {}, 401, "MISSING_TOKEN", "Invalid token"),
    ("GET", "/contacts", {"headers": {"X-API-Key": "x"}}, 401, "INVALID_TOKEN", "Invalid token"),
    (
        "POST",
        "/login",
        {"json": {"email": "a@b.ch", "password": "wrong"}},
        401,
        "INVALID_CREDENTIALS",
        "Invalid credentials",
    ),
    ("GET", "/nowhere", {}, 404, "NOT_FOUND", "Resource not found"),
    ("GET", "/docs/nothing.js", {}, 404, "NOT_FOUND", "Resource not found"),
    ("PUT", "/login", {}, 405, "METHOD_NOT_ALLOWED", "Method Not Allowed"),
    (
        "POST",
        "/login",
        {"json": {"email": "x" * 2**20}},
        413,
        "PAYLOAD_TOO_LARGE",
        "The body is larger than 1 MiB",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "given", "expected"),
    [(*each[:3], each[3:]) for each in ERRORS],
    ids=[f"{each[3]} {each[1]} {index}" for index, each in enumerate(ERRORS)],
)
def test_every_error_has_the_one_body(client, method, path, given, expected):
    answer = client.open(path, method=method, **given)

    _assert_body(answer, *expected)


def test_a_missing_right_has_the_one_body(client, make_key):
    answer = client.get("/me", headers=make_key())

    _assert_body(answer, 403, "FORBIDDEN", "An API key cannot do this; sign in as a user")


def test_a_conflict_has_the_one_body(client, register):
    register()

    answer = client.post(
        "/register",
        json={"email": "ada@example.com", "password": "secret", "firstname": "A", "lastname": "L"},
    )

    _assert_body(answer, 409, "USER_EXISTS", "User already exists")


def test_a_wrong_method_tells_the_right_ones(client):
    assert "POST" in client.get("/login").headers["Allow"]


def test_a_defect_is_answered_plainly_and_logged_with_its_request_id(make_app, capfd):
    client = _failing_app(make_app, ZeroDivisionError("the secret is hunter2")).test_client()

    answer = client.get("/failing", headers={"X-Request-ID": "find-me"})

    _assert_body(answer, 500, "INTERNAL_ERROR", "Internal server error")
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    logged = capfd.readouterr().err
    assert "ZeroDivisionError" in logged
    assert "find-me" in logged


def test_a_defect_in_making_an_error_is_still_answered_in_the_one_body(make_app):
    client = _failing_app(make_app, HubSpotError("broken \ud800 text")).test_client()

    answer = client.get("/failing")

    assert answer.status_code in (500, 502)
    assert list(answer.json) == KEYS


def test_a_wrong_configuration_found_late_is_no_callers_business(make_app):
    client = _failing_app(make_app, ConfigError("token of portal 4711")).test_client()

    _assert_body(client.get("/failing"), 500, "INTERNAL_ERROR", "Internal server error")


def test_hubspots_words_are_passed_on_with_its_correlation_id(make_app):
    error = HubSpotError("Something broke over there", correlation_id="abc-123")
    client = _failing_app(make_app, error).test_client()

    answer = client.get("/failing")

    _assert_body(answer, 502, "HUBSPOT_API_ERROR", "Something broke over there")
    assert answer.json["details"] == {"correlation_id": "abc-123"}


@pytest.mark.parametrize("status", [406, 408, 418, 500, 503])
def test_any_other_status_has_the_one_body_too(make_app, status):
    app = make_app()
    app.add_url_rule(
        "/failing", "failing", guarded(Guard.PUBLIC)(lambda: abort(status, "said by a library"))
    )

    answer = app.test_client().get("/failing")

    assert answer.status_code == status
    assert list(answer.json) == KEYS
    assert "said by a library" not in answer.text


def test_a_database_that_is_down_is_a_503_without_its_address(make_plain_app):
    app = make_plain_app(DATABASE_URL="postgresql://somebody:hunter2@127.0.0.1:1/crm")

    answer = app.test_client().post("/login", json={"email": "a@b.ch", "password": "secret"})

    _assert_body(answer, 503, "UNAVAILABLE", "The database is away; try again in a moment")
    assert answer.headers["Retry-After"] == "5"
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize("given", ["abc", "A-b.c_9", "x" * 128, "0"])
def test_a_well_formed_request_id_is_kept(client, given):
    answer = client.get("/nowhere", headers={"X-Request-ID": given})

    assert answer.headers["X-Request-ID"] == answer.json["request_id"] == given


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 129, "é", "<script>", "a;b", "../x"])
def test_a_malformed_request_id_is_replaced(client, given):
    answer = client.get("/nowhere", headers={"X-Request-ID": given})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_good_answers_carry_a_request_id_too_each_its_own(client):
    ids = {client.get("/health").headers["X-Request-ID"] for _ in range(3)}

    assert len(ids) == 3


def test_a_request_is_logged_without_its_query_and_without_its_secrets(make_app, make_user, capfd):
    person = make_user()
    app = make_app(LOG_LEVEL="INFO")
    token = sign_in(app.test_client(), person.email).tokens["access_token"]
    capfd.readouterr()

    app.test_client().get(
        "/contacts?q=somebody", headers={"Authorization": f"Bearer {token}", "X-Request-ID": "rq1"}
    )

    logged = capfd.readouterr().err
    assert "path=/contacts " in logged
    assert "rq1" in logged
    assert "somebody" not in logged
    assert token not in logged


def test_a_path_cannot_write_lines_or_colours_into_the_log(make_app, capfd):
    app = make_app(LOG_LEVEL="INFO")

    app.test_client().get("/x%0Aevil%1B[31m")

    logged = capfd.readouterr().err
    assert "\nevil" not in logged
    assert "\x1b" not in logged


def test_a_failed_statement_is_logged_without_the_values_it_held(capfd, client, failing_inserts):
    body = {"email": "ada@example.com", "password": "secret", "firstname": "A", "lastname": "L"}

    with failing_inserts("users"):
        client.post("/register", json=body)

    logged = capfd.readouterr().err
    assert "no row today" in logged
    assert "argon2id" not in logged


def _failing_app(make_app, error):
    app = make_app()

    def fail():
        raise error

    app.add_url_rule("/failing", "failing", guarded(Guard.PUBLIC)(fail))
    return app


def _assert_body(answer, status, code, message):
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    body = answer.json
    assert list(body) == KEYS
    assert body["status"] == "error"
    assert body["error"] == body["message"] == message
    assert body["error_code"] == code
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["timestamp"])
    age = datetime.now(UTC) - datetime.fromisoformat(body["timestamp"])
    assert abs(age.total_seconds()) < 60
