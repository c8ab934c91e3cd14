"""Other applications write records: to the mirror first, and at once to HubSpot."""

import pytest
from sqlalchemy import text

from crm.extensions import transaction
from crm.objects import OBJECT_TYPES
from crm.services import schemas
from crm.services.push import push
from tests.api.conftest import count_rows

DEAL = {"dealname": "A new engine", "dealstage": "qualifiedtobuy", "pipeline": "default"}
RECORDS = {
    "contacts": ({"email": "ada@example.com", "firstname": "Ada"}, {"firstname": "Augusta"}),
    "companies": ({"domain": "engines.example", "name": "Engines"}, {"name": "More engines"}),
    "deals": ({"external_id": "D-1", **DEAL}, {"dealname": "Two engines"}),
    "tickets": (
        {"external_id": "T-1", "subject": "It stutters", "pipeline": "0", "hs_pipeline_stage": "1"},
        {"description": "Only on Mondays"},
    ),
    "line_items": ({"external_id": "L-1", "name": "Cog", "price": 12.5}, {"quantity": 3}),
}
ID_FIELDS = {name: f"hubspot_{each.singular}_id" for name, each in OBJECT_TYPES.items()}


@pytest.fixture
def key(make_key):
    return make_key()


@pytest.fixture(autouse=True)
def _set_up(portal_id, sandbox):
    push(portal_id)
    sandbox.clear_requests()


@pytest.fixture
def call(client, key):
    """Calls as another application does."""

    def do(method, path, body=None, **headers):
        return client.open(path, method=method, json=body, headers=key | headers)

    return do


@pytest.fixture
def definitions(app):
    """The portal's property definitions are known."""
    schemas.refresh_stale_schemas()


def rows(*columns):
    with transaction() as session:
        return list(session.execute(text(f"SELECT {', '.join(columns)} FROM records ORDER BY id")))  # noqa: S608


@pytest.mark.parametrize("name", RECORDS)
def test_a_new_record_stands_in_hubspot_when_the_caller_is_told(call, in_hubspot, name):
    given, _ = RECORDS[name]

    answer = call("POST", f"/{name}", given)

    singular = OBJECT_TYPES[name].singular
    assert answer.status_code == 201, answer.json
    [there] = in_hubspot(name)
    noun = singular.replace("_", " ").capitalize()
    assert answer.json == {
        "status": "success",
        "message": f"{noun} created/updated successfully",
        f"hubspot_{singular}_id": there["hs_object_id"],
        "action": "created",
    }
    assert rows("state", "hs_object_id", "unsent", "held_until") == [
        ("synced", there["hs_object_id"], [], None)
    ]


@pytest.mark.parametrize("name", RECORDS)
def test_the_same_key_again_changes_the_record(call, in_hubspot, name):
    given, more = RECORDS[name]
    first = call("POST", f"/{name}", given).json

    answer = call("POST", f"/{name}", given | more)

    assert answer.status_code == 200, answer.json
    assert answer.json == first | {"action": "updated"}
    [there] = in_hubspot(name, *map(OBJECT_TYPES[name].property_for, more))
    assert {name: str(value) for name, value in more.items()}.items() <= {
        wire: there[OBJECT_TYPES[name].property_for(wire)] for wire in more
    }.items()
    assert count_rows("records") == 1
