"""Batches: every result and every error finds the input that it is about."""

import pytest

from crm.hubspot import associations
from crm.hubspot.errors import (
    HubSpotConflictError,
    HubSpotNotFoundError,
    HubSpotRateLimitError,
    HubSpotRefusedError,
)
from crm.hubspot.properties import ensure_unique_property
from crm.hubspot.records import Write, find_contact_id, get, update, upsert
from crm.object_types import ASSOCIATIONS, CONTACT_TO_DEAL, CONTACTS, CRM_UID, DEALS, LINE_ITEMS
from tests.hubspot.relay import Answer


def contact(number, **properties):
    email = f"Person{number}@Example.com"
    return Write(f"trace-{number}", email, {"email": email, "firstname": str(number)} | properties)


def deal(number, **properties):
    required = {"dealname": f"deal {number}", "dealstage": "qualifiedtobuy"}
    return Write(f"trace-{number}", f"uid-{number}", required | properties)


@pytest.fixture
def with_crm_uid(client):
    ensure_unique_property(client, DEALS, CRM_UID, label="uid", description="uid")


def without_traces_in_results(call):
    answer = call.pass_on()
    for each in answer.body["results"]:
        each.pop("objectWriteTraceId", None)
    return answer


def without_traces(call):
    for each in call.body["inputs"]:
        each.pop("objectWriteTraceId", None)
    return call.pass_on()


def test_shuffled_results_are_matched_by_trace_id(client):
    outcome = upsert(client, CONTACTS, [contact(number) for number in range(30)])

    firstnames = {key: record.properties["firstname"] for key, record in outcome.done.items()}
    assert firstnames == {f"trace-{number}": str(number) for number in range(30)}
    assert outcome.refused == {}


def test_or_by_the_key_whatever_its_letter_case(relay, relayed):
    relay.handler = without_traces_in_results

    outcome = upsert(relayed, CONTACTS, [contact(number) for number in range(30)])

    firstnames = {key: record.properties["firstname"] for key, record in outcome.done.items()}
    assert firstnames == {f"trace-{number}": str(number) for number in range(30)}


def test_or_by_the_unique_property(relay, relayed, with_crm_uid):
    relay.handler = without_traces_in_results

    outcome = upsert(relayed, DEALS, [deal(number) for number in range(30)])

    names = {key: record.properties["dealname"] for key, record in outcome.done.items()}
    assert names == {f"trace-{number}": f"deal {number}" for number in range(30)}


def test_or_in_an_update_by_the_record_id(relay, relayed, client):
    done = upsert(client, CONTACTS, [contact(number) for number in range(5)]).done
    relay.handler = without_traces_in_results

    outcome = update(
        relayed,
        CONTACTS,
        [Write(f"again-{key}", record.id, {"firstname": key}) for key, record in done.items()],
    )

    assert {key: record.id for key, record in outcome.done.items()} == {
        f"again-{key}": record.id for key, record in done.items()
    }


def test_a_bad_row_is_refused_alone(client):
    outcome = upsert(client, CONTACTS, [contact(1), contact(2, lifecyclestage="king"), contact(3)])

    assert set(outcome.done) == {"trace-1", "trace-3"}
    assert isinstance(outcome.refused["trace-2"], HubSpotRefusedError)
    assert set(outcome.refused["trace-2"].errors) == {"lifecyclestage"}


def test_without_207_a_bad_row_fails_the_batch(relay, relayed, client):
    relay.handler = without_traces

    with pytest.raises(HubSpotRefusedError):
        upsert(relayed, CONTACTS, [contact(1), contact(2, lifecyclestage="king")])

    assert find_contact_id(client, "person1@example.com") is None


def test_a_conflict_within_a_batch_names_the_record(client):
    first = upsert(client, CONTACTS, [contact(1, hs_additional_emails="else@example.com")])

    outcome = upsert(client, CONTACTS, [Write("t", "else@example.com", {"firstname": "x"})])

    error = outcome.refused["t"]
    assert isinstance(error, HubSpotConflictError)
    assert error.existing_id == first.done["trace-1"].id


def test_an_update_of_a_record_that_is_gone_is_refused_alone(client):
    done = upsert(client, CONTACTS, [contact(1)]).done["trace-1"]

    outcome = update(
        client,
        CONTACTS,
        [Write("here", done.id, {"firstname": "x"}), Write("gone", "99", {"firstname": "x"})],
    )

    assert set(outcome.done) == {"here"}
    assert isinstance(outcome.refused["gone"], HubSpotNotFoundError)


def test_errors_that_name_only_ids_find_their_rows(relay, relayed):
    error = {"category": "OBJECT_NOT_FOUND", "message": "gone", "context": {"ids": ["7", "8"]}}
    relay.answer(207, {"results": [], "errors": [error]})

    outcome = update(relayed, CONTACTS, [Write(f"t{each}", str(each), {}) for each in (6, 7, 8)])

    assert set(outcome.refused) == {"t7", "t8"}


def test_a_row_in_neither_results_nor_errors_is_in_neither_here(relay, relayed):
    def forgetful(call):
        answer = call.pass_on()
        results = answer.body["results"]
        answer.body["results"] = [
            each for each in results if each["objectWriteTraceId"] != "trace-2"
        ]
        return answer

    relay.handler = forgetful

    outcome = upsert(relayed, CONTACTS, [contact(1), contact(2)])

    assert set(outcome.done) == {"trace-1"}
    assert outcome.refused == {}


def test_results_that_nobody_asked_for_are_left_aside(relay, relayed):
    stranger = {"id": "5", "properties": {"email": "stranger@example.com"}}
    relay.answer(200, {"results": [stranger]})

    outcome = upsert(relayed, CONTACTS, [contact(1), contact(2)])

    assert outcome.done == {}


def test_about_one_row_alone_there_is_no_doubt(relay, relayed):
    # As when HubSpot finds a contact by a secondary e-mail and answers with the primary one.
    relay.answer(200, {"results": [{"id": 5, "properties": {"email": "primary@example.com"}}]})

    outcome = upsert(relayed, CONTACTS, [contact(1)])

    assert outcome.done["trace-1"].id == "5"


def test_not_even_when_its_error_names_nobody(relay, relayed):
    relay.answer(207, {"results": [], "errors": [{"message": "No!", "category": "X"}]})

    outcome = upsert(relayed, CONTACTS, [contact(1)])

    assert outcome.refused["trace-1"].message == "No!"


def test_an_answer_with_another_id_than_asked_belongs_to_the_row_by_its_trace(relay, relayed):
    survivor = {"id": "9", "properties": {}, "objectWriteTraceId": ["merged"]}
    relay.answer(200, {"results": [survivor]})

    outcome = update(relayed, CONTACTS, [Write("merged", "7", {}), Write("other", "8", {})])

    assert outcome.done["merged"].id == "9"


def test_a_rate_limit_within_a_batch_is_known_as_one(relay, relayed):
    error = {
        "category": "RATE_LIMITS",
        "message": "slow",
        "context": {"objectWriteTraceId": ["trace-1"]},
    }
    relay.answer(207, {"results": [], "errors": [error]})

    outcome = upsert(relayed, CONTACTS, [contact(1), contact(2)])

    assert isinstance(outcome.refused["trace-1"], HubSpotRateLimitError)


def test_values_come_as_text_that_postgres_can_keep(relay, relayed):
    properties = {"nul": "a\0b", "number": 1.5, "flag": True, "unset": None, "text": "ü😀"}
    relay.answer(200, {"id": 7, "properties": properties, "createdAt": "2026-01-01T00:00:00Z"})

    record = get(relayed, CONTACTS, "7")

    assert record.id == "7"
    assert record.properties == {
        "nul": "ab",
        "number": "1.5",
        "flag": "true",
        "unset": None,
        "text": "ü😀",
    }
    assert record.created_at.isoformat() == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize("email", ["own@example.com", "first@more.com", "second@more.com"])
def test_a_contact_is_found_by_any_of_its_addresses(client, email):
    more = "First@more.com;second@more.com"
    write = Write("t", "own@example.com", {"hs_additional_emails": more})
    created = upsert(client, CONTACTS, [write]).done["t"]

    assert find_contact_id(client, email) == created.id


@pytest.mark.parametrize("email", ["other@example.com", "first@more.co", "more.com", "first"])
def test_a_contact_is_not_found_by_a_part_of_an_address(client, email):
    upsert(
        client,
        CONTACTS,
        [Write("t", "own@example.com", {"hs_additional_emails": "first@more.com"})],
    )

    assert find_contact_id(client, email) is None


@pytest.fixture
def pairs(client, with_crm_uid):
    """Ids of three contacts and of their deals."""
    contacts = upsert(client, CONTACTS, [contact(number) for number in range(3)]).done
    deals = upsert(client, DEALS, [deal(number) for number in range(3)]).done
    return [(contacts[key].id, deals[key].id) for key in contacts]


def test_pairs_are_associated_once_however_often(client, pairs):
    associations.create(client, CONTACT_TO_DEAL, pairs)

    outcome = associations.create(client, CONTACT_TO_DEAL, pairs)

    path = client.path("associations", "contacts", "deals", "batch", "read")
    inputs = [{"id": pair[0]} for pair in pairs]
    found = client.call("POST", path, body={"inputs": inputs}, repeatable=True)["results"]
    assert {
        (each["from"]["id"], str(to["toObjectId"])) for each in found for to in each["to"]
    } == set(pairs)
    assert outcome.done.keys() == set(pairs)


def test_pairs_whose_records_are_gone_do_not_hold_up_the_others(client, pairs):
    gone = (pairs[0][0], "99")

    outcome = associations.create(client, CONTACT_TO_DEAL, [*pairs, gone])

    assert outcome.done.keys() == set(pairs)
    assert gone not in outcome.refused


def test_a_pair_alone_is_refused_with_hubspots_words(client, pairs):
    gone = (pairs[0][0], "99")

    outcome = associations.create(client, CONTACT_TO_DEAL, [gone])

    assert outcome.refused[gone].message


def test_pairs_in_another_shape_of_answer_are_matched_too(relay, relayed):
    row = {"from": {"id": "1"}, "to": {"id": 2}}
    relay.answer(207, {"results": [row], "errors": [{"message": "other"}]})

    outcome = associations.create(relayed, CONTACT_TO_DEAL, [("1", "2"), ("3", "4")])

    assert outcome.done.keys() == {("1", "2")}


@pytest.mark.parametrize("version", ["2026-09", "v3"])
def test_every_declared_association_is_one_that_hubspot_knows(make_client, version):
    client = make_client(version=version)
    for kind in ASSOCIATIONS.values():
        path = client.path("associations", kind.from_type.name, kind.to_type.name, "labels")
        labels = client.call("GET", path, repeatable=True)["results"]

        assert (kind.type_id, None) in {(each["typeId"], each["label"]) for each in labels}


@pytest.mark.parametrize("object_type", [DEALS, LINE_ITEMS], ids=lambda each: each.name)
def test_a_unique_property_is_made_once(client, object_type):
    made = [
        ensure_unique_property(client, object_type, CRM_UID, label="x", description="x")
        for _ in range(2)
    ]

    assert made == [True, False]


def test_a_property_that_exists_without_being_unique_is_told(client):
    body = {
        "name": CRM_UID,
        "label": "x",
        "type": "string",
        "fieldType": "text",
        "groupName": "dealinformation",
    }
    client.call("POST", client.path("properties", "deals"), body=body, repeatable=False)

    with pytest.raises(HubSpotConflictError, match="not unique"):
        ensure_unique_property(client, DEALS, CRM_UID, label="x", description="x")


def test_a_property_that_someone_else_made_a_moment_earlier_is_there(relay, relayed):
    def late(call):
        return (
            Answer(200, {"results": []})
            if call.method == "GET"
            else Answer(409, {"message": "exists", "category": "OBJECT_ALREADY_EXISTS"})
        )

    relay.handler = late

    ensure_unique_property(relayed, DEALS, CRM_UID, label="x", description="x")

    assert [call.method for call in relay.calls] == ["GET", "POST"]
