"""Who may call, and under which paths."""

import re

import pytest
import requests

from hubspot_sandbox import SandboxServer

from .client import HubSpot


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic pat-na1-sandbox"}],
)
def test_a_call_without_a_known_bearer_token_is_refused_in_hubspots_words(
    sandbox: SandboxServer, headers: dict[str, str]
) -> None:
    answer = requests.get(f"{sandbox.url}/crm/v3/objects/contacts", headers=headers, timeout=5)

    assert answer.status_code == 401
    assert answer.json()["category"] == "INVALID_AUTHENTICATION"
    assert answer.json()["message"].startswith("Authentication credentials not found.")
    assert answer.json()["correlationId"] == answer.headers["x-hubspot-correlation-id"]


@pytest.mark.parametrize(
    "path",
    [
        "/crm/v3/objects/contacts",
        "/crm/objects/2025-09/contacts",
        "/crm/objects/2026-03/0-1",
        "/crm/objects/2026-09/contact",
        "/crm/objects/2027-03-beta/contacts",
        "/crm/v3/properties/deals",
        "/crm/properties/2026-09/deals",
        "/crm/v3/pipelines/tickets",
        "/crm/pipelines/2026-09/0-5",
        "/crm/v3/owners/",
        "/crm/owners/2026-09",
        "/account-info/v3/details",
        "/account-info/2026-09/details",
        "/crm/v4/associations/deals/contacts/labels",
        "/crm/associations/2026-09/0-3/0-1/labels",
    ],
)
def test_both_path_families_reach_the_same_views(hubspot: HubSpot, path: str) -> None:
    assert hubspot.get(path).status_code == 200


def test_legacy_and_dated_paths_share_their_records(
    hubspot: HubSpot, contact: dict[str, str]
) -> None:
    legacy = hubspot.get(f"/crm/v3/objects/contacts/{contact['id']}").json()
    dated = hubspot.get(f"/crm/objects/2026-03/0-1/{contact['id']}").json()

    assert legacy == dated


@pytest.mark.parametrize(
    "path",
    [
        "/crm/objects/2024-01/contacts",
        "/crm/objects/2026-09-beta/contacts",
        "/crm/v4/pipelines/deals",
        "/nothing/here",
    ],
)
def test_an_unknown_version_or_route_is_not_found(hubspot: HubSpot, path: str) -> None:
    answer = hubspot.get(path)

    assert answer.status_code == 404
    assert answer.json()["message"] == "resource not found"
    assert "category" not in answer.json()


def test_an_unknown_object_type_is_refused_in_hubspots_words(hubspot: HubSpot) -> None:
    answer = hubspot.get("/crm/v3/objects/widgets")

    assert answer.status_code == 400
    assert answer.json()["message"] == "Unable to infer object type from: widgets"


def test_a_wrong_method_is_refused_in_the_envelope(hubspot: HubSpot) -> None:
    answer = hubspot.put("/crm/v3/objects/contacts", {})

    assert answer.status_code == 405
    assert answer.json()["status"] == "error"


def test_every_answer_has_its_own_correlation_id_and_hubspots_content_type(
    hubspot: HubSpot,
) -> None:
    first, second = hubspot.get("/crm/v3/owners"), hubspot.get("/crm/v3/owners")

    ids = {answer.headers["x-hubspot-correlation-id"] for answer in (first, second)}
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f-]{36}", each) for each in ids)
    assert first.headers["content-type"] == "application/json;charset=utf-8"


def test_the_account_names_its_portal(hubspot: HubSpot) -> None:
    details = hubspot.get("/account-info/v3/details").json()

    assert details["portalId"] == 44021307
    assert details["utcOffset"] == "-05:00"
    assert "portalName" not in details


def test_the_newest_account_details_name_the_portal_too(hubspot: HubSpot) -> None:
    assert "portalName" in hubspot.get("/account-info/2026-09/details").json()


def test_owners_are_paged(hubspot: HubSpot) -> None:
    first = hubspot.get("/crm/v3/owners", limit=2).json()
    after = first["paging"]["next"]["after"]
    second = hubspot.get("/crm/v3/owners", limit=2, after=after).json()

    assert [len(first["results"]), len(second["results"])] == [2, 1]
    assert "paging" not in second


def test_a_deactivated_owner_shows_only_as_archived_and_without_user_id(hubspot: HubSpot) -> None:
    (owner,) = hubspot.get("/crm/v3/owners", archived="true").json()["results"]

    assert owner["userId"] is None
    assert hubspot.get(f"/crm/v3/owners/{owner['id']}").status_code == 404


def test_an_owner_is_found_by_email_and_by_user_id(hubspot: HubSpot) -> None:
    (owner,) = hubspot.get("/crm/v3/owners", email="tom.okafor@brightharbor.example").json()[
        "results"
    ]

    found = hubspot.get(f"/crm/v3/owners/{owner['userId']}", idProperty="userId")
    assert found.json() == owner
    assert hubspot.get(f"/crm/v3/owners/{owner['userId']}").status_code == 404
