"""What a token may do: scopes by area, method and object types, and the 403 that names them."""

from typing import Any
from uuid import uuid4

import pytest
import requests

from hubspot_sandbox import DEFAULT_PORTAL_ID, SandboxServer
from hubspot_sandbox.access import Access
from hubspot_sandbox.app import AREAS
from hubspot_sandbox.scopes import RULES

OBJECTS, ASSOCIATIONS = "/crm/objects/2026-09", "/crm/associations/2026-09"
CONTACTS_READ, CONTACTS_WRITE = "crm.objects.contacts.read", "crm.objects.contacts.write"
DEALS_READ, DEALS_WRITE = "crm.objects.deals.read", "crm.objects.deals.write"


def call(sandbox: SandboxServer, request: str, *scopes: str) -> requests.Response:
    """Make a request, such as ``GET /crm/v3/owners``, with a token of these scopes."""
    token = str(uuid4())
    sandbox.sandbox.tokens[token] = Access(DEFAULT_PORTAL_ID, 1, frozenset(scopes))
    method, _, path = request.partition(" ")
    return requests.request(
        method,
        sandbox.url + path,
        json={} if method != "GET" else None,
        headers={"Authorization": f"Bearer {token}"},
        timeout=5,
    )


def test_a_missing_scope_is_named_in_hubspots_words(sandbox: SandboxServer) -> None:
    answer = call(sandbox, f"GET {OBJECTS}/contacts", DEALS_READ)
    body = answer.json()

    assert answer.status_code == 403
    assert body.pop("correlationId") == answer.headers["x-hubspot-correlation-id"]
    assert body == {
        "status": "error",
        "message": "This app hasn't been granted all required scopes to make this call. "
        "Read more about required scopes here: https://developers.hubspot.com/scopes.",
        "category": "MISSING_SCOPES",
        "errors": [
            {
                "message": "One or more of the following scopes are required.",
                "context": {"requiredGranularScopes": [CONTACTS_READ]},
            }
        ],
        "links": {"scopes": "https://developers.hubspot.com/scopes"},
    }


# Each request, and every set of scopes that is just enough for it.
ENOUGH = [
    (f"GET {OBJECTS}/contacts", [{CONTACTS_READ}]),
    ("GET /crm/v3/objects/0-1", [{CONTACTS_READ}]),
    (f"GET {OBJECTS}/contacts/1", [{CONTACTS_READ}]),
    (f"POST {OBJECTS}/contacts/search", [{CONTACTS_READ}]),
    (f"POST {OBJECTS}/contacts/batch/read", [{CONTACTS_READ}]),
    (f"POST {OBJECTS}/contacts", [{CONTACTS_WRITE}]),
    (f"POST {OBJECTS}/contacts/batch/create", [{CONTACTS_WRITE}]),
    (f"POST {OBJECTS}/contacts/batch/upsert", [{CONTACTS_WRITE}]),
    (f"POST {OBJECTS}/contacts/batch/archive", [{CONTACTS_WRITE}]),
    (f"PATCH {OBJECTS}/contacts/1", [{CONTACTS_WRITE}]),
    (f"DELETE {OBJECTS}/contacts/1", [{CONTACTS_WRITE}]),
    (f"GET {OBJECTS}/tickets", [{"tickets"}]),
    (f"POST {OBJECTS}/0-5", [{"tickets"}]),
    (f"GET {OBJECTS}/line_items", [{"e-commerce"}, {"crm.objects.line_items.read"}]),
    (f"POST {OBJECTS}/line_items", [{"e-commerce"}, {"crm.objects.line_items.write"}]),
    (f"GET {OBJECTS}/contacts/1/associations/deals", [{CONTACTS_READ, DEALS_READ}]),
    (f"PUT {OBJECTS}/contacts/1/associations/default/deals/2", [{CONTACTS_WRITE, DEALS_WRITE}]),
    (f"DELETE {OBJECTS}/contacts/1/associations/deals/2", [{CONTACTS_WRITE, DEALS_WRITE}]),
    (f"POST {ASSOCIATIONS}/deals/contacts/batch/read", [{CONTACTS_READ, DEALS_READ}]),
    (f"POST {ASSOCIATIONS}/deals/tickets/batch/create", [{DEALS_WRITE, "tickets"}]),
    (f"GET {ASSOCIATIONS}/contacts/contacts/labels", [{CONTACTS_READ}]),
    ("GET /crm/v3/pipelines/deals", [{DEALS_READ}]),
    ("GET /crm/pipelines/2026-09/tickets", [{"tickets"}]),
    ("GET /crm/v3/properties/deals", [{"crm.schemas.deals.read"}]),
    ("POST /crm/v3/properties/deals", [{"crm.schemas.deals.write"}]),
    ("PATCH /crm/v3/properties/deals/amount", [{"crm.schemas.deals.write"}]),
    ("POST /crm/v3/properties/tickets", [{"tickets"}, {"crm.schemas.tickets.write"}]),
    ("GET /crm/v3/owners", [{"crm.objects.owners.read"}]),
]
ALL = {scope for _, sets in ENOUGH for scopes in sets for scope in scopes}


@pytest.mark.parametrize(("request_line", "sets"), ENOUGH)
def test_a_call_needs_its_scopes_and_no_others(
    sandbox: SandboxServer, request_line: str, sets: list[set[str]]
) -> None:
    for scopes in sets:
        assert call(sandbox, request_line, *scopes).status_code != 403
        for dropped in scopes:
            others = ALL - set().union(*sets) | (scopes - {dropped})
            assert call(sandbox, request_line, *others).status_code == 403


def test_an_association_names_what_both_objects_lack(sandbox: SandboxServer) -> None:
    body = call(sandbox, f"POST {ASSOCIATIONS}/deals/line_items/batch/read").json()

    assert [each["context"]["requiredGranularScopes"] for each in body["errors"]] == [
        [DEALS_READ],
        ["crm.objects.line_items.read", "e-commerce"],
    ]


@pytest.mark.parametrize(
    "path", ["/account-info/v3/details", "/account-info/2026-09/api-usage/daily/private-apps"]
)
def test_any_token_reads_the_account(sandbox: SandboxServer, path: str) -> None:
    assert call(sandbox, f"GET {path}").status_code == 200


def test_what_is_refused_is_not_done(sandbox: SandboxServer, contact: dict[str, Any]) -> None:
    path = f"{OBJECTS}/contacts/{contact['id']}"

    assert call(sandbox, f"DELETE {path}", CONTACTS_READ).status_code == 403
    assert call(sandbox, f"GET {path}", CONTACTS_READ).status_code == 200


def test_every_area_has_a_rule() -> None:
    assert AREAS.keys() <= RULES.keys()
