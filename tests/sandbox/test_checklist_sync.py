"""Lines 1 to 8 of the checklist of what a faithful HubSpot must reproduce, clause by clause.

Each test is named after its line. What other files walk at length is touched here only.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

import pytest
import requests

from hubspot_sandbox import DEFAULT_PORTAL_ID, SandboxServer
from hubspot_sandbox.access import DEFAULT_APP
from hubspot_sandbox.object_types import ASSOCIATION_TYPES
from hubspot_sandbox.signatures import sign_v1, sign_v3
from hubspot_sandbox.webhook_routes import DEVELOPER_API_KEY

from .client import ASSOCIATIONS, OBJECTS, HubSpot
from .receiver import Receiver

Shape = dict[str, Any]
CONTACTS = f"{OBJECTS}/contacts"
DATED = ("2025-09", "2026-03", "2026-09", "2027-03-beta")
OAUTH_VERSIONS = ("v1", "v3", "2026-03", "2026-09")
VALIDATION = (400, "VALIDATION_ERROR")
REQUIRED = {
    "contacts": {"firstname": "Ada"},
    "companies": {"name": "Bletchley"},
    "deals": {"dealname": "Pilot", "dealstage": "qualifiedtobuy"},
    "tickets": {"subject": "Broken", "hs_pipeline_stage": "1"},
    "line_items": {"name": "Seat"},
    "products": {"name": "Seat"},
}
TYPE_IDS = {
    "contacts": "0-1",
    "companies": "0-2",
    "deals": "0-3",
    "tickets": "0-5",
    "products": "0-7",
    "line_items": "0-8",
}


def refusal(answer: requests.Response) -> tuple[int, str | None]:
    """The status and category of a refusal, whose envelope is checked."""
    body = answer.json()
    assert body["status"] == "error"
    assert body["message"]
    assert str(UUID(body["correlationId"])) == answer.headers["x-hubspot-correlation-id"]
    assert answer.headers["Content-Type"] == "application/json;charset=utf-8"
    return answer.status_code, body.get("category")


def said(answer: requests.Response) -> Shape:
    """The body of a refusal without its correlation id."""
    refusal(answer)
    return {name: value for name, value in answer.json().items() if name != "correlationId"}


def spec(type_id: int, category: str = "HUBSPOT_DEFINED") -> Shape:
    return {"associationCategory": category, "associationTypeId": type_id}


def pair(source: Shape, target: Shape, *type_ids: int) -> Shape:
    types = {"types": [spec(each) for each in type_ids]} if type_ids else {}
    return {"from": {"id": source["id"]}, "to": {"id": target["id"]}, **types}


def where(name: str, operator: str, value: str | None = None, **more: Any) -> Shape:
    return {"propertyName": name, "operator": operator, "value": value, **more}


# 1. Auth


class Connection:
    """What an OAuth app is given when a person lets it in."""

    def __init__(self, sandbox: SandboxServer, scope: str, version: str) -> None:
        self._url, self._version = sandbox.url, version
        redirect = DEFAULT_APP.redirect_uris[0]
        query = urlencode(
            {"client_id": DEFAULT_APP.client_id, "redirect_uri": redirect, "scope": scope}
        )
        consent = requests.post(
            f"{sandbox.url}/oauth/authorize?{query}",
            data={"action": "connect"},
            allow_redirects=False,
            timeout=5,
        )
        (code,) = parse_qs(urlsplit(consent.headers["Location"]).query)["code"]
        self.code = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        self.tokens = self.ask("token", **self.code).json()

    def ask(self, path: str, **form: str) -> requests.Response:
        own = {"client_id": DEFAULT_APP.client_id, "client_secret": DEFAULT_APP.client_secret}
        url = f"{self._url}/oauth/{self._version}/{path}"
        return requests.post(url, data={**own, **form}, timeout=5)

    def refresh(self, **changes: str) -> requests.Response:
        form = {"grant_type": "refresh_token", "refresh_token": self.tokens["refresh_token"]}
        return self.ask("token", **{**form, **changes})

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return requests.request(method, self._url + path, json=body, headers=headers, timeout=5)


@pytest.fixture
def connect(sandbox: SandboxServer) -> Callable[..., Connection]:
    def make(scope: str = "crm.objects.contacts.read", version: str = "2026-09") -> Connection:
        return Connection(sandbox, scope, version)

    return make


@pytest.mark.parametrize("token", ["", "Basic eA==", "Bearer", "Bearer pat-na1-unknown"])
def test_line_01_a_missing_or_unknown_token_is_401_invalid_authentication(
    sandbox: SandboxServer, token: str
) -> None:
    headers = {"Authorization": token} if token else {}
    answer = requests.get(sandbox.url + CONTACTS, headers=headers, timeout=5)

    assert refusal(answer) == (401, "INVALID_AUTHENTICATION")
    assert answer.json()["message"] == (
        "Authentication credentials not found. This API supports OAuth 2.0 authentication and you "
        "can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
    )


def test_line_01_an_access_token_is_401_expired_authentication_after_1800_seconds(
    sandbox: SandboxServer, connect: Callable[..., Connection]
) -> None:
    sandbox.sandbox.clock.freeze()
    try:
        app = connect()
        sandbox.advance(seconds=1_799)
        assert app.call("GET", CONTACTS).status_code == 200
        sandbox.advance(seconds=8)
        expired = app.call("GET", CONTACTS)
    finally:
        sandbox.sandbox.clock.freeze(False)

    assert refusal(expired) == (401, "EXPIRED_AUTHENTICATION")
    assert expired.json()["message"] == (
        "The OAuth token used to make this call expired 7 second(s) ago."
    )
    (moment,) = expired.json()["context"]["expire time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", moment)


@pytest.mark.parametrize(
    ("granted", "method", "path", "lacking"),
    [
        ("crm.objects.contacts.read", "POST", CONTACTS, ["crm.objects.contacts.write"]),
        ("crm.objects.contacts.write", "GET", CONTACTS, ["crm.objects.contacts.read"]),
        ("crm.objects.deals.read", "POST", f"{CONTACTS}/search", ["crm.objects.contacts.read"]),
        ("crm.objects.deals.read", "GET", f"{OBJECTS}/tickets", ["tickets"]),
        ("tickets", "GET", f"{OBJECTS}/deals", ["crm.objects.deals.read"]),
        ("tickets", "GET", "/crm/pipelines/2026-09/deals", ["crm.objects.deals.read"]),
        ("tickets", "GET", "/crm/owners/2026-09", ["crm.objects.owners.read"]),
        (
            "crm.objects.contacts.read",
            "GET",
            "/crm/properties/2026-09/contacts",
            ["crm.schemas.contacts.read"],
        ),
        (
            "crm.objects.deals.write",
            "POST",
            f"{ASSOCIATIONS}/deals/contacts/batch/create",
            ["crm.objects.contacts.write"],
        ),
    ],
)
def test_line_01_each_call_without_its_scope_is_403_missing_scopes(
    connect: Callable[..., Connection], granted: str, method: str, path: str, lacking: list[str]
) -> None:
    answer = connect(granted).call(method, path, {} if method == "POST" else None)

    assert refusal(answer) == (403, "MISSING_SCOPES")
    assert said(answer)["message"] == (
        "This app hasn't been granted all required scopes to make this call. Read more about "
        "required scopes here: https://developers.hubspot.com/scopes."
    )
    assert said(answer)["errors"] == [
        {
            "message": "One or more of the following scopes are required.",
            "context": {"requiredGranularScopes": lacking},
        }
    ]
    assert "scopes" in said(answer)["links"]


@pytest.mark.parametrize("version", OAUTH_VERSIONS)
def test_line_01_oauth_token_gives_refreshes_and_refuses_in_every_version(
    connect: Callable[..., Connection], version: str
) -> None:
    app = connect(version=version)
    given = app.tokens
    access, refresh = given.pop("access_token"), given["refresh_token"]
    assert 128 < len(access) <= 512
    assert given == {
        "refresh_token": refresh,
        "expires_in": 1800,
        "token_type": "bearer",
        "token_use": "access_token",
        "hub_id": DEFAULT_PORTAL_ID,
        "scopes": ["crm.objects.contacts.read", "oauth"],
        "user_id": given["user_id"],
    }
    again = app.refresh().json()
    assert again["refresh_token"] == refresh
    assert again["access_token"] != access
    app.tokens["access_token"] = access
    assert app.call("GET", CONTACTS).status_code == 200

    for changes, status, error in (
        ({"refresh_token": "x"}, "BAD_REFRESH_TOKEN", "invalid_grant"),
        ({"client_id": "x"}, "BAD_CLIENT_ID", "invalid_client"),
        ({"client_secret": "x"}, "BAD_CLIENT_SECRET", "invalid_client"),
        (app.code, "BAD_AUTH_CODE", "invalid_grant"),
    ):
        answer = app.refresh(**changes)
        # Of v1's refresh tokens an older spelling was seen.
        older = version == "v1" and status == "BAD_REFRESH_TOKEN"
        assert (answer.status_code, answer.json()["status"]) == (400, status)
        assert answer.json()["error"] == ("invalid_request" if older else error)


def test_line_01_after_a_revoke_the_refresh_is_invalid_grant_and_the_access_token_lives_on(
    connect: Callable[..., Connection],
) -> None:
    app = connect()
    assert app.ask("token/revoke", token=app.tokens["refresh_token"]).status_code == 200

    refused = app.refresh()
    assert refused.status_code == 400
    assert refused.json()["error"] == "invalid_grant"
    assert refused.json()["status"] == "BAD_REFRESH_TOKEN"
    assert refused.json()["error_description"] == "refresh token is invalid, expired or revoked"
    assert app.call("GET", CONTACTS).status_code == 200


def test_line_01_refresh_tokens_rotate_when_switched_on(
    sandbox: SandboxServer, connect: Callable[..., Connection]
) -> None:
    sandbox.sandbox.settings.rotate_refresh_tokens = True
    app = connect()
    rotated = app.refresh().json()["refresh_token"]

    assert rotated != app.tokens["refresh_token"]
    assert app.refresh().json()["status"] == "BAD_REFRESH_TOKEN"
    assert app.refresh(refresh_token=rotated).status_code == 200


# 2. Path families, type ids, versions


@pytest.mark.parametrize("name", TYPE_IDS)
def test_line_02_both_path_families_serve_a_record_by_name_and_by_type_id(
    hubspot: HubSpot, name: str
) -> None:
    record = hubspot.create(name, **REQUIRED[name])
    assert record["url"].endswith(
        f"/contacts/{DEFAULT_PORTAL_ID}/record/{TYPE_IDS[name]}/{record['id']}"
    )
    for version in ("v3", *DATED):
        objects = "/crm/v3/objects/{}" if version == "v3" else f"/crm/objects/{version}/{{}}"
        for key in (name, TYPE_IDS[name]):
            read = hubspot.get(f"{objects.format(key)}/{record['id']}")
            assert read.status_code == 200, (version, key)
            assert read.json()["id"] == record["id"]
            batch = hubspot.post(f"{objects.format(key)}/batch/read", {"inputs": [record]})
            assert batch.status_code == 200, (version, key)


def test_line_02_associations_are_v4_or_dated(hubspot: HubSpot, contact: Shape) -> None:
    company = hubspot.create("companies", name="Bletchley")
    hubspot.put(f"{CONTACTS}/{contact['id']}/associations/default/companies/{company['id']}")
    read = {"inputs": [{"id": contact["id"]}]}
    for base, of_record in (
        ("/crm/v4/associations", "/crm/v4/objects"),
        *((f"/crm/associations/{each}", f"/crm/objects/{each}") for each in DATED),
    ):
        listed = hubspot.get(f"{of_record}/0-1/{contact['id']}/associations/0-2")
        assert listed.json()["results"][0]["toObjectId"] == int(company["id"])
        batch = hubspot.post(f"{base}/contacts/companies/batch/read", read)
        assert batch.json()["results"][0]["to"] == listed.json()["results"]
    for path in ("/crm/v5/objects/contacts", "/crm/objects/2026-08/contacts"):
        assert said(hubspot.get(path)) == {"status": "error", "message": "resource not found"}


@pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])
def test_line_02_rules_warnings_and_account_details_are_as_the_version_has_them(
    sandbox: SandboxServer, hubspot: HubSpot, version: str
) -> None:
    newest = version == "2026-09"
    body = {
        "name": "birthday",
        "label": "Birthday",
        "type": "date",
        "fieldType": "date",
        "groupName": "contactinformation",
    }
    assert hubspot.post("/crm/v3/properties/contacts", body).status_code == 201
    rules = {"required": ["lastname"]}
    requests.put(f"{sandbox.url}/_sandbox/rules/contacts", json=rules, timeout=5)
    contacts = "/crm/v3/objects/contacts" if version == "v3" else f"/crm/objects/{version}/contacts"

    bare = hubspot.post(contacts, {"properties": {"firstname": "Ada"}})
    assert bare.status_code == (400 if newest else 201)
    named = {"lastname": "Okoye", "birthday": "1684914035320"}
    answer = hubspot.post(contacts, {"properties": named})
    if newest:
        assert answer.status_code == 201
        assert answer.json()["properties"]["birthday"] == "2023-05-24"
        assert answer.json()["warnings"] == [
            {
                "category": "PROPERTY_VALUE_NORMALIZED",
                "message": "birthday was normalized",
                "context": {
                    "propertyName": ["birthday"],
                    "rawValue": ["1684914035320"],
                    "normalizedValue": ["2023-05-24"],
                },
            }
        ]
    else:
        assert refusal(answer) == VALIDATION
        assert answer.json()["errors"][0]["code"] == "INVALID_DATE"
        assert answer.json()["errors"][0]["message"] == (
            "1684914035320 is at 7:40:35.320 UTC, not midnight!"
        )
    details = hubspot.get(f"/account-info/{version}/details").json()
    assert details["portalId"] == DEFAULT_PORTAL_ID
    assert ({"portalName", "createdAt"} <= details.keys()) is newest


def test_line_02_the_webhooks_api_has_another_prefix_in_some_versions(hubspot: HubSpot) -> None:
    by_prefix = {"webhooks": ("v3", "2026-03"), "app-webhooks": ("2025-09", "2026-09")}
    for prefix, versions in by_prefix.items():
        for version in ("v3", *DATED[:3]):
            path = f"/{prefix}/{version}/{DEFAULT_APP.id}/subscriptions"
            status = hubspot.get(path, hapikey=DEVELOPER_API_KEY).status_code
            assert status == (200 if version in versions else 404), path


# 3. Records


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("contacts", "createdate email firstname hs_object_id lastmodifieddate lastname"),
        ("companies", "createdate domain hs_lastmodifieddate hs_object_id name"),
        (
            "deals",
            "amount closedate createdate dealname dealstage hs_lastmodifieddate hs_object_id"
            " pipeline",
        ),
        (
            "tickets",
            "content createdate hs_lastmodifieddate hs_object_id hs_pipeline hs_pipeline_stage"
            " hs_ticket_category hs_ticket_priority subject",
        ),
        ("line_items", "amount createdate hs_lastmodifieddate hs_object_id price quantity"),
    ],
)
def test_line_03_a_read_gives_the_default_set_or_the_asked_and_system_properties(
    hubspot: HubSpot, name: str, default: str
) -> None:
    record = hubspot.create(name, **REQUIRED[name])
    path = f"{OBJECTS}/{name}/{record['id']}"
    assert hubspot.get(path).json()["properties"].keys() == set(default.split())

    modified = "lastmodifieddate" if name == "contacts" else "hs_lastmodifieddate"
    asked = hubspot.get(path, properties="hubspot_owner_id,nonsense").json()
    assert asked["properties"] == {
        "hubspot_owner_id": None,
        "hs_object_id": record["id"],
        "createdate": record["createdAt"],
        modified: record["updatedAt"],
    }


def test_line_03_create_is_201_with_location_and_every_set_value_as_text(hubspot: HubSpot) -> None:
    owner = hubspot.get("/crm/owners/2026-09").json()["results"][0]["id"]
    sent = {"dealname": "Pilot", "dealstage": "closedwon", "amount": 1250.5}
    answer = hubspot.post(
        f"{OBJECTS}/deals", {"properties": {**sent, "hubspot_owner_id": int(owner)}}
    )
    record = answer.json()

    assert answer.status_code == 201
    assert urlsplit(answer.headers["Location"]).path == f"{OBJECTS}/deals/{record['id']}"
    assert (
        record["properties"].items()
        >= {
            "amount": "1250.5",
            "hs_is_closed": "true",
            "hs_is_closed_won": "true",
            "pipeline": "default",
            "hubspot_owner_id": owner,
            "hs_object_id": record["id"],
            "hs_object_source": "INTEGRATION",
            "hs_object_source_id": str(DEFAULT_APP.id),
        }.items()
    )
    assert {type(value) for value in record["properties"].values()} == {str}
    assert {type(record["id"]), type(record["archived"])} == {str, bool}


@pytest.mark.parametrize("name", ["contacts", "companies"])
def test_line_03_a_new_contact_or_company_is_a_lead_in_the_lifecycles_pipeline(
    hubspot: HubSpot, name: str
) -> None:
    properties = hubspot.create(name, **REQUIRED[name])["properties"]
    assert properties["lifecyclestage"] == "lead"
    assert properties["hs_pipeline"] == f"{name}-lifecycle-pipeline"

    given = hubspot.create(name, **REQUIRED[name], lifecyclestage="subscriber")
    assert given["properties"]["lifecyclestage"] == "subscriber"


@pytest.mark.parametrize(
    ("name", "refused", "accepted"),
    [
        ("contacts", {"phone": "1"}, [{"email": "a@b.example"}, {"lastname": "A"}]),
        ("companies", {"phone": "1"}, [{"domain": "b.example"}, {"name": "B"}]),
        ("deals", {"dealname": "D"}, [{"dealname": "D", "dealstage": "closedlost"}]),
        ("tickets", {"subject": "T"}, [{"subject": "T", "hs_pipeline_stage": "4"}]),
    ],
)
def test_line_03_a_new_record_needs_what_its_type_requires(
    hubspot: HubSpot, name: str, refused: Shape, accepted: list[Shape]
) -> None:
    path = f"{OBJECTS}/{name}"
    for properties in (refused, {}):
        assert refusal(hubspot.post(path, {"properties": properties})) == VALIDATION
    for properties in accepted:
        assert hubspot.post(path, {"properties": properties}).status_code == 201


def test_line_03_times_are_iso_with_milliseconds_unless_they_are_zero_and_move_with_each_write(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    clock = sandbox.sandbox.clock
    clock.freeze()
    try:
        clock.set_now(1_705_521_304_281)
        made = hubspot.create("contacts", firstname="Ada")
        clock.set_now(1_705_521_305_000)
        path = f"{CONTACTS}/{made['id']}"
        changed = hubspot.patch(path, {"properties": {"firstname": "Ada"}}).json()
    finally:
        clock.freeze(False)
        clock.set_offset(0)

    assert made["createdAt"] == made["updatedAt"] == "2024-01-17T19:55:04.281Z"
    assert changed["createdAt"] == changed["properties"]["createdate"] == made["createdAt"]
    assert changed["updatedAt"] == "2024-01-17T19:55:05Z"
    assert changed["properties"]["lastmodifieddate"] == "2024-01-17T19:55:05Z"


def test_line_03_patch_by_id_property_and_the_empty_text_clears(
    hubspot: HubSpot, contact: Shape
) -> None:
    body = {"properties": {"lastname": "", "city": "Lagos"}}
    changed = hubspot.patch(f"{CONTACTS}/ADA@example.com", body, idProperty="email")
    assert changed.status_code == 200
    assert "lastname" not in changed.json()["properties"]

    read = hubspot.get(
        f"{CONTACTS}/ada@Example.com", idProperty="email", properties="lastname,city"
    )
    assert (read.json()["id"], read.json()["properties"]["lastname"]) == (contact["id"], None)
    assert read.json()["properties"]["city"] == "Lagos"
    unknown = {"status": "error", "message": "resource not found"}
    for key, id_property in (("nobody@example.com", "email"), ("1", "nonsense"), ("1", None)):
        query = {"idProperty": id_property} if id_property else {}
        assert said(hubspot.get(f"{CONTACTS}/{key}", **query)) == unknown
        assert hubspot.get(f"{CONTACTS}/{key}", **query).status_code == 404
    assert said(hubspot.get(f"{CONTACTS}/abc")) == {
        "status": "error",
        "message": "Object not found.  objectId are usually numeric.",
        "category": "OBJECT_NOT_FOUND",
        "context": {"id": ["abc"]},
    }


def test_line_03_archive_is_204_and_shows_only_to_archived_true(
    hubspot: HubSpot, contact: Shape
) -> None:
    path = f"{CONTACTS}/{contact['id']}"
    assert hubspot.get(path, archived="true").status_code == 404
    for _ in range(2):
        gone = hubspot.delete(path)
        assert (gone.status_code, gone.content) == (204, b"")
    assert refusal(hubspot.get(path)) == (404, None)
    assert refusal(hubspot.patch(path, {"properties": {"firstname": "A"}})) == (404, None)
    assert hubspot.get(CONTACTS).json()["results"] == []

    for shown in (
        hubspot.get(path, archived="true").json(),
        hubspot.get(CONTACTS, archived="true").json()["results"][0],
    ):
        assert shown["archived"] is True
        assert shown["archivedAt"] >= shown["createdAt"]


def test_line_03_a_list_pages_by_record_id_to_a_hundred_or_fifty_with_history(
    hubspot: HubSpot,
) -> None:
    ids = sorted(int(hubspot.create("contacts", firstname="A")["id"]) for _ in range(12))
    page = hubspot.get(CONTACTS).json()
    assert len(page["results"]) == 10
    assert page["paging"]["next"]["after"] == str(ids[10])
    last = hubspot.get(CONTACTS, after=str(ids[10])).json()
    assert [int(each["id"]) for each in last["results"]] == ids[10:]
    assert "paging" not in last

    for limit, history, status in (
        *((100, "", 200), (101, "", 400), (0, "", 400)),
        *((50, "firstname", 200), (51, "firstname", 400)),
    ):
        answer = hubspot.get(CONTACTS, limit=limit, propertiesWithHistory=history)
        assert answer.status_code == status, limit


# 4. Identity


def test_line_04_emails_are_stored_and_compared_in_lower_case(hubspot: HubSpot) -> None:
    made = hubspot.create("contacts", email=" Ada@Example.COM ")
    assert made["properties"]["email"] == "ada@example.com"

    answer = hubspot.post(CONTACTS, {"properties": {"email": "ADA@example.com"}})
    assert answer.status_code == 409
    assert said(answer) == {
        "status": "error",
        "message": f"Contact already exists. Existing ID: {made['id']}",
        "category": "CONFLICT",
    }


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ({"email": "a@b.example"}, {"email": "A@b.example"}),
        ({"hs_additional_emails": "x@b.example;a@b.example"}, {"email": "a@b.example"}),
        ({"email": "a@b.example"}, {"hs_additional_emails": "y@b.example;A@B.example"}),
        ({"hs_additional_emails": "a@b.example"}, {"hs_additional_emails": "a@b.example"}),
    ],
)
@pytest.mark.parametrize("names_id", [True, False])
def test_line_04_an_address_is_unique_among_first_and_additional_ones_with_the_id_or_without(
    sandbox: SandboxServer, hubspot: HubSpot, held: Shape, wanted: Shape, names_id: bool
) -> None:
    sandbox.sandbox.settings.conflict_names_id = names_id
    holder = hubspot.create("contacts", firstname="Ada", **held)
    other = hubspot.create("contacts", firstname="Bo")
    body = {"properties": {"firstname": "Cy", **wanted}}
    message = "Contact already exists" + (f". Existing ID: {holder['id']}" if names_id else "")

    for answer in (
        hubspot.post(CONTACTS, body),
        hubspot.patch(f"{CONTACTS}/{other['id']}", body),
        hubspot.batch("contacts", "create", body),
        hubspot.batch("contacts", "update", {"id": other["id"], **body}),
    ):
        assert refusal(answer) == (409, "CONFLICT")
        assert answer.json()["message"] == message
    assert hubspot.found("contacts", where("email", "EQ", "a@b.example")) == (
        [holder["id"]] if held == {"email": "a@b.example"} else []
    )


def test_line_04_a_unique_property_identifies_and_is_refused_twice(
    hubspot: HubSpot, unique_property: str
) -> None:
    made = hubspot.create("deals", **REQUIRED["deals"], **{unique_property: "U1"})
    read = hubspot.get(f"{OBJECTS}/deals/U1", idProperty=unique_property)
    assert read.json()["id"] == made["id"]

    again = hubspot.post(
        f"{OBJECTS}/deals", {"properties": {**REQUIRED["deals"], unique_property: "U1"}}
    )
    assert refusal(again) == VALIDATION
    assert again.json()["errors"][0]["code"] == "CONFLICTING_UNIQUE_VALUE"
    refused = hubspot.get(f"{OBJECTS}/deals/Pilot", idProperty="dealname")
    assert refused.json()["message"] == (
        "Unable to perform update/upsert by non-unique 0-3 property dealname"
    )


def test_line_04_companies_of_one_domain_are_as_many_as_one_likes(hubspot: HubSpot) -> None:
    ids = {hubspot.create("companies", domain="b.example")["id"] for _ in range(3)}

    assert len(ids) == 3


def test_line_04_an_upsert_whose_email_belongs_to_another_contact_is_409_for_all(
    hubspot: HubSpot, unique_property: str, contact: Shape
) -> None:
    rows = [("U1", "new@b.example"), ("U2", "ada@example.com")]
    inputs = [
        {"id": key, "idProperty": unique_property, "properties": {"email": email}}
        for key, email in rows
    ]

    assert refusal(hubspot.batch("contacts", "upsert", *inputs)) == (409, "CONFLICT")
    assert hubspot.found("contacts") == [contact["id"]]


# 5. Batches


@pytest.mark.parametrize("action", ["create", "read", "update", "upsert", "archive"])
def test_line_05_a_batch_has_a_hundred_inputs_at_most_and_one_at_least(
    hubspot: HubSpot, action: str, unique_property: str
) -> None:
    def inputs(count: int) -> list[Shape]:
        by = {"idProperty": unique_property} if action == "upsert" else {}
        ids = [{"id": str(each), **by} for each in range(1, count + 1)]
        return [{**each, "properties": {"firstname": "A"}} for each in ids]

    allowed = {"create": 201, "read": 207, "update": 207, "upsert": 200, "archive": 204}
    assert hubspot.batch("contacts", action, *inputs(100)).status_code == allowed[action]
    assert refusal(hubspot.batch("contacts", action, *inputs(101))) == VALIDATION
    assert refusal(hubspot.batch("contacts", action)) == VALIDATION


def test_line_05_a_read_with_history_has_fifty_inputs_at_most(hubspot: HubSpot) -> None:
    inputs = [{"id": str(each)} for each in range(1, 52)]
    history = {"propertiesWithHistory": ["firstname"]}
    assert hubspot.batch("contacts", "read", *inputs[:50], **history).status_code == 207

    refused = hubspot.batch("contacts", "read", *inputs, **history)
    assert refusal(refused) == VALIDATION
    assert refused.json()["message"] == (
        "The maximum number of inputs supported in a batch request for property histories is 50"
    )


@pytest.mark.parametrize("action", ["create", "upsert"])
def test_line_05_without_trace_ids_all_or_nothing_and_with_them_207(
    hubspot: HubSpot, unique_property: str, action: str
) -> None:
    values = [{"firstname": "A"}, {"firstname": "B", "nonsense": "1"}, {"firstname": "C"}]
    inputs: list[Shape] = [{"properties": each} for each in values]
    if action == "upsert":
        for number, each in enumerate(inputs):
            each |= {"id": f"U{number}", "idProperty": unique_property}
    refused = hubspot.batch("contacts", action, *inputs)
    assert refusal(refused) == VALIDATION
    for traces in (["t", "t", "t"], ["t1", None, "t3"]):
        unsound = [
            {**each, "objectWriteTraceId": trace}
            for each, trace in zip(inputs, traces, strict=True)
        ]
        assert hubspot.batch("contacts", action, *unsound).status_code == 400
    assert hubspot.found("contacts") == []

    traced = [{**each, "objectWriteTraceId": f"t{at}"} for at, each in enumerate(inputs)]
    answer = hubspot.batch("contacts", action, *traced)
    body = answer.json()
    assert answer.status_code == 207
    assert {"status", "results", "startedAt", "completedAt", "numErrors", "errors"} <= body.keys()
    assert body["status"] == "COMPLETE"
    assert {each["objectWriteTraceId"] for each in body["results"]} == {"t0", "t2"}
    (error,) = body["errors"]
    assert (error["status"], error["category"]) == ("error", "VALIDATION_ERROR")
    assert error["context"]["objectWriteTraceId"] == ["t1"]
    assert body["numErrors"] == 1
    assert len(hubspot.found("contacts")) == 2


@pytest.mark.parametrize("traced", [False, True])
def test_line_05_duplicate_ids_are_400_with_trace_ids_or_without(
    hubspot: HubSpot, contact: Shape, traced: bool
) -> None:
    def inputs(*keys: str, **more: str) -> list[Shape]:
        return [
            {
                "id": key,
                "properties": {"city": "Lagos"},
                **more,
                **({"objectWriteTraceId": str(at)} if traced else {}),
            }
            for at, key in enumerate(keys)
        ]

    twice = hubspot.batch("contacts", "update", *inputs(contact["id"], contact["id"]))
    assert said(twice) == {
        "status": "error",
        "message": f"Duplicate IDs found in batch input: [{contact['id']}]. IDs must be unique",
        "context": {"ids": [contact["id"]]},
        "category": "VALIDATION_ERROR",
    }
    emails = inputs("ada@example.com", "ADA@Example.com", idProperty="email")
    refused = hubspot.batch("contacts", "upsert", *emails)
    assert refusal(refused) == VALIDATION
    assert refused.json()["context"] == {"ids": ["ada@example.com"]}


def test_line_05_results_come_in_another_order_and_an_upsert_says_new(
    hubspot: HubSpot, contact: Shape
) -> None:
    emails = ["ada@example.com", *(f"a{each}@b.example" for each in range(9))]
    inputs = [
        {"id": each.upper(), "idProperty": "email", "properties": {"firstname": "A"}}
        for each in emails
    ]
    answer = hubspot.batch("contacts", "upsert", *inputs)
    told = [(each["properties"]["email"], each["new"]) for each in answer.json()["results"]]

    assert answer.status_code == 200
    assert dict(told) == {each: each != "ada@example.com" for each in emails}
    assert [email for email, _ in told] != emails
    for refused, status in (
        ({"id": "x", "properties": {}}, 404),
        ({"id": "x", "idProperty": "nonsense", "properties": {}}, 404),
        ({"id": "x", "idProperty": "city", "properties": {}}, 400),
    ):
        assert hubspot.batch("contacts", "upsert", refused).status_code == status


def test_line_05_unknown_ids_are_errors_of_a_207_and_archiving_is_204_whatever_the_state(
    hubspot: HubSpot, contact: Shape
) -> None:
    gone = hubspot.create("contacts", firstname="B")
    keys = [{"id": contact["id"]}, {"id": gone["id"]}, {"id": "1"}]
    for _ in range(2):
        assert hubspot.batch("contacts", "archive", *keys[1:]).status_code == 204

    read = hubspot.batch("contacts", "read", *keys, properties=["city"])
    assert read.status_code == 207
    assert [each["id"] for each in read.json()["results"]] == [contact["id"]]
    (error,) = read.json()["errors"]
    assert sorted(error.pop("context")["ids"]) == sorted([gone["id"], "1"])
    assert error == {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": "Could not get some CONTACT objects, they may be deleted or not exist. "
        "Check that ids are valid.",
    }


# 6. Search


@pytest.mark.parametrize("lag", [5, 60])
def test_line_06_the_index_lags_behind_what_is_created_and_changed(
    sandbox: SandboxServer, hubspot: HubSpot, lag: int
) -> None:
    sandbox.sandbox.settings.index_lag_ms = lag * 1000
    made = hubspot.create("contacts", firstname="Ada")
    assert hubspot.found("contacts") == []
    sandbox.advance(seconds=lag)
    assert hubspot.found("contacts") == [made["id"]]

    hubspot.patch(f"{CONTACTS}/{made['id']}", {"properties": {"firstname": "Grace"}})
    assert hubspot.found("contacts", where("firstname", "EQ", "ada")) == [made["id"]]
    sandbox.advance(seconds=lag)
    assert hubspot.found("contacts", where("firstname", "EQ", "ada")) == []
    hubspot.delete(f"{CONTACTS}/{made['id']}")
    assert hubspot.found("contacts") == []


def test_line_06_the_index_lags_by_two_to_five_seconds_unless_told_otherwise() -> None:
    assert 2_000 <= SandboxServer().sandbox.settings.index_lag_ms <= 5_000


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        (where("city", "EQ", "NEW YORK"), True),
        (where("city", "IN", values=["new york"]), True),
        (where("city", "IN", values=["New York"]), False),
        (where("city", "NOT_IN", values=["new york"]), False),
        (where("city", "CONTAINS_TOKEN", "yo*"), True),
        (where("city", "NOT_CONTAINS_TOKEN", "york"), False),
        (where("city", "HAS_PROPERTY"), True),
        (where("state", "NOT_HAS_PROPERTY"), True),
        (where("hs_lead_status", "EQ", "NEW"), True),
        (where("hs_lead_status", "EQ", "new"), False),
        (where("hs_lead_status", "IN", values=["new"]), False),
        (where("annualrevenue", "BETWEEN", "9", highValue="100"), True),
        (where("annualrevenue", "GT", "100"), False),
        (where("lastmodifieddate", "GTE", "1000000000000"), True),
        (where("createdate", "LT", "1000000000000"), False),
        (where("hs_lastmodifieddate", "GT", "0"), False),
    ],
)
def test_line_06_operators_compare_by_their_case_rules(
    hubspot: HubSpot, condition: Shape, matches: bool
) -> None:
    made = hubspot.create(
        "contacts", city="New York", firstname="A", hs_lead_status="NEW", annualrevenue="100"
    )

    assert hubspot.found("contacts", condition) == ([made["id"]] if matches else [])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"limit": 200}, 200),
        ({"limit": 201}, 400),
        ({"limit": 200, "after": "9800"}, 200),
        ({"limit": 200, "after": "9801"}, 400),
        ({"after": "10000"}, 400),
        ({"after": "x"}, 400),
        ({"sorts": ["firstname"]}, 200),
        ({"sorts": [{"propertyName": "city", "direction": "DESCENDING"}]}, 200),
        ({"sorts": ["firstname", "city"]}, 400),
        ({"filterGroups": [{"filters": [where("city", "HAS_PROPERTY")]}] * 5}, 200),
        ({"filterGroups": [{"filters": [where("city", "HAS_PROPERTY")]}] * 6}, 400),
        ({"filterGroups": [{"filters": [where("city", "HAS_PROPERTY")] * 6}] * 3}, 200),
        ({"filterGroups": [{"filters": [where("city", "HAS_PROPERTY")] * 7}]}, 400),
        ({"filterGroups": [{"filters": [where("city", "HAS_PROPERTY")] * 5}] * 4}, 400),
        ({"filters": [where("city", "HAS_PROPERTY")]}, 200),
        ({"query": "x" * 2_980}, 200),
        ({"query": "x" * 3_000}, 400),
        ({"filters": [where("city", "EQ")]}, 400),
        ({"filters": [where("nonsense", "EQ", "1")]}, 400),
        ({"filters": [where("city", "LIKE", "1")]}, 400),
    ],
)
def test_line_06_a_search_keeps_to_its_limits(hubspot: HubSpot, body: Shape, status: int) -> None:
    answer = hubspot.post(f"{CONTACTS}/search", body)

    assert answer.status_code == status, answer.text
    if status == 400:
        refusal(answer)


def test_line_06_in_without_values_is_refused_in_hubspots_words(hubspot: HubSpot) -> None:
    answer = hubspot.search("contacts", {"propertyName": "city", "operator": "IN", "value": "x"})

    assert answer.status_code == 400
    assert re.fullmatch(
        r"Invalid input JSON on line \d+, column \d+: operator IN requires values",
        said(answer)["message"],
    )


def test_line_06_pages_are_offsets_in_order_of_creation_with_the_total(hubspot: HubSpot) -> None:
    ids = [hubspot.create("contacts", firstname=f"A{each}")["id"] for each in range(12)]
    first = hubspot.search("contacts").json()
    assert (first["total"], len(first["results"])) == (12, 10)
    assert first["paging"] == {"next": {"after": "10"}}
    second = hubspot.search("contacts", after="10").json()
    assert [each["id"] for each in (*first["results"], *second["results"])] == ids
    assert "paging" not in second
    backwards = [{"propertyName": "hs_object_id", "direction": "DESCENDING"}]
    assert hubspot.found("contacts", sorts=backwards) == ids[:1:-1]


def test_line_06_searches_have_five_a_second_of_their_own_and_no_headers(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    settings = sandbox.sandbox.settings
    settings.limit_search, settings.limit_ten_secondly, settings.limit_daily = 5, 190, 625_000
    sandbox.sandbox.clock.freeze()
    try:
        answers = [hubspot.search(name) for name in ("contacts", "deals", *["tickets"] * 4)]
        read = hubspot.get(CONTACTS)
        sandbox.advance(seconds=1)
        later = hubspot.search("contacts")
    finally:
        sandbox.sandbox.clock.freeze(False)

    assert [each.status_code for each in answers] == [200] * 5 + [429]
    assert answers[-1].json()["message"] == "You have reached your secondly limit."
    assert "Retry-After" not in answers[-1].headers
    assert (
        not {"X-HubSpot-RateLimit-Max", "X-HubSpot-RateLimit-Remaining"} & answers[0].headers.keys()
    )
    assert (read.status_code, later.status_code) == (200, 200)
    assert read.headers["X-HubSpot-RateLimit-Remaining"] == "189"


def test_line_06_a_search_finds_by_association_and_no_archived_record(
    hubspot: HubSpot, contact: Shape, make_deal: Callable[..., Shape]
) -> None:
    other = hubspot.create("contacts", firstname="Bo")
    deals = [make_deal() for _ in range(3)]
    for deal, person in zip(deals, (contact, contact, other), strict=True):
        hubspot.put(f"{OBJECTS}/deals/{deal['id']}/associations/default/contacts/{person['id']}")
    hubspot.delete(f"{OBJECTS}/deals/{deals[1]['id']}")
    by_contact = where("associations.contact", "EQ", contact["id"])

    assert hubspot.found("deals", by_contact) == [deals[0]["id"]]
    assert hubspot.found("deals") == [deals[0]["id"], deals[2]["id"]]


# 7. Associations


@pytest.mark.parametrize(
    ("ends", "ids"),
    [
        (("contacts", "companies"), (279, 280)),
        (("contacts", "companies"), (1, 2)),
        (("deals", "companies"), (341, 342)),
        (("deals", "companies"), (5, 6)),
        (("tickets", "companies"), (339, 340)),
        (("tickets", "companies"), (26, 25)),
        (("contacts", "deals"), (4, 3)),
        (("contacts", "tickets"), (15, 16)),
        (("deals", "tickets"), (27, 28)),
        (("deals", "line_items"), (19, 20)),
        (("companies", "companies"), (13, 14)),
        (("contacts", "contacts"), (449, 449)),
        (("companies", "companies"), (450, 450)),
        (("deals", "deals"), (451, 451)),
        (("tickets", "tickets"), (452, 452)),
    ],
)
def test_line_07_every_type_id_works_in_its_direction_and_shows_in_the_other(
    hubspot: HubSpot, ends: tuple[str, str], ids: tuple[int, int]
) -> None:
    here, there = (hubspot.create(name, **REQUIRED[name]) for name in ends)
    inline = {"to": {"id": there["id"]}, "types": [spec(ids[0])]}
    body = {"properties": REQUIRED[ends[0]], "associations": [inline]}
    assert hubspot.post(f"{OBJECTS}/{ends[0]}", body).status_code == 201
    base = f"{ASSOCIATIONS}/{ends[0]}/{ends[1]}/batch"
    if ids not in ((19, 20), (13, 14)):  # The other end of those is taken by now.
        created = hubspot.post(f"{base}/create", {"inputs": [pair(here, there, ids[0])]})
        assert created.status_code == 201, created.text
        (row,) = created.json()["results"]
        assert (row["fromObjectId"], row["toObjectId"]) == (int(here["id"]), int(there["id"]))
    back = hubspot.get(f"{OBJECTS}/{ends[1]}/{there['id']}/associations/{ends[0]}").json()
    shown = [each["associationTypes"] for each in back["results"]]

    assert all(ids[1] in [each["typeId"] for each in types] for types in shown)
    unlabelled = [each for types in shown for each in types if each["label"] is None]
    assert len(unlabelled) == len(shown) > 0
    assert {each["category"] for types in shown for each in types} == {"HUBSPOT_DEFINED"}
    if ids[0] != ids[1]:
        wrong = hubspot.post(f"{base}/create", {"inputs": [pair(here, there, 999_999)]})
        assert refusal(wrong) == VALIDATION


def test_line_07_no_other_type_id_exists() -> None:
    assert ASSOCIATION_TYPES.keys() == {
        *(1, 2, 279, 280, 5, 6, 341, 342, 26, 25, 339, 340, 4, 3, 15, 16, 27, 28, 19, 20),
        *(13, 14, 449, 450, 451, 452),
    }


@pytest.fixture
def companies(hubspot: HubSpot) -> list[Shape]:
    return [hubspot.create("companies", name=each) for each in ("Bletchley", "Hut 8", "Hut 6")]


def types_of(hubspot: HubSpot, source: str, record: Shape, target: str) -> dict[int, set[int]]:
    """The type ids by the numbers of the associated records."""
    listed = hubspot.get(f"{OBJECTS}/{source}/{record['id']}/associations/{target}").json()
    return {
        each["toObjectId"]: {of["typeId"] for of in each["associationTypes"]}
        for each in listed["results"]
    }


def test_line_07_a_primary_implies_the_unlabelled_one_and_is_one_per_record(
    hubspot: HubSpot, contact: Shape, companies: list[Shape]
) -> None:
    first, second = (int(each["id"]) for each in companies[:2])
    path = f"{CONTACTS}/{contact['id']}/associations/companies"
    answer = hubspot.put(f"{path}/{first}", [spec(1)])
    assert answer.status_code == 201
    assert answer.json() == {
        "fromObjectTypeId": "0-1",
        "fromObjectId": int(contact["id"]),
        "toObjectTypeId": "0-2",
        "toObjectId": first,
        "labels": ["Primary"],
    }
    assert types_of(hubspot, "contacts", contact, "companies") == {first: {1, 279}}
    hubspot.put(f"{path}/{second}", [spec(1)])
    assert types_of(hubspot, "contacts", contact, "companies") == {first: {279}, second: {1, 279}}
    (labels,) = {
        each["label"]
        for row in hubspot.get(path).json()["results"]
        for each in row["associationTypes"]
        if each["typeId"] == 1
    }
    assert labels == "Primary"


def test_line_07_a_put_replaces_labels_and_a_delete_removes_all(
    hubspot: HubSpot, contact: Shape, companies: list[Shape]
) -> None:
    label = {"name": "partner", "label": "Partner"}
    (own, _) = hubspot.post(f"{ASSOCIATIONS}/contacts/companies/labels", label).json()["results"]
    company = int(companies[0]["id"])
    path = f"{CONTACTS}/{contact['id']}/associations/companies/{company}"
    mine = spec(own["typeId"], "USER_DEFINED")

    hubspot.put(path, [mine, spec(1)])
    assert types_of(hubspot, "contacts", contact, "companies") == {company: {1, 279, own["typeId"]}}
    hubspot.put(path, [mine])
    assert types_of(hubspot, "contacts", contact, "companies") == {company: {279, own["typeId"]}}
    assert hubspot.put(path, [spec(own["typeId"])]).status_code == 400
    assert hubspot.delete(path).status_code == 204
    assert types_of(hubspot, "contacts", contact, "companies") == {}
    for _ in range(2):
        again = hubspot.put(path.replace("associations/", "associations/default/"))
        assert (again.status_code, again.json()["status"]) == (200, "COMPLETE")


def test_line_07_a_batch_read_mixes_texts_and_numbers_and_lists_who_has_none_in_a_207(
    hubspot: HubSpot, make_deal: Callable[..., Shape], companies: list[Shape]
) -> None:
    deal, lonely = make_deal(), make_deal()
    hubspot.post(
        f"{ASSOCIATIONS}/deals/companies/batch/create", {"inputs": [pair(deal, companies[0], 5)]}
    )
    read = f"{ASSOCIATIONS}/deals/companies/batch/read"
    assert hubspot.post(read, {"inputs": [{"id": deal["id"]}]}).status_code == 200
    answer = hubspot.post(read, {"inputs": [{"id": deal["id"]}, {"id": lonely["id"]}]})
    body = answer.json()

    assert answer.status_code == 207
    assert body["results"] == [
        {
            "from": {"id": deal["id"]},
            "to": [
                {
                    "toObjectId": int(companies[0]["id"]),
                    "associationTypes": [
                        {"category": "HUBSPOT_DEFINED", "typeId": 341, "label": None},
                        {"category": "HUBSPOT_DEFINED", "typeId": 5, "label": "Primary"},
                    ],
                }
            ],
        }
    ]
    assert body["numErrors"] == 1
    assert body["errors"] == [
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


def test_line_07_associations_page_at_500_and_batches_have_their_sizes(
    hubspot: HubSpot, companies: list[Shape]
) -> None:
    people = [
        each
        for _ in range(6)
        for each in hubspot.batch(
            "contacts", "create", *[{"properties": {"firstname": "A"}}] * 100
        ).json()["results"]
    ][:501]
    base, company = f"{ASSOCIATIONS}/companies/contacts/batch", companies[0]
    inputs = [pair(company, each) for each in people]
    assert hubspot.post(f"{base}/associate/default", {"inputs": inputs}).status_code == 200

    path = f"{OBJECTS}/companies/{company['id']}/associations/contacts"
    page = hubspot.get(path).json()
    assert len(page["results"]) == 500
    after = page["paging"]["next"]["after"]
    assert len(hubspot.get(path, after=after).json()["results"]) == 1
    assert hubspot.get(path, limit=501).status_code == 400
    (row,) = hubspot.post(f"{base}/read", {"inputs": [{"id": company["id"]}]}).json()["results"]
    assert len(row["to"]) == 500
    following = {"inputs": [{"id": company["id"], "after": row["paging"]["next"]["after"]}]}
    (row,) = hubspot.post(f"{base}/read", following).json()["results"]
    assert len(row["to"]) == 1
    assert "paging" not in row

    for action, size in (("read", 1_000), ("create", 2_000), ("archive", 100)):
        too_many = {"inputs": [{"id": "1"}] * (size + 1)}
        assert refusal(hubspot.post(f"{base}/{action}", too_many)) == VALIDATION, action


def test_line_07_a_wrong_direction_and_unknown_targets_are_refused_in_hubspots_words(
    hubspot: HubSpot, contact: Shape, make_deal: Callable[..., Shape]
) -> None:
    deal, item = make_deal(), hubspot.create("line_items", name="Seat")
    wrong = hubspot.post(
        f"{ASSOCIATIONS}/line_items/deals/batch/create", {"inputs": [pair(item, deal, 19)]}
    )
    assert refusal(wrong) == VALIDATION
    assert wrong.json()["message"] == (
        "invalid from object type 0-8 for associations to be created. expected: 0-3"
    )

    inline = {"to": {"id": "123"}, "types": [spec(3)]}
    unknown = hubspot.post(
        f"{OBJECTS}/deals", {"properties": REQUIRED["deals"], "associations": [inline]}
    )
    assert refusal(unknown) == VALIDATION
    assert unknown.json()["message"] == "One or more associations are invalid"
    assert unknown.json()["context"] == {
        "INVALID_OBJECT_IDS": ["CONTACT=123 is not valid"],
        "objectId": ["123"],
        "objectType": ["CONTACT"],
    }
    assert hubspot.found("deals") == [deal["id"]]


def test_line_07_a_line_item_has_one_deal_and_a_company_one_parent(
    hubspot: HubSpot, make_deal: Callable[..., Shape], companies: list[Shape]
) -> None:
    item, deals = hubspot.create("line_items", name="Seat"), [make_deal(), make_deal()]
    sibling = f"{OBJECTS}/companies/{companies[0]['id']}/associations/default/companies"
    assert hubspot.put(f"{sibling}/{companies[2]['id']}").status_code == 200
    for ends, source, targets, type_id in (
        (("line_items", "deals"), item, deals, 20),
        (("companies", "companies"), companies[0], companies[1:], 14),
    ):
        base = f"{ASSOCIATIONS}/{ends[0]}/{ends[1]}/batch/create"
        first, second = ({"inputs": [pair(source, each, type_id)]} for each in targets)
        for _ in range(2):
            assert hubspot.post(base, first).status_code == 201
        refused = hubspot.post(base, second)
        assert refusal(refused) == VALIDATION
        ids = ", ".join(each["id"] for each in targets)
        assert refused.json()["message"] == (
            f"cannot pass multiple to object ids: [{ids}] for one to one association type "
            f"HUBSPOT_DEFINED-{type_id}"
        )


# 8. Webhooks


@pytest.fixture
def hear(sandbox: SandboxServer, receiver: Receiver) -> Callable[[], list[Shape]]:
    """Deliver what is pending, and return the events since the last time."""

    def told() -> list[Shape]:
        sandbox.flush_webhooks()
        events = receiver.events
        receiver.clear()
        return events

    return told


def test_line_08_events_come_in_arrays_of_a_hundred_at_most_with_v1_and_v3_signatures(
    hubspot: HubSpot, sandbox: SandboxServer, receiver: Receiver
) -> None:
    sandbox.set_delivery(delay=1.0)
    for _ in range(3):
        hubspot.batch("contacts", "create", *[{"properties": {"firstname": "A"}}] * 50)
    sandbox.flush_webhooks()

    assert sorted(len(each.events) for each in receiver.deliveries) == [50, 100]
    secret = DEFAULT_APP.client_secret
    for each in receiver.deliveries:
        headers = each.headers
        assert headers["X-HubSpot-Signature-Version"] == "v1"
        assert headers["X-HubSpot-Signature"] == sign_v1(secret, each.body)
        stamp = int(headers["X-HubSpot-Request-Timestamp"])
        assert headers["X-HubSpot-Signature-v3"] == sign_v3(
            secret, "POST", receiver.url, each.body, stamp
        )


def test_line_08_an_app_has_one_target_alone(
    hubspot: HubSpot, sandbox: SandboxServer, receiver: Receiver
) -> None:
    with Receiver() as second:
        sandbox.set_webhooks(second.url)
        hubspot.create("contacts", firstname="A")
        sandbox.flush_webhooks()

        assert (len(second.events), receiver.events) == (1, [])


def test_line_08_the_fields_of_creation_change_deletion_and_restore(
    sandbox: SandboxServer, hubspot: HubSpot, hear: Callable[[], list[Shape]]
) -> None:
    contact = hubspot.create("contacts", firstname="Ada")
    path = f"contacts/{contact['id']}"
    hubspot.patch(f"{OBJECTS}/{path}", {"properties": {"city": "Lagos"}})
    hubspot.delete(f"{OBJECTS}/{path}")
    persons = f"{sandbox.url}/_sandbox/portals/{DEFAULT_PORTAL_ID}/objects/{path}/restore"
    assert requests.post(persons, timeout=5).status_code == 200
    told = {each["subscriptionType"].partition(".")[2]: each for each in hear()}

    assert told.keys() == {"creation", "propertyChange", "deletion", "restore"}
    for each in told.values():
        own = {"propertyName", "propertyValue", "changeFlag"}
        assert each.keys() - own == {
            *("eventId", "subscriptionId", "portalId", "appId", "occurredAt", "attemptNumber"),
            *("subscriptionType", "objectId", "changeSource", "sourceId"),
        }
        for name in ("eventId", "subscriptionId", "portalId", "appId", "occurredAt", "objectId"):
            assert type(each[name]) is int, name
        assert each["objectId"] == int(contact["id"])
        assert each["attemptNumber"] == 0
    flags = {kind: each["changeFlag"] for kind, each in told.items() if "changeFlag" in each}
    assert flags == {"creation": "NEW", "deletion": "DELETED"}
    # Own writes come back, and those of a person say so.
    sources = {kind: (each["changeSource"], each["sourceId"]) for kind, each in told.items()}
    assert sources.pop("restore") == ("CRM_UI", "userId:60318841")
    assert set(sources.values()) == {("INTEGRATION", str(DEFAULT_APP.id))}
    change = told["propertyChange"]
    assert (change["propertyName"], change["propertyValue"]) == ("city", "Lagos")


def test_line_08_each_property_is_subscribed_to_by_itself(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver, hear: Callable[[], list[Shape]]
) -> None:
    contact = hubspot.create("contacts", firstname="Ada")
    subscription = {"eventType": "contact.propertyChange", "propertyName": "city"}
    sandbox.set_webhooks(receiver.url, [subscription])
    hear()
    values = {"city": "Lagos", "state": "LA", "firstname": "Grace"}
    hubspot.patch(f"{CONTACTS}/{contact['id']}", {"properties": values})

    assert [each["propertyName"] for each in hear()] == ["city"]


@pytest.mark.parametrize("name", ["hs_lastmodifieddate", "num_unique_conversion_events"])
def test_line_08_some_properties_cannot_be_subscribed_to(hubspot: HubSpot, name: str) -> None:
    path = f"/webhooks/v3/{DEFAULT_APP.id}/subscriptions?hapikey={DEVELOPER_API_KEY}"
    body = {"eventType": "contact.propertyChange", "propertyName": name}
    assert refusal(hubspot.post(path, body)) == VALIDATION


def test_line_08_a_sensitive_value_is_redacted(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver, hear: Callable[[], list[Shape]]
) -> None:
    body = {
        "name": "allergy",
        "label": "Allergy",
        "type": "string",
        "fieldType": "text",
        "groupName": "contactinformation",
        "dataSensitivity": "sensitive",
    }
    assert hubspot.post("/crm/properties/2026-09/contacts", body).status_code == 201
    contact = hubspot.create("contacts", firstname="Ada")
    kinds = ({"eventType": "contact.propertyChange"}, {"eventType": "object.propertyChange"})
    generic = {"propertyName": "allergy", "objectTypeId": "0-1"}
    hear()
    sandbox.set_webhooks(receiver.url, [{**each, **generic} for each in kinds])
    hubspot.patch(f"{CONTACTS}/{contact['id']}", {"properties": {"allergy": "nuts"}})
    told = hear()

    assert len(told) == 2
    assert [(each["propertyValue"], each["isSensitive"]) for each in told] == [
        ("REDACTED", True)
    ] * 2


def test_line_08_an_association_is_two_events_a_primary_four_and_none_has_an_object_id(
    hubspot: HubSpot, contact: Shape, companies: list[Shape], hear: Callable[[], list[Shape]]
) -> None:
    path = f"{CONTACTS}/{contact['id']}/associations/{{}}companies/{{}}"
    hear()
    hubspot.put(path.format("default/", companies[0]["id"]))
    plain = hear()
    hubspot.put(path.format("", companies[1]["id"]), [spec(1)])
    primary = hear()

    assert (len(plain), len(primary)) == (2, 4)
    assert [each["isPrimaryAssociation"] for each in plain] == [False, False]
    assert sum(each["isPrimaryAssociation"] for each in primary) == 2
    for each in (*plain, *primary):
        assert "objectId" not in each
        assert type(each["fromObjectId"]) is type(each["toObjectId"]) is int
        assert each["associationRemoved"] is False
    assert {each["associationType"]: each["fromObjectId"] for each in plain} == {
        "CONTACT_TO_COMPANY": int(contact["id"]),
        "COMPANY_TO_CONTACT": int(companies[0]["id"]),
    }


def test_line_08_merge_and_privacy_deletion_are_told_with_their_deletions(
    hubspot: HubSpot, contact: Shape, hear: Callable[[], list[Shape]]
) -> None:
    other = hubspot.create("contacts", email="ada@work.example", city="Lagos")
    hear()
    body = {"primaryObjectId": contact["id"], "objectIdToMerge": other["id"]}
    survivor = hubspot.post(f"{CONTACTS}/merge", body).json()
    told = {each["subscriptionType"]: each for each in hear()}
    assert told.keys() == {"contact.merge", "contact.deletion"}
    assert (
        told["contact.merge"].items()
        >= {
            "primaryObjectId": int(contact["id"]),
            "newObjectId": int(survivor["id"]),
            "numberOfPropertiesMoved": 1,
        }.items()
    )
    assert told["contact.merge"]["mergedObjectIds"] == [int(other["id"])]
    assert told["contact.deletion"]["objectId"] == int(other["id"])

    forgotten = hubspot.post(f"{CONTACTS}/gdpr-delete", {"objectId": survivor["id"]})
    assert forgotten.status_code == 204
    assert {(each["subscriptionType"], each["objectId"]) for each in hear()} == {
        ("contact.privacyDeletion", int(survivor["id"])),
        ("contact.deletion", int(survivor["id"])),
    }


def test_line_08_a_failure_is_tried_ten_times_more_with_its_attempt_number(
    sandbox: SandboxServer, hubspot: HubSpot, receiver: Receiver
) -> None:
    assert sandbox.sandbox.webhooks.deliveries.settings.timeout_ms == 5_000
    receiver.answer = lambda _: 404
    hubspot.create("contacts", firstname="A")
    for _ in range(12):
        report = sandbox.flush_webhooks()

    assert [each["attemptNumber"] for each in receiver.events] == list(range(11))
    assert (report["pending"], report["counts"]["abandoned"]) == (0, 1)


@pytest.mark.parametrize(
    ("disorder", "numbers"),
    [
        ({"duplicates": 1}, {0: 2, 1: 2, 2: 2, 3: 2}),
        ({"loss": 1}, {}),
        ({"delay": 1}, dict.fromkeys(range(4), 1)),
        ({"reordering": 1}, dict.fromkeys(range(4), 1)),
    ],
)
def test_line_08_duplicates_loss_delay_and_reordering_are_switches(
    sandbox: SandboxServer,
    hubspot: HubSpot,
    receiver: Receiver,
    disorder: dict[str, float],
    numbers: dict[int, int],
) -> None:
    sandbox.set_delivery(**disorder, delay_ms=3_600_000, seed=2)
    ids = [int(hubspot.create("contacts", firstname="A")["id"]) for _ in range(4)]
    if disorder.keys() & {"delay", "reordering"}:
        assert sandbox.sandbox.webhooks.deliveries.report()["pending"] == 4
    sandbox.flush_webhooks()
    order = [ids.index(each["objectId"]) for each in receiver.events]

    assert {each: order.count(each) for each in order} == numbers
    assert (order != sorted(order)) is bool(disorder.keys() & {"duplicates", "reordering"})
