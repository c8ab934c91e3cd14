"""CORS_ORIGINS: front ends of other origins call the API, with a token and without cookies."""

import pytest

from crm.api.guards import Guard, guarded

OURS = ["https://app.example.com", "http://localhost:3000", "http://[::1]:3000"]
ASKED = {
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "authorization",
}
ASKS = "Access-Control-Request-Method"
EXPOSED = {
    *("X-Request-ID", "Retry-After", "ETag", "Location"),
    *("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    "X-RateLimit-Bytes-Remaining",
}


@pytest.fixture
def front(make_app):
    """Makes the service for the front ends, with other settings too."""

    def make(**changes):
        return make_app(CORS_ORIGINS=", ".join(OURS), **changes).test_client()

    return make


def preflight(client, path, origin=OURS[0], **headers):
    return client.options(path, headers={"Origin": origin} | ASKED | headers)


def fail(**_):
    raise ZeroDivisionError


def allowed(answer):
    return {
        name: value
        for name, value in answer.headers.items()
        if name.startswith("Access-Control-Allow-")
    }


@pytest.mark.parametrize("origin", OURS)
def test_a_front_end_that_is_named_reads_answers_and_may_send_what_the_api_takes(front, origin):
    client = front()

    asked = preflight(client, "/contacts/1", origin)
    answer = client.get("/contacts", headers={"Origin": origin})

    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == origin
    assert asked.headers["Access-Control-Allow-Headers"] == "authorization"
    assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert set(answer.headers["Access-Control-Expose-Headers"].split(", ")) >= EXPOSED
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match", "Idempotency-Key", "X-Request-ID"])
def test_a_front_end_may_send_the_headers_that_the_api_knows(front, name):
    answer = preflight(front(), "/contacts", **{"Access-Control-Request-Headers": name.lower()})

    assert answer.headers["Access-Control-Allow-Headers"] == name.lower()


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example.com", "http://app.example.com", "https://app.example.com:444"),
        *("https://app.example.com.evil.com", "https://appxexample.com", "null", "http://1:3000"),
        *("https://app.example.com/", "https://app.example.com, null", ""),
    ],
)
def test_a_page_of_any_other_origin_reads_nothing(front, origin):
    client = front()

    assert allowed(client.get("/contacts/pipelines", headers={"Origin": origin})) == {}
    assert allowed(preflight(client, "/contacts", origin)) == {}


def test_cookies_are_never_allowed(front):
    client = front()
    answers = [preflight(client, "/login"), client.get("/me", headers={"Origin": OURS[0]})]

    assert [each.headers.get("Access-Control-Allow-Credentials") for each in answers] == [None] * 2


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/", ["GET"]),  # Its POST makes a customer.
        *(
            (path, ["GET", "POST", "PUT"])
            for path in ("/console/sign-in", "/console/contacts", "/webhooks/hubspot", "/metrics")
        ),
    ],
)
def test_pages_webhooks_and_metrics_are_for_no_front_end(front, path, methods):
    client = front()

    answers = [client.open(path, method=each, headers={"Origin": OURS[0]}) for each in methods]
    answers += [preflight(client, path, **{ASKS: each}) for each in methods]

    assert [allowed(each) for each in answers] == [{}] * 2 * len(methods)


def test_preflights_count_against_no_limit(front):
    client = front(RATE_LIMIT="2 per 1 minute", RATE_LIMIT_SIGN_IN="2 per 1 minute")

    answers = [preflight(client, path) for path in ("/contacts", "/login") for _ in range(5)]

    assert {each.status_code for each in answers} == {200}
    assert client.get("/contacts/pipelines").status_code == 200


def test_a_refusal_and_a_limit_can_be_read_by_the_front_end(front):
    client = front(RATE_LIMIT="2 per 1 minute")

    answers = [client.get("/contacts", headers={"Origin": OURS[0]}) for _ in range(3)]

    assert [each.status_code for each in answers] == [401, 401, 429]
    assert {each.headers["Access-Control-Allow-Origin"] for each in answers} == {OURS[0]}
    assert answers[2].headers["Retry-After"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", "/login", 405), ("POST", "/login", 400)],
)
def test_a_mistake_of_the_front_end_can_be_read_by_it(front, method, path, status):
    answer = front().open(path, method=method, headers={"Origin": OURS[0]})

    assert (answer.status_code, allowed(answer)) == (
        status,
        {"Access-Control-Allow-Origin": OURS[0]},
    )


def test_a_failure_of_ours_can_be_read_by_the_front_end(front):
    client = front()
    # As after a mistake of ours in a view.
    client.application.view_functions["pipelines.list_pipelines"] = guarded(Guard.PUBLIC)(fail)

    answer = client.get("/contacts/pipelines", headers={"Origin": OURS[0]})

    assert (answer.status_code, allowed(answer)) == (500, {"Access-Control-Allow-Origin": OURS[0]})


def test_a_dependency_that_is_away_can_be_seen_by_the_front_end(make_plain_app):
    client = make_plain_app(
        CORS_ORIGINS=OURS[0], DATABASE_URL="postgresql://127.0.0.1:1/crm"
    ).test_client()

    answer = client.get("/health", headers={"Origin": OURS[0]})

    assert (answer.status_code, allowed(answer)) == (503, {"Access-Control-Allow-Origin": OURS[0]})


def test_without_the_setting_no_front_end_is_allowed(client):
    answers = [preflight(client, "/contacts"), client.get("/contacts", headers={"Origin": OURS[0]})]

    assert [allowed(each) for each in answers] == [{}] * 2
    assert {each.status_code for each in answers} == {401}
