"""Batches of records, by example; test_batch_rules holds what is true of all of them."""

from collections.abc import Callable
from typing import Any

import pytest

from hubspot_sandbox import SandboxServer

from .client import OBJECTS, HubSpot

MakeDeal = Callable[..., dict[str, Any]]


def person(number: int, **more: Any) -> dict[str, Any]:
    return {"properties": {"email": f"p{number}@example.com"}, **more}


def upsert(email: str, **properties: str) -> dict[str, Any]:
    return {"id": email, "idProperty": "email", "properties": {"email": email, **properties}}


def test_a_batch_creates_and_answers_201_complete(hubspot: HubSpot) -> None:
    answer = hubspot.batch("contacts", "create", person(1), person(2))

    assert answer.status_code == 201
    body = answer.json()
    assert body["status"] == "COMPLETE"
    assert {each["properties"]["email"] for each in body["results"]} == {
        *("p1@example.com", "p2@example.com")
    }
    assert body["startedAt"] <= body["completedAt"]
    assert "errors" not in body


def test_one_bad_input_without_trace_ids_fails_all(hubspot: HubSpot) -> None:
    bad = {"properties": {"email": "nope"}}
    answer = hubspot.batch("contacts", "create", person(1), bad, person(2))

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "INVALID_EMAIL"
    assert hubspot.found("contacts") == []


def test_a_taken_email_without_trace_ids_fails_all_with_409(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    taken = {"properties": {"email": contact["properties"]["email"]}}
    answer = hubspot.batch("contacts", "create", person(1), taken)

    assert answer.status_code == 409
    assert hubspot.found("contacts") == [contact["id"]]


def test_with_trace_ids_the_good_are_written_and_the_bad_listed(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    answer = hubspot.batch(
        "contacts",
        "create",
        person(1, objectWriteTraceId="a"),
        {"properties": {"email": "nope"}, "objectWriteTraceId": "b"},
        {"properties": {"email": contact["properties"]["email"]}, "objectWriteTraceId": "c"},
    )

    assert answer.status_code == 207
    body = answer.json()
    assert [each["objectWriteTraceId"] for each in body["results"]] == ["a"]
    assert body["numErrors"] == 2
    errors = {each["context"]["objectWriteTraceId"][0]: each for each in body["errors"]}
    assert errors["b"]["category"] == "VALIDATION_ERROR"
    assert errors["b"]["errors"][0]["code"] == "INVALID_EMAIL"
    assert errors["c"]["category"] == "CONFLICT"
    assert contact["id"] in errors["c"]["message"]


@pytest.mark.parametrize("traces", [("a", None), ("a", "a")])
def test_trace_ids_count_only_when_unique_on_every_input(
    hubspot: HubSpot, traces: tuple[str | None, str | None]
) -> None:
    inputs = [
        {"properties": {"email": email}, **({"objectWriteTraceId": trace} if trace else {})}
        for email, trace in zip(("ok@example.com", "nope"), traces, strict=True)
    ]

    assert hubspot.batch("contacts", "create", *inputs).status_code == 400
    assert hubspot.found("contacts") == []


def test_a_create_batch_associates_its_records(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    kind = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}
    deal = {
        "properties": {"dealname": "D", "dealstage": "closedwon"},
        "associations": [{"to": {"id": contact["id"]}, "types": [kind]}],
    }
    (created,) = hubspot.batch("deals", "create", deal).json()["results"]

    path = f"{OBJECTS}/deals/{created['id']}/associations/contacts"
    assert hubspot.get(path).json()["results"][0]["toObjectId"] == int(contact["id"])


def test_an_upsert_says_which_records_are_new(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    answer = hubspot.batch(
        "contacts",
        "upsert",
        upsert("ADA@example.com", lastname="Okafor"),
        upsert("bo@example.com"),
    )

    assert answer.status_code == 200
    results = {each["properties"]["email"]: each for each in answer.json()["results"]}
    assert results["bo@example.com"]["new"] is True
    assert results["ada@example.com"]["new"] is False
    assert results["ada@example.com"]["id"] == contact["id"]
    assert results["ada@example.com"]["properties"]["lastname"] == "Okafor"


def test_an_upsert_by_a_unique_property_sets_it(hubspot: HubSpot, unique_property: str) -> None:
    given = {"dealname": "D", "dealstage": "closedwon"}
    item = {"id": "d-1", "idProperty": unique_property, "properties": given}

    (first,) = hubspot.batch("deals", "upsert", item).json()["results"]
    (second,) = hubspot.batch("deals", "upsert", item).json()["results"]
    assert first["properties"][unique_property] == "d-1"
    assert (first["new"], second["new"]) == (True, False)
    assert first["id"] == second["id"]


def test_an_upsert_by_a_property_that_is_not_unique_is_refused_in_hubspots_words(
    hubspot: HubSpot,
) -> None:
    item = {"id": "D", "idProperty": "dealname", "properties": {"dealstage": "closedwon"}}
    answer = hubspot.batch("deals", "upsert", item)

    assert answer.status_code == 400
    assert answer.json()["message"] == (
        "Unable to perform update/upsert by non-unique 0-3 property dealname"
    )


@pytest.mark.parametrize("id_property", [{}, {"idProperty": "nonsense"}])
def test_an_upsert_with_a_missing_or_unknown_id_property_is_not_found(
    hubspot: HubSpot, id_property: dict[str, str]
) -> None:
    item = {"id": "x", "properties": {"firstname": "A"}, **id_property}
    answer = hubspot.batch("contacts", "upsert", item)

    assert answer.status_code == 404
    assert answer.json()["message"] == "resource not found"


def test_an_upsert_by_record_id_updates_but_never_creates(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    def item(record_id: str) -> dict[str, Any]:
        return {"id": record_id, "idProperty": "hs_object_id", "properties": {"phone": "1"}}

    (updated,) = hubspot.batch("contacts", "upsert", item(contact["id"])).json()["results"]
    assert (updated["id"], updated["new"]) == (contact["id"], False)
    assert hubspot.batch("contacts", "upsert", item("999")).status_code == 404


def test_an_upsert_of_anothers_email_by_a_custom_property_fails_the_whole_batch(
    hubspot: HubSpot, contact: dict[str, Any], unique_property: str
) -> None:
    def item(uid: str, email: str) -> dict[str, Any]:
        return {"id": uid, "idProperty": unique_property, "properties": {"email": email}}

    answer = hubspot.batch(
        "contacts", "upsert", item("u-1", "new@example.com"), item("u-2", "ada@example.com")
    )
    assert answer.status_code == 409
    assert hubspot.found("contacts") == [contact["id"]]


def test_an_upsert_by_a_secondary_email_conflicts(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    path = f"{OBJECTS}/contacts/{contact['id']}"
    hubspot.patch(path, {"properties": {"hs_additional_emails": "ada@home.org"}})

    assert hubspot.batch("contacts", "upsert", upsert("ada@home.org")).status_code == 409


@pytest.mark.parametrize("trace", [True, False])
def test_emails_that_differ_in_case_only_are_duplicates_with_or_without_trace_ids(
    hubspot: HubSpot, trace: bool
) -> None:
    inputs = [upsert("bo@example.com"), upsert("BO@example.com")]
    if trace:
        inputs = [{**item, "objectWriteTraceId": str(at)} for at, item in enumerate(inputs)]
    answer = hubspot.batch("contacts", "upsert", *inputs)

    assert answer.status_code == 400
    assert answer.json()["message"] == (
        "Duplicate IDs found in batch input: [bo@example.com]. IDs must be unique"
    )
    assert answer.json()["context"] == {"ids": ["bo@example.com"]}
    assert answer.json()["category"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("action", ["read", "update"])
def test_an_id_that_is_given_twice_is_refused(
    hubspot: HubSpot, contact: dict[str, Any], action: str
) -> None:
    item = {"id": contact["id"], "properties": {"phone": "1"}}

    answer = hubspot.batch("contacts", action, item, item)
    assert answer.status_code == 400
    assert answer.json()["context"] == {"ids": [contact["id"]]}


def test_a_read_lists_what_it_could_not_find(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    answer = hubspot.batch(
        "contacts", "read", {"id": contact["id"]}, {"id": "999"}, properties=["phone"]
    )

    assert answer.status_code == 207
    body = answer.json()
    assert [each["id"] for each in body["results"]] == [contact["id"]]
    assert body["results"][0]["properties"]["phone"] is None
    assert body["errors"] == [
        {
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "message": "Could not get some CONTACT objects, they may be deleted or not exist. "
            "Check that ids are valid.",
            "context": {"ids": ["999"]},
        }
    ]


def test_a_read_by_email_finds_any_letter_case(hubspot: HubSpot, contact: dict[str, Any]) -> None:
    answer = hubspot.batch("contacts", "read", {"id": "ADA@Example.com"}, idProperty="email")

    assert answer.status_code == 200
    assert answer.json()["results"][0]["id"] == contact["id"]


def test_archived_records_are_read_only_when_asked_for(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    hubspot.delete(f"{OBJECTS}/contacts/{contact['id']}")
    body = {"inputs": [{"id": contact["id"]}]}

    assert hubspot.post(f"{OBJECTS}/contacts/batch/read", body).status_code == 207
    assert hubspot.post(f"{OBJECTS}/contacts/batch/read?archived=true", body).status_code == 200


@pytest.mark.parametrize("action", ["create", "read", "update", "upsert", "archive"])
def test_a_batch_holds_at_most_100(hubspot: HubSpot, action: str) -> None:
    inputs = [{**person(number), **upsert(f"p{number}@example.com")} for number in range(101)]

    assert hubspot.batch("contacts", action, *inputs).status_code == 400


def test_a_read_with_history_holds_at_most_50(hubspot: HubSpot) -> None:
    inputs = [{"id": str(number)} for number in range(51)]
    answer = hubspot.batch("contacts", "read", *inputs, propertiesWithHistory=["email"])

    assert answer.status_code == 400
    assert answer.json()["message"] == (
        "The maximum number of inputs supported in a batch request for property histories is 50"
    )


def test_an_update_lists_an_unknown_id_and_writes_the_others(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    answer = hubspot.batch(
        "contacts",
        "update",
        {"id": contact["id"], "properties": {"phone": "1"}},
        {"id": "999", "properties": {"phone": "2"}},
    )

    assert answer.status_code == 207
    assert answer.json()["results"][0]["properties"]["phone"] == "1"
    assert answer.json()["errors"][0]["context"] == {"ids": ["999"]}


def test_an_update_with_a_bad_value_and_no_trace_ids_changes_nothing(
    hubspot: HubSpot, contact: dict[str, Any], make_deal: MakeDeal
) -> None:
    one, other = make_deal(), make_deal()
    answer = hubspot.batch(
        "deals",
        "update",
        {"id": one["id"], "properties": {"amount": "5"}},
        {"id": other["id"], "properties": {"amount": "five"}},
    )

    assert answer.status_code == 400
    record = hubspot.get(f"{OBJECTS}/deals/{one['id']}").json()
    assert record["properties"]["amount"] is None


def test_an_update_goes_by_a_unique_property_too(
    hubspot: HubSpot, make_deal: MakeDeal, unique_property: str
) -> None:
    deal = make_deal(crm_uid="d-1")
    item = {"id": "d-1", "idProperty": unique_property, "properties": {"amount": "5"}}

    (updated,) = hubspot.batch("deals", "update", item).json()["results"]
    assert updated["id"] == deal["id"]


def test_archiving_answers_204_whatever_the_state(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    ids = [{"id": contact["id"]}, {"id": "999"}, {"id": "abc"}]

    assert [hubspot.batch("contacts", "archive", *ids).status_code for _ in range(2)] == [204, 204]
    assert hubspot.get(f"{OBJECTS}/contacts/{contact['id']}").status_code == 404


def test_results_never_come_in_input_order(hubspot: HubSpot) -> None:
    emails = [f"p{number}@example.com" for number in range(3)]
    for _ in range(20):
        answer = hubspot.batch("contacts", "upsert", *map(upsert, emails))
        order = [each["properties"]["email"] for each in answer.json()["results"]]
        assert order != emails
        assert sorted(order) == emails


def test_a_seed_repeats_ids_and_disorder() -> None:
    def run() -> list[str]:
        with SandboxServer(port=0, index_lag_ms=0, seed=11) as server:
            client = HubSpot(server.url)
            with client.session:
                answer = client.batch("contacts", "create", *map(person, range(9)))
                return [each["id"] for each in answer.json()["results"]]

    assert run() == run()
