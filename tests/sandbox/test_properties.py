"""Property definitions in batches, their groups, and what is sensitive."""

from collections.abc import Callable
from typing import Any

import pytest

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.object_types import DEALS
from hubspot_sandbox.store import Sandbox

from .client import OBJECTS, HubSpot

MakeDeal = Callable[..., dict[str, Any]]
PROPERTIES = "/crm/properties/2026-09/deals"


def definition(name: str = "colour", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "label": "Colour",
        "type": "string",
        "fieldType": "text",
        "groupName": "dealinformation",
        **changes,
    }


def batch(hubspot: HubSpot, action: str, *inputs: Any, **more: Any) -> Any:
    return hubspot.post(f"{PROPERTIES}/batch/{action}", {"inputs": list(inputs), **more})


def names(answer: Any) -> set[str]:
    return {each["name"] for each in answer.json()["results"]}


def test_properties_are_created_in_a_batch_each_by_its_own_rules(hubspot: HubSpot) -> None:
    good = batch(hubspot, "create", definition("a"), definition("b"))
    mixed = batch(hubspot, "create", definition("c"), definition("a"), definition("D"))

    assert (good.status_code, names(good)) == (201, {"a", "b"})
    assert (mixed.status_code, names(mixed)) == (207, {"c"})
    assert {each["context"]["name"][0]: each["category"] for each in mixed.json()["errors"]} == {
        "a": "OBJECT_ALREADY_EXISTS",
        "D": "VALIDATION_ERROR",
    }
    assert hubspot.get(f"{PROPERTIES}/c").status_code == 200


def test_properties_are_read_in_a_batch(hubspot: HubSpot) -> None:
    answer = batch(hubspot, "read", {"name": "amount"}, {"name": "nonsense"})

    assert (answer.status_code, names(answer)) == (207, {"amount"})
    assert answer.json()["errors"][0]["context"] == {"name": ["nonsense"]}
    assert batch(hubspot, "read", {"name": "amount"}).status_code == 200


def test_archiving_a_batch_is_204_whatever_there_was(hubspot: HubSpot) -> None:
    hubspot.post(PROPERTIES, definition())

    inputs = [{"name": "colour"}, {"name": "nonsense"}]
    assert batch(hubspot, "archive", *inputs).status_code == 204
    (archived,) = hubspot.get(PROPERTIES, archived="true").json()["results"]
    assert archived["archivedAt"] == archived["updatedAt"]
    assert names(batch(hubspot, "read", {"name": "colour"}, archived=True)) == {"colour"}
    assert batch(hubspot, "archive", *inputs).status_code == 204


@pytest.mark.parametrize("action", ["create", "read", "archive"])
@pytest.mark.parametrize("inputs", [[], [{}], [{"name": "x"}] * 101])
def test_a_batch_out_of_bounds_is_refused(hubspot: HubSpot, action: str, inputs: list[Any]) -> None:
    # A definition that lacks its name fails by itself, beside the others.
    expected = 207 if (action, inputs) == ("create", [{}]) else 400

    assert batch(hubspot, action, *inputs).status_code == expected


def test_what_is_sensitive_shows_only_to_those_who_ask(hubspot: HubSpot) -> None:
    created = hubspot.post(PROPERTIES, definition(dataSensitivity="sensitive"))

    assert created.json()["dataSensitivity"] == "sensitive"
    assert "colour" not in names(hubspot.get(PROPERTIES))
    assert names(hubspot.get(PROPERTIES, dataSensitivity="sensitive")) == {"colour"}
    assert hubspot.get(f"{PROPERTIES}/colour").status_code == 404
    assert hubspot.get(f"{PROPERTIES}/colour", dataSensitivity="sensitive").status_code == 200
    assert batch(hubspot, "read", {"name": "colour"}).status_code == 207
    asked = batch(hubspot, "read", {"name": "colour"}, dataSensitivity="sensitive")
    assert asked.status_code == 200
    assert hubspot.get(PROPERTIES, dataSensitivity="rude").status_code == 400


def test_a_group_is_created_once_and_holds_properties(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    body = {"name": "shipping", "label": "Shipping"}
    created = hubspot.post(f"{PROPERTIES}/groups", body)

    assert created.status_code == 201
    assert (created.json()["label"], created.json()["archived"]) == ("Shipping", False)
    assert hubspot.get(f"{PROPERTIES}/groups/shipping").json() == created.json()
    assert names(hubspot.get(f"{PROPERTIES}/groups")) == {"dealinformation", "shipping"}
    assert hubspot.post(f"{PROPERTIES}/groups", body).status_code == 409
    assert hubspot.post(PROPERTIES, definition(groupName="shipping")).status_code == 201
    copy = Sandbox()
    copy.restore(sandbox.sandbox.serialize())
    (kept,) = copy.portals.values()
    assert kept.setup.groups[DEALS.name, "shipping"].label == "Shipping"


@pytest.mark.parametrize("change", [{"name": "Big One"}, {"name": None}, {"label": ""}])
def test_a_wrong_group_is_refused(hubspot: HubSpot, change: dict[str, Any]) -> None:
    body = {"name": "shipping", "label": "Shipping", **change}

    assert hubspot.post(f"{PROPERTIES}/groups", body).status_code == 400
    assert hubspot.get(f"{PROPERTIES}/groups/nowhere").status_code == 404


def test_a_property_of_type_bool_needs_its_two_options(hubspot: HubSpot) -> None:
    body = definition(type="bool", fieldType="booleancheckbox")
    options = [{"value": value, "label": value} for value in ("true", "false")]

    assert hubspot.post(PROPERTIES, body).status_code == 400
    assert hubspot.post(PROPERTIES, {**body, "options": options}).status_code == 201


def test_an_enumeration_of_ones_own_without_options_takes_no_value(
    hubspot: HubSpot, make_deal: MakeDeal
) -> None:
    hubspot.post(PROPERTIES, definition(type="enumeration", fieldType="select"))
    deal = make_deal()

    path = f"{OBJECTS}/deals/{deal['id']}"
    answer = hubspot.patch(path, {"properties": {"colour": "red"}})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "INVALID_OPTION"


def test_a_property_is_hidden_and_shown_again(hubspot: HubSpot) -> None:
    hubspot.post(PROPERTIES, definition())
    path = f"{PROPERTIES}/colour"

    assert hubspot.patch(path, {"hidden": True, "formField": True}).json()["hidden"] is True
    shown = hubspot.patch(path, {"hidden": False}).json()
    assert (shown["hidden"], shown["formField"]) == (False, True)


def test_products_are_records_like_others(hubspot: HubSpot) -> None:
    product = hubspot.create("products", name="Sensor", price="149", hs_sku="HW-1")

    shape = hubspot.get(f"{OBJECTS}/0-7/{product['id']}").json()
    assert set(shape["properties"]) == {
        *("createdate", "description", "hs_lastmodifieddate", "hs_object_id", "name", "price")
    }
    assert hubspot.found("products", query="hw-1") == [product["id"]]


def test_a_group_is_renamed_and_moved(hubspot: HubSpot) -> None:
    body = {"name": "shipping", "label": "Shipping", "displayOrder": 7}
    hubspot.post(f"{PROPERTIES}/groups", body)
    renamed = hubspot.patch(f"{PROPERTIES}/groups/shipping", {"label": "Delivery"})
    moved = hubspot.patch(f"{PROPERTIES}/groups/dealinformation", {"displayOrder": -1})

    assert renamed.json() == {**body, "label": "Delivery", "archived": False}
    assert hubspot.get(f"{PROPERTIES}/groups/shipping").json() == renamed.json()
    assert moved.json()["displayOrder"] == -1
    assert len(hubspot.get(f"{PROPERTIES}/groups").json()["results"]) == 2
    for wrong in ({"label": " "}, {"displayOrder": "x"}, {"displayOrder": -2}, {"label": []}):
        assert hubspot.patch(f"{PROPERTIES}/groups/shipping", wrong).status_code == 400
    assert hubspot.patch(f"{PROPERTIES}/groups/nowhere", {}).status_code == 404


def test_a_group_of_ones_own_is_archived_when_it_is_empty(hubspot: HubSpot) -> None:
    path = f"{PROPERTIES}/groups/shipping"
    hubspot.post(f"{PROPERTIES}/groups", {"name": "shipping", "label": "Shipping"})
    hubspot.post(PROPERTIES, definition(groupName="shipping"))

    assert hubspot.delete(path).status_code == 400
    hubspot.delete(f"{PROPERTIES}/{definition()['name']}")
    assert hubspot.delete(path).status_code == 204
    assert hubspot.get(path).status_code == hubspot.delete(path).status_code == 404
    assert hubspot.delete(f"{PROPERTIES}/groups/dealinformation").status_code == 400
