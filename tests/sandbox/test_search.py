"""Search: operators, order, pages, limits, and an index that lags."""

from collections.abc import Callable
from typing import Any

import pytest

from hubspot_sandbox import SandboxServer

from .client import OBJECTS, HubSpot

MakeDeal = Callable[..., dict[str, Any]]


def where(name: str, operator: str, *values: str, **more: Any) -> dict[str, Any]:
    one = {"value": values[0]} if len(values) == 1 else {}
    return {"propertyName": name, "operator": operator, **one, **more}


@pytest.fixture
def people(hubspot: HubSpot) -> dict[str, str]:
    """Create three contacts; return the first name of each id."""
    rows = [
        {"firstname": "Ada", "email": "ada@example.com", "city": "New York", "annualrevenue": "9"},
        {"firstname": "bo", "email": "bo@home.org", "lifecyclestage": "customer"},
        {"firstname": "Cy", "email": "cy@example.com", "city": "Old York", "annualrevenue": "100"},
    ]
    return {hubspot.create("contacts", **row)["id"]: row["firstname"] for row in rows}


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        (where("firstname", "EQ", "ADA"), "Ada"),
        (where("firstname", "NEQ", "ada"), "bo Cy"),
        (where("city", "NEQ", "New York"), "Cy"),
        (where("firstname", "GT", "ada"), "bo Cy"),
        (where("firstname", "IN", values=["ada", "bo"]), "Ada bo"),
        (where("firstname", "IN", values=["Ada", "bo"]), "bo"),
        (where("firstname", "NOT_IN", values=["ada"]), "bo Cy"),
        (where("annualrevenue", "GT", "9"), "Cy"),
        (where("annualrevenue", "GTE", "9.0"), "Ada Cy"),
        (where("annualrevenue", "LT", "10"), "Ada"),
        (where("annualrevenue", "LTE", "100"), "Ada Cy"),
        (where("annualrevenue", "BETWEEN", "9", highValue="99"), "Ada"),
        (where("city", "HAS_PROPERTY"), "Ada Cy"),
        (where("city", "NOT_HAS_PROPERTY"), "bo"),
        (where("city", "CONTAINS_TOKEN", "york"), "Ada Cy"),
        (where("city", "CONTAINS_TOKEN", "yor"), ""),
        (where("city", "CONTAINS_TOKEN", "yo*"), "Ada Cy"),
        (where("city", "NOT_CONTAINS_TOKEN", "new"), "Cy"),
        (where("email", "CONTAINS_TOKEN", "*@example.com"), "Ada Cy"),
        (where("lifecyclestage", "EQ", "customer"), "bo"),
        (where("lifecyclestage", "EQ", "CUSTOMER"), ""),
        (where("lastmodifieddate", "GT", "1"), "Ada bo Cy"),
        (where("hs_lastmodifieddate", "GT", "1"), ""),
    ],
)
def test_an_operator_finds(
    hubspot: HubSpot, people: dict[str, str], condition: dict[str, Any], names: str
) -> None:
    found = hubspot.found("contacts", condition)

    assert [people[each] for each in found] == names.split()


def test_filters_of_a_group_are_joined_by_and_groups_by_or(
    hubspot: HubSpot, people: dict[str, str]
) -> None:
    groups = [
        {"filters": [where("city", "HAS_PROPERTY"), where("firstname", "EQ", "Cy")]},
        {"filters": [where("firstname", "EQ", "bo")]},
    ]

    found = hubspot.found("contacts", filterGroups=groups)
    assert [people[each] for each in found] == ["bo", "Cy"]


def test_bare_filters_are_a_group(hubspot: HubSpot, people: dict[str, str]) -> None:
    found = hubspot.found("contacts", filters=[where("firstname", "EQ", "bo")])

    assert [people[each] for each in found] == ["bo"]


def test_a_query_looks_for_words_in_the_default_properties(
    hubspot: HubSpot, people: dict[str, str]
) -> None:
    assert [people[each] for each in hubspot.found("contacts", query="EXAMPLE ada")] == ["Ada"]
    assert hubspot.found("contacts", query="york") == []
    named_cy = {"propertyName": "firstname", "operator": "EQ", "value": "Cy"}
    assert [people[each] for each in hubspot.found("contacts", named_cy, query="example")] == ["Cy"]


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("annualrevenue", ["Ada", "Cy", "bo"]),
        ("-annualrevenue", ["Cy", "Ada", "bo"]),
        ({"propertyName": "firstname", "direction": "DESCENDING"}, ["Cy", "bo", "Ada"]),
        ({"propertyName": "hs_object_id", "direction": "ASCENDING"}, ["Ada", "bo", "Cy"]),
    ],
)
def test_results_are_sorted_by_the_kind_of_the_property(
    hubspot: HubSpot, people: dict[str, str], sort: Any, names: list[str]
) -> None:
    found = hubspot.found("contacts", sorts=[sort])

    assert [people[each] for each in found] == names


def test_pages_go_by_offset_and_count_all(hubspot: HubSpot, people: dict[str, str]) -> None:
    first = hubspot.search("contacts", limit=2).json()
    second = hubspot.search("contacts", limit=2, after=first["paging"]["next"]["after"]).json()

    assert first["paging"] == {"next": {"after": "2"}}
    assert (first["total"], second["total"]) == (3, 3)
    assert [each["id"] for each in first["results"] + second["results"]] == list(people)
    assert "paging" not in second


def test_results_hold_the_asked_properties(hubspot: HubSpot, people: dict[str, str]) -> None:
    (record,) = hubspot.search("contacts", limit=1, properties=["city", "fax"]).json()["results"]

    assert record["properties"]["city"] == "New York"
    assert record["properties"]["fax"] is None
    assert "email" not in record["properties"]


def test_archived_records_never_appear(hubspot: HubSpot, people: dict[str, str]) -> None:
    gone = next(iter(people))
    hubspot.delete(f"{OBJECTS}/contacts/{gone}")

    assert gone not in hubspot.found("contacts")


def test_records_are_found_by_what_they_are_associated_with(
    hubspot: HubSpot, contact: dict[str, Any], make_deal: MakeDeal
) -> None:
    deal, _ = make_deal(), make_deal()
    path = f"{OBJECTS}/deals/{deal['id']}/associations/default/contacts/{contact['id']}"
    hubspot.put(path)

    assert hubspot.found("deals", where("associations.contact", "EQ", contact["id"])) == [
        deal["id"]
    ]


CONDITION = where("firstname", "EQ", "a")


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"limit": 0},
        {"after": "9991"},
        {"after": "10000"},
        {"after": "x"},
        {"sorts": ["firstname", "lastname"]},
        {"sorts": ["nonsense"]},
        {"sorts": [{"propertyName": "firstname", "direction": "UP"}]},
        {"filterGroups": [{"filters": [CONDITION]}] * 6},
        {"filterGroups": [{"filters": [CONDITION] * 7}]},
        {"filterGroups": [{"filters": [CONDITION] * 5}] * 4},
        {"query": "x" * 3_000},
        {"filters": [where("nonsense", "EQ", "a")]},
        {"filters": [where("firstname", "LIKE", "a")]},
        {"filters": [where("firstname", "EQ")]},
        {"filters": [where("annualrevenue", "GT", "many")]},
        {"filters": [where("annualrevenue", "GT", "NaN")]},
        {"filters": [where("createdate", "GT", "yesterday")]},
        {"filters": [where("createdate", "BETWEEN", "1")]},
    ],
)
def test_a_search_out_of_bounds_is_refused(hubspot: HubSpot, body: dict[str, Any]) -> None:
    answer = hubspot.post(f"{OBJECTS}/contacts/search", body)

    assert answer.status_code == 400, answer.text
    assert answer.json()["status"] == "error"


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 200},
        {"after": "9990"},
        {"after": 0},
        {"filterGroups": [{"filters": [CONDITION] * 6}] * 3},
    ],
)
def test_a_search_at_the_bounds_is_served(hubspot: HubSpot, body: dict[str, Any]) -> None:
    assert hubspot.post(f"{OBJECTS}/contacts/search", body).status_code == 200


def test_in_without_values_is_refused_in_hubspots_words(hubspot: HubSpot) -> None:
    answer = hubspot.search("contacts", where("firstname", "IN"))

    assert answer.json()["message"].startswith("Invalid input JSON on line 1, column ")
    assert answer.json()["message"].endswith("operator IN requires values")


def test_a_new_record_is_found_only_after_the_index_lag(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    sandbox.sandbox.settings.index_lag_ms = 5_000
    contact = hubspot.create("contacts", email="ada@example.com")

    assert hubspot.found("contacts") == []
    assert hubspot.get(f"{OBJECTS}/contacts/{contact['id']}").status_code == 200
    sandbox.sandbox.clock.offset_ms += 5_000
    assert hubspot.found("contacts") == [contact["id"]]


def test_until_the_lag_is_over_an_updated_record_is_found_as_it_was(
    sandbox: SandboxServer, hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    sandbox.sandbox.settings.index_lag_ms = 5_000
    sandbox.sandbox.clock.offset_ms += 60_000
    hubspot.patch(f"{OBJECTS}/contacts/{contact['id']}", {"properties": {"firstname": "Adah"}})

    (stale,) = hubspot.search("contacts", where("firstname", "EQ", "ada")).json()["results"]
    assert stale["properties"]["firstname"] == "Ada"
    assert stale["updatedAt"] == contact["updatedAt"]
    assert hubspot.found("contacts", where("firstname", "EQ", "adah")) == []
    sandbox.sandbox.clock.offset_ms += 5_000
    assert hubspot.found("contacts", where("firstname", "EQ", "adah")) == [contact["id"]]


@pytest.mark.parametrize(
    "written", ["+1 (555) 010-2030", "+15550102030", "555.010.2030", "555 010 2030"]
)
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"query": "555-010-2030"}, True),
        ({"query": "0102030"}, True),
        ({"query": "+1 555 010 2030"}, False),
        ({"filters": [where("phone", "EQ", "(555) 010 2030")]}, True),
        ({"filters": [where("phone", "EQ", "+15550102030")]}, False),
        ({"filters": [where("phone", "IN", values=["555-010-2030"])]}, True),
        ({"filters": [where("phone", "CONTAINS_TOKEN", "*2030")]}, True),
        ({"filters": [where("phone", "CONTAINS_TOKEN", "2030")]}, False),
        ({"filters": [where("phone", "HAS_PROPERTY")]}, True),
    ],
)
def test_phone_numbers_are_found_without_their_country_code(
    hubspot: HubSpot, written: str, asked: dict[str, Any], found: bool
) -> None:
    contact = hubspot.create("contacts", firstname="Ada", phone=written)

    assert hubspot.found("contacts", **asked) == ([contact["id"]] if found else [])


@pytest.mark.parametrize(
    ("written", "searchable"),
    [
        ("+46 70 123 45 67", "701234567"),
        ("+353 1 234 5678", "12345678"),
        ("070-123 45 67", "0701234567"),
        ("+", None),
        ("ask Ada", None),
    ],
)
def test_the_searchable_phone_number_is_computed(
    hubspot: HubSpot, written: str, searchable: str | None
) -> None:
    contact = hubspot.create("contacts", firstname="Ada", mobilephone=written)

    assert contact["properties"].get("hs_searchable_calculated_mobile_number") == searchable
