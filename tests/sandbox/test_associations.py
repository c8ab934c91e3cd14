"""Associations, one at a time and in batches."""

from collections.abc import Callable
from typing import Any

import pytest

from .client import ASSOCIATIONS, OBJECTS, HubSpot

MakeDeal = Callable[..., dict[str, Any]]
DEALS_TO_COMPANIES = f"{ASSOCIATIONS}/deals/companies"


def kind(type_id: int) -> dict[str, Any]:
    return {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}


def pair(from_id: str, to_id: str, *type_ids: int) -> dict[str, Any]:
    types = {"types": [kind(each) for each in type_ids]} if type_ids else {}
    return {"from": {"id": from_id}, "to": {"id": to_id}, **types}


@pytest.fixture
def company(hubspot: HubSpot) -> dict[str, Any]:
    return hubspot.create("companies", name="Example")


@pytest.fixture
def deal(make_deal: MakeDeal) -> dict[str, Any]:
    return make_deal()


def type_ids(hubspot: HubSpot, path: str) -> dict[str, set[int]]:
    """Return the type ids to each associated record, as one record's listing has them."""
    answer = hubspot.get(path)
    assert answer.status_code == 200, answer.text
    return {
        str(row["toObjectId"]): {each["typeId"] for each in row["associationTypes"]}
        for row in answer.json()["results"]
    }


def associated(hubspot: HubSpot, one: dict[str, Any], names: str) -> dict[str, set[int]]:
    from_type, to_type = names.split(" to ")
    return type_ids(hubspot, f"{OBJECTS}/{from_type}/{one['id']}/associations/{to_type}")


def test_a_default_association_stands_in_both_directions(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any]
) -> None:
    path = f"{OBJECTS}/deals/{deal['id']}/associations/default/companies/{company['id']}"
    answers = [hubspot.put(path) for _ in range(2)]

    assert [each.status_code for each in answers] == [200, 200]
    assert {
        row["associationSpec"]["associationTypeId"] for row in answers[0].json()["results"]
    } == {*(341, 342)}
    assert associated(hubspot, deal, "deals to companies") == {company["id"]: {341}}
    assert associated(hubspot, company, "companies to deals") == {deal["id"]: {342}}


@pytest.mark.parametrize(
    ("from_type", "to_type", "there", "back"),
    [
        ("contacts", "companies", 279, 280),
        ("tickets", "companies", 339, 340),
        ("contacts", "deals", 4, 3),
        ("contacts", "tickets", 15, 16),
        ("deals", "tickets", 27, 28),
        ("deals", "line_items", 19, 20),
    ],
)
def test_each_pair_of_types_has_its_own_directed_ids(
    hubspot: HubSpot, from_type: str, to_type: str, there: int, back: int
) -> None:
    values = {
        "contacts": {"firstname": "A"},
        "companies": {"name": "C"},
        "deals": {"dealname": "D", "dealstage": "closedwon"},
        "tickets": {"subject": "T", "hs_pipeline_stage": "1"},
        "line_items": {"name": "L"},
    }
    one = hubspot.create(from_type, **values[from_type])
    other = hubspot.create(to_type, **values[to_type])
    created = hubspot.post(
        f"{ASSOCIATIONS}/{from_type}/{to_type}/batch/create",
        {"inputs": [pair(one["id"], other["id"], there)]},
    )

    assert created.status_code == 201, created.text
    assert associated(hubspot, one, f"{from_type} to {to_type}") == {other["id"]: {there}}
    assert associated(hubspot, other, f"{to_type} to {from_type}") == {one["id"]: {back}}


def test_a_primary_association_brings_the_unlabelled_one_along(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any]
) -> None:
    body = {"inputs": [pair(deal["id"], company["id"], 5)]}
    (created,) = hubspot.post(f"{DEALS_TO_COMPANIES}/batch/create", body).json()["results"]

    assert created["labels"] == ["Primary"]
    assert associated(hubspot, deal, "deals to companies") == {company["id"]: {341, 5}}
    assert associated(hubspot, company, "companies to deals") == {deal["id"]: {342, 6}}


@pytest.mark.parametrize("from_company", [False, True])
def test_a_new_primary_company_takes_the_label_from_the_old(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any], from_company: bool
) -> None:
    other = hubspot.create("companies", name="Other")
    hubspot.post(
        f"{DEALS_TO_COMPANIES}/batch/create", {"inputs": [pair(deal["id"], company["id"], 5)]}
    )
    if from_company:
        path, item = "companies/deals", pair(other["id"], deal["id"], 6)
    else:
        path, item = "deals/companies", pair(deal["id"], other["id"], 5)
    hubspot.post(f"{ASSOCIATIONS}/{path}/batch/create", {"inputs": [item]})

    assert associated(hubspot, deal, "deals to companies") == {
        company["id"]: {341},
        other["id"]: {341, 5},
    }
    assert associated(hubspot, company, "companies to deals") == {deal["id"]: {342}}


def test_a_company_may_be_the_primary_one_of_many(hubspot: HubSpot, make_deal: MakeDeal) -> None:
    company = hubspot.create("companies", name="Example")
    deals = [make_deal() for _ in range(2)]
    inputs = [pair(each["id"], company["id"], 5) for each in deals]
    hubspot.post(f"{DEALS_TO_COMPANIES}/batch/create", {"inputs": inputs})

    for each in deals:
        assert associated(hubspot, each, "deals to companies") == {company["id"]: {341, 5}}


def test_labels_replace_those_before(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any]
) -> None:
    path = f"{OBJECTS}/deals/{deal['id']}/associations/companies/{company['id']}"

    answer = hubspot.put(path, [kind(5)])
    assert answer.status_code == 201
    assert answer.json() == {
        "fromObjectTypeId": "0-3",
        "fromObjectId": int(deal["id"]),
        "toObjectTypeId": "0-2",
        "toObjectId": int(company["id"]),
        "labels": ["Primary"],
    }
    assert hubspot.put(path, [kind(341)]).status_code == 201
    assert associated(hubspot, deal, "deals to companies") == {company["id"]: {341}}


def test_deleting_removes_all_types_in_both_directions(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any]
) -> None:
    path = f"{OBJECTS}/deals/{deal['id']}/associations/companies/{company['id']}"
    hubspot.put(path, [kind(5)])

    assert [hubspot.delete(path).status_code for _ in range(2)] == [204, 204]
    assert associated(hubspot, deal, "deals to companies") == {}
    assert associated(hubspot, company, "companies to deals") == {}


def test_associations_of_a_record_that_is_not_there_are_not_found(hubspot: HubSpot) -> None:
    assert hubspot.get(f"{OBJECTS}/deals/999/associations/contacts").status_code == 404


def test_archived_records_disappear_from_associations(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any]
) -> None:
    hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/companies/{company['id']}")
    hubspot.delete(f"{OBJECTS}/companies/{company['id']}")

    assert associated(hubspot, deal, "deals to companies") == {}


def test_a_listing_pages_by_500(hubspot: HubSpot, company: dict[str, Any]) -> None:
    ids = []
    for start in range(0, 600, 100):
        inputs = [{"properties": {"email": f"p{start + n}@example.com"}} for n in range(100)]
        results = hubspot.batch("contacts", "create", *inputs).json()["results"]
        ids += [each["id"] for each in results]
    body = {"inputs": [pair(company["id"], each) for each in ids]}
    path = f"{ASSOCIATIONS}/companies/contacts/batch"
    assert hubspot.post(f"{path}/associate/default", body).status_code == 200

    listing = f"{OBJECTS}/companies/{company['id']}/associations/contacts"
    first = hubspot.get(listing).json()
    after = first["paging"]["next"]["after"]
    second = hubspot.get(listing, after=after).json()
    read = hubspot.post(f"{path}/read", {"inputs": [{"id": company["id"]}]}).json()["results"][0]
    rest = hubspot.post(f"{path}/read", {"inputs": [{"id": company["id"], "after": after}]}).json()
    inline = hubspot.get(f"{OBJECTS}/companies/{company['id']}", associations="contacts").json()
    assert len(first["results"]) == 500
    assert {str(row["toObjectId"]) for row in first["results"] + second["results"]} == set(ids)
    assert (len(read["to"]), read["paging"]["next"]["after"]) == (500, after)
    assert [row["toObjectId"] for row in rest["results"][0]["to"]] == [
        row["toObjectId"] for row in second["results"]
    ]
    assert len(inline["associations"]["contacts"]["results"]) == 500
    assert inline["associations"]["contacts"]["paging"]["next"]["after"] == after


def test_a_batch_read_mixes_ids_as_hubspot_does_and_is_207_for_records_without_any(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any], make_deal: MakeDeal
) -> None:
    lonely = make_deal()
    hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/companies/{company['id']}")
    body = {"inputs": [{"id": deal["id"]}, {"id": lonely["id"]}]}
    answer = hubspot.post(f"{DEALS_TO_COMPANIES}/batch/read", body)

    assert answer.status_code == 207
    assert answer.json()["results"] == [
        {
            "from": {"id": deal["id"]},
            "to": [
                {
                    "toObjectId": int(company["id"]),
                    "associationTypes": [
                        {"category": "HUBSPOT_DEFINED", "typeId": 341, "label": None}
                    ],
                }
            ],
        }
    ]
    assert answer.json()["numErrors"] == 1
    assert answer.json()["errors"] == [
        {
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
            "message": f"No company is associated with deal {lonely['id']}.",
            "context": {
                "fromObjectId": [lonely["id"]],
                "fromObjectType": ["deal"],
                "toObjectType": ["company"],
            },
        }
    ]


def test_a_batch_read_of_associated_records_is_200(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any]
) -> None:
    hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/companies/{company['id']}")

    answer = hubspot.post(f"{DEALS_TO_COMPANIES}/batch/read", {"inputs": [{"id": deal["id"]}]})
    assert answer.status_code == 200
    assert "errors" not in answer.json()


def test_a_batch_lists_the_pairs_whose_records_do_not_exist(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any]
) -> None:
    body = {"inputs": [pair(deal["id"], company["id"], 341), pair(deal["id"], "999", 341)]}
    answer = hubspot.post(f"{DEALS_TO_COMPANIES}/batch/create", body)

    assert answer.status_code == 207
    assert len(answer.json()["results"]) == 1
    assert answer.json()["errors"][0]["context"]["toObjectId"] == ["999"]


def test_a_type_of_another_direction_fails_the_whole_batch(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any]
) -> None:
    body = {"inputs": [pair(deal["id"], company["id"], 341), pair(deal["id"], company["id"], 342)]}
    answer = hubspot.post(f"{DEALS_TO_COMPANIES}/batch/create", body)

    assert answer.status_code == 400
    assert answer.json()["message"] == (
        "invalid from object type 0-3 for associations to be created. expected: 0-2"
    )
    assert associated(hubspot, deal, "deals to companies") == {}


@pytest.mark.parametrize(
    ("action", "maximum"),
    [("read", 1_000), ("create", 2_000), ("archive", 100)],
)
def test_an_association_batch_has_its_own_maximum(
    hubspot: HubSpot, action: str, maximum: int
) -> None:
    def send(count: int) -> int:
        inputs = [{"id": "1", **pair("1", "1", 341), "from": {"id": "1"}} for _ in range(count)]
        if action == "archive":
            inputs = [{"from": {"id": "1"}, "to": [{"id": "1"}]} for _ in range(count)]
        body = {"inputs": inputs}
        return hubspot.post(f"{DEALS_TO_COMPANIES}/batch/{action}", body).status_code

    assert send(maximum) != 400
    assert send(maximum + 1) == 400


@pytest.mark.parametrize(("prefix", "status"), [("/crm/v4/associations", 204), (ASSOCIATIONS, 200)])
def test_a_batch_archive_answers_as_its_version_does(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any], prefix: str, status: int
) -> None:
    hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/companies/{company['id']}")
    item = {"from": {"id": deal["id"]}, "to": [{"id": company["id"]}]}
    answer = hubspot.post(f"{prefix}/deals/companies/batch/archive", {"inputs": [item]})

    assert answer.status_code == status
    assert associated(hubspot, deal, "deals to companies") == {}


@pytest.mark.parametrize(("removed", "left"), [(5, {341}), (341, None)])
def test_removing_a_label_leaves_the_unlabelled_type_and_removing_that_leaves_nothing(
    hubspot: HubSpot,
    deal: dict[str, Any],
    company: dict[str, Any],
    removed: int,
    left: set[int] | None,
) -> None:
    item = pair(deal["id"], company["id"], 5)
    hubspot.post(f"{DEALS_TO_COMPANIES}/batch/create", {"inputs": [item]})
    body = {"inputs": [pair(deal["id"], company["id"], removed)]}
    hubspot.post(f"{DEALS_TO_COMPANIES}/batch/labels/archive", body)

    expected = {company["id"]: left} if left else {}
    assert associated(hubspot, deal, "deals to companies") == expected


def test_labels_of_a_direction_are_listed(hubspot: HubSpot) -> None:
    answer = hubspot.get(f"{DEALS_TO_COMPANIES}/labels").json()

    assert answer["results"] == [
        {"category": "HUBSPOT_DEFINED", "typeId": 341, "label": None},
        {"category": "HUBSPOT_DEFINED", "typeId": 5, "label": "Primary"},
    ]


def test_a_new_record_may_bring_its_associations(
    hubspot: HubSpot, contact: dict[str, Any], company: dict[str, Any]
) -> None:
    associations = [
        {"to": {"id": contact["id"]}, "types": [kind(3)]},
        {"to": {"id": company["id"]}, "types": [kind(5)]},
    ]
    properties = {"dealname": "D", "dealstage": "closedwon"}
    answer = hubspot.post(
        f"{OBJECTS}/deals", {"properties": properties, "associations": associations}
    )

    read = hubspot.get(f"{OBJECTS}/deals/{answer.json()['id']}", associations="contacts,companies")
    assert read.json()["associations"] == {
        "contacts": {"results": [{"id": contact["id"], "type": "deal_to_contact"}]},
        "companies": {
            "results": [
                {"id": company["id"], "type": "deal_to_company_unlabeled"},
                {"id": company["id"], "type": "deal_to_company"},
            ]
        },
    }


@pytest.mark.parametrize(
    ("associations", "message"),
    [
        (
            [{"to": {"id": "999"}, "types": [kind(3)]}],
            "One or more associations are invalid",
        ),
        (
            [{"to": {"id": "999"}, "types": [kind(4)]}],
            "invalid from object type 0-3 for associations to be created. expected: 0-1",
        ),
    ],
)
def test_a_new_record_with_a_wrong_association_is_not_created(
    hubspot: HubSpot, associations: list[dict[str, Any]], message: str
) -> None:
    properties = {"dealname": "D", "dealstage": "closedwon"}
    answer = hubspot.post(
        f"{OBJECTS}/deals", {"properties": properties, "associations": associations}
    )

    assert answer.status_code == 400
    assert answer.json()["message"] == message
    assert hubspot.found("deals") == []


def test_unknown_targets_are_named_in_the_context(hubspot: HubSpot) -> None:
    body = {
        "properties": {"dealname": "D", "dealstage": "closedwon"},
        "associations": [{"to": {"id": "999"}, "types": [kind(3)]}],
    }
    answer = hubspot.post(f"{OBJECTS}/deals", body)

    assert answer.json()["context"] == {
        "INVALID_OBJECT_IDS": ["CONTACT=999 is not valid"],
        "objectId": ["999"],
        "objectType": ["CONTACT"],
    }


@pytest.mark.parametrize("from_item", [True, False])
def test_a_line_item_belongs_to_one_deal_only(
    hubspot: HubSpot, make_deal: MakeDeal, from_item: bool
) -> None:
    item, deals = hubspot.create("line_items", name="L"), [make_deal(), make_deal()]

    def put(deal: dict[str, Any]) -> Any:
        ends = [("line_items", item["id"]), ("deals", deal["id"])]
        (here, here_id), (there, there_id) = ends if from_item else reversed(ends)
        path = f"{OBJECTS}/{here}/{here_id}/associations/default/{there}/{there_id}"
        return hubspot.put(path)

    assert put(deals[0]).status_code == 200
    refused = put(deals[1])
    assert refused.status_code == 400
    assert refused.json()["message"].startswith("cannot pass multiple to object ids: [")
    assert "for one to one association type" in refused.json()["message"]
    assert associated(hubspot, item, "line_items to deals") == {deals[0]["id"]: {20}}


def test_line_items_are_called_by_their_label_in_inline_associations(
    hubspot: HubSpot, deal: dict[str, Any]
) -> None:
    item = hubspot.create("line_items", name="L")
    hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/line_items/{item['id']}")

    (record,) = hubspot.get(f"{OBJECTS}/deals", associations="line_items").json()["results"]
    assert list(record["associations"]) == ["line items"]


def test_parent_and_child_companies_are_two_directions(
    hubspot: HubSpot, company: dict[str, Any]
) -> None:
    child = hubspot.create("companies", name="Branch")
    path = f"{OBJECTS}/companies/{company['id']}/associations/companies/{child['id']}"
    hubspot.put(path, [kind(13)])

    assert associated(hubspot, company, "companies to companies") == {child["id"]: {450, 13}}
    assert associated(hubspot, child, "companies to companies") == {company["id"]: {450, 14}}


def test_types_that_cannot_be_associated_are_refused(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    item = hubspot.create("line_items", name="L")

    path = f"{OBJECTS}/contacts/{contact['id']}/associations/default/line_items/{item['id']}"
    assert hubspot.put(path).status_code == 400
