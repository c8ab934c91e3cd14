"""A list shows every change at once, however often it was read before."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubspot_sandbox import SandboxServer

from .client import OBJECTS, HubSpot

QUERY = {"properties": "dealname,amount,colour", "associations": "contacts,companies"}
COLOUR = "/crm/properties/2026-09/deals"
DEFINITION = {
    "name": "colour",
    "label": "Colour",
    "type": "string",
    "fieldType": "text",
    "groupName": "dealinformation",
}


class Deals:
    """Two deals, a contact and a company, and what can happen to them."""

    def __init__(self, hubspot: HubSpot) -> None:
        self.hubspot = hubspot
        self.hubspot.post(COLOUR, DEFINITION)
        self.contact = hubspot.create("contacts", email="ada@example.com")["id"]
        self.company = hubspot.create("companies", name="Bright Harbor")["id"]
        self.deals = [
            hubspot.create("deals", dealname=name, dealstage="qualifiedtobuy", colour="red")["id"]
            for name in ("Pilot", "Rollout")
        ]

    def change(self) -> None:
        self.hubspot.patch(f"{OBJECTS}/deals/{self.deals[0]}", {"properties": {"amount": "7"}})

    def change_in_vain(self) -> None:
        inputs = [{"id": self.deals[0], "properties": {"amount": "8"}}, {"id": self.deals[1]}]
        assert self.hubspot.batch("deals", "update", *inputs).status_code == 400

    def archive(self) -> None:
        self.hubspot.delete(f"{OBJECTS}/deals/{self.deals[1]}")

    def create(self) -> None:
        self.deals.append(
            self.hubspot.create("deals", dealname="More", dealstage="closedwon")["id"]
        )

    def associate(self) -> None:
        self.hubspot.put(f"{self._deal()}/associations/default/contacts/{self.contact}")

    def associate_from_the_other_side(self) -> None:
        company = f"{OBJECTS}/companies/{self.company}"
        self.hubspot.put(f"{company}/associations/default/deals/{self.deals[0]}")

    def dissociate(self) -> None:
        self.hubspot.delete(f"{self._deal()}/associations/contacts/{self.contact}")

    def archive_associated(self) -> None:
        self.hubspot.delete(f"{OBJECTS}/companies/{self.company}")

    def archive_property(self) -> None:
        self.hubspot.delete(f"{COLOUR}/colour")

    def restore_property(self) -> None:
        self.hubspot.post(COLOUR, DEFINITION)

    def _deal(self) -> str:
        return f"{OBJECTS}/deals/{self.deals[0]}"

    def listed(self) -> list[Any]:
        results = self.hubspot.get(f"{OBJECTS}/deals", limit=100, **QUERY).json()["results"]
        return list(results)

    def read_one_by_one(self) -> list[Any]:
        answers = [self.hubspot.get(f"{OBJECTS}/deals/{each}", **QUERY) for each in self.deals]
        return [each.json() for each in answers if each.status_code == 200]


CHANGES: list[Callable[[Deals], None]] = [
    *(Deals.change, Deals.change_in_vain, Deals.archive, Deals.create),
    *(Deals.associate, Deals.associate_from_the_other_side, Deals.dissociate),
    *(Deals.archive_associated, Deals.archive_property, Deals.restore_property),
]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=6))
def test_a_list_says_what_each_record_says_by_itself(
    sandbox: SandboxServer, hubspot: HubSpot, changes: list[Callable[[Deals], None]]
) -> None:
    sandbox.reset()
    deals = Deals(hubspot)
    assert deals.listed() == deals.read_one_by_one()

    for change in changes:
        change(deals)
        assert deals.listed() == deals.read_one_by_one()


@pytest.mark.parametrize("change", CHANGES)
def test_a_list_shows_a_change_at_once(hubspot: HubSpot, change: Callable[[Deals], None]) -> None:
    deals = Deals(hubspot)
    deals.associate()
    deals.associate_from_the_other_side()
    before = deals.listed()
    change(deals)

    assert deals.listed() == deals.read_one_by_one()
    unchanged = {
        *(Deals.change_in_vain, Deals.restore_property),
        *(Deals.associate, Deals.associate_from_the_other_side),
    }
    assert (deals.listed() == before) is (change in unchanged)


def test_other_properties_and_associations_are_another_list(hubspot: HubSpot) -> None:
    deals = Deals(hubspot)
    deals.associate()
    path = f"{OBJECTS}/deals"

    for _ in range(2):
        plain, named, associated = (
            hubspot.get(path, **query).json()["results"][0]
            for query in ({}, {"properties": "colour"}, {"associations": "contacts"})
        )
        assert "colour" not in plain["properties"]
        assert named["properties"]["colour"] == "red"
        assert "associations" not in plain
        assert associated["associations"]["contacts"]["results"]


def test_many_different_lists_are_all_right(hubspot: HubSpot) -> None:
    deals = Deals(hubspot)
    names = ("amount", "colour", "closedate", "dealname", "dealtype", "description")

    for name in names * 2:
        listed = hubspot.get(f"{OBJECTS}/deals", properties=name).json()["results"]
        assert name in listed[0]["properties"]
    assert len(deals.listed()) == 2
