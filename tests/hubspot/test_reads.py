"""Reading: every page of every list, every part of every batch, and what is not there."""

from datetime import UTC, datetime
from itertools import chain

import pytest

from crm.hubspot import associations, owners, records
from crm.hubspot.account import get_details, get_usage
from crm.hubspot.errors import HubSpotError, HubSpotNotFoundError, HubSpotUnavailableError
from crm.hubspot.lists import Selection, list_pages
from crm.hubspot.properties import list_properties
from crm.hubspot.records import read_batch
from crm.object_types import COMPANIES, CONTACTS, DEALS, LINE_ITEMS
from tests.hubspot.relay import Answer, Call

MANY = 250


@pytest.fixture
def make_companies(client):
    """Makes companies of the given names; returns their ids."""

    def make(*names):
        made = {}
        for start in range(0, len(names), 100):
            inputs = [{"properties": {"name": name}} for name in names[start : start + 100]]
            path = client.path("objects", "companies", "batch", "create")
            answer = client.call("POST", path, body={"inputs": inputs}, repeatable=False)
            made |= {each["properties"]["name"]: each["id"] for each in answer["results"]}
        return [made[name] for name in names]

    return make


@pytest.fixture
def ids(make_companies):
    return make_companies(*map(str, range(MANY)))


@pytest.fixture
def short_pages(relay):
    """A HubSpot that gives fewer results a page than it is asked for."""

    def handler(call):
        call.path = call.path.replace("limit=100", "limit=2")
        return call.pass_on()

    relay.handler = handler


def iterate(client, object_type, *, start="", **chosen):
    return chain.from_iterable(list_pages(client, Selection(object_type, **chosen), start=start))


def test_a_list_is_read_to_its_end(client, sandbox, ids):
    sandbox.clear_requests()

    found = list(iterate(client, COMPANIES, properties=["name"]))

    assert [each.id for each in found] == ids
    assert [each.properties["name"] for each in found] == list(map(str, range(MANY)))
    assert sandbox.requests()["total"] == 3


def test_a_list_is_read_page_by_page_as_it_is_used(client, sandbox, ids):
    sandbox.clear_requests()

    next(iterate(client, COMPANIES, properties=["name"]))

    assert sandbox.requests()["total"] == 1


def test_a_list_goes_on_from_an_id(client, ids):
    found = iterate(client, COMPANIES, properties=["name"], start=ids[200])

    assert [each.id for each in found] == ids[200:]


def test_archived_records_are_listed_apart(client, ids):
    records.archive(client, COMPANIES, ids[:120])

    archived = list(iterate(client, COMPANIES, properties=["name"], archived=True))

    assert [each.id for each in archived] == ids[:120]
    assert all(each.archived for each in archived)
    assert [each.id for each in iterate(client, COMPANIES, properties=[])] == ids[120:]


@pytest.mark.parametrize("archived", [False, True])
def test_properties_too_many_for_an_address_are_read_too(client, sandbox, ids, archived):
    if archived:
        records.archive(client, COMPANIES, ids)
    names = ["name", *(f"property_number_{number}" for number in range(1000))]

    found = list(iterate(client, COMPANIES, properties=names, archived=archived))

    assert [each.id for each in found] == ids
    assert [each.properties["name"] for each in found] == list(map(str, range(MANY)))


def test_a_list_that_goes_round_in_a_circle_is_an_error(relay, relayed):
    relay.answer(200, {"results": [], "paging": {"next": {"after": "5"}}})

    with pytest.raises(HubSpotError, match="does not go on"):
        list(iterate(relayed, COMPANIES, properties=[]))

    assert len(relay.calls) == 2


def associate(client, from_type, to_type, pairs):
    inputs = [{"from": {"id": from_id}, "to": {"id": to_id}} for from_id, to_id in pairs]
    for start in range(0, len(inputs), 1000):
        client.call(
            "POST",
            client.path("associations", from_type, to_type, "batch", "associate", "default"),
            body={"inputs": inputs[start : start + 1000]},
            repeatable=True,
        )


def create(client, object_type, **properties):
    path = client.path("objects", object_type)
    return client.call("POST", path, body={"properties": properties}, repeatable=False)["id"]


@pytest.fixture
def deal_id(client):
    return create(client, "deals", dealname="d", dealstage="qualifiedtobuy")


@pytest.fixture
def contact_id(client):
    return create(client, "contacts", email="ada@example.com")


def test_a_list_brings_associated_ids_once_each(client, deal_id, contact_id, make_companies):
    [company_id] = make_companies("one")
    item_id = create(client, "line_items", name="bolt")
    associate(client, "deals", "companies", [(deal_id, company_id)])
    associate(client, "deals", "line_items", [(deal_id, item_id)])

    [deal] = iterate(
        client, DEALS, properties=["dealname"], associations=[COMPANIES, CONTACTS, LINE_ITEMS]
    )

    assert deal.associations == {"companies": [company_id], "line_items": [item_id]}


def test_more_associations_than_a_list_shows_are_read_too(client, contact_id, make_companies):
    company_ids = make_companies(*map(str, range(510)))
    associate(client, "contacts", "companies", [(contact_id, each) for each in company_ids])

    [contact] = iterate(client, CONTACTS, properties=["email"], associations=[COMPANIES])

    assert sorted(contact.associations["companies"]) == sorted(company_ids)


def test_any_number_of_records_is_read_by_id(client, sandbox, ids):
    sandbox.clear_requests()

    read = read_batch(client, COMPANIES, [*ids, *ids], properties=["name"])

    assert {key: each.properties["name"] for key, each in read.found.items()} == {
        each: str(number) for number, each in enumerate(ids)
    }
    assert set(read.missing) == set()
    assert sandbox.requests()["total"] == 3


def test_records_that_are_not_there_are_missing_and_do_not_hide_the_others(client, ids):
    records.archive(client, COMPANIES, ids[:1])

    read = read_batch(client, COMPANIES, [*ids[:3], "99"], properties=["name"])

    assert set(read.found) == set(ids[1:3])
    assert set(read.missing) == {ids[0], "99"}


def test_archived_records_are_read_when_they_are_asked_for(client, ids):
    records.archive(client, COMPANIES, ids[:1])

    read = read_batch(client, COMPANIES, ids[:3], properties=["name"], archived=True)

    assert set(read.found) == {ids[0]}


def test_a_record_that_was_merged_is_missing_and_its_survivor_found(relay, relayed):
    survivor = {"id": "9", "properties": {"hs_merged_object_ids": "7;8"}}
    relay.answer(200, {"results": [survivor]})

    read = read_batch(relayed, COMPANIES, ["7"], properties=["hs_merged_object_ids"])

    assert set(read.found) == {"9"}
    assert set(read.missing) == {"7"}


def test_of_no_ids_nothing_is_asked(relay, relayed):
    assert not read_batch(relayed, COMPANIES, [], properties=[]).found
    assert not associations.read(relayed, DEALS, COMPANIES, [])
    records.archive(relayed, COMPANIES, [])
    associations.archive(relayed, DEALS, COMPANIES, [])

    assert relay.calls == []


@pytest.mark.parametrize(
    "read",
    [
        lambda client: read_batch(client, DEALS, ["1"], properties=[]),
        lambda client: associations.read(client, DEALS, COMPANIES, ["1"]),
    ],
    ids=["records", "associations"],
)
def test_an_error_that_means_hubspot_itself_is_not_taken_for_a_record_that_is_missing(
    relay, relayed, read
):
    error = {"status": "error", "category": "INTERNAL_ERROR", "message": "oops"}
    relay.answer(207, {"results": [], "errors": [error]})

    with pytest.raises(HubSpotUnavailableError, match="oops"):
        read(relayed)


def test_archiving_twice_changes_nothing(client, ids):
    for _ in range(2):
        records.archive(client, COMPANIES, [*ids, "99"])

    assert list(iterate(client, COMPANIES, properties=[])) == []


def test_associations_are_read_with_their_labels(client, deal_id, make_companies):
    first, second = make_companies("first", "second")
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 5}]
    inputs = [{"from": {"id": deal_id}, "to": {"id": first}, "types": types}]
    path = client.path("associations", "deals", "companies", "batch", "create")
    client.call("POST", path, body={"inputs": inputs}, repeatable=True)
    associate(client, "deals", "companies", [(deal_id, second)])

    found = associations.read(client, DEALS, COMPANIES, [deal_id])

    labels = {each.id: {label.label for label in each.labels} for each in found[deal_id]}
    assert labels == {first: {None, "Primary"}, second: {None}}


def test_a_record_without_associations_has_none(client, deal_id, contact_id, make_companies):
    [company_id] = make_companies("one")
    associate(client, "deals", "companies", [(deal_id, company_id)])

    found = associations.read(client, DEALS, COMPANIES, [deal_id, "99"])

    assert [each.id for each in found[deal_id]] == [company_id]
    assert found["99"] == []


def test_associations_of_many_records_are_read_through_all_their_pages(
    client, sandbox, deal_id, contact_id, make_companies
):
    company_ids = make_companies(*map(str, range(1100)))
    associate(client, "contacts", "companies", [(contact_id, each) for each in company_ids])
    sandbox.clear_requests()

    of_contact = associations.read(client, CONTACTS, COMPANIES, [contact_id])
    of_companies = associations.read(client, COMPANIES, CONTACTS, company_ids)

    assert sorted(each.id for each in of_contact[contact_id]) == sorted(company_ids)
    assert all([each.id for each in found] == [contact_id] for found in of_companies.values())
    assert len(of_companies) == 1100
    assert sandbox.requests()["total"] == 3 + 2


def test_associations_that_go_round_in_a_circle_are_an_error(relay, relayed):
    result = {"from": {"id": "1"}, "to": [], "paging": {"next": {"after": "5"}}}
    relay.answer(200, {"results": [result]})

    with pytest.raises(HubSpotError, match="do not go on"):
        associations.read(relayed, DEALS, COMPANIES, ["1"])


@pytest.mark.parametrize("version", ["2026-09", "v3"])
def test_pairs_are_taken_apart_and_no_others(make_client, deal_id, make_companies, version):
    client = make_client(version=version)
    company_ids = make_companies("a", "b", "c")
    associate(client, "deals", "companies", [(deal_id, each) for each in company_ids])

    for _ in range(2):
        pairs = [(deal_id, each) for each in company_ids[:2]]
        associations.archive(client, DEALS, COMPANIES, pairs)

    found = associations.read(client, DEALS, COMPANIES, [deal_id])
    assert [each.id for each in found[deal_id]] == company_ids[2:]


def test_owners_are_read_to_the_end_and_the_deactivated_apart(relay, relayed, short_pages):
    active = list(owners.iterate(relayed))
    archived = list(owners.iterate(relayed, archived=True))

    assert [each.first_name for each in active] == ["Ines", "Tom", "Mara"]
    assert [(each.id, each.archived) for each in archived] == [("71204402", True)]
    assert len(relay.calls) == 3


def test_an_owner_that_is_a_queue_has_no_name(relay, relayed):
    relay.answer(200, {"results": [{"id": 7, "type": "QUEUE", "email": None}]})

    [queue] = owners.iterate(relayed)

    assert (queue.id, queue.email, queue.first_name) == ("7", "", "")


def test_properties_are_read_with_their_options(client):
    found = {each.name: each for each in list_properties(client, CONTACTS)}

    assert found["email"].has_unique_value is False or found["email"].type == "string"
    assert {each.value for each in found["lifecyclestage"].options} >= {"lead", "customer"}
    assert found["createdate"].read_only
    assert not found["firstname"].read_only
    assert found["hubspot_owner_id"].options == ()


@pytest.mark.parametrize("version", ["2026-09", "v3"])
def test_the_account_says_who_it_is_and_where_it_lives(make_client, version):
    details = get_details(make_client(version=version))

    assert details.hub_id == 44021307
    assert (details.time_zone, details.utc_offset) == ("US/Eastern", "-05:00")
    assert details.ui_domain == "app.hubspot.com"


def test_the_usage_of_the_day_is_read(relay, relayed):
    row = {
        "name": "private-apps-api-calls-daily",
        "usageLimit": 250000,
        "currentUsage": 1234,
        "resetsAt": "2025-12-13T05:00:00Z",
    }
    relay.answer(200, {"results": [row]})

    usage = get_usage(relayed)

    assert (usage.limit, usage.used) == (250000, 1234)
    assert usage.resets_at == datetime(2025, 12, 13, 5, tzinfo=UTC)
    assert relay.paths() == ["/account-info/2026-09/api-usage/daily/private-apps"]


def test_usage_that_hubspot_does_not_count_is_not_found(relay, relayed):
    relay.answer(200, {"results": []})

    with pytest.raises(HubSpotNotFoundError):
        get_usage(relayed)


def test_what_went_wrong_half_way_through_a_list_is_raised(relay, relayed, ids):
    def handler(call):
        return Answer(403, {"message": "scopes"}) if "after" in call.path else Call.pass_on(call)

    relay.handler = handler

    with pytest.raises(HubSpotError, match="scopes"):
        list(iterate(relayed, COMPANIES, properties=[]))
