"""What version 2026-09 asks of writes, and what the versions before it do not."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.access import DEFAULT_APP, Access
from hubspot_sandbox.object_types import CONTACTS as CONTACT_TYPE
from hubspot_sandbox.store import Sandbox

from .client import ASSOCIATIONS, OBJECTS, HubSpot

MakeDeal = Callable[..., dict[str, Any]]
CONTACTS = f"{OBJECTS}/contacts"
OLDER = ["/crm/v3/objects/contacts", "/crm/objects/2026-03/contacts"]
NEWER = [CONTACTS, "/crm/objects/2027-03-beta/contacts"]
STATE_IN_US = {"property": "state", "when": "country", "values": ["US", "USA"]}


@pytest.fixture
def rules(sandbox: SandboxServer) -> Callable[..., requests.Response]:
    """Set the rules of contacts."""

    def put(**body: Any) -> requests.Response:
        url = f"{sandbox.url}/_sandbox/rules/contacts"
        return requests.put(url, json=body, timeout=5)

    return put


@pytest.fixture
def birthday(hubspot: HubSpot) -> str:
    """Give contacts a date property; return its name."""
    body = {
        "name": "birthday",
        "label": "Birthday",
        "type": "date",
        "fieldType": "date",
        "groupName": "contactinformation",
    }
    assert hubspot.post("/crm/v3/properties/contacts", body).status_code == 201
    return "birthday"


def codes(answer: requests.Response) -> set[tuple[str, str]]:
    assert answer.status_code == 400, answer.text
    return {(each["code"], each["context"]["propertyName"][0]) for each in answer.json()["errors"]}


def create(hubspot: HubSpot, path: str, **properties: str) -> requests.Response:
    return hubspot.post(path, {"properties": properties})


@pytest.mark.parametrize("path", NEWER)
def test_a_record_needs_what_its_creators_must_give(
    hubspot: HubSpot, rules: Any, path: str
) -> None:
    rules(required=["firstname", "phone"])
    answer = create(hubspot, path, email="a@example.com", phone="")

    assert codes(answer) == {
        ("MISSING_REQUIRED_PROPERTY", "firstname"),
        ("MISSING_REQUIRED_PROPERTY", "phone"),
    }
    assert answer.json()["message"] == "The property values provided are invalid"
    assert answer.json()["category"] == "VALIDATION_ERROR"
    assert answer.json()["errors"][0]["message"] == "A value for firstname must be provided"
    assert create(hubspot, path, firstname="A", phone="1").status_code == 201


@pytest.mark.parametrize("path", OLDER)
def test_older_versions_know_no_rules(hubspot: HubSpot, rules: Any, path: str) -> None:
    rules(required=["firstname"], conditional=[STATE_IN_US])

    assert create(hubspot, path, email="a@example.com", country="US").status_code == 201


def test_what_is_required_of_creators_is_not_of_those_who_update(
    hubspot: HubSpot, rules: Any, contact: dict[str, Any]
) -> None:
    rules(required=["phone"])

    path = f"{CONTACTS}/{contact['id']}"
    assert hubspot.patch(path, {"properties": {"fax": "1"}}).status_code == 200


def test_a_property_may_be_required_by_the_value_of_another(hubspot: HubSpot, rules: Any) -> None:
    rules(conditional=[STATE_IN_US])
    answer = create(hubspot, CONTACTS, firstname="A", country="US")

    assert codes(answer) == {("MISSING_CONDITIONAL_REQUIRED_PROPERTY", "state")}
    assert answer.json()["errors"][0]["message"] == (
        "state is required because of a conditional property rule based on [country]"
    )
    assert create(hubspot, CONTACTS, firstname="A", country="SE").status_code == 201
    assert create(hubspot, CONTACTS, firstname="A", country="US", state="ME").status_code == 201


@pytest.mark.parametrize("change", [{"country": "US"}, {"state": ""}])
def test_an_update_breaks_no_condition(
    hubspot: HubSpot, rules: Any, change: dict[str, str]
) -> None:
    before = {"state": "ME", "country": "US"} if "state" in change else {"country": "SE"}
    contact = hubspot.create("contacts", firstname="A", **before)
    rules(conditional=[STATE_IN_US])

    path = f"{CONTACTS}/{contact['id']}"
    answer = hubspot.patch(path, {"properties": change})
    assert codes(answer) == {("MISSING_CONDITIONAL_REQUIRED_PROPERTY", "state")}
    assert hubspot.patch(path, {"properties": {"fax": "1"}}).status_code == 200


def test_a_record_that_broke_a_condition_before_may_change_elsewhere(
    hubspot: HubSpot, rules: Any
) -> None:
    contact = hubspot.create("contacts", firstname="A", country="US")
    rules(conditional=[STATE_IN_US])

    path = f"{CONTACTS}/{contact['id']}"
    assert hubspot.patch(path, {"properties": {"fax": "1"}}).status_code == 200


@pytest.mark.parametrize("action", ["create", "upsert"])
def test_a_traced_batch_lists_what_breaks_the_rules(
    hubspot: HubSpot, rules: Any, action: str
) -> None:
    rules(required=["firstname"])
    inputs = [
        {
            "id": f"{name}@example.com",
            "idProperty": "email",
            "properties": {"email": f"{name}@example.com", "firstname": name},
            "objectWriteTraceId": str(number),
        }
        for number, name in enumerate(("a", ""))
    ]
    inputs[1]["id"] = inputs[1]["properties"]["email"] = "b@example.com"
    answer = hubspot.batch("contacts", action, *inputs)

    assert answer.status_code == 207
    assert len(answer.json()["results"]) == 1
    (error,) = answer.json()["errors"]
    assert error["context"]["objectWriteTraceId"] == ["1"]
    assert error["errors"][0]["code"] == "MISSING_REQUIRED_PROPERTY"


@pytest.mark.parametrize(
    ("raw", "date"),
    [
        ("1684914035320", "2023-05-24"),
        ("1684914035", "2023-05-24"),
        ("2023-05-24T07:40:35Z", "2023-05-24"),
    ],
)
def test_a_date_that_older_versions_refuse_is_set_right_with_a_warning(
    hubspot: HubSpot, birthday: str, raw: str, date: str
) -> None:
    answer = create(hubspot, CONTACTS, firstname="A", birthday=raw)

    assert answer.status_code == 201
    assert answer.json()["properties"]["birthday"] == date
    assert answer.json()["warnings"] == [
        {
            "category": "PROPERTY_VALUE_NORMALIZED",
            "message": "birthday was normalized",
            "context": {"propertyName": [birthday], "rawValue": [raw], "normalizedValue": [date]},
        }
    ]
    for path in OLDER:
        assert codes(create(hubspot, path, firstname="A", birthday=raw)) == {
            ("INVALID_DATE", "birthday")
        }


@pytest.mark.parametrize("raw", ["2023-05-24", "1684886400000", ""])
def test_a_proper_date_brings_no_warning(hubspot: HubSpot, birthday: str, raw: str) -> None:
    answer = create(hubspot, CONTACTS, firstname="A", birthday=raw)

    assert answer.status_code == 201
    assert "warnings" not in answer.json()


def test_nonsense_is_no_date_in_any_version(hubspot: HubSpot, birthday: str) -> None:
    answer = create(hubspot, CONTACTS, firstname="A", birthday="soon")

    assert codes(answer) == {("INVALID_DATE", "birthday")}


def test_updates_and_batches_warn_too(
    hubspot: HubSpot, birthday: str, contact: dict[str, Any]
) -> None:
    values = {"properties": {"birthday": "1684914035320"}}
    patched = hubspot.patch(f"{CONTACTS}/{contact['id']}", values).json()
    updated = hubspot.batch("contacts", "update", {"id": contact["id"], **values}).json()
    key = {"id": "ada@example.com", "idProperty": "email"}
    upserted = hubspot.batch("contacts", "upsert", {**key, **values}).json()
    created = hubspot.batch(
        "contacts", "create", {"properties": {"firstname": "B", **values["properties"]}}
    ).json()

    for shape in (patched, *(each["results"][0] for each in (updated, upserted, created))):
        assert shape["warnings"][0]["category"] == "PROPERTY_VALUE_NORMALIZED"


@pytest.fixture
def person(sandbox: SandboxServer, hubspot: HubSpot) -> Any:
    """A client whose OAuth token stands for one person of the portal."""
    (portal_id,) = sandbox.sandbox.portals
    expires = sandbox.sandbox.clock.now_ms() + 1_800_000
    token = "person"
    sandbox.sandbox.tokens[token] = Access(
        portal_id, DEFAULT_APP.id, expires_at=expires, user_id=60318841
    )
    client = HubSpot(sandbox.url)
    client.session.headers["Authorization"] = f"Bearer {token}"
    yield client
    del sandbox.sandbox.tokens[token]
    client.session.close()


def test_a_person_without_the_permission_edits_no_associations(
    hubspot: HubSpot, person: HubSpot, rules: Any, contact: dict[str, Any], make_deal: MakeDeal
) -> None:
    deal = make_deal()
    rules(mayAssociate=False)
    pair = {"from": {"id": deal["id"]}, "to": {"id": contact["id"]}}
    spec = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}
    batch = {"inputs": [{**pair, "types": [spec]}]}
    inline = {
        "properties": {"dealname": "D", "dealstage": "closedwon"},
        "associations": [{"to": {"id": contact["id"]}, "types": [spec]}],
    }
    default = f"{OBJECTS}/deals/{deal['id']}/associations/default/contacts/{contact['id']}"
    one = f"{OBJECTS}/deals/{deal['id']}/associations/contacts/{contact['id']}"
    many = f"{ASSOCIATIONS}/deals/contacts/batch"

    refused = [
        person.put(default),
        person.put(one, [spec]),
        person.delete(one),
        person.post(f"{many}/create", batch),
        person.post(f"{many}/associate/default", batch),
        person.post(f"{many}/archive", {"inputs": [{**pair, "to": [pair["to"]]}]}),
        person.post(f"{many}/labels/archive", batch),
        person.post(f"{OBJECTS}/deals", inline),
        person.batch("deals", "create", inline),
    ]
    assert {each.status_code for each in refused} == {400}
    assert {each.json()["message"] for each in refused} == {
        "Missing 'Edit Associations' permission."
    }
    assert {each.json()["category"] for each in refused} == {"VALIDATION_ERROR"}
    assert hubspot.put(default).status_code == 200
    assert person.put(default.replace(OBJECTS, "/crm/v4/objects")).status_code == 200
    assert person.get(f"{OBJECTS}/deals/{deal['id']}/associations/contacts").status_code == 200


@pytest.mark.parametrize("path", ["/crm/v3/objects/contacts", *NEWER])
def test_every_version_refuses_more_than_letters_where_an_admin_allows_nothing_else(
    hubspot: HubSpot, rules: Any, path: str
) -> None:
    rules(lettersOnly=["firstname", "lastname"])
    refused = create(hubspot, path, firstname="R2", lastname="D 2", city="L4")
    assert codes(refused) == {("INVALID_ALPHA", "firstname"), ("INVALID_ALPHA", "lastname")}
    assert {each["message"] for each in refused.json()["errors"]} == {"Enter only letters"}

    made = create(hubspot, path, firstname="Åsa", lastname="Okoye", city="L4")
    assert made.status_code == 201
    one = f"{path}/{made.json()['id']}"
    assert hubspot.patch(one, {"properties": {"lastname": ""}}).status_code == 200
    assert hubspot.patch(one, {"properties": {"lastname": "2"}}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"required": ["nonsense"]},
        {"lettersOnly": ["nonsense"]},
        {"required": "x"},
        {"conditional": [{"property": "x"}]},
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: Any, body: dict[str, Any]) -> None:
    assert rules(**body).status_code == 400


def test_rules_end_with_a_reset_and_last_in_a_state_file(
    sandbox: SandboxServer, hubspot: HubSpot, rules: Any
) -> None:
    rules(
        required=["firstname"],
        lettersOnly=["lastname"],
        conditional=[STATE_IN_US],
        mayAssociate=False,
    )
    (portal,) = sandbox.sandbox.portals.values()
    copy = Sandbox()
    copy.restore(sandbox.sandbox.serialize())
    (kept,) = copy.portals.values()

    assert kept.setup.write_rules(CONTACT_TYPE) == portal.setup.write_rules(CONTACT_TYPE)
    assert kept.setup.write_rules(CONTACT_TYPE).required == ("firstname",)
    assert kept.setup.write_rules(CONTACT_TYPE).letters_only == ("lastname",)
    sandbox.reset()
    assert create(hubspot, CONTACTS, email="a@example.com").status_code == 201
