"""Several portals in one sandbox: told apart by the token, and kept between runs."""

from pathlib import Path
from typing import Any

import pytest
import requests

from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN, SandboxServer
from hubspot_sandbox.access import DEFAULT_APP
from hubspot_sandbox.store import Sandbox

from .client import HubSpot
from .test_oauth import Connector

UNIQUE = {"label": "U", "type": "string", "fieldType": "text", "hasUniqueValue": True}
PERSON = "ada@example.com"


def admin(sandbox: SandboxServer, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(method, f"{sandbox.url}/_sandbox/{path}", json=body, timeout=5)


def add_token(sandbox: SandboxServer, **fields: Any) -> str:
    answer = admin(sandbox, "POST", "tokens", fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def client_of(sandbox: SandboxServer, token: str) -> HubSpot:
    client = HubSpot(sandbox.url)
    client.session.headers["Authorization"] = f"Bearer {token}"
    return client


@pytest.fixture
def second(sandbox: SandboxServer) -> HubSpot:
    """A client of another portal."""
    assert admin(sandbox, "POST", "portals", {"id": 77, "name": "Second"}).status_code == 200
    return client_of(sandbox, add_token(sandbox, portal_id=77))


def test_records_of_one_portal_are_unknown_in_another(
    hubspot: HubSpot, second: HubSpot, contact: dict[str, Any]
) -> None:
    path = f"/crm/v3/objects/contacts/{contact['id']}"

    assert second.get(path).status_code == 404
    assert second.found("contacts") == []
    assert second.get("/crm/v3/objects/contacts").json()["results"] == []
    second.delete(path)
    assert hubspot.get(path).status_code == 200


def test_what_is_unique_is_so_within_a_portal(
    hubspot: HubSpot, second: HubSpot, contact: dict[str, Any]
) -> None:
    email = contact["properties"]["email"]

    assert second.create("contacts", email=email)["properties"]["email"] == email
    assert (
        second.post("/crm/v3/objects/contacts", {"properties": {"email": email}}).status_code == 409
    )


def test_a_property_is_of_one_portal(hubspot: HubSpot, second: HubSpot) -> None:
    body = {**UNIQUE, "name": "crm_uid", "groupName": "dealinformation"}
    assert second.post("/crm/v3/properties/deals", body).status_code == 201

    assert second.get("/crm/v3/properties/deals/crm_uid").status_code == 200
    assert hubspot.get("/crm/v3/properties/deals/crm_uid").status_code == 404


def test_two_portals_give_the_same_ids(hubspot: HubSpot, second: HubSpot) -> None:
    first = hubspot.create("contacts", email=PERSON)

    assert second.create("contacts", email=PERSON)["id"] == first["id"]


def test_the_account_tells_which_portal_a_token_opens(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    body = {"name": "Nord", "uiDomain": "app-eu1.hubspot.com", "tier": "ENTERPRISE"}
    made = admin(sandbox, "POST", "portals", body).json()
    token = add_token(sandbox, portal_id=made["id"])
    path = "/account-info/2026-09/details"

    there, here = client_of(sandbox, token).get(path).json(), hubspot.get(path).json()
    assert made == {"id": DEFAULT_PORTAL_ID + 1, **body}
    assert (there["portalId"], there["portalName"]) == (made["id"], "Nord")
    assert (there["uiDomain"], there["dataHostingLocation"]) == ("app-eu1.hubspot.com", "eu1")
    assert (here["portalId"], here["uiDomain"]) == (DEFAULT_PORTAL_ID, "app.hubspot.com")


def test_a_reset_brings_back_the_first_portal_app_and_token_alone(
    sandbox: SandboxServer, second: HubSpot
) -> None:
    admin(sandbox, "POST", "apps", {"name": "Other"})
    tokens = Connector(sandbox.url)
    refresh_token = tokens.exchange(tokens.code({"portal_id": "77"})).json()["refresh_token"]
    sandbox.reset()

    assert second.get("/crm/v3/objects/contacts").status_code == 401
    assert tokens.refresh(refresh_token).status_code == 400
    shown = {
        each: admin(sandbox, "GET", each).json()["results"]
        for each in ("portals", "apps", "tokens")
    }
    assert [each["id"] for each in shown["portals"]] == [DEFAULT_PORTAL_ID]
    assert [each["id"] for each in shown["apps"]] == [DEFAULT_APP.id]
    assert [each["portal_id"] for each in shown["tokens"]] == [DEFAULT_PORTAL_ID]


def test_a_removed_portal_is_closed_to_its_tokens(sandbox: SandboxServer, second: HubSpot) -> None:
    assert admin(sandbox, "DELETE", "portals/77").status_code == 200

    assert second.get("/crm/v3/objects/contacts").json()["category"] == "INVALID_AUTHENTICATION"
    assert admin(sandbox, "DELETE", "portals/77").status_code == 404
    assert admin(sandbox, "DELETE", f"portals/{DEFAULT_PORTAL_ID}").status_code == 400
    assert admin(sandbox, "POST", "portals", {"id": 77}).status_code == 200
    assert second.get("/crm/v3/objects/contacts").status_code == 401


def test_a_person_uninstalls_an_app_without_telling_it(sandbox: SandboxServer) -> None:
    connector = Connector(sandbox.url)
    tokens = connector.connect()
    path = f"portals/{DEFAULT_PORTAL_ID}/apps/{DEFAULT_APP.id}"

    assert admin(sandbox, "DELETE", path).json() == {"revoked": 1}
    assert connector.refresh(tokens["refresh_token"]).json()["status"] == "BAD_REFRESH_TOKEN"


def test_a_token_may_be_given_and_may_expire(sandbox: SandboxServer) -> None:
    token = add_token(
        sandbox,
        portal_id=DEFAULT_PORTAL_ID,
        token="chosen-token",
        scopes=["tickets"],
        expires_in=60,
    )
    client = client_of(sandbox, token)

    assert token == "chosen-token"
    assert client.get("/crm/v3/objects/tickets").status_code == 200
    assert client.get("/crm/v3/objects/contacts").status_code == 403
    sandbox.sandbox.clock.offset_ms = 60_000
    assert client.get("/crm/v3/objects/tickets").json()["category"] == "EXPIRED_AUTHENTICATION"


def test_secrets_are_told_once(sandbox: SandboxServer) -> None:
    made = admin(sandbox, "POST", "apps", {"name": "Other"}).json()
    token = add_token(sandbox, portal_id=DEFAULT_PORTAL_ID)
    shown = "".join(admin(sandbox, "GET", each).text for each in ("apps", "tokens"))

    assert made["client_id"] in shown
    assert made["client_secret"] not in shown
    assert token not in shown
    assert DEFAULT_APP.client_secret not in repr(sandbox.sandbox.apps)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *(("portals", {"id": each}) for each in (DEFAULT_PORTAL_ID, -1, 2**31, "7", True, 1.5)),
        *(("portals", {"uiDomain": each}) for each in ("x", "a.b/c", "a b.c", "a.b:1", 7, {})),
        *(("portals", {"tier": each}) for each in ("GOLD", [])),
        *(("portals", {"name": each}) for each in ("", "n" * 201, [])),
        *(("portals", each) for each in ([], "x", None)),
        ("apps", {"id": DEFAULT_APP.id}),
        ("apps", {"client_id": DEFAULT_APP.client_id}),
        *(("apps", {"client_secret": each}) for each in ("", "short", "with a space", "é" * 9)),
        *(
            ("apps", {"redirect_uris": [each]})
            for each in (
                *("http://example.com/", "ftp://localhost/", "javascript:alert(1)", "//x", ""),
                *("https://a b/", "https://x/#fragment", "https://user@x/", "https://x;y/"),
                *("https://x:port/", "https://[::1/", "https://x/\n", "https://x/" + "a" * 2_000),
            )
        ),
        ("apps", {"redirect_uris": "https://example.com/"}),
        ("apps", {"scopes": ["a b"]}),
        *(("tokens", each) for each in ({}, {"portal_id": 8}, {"portal_id": "x"})),
        ("tokens", {"portal_id": DEFAULT_PORTAL_ID, "token": DEFAULT_TOKEN}),
        ("tokens", {"portal_id": DEFAULT_PORTAL_ID, "app_id": 9}),
        ("tokens", {"portal_id": DEFAULT_PORTAL_ID, "expires_in": -1}),
        ("tokens", {"portal_id": DEFAULT_PORTAL_ID, "scopes": "tickets"}),
        ("tokens", {"portal_id": DEFAULT_PORTAL_ID, "scopes": [{}]}),
    ],
)
def test_nonsense_is_refused(sandbox: SandboxServer, path: str, body: Any) -> None:
    assert admin(sandbox, "POST", path, body).status_code in (400, 404)


def test_portals_have_an_end(sandbox: SandboxServer) -> None:
    for portal_id in range(1, 100):
        sandbox.sandbox.open_portal(portal_id)

    assert admin(sandbox, "POST", "portals", {}).status_code == 400


def test_portals_apps_tokens_and_grants_come_back_from_the_state(
    sandbox: SandboxServer, second: HubSpot
) -> None:
    second.create("contacts", email=PERSON)
    body = {"name": "Nord", "uiDomain": "app-eu1.hubspot.com", "tier": "FREE"}
    portal_id = admin(sandbox, "POST", "portals", body).json()["id"]
    app = admin(
        sandbox, "POST", "apps", {"scopes": ["tickets"], "redirect_uris": ["https://x.example/"]}
    ).json()
    token = add_token(sandbox, portal_id=portal_id, app_id=app["id"], scopes=["tickets"])
    before = Connector(sandbox.url)
    tokens = before.exchange(before.code({"portal_id": "77"})).json()

    restored = Sandbox()
    restored.restore(sandbox.sandbox.serialize())
    with SandboxServer(port=0, sandbox=restored) as again:
        connector = Connector(again.url)
        assert connector.contacts(tokens["access_token"]).json()["results"][0]
        assert connector.refresh(tokens["refresh_token"]).json()["hub_id"] == 77
        details = client_of(again, token).get("/account-info/2026-09/details").json()
        assert (details["portalId"], details["uiDomain"]) == (portal_id, "app-eu1.hubspot.com")
        assert client_of(again, token).get("/crm/v3/objects/deals").status_code == 403
        listed = ("portals", "apps", "tokens")
        assert all(len(admin(again, "GET", each).json()["results"]) >= 2 for each in listed)
    assert restored.apps[app["id"]].client_secret == app["client_secret"]


def test_a_change_of_who_may_call_is_worth_a_save(sandbox: SandboxServer) -> None:
    revisions = [sandbox.sandbox.revision()]
    for path in ("portals", "apps"):
        admin(sandbox, "POST", path, {})
        revisions.append(sandbox.sandbox.revision())
    Connector(sandbox.url).look()
    admin(sandbox, "DELETE", f"portals/{DEFAULT_PORTAL_ID + 1}")
    revisions.append(sandbox.sandbox.revision())

    assert len(set(revisions)) == len(revisions)


def test_a_state_of_an_older_sandbox_knows_the_first_app(tmp_path: Path) -> None:
    older = Sandbox()
    older.restore(b'{"format": 1, "portals": [{"id": 44021307, "next_ids": {}}]}')

    assert older.tokens.keys() == {DEFAULT_TOKEN}
    assert older.portals[DEFAULT_PORTAL_ID].ui_domain == "app.hubspot.com"
    with pytest.raises(ValueError, match=r"it holds the portals \[5\], not 44021307"):
        older.restore(b'{"format": 1, "portals": [{"id": 5, "next_ids": {}}]}')
