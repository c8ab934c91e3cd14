"""Pipelines and property definitions."""

from typing import Any

import pytest
import requests

from hubspot_sandbox import SandboxServer

from .client import OBJECTS, HubSpot

PROPERTIES = "/crm/properties/2026-09/deals"
DEFINITION = {
    "name": "crm_uid",
    "label": "CRM uid",
    "type": "string",
    "fieldType": "text",
    "groupName": "dealinformation",
    "hasUniqueValue": True,
}


def test_the_stock_sales_pipeline_has_its_stages_with_text_metadata(hubspot: HubSpot) -> None:
    (pipeline,) = hubspot.get("/crm/v3/pipelines/deals").json()["results"]

    assert (pipeline["id"], pipeline["label"]) == ("default", "Sales Pipeline")
    assert [stage["id"] for stage in pipeline["stages"]] == [
        *("appointmentscheduled", "qualifiedtobuy", "presentationscheduled"),
        *("decisionmakerboughtin", "contractsent", "closedwon", "closedlost"),
    ]
    assert pipeline["stages"][5]["metadata"] == {"isClosed": "true", "probability": "1.0"}
    assert pipeline["stages"][5]["createdAt"] == "1970-01-01T00:00:00Z"


def test_the_stock_ticket_pipeline_has_numeric_ids(hubspot: HubSpot) -> None:
    (pipeline,) = hubspot.get("/crm/v3/pipelines/tickets").json()["results"]

    assert pipeline["id"] == "0"
    assert [stage["id"] for stage in pipeline["stages"]] == ["1", "2", "3", "4"]
    assert pipeline["stages"][3]["metadata"] == {"ticketState": "CLOSED", "isClosed": "true"}


def test_a_pipeline_its_stages_and_a_stage_are_read_apart(hubspot: HubSpot) -> None:
    base = "/crm/pipelines/2026-09/deals"
    pipeline = hubspot.get(f"{base}/default").json()

    assert hubspot.get(f"{base}/default/stages").json()["results"] == pipeline["stages"]
    assert hubspot.get(f"{base}/default/stages/closedwon").json() == pipeline["stages"][5]
    assert hubspot.get(f"{base}/none").status_code == 404
    assert hubspot.get(f"{base}/default/stages/none").status_code == 404


def test_a_portal_can_be_given_other_pipelines(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    stage = {"id": "77", "label": "Neu", "metadata": {"isClosed": "false", "probability": "0.1"}}
    body = {"results": [{"id": "8841", "label": "Vertrieb", "stages": [stage]}]}
    url = f"{sandbox.url}/_sandbox/pipelines/deals"

    assert requests.put(url, json=body, timeout=5).status_code == 200
    (pipeline,) = hubspot.get("/crm/v3/pipelines/deals").json()["results"]
    assert (pipeline["id"], pipeline["stages"][0]["label"]) == ("8841", "Neu")
    assert hubspot.create("deals", dealname="D", dealstage="77")["properties"]["pipeline"] == "8841"


def test_pipelines_without_results_are_refused(sandbox: SandboxServer) -> None:
    url = f"{sandbox.url}/_sandbox/pipelines/deals"

    assert requests.put(url, json={}, timeout=5).status_code == 400
    assert requests.put(url, data=b"{", timeout=5).status_code == 400


def test_properties_are_listed_with_their_definitions(hubspot: HubSpot) -> None:
    found = {each["name"]: each for each in hubspot.get(PROPERTIES).json()["results"]}

    assert found["amount"]["type"] == "number"
    assert found["closedate"]["type"] == "datetime"
    assert found["dealtype"]["options"][0]["value"] == "newbusiness"
    assert found["hubspot_owner_id"]["options"] == []
    assert found["hubspot_owner_id"]["referencedObjectType"] == "OWNER"
    assert found["hs_object_id"]["modificationMetadata"]["readOnlyValue"] is True


def test_a_property_is_created_once(hubspot: HubSpot) -> None:
    created = hubspot.post(PROPERTIES, DEFINITION)
    again = hubspot.post(PROPERTIES, DEFINITION)

    assert created.status_code == 201
    assert created.json()["hasUniqueValue"] is True
    assert created.json()["hubspotDefined"] is False
    assert hubspot.get(f"{PROPERTIES}/crm_uid").json() == created.json()
    assert again.status_code == 409
    assert again.json()["category"] == "OBJECT_ALREADY_EXISTS"
    assert again.json()["subCategory"] == "Properties.PROPERTY_WITH_NAME_EXISTS"


def test_an_unknown_property_is_not_found(hubspot: HubSpot) -> None:
    answer = hubspot.get(f"{PROPERTIES}/nonsense")

    assert (answer.status_code, answer.json()["category"]) == (404, "OBJECT_NOT_FOUND")


@pytest.mark.parametrize("name", ["name", "label", "type", "fieldType", "groupName"])
def test_a_property_needs(hubspot: HubSpot, name: str) -> None:
    answer = hubspot.post(PROPERTIES, {**DEFINITION, name: None})

    assert answer.status_code == 400
    assert name in answer.json()["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Crm Uid"},
        {"type": "text"},
        {"type": "date", "fieldType": "text"},
        {"groupName": "nowhere"},
        {"type": "date", "fieldType": "date"},
        {"options": [{"value": "a", "label": "A"}, {"value": "a", "label": "B"}]},
    ],
)
def test_a_wrong_definition_is_refused(hubspot: HubSpot, change: dict[str, Any]) -> None:
    assert hubspot.post(PROPERTIES, {**DEFINITION, **change}).status_code == 400


def test_a_type_has_at_most_ten_unique_properties(hubspot: HubSpot) -> None:
    made = [
        hubspot.post(PROPERTIES, {**DEFINITION, "name": f"uid_{number}"}).status_code
        for number in range(11)
    ]

    assert made == [201] * 10 + [400]


def test_options_are_replaced_as_a_whole(hubspot: HubSpot) -> None:
    options = [{"value": "a", "label": "A"}, {"value": "b", "label": "B"}]
    kind = {"type": "enumeration", "fieldType": "select", "hasUniqueValue": False}
    hubspot.post(PROPERTIES, {**DEFINITION, **kind, "options": options})

    path = f"{PROPERTIES}/crm_uid"
    answer = hubspot.patch(path, {"options": [{"value": "c", "label": "C"}], "label": "New"})
    assert answer.status_code == 200
    assert [each["value"] for each in answer.json()["options"]] == ["c"]
    assert hubspot.get(path).json()["label"] == "New"


def test_uniqueness_cannot_be_added_later(hubspot: HubSpot) -> None:
    hubspot.post(PROPERTIES, {**DEFINITION, "hasUniqueValue": False})
    hubspot.patch(f"{PROPERTIES}/crm_uid", {"hasUniqueValue": True})

    assert hubspot.get(f"{PROPERTIES}/crm_uid").json()["hasUniqueValue"] is False


def test_hubspots_own_properties_can_be_neither_changed_nor_archived(hubspot: HubSpot) -> None:
    assert hubspot.patch(f"{PROPERTIES}/amount", {"label": "Sum"}).status_code == 400
    assert hubspot.delete(f"{PROPERTIES}/amount").status_code == 400


def test_an_archived_property_is_unknown_until_it_is_created_again(
    hubspot: HubSpot, make_deal: Any
) -> None:
    hubspot.post(PROPERTIES, DEFINITION)
    deal = make_deal(crm_uid="a")
    path = f"{OBJECTS}/deals/{deal['id']}"
    write = {"properties": {"crm_uid": "b"}}

    assert hubspot.delete(f"{PROPERTIES}/crm_uid").status_code == 204
    assert hubspot.get(f"{PROPERTIES}/crm_uid").status_code == 404
    assert hubspot.get(PROPERTIES, archived="true").json()["results"][0]["name"] == "crm_uid"
    assert "crm_uid" not in hubspot.get(path, properties="crm_uid").json()["properties"]
    assert hubspot.patch(path, write).status_code == 400

    assert hubspot.post(PROPERTIES, DEFINITION).status_code == 201
    assert hubspot.get(path, properties="crm_uid").json()["properties"]["crm_uid"] == "a"


def test_groups_are_listed(hubspot: HubSpot) -> None:
    (group,) = hubspot.get(f"{PROPERTIES}/groups").json()["results"]

    assert group["name"] == "dealinformation"
