"""One record at a time."""

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.access import DEFAULT_APP
from hubspot_sandbox.events import user_as_actor
from hubspot_sandbox.object_types import CONTACTS as CONTACT_TYPE
from hubspot_sandbox.records import update_record
from hubspot_sandbox.store import Sandbox

from .client import OBJECTS, HubSpot

MakeDeal = Callable[..., dict[str, Any]]
CONTACTS = f"{OBJECTS}/contacts"


def test_creating_answers_201_with_the_address_and_all_set_properties(hubspot: HubSpot) -> None:
    answer = hubspot.post(CONTACTS, {"properties": {"email": "Ada@Example.COM", "fax": "12"}})

    assert answer.status_code == 201
    record = answer.json()
    assert answer.headers["Location"].endswith(f"{CONTACTS}/{record['id']}")
    assert record["properties"]["email"] == "ada@example.com"
    assert record["properties"]["fax"] == "12"
    assert record["properties"]["hs_object_id"] == record["id"]
    assert record["archived"] is False


def test_every_property_value_is_text(hubspot: HubSpot) -> None:
    answer = hubspot.post(
        f"{OBJECTS}/deals",
        {"properties": {"dealname": 7, "dealstage": "closedwon", "amount": 12.5}},
    )

    values = answer.json()["properties"].values()
    assert all(isinstance(value, str) for value in values)
    assert answer.json()["properties"]["amount"] == "12.5"


def test_times_are_iso_in_utc(contact: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", contact["createdAt"])
    assert contact["createdAt"] == contact["properties"]["createdate"]
    assert contact["updatedAt"] == contact["properties"]["lastmodifieddate"]


def test_a_time_without_milliseconds_has_no_fraction(make_deal: MakeDeal) -> None:
    deal = make_deal(closedate="1767225600000")

    assert deal["properties"]["closedate"] == "2026-01-01T00:00:00Z"


def test_without_asked_properties_a_read_gives_the_default_set(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    record = hubspot.get(f"{CONTACTS}/{contact['id']}").json()

    assert set(record["properties"]) == {
        *("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")
    }


def test_asked_properties_come_as_null_when_unset_and_not_at_all_when_undefined(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    record = hubspot.get(f"{CONTACTS}/{contact['id']}", properties="phone,nonsense").json()

    assert record["properties"]["phone"] is None
    assert set(record["properties"]) == {"phone", "hs_object_id", "createdate", "lastmodifieddate"}


def test_an_update_writes_what_it_names_and_moves_the_modified_date(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    sandbox.sandbox.clock.offset_ms += 60_000
    answer = hubspot.patch(f"{CONTACTS}/{contact['id']}", {"properties": {"phone": "+1 555"}})

    assert answer.status_code == 200
    properties = answer.json()["properties"]
    assert (properties["phone"], properties["firstname"]) == ("+1 555", "Ada")
    assert properties["lastmodifieddate"] != contact["properties"]["lastmodifieddate"]
    assert properties["createdate"] == contact["properties"]["createdate"]


def test_empty_text_clears_a_property(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    hubspot.patch(f"{CONTACTS}/{contact['id']}", {"properties": {"firstname": ""}})

    record = hubspot.get(f"{CONTACTS}/{contact['id']}").json()
    assert record["properties"]["firstname"] is None


def test_an_update_without_properties_is_refused(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    answer = hubspot.patch(f"{CONTACTS}/{contact['id']}", {"properties": {}})

    assert answer.status_code == 400
    assert answer.json()["message"] == (
        "No properties found to update, please provide at least one."
    )


def test_a_contact_is_read_and_updated_by_email_in_any_letter_case(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    path = f"{CONTACTS}/ADA@example.com"
    hubspot.patch(path, {"properties": {"phone": "1"}}, idProperty="email")

    record = hubspot.get(path, idProperty="email", properties="phone").json()
    assert (record["id"], record["properties"]["phone"]) == (contact["id"], "1")


def test_an_unknown_number_is_not_found_without_a_category(hubspot: HubSpot) -> None:
    answer = hubspot.get(f"{CONTACTS}/999")

    assert answer.status_code == 404
    assert answer.json()["message"] == "resource not found"
    assert "category" not in answer.json()


def test_an_id_that_is_no_number_is_refused_in_hubspots_words(hubspot: HubSpot) -> None:
    answer = hubspot.get(f"{CONTACTS}/abc")

    assert answer.status_code == 404
    assert answer.json()["message"] == "Object not found.  objectId are usually numeric."
    assert answer.json()["category"] == "OBJECT_NOT_FOUND"
    assert answer.json()["context"] == {"id": ["abc"]}


def test_a_property_that_is_not_unique_cannot_identify_a_record(
    hubspot: HubSpot, make_deal: MakeDeal
) -> None:
    make_deal(dealname="Pilot")

    answer = hubspot.get(f"{OBJECTS}/deals/Pilot", idProperty="dealname")
    assert answer.status_code == 400


def test_an_archived_record_is_gone_but_for_those_who_ask_for_archived_ones(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    path = f"{CONTACTS}/{contact['id']}"

    assert hubspot.get(path, archived="true").status_code == 404
    assert hubspot.delete(path).status_code == 204
    assert hubspot.get(path).status_code == 404
    record = hubspot.get(path, archived="true").json()
    assert record["archived"] is True
    assert record["archivedAt"]


def test_archiving_twice_or_what_never_was_answers_204(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    path = f"{CONTACTS}/{contact['id']}"

    assert [hubspot.delete(path).status_code for _ in range(2)] == [204, 204]
    assert hubspot.delete(f"{CONTACTS}/999").status_code == 204


def test_an_archived_record_cannot_be_updated(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    hubspot.delete(f"{CONTACTS}/{contact['id']}")

    answer = hubspot.patch(f"{CONTACTS}/{contact['id']}", {"properties": {"phone": "1"}})
    assert answer.status_code == 404


def test_an_email_is_unique_whatever_its_letter_case(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    answer = hubspot.post(CONTACTS, {"properties": {"email": "ADA@example.com"}})

    assert answer.status_code == 409
    assert answer.json()["message"] == f"Contact already exists. Existing ID: {contact['id']}"
    assert answer.json()["category"] == "CONFLICT"


def test_the_conflict_may_keep_the_id_to_itself(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    sandbox.sandbox.settings.conflict_names_id = False

    answer = hubspot.post(CONTACTS, {"properties": {"email": "ada@example.com"}})
    assert answer.json()["message"] == "Contact already exists"


def test_an_additional_email_is_taken_too(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    path = f"{CONTACTS}/{contact['id']}"
    hubspot.patch(path, {"properties": {"hs_additional_emails": "ada@home.org;Ada@work.org"}})

    answer = hubspot.post(CONTACTS, {"properties": {"email": "ada@work.org"}})
    assert answer.status_code == 409
    assert contact["id"] in answer.json()["message"]
    assert hubspot.get(f"{CONTACTS}/ada@work.org", idProperty="email").status_code == 404


def test_an_update_cannot_take_anothers_email(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    other = hubspot.create("contacts", email="bo@example.com")

    answer = hubspot.patch(
        f"{CONTACTS}/{other['id']}", {"properties": {"email": "ada@example.com"}}
    )
    assert answer.status_code == 409


def test_an_archived_contact_frees_its_email(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    hubspot.delete(f"{CONTACTS}/{contact['id']}")

    assert hubspot.create("contacts", email="ada@example.com")["id"] != contact["id"]


def test_a_changed_email_frees_the_old_one(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    hubspot.patch(f"{CONTACTS}/{contact['id']}", {"properties": {"email": "new@example.com"}})

    hubspot.create("contacts", email="ada@example.com")
    assert hubspot.get(f"{CONTACTS}/new@example.com", idProperty="email").status_code == 200


def test_a_company_domain_is_not_unique(hubspot: HubSpot) -> None:
    first = hubspot.create("companies", domain="example.com")
    second = hubspot.create("companies", domain="example.com")

    assert first["id"] != second["id"]


def test_ids_are_unique_within_a_type_only(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    assert hubspot.create("companies", name="Example")["id"] == contact["id"]


def test_a_list_is_paged_by_the_next_records_id(hubspot: HubSpot) -> None:
    ids = [hubspot.create("companies", name=f"C{number}")["id"] for number in range(12)]

    first = hubspot.get(f"{OBJECTS}/companies").json()
    after = first["paging"]["next"]["after"]
    second = hubspot.get(f"{OBJECTS}/companies", after=after, limit=100).json()
    assert [each["id"] for each in first["results"]] == ids[:10]
    assert after == ids[10]
    assert f"after={after}" in first["paging"]["next"]["link"]
    assert [each["id"] for each in second["results"]] == ids[10:]
    assert "paging" not in second


@pytest.mark.parametrize("query", [{"limit": 101}, {"limit": 0}, {"limit": "x"}, {"after": "x"}])
def test_a_list_refuses_limits_and_cursors_out_of_range(
    hubspot: HubSpot, query: dict[str, Any]
) -> None:
    answer = hubspot.get(CONTACTS, **query)

    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"


def test_archived_records_are_listed_apart(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    kept = hubspot.create("contacts", email="bo@example.com")
    hubspot.delete(f"{CONTACTS}/{contact['id']}")

    live = hubspot.get(CONTACTS).json()["results"]
    archived = hubspot.get(CONTACTS, archived="true").json()["results"]
    assert [each["id"] for each in live] == [kept["id"]]
    assert [each["id"] for each in archived] == [contact["id"]]


def test_history_lists_a_propertys_values_newest_first(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    path = f"{CONTACTS}/{contact['id']}"
    for name in ("Adah", "Adele"):
        hubspot.patch(path, {"properties": {"firstname": name}})

    record = hubspot.get(path, propertiesWithHistory="firstname,phone").json()
    history = record["propertiesWithHistory"]
    assert [each["value"] for each in history["firstname"]] == ["Adele", "Adah", "Ada"]
    assert history["phone"] == []


def test_history_says_when_and_by_whom(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    path = f"{CONTACTS}/{contact['id']}"
    hubspot.patch(path, {"properties": {"firstname": "Adah"}})
    (portal,) = sandbox.sandbox.portals.values()
    record = portal.tables["contacts"].records[int(contact["id"])]
    with portal.lock, portal.undo_log.transaction():
        portal.undo_log.actor = user_as_actor(60318841)
        update_record(portal, CONTACT_TYPE, record, {"firstname": "Adele"})

    shape = hubspot.get(path, propertiesWithHistory="firstname").json()
    newest, middle, oldest = shape["propertiesWithHistory"]["firstname"]
    assert newest == {
        "value": "Adele",
        "timestamp": shape["updatedAt"],
        "sourceType": "CRM_UI",
        "sourceId": "userId:60318841",
        "updatedByUserId": 60318841,
    }
    assert (middle["sourceType"], middle["sourceId"]) == ("INTEGRATION", str(DEFAULT_APP.id))
    assert "updatedByUserId" not in middle
    assert (oldest["timestamp"], oldest["sourceId"]) == (contact["createdAt"], middle["sourceId"])


def test_a_record_names_its_page_in_hubspot(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    url = f"https://app.hubspot.com/contacts/44021307/record/0-1/{contact['id']}"

    assert contact["url"] == url
    assert hubspot.get(f"{CONTACTS}/{contact['id']}").json()["url"] == url


def test_the_state_file_of_an_older_sandbox_still_loads(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    hubspot.patch(f"{CONTACTS}/{contact['id']}", {"properties": {"firstname": "Adah"}})
    state = orjson.loads(sandbox.sandbox.serialize())
    (dumped,) = state["portals"]
    del dumped["setup"], dumped["merged"]
    for records in (dumped["records"], dumped["next_ids"]):
        del records["products"]
    (record,) = dumped["records"]["contacts"]
    record["changes"] = [each[:2] for each in record["changes"]]

    copy = Sandbox()
    copy.restore(orjson.dumps(state))
    (portal,) = copy.portals.values()
    history = portal.tables["contacts"].records[record["id"]].history("firstname")
    assert [value for value, _, _ in history] == ["Adah", "Ada"]


def test_lists_with_history_are_shorter(hubspot: HubSpot) -> None:
    answer = hubspot.get(CONTACTS, limit=51, propertiesWithHistory="email")

    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("values", "amount"),
    [
        ({"price": "10", "quantity": "3"}, "30"),
        ({"price": "10.50", "quantity": "2", "discount": "1"}, "20"),
        ({"price": "200", "hs_discount_percentage": "25"}, "150"),
        ({"quantity": "3"}, None),
    ],
)
def test_a_line_items_amount_is_computed(
    hubspot: HubSpot, values: dict[str, str], amount: str | None
) -> None:
    item = hubspot.create("line_items", name="Kit", **values)

    assert item["properties"].get("amount") == amount


def test_a_deals_closed_flags_follow_its_stage(hubspot: HubSpot, make_deal: MakeDeal) -> None:
    deal = make_deal(dealstage="closedwon")
    assert deal["properties"]["hs_is_closed_won"] == "true"

    path = f"{OBJECTS}/deals/{deal['id']}"
    properties = hubspot.patch(path, {"properties": {"dealstage": "closedlost"}}).json()[
        "properties"
    ]
    assert properties["hs_is_closed"] == "true"
    assert properties["hs_is_closed_won"] == "false"


def test_a_lifecycle_stage_moves_forward_only(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    path = f"{CONTACTS}/{contact['id']}"

    def stage_after(*stages: str) -> str:
        for stage in stages:
            answer = hubspot.patch(path, {"properties": {"lifecyclestage": stage}})
            assert answer.status_code == 200
        return str(answer.json()["properties"].get("lifecyclestage"))

    assert stage_after("opportunity") == "opportunity"
    assert stage_after("lead") == "opportunity"
    assert stage_after("customer") == "customer"
    assert stage_after("", "lead") == "lead"
