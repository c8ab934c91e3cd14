"""Lists of records: their definitions, and who is in them."""

from typing import Any

import pytest
from hubspot import HubSpot as Official
from hubspot.crm.lists import ListCreateRequest, ListSearchRequest, MembershipChangeRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN, SandboxServer
from hubspot_sandbox.access import Access

from .client import OBJECTS, HubSpot

LISTS = "/crm/lists/2026-09"
NEW = {"name": "Newsletter", "objectTypeId": "0-1", "processingType": "MANUAL"}


@pytest.fixture
def newsletter(hubspot: HubSpot) -> str:
    """The path of a list of contacts."""
    return path_of(hubspot, "Newsletter")


@pytest.fixture
def people(hubspot: HubSpot) -> list[str]:
    """The ids of three contacts."""
    return [hubspot.create("contacts", firstname=name)["id"] for name in ("Ada", "Ben", "Cleo")]


def path_of(hubspot: HubSpot, name: str, **changes: Any) -> str:
    answer = hubspot.post(LISTS, {**NEW, "name": name, **changes})
    assert answer.status_code == 200, answer.text
    return f"{LISTS}/{answer.json()['list']['listId']}"


def members(hubspot: HubSpot, path: str, **query: Any) -> list[str]:
    answer = hubspot.get(f"{path}/memberships", **query)
    assert answer.status_code == 200, answer.text
    return [each["recordId"] for each in answer.json()["results"]]


@pytest.mark.parametrize("path", [LISTS, "/crm/v3/lists", "/crm/v3/lists/"])
def test_a_list_is_created_and_read_in_both_path_families(hubspot: HubSpot, path: str) -> None:
    created = hubspot.post(path, NEW).json()["list"]
    by_id = hubspot.get(f"{path.rstrip('/')}/{created['listId']}").json()["list"]

    assert by_id == created
    assert {name: created[name] for name in NEW} == NEW
    assert created["processingStatus"] == "COMPLETE"
    assert created["size"] == 0
    assert hubspot.get(path, listIds=[created["listId"], "99"]).json() == {"lists": [created]}


def test_a_list_is_found_by_its_name_in_any_letter_case_and_its_type(
    hubspot: HubSpot, newsletter: str
) -> None:
    by_name = hubspot.get(f"{LISTS}/object-type-id/0-1/name/NEWSLETTER")

    assert by_name.json()["list"]["listId"] == newsletter.rpartition("/")[2]
    assert hubspot.get(f"{LISTS}/object-type-id/0-3/name/Newsletter").status_code == 404


def test_a_name_is_taken_by_a_list_of_whatever_type(hubspot: HubSpot, newsletter: str) -> None:
    path_of(hubspot, "Others")

    for answer in (
        hubspot.post(LISTS, {**NEW, "name": "newsletter", "objectTypeId": "0-3"}),
        hubspot.put(f"{newsletter}/update-list-name?listName=others"),
    ):
        assert answer.status_code == 400
        assert answer.json()["subCategory"] == "ILS.DUPLICATE_LIST_NAMES"


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": " "},
        {"name": ["a"]},
        {"objectTypeId": None},
        {"objectTypeId": "0-99"},
        {"objectTypeId": "contacts"},
        {"processingType": "STATIC"},
        {"processingType": "DYNAMIC"},
        {"processingType": "SNAPSHOT", "filterBranch": {"filterBranchType": "OR"}},
        {"listFolderId": 7},
    ],
)
def test_what_cannot_be_a_list_is_refused(hubspot: HubSpot, change: dict[str, Any]) -> None:
    answer = hubspot.post(LISTS, {**NEW, **change})

    assert answer.status_code == 400
    assert hubspot.post(f"{LISTS}/search", {}).json()["total"] == 0


def test_lists_have_an_end(hubspot: HubSpot, newsletter: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("hubspot_sandbox.lists.MAX_LISTS", 1)

    assert hubspot.post(LISTS, {**NEW, "name": "Other"}).status_code == 400
    hubspot.delete(newsletter)
    assert hubspot.post(LISTS, {**NEW, "name": "Other"}).status_code == 200


def test_a_rename_keeps_the_list(hubspot: HubSpot, newsletter: str) -> None:
    renamed = hubspot.put(f"{newsletter}/update-list-name?listName=NEWSLETTER").json()

    assert renamed == {"updatedList": hubspot.get(newsletter).json()["list"]}
    assert renamed["updatedList"]["name"] == "NEWSLETTER"


def test_a_deleted_list_is_gone_until_it_is_restored_within_90_days(
    sandbox: SandboxServer, hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    hubspot.put(f"{newsletter}/memberships/add", people[:1])

    assert hubspot.put(f"{newsletter}/restore").status_code == 404  # It is not deleted.
    assert hubspot.delete(newsletter).status_code == 204
    for path in (newsletter, f"{newsletter}/memberships"):
        assert hubspot.get(path).status_code == 404
    assert hubspot.delete(newsletter).status_code == 404
    assert hubspot.post(f"{LISTS}/search", {}).json()["total"] == 0
    assert hubspot.put(f"{newsletter}/restore").status_code == 204
    assert members(hubspot, newsletter) == people[:1]

    hubspot.delete(newsletter)
    sandbox.advance(seconds=91 * 86_400)
    assert hubspot.put(f"{newsletter}/restore").status_code == 404


def test_a_list_is_not_restored_when_its_name_was_taken(hubspot: HubSpot, newsletter: str) -> None:
    hubspot.delete(newsletter)
    path_of(hubspot, "Newsletter")

    assert hubspot.put(f"{newsletter}/restore").status_code == 400


def test_a_search_finds_lists_by_name_type_id_and_pages_by_offset(
    hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    path_of(hubspot, "News for deals", objectTypeId="0-3", processingType="SNAPSHOT")
    path_of(hubspot, "Others")
    hubspot.put(f"{newsletter}/memberships/add", people)

    def found(**asked: Any) -> list[str]:
        answer = hubspot.post(f"{LISTS}/search", asked)
        assert answer.status_code == 200, answer.text
        return [each["name"] for each in answer.json()["lists"]]

    assert found(query="NEWS") == ["Newsletter", "News for deals"]
    assert found(objectTypeId="0-1") == ["Newsletter", "Others"]
    assert found(processingTypes=["SNAPSHOT"]) == ["News for deals"]
    assert found(listIds=["1", "3"], query="o") == ["Others"]
    page = hubspot.post(f"{LISTS}/search", {"count": 2}).json()
    assert (page["offset"], page["hasMore"], page["total"]) == (2, True, 3)
    assert page["lists"][0]["additionalProperties"]["hs_list_size"] == "3"
    assert found(offset=2) == ["Others"]
    for wrong in ({"count": 501}, {"count": 0}, {"offset": "x"}, {"sort": "name"}):
        assert hubspot.post(f"{LISTS}/search", wrong).status_code == 400


def test_adding_says_which_are_new_and_which_there_are_not(
    hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    hubspot.put(f"{newsletter}/memberships/add", people[:1])
    answer = hubspot.put(f"{newsletter}/memberships/add", [*people[:2], people[1], "999"])

    assert answer.json() == {
        "recordsIdsAdded": [people[1]],
        "recordIdsRemoved": [],
        "recordIdsMissing": ["999"],
    }


def test_removing_says_which_were_members(
    hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    hubspot.put(f"{newsletter}/memberships/add", people[:1])
    answer = hubspot.put(f"{newsletter}/memberships/remove", [*people[:2], "999"])

    assert answer.json() == {
        "recordsIdsAdded": [],
        "recordIdsRemoved": people[:1],
        "recordIdsMissing": ["999"],
    }
    assert members(hubspot, newsletter) == []


def test_some_are_added_while_others_are_removed(
    hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    hubspot.put(f"{newsletter}/memberships/add", people[:2])
    path, asked = f"{newsletter}/memberships/add-and-remove", {"recordIdsToAdd": people[2:]}
    answer = hubspot.put(path, {**asked, "recordIdsToRemove": people[:1]})

    assert answer.json()["recordsIdsAdded"] == people[2:]
    assert answer.json()["recordIdsRemoved"] == people[:1]
    assert members(hubspot, newsletter) == people[1:]
    assert hubspot.put(path, asked).status_code == 400


def test_the_members_of_another_list_are_added_and_all_are_removed(
    hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    other = path_of(hubspot, "Other")
    deals = path_of(hubspot, "Deals", objectTypeId="0-3")
    hubspot.put(f"{newsletter}/memberships/add", people)
    add_from = f"{other}/memberships/add-from"

    assert hubspot.put(f"{add_from}/{newsletter.rpartition('/')[2]}").status_code == 204
    assert members(hubspot, other) == people
    for wrong in (other, deals):
        assert hubspot.put(f"{add_from}/{wrong.rpartition('/')[2]}").status_code == 400
    assert hubspot.delete(f"{other}/memberships").status_code == 204
    assert members(hubspot, other) == []
    assert members(hubspot, newsletter) == people


def test_members_come_by_pages_in_both_directions(
    hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    hubspot.put(f"{newsletter}/memberships/add", people)
    path = f"{newsletter}/memberships"
    assert hubspot.get(f"{path_of(hubspot, 'Empty')}/memberships", after="?").status_code == 400
    first = hubspot.get(path, limit=2).json()
    after = first["paging"]["next"]["after"]
    last = hubspot.get(path, limit=2, after=after).json()
    before = last["paging"]["prev"]["before"]

    assert first["total"] == 3
    assert [each["recordId"] for each in first["results"]] == people[:2]
    assert "prev" not in first["paging"]
    assert [each["recordId"] for each in last["results"]] == people[2:]
    assert "next" not in last["paging"]
    assert members(hubspot, newsletter, before=before) == people[1::-1]
    assert members(hubspot, newsletter, before=before, after=after) == people[2:]
    for wrong in ({"limit": 251}, {"limit": 0}, {"after": "?"}, {"before": "MTIz"}):
        assert hubspot.get(path, **wrong).status_code == 400


def test_members_come_in_the_order_of_their_joining_too(
    sandbox: SandboxServer, hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    for each in reversed(people):
        hubspot.put(f"{newsletter}/memberships/add", [each])
        sandbox.advance(seconds=1)
    joined = hubspot.get(f"{newsletter}/memberships/join-order").json()["results"]

    assert [each["recordId"] for each in joined] == people[::-1]
    assert joined[0]["membershipTimestamp"] < joined[1]["membershipTimestamp"]


def test_a_record_tells_its_lists(hubspot: HubSpot, newsletter: str, people: list[str]) -> None:
    deals = path_of(hubspot, "Deals", objectTypeId="0-3")
    deal = hubspot.create("deals", dealname="Same id", dealstage="closedwon")
    hubspot.put(f"{deals}/memberships/add", [deal["id"]])
    hubspot.put(f"{newsletter}/memberships/add", people[:1])
    answer = hubspot.get(f"{LISTS}/records/0-1/{people[0]}/memberships").json()

    assert answer["total"] == 1
    assert answer["results"][0]["listId"] == newsletter.rpartition("/")[2]
    assert hubspot.get(f"{LISTS}/records/0-1/{people[1]}/memberships").json()["results"] == []
    assert hubspot.get(f"{LISTS}/records/0-1/999/memberships").status_code == 404


def test_archived_records_are_no_members_and_merged_ones_are_their_survivor(
    sandbox: SandboxServer, hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    hubspot.put(f"{newsletter}/memberships/add", people)
    hubspot.delete(f"{OBJECTS}/contacts/{people[0]}")
    pair = {"primaryObjectId": people[1], "objectIdToMerge": people[2]}
    survivor = hubspot.post(f"{OBJECTS}/contacts/merge", pair).json()["id"]

    assert members(hubspot, newsletter) == [survivor]
    assert hubspot.get(newsletter).json()["list"]["size"] == 1
    assert hubspot.put(f"{newsletter}/memberships/remove", [survivor]).json()[
        "recordIdsRemoved"
    ] == [survivor]
    assert hubspot.put(f"{newsletter}/memberships/add", [people[1]]).json()["recordIdsMissing"] == [
        people[1]
    ]


def test_a_restored_record_is_a_member_again(
    hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    hubspot.put(f"{newsletter}/memberships/add", people[:1])
    hubspot.delete(f"{OBJECTS}/contacts/{people[0]}")
    hubspot.put(f"{newsletter}/memberships/add", people[1:])
    back = f"/_sandbox/portals/{DEFAULT_PORTAL_ID}/objects/contacts/{people[0]}/restore"

    assert members(hubspot, newsletter) == people[1:]
    assert hubspot.post(back, {}).status_code == 200
    assert members(hubspot, newsletter) == people


@pytest.mark.parametrize("body", [{}, "1", ["x"], [True], [1.5], [None], [["1"]], ["1" * 30]])
def test_what_are_no_record_ids_are_refused(hubspot: HubSpot, newsletter: str, body: Any) -> None:
    assert hubspot.put(f"{newsletter}/memberships/add", body).status_code == 400


CHANGES = st.lists(st.tuples(*(st.lists(st.integers(0, 3), max_size=4) for _ in range(2))))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=CHANGES, size=st.integers(1, 3))
def test_whatever_is_added_and_removed_the_pages_hold_each_member_once(
    hubspot: HubSpot,
    newsletter: str,
    people: list[str],
    changes: list[tuple[list[int], list[int]]],
    size: int,
) -> None:
    ids, expected = [*people, "999"], set[str]()
    hubspot.delete(f"{newsletter}/memberships")
    for add, remove in changes:
        asked = [ids[each] for each in add], [ids[each] for each in remove]
        body = dict(zip(("recordIdsToAdd", "recordIdsToRemove"), asked, strict=True))
        told = hubspot.put(f"{newsletter}/memberships/add-and-remove", body).json()
        before, expected = expected, (expected | {*asked[0]}) - {*asked[1], "999"}
        gone = before & {*asked[1]}
        assert sorted(told["recordIdsRemoved"]) == sorted(gone)
        assert set(told["recordIdsMissing"]) == {"999"} & {*asked[0], *asked[1]}
        assert len(set(told["recordsIdsAdded"])) == len(told["recordsIdsAdded"])

    found, query = list[str](), {"limit": size}
    while query:
        page = hubspot.get(f"{newsletter}/memberships", **query).json()
        found += [each["recordId"] for each in page["results"]]
        after = page.get("paging", {}).get("next", {}).get("after")
        query = {"limit": size, "after": after} if after else {}
    assert found == sorted(expected, key=int)


@pytest.mark.parametrize("list_id", ["99", "0", "x", "1" * 30])
def test_an_unknown_list_is_not_found(hubspot: HubSpot, list_id: str) -> None:
    answer = hubspot.get(f"{LISTS}/{list_id}")

    assert answer.status_code == 404
    assert answer.json()["category"] == "OBJECT_NOT_FOUND"


def test_lists_have_scopes_of_their_own(sandbox: SandboxServer, hubspot: HubSpot) -> None:
    reader = Access(DEFAULT_PORTAL_ID, 5, frozenset({"crm.lists.read"}))
    sandbox.sandbox.tokens["reader"] = reader
    client = HubSpot(sandbox.url)
    client.session.headers["Authorization"] = "Bearer reader"
    with client.session:
        refused = client.post(LISTS, NEW)
        searched = client.post(f"{LISTS}/search", {})

    assert refused.status_code == 403
    assert refused.json()["errors"][0]["context"] == {"requiredGranularScopes": ["crm.lists.write"]}
    assert searched.status_code == 200


def test_lists_last_in_a_state_file_and_end_with_a_reset(
    sandbox: SandboxServer, hubspot: HubSpot, newsletter: str, people: list[str]
) -> None:
    hubspot.put(f"{newsletter}/memberships/add", people)
    kept = sandbox.sandbox.serialize()
    sandbox.reset()

    assert hubspot.post(f"{LISTS}/search", {}).json()["total"] == 0
    sandbox.sandbox.restore(kept)
    assert members(hubspot, newsletter) == people
    assert path_of(hubspot, "Next") == f"{LISTS}/2"


def test_the_official_client_keeps_a_list(sandbox: SandboxServer, people: list[str]) -> None:
    api = Official(access_token=DEFAULT_TOKEN, host=sandbox.url).crm.lists
    asked = ListCreateRequest(name="Mine", object_type_id="0-1", processing_type="MANUAL")
    made = api.lists_api.create(list_create_request=asked)
    change = MembershipChangeRequest(record_ids_to_add=[*people, "999"], record_ids_to_remove=[])
    changed = api.memberships_api.add_and_remove(
        list_id=made.list.list_id, membership_change_request=change
    )
    search = ListSearchRequest(query="mine", additional_properties=[], offset=0)

    assert changed.records_ids_added == people
    assert changed.record_ids_missing == ["999"]
    assert api.lists_api.do_search(list_search_request=search).total == 1
    page = api.memberships_api.get_page(list_id=made.list.list_id)
    assert [each.record_id for each in page.results] == people
    by_name = api.lists_api.get_by_name(list_name="mine", object_type_id="0-1")
    assert by_name.list.size == 3
