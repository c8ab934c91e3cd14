"""Whatever other applications send as a record, they get an answer that is no 500."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from crm.object_types import OBJECT_TYPES
from crm.portals.pipelines import refresh_stale_pipelines
from crm.portals.property_schemas import refresh_stale_schemas
from tests.api.test_hostile_input import BODIES, JSON

IN_PROCESS = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PATHS = [("POST", f"/{name}") for name in OBJECT_TYPES] + [
    ("POST", "/contacts/batch"),
    ("PATCH", "/contacts/{id}"),
    ("POST", "/customers"),
    ("PUT", "/customers/ada@example.com"),
]

SCALARS = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text()
    | some.sampled_from(["a@b.ch", "contacts", "0", "\x00", "\ud800", "9" * 30, ";", "{}", "%s"])
)
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner), max_leaves=5
)
NAMES = some.text() | some.sampled_from(
    [
        *("email", "domain", "external_id", "dealname", "dealstage", "pipeline", "amount"),
        *("closedate", "properties", "associations", "first_name", "crm_uid", "hs_object_id"),
        *("createdate", "lifecyclestage", "hubspot_owner_id", "subject", "hs_pipeline_stage"),
        *("_schema", "inputs", "\x00", "\ud800", "name", "price", "hs_additional_emails"),
    ]
)
PARTS = some.fixed_dictionaries(
    {},
    optional={
        "email": VALUES | some.just("ada@example.com"),
        "external_id": VALUES | some.just("D-1"),
        "domain": VALUES | some.just("a.example"),
        "properties": VALUES | some.dictionaries(NAMES, VALUES),
        "associations": VALUES
        | some.lists(
            some.fixed_dictionaries(
                {}, optional={"to_type": VALUES | some.just("deals"), "to": VALUES}
            )
        ),
        "inputs": VALUES | some.lists(some.dictionaries(NAMES, VALUES), max_size=3),
    },
)
BODY = some.builds(lambda one, two: one | two, some.dictionaries(NAMES, VALUES), PARTS)


@pytest.fixture
def send(client, make_key):
    headers = make_key()
    contact = client.post("/contacts", json={"email": "ada@example.com"}, headers=headers).json

    def do(method, path, body):
        path = path.format(id=contact["hubspot_contact_id"])
        return client.open(path, method=method, data=body, content_type=JSON, headers=headers)

    return do


@pytest.fixture
def is_fetched(request, portal_id):
    """Whether the portal's definitions are known."""
    if request.param:
        refresh_stale_schemas()
        refresh_stale_pipelines()


@pytest.mark.parametrize(
    ("method", "path", "is_fetched"),
    [(*each, True) for each in PATHS] + [(*each, False) for each in PATHS[::4]],
    indirect=["is_fetched"],
)
@IN_PROCESS
@given(body=BODY)
def test_no_body_is_answered_with_a_500(send, is_fetched, method, path, body):
    answer = send(method, path, json.dumps(body))

    assert answer.status_code < 500, (body, answer.json)


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_a_body_that_is_no_object_is_refused(client, make_key, method, path):
    headers = make_key()

    for body in (each.values[0] for each in BODIES):
        answer = client.open(
            path.format(id=1), method=method, data=body, content_type=JSON, headers=headers
        )
        assert answer.status_code in (400, 404), body


@pytest.mark.parametrize("path", ["/contacts", "/customers"])
@pytest.mark.parametrize("given", [{"external_id": "1"}, {"external_id": ["\x00"]}])
def test_contacts_have_no_external_id(client, make_key, portal_id, given, path):
    refresh_stale_schemas()

    answer = client.post(path, json={"email": "ada@example.com", **given}, headers=make_key())

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["external_id"]


@pytest.mark.parametrize("tag", ["", "*", '"', '"a', "W/", "\x7f", ",,,", "a" * 5000, '"1-0", *'])
def test_no_if_match_is_answered_with_a_500(client, make_key, tag):
    headers = make_key() | {"If-Match": tag}

    answer = client.patch("/contacts/1", json={"firstname": "Ada"}, headers=headers)

    assert answer.status_code == 404
