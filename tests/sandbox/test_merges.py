"""Merging two records into one, deleting a contact for good, and what old ids lead to."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.events import DELETION, MERGE, PRIVACY_DELETION, RESTORE, Event
from hubspot_sandbox.merges import MAX_IDENTITIES
from hubspot_sandbox.object_types import CONTACTS as CONTACT_TYPE
from hubspot_sandbox.records import restore_record
from hubspot_sandbox.store import Sandbox

from .client import ASSOCIATIONS, OBJECTS, HubSpot

MakeDeal = Callable[..., dict[str, Any]]
CONTACTS = f"{OBJECTS}/contacts"


def merge(hubspot: HubSpot, object_type: str, primary: Any, other: Any) -> requests.Response:
    body = {"primaryObjectId": primary["id"], "objectIdToMerge": other["id"]}
    return hubspot.post(f"{OBJECTS}/{object_type}/merge", body)


@pytest.fixture
def other(hubspot: HubSpot) -> dict[str, Any]:
    return hubspot.create(
        "contacts", email="ada@work.example", firstname="A.", phone="+1 555", city="Lagos"
    )


@pytest.fixture
def merged(hubspot: HubSpot, contact: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    answer = merge(hubspot, "contacts", contact, other)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture
def events(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What the portal tells of from now on."""
    heard: list[Event] = []
    (portal,) = sandbox.sandbox.portals.values()
    monkeypatch.setattr(portal.undo_log, "emit", heard.append)
    return heard


def test_a_merge_mints_a_new_id(
    contact: dict[str, Any], other: dict[str, Any], merged: dict[str, Any]
) -> None:
    assert int(merged["id"]) > int(other["id"]) > int(contact["id"])


def test_a_merge_keeps_the_primary_id_in_portals_that_preserve_it(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any], other: dict[str, Any]
) -> None:
    sandbox.sandbox.settings.merge_mints_new_id = False

    survivor = merge(hubspot, "contacts", contact, other).json()
    assert survivor["id"] == contact["id"]
    assert survivor["properties"]["hs_merged_object_ids"] == other["id"]
    assert survivor["properties"]["phone"] == "+1 555"
    assert hubspot.get(f"{CONTACTS}/{other['id']}").json()["id"] == contact["id"]


def test_the_primary_values_win_and_the_others_fill_the_gaps(merged: dict[str, Any]) -> None:
    values = merged["properties"]

    assert (values["firstname"], values["lastname"]) == ("Ada", "Okoye")
    assert (values["phone"], values["city"]) == ("+1 555", "Lagos")


def test_the_second_address_becomes_an_additional_one_and_stays_taken(
    hubspot: HubSpot, merged: dict[str, Any]
) -> None:
    assert merged["properties"]["email"] == "ada@example.com"
    assert merged["properties"]["hs_additional_emails"] == "ada@work.example"
    again = hubspot.post(CONTACTS, {"properties": {"email": "ada@work.example"}})
    assert again.status_code == 409
    assert again.json()["message"].endswith(merged["id"])


def test_a_merged_record_names_those_before(
    contact: dict[str, Any], other: dict[str, Any], merged: dict[str, Any]
) -> None:
    values = merged["properties"]
    vids = [each.split(":") for each in values["hs_calculated_merged_vids"].split(";")]

    assert values["hs_merged_object_ids"] == f"{contact['id']};{other['id']}"
    assert [each[0] for each in vids] == [contact["id"], other["id"]]
    assert all(len(each[1]) == 13 for each in vids)


def test_a_merged_contact_is_as_far_as_either_was(hubspot: HubSpot) -> None:
    one = hubspot.create("contacts", firstname="A", lifecyclestage="lead")
    two = hubspot.create("contacts", firstname="B", lifecyclestage="customer")

    survivor = merge(hubspot, "contacts", one, two).json()
    assert survivor["properties"]["lifecyclestage"] == "customer"


def test_an_old_id_reads_and_updates_the_survivor(
    hubspot: HubSpot, contact: dict[str, Any], other: dict[str, Any], merged: dict[str, Any]
) -> None:
    for old in (contact, other):
        path = f"{CONTACTS}/{old['id']}"
        assert hubspot.get(path).json()["id"] == merged["id"]
        assert hubspot.patch(path, {"properties": {"fax": old["id"]}}).json()["id"] == merged["id"]

    found = hubspot.get(f"{CONTACTS}/{merged['id']}", properties="fax").json()
    assert found["properties"]["fax"] == other["id"]


def test_an_old_id_leads_through_several_merges(
    hubspot: HubSpot, contact: dict[str, Any], merged: dict[str, Any]
) -> None:
    third = hubspot.create("contacts", firstname="Third")
    last = merge(hubspot, "contacts", third, merged).json()

    assert hubspot.get(f"{CONTACTS}/{contact['id']}").json()["id"] == last["id"]
    ids = last["properties"]["hs_merged_object_ids"].split(";")
    assert {contact["id"], merged["id"], third["id"]} <= set(ids)


@pytest.mark.parametrize("action", ["read", "update"])
def test_an_old_id_is_unknown_to_batches(
    hubspot: HubSpot, contact: dict[str, Any], merged: dict[str, Any], action: str
) -> None:
    inputs = [{"id": each["id"], "properties": {"fax": "1"}} for each in (contact, merged)]
    answer = hubspot.batch("contacts", action, *inputs)

    assert answer.status_code == 207
    assert [each["id"] for each in answer.json()["results"]] == [merged["id"]]
    assert answer.json()["errors"][0]["context"]["ids"] == [contact["id"]]


def test_merged_records_are_in_no_list_no_search_and_no_archive(
    hubspot: HubSpot, contact: dict[str, Any], merged: dict[str, Any]
) -> None:
    live = [each["id"] for each in hubspot.get(CONTACTS).json()["results"]]

    assert live == hubspot.found("contacts") == [merged["id"]]
    assert hubspot.get(CONTACTS, archived="true").json()["results"] == []
    assert hubspot.get(f"{CONTACTS}/{contact['id']}", archived="true").status_code == 404


def test_search_finds_a_new_survivor_only_after_the_index_lag(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any], other: dict[str, Any]
) -> None:
    sandbox.sandbox.settings.index_lag_ms = 5_000
    sandbox.advance(seconds=60)
    assert len(hubspot.found("contacts")) == 2
    survivor = merge(hubspot, "contacts", contact, other).json()["id"]

    assert hubspot.found("contacts") == []
    sandbox.advance(seconds=5)
    assert hubspot.found("contacts") == [survivor]


def test_associations_move_to_the_survivor_and_leave_the_old_ids_empty(
    hubspot: HubSpot, make_deal: MakeDeal, contact: dict[str, Any]
) -> None:
    deals = [make_deal(), make_deal()]
    path = f"{OBJECTS}/deals/{{}}/associations/default/contacts/{contact['id']}"
    hubspot.put(path.format(deals[0]["id"]))
    hubspot.put(path.format(deals[1]["id"]))
    survivor = merge(hubspot, "deals", *deals).json()

    new = hubspot.get(f"{OBJECTS}/deals/{survivor['id']}/associations/contacts").json()["results"]
    back = hubspot.get(f"{OBJECTS}/contacts/{contact['id']}/associations/deals").json()["results"]
    assert [each["toObjectId"] for each in new] == [int(contact["id"])]
    assert [each["toObjectId"] for each in back] == [int(survivor["id"])]
    for old in deals:
        answer = hubspot.get(f"{OBJECTS}/deals/{old['id']}/associations/contacts")
        assert (answer.status_code, answer.json()["results"]) == (200, [])
    inputs = {"inputs": [{"id": deals[0]["id"]}]}
    read = hubspot.post(f"{ASSOCIATIONS}/deals/contacts/batch/read", inputs)
    assert (read.status_code, read.json()["results"]) == (207, [])


def test_of_two_primary_companies_the_primary_contacts_stays(
    hubspot: HubSpot, contact: dict[str, Any], other: dict[str, Any]
) -> None:
    companies = [hubspot.create("companies", name=name) for name in ("One", "Two")]
    for person, company in zip((contact, other), companies, strict=True):
        spec = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}]
        path = f"{CONTACTS}/{person['id']}/associations/companies/{company['id']}"
        assert hubspot.put(path, spec).status_code == 201
    survivor = merge(hubspot, "contacts", contact, other).json()

    rows = hubspot.get(f"{CONTACTS}/{survivor['id']}/associations/companies").json()["results"]
    types = {
        str(row["toObjectId"]): {each["typeId"] for each in row["associationTypes"]} for row in rows
    }
    assert types == {companies[0]["id"]: {279, 1}, companies[1]["id"]: {279}}


def test_of_two_parents_the_primary_companys_stays(hubspot: HubSpot) -> None:
    one, other, parent, another = (hubspot.create("companies", name=each) for each in "ABCD")
    for child, its in ((one, parent), (other, another)):
        path = f"{OBJECTS}/companies/{child['id']}/associations/companies/{its['id']}"
        spec = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 14}
        assert hubspot.put(path, [spec]).status_code == 201
    survivor = merge(hubspot, "companies", one, other).json()
    path = f"{OBJECTS}/companies/{survivor['id']}/associations/companies"
    parents = {
        each["toObjectId"]
        for each in hubspot.get(path).json()["results"]
        if 14 in [of["typeId"] for of in each["associationTypes"]]
    }

    assert parents == {int(parent["id"])}


def test_records_that_were_associated_with_each_other_end_without_themselves(
    hubspot: HubSpot, contact: dict[str, Any], other: dict[str, Any]
) -> None:
    hubspot.put(f"{CONTACTS}/{contact['id']}/associations/default/contacts/{other['id']}")

    survivor = merge(hubspot, "contacts", contact, other).json()
    path = f"{CONTACTS}/{survivor['id']}/associations/contacts"
    assert hubspot.get(path).json()["results"] == []


def test_a_record_merges_neither_with_itself_nor_with_what_is_not_there(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    assert merge(hubspot, "contacts", contact, contact).status_code == 400
    assert merge(hubspot, "contacts", contact, {"id": "999"}).status_code == 404
    assert merge(hubspot, "contacts", {"id": "abc"}, contact).status_code == 404
    assert hubspot.post(f"{CONTACTS}/merge", {"primaryObjectId": "1"}).status_code == 400


def test_line_items_do_not_merge(hubspot: HubSpot) -> None:
    items = [hubspot.create("line_items", name="L") for _ in range(2)]

    assert merge(hubspot, "line_items", *items).status_code == 404


def test_both_path_families_merge(hubspot: HubSpot) -> None:
    one, two = (hubspot.create("companies", name="C")["id"] for _ in range(2))
    body = {"primaryObjectId": one, "objectIdToMerge": two}

    assert hubspot.post("/crm/v3/objects/0-2/merge", body).status_code == 200


def test_a_profile_has_at_most_250_identities(hubspot: HubSpot) -> None:
    people = []
    for _ in range(3):
        inputs = [{"properties": {"firstname": "Twin"}}] * 100
        people += hubspot.batch("contacts", "create", *inputs).json()["results"]
    survivor = people.pop()
    for _ in range(MAX_IDENTITIES - 1):
        survivor = merge(hubspot, "contacts", survivor, people.pop()).json()

    refused = merge(hubspot, "contacts", survivor, people.pop())
    assert refused.status_code == 414
    assert refused.json()["message"] == "Cannot have more than 250 identities on a profile"


def test_a_merge_is_told_of(
    hubspot: HubSpot, contact: dict[str, Any], other: dict[str, Any], events: list[Event]
) -> None:
    survivor = merge(hubspot, "contacts", contact, other).json()

    (event,) = [each for each in events if each.kind == MERGE]
    assert (event.object_type, event.object_id) == ("contacts", int(survivor["id"]))
    assert event.details == {
        "primaryObjectId": int(contact["id"]),
        "mergedObjectIds": [int(other["id"])],
        "newObjectId": int(survivor["id"]),
        "numberOfPropertiesMoved": 2,
    }


def test_a_state_file_keeps_what_old_ids_lead_to(
    sandbox: SandboxServer, contact: dict[str, Any], merged: dict[str, Any]
) -> None:
    copy = Sandbox()
    copy.restore(sandbox.sandbox.serialize())

    (portal,) = copy.portals.values()
    survivor = portal.tables["contacts"].find_survivor(int(contact["id"]))
    assert survivor is not None
    assert str(survivor.id) == merged["id"]


@pytest.mark.parametrize("id_property", ["hs_object_id", "email"])
def test_a_gdpr_delete_leaves_no_trace(
    hubspot: HubSpot, make_deal: MakeDeal, contact: dict[str, Any], id_property: str
) -> None:
    deal = make_deal()
    hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/contacts/{contact['id']}")
    key = contact["properties"][id_property]
    body = {"objectId": key, "idProperty": id_property}

    assert hubspot.post(f"{CONTACTS}/gdpr-delete", body).status_code == 204
    for archived in ("false", "true"):
        path = f"{CONTACTS}/{contact['id']}"
        assert hubspot.get(path, archived=archived).status_code == 404
        assert hubspot.get(CONTACTS, archived=archived).json()["results"] == []
    assert hubspot.found("contacts") == []
    rows = hubspot.get(f"{OBJECTS}/deals/{deal['id']}/associations/contacts").json()["results"]
    assert rows == []


def test_a_gdpr_delete_purges_what_is_archived_too(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    hubspot.delete(f"{CONTACTS}/{contact['id']}")

    body = {"objectId": contact["id"]}
    assert hubspot.post(f"{CONTACTS}/gdpr-delete", body).status_code == 204
    assert hubspot.get(f"{CONTACTS}/{contact['id']}", archived="true").status_code == 404


def test_a_gdpr_delete_of_an_unknown_address_is_204_and_of_an_unknown_id_404(
    hubspot: HubSpot,
) -> None:
    address = {"objectId": "nobody@example.com", "idProperty": "email"}

    assert hubspot.post(f"{CONTACTS}/gdpr-delete", address).status_code == 204
    assert hubspot.post(f"{CONTACTS}/gdpr-delete", {"objectId": "999"}).status_code == 404
    assert hubspot.post(f"{OBJECTS}/deals/gdpr-delete", {"objectId": "1"}).status_code == 404


def test_the_api_may_add_a_deleted_address_again_under_a_new_id(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    hubspot.post(f"{CONTACTS}/gdpr-delete", {"objectId": contact["id"]})

    again = hubspot.create("contacts", email="ada@example.com")
    assert again["id"] != contact["id"]


def test_a_gdpr_delete_is_told_of_twice(
    hubspot: HubSpot, contact: dict[str, Any], events: list[Event]
) -> None:
    hubspot.post(f"{CONTACTS}/gdpr-delete", {"objectId": contact["id"]})

    told = {each.kind for each in events if each.object_id == int(contact["id"])}
    assert {PRIVACY_DELETION, DELETION} <= told


def restore(sandbox: SandboxServer, record_id: str) -> None:
    (portal,) = sandbox.sandbox.portals.values()
    with portal.lock, portal.undo_log.transaction():
        record = portal.table(CONTACT_TYPE).records[int(record_id)]
        restore_record(portal, CONTACT_TYPE, record)


def test_a_restored_record_is_live_again_and_told_of(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any], events: list[Event]
) -> None:
    hubspot.delete(f"{CONTACTS}/{contact['id']}")
    restore(sandbox, contact["id"])

    assert hubspot.get(f"{CONTACTS}/ada@example.com", idProperty="email").status_code == 200
    assert hubspot.get(CONTACTS, archived="true").json()["results"] == []
    assert [each.kind for each in events][-1] == RESTORE


def test_a_record_whose_address_was_taken_since_is_not_restored(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    hubspot.delete(f"{CONTACTS}/{contact['id']}")
    hubspot.create("contacts", email="ada@example.com")

    with pytest.raises(Exception, match="already exists"):
        restore(sandbox, contact["id"])
    assert hubspot.get(f"{CONTACTS}/{contact['id']}").status_code == 404


def test_a_record_is_not_restored_after_90_days(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    hubspot.delete(f"{CONTACTS}/{contact['id']}")
    sandbox.sandbox.clock.offset_ms += 91 * 86_400_000

    with pytest.raises(Exception, match="not found"):
        restore(sandbox, contact["id"])
