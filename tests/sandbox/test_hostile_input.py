"""Whatever is sent, the answer is HubSpot's refusal and never a failure of the sandbox."""

import http.client
import json
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubspot_sandbox import DEFAULT_TOKEN, SandboxServer

from .client import ASSOCIATIONS, OBJECTS, HubSpot

PATHS = [
    ("POST", f"{OBJECTS}/contacts"),
    ("PATCH", f"{OBJECTS}/contacts/18000000001"),
    ("POST", f"{OBJECTS}/contacts/batch/create"),
    ("POST", f"{OBJECTS}/contacts/batch/read"),
    ("POST", f"{OBJECTS}/contacts/batch/update"),
    ("POST", f"{OBJECTS}/contacts/batch/upsert"),
    ("POST", f"{OBJECTS}/contacts/batch/archive"),
    ("POST", f"{OBJECTS}/contacts/search"),
    ("PUT", f"{OBJECTS}/contacts/1/associations/deals/1"),
    ("POST", f"{ASSOCIATIONS}/contacts/deals/batch/read"),
    ("POST", f"{ASSOCIATIONS}/contacts/deals/batch/create"),
    ("POST", f"{ASSOCIATIONS}/contacts/deals/batch/associate/default"),
    ("POST", f"{ASSOCIATIONS}/contacts/deals/batch/archive"),
    ("POST", f"{ASSOCIATIONS}/contacts/deals/batch/labels/archive"),
    ("POST", "/crm/properties/2026-09/contacts"),
    ("PATCH", "/crm/properties/2026-09/contacts/email"),
    ("POST", "/crm/properties/2026-09/contacts/groups"),
    ("POST", "/crm/properties/2026-09/contacts/batch/create"),
    ("POST", "/crm/properties/2026-09/contacts/batch/read"),
    ("POST", f"{OBJECTS}/contacts/merge"),
    ("POST", f"{OBJECTS}/contacts/gdpr-delete"),
    ("POST", f"{ASSOCIATIONS}/contacts/deals/labels"),
    ("PUT", f"{ASSOCIATIONS}/contacts/deals/labels"),
    ("POST", "/crm/v3/associations/contacts/deals/batch/create"),
    ("POST", "/crm/v3/associations/contacts/deals/batch/archive"),
    ("POST", "/crm/pipelines/2026-09/deals"),
    ("PATCH", "/crm/pipelines/2026-09/deals/default"),
    ("POST", "/crm/pipelines/2026-09/deals/default/stages"),
    ("PATCH", "/crm/pipelines/2026-09/deals/default/stages/closedwon"),
    ("PUT", "/_sandbox/rules/contacts"),
]
# JSON of any shape, with the field names that the views look at.
NAMES = st.sampled_from(
    [
        *("inputs", "id", "idProperty", "properties", "email", "firstname", "associations", "to"),
        *("from", "types", "associationTypeId", "filterGroups", "filters", "propertyName", "query"),
        *("operator", "value", "values", "limit", "after", "sorts", "objectWriteTraceId", "name"),
        *("label", "type", "fieldType", "groupName", "options", "lifecyclestage", "annualrevenue"),
        *("primaryObjectId", "objectIdToMerge", "objectId", "inverseLabel", "stages", "metadata"),
        *("probability", "displayOrder", "archived", "required", "conditional", "when", "phone"),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["a@example.com", "EQ", "IN", "BETWEEN", "hs_object_id", "email", "\x00", "1"]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


@pytest.fixture
def send(hubspot: HubSpot, contact: dict[str, Any]) -> Any:
    def send(method: str, path: str, data: bytes) -> requests.Response:
        headers = {"Content-Type": "application/json"}
        url = hubspot.url + path
        return hubspot.session.request(method, url, data=data, headers=headers, timeout=20)

    return send


@pytest.mark.parametrize(("method", "path"), PATHS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=JSON)
def test_json_of_any_shape_never_fails_the_sandbox(
    send: Any, method: str, path: str, body: Any
) -> None:
    answer = send(method, path, json.dumps(body).encode())

    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"properties": {"email": NaN}}',
        b'{"properties": {"firstname": "\xff"}}',
        b'{"properties": {"firstname": "\\ud800"}}',
        b"[" * 5_000 + b"]" * 5_000,
        b"[]",
        b"null",
        b'"text"',
        b'{"properties": []}',
        b'{"properties": {"firstname": {}}}',
        b'{"properties": {"firstname": ["a"]}}',
        b"{}",
    ],
)
def test_a_body_that_cannot_be_read_is_refused_in_hubspots_words(send: Any, data: bytes) -> None:
    answer = send("POST", f"{OBJECTS}/contacts", data)

    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Invalid input JSON on line ")
    assert "category" not in answer.json()


def test_a_body_that_is_not_declared_as_json_is_refused(hubspot: HubSpot) -> None:
    url = f"{hubspot.url}{OBJECTS}/contacts"

    assert hubspot.session.post(url, data={"email": "a"}, timeout=5).status_code == 415


def test_nul_and_other_characters_are_kept_as_they_are(hubspot: HubSpot) -> None:
    name = "\x00\u202e\U0001f600 e\u0301\n"
    record = hubspot.create("contacts", firstname=name)

    assert (
        hubspot.get(f"{OBJECTS}/contacts/{record['id']}").json()["properties"]["firstname"] == name
    )


@pytest.mark.parametrize(
    "path",
    [
        f"{OBJECTS}/contacts/%00",
        f"{OBJECTS}/contacts/%FF",
        f"{OBJECTS}/contacts/" + "9" * 5_000,
        f"{OBJECTS}/contacts/²",
        f"{OBJECTS}/contacts//",
        f"{OBJECTS}/%00/1",
        f"{OBJECTS}/contacts/x?idProperty=%00",
        f"{OBJECTS}/contacts?after=" + "9" * 50,
        f"{OBJECTS}/contacts?associations=%00",
        f"{OBJECTS}/contacts?limit=%D9%A1",
        "/crm/v3/owners/%F0?idProperty=userId",
        "/crm/properties/2026-09/contacts/%00",
    ],
)
def test_a_path_of_any_kind_never_fails_the_sandbox(hubspot: HubSpot, path: str) -> None:
    answer = hubspot.get(path)

    assert 400 <= answer.status_code < 500, answer.text


def test_a_uri_that_is_too_long_is_refused(hubspot: HubSpot) -> None:
    assert hubspot.get(f"{OBJECTS}/contacts", properties="x" * 17_000).status_code == 414


def raw(server: SandboxServer, headers: dict[str, str], body: bytes = b"") -> int:
    """Send headers exactly as given; return the status."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.putrequest("POST", f"{OBJECTS}/contacts")
        for name, value in {"Authorization": f"Bearer {DEFAULT_TOKEN}", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": "many"}, 400),
        ({"Content-Length": "-1"}, 400),
        ({"Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_a_body_of_impossible_length_is_refused(
    sandbox: SandboxServer, headers: dict[str, str], status: int
) -> None:
    assert raw(sandbox, headers) == status


def test_a_body_that_is_too_large_is_refused_in_the_envelope(hubspot: HubSpot, send: Any) -> None:
    answer = send("POST", f"{OBJECTS}/contacts", b" " * (21 * 1024 * 1024))

    assert answer.status_code == 413
    assert answer.json()["status"] == "error"
    assert hubspot.get(f"{OBJECTS}/contacts").status_code == 200


def test_a_large_body_is_read_and_judged(send: Any) -> None:
    inputs = [{"properties": {"firstname": "x" * 50_000}} for _ in range(100)]

    answer = send(
        "POST", f"{OBJECTS}/contacts/batch/create", json.dumps({"inputs": inputs}).encode()
    )
    assert answer.status_code == 201
