"""Association labels of a portal's own, and the v3 associations API, which knows types by name."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.labels import MAX_LABELS
from hubspot_sandbox.store import Sandbox

from .client import ASSOCIATIONS, OBJECTS, HubSpot

MakeDeal = Callable[..., dict[str, Any]]
LABELS = f"{ASSOCIATIONS}/deals/contacts/labels"
BACK = f"{ASSOCIATIONS}/contacts/deals/labels"
V3 = "/crm/v3/associations/deals/companies"


@pytest.fixture
def deal(make_deal: MakeDeal) -> dict[str, Any]:
    return make_deal()


def define(hubspot: HubSpot, path: str = LABELS, **body: Any) -> requests.Response:
    return hubspot.post(path, {"name": "decider", "label": "Decider", **body})


def put(hubspot: HubSpot, deal: Any, contact: Any, *type_ids: int) -> requests.Response:
    specs = [
        {"associationCategory": "USER_DEFINED", "associationTypeId": each} for each in type_ids
    ]
    path = f"{OBJECTS}/deals/{deal['id']}/associations/contacts/{contact['id']}"
    return hubspot.put(path, specs)


def labels_of(hubspot: HubSpot, one: str, to_type: str) -> set[str | None]:
    rows = hubspot.get(f"{OBJECTS}/{one}/associations/{to_type}").json()["results"]
    return {each["label"] for row in rows for each in row["associationTypes"]}


def test_a_label_gets_a_type_id_in_each_direction(hubspot: HubSpot) -> None:
    answer = define(hubspot)

    assert answer.status_code == 200, answer.text
    here, there = answer.json()["results"]
    assert here["typeId"] != there["typeId"]
    assert here | {"typeId": 0} == {"category": "USER_DEFINED", "typeId": 0, "label": "Decider"}
    assert hubspot.get(LABELS).json()["results"][-1] == here
    assert hubspot.get(BACK).json()["results"][-1] == there


def test_a_label_stands_on_records_beside_the_unlabelled_type(
    hubspot: HubSpot, deal: dict[str, Any], contact: dict[str, Any]
) -> None:
    here, _ = define(hubspot).json()["results"]

    answer = put(hubspot, deal, contact, here["typeId"])
    assert (answer.status_code, answer.json()["labels"]) == (201, ["Decider"])
    assert labels_of(hubspot, f"deals/{deal['id']}", "contacts") == {None, "Decider"}
    assert labels_of(hubspot, f"contacts/{contact['id']}", "deals") == {None, "Decider"}


def test_a_pair_of_labels_reads_differently_from_each_side(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    path = f"{ASSOCIATIONS}/contacts/contacts/labels"
    define(hubspot, path, name="boss", label="Manager", inverseLabel="Employee")
    results = hubspot.get(path).json()["results"]
    manager = next(each["typeId"] for each in results if each["label"] == "Manager")
    other = hubspot.create("contacts", firstname="Other")
    spec = [{"associationCategory": "USER_DEFINED", "associationTypeId": manager}]
    hubspot.put(f"{OBJECTS}/contacts/{contact['id']}/associations/contacts/{other['id']}", spec)

    assert labels_of(hubspot, f"contacts/{contact['id']}", "contacts") == {None, "Manager"}
    assert labels_of(hubspot, f"contacts/{other['id']}", "contacts") == {None, "Employee"}


def test_a_single_label_within_one_type_is_its_own_inverse(
    hubspot: HubSpot, contact: dict[str, Any]
) -> None:
    path = f"{ASSOCIATIONS}/contacts/contacts/labels"
    (friend,) = define(hubspot, path, name="friend", label="Friend").json()["results"]
    other = hubspot.create("contacts", firstname="Other")
    spec = [{"associationCategory": "USER_DEFINED", "associationTypeId": friend["typeId"]}]
    hubspot.put(f"{OBJECTS}/contacts/{contact['id']}/associations/contacts/{other['id']}", spec)

    assert labels_of(hubspot, f"contacts/{other['id']}", "contacts") == {None, "Friend"}
    body = {"associationTypeId": friend["typeId"], "label": "Pal"}
    assert hubspot.put(path, body).status_code == 204
    assert labels_of(hubspot, f"contacts/{other['id']}", "contacts") == {None, "Pal"}


def test_a_label_of_the_portal_is_not_hubspots(
    hubspot: HubSpot, deal: dict[str, Any], contact: dict[str, Any]
) -> None:
    here, _ = define(hubspot).json()["results"]
    spec = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": here["typeId"]}]

    path = f"{OBJECTS}/deals/{deal['id']}/associations/contacts/{contact['id']}"
    assert hubspot.put(path, spec).status_code == 400


def test_a_label_works_in_its_own_direction_only(
    hubspot: HubSpot, deal: dict[str, Any], contact: dict[str, Any]
) -> None:
    _, there = define(hubspot).json()["results"]

    refused = put(hubspot, deal, contact, there["typeId"])
    assert refused.status_code == 400
    assert refused.json()["message"].startswith("invalid from object type 0-3")


def test_labels_are_renamed_on_one_side_or_both(hubspot: HubSpot) -> None:
    here, _ = define(hubspot).json()["results"]
    single = hubspot.put(LABELS, {"associationTypeId": here["typeId"], "label": "Chooser"})

    assert single.status_code == 204
    assert hubspot.get(LABELS).json()["results"][-1]["label"] == "Chooser"
    assert hubspot.get(BACK).json()["results"][-1]["label"] == "Chooser"
    both = {"associationTypeId": here["typeId"], "label": "Chooses", "inverseLabel": "Chosen by"}
    hubspot.put(LABELS, both)
    assert hubspot.get(LABELS).json()["results"][-1]["label"] == "Chooses"
    assert hubspot.get(BACK).json()["results"][-1]["label"] == "Chosen by"


def test_a_deleted_label_leaves_its_records_associated(
    hubspot: HubSpot, deal: dict[str, Any], contact: dict[str, Any]
) -> None:
    here, _ = define(hubspot).json()["results"]
    put(hubspot, deal, contact, here["typeId"])

    assert hubspot.delete(f"{LABELS}/{here['typeId']}").status_code == 204
    assert labels_of(hubspot, f"deals/{deal['id']}", "contacts") == {None}
    assert labels_of(hubspot, f"contacts/{contact['id']}", "deals") == {None}
    assert hubspot.delete(f"{LABELS}/{here['typeId']}").status_code == 404
    again, _ = define(hubspot).json()["results"]
    assert again["typeId"] > here["typeId"]


def test_hubspots_own_labels_stay_as_they_are(hubspot: HubSpot) -> None:
    path = f"{ASSOCIATIONS}/deals/companies/labels"

    assert hubspot.delete(f"{path}/5").status_code == 400
    assert hubspot.put(path, {"associationTypeId": 5, "label": "First"}).status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"name": "has-hyphen"},
        {"name": "1st"},
        {"name": None},
        {"label": ""},
        {"label": None},
        {"label": "x" * 101},
        {"inverseLabel": " "},
        {"label": "Taken"},
        {"inverseLabel": "Taken"},
        {"name": "taken"},
    ],
)
def test_a_wrong_label_is_refused(hubspot: HubSpot, change: dict[str, Any]) -> None:
    define(hubspot, name="taken", label="Taken")

    assert define(hubspot, **change).status_code == 400


def test_types_that_cannot_be_associated_get_no_label(hubspot: HubSpot) -> None:
    path = f"{ASSOCIATIONS}/contacts/line_items/labels"

    assert define(hubspot, path).status_code == 400


def test_labels_between_two_types_are_limited(hubspot: HubSpot) -> None:
    made = [
        define(hubspot, name=f"n{number}", label=f"L{number}").status_code
        for number in range(MAX_LABELS + 1)
    ]

    assert made == [200] * MAX_LABELS + [400]


def test_labels_last_in_a_state_file_and_end_with_a_reset(
    sandbox: SandboxServer, hubspot: HubSpot, deal: dict[str, Any], contact: dict[str, Any]
) -> None:
    here, _ = define(hubspot).json()["results"]
    put(hubspot, deal, contact, here["typeId"])
    copy = Sandbox()
    copy.restore(sandbox.sandbox.serialize())
    (kept,) = copy.portals.values()

    (portal,) = sandbox.sandbox.portals.values()
    assert kept.setup.association_types == portal.setup.association_types
    assert kept.setup.take_label_id() > here["typeId"]
    sandbox.reset()
    assert hubspot.get(LABELS).json()["results"][-1]["label"] is None


@pytest.fixture
def company(hubspot: HubSpot) -> dict[str, Any]:
    return hubspot.create("companies", name="Example")


def v3_input(deal: Any, company: Any, type_name: str) -> dict[str, Any]:
    return {"from": {"id": deal["id"]}, "to": {"id": company["id"]}, "type": type_name}


def test_v3_creates_reads_and_archives_by_names_with_every_id_as_text(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any], make_deal: MakeDeal
) -> None:
    body = {"inputs": [v3_input(deal, company, "deal_to_company")]}
    created = hubspot.post(f"{V3}/batch/create", body)
    lonely = make_deal()
    ids = {"inputs": [{"id": deal["id"]}, {"id": lonely["id"]}]}
    read = hubspot.post(f"{V3}/batch/read", ids)

    assert (created.status_code, created.json()["results"]) == (201, body["inputs"])
    assert read.status_code == 207
    assert read.json()["results"] == [
        {
            "from": {"id": deal["id"]},
            "to": [
                {"id": company["id"], "type": "deal_to_company_unlabeled"},
                {"id": company["id"], "type": "deal_to_company"},
            ],
        }
    ]
    assert read.json()["errors"][0]["context"]["fromObjectId"] == [lonely["id"]]
    assert hubspot.post(f"{V3}/batch/archive", body).status_code == 204
    listing = f"/crm/v3/objects/deals/{deal['id']}/associations/companies"
    assert hubspot.get(listing).json()["results"] == [
        {"id": company["id"], "type": "deal_to_company_unlabeled"}
    ]


def test_v3_puts_and_deletes_one_association_by_name_or_id(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any]
) -> None:
    path = f"/crm/v3/objects/deals/{deal['id']}/associations/companies/{company['id']}"

    assert hubspot.put(f"{path}/deal_to_company").json()["id"] == deal["id"]
    assert labels_of(hubspot, f"deals/{deal['id']}", "companies") == {None, "Primary"}
    assert hubspot.delete(f"{path}/341").status_code == 204
    assert labels_of(hubspot, f"deals/{deal['id']}", "companies") == set()


@pytest.mark.parametrize("name", ["company_to_deal", "342", "nonsense"])
def test_v3_refuses_types_of_another_direction(
    hubspot: HubSpot, deal: dict[str, Any], company: dict[str, Any], name: str
) -> None:
    path = f"/crm/v3/objects/deals/{deal['id']}/associations/companies/{company['id']}/{name}"
    body = {"inputs": [v3_input(deal, company, name)]}

    assert hubspot.put(path).status_code == 400
    assert hubspot.post(f"{V3}/batch/create", body).status_code == 400


def test_v3_lists_the_types_of_a_direction(hubspot: HubSpot) -> None:
    assert hubspot.get(f"{V3}/types").json()["results"] == [
        {"id": "341", "name": "deal_to_company_unlabeled"},
        {"id": "5", "name": "deal_to_company"},
    ]


def test_the_v3_associations_have_no_dated_path(hubspot: HubSpot) -> None:
    assert hubspot.get(f"{ASSOCIATIONS}/deals/companies/types").status_code == 404
