"""HubSpot's error bodies (hubspot.md 6.2) become one class each, with HubSpot's own words."""

import json
from datetime import UTC, datetime

import pytest

from crm.hubspot import associations, owners
from crm.hubspot.account import get_details, get_usage
from crm.hubspot.errors import (
    HubSpotAuthError,
    HubSpotConflictError,
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotRateLimitError,
    HubSpotRefusedError,
    HubSpotScopeError,
    HubSpotUnavailableError,
)
from crm.hubspot.lists import Selection, list_pages
from crm.hubspot.pipelines import list_pipelines
from crm.hubspot.properties import ensure_unique_property, list_properties
from crm.hubspot.records import Write, get, read_batch, update, upsert
from crm.hubspot.search import search, search_modified
from crm.object_types import CONTACTS, DEALS

INSIDE = [
    {
        "isValid": False,
        "message": 'Property "x" does not exist',
        "error": "PROPERTY_DOESNT_EXIST",
        "name": "x",
        "portalId": 123,
    }
]
BAD_PROPERTY = {
    "status": "error",
    "message": f"Property values were not valid: {json.dumps(INSIDE)}",
    "correlationId": "c-1",
    "errors": [
        {
            "message": "x is bad",
            "code": "PROPERTY_DOESNT_EXIST",
            "context": {"propertyName": ["x"]},
        }
    ],
    "category": "VALIDATION_ERROR",
}
CONFLICT = {
    "status": "error",
    "message": "Contact already exists. Existing ID: 482701",
    "correlationId": "c-2",
    "category": "CONFLICT",
}

ERRORS = [
    (400, BAD_PROPERTY, HubSpotRefusedError),
    (400, {"message": "Invalid input JSON on line 1, column 15: what"}, HubSpotRefusedError),
    (401, {"message": "expired", "category": "EXPIRED_AUTHENTICATION"}, HubSpotAuthError),
    (401, {"message": "who?", "category": "INVALID_AUTHENTICATION"}, HubSpotAuthError),
    (403, {"message": "scopes", "category": "MISSING_SCOPES"}, HubSpotScopeError),
    (404, {"status": "error", "message": "resource not found"}, HubSpotNotFoundError),
    (408, {"message": "too slow"}, HubSpotUnavailableError),
    (409, CONFLICT, HubSpotConflictError),
    (413, {"message": "too large"}, HubSpotRefusedError),
    (414, {"message": "Cannot have more than 250 identities"}, HubSpotRefusedError),
    (418, {"message": "teapot"}, HubSpotError),
    (423, {"message": "locked"}, HubSpotUnavailableError),
    (429, {"message": "limit", "policyName": "DAILY"}, HubSpotRateLimitError),
    (477, {"message": "migrating"}, HubSpotUnavailableError),
    (500, {"message": "internal error"}, HubSpotUnavailableError),
    (521, {"message": "web server is down"}, HubSpotUnavailableError),
    (524, {"message": "timeout"}, HubSpotUnavailableError),
]


def error_of(relayed):
    with pytest.raises(HubSpotError) as caught:
        relayed.call("GET", "/anything", repeatable=False)
    return caught.value


@pytest.mark.parametrize(("status", "body", "error_class"), ERRORS)
def test_a_status_becomes_a_class_with_hubspots_words(relay, relayed, status, body, error_class):
    relay.answer(status, body)

    error = error_of(relayed)

    assert type(error) is error_class
    assert error.message == body["message"]
    assert error.category == body.get("category")


def test_only_what_may_pass_is_worth_another_try():
    worth_it = {each for _, _, each in ERRORS if each.retryable}

    assert worth_it == {HubSpotUnavailableError, HubSpotRateLimitError}


def test_the_correlation_id_comes_from_the_body(relay, relayed):
    relay.answer(400, BAD_PROPERTY, headers={"x-hubspot-correlation-id": "header"})

    error = error_of(relayed)

    assert error.correlation_id == "c-1"
    assert error.details == {"correlation_id": "c-1"}
    assert error.as_rejection()["correlation_id"] == "c-1"


def test_or_from_the_header(relay, relayed):
    relay.answer(404, {"message": "no"}, headers={"X-HubSpot-Correlation-Id": "header"})

    assert error_of(relayed).correlation_id == "header"


def test_what_hubspot_names_beside_its_message_is_kept(relay, relayed):
    body = {
        "message": "No",
        "subCategory": "PipelineError.STAGE_ID_IN_USE",
        "context": {"ids": ["1", 2], "text": "odd"},
    }
    relay.answer(400, body)

    error = error_of(relayed)

    assert error.sub_category == "PipelineError.STAGE_ID_IN_USE"
    assert error.context == {"ids": ["1", "2"], "text": []}


def test_an_expired_token_is_told_from_an_invalid_one(relay, relayed):
    relay.answer(401, {"message": "expired", "category": "EXPIRED_AUTHENTICATION"})
    expired = error_of(relayed)
    relay.answer(401, {"message": "who?", "category": "INVALID_AUTHENTICATION"})

    assert (expired.is_expired, error_of(relayed).is_expired) == (True, False)


@pytest.mark.parametrize("name", ["requiredGranularScopes", "requiredScopes"])
def test_a_missing_scope_is_named(relay, relayed, name):
    scopes = ["crm.objects.deals.read", "tickets"]
    told = {"message": "One or more", "context": {name: scopes}}
    relay.answer(403, {"message": "scopes", "category": "MISSING_SCOPES", "errors": [told]})

    assert error_of(relayed).scopes == scopes


def test_property_errors_come_from_the_list(relay, relayed):
    relay.answer(400, BAD_PROPERTY)

    assert error_of(relayed).errors == {"x": "x is bad"}


def test_or_from_the_json_inside_the_message(relay, relayed):
    relay.answer(400, {name: BAD_PROPERTY[name] for name in ("message", "category")})

    assert error_of(relayed).errors == {"x": 'Property "x" does not exist'}


def test_all_bad_properties_are_named_at_once(client):
    with pytest.raises(HubSpotRefusedError) as caught:
        client.call(
            "POST",
            client.path("objects", "contacts"),
            body={"properties": {"email": "abc", "no_such": "1", "lifecyclestage": "king"}},
            repeatable=False,
        )

    assert set(caught.value.errors) == {"email", "no_such", "lifecyclestage"}


def test_a_conflict_knows_the_record_that_is_there(relay, relayed):
    relay.answer(409, CONFLICT)

    assert error_of(relayed).existing_id == "482701"


def test_a_conflict_may_keep_it_to_itself(relay, relayed):
    relay.answer(409, {"message": "Contact already exists", "category": "CONFLICT"})

    assert error_of(relayed).existing_id is None


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (502, b"<html>Bad gateway</html>", "HTTP 502"),
        (403, b"<html>Blocked</html>", "HTTP 403: <html>Blocked</html>"),
        (400, b"", "HTTP 400"),
        (400, b"\xff\xfe", "HTTP 400: \ufffd\ufffd"),
        (400, b"[]", "HTTP 400: []"),
        (400, b"null", "HTTP 400: null"),
        (400, b"{}", "HubSpot gave no reason"),
    ],
)
def test_a_body_that_is_no_json_object_is_quoted_or_left_out(
    relay, relayed, status, content, message
):
    relay.answer(status, raw=content)

    assert error_of(relayed).message == message


def test_a_long_page_is_cut(relay, relayed):
    relay.answer(400, raw=b"<" * 100_000)

    assert len(error_of(relayed).message) < 600


@pytest.mark.parametrize(
    "body",
    [
        {"errors": None},
        {"errors": "text"},
        {"errors": [None, 1, "text", {}, {"context": None}, {"context": "text"}]},
        {"errors": [{"context": {"propertyName": "text"}}]},
        {"message": "[1, 2, null]"},
        {"message": "[{}]"},
        {"message": {"not": "text"}},
        {"context": "text"},
    ],
)
def test_an_error_of_another_shape_is_still_an_error(relay, relayed, body):
    relay.answer(400, body)

    error = error_of(relayed)

    assert type(error) is HubSpotRefusedError
    assert error.errors == {}


WRITE = Write(trace_id="t", id="ada@example.com", properties={"email": "ada@example.com"})


@pytest.mark.parametrize("body", [None, [], {}, {"results": None}, {"results": [{}]}, "text", 1])
@pytest.mark.parametrize(
    "call",
    [
        get_details,
        get_usage,
        lambda client: list_pipelines(client, "deals"),
        lambda client: list_properties(client, DEALS),
        lambda client: ensure_unique_property(client, DEALS, "x", label="x", description="x"),
        lambda client: get(client, CONTACTS, "1"),
        lambda client: read_batch(client, CONTACTS, ["1"], properties=[]),
        lambda client: list(list_pages(client, Selection(CONTACTS, properties=[]))),
        lambda client: list(search(client, CONTACTS)),
        lambda client: list(search_modified(client, CONTACTS, datetime.now(UTC))),
        lambda client: list(owners.iterate(client)),
        lambda client: associations.read(client, CONTACTS, DEALS, ["1"]),
        lambda client: upsert(client, CONTACTS, [WRITE]),
        lambda client: update(client, CONTACTS, [WRITE]),
    ],
    ids=[
        *("account", "usage", "pipelines", "properties", "unique property", "get", "batch", "list"),
        *("search", "search modified", "owners", "associations", "upsert", "update"),
    ],
)
def test_a_success_of_another_shape_is_an_error_of_ours(relay, relayed, call, body):
    relay.answer(200, body)

    with pytest.raises(HubSpotError) as caught:
        call(relayed)

    assert caught.value.status == 502
