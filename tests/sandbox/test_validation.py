"""What HubSpot refuses to write, and how it says so."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from hubspot_sandbox import SandboxServer

from .client import OBJECTS, HubSpot

MakeDeal = Callable[..., dict[str, Any]]
CONTACTS = f"{OBJECTS}/contacts"


def codes(answer: requests.Response) -> dict[str, str]:
    """Return the code of each refused property, as the errors list names them."""
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["category"] == "VALIDATION_ERROR"
    return {each["context"]["propertyName"][0]: each["code"] for each in body["errors"]}


def test_all_problems_come_in_one_reply_as_json_inside_the_message(hubspot: HubSpot) -> None:
    answer = hubspot.post(
        CONTACTS,
        {"properties": {"email": "nope", "colour": "red", "hs_object_id": "1", "firstname": "A"}},
    )

    assert codes(answer) == {
        "email": "INVALID_EMAIL",
        "colour": "PROPERTY_DOESNT_EXIST",
        "hs_object_id": "READ_ONLY_VALUE",
    }
    lead, _, details = answer.json()["message"].partition(": ")
    assert lead == "Property values were not valid"
    email, colour, read_only = json.loads(details)
    assert email["message"] == "Email address nope is invalid"
    assert colour == {
        "isValid": False,
        "message": 'Property "colour" does not exist',
        "error": "PROPERTY_DOESNT_EXIST",
        "name": "colour",
        "localizedErrorMessage": 'Property "colour" does not exist',
        "portalId": 44021307,
    }
    assert read_only["message"] == (
        '"hs_object_id" is a read only property; its value cannot be set.'
    )


@pytest.mark.parametrize(
    ("object_type", "values", "code"),
    [
        ("deals", {"amount": "1,000"}, "INVALID_INTEGER"),
        ("deals", {"amount": "--1"}, "INVALID_INTEGER"),
        ("deals", {"closedate": "soon"}, "INVALID_LONG"),
        ("deals", {"closedate": "2026-13-01"}, "INVALID_LONG"),
        ("deals", {"dealtype": "NewBusiness"}, "INVALID_OPTION"),
        ("deals", {"dealstage": "won"}, "INVALID_OPTION"),
        ("deals", {"pipeline": "sales"}, "INVALID_OPTION"),
        ("deals", {"hubspot_owner_id": "60318841"}, "INVALID_OWNER_ID"),
        ("deals", {"hs_is_closed": "true"}, "READ_ONLY_VALUE"),
        ("deals", {"createdate": "2026-01-01"}, "READ_ONLY_VALUE"),
        ("contacts", {"lifecyclestage": "Lead"}, "INVALID_OPTION"),
        ("contacts", {"email": "a b@example.com"}, "INVALID_EMAIL"),
        ("contacts", {"email": "a@localhost"}, "INVALID_EMAIL"),
        ("line_items", {"amount": "3"}, "READ_ONLY_VALUE"),
        ("tickets", {"hs_ticket_category": "BILLING_ISSUE;OTHER"}, "INVALID_OPTION"),
    ],
)
def test_a_wrong_value_is_refused_with_its_code(
    hubspot: HubSpot, object_type: str, values: dict[str, str], code: str
) -> None:
    required = {
        "deals": {"dealname": "D", "dealstage": "closedwon"},
        "tickets": {"subject": "T", "hs_pipeline_stage": "1"},
        "contacts": {"firstname": "A"},
        "line_items": {},
    }[object_type]

    answer = hubspot.post(f"{OBJECTS}/{object_type}", {"properties": {**required, **values}})
    assert codes(answer) == {next(iter(values)): code}


@pytest.mark.parametrize("amount", ["12", "-3", "0.5", ".5", "12."])
def test_numbers_are_digits_with_one_sign_and_one_point(make_deal: MakeDeal, amount: str) -> None:
    assert make_deal(amount=amount)["properties"]["amount"] == amount


def test_an_invalid_option_lists_the_allowed_ones(hubspot: HubSpot) -> None:
    answer = hubspot.post(CONTACTS, {"properties": {"firstname": "A", "lifecyclestage": "king"}})

    message = answer.json()["errors"][0]["message"]
    assert message.startswith(
        'king was not one of the allowed options: [label: "Subscriber"\nvalue: "subscriber"'
    )


def test_a_wrong_stage_lists_the_pipelines_stages_in_hubspots_words(hubspot: HubSpot) -> None:
    answer = hubspot.post(
        f"{OBJECTS}/tickets", {"properties": {"subject": "T", "hs_pipeline_stage": "open"}}
    )

    assert answer.json()["errors"][0]["message"] == (
        "open is not a valid pipeline stage ID. Valid options are: pipelineId=0 : [1, 2, 3, 4]"
    )


def test_a_stage_must_belong_to_the_records_pipeline(
    sandbox: SandboxServer, hubspot: HubSpot, make_deal: MakeDeal
) -> None:
    pipelines = [
        {"id": "default", "stages": [{"id": "new", "label": "New"}]},
        {"id": "8841", "stages": [{"id": "112", "label": "New"}, {"id": "113", "label": "Won"}]},
    ]
    requests.put(f"{sandbox.url}/_sandbox/pipelines/deals", json={"results": pipelines}, timeout=5)
    deal = make_deal(pipeline="8841", dealstage="112")
    path = f"{OBJECTS}/deals/{deal['id']}"

    assert codes(hubspot.patch(path, {"properties": {"dealstage": "new"}})) == {
        "dealstage": "INVALID_OPTION"
    }
    assert codes(hubspot.patch(path, {"properties": {"pipeline": "default"}})) == {
        "dealstage": "INVALID_OPTION"
    }
    assert hubspot.patch(path, {"properties": {"dealstage": "113"}}).status_code == 200
    both = {"pipeline": "default", "dealstage": "new"}
    assert hubspot.patch(path, {"properties": both}).status_code == 200


def test_without_a_pipeline_a_deal_is_put_into_the_first(make_deal: MakeDeal) -> None:
    assert make_deal()["properties"]["pipeline"] == "default"


@pytest.mark.parametrize(
    ("object_type", "values", "missing"),
    [
        ("contacts", {"phone": "1"}, ["email", "firstname", "lastname"]),
        ("companies", {"city": "Oslo"}, ["name", "domain"]),
        ("deals", {"dealname": "D"}, ["dealstage"]),
        ("deals", {"dealstage": "closedwon", "dealname": ""}, ["dealname"]),
        ("tickets", {}, ["hs_pipeline_stage", "subject"]),
    ],
)
def test_a_new_record_needs_what_its_type_requires(
    hubspot: HubSpot, object_type: str, values: dict[str, str], missing: list[str]
) -> None:
    answer = hubspot.post(f"{OBJECTS}/{object_type}", {"properties": values})

    assert answer.status_code == 400
    assert answer.json()["message"].endswith("Some required properties were not set.")
    assert answer.json()["context"] == {"properties": missing}


def make_date_property(hubspot: HubSpot) -> None:
    body = {"name": "due", "label": "Due", "type": "date", "fieldType": "date"}
    answer = hubspot.post("/crm/v3/properties/deals", {**body, "groupName": "dealinformation"})
    assert answer.status_code == 201


@pytest.mark.parametrize("value", ["2026-05-01", "1777593600000"])
def test_a_date_is_a_day_or_its_midnight_in_milliseconds(
    hubspot: HubSpot, make_deal: MakeDeal, value: str
) -> None:
    make_date_property(hubspot)

    assert make_deal(due=value)["properties"]["due"] == "2026-05-01"


def test_a_date_at_another_hour_is_refused_in_hubspots_words(hubspot: HubSpot) -> None:
    make_date_property(hubspot)

    answer = hubspot.post(
        "/crm/objects/2026-03/deals",
        {"properties": {"dealname": "D", "dealstage": "closedwon", "due": "1684914035320"}},
    )
    assert codes(answer) == {"due": "INVALID_DATE"}
    assert answer.json()["errors"][0]["message"] == (
        "1684914035320 is at 7:40:35.320 UTC, not midnight!"
    )


def test_several_choices_are_replaced_or_with_a_leading_semicolon_added_to(
    hubspot: HubSpot,
) -> None:
    ticket = hubspot.create(
        "tickets", subject="T", hs_pipeline_stage="1", hs_ticket_category="BILLING_ISSUE"
    )
    path = f"{OBJECTS}/tickets/{ticket['id']}"

    def after(value: str) -> str:
        answer = hubspot.patch(path, {"properties": {"hs_ticket_category": value}})
        return str(answer.json()["properties"]["hs_ticket_category"])

    assert after(";PRODUCT_ISSUE") == "BILLING_ISSUE;PRODUCT_ISSUE"
    assert after("FEATURE_REQUEST") == "FEATURE_REQUEST"


def test_a_unique_value_held_by_another_record_is_refused(
    hubspot: HubSpot, make_deal: MakeDeal, unique_property: str
) -> None:
    holder, other = make_deal(crm_uid="a-1"), make_deal(crm_uid="a-2")

    answer = hubspot.patch(
        f"{OBJECTS}/deals/{other['id']}", {"properties": {unique_property: "a-1"}}
    )
    assert codes(answer) == {unique_property: "CONFLICTING_UNIQUE_VALUE"}
    assert holder["id"] in answer.json()["message"]


def test_a_record_may_be_given_its_own_unique_value_again(
    hubspot: HubSpot, make_deal: MakeDeal, unique_property: str
) -> None:
    deal = make_deal(crm_uid="a-1")

    answer = hubspot.patch(
        f"{OBJECTS}/deals/{deal['id']}", {"properties": {unique_property: "a-1"}}
    )
    assert answer.status_code == 200


def test_a_refused_write_changes_nothing(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    path = f"{CONTACTS}/{contact['id']}"
    hubspot.patch(path, {"properties": {"firstname": "Bo", "colour": "red"}})

    record = hubspot.get(path).json()
    assert record["properties"]["firstname"] == "Ada"
    assert record["updatedAt"] == contact["updatedAt"]
