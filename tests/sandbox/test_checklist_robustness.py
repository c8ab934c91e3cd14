"""Lines 9 to 17 of the checklist of what an emulator of HubSpot must do, clause by clause.

What each clause means in every case stands in the tests of its own part; here a line is walked
once from end to end, so that none of its clauses can be lost. Lines 1 to 8 are in
``test_checklist_sync``.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
import requests

from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN, SandboxServer
from hubspot_sandbox.access import DEFAULT_APP, Access
from hubspot_sandbox.store import Settings

from .client import ASSOCIATIONS, OBJECTS, HubSpot
from .receiver import Receiver
from .test_oauth import Connector

CONTACTS, DEALS = f"{OBJECTS}/contacts", f"{OBJECTS}/deals"
OLDER = ("/crm/v3/objects/contacts", "/crm/objects/2026-03/contacts")
NEWER = (CONTACTS, "/crm/objects/2027-03-beta/contacts")
USAGE = "/account-info/2026-09/api-usage/daily/private-apps"
LIMIT = "X-HubSpot-RateLimit-"
PERSON = 60318841
FAR = 9_999_999_999_999

Admin = Callable[..., Any]


@pytest.fixture
def admin(sandbox: SandboxServer) -> Admin:
    """Calls the sandbox's own tools, and returns what they say."""

    def call(method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, f"{sandbox.url}/_sandbox/{path}", json=body, timeout=5)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    return call


@pytest.fixture
def frozen(sandbox: SandboxServer) -> Iterator[SandboxServer]:
    """A sandbox whose time stands still, ten in the morning of its portal."""
    sandbox.sandbox.clock.set_now(1_790_607_600_000)
    sandbox.sandbox.clock.freeze()
    yield sandbox
    sandbox.sandbox.clock.freeze(False)
    sandbox.sandbox.clock.offset_ms = 0


@pytest.fixture
def opened(sandbox: SandboxServer) -> Iterator[Callable[..., HubSpot]]:
    """Makes clients with tokens of other apps, portals and people."""
    clients: list[HubSpot] = []

    def client_of(access: Access) -> HubSpot:
        token = f"token-{len(clients)}"
        sandbox.sandbox.tokens[token] = access
        clients.append(HubSpot(sandbox.url))
        clients[-1].session.headers["Authorization"] = f"Bearer {token}"
        return clients[-1]

    yield client_of
    for each in clients:
        each.session.close()


@pytest.fixture
def schema(hubspot: HubSpot) -> None:
    """Give contacts a property of each kind that has rules of its own, but for what is stock."""
    for name, kind in (("birthday", "date"), ("met", "datetime"), ("children", "number")):
        field = kind.removesuffix("time")
        body = {"name": name, "label": name, "type": kind, "fieldType": field}
        body["groupName"] = "contactinformation"
        assert hubspot.post("/crm/v3/properties/contacts", body).status_code == 201


def without_ids(answer: requests.Response) -> dict[str, Any]:
    body = dict(answer.json())
    assert UUID(body.pop("correlationId"))
    return body


def limits_of(answer: requests.Response) -> dict[str, str]:
    return {
        name.removeprefix(LIMIT): value
        for name, value in answer.headers.items()
        if name.startswith(LIMIT)
    }


# 9. Property validation


def test_line_9_property_validation_tells_every_problem_in_the_message_and_in_errors(
    hubspot: HubSpot, schema: None
) -> None:
    wrong = {
        "nowhere": "PROPERTY_DOESNT_EXIST",
        "lifecyclestage": "INVALID_OPTION",
        "createdate": "READ_ONLY_VALUE",
        "email": "INVALID_EMAIL",
        "birthday": "INVALID_DATE",
        "children": "INVALID_INTEGER",
        "met": "INVALID_LONG",
    }
    values = {**dict.fromkeys(wrong, "abc"), "birthday": "1684914035320"}

    for answer in (
        hubspot.post(OLDER[0], {"properties": values}),
        hubspot.post(f"{OLDER[0]}/batch/create", {"inputs": [{"properties": values}]}),
    ):
        body = without_ids(answer)
        start, _, told = body["message"].partition(": ")
        details = orjson.loads(told)
        assert answer.status_code == 400
        assert start == "Property values were not valid"
        assert (body["status"], body["category"]) == ("error", "VALIDATION_ERROR")
        assert {each["name"]: each["error"] for each in details} == wrong
        assert {
            each["context"]["propertyName"][0]: each["code"] for each in body["errors"]
        } == wrong
        for each in details:
            assert each["isValid"] is False
            assert each["portalId"] == DEFAULT_PORTAL_ID
            assert each["localizedErrorMessage"] == each["message"]
        assert [each["message"] for each in body["errors"]] == [each["message"] for each in details]
    assert hubspot.get(CONTACTS).json()["results"] == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("nowhere", "1", 'Property "nowhere" does not exist'),
        ("lifecyclestage", "king", "king was not one of the allowed options: [label: "),
        ("createdate", "1", '"createdate" is a read only property; its value cannot be set.'),
        ("email", "abc", "Email address abc is invalid"),
        ("birthday", "1684914035320", "1684914035320 is at 7:40:35.320 UTC, not midnight!"),
        ("children", "many", "many was not a valid number."),
        ("met", "soon", "soon was not a valid long."),
    ],
)
def test_line_9_property_validation_uses_hubspots_words(
    hubspot: HubSpot, schema: None, name: str, value: str, words: str
) -> None:
    answer = hubspot.post(OLDER[0], {"properties": {"firstname": "A", name: value}})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith(words)


# 10. Pipelines, properties, owners, account


def test_line_10_pipelines_have_ids_metadata_and_stages_of_their_portal(
    hubspot: HubSpot, opened: Callable[..., HubSpot], admin: Admin
) -> None:
    admin("POST", "portals", {"id": 77})
    other = opened(Access(77, DEFAULT_APP.id))
    metadata = {"probability": "0.3"}
    stages = [{"label": "Asked", "displayOrder": 0, "metadata": metadata}]
    body = {"label": "Renewals", "displayOrder": 1, "stages": stages}
    made = hubspot.post("/crm/pipelines/2026-09/deals", body).json()
    stage = made["stages"][0]

    assert made["id"].isdecimal()
    assert stage["id"].isdecimal()
    assert stage["metadata"] == {"probability": "0.3", "isClosed": "false"}
    listed = hubspot.get("/crm/v3/pipelines/deals").json()
    assert [each["id"] for each in listed["results"]] == ["default", made["id"]]
    assert "paging" not in listed
    tickets = hubspot.get("/crm/pipelines/2026-09/0-5").json()["results"]
    assert [(each["id"], [stage["id"] for stage in each["stages"]]) for each in tickets] == [
        ("0", ["1", "2", "3", "4"])
    ]
    assert tickets[0]["stages"][3]["metadata"] == {"ticketState": "CLOSED", "isClosed": "true"}
    assert len(other.get("/crm/pipelines/2026-09/deals").json()["results"]) == 1

    deal = {"dealname": "D", "dealstage": stage["id"]}
    assert hubspot.post(DEALS, {"properties": {**deal, "pipeline": made["id"]}}).ok
    refused = hubspot.post(DEALS, {"properties": {**deal, "pipeline": "default"}}).json()
    assert refused["errors"][0]["code"] == "INVALID_OPTION"
    assert (
        f"{stage['id']} is not a valid pipeline stage ID. Valid options are: pipelineId="
        in (refused["errors"][0]["message"])
    )
    asked = "?validateReferencesBeforeDelete=true"
    used = hubspot.delete(f"/crm/v3/pipelines/deals/{made['id']}/stages/{stage['id']}{asked}")
    assert (used.status_code, used.json().get("subCategory")) == (
        400,
        "PipelineError.STAGE_ID_IN_USE",
    )


def test_line_10_properties_are_listed_created_and_restored(hubspot: HubSpot) -> None:
    path = "/crm/properties/2026-09/deals"
    body = {"name": "tier", "label": "Tier", "type": "string", "fieldType": "text"}
    body["groupName"] = "dealinformation"
    listed = {each["name"]: each for each in hubspot.get(path).json()["results"]}
    owner = listed["hubspot_owner_id"]

    assert (owner["type"], owner["options"]) == ("enumeration", [])
    assert owner["modificationMetadata"]["readOnlyDefinition"] is True
    assert hubspot.post(path, body).status_code == 201
    taken = hubspot.post(path, body)
    assert (taken.status_code, taken.json()["category"], taken.json()["subCategory"]) == (
        409,
        "OBJECT_ALREADY_EXISTS",
        "Properties.PROPERTY_WITH_NAME_EXISTS",
    )
    assert hubspot.delete(f"{path}/tier").status_code == 204
    missing = hubspot.get(f"{path}/tier")
    assert (missing.status_code, missing.json()["category"]) == (404, "OBJECT_NOT_FOUND")
    assert [each["name"] for each in hubspot.get(path, archived="true").json()["results"]] == [
        "tier"
    ]
    assert hubspot.post(path, body).status_code == 201


def test_line_10_owners_are_paged_and_the_archived_ones_apart(hubspot: HubSpot) -> None:
    path = "/crm/owners/2026-09"
    first = hubspot.get(path, limit=2).json()
    rest = hubspot.get(path, limit=2, after=first["paging"]["next"]["after"]).json()
    (gone,) = hubspot.get(path, archived="true").json()["results"]
    shown = [*first["results"], *rest["results"]]

    assert "paging" not in rest
    assert len({each["id"] for each in shown}) == 3
    assert {type(each["id"]) for each in shown} == {str}
    assert {type(each["userId"]) for each in shown} == {int}
    assert (gone["archived"], gone["userId"]) == (True, None)
    one = shown[0]
    assert hubspot.get(path, email=one["email"]).json()["results"] == [one]
    assert hubspot.get(f"{path}/{one['userId']}", idProperty="userId").json() == one
    assert hubspot.get(f"{path}/{one['userId']}").status_code == 404
    assert hubspot.get(f"{path}/{gone['id']}").status_code == 404
    assert hubspot.get(f"{path}/{gone['id']}", archived="true").json() == gone


def test_line_10_the_account_tells_its_details(hubspot: HubSpot) -> None:
    older = hubspot.get("/account-info/v3/details").json()
    newer = hubspot.get("/account-info/2026-09/details").json()

    assert older["portalId"] == DEFAULT_PORTAL_ID
    assert older["utcOffsetMilliseconds"] == -5 * 3_600_000
    assert older.keys() >= {
        *("accountType", "timeZone", "companyCurrency", "additionalCurrencies"),
        *("utcOffset", "uiDomain", "dataHostingLocation"),
    }
    assert newer.keys() - older.keys() == {"portalName", "createdAt"}


# 11. Rate limits

TEN_SECONDS = {
    "status": "error",
    "message": "You have reached your ten_secondly_rolling limit.",
    "errorType": "RATE_LIMIT",
    "policyName": "TEN_SECONDLY_ROLLING",
}
SECONDLY = {"status": "error", "message": "You have reached your secondly limit."}
DAILY = {
    "status": "error",
    "message": "You have reached your daily limit.",
    "errorType": "RATE_LIMIT",
    "policyName": "DAILY",
}


@pytest.mark.parametrize(
    ("tier", "oauth", "ceiling"),
    [("FREE", False, 100), ("PROFESSIONAL", False, 190), ("ENTERPRISE", True, 110)],
)
def test_line_11_rate_limits_roll_over_ten_seconds_for_each_app(
    frozen: SandboxServer,
    opened: Callable[..., HubSpot],
    admin: Admin,
    tier: str,
    oauth: bool,
    ceiling: int,
) -> None:
    frozen.sandbox.settings = Settings(index_lag_ms=0)
    frozen.reset()
    admin("PUT", "settings", {"limit_retry_after": False})
    admin("POST", "portals", {"id": 77, "tier": tier})
    expires_at = FAR if oauth else None
    client, neighbour = (opened(Access(77, app_id, None, expires_at)) for app_id in (1, 2))
    path = "/crm/owners/2026-09"

    answers = [client.get(path) for _ in range(ceiling - 2)]
    assert limits_of(answers[-1])["Remaining"] == "2"
    frozen.advance(6)
    # One call, whatever it holds.
    inputs = [{"properties": {"firstname": "A"}} for _ in range(3)]
    assert limits_of(client.batch("contacts", "create", *inputs))["Remaining"] == "1"
    assert limits_of(client.get(path))["Remaining"] == "0"
    refused = client.get(path)

    group = "oauth" if oauth else "private_app"
    assert refused.status_code == 429
    assert without_ids(refused) == {
        **TEN_SECONDS,
        "groupName": f"publicapi:{group}-api-calls-ten-secondly:1:77",
    }
    assert "Retry-After" not in refused.headers
    told = limits_of(refused)
    assert (told["Max"], told["Remaining"]) == (str(ceiling), "0")
    assert told["Interval-Milliseconds"] == "10000"
    assert told.keys() >= {"Secondly", "Secondly-Remaining"}
    assert ("Daily" in told) is not oauth
    assert neighbour.get(path).status_code == 200
    frozen.advance(4)
    assert [limits_of(client.get(path))["Remaining"] for _ in range(2)] == [
        str(ceiling - 3),
        str(ceiling - 4),
    ]


@pytest.mark.parametrize("names_policy", [True, False])
@pytest.mark.parametrize("oauth", [True, False])
def test_line_11_rate_limits_give_searches_a_second_and_no_headers(
    frozen: SandboxServer,
    opened: Callable[..., HubSpot],
    admin: Admin,
    oauth: bool,
    names_policy: bool,
) -> None:
    frozen.sandbox.settings = Settings(index_lag_ms=0)
    frozen.reset()
    admin("PUT", "settings", {"search_429_names_policy": names_policy})
    one, two = (
        opened(Access(DEFAULT_PORTAL_ID, each, None, FAR if oauth else None)) for each in (1, 2)
    )
    allowed = [
        each.search(kind) for each in (one, two) for kind in ("contacts", "deals", "tickets")
    ]
    refused = allowed.pop()

    assert {each.status_code for each in allowed} == {200}
    assert refused.status_code == 429
    group = f"publicapi:crm:search:{'oauth' if oauth else 'private_app'}:2:{DEFAULT_PORTAL_ID}"
    assert without_ids(refused) == SECONDLY | (
        {"errorType": "RATE_LIMIT", "policyName": "SECONDLY", "groupName": group}
        if names_policy
        else {"category": "RATE_LIMITS"}
    )
    for each in (*allowed, refused):
        assert limits_of(each).keys() == (set() if oauth else {"Daily", "Daily-Remaining"})
    assert "Retry-After" not in refused.headers
    # A search is outside of the ten seconds' window, and a list's search is none of these.
    assert limits_of(one.get(CONTACTS))["Remaining"] == ("109" if oauth else "189")
    assert one.post("/crm/lists/2026-09/search", {}).status_code == 200
    frozen.advance(1)
    assert two.search("contacts").status_code == 200


def test_line_11_rate_limits_count_the_day_of_the_account_until_its_midnight(
    frozen: SandboxServer, opened: Callable[..., HubSpot], admin: Admin
) -> None:
    admin("PUT", "settings", {"limit_daily": 3})
    one, two = (opened(Access(DEFAULT_PORTAL_ID, each)) for each in (1, 2))
    person = opened(Access(DEFAULT_PORTAL_ID, 1, None, FAR, PERSON))
    assert [each.get(CONTACTS).status_code for each in (one, two)] == [200, 200]
    (usage,) = one.get(USAGE).json()["results"]
    refused = two.search("contacts")

    assert (usage["name"], usage["usageLimit"]) == ("private-apps-api-calls-daily", 3)
    assert (usage["currentUsage"], usage["resetsAt"][10:]) == (3, "T05:00:00Z")
    assert refused.status_code == 429
    body = without_ids(refused)
    assert UUID(body.pop("requestId"))
    assert body.pop("groupName")
    assert body == DAILY
    assert limits_of(refused) == {"Daily": "3", "Daily-Remaining": "0"}
    assert person.get(CONTACTS).status_code == 200
    midnight = datetime.fromisoformat(usage["resetsAt"])
    frozen.advance((midnight - datetime.fromisoformat(usage["collectedAt"])) / timedelta(seconds=1))
    assert one.get(CONTACTS).status_code == 200


def test_line_11_rate_limits_send_retry_after_only_when_switched_on(
    frozen: SandboxServer, hubspot: HubSpot, admin: Admin
) -> None:
    admin("PUT", "settings", {"limit_ten_secondly": 1, "limit_search": 1})
    hubspot.get(CONTACTS)
    hubspot.search("contacts")
    assert "Retry-After" not in hubspot.get(CONTACTS).headers
    admin("PUT", "settings", {"limit_retry_after": True})

    assert hubspot.get(CONTACTS).headers["Retry-After"] == "10"
    assert hubspot.search("contacts").headers["Retry-After"] == "1"


# 12. Fault injection

STATUSES = {
    423: {},
    429: {},
    477: {"Retry-After": "2"},
    500: {},
    502: {},
    503: {},
    504: {},
    521: {},
    523: {},
    524: {},
}


def test_line_12_faults_of_every_status_are_hubspots_and_nothing_is_done(
    sandbox: SandboxServer, hubspot: HubSpot
) -> None:
    for status, headers in STATUSES.items():
        sandbox.set_faults([{"kind": "status", "status": status, "count": 1}])
        answer = hubspot.post(CONTACTS, {"properties": {"firstname": "A"}})

        assert answer.status_code == status
        told = {name: answer.headers[name] for name in ("Retry-After",) if name in answer.headers}
        assert told == headers
        assert answer.headers["x-hubspot-correlation-id"]
        if status in (521, 523, 524):
            assert answer.headers["Content-Type"].startswith("text/html")
        else:
            assert answer.headers["Content-Type"] == "application/json;charset=utf-8"
            assert without_ids(answer)["status"] == "error"
    assert hubspot.get(CONTACTS).json()["results"] == []


@pytest.mark.parametrize(
    ("fault", "is_written"),
    [
        ({"kind": "slow", "seconds": 0.1}, True),
        ({"kind": "reset_before"}, False),
        ({"kind": "reset_after"}, True),
        ({"kind": "truncated_json"}, True),
        ({"kind": "html"}, False),
        ({"kind": "html", "status": 504}, False),
        ({"kind": "status", "status": 477, "retry_after": 86_400}, False),
    ],
)
def test_line_12_faults_tell_the_truth_of_the_write_or_nothing(
    sandbox: SandboxServer, hubspot: HubSpot, fault: dict[str, Any], is_written: bool
) -> None:
    sandbox.set_faults([{**fault, "count": 1}])
    kind = fault["kind"]
    body = {"properties": {"firstname": "A"}}

    if kind.startswith("reset"):
        with pytest.raises(requests.ConnectionError):
            requests.post(sandbox.url + CONTACTS, json=body, headers=bearer(), timeout=5)
    else:
        answer = requests.post(sandbox.url + CONTACTS, json=body, headers=bearer(), timeout=5)
        assert answer.status_code == {"html": fault.get("status", 502), "status": 477}.get(
            kind, 201
        )
        assert answer.headers.get("Retry-After") == ("86400" if kind == "status" else None)
        if kind == "slow":
            assert answer.elapsed >= timedelta(seconds=0.1)
        if kind == "html":
            assert answer.headers["Content-Type"].startswith("text/html")
        if kind in ("html", "truncated_json"):
            with pytest.raises(requests.JSONDecodeError):
                answer.json()
    assert len(hubspot.get(CONTACTS).json()["results"]) == is_written


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {DEFAULT_TOKEN}"}


# 13. Merge

MERGEABLE = {
    "contacts": {"email": "{}@example.com"},
    "companies": {"name": "{}"},
    "deals": {"dealname": "{}", "dealstage": "closedwon"},
    "tickets": {"subject": "{}", "hs_pipeline_stage": "1"},
}


@pytest.fixture(params=MERGEABLE)
def merged(
    sandbox: SandboxServer, hubspot: HubSpot, request: pytest.FixtureRequest
) -> dict[str, Any]:
    """Two records of a type merged, of which the second has a partner of another type."""
    kind = str(request.param)
    partner_type = "tickets" if kind == "deals" else "deals"
    one, two = (hubspot.create(kind, **mergeable(kind, key))["id"] for key in ("one", "two"))
    partner = hubspot.create(partner_type, **mergeable(partner_type, "it"))["id"]
    pair = f"{two}/associations/default/{partner_type}/{partner}"
    assert hubspot.put(f"{OBJECTS}/{kind}/{pair}").ok
    sandbox.advance(60)  # Both are known to the index.
    answer = hubspot.post(
        f"{OBJECTS}/{kind}/merge", {"primaryObjectId": one, "objectIdToMerge": two}
    )
    assert answer.status_code == 200, answer.text
    partners = {"partner_type": partner_type, "partner": partner}
    return {"kind": kind, "one": one, "two": two, "survivor": answer.json(), **partners}


def mergeable(kind: str, key: str) -> dict[str, str]:
    return {name: text.format(key) for name, text in MERGEABLE[kind].items()}


def test_line_13_merge_mints_an_id_and_tells_the_old_ones(
    sandbox: SandboxServer, hubspot: HubSpot, merged: dict[str, Any]
) -> None:
    one, two, survivor = (merged[each] for each in ("one", "two", "survivor"))
    sandbox.sandbox.settings.index_lag_ms = 2_000

    assert survivor["id"] not in (one, two)
    assert survivor["properties"]["hs_merged_object_ids"] == f"{one};{two}"
    if merged["kind"] == "contacts":
        vids = survivor["properties"]["hs_calculated_merged_vids"]
        assert re.fullmatch(rf"{one}:\d{{13}};{two}:\d{{13}}", vids)
    assert hubspot.found(merged["kind"]) == []
    sandbox.advance(2)
    assert hubspot.found(merged["kind"]) == [survivor["id"]]


def test_line_13_merge_leaves_old_ids_that_resolve_in_get_and_patch_alone(
    hubspot: HubSpot, merged: dict[str, Any]
) -> None:
    kind, partner_type = merged["kind"], merged["partner_type"]
    survivor, values = merged["survivor"]["id"], mergeable(kind, "new")
    for old in (merged["one"], merged["two"]):
        path, change = f"{OBJECTS}/{kind}/{old}", {"id": old, "properties": values}
        assert hubspot.get(path).json()["id"] == survivor
        assert hubspot.patch(path, change).json()["id"] == survivor
        for answer in (
            hubspot.batch(kind, "update", change),
            hubspot.batch(kind, "read", {"id": old}),
        ):
            assert (answer.status_code, answer.json()["results"]) == (207, [])
            assert answer.json()["errors"][0]["category"] == "OBJECT_NOT_FOUND"
        again = {"primaryObjectId": survivor, "objectIdToMerge": old}
        assert hubspot.post(f"{OBJECTS}/{kind}/merge", again).status_code == 400
        assert hubspot.get(f"{path}/associations/{partner_type}").json()["results"] == []
        many = {"inputs": [{"id": old}]}
        linked = hubspot.post(f"{ASSOCIATIONS}/{kind}/{partner_type}/batch/read", many)
        assert (linked.status_code, linked.json()["results"]) == (207, [])
        (error,) = linked.json()["errors"]
        assert error["subCategory"] == "crm.associations.NO_ASSOCIATIONS_FOUND"
    found = hubspot.get(f"{OBJECTS}/{kind}/{survivor}/associations/{partner_type}").json()
    assert [str(each["toObjectId"]) for each in found["results"]] == [merged["partner"]]


def test_line_13_merge_may_keep_the_primary_id_and_is_not_for_line_items(
    hubspot: HubSpot, admin: Admin, contact: dict[str, Any]
) -> None:
    admin("PUT", "settings", {"merge_mints_new_id": False})
    other = hubspot.create("contacts", email="b@example.com")
    body = {"primaryObjectId": contact["id"], "objectIdToMerge": other["id"]}
    merged = hubspot.post(f"{CONTACTS}/merge", body)

    assert merged.json()["id"] == contact["id"]
    assert merged.json()["properties"]["hs_additional_emails"] == "b@example.com"
    assert merged.json()["properties"]["hs_merged_object_ids"] == other["id"]
    items = [hubspot.create("line_items", name=each)["id"] for each in "AB"]
    body = dict(zip(body, items, strict=True))
    assert hubspot.post(f"{OBJECTS}/line_items/merge", body).status_code == 404


# 14. Lifecycle stage, archive, restore, GDPR delete


@pytest.mark.parametrize("kind", ["contacts", "companies"])
def test_line_14_lifecyclestage_moves_forward_only(hubspot: HubSpot, kind: str) -> None:
    name = {"contacts": "firstname", "companies": "name"}[kind]
    made = hubspot.create(kind, **{name: "A", "lifecyclestage": "opportunity"})
    path = f"{OBJECTS}/{kind}/{made['id']}"

    def stage() -> Any:
        shown = hubspot.get(path, properties="lifecyclestage").json()
        return shown["properties"]["lifecyclestage"]

    backward = {"properties": {"lifecyclestage": "lead", name: "B"}}
    assert hubspot.patch(path, backward).json()["properties"][name] == "B"
    assert hubspot.batch(kind, "update", {"id": made["id"], **backward}).status_code == 200
    assert stage() == "opportunity"
    hubspot.patch(path, {"properties": {"lifecyclestage": "customer"}})
    assert stage() == "customer"
    hubspot.patch(path, {"properties": {"lifecyclestage": ""}})
    assert stage() is None
    hubspot.patch(path, {"properties": {"lifecyclestage": "lead"}})
    assert stage() == "lead"


def test_line_14_what_is_archived_is_gone_until_a_person_restores_it(
    sandbox: SandboxServer,
    hubspot: HubSpot,
    admin: Admin,
    receiver: Receiver,
    contact: dict[str, Any],
) -> None:
    path = f"{CONTACTS}/{contact['id']}"
    values = {"properties": {"firstname": "B"}}
    assert hubspot.delete(path).status_code == 204

    for gone in (
        hubspot.get(path),
        hubspot.get(f"{CONTACTS}/ada@example.com", idProperty="email"),
        hubspot.patch(path, values),
    ):
        assert gone.status_code == 404
        assert without_ids(gone) == {"status": "error", "message": "resource not found"}
    assert hubspot.found("contacts") == hubspot.get(CONTACTS).json()["results"] == []
    assert hubspot.batch("contacts", "read", {"id": contact["id"]}).status_code == 207
    archived = hubspot.get(path, archived="true").json()
    assert (archived["archived"], archived["archivedAt"][-1]) == (True, "Z")
    assert [each["id"] for each in hubspot.get(CONTACTS, archived="true").json()["results"]] == [
        contact["id"]
    ]

    sandbox.flush_webhooks()
    receiver.clear()
    back = f"portals/{DEFAULT_PORTAL_ID}/objects/contacts/{contact['id']}/restore"
    assert admin("POST", back)["archived"] is False
    assert hubspot.get(path).status_code == 200
    assert hubspot.get(path, archived="true").status_code == 404
    sandbox.flush_webhooks()
    (told,) = receiver.events
    assert (told["subscriptionType"], told["changeSource"]) == ("contact.restore", "CRM_UI")
    hubspot.delete(path)
    sandbox.advance(91 * 86_400)
    with pytest.raises(AssertionError, match="not found"):
        admin("POST", back)


@pytest.mark.parametrize("by_email", [True, False])
def test_line_14_a_gdpr_delete_leaves_nothing(
    sandbox: SandboxServer,
    hubspot: HubSpot,
    receiver: Receiver,
    contact: dict[str, Any],
    by_email: bool,
) -> None:
    email = {"objectId": "ADA@example.com", "idProperty": "email"}
    sandbox.flush_webhooks()
    receiver.clear()
    path, body = f"{CONTACTS}/gdpr-delete", email if by_email else {"objectId": contact["id"]}

    assert hubspot.post(path, body).status_code == 204
    for query in ({}, {"archived": "true"}):
        assert hubspot.get(f"{CONTACTS}/{contact['id']}", **query).status_code == 404
        assert hubspot.get(CONTACTS, **query).json()["results"] == []
    sandbox.flush_webhooks()
    assert sorted(receiver.types()) == ["contact.deletion", "contact.privacyDeletion"]
    assert hubspot.post(f"{OBJECTS}/deals/gdpr-delete", body).status_code == 404


# 15. The write rules of 2026-09


def test_line_15_an_admins_rules_hold_from_2026_09_on(hubspot: HubSpot, admin: Admin) -> None:
    conditional = {"property": "state", "when": "country", "values": ["US"]}
    admin("PUT", "rules/contacts", {"required": ["firstname"], "conditional": [conditional]})
    values = {"properties": {"email": "a@example.com", "country": "US"}}
    both = [
        {
            "message": "A value for firstname must be provided",
            "code": "MISSING_REQUIRED_PROPERTY",
            "context": {"propertyName": ["firstname"]},
        },
        {
            "message": "state is required because of a conditional property rule based on "
            "[country]",
            "code": "MISSING_CONDITIONAL_REQUIRED_PROPERTY",
            "context": {"propertyName": ["state"]},
        },
    ]

    for path in NEWER:
        batch = {"inputs": [values]}
        for refused in (hubspot.post(path, values), hubspot.post(f"{path}/batch/create", batch)):
            assert refused.status_code == 400
            assert without_ids(refused) == {
                "status": "error",
                "message": "The property values provided are invalid",
                "category": "VALIDATION_ERROR",
                "errors": both,
            }
    for number, path in enumerate(OLDER):
        email = {"email": f"{number}@example.com", "country": "US"}
        made = hubspot.post(path, {"properties": email})
        assert made.status_code == 201
        # Of the record's creator only: an update needs to keep to the condition alone.
        update = hubspot.patch(f"{CONTACTS}/{made.json()['id']}", {"properties": {"country": "US"}})
        assert [each["code"] for each in update.json()["errors"]] == [both[1]["code"]]


def test_line_15_a_person_without_the_permission_edits_no_associations(
    hubspot: HubSpot, opened: Callable[..., HubSpot], admin: Admin, contact: dict[str, Any]
) -> None:
    deal = hubspot.create("deals", dealname="D", dealstage="closedwon")
    admin("PUT", "rules/contacts", {"mayAssociate": False})
    person, app = (
        opened(Access(DEFAULT_PORTAL_ID, 1, None, FAR, user_id)) for user_id in (PERSON, None)
    )
    pair = f"deals/{deal['id']}/associations/default/contacts/{contact['id']}"
    refused = person.put(f"{OBJECTS}/{pair}")

    assert refused.status_code == 400
    assert without_ids(refused) == {
        "status": "error",
        "message": "Missing 'Edit Associations' permission.",
        "category": "VALIDATION_ERROR",
    }
    for allowed in (app.put(f"{OBJECTS}/{pair}"), person.put(f"/crm/v4/objects/{pair}")):
        assert allowed.status_code == 200


@pytest.mark.parametrize("raw", ["1684914035320", "1684914035", "2023-05-24T07:40:35.320Z"])
def test_line_15_dates_are_normalized_with_a_warning(
    hubspot: HubSpot, schema: None, raw: str
) -> None:
    values = {"properties": {"firstname": "A", "birthday": raw}}

    for path in NEWER:
        made = hubspot.post(path, values)
        assert (made.status_code, made.json()["properties"]["birthday"]) == (201, "2023-05-24")
        assert made.json()["warnings"] == [
            {
                "category": "PROPERTY_VALUE_NORMALIZED",
                "message": "birthday was normalized",
                "context": {
                    "propertyName": ["birthday"],
                    "rawValue": [raw],
                    "normalizedValue": ["2023-05-24"],
                },
            }
        ]
        proper = {"properties": {"firstname": "A", "birthday": "2023-05-24"}}
        assert "warnings" not in hubspot.post(path, proper).json()
    for path in OLDER:
        assert hubspot.post(path, values).json()["errors"][0]["code"] == "INVALID_DATE"


# 16. Portals, history, URLs, journal, introspection, usage, lists


def test_line_16_portals_are_told_apart_by_token_wherever_they_are_named(
    sandbox: SandboxServer,
    hubspot: HubSpot,
    opened: Callable[..., HubSpot],
    admin: Admin,
    receiver: Receiver,
) -> None:
    admin("POST", "portals", {"id": 77, "uiDomain": "app-eu1.hubspot.com"})
    second = opened(Access(77, DEFAULT_APP.id))
    here, there = (each.create("contacts", email="a@example.com") for each in (hubspot, second))
    refused = [each.post(CONTACTS, {"properties": {"x": "1"}}) for each in (hubspot, second)]
    hosts = {DEFAULT_PORTAL_ID: "app.hubspot.com", 77: "app-eu1.hubspot.com"}

    for client, record, refusal, portal_id in zip(
        (hubspot, second), (here, there), refused, hosts, strict=True
    ):
        assert f'"portalId":{portal_id}' in refusal.json()["message"].replace(" ", "")
        details = client.get("/account-info/v3/details").json()
        assert (details["portalId"], details["uiDomain"]) == (portal_id, hosts[portal_id])
        page = f"https://{hosts[portal_id]}/contacts/{portal_id}/record/0-1/{record['id']}"
        listed = client.get(CONTACTS).json()["results"]
        searched = client.search("contacts").json()["results"]
        read = client.batch("contacts", "read", {"id": record["id"]}).json()["results"]
        for (shown,) in ([record], listed, searched, read):
            assert shown["url"] == page
    second.delete(f"{CONTACTS}/{there['id']}")
    assert hubspot.get(f"{CONTACTS}/{here['id']}").status_code == 200
    sandbox.flush_webhooks()
    creations = [each for each in receiver.events if each["subscriptionType"] == "contact.creation"]
    assert {each["portalId"] for each in creations} == hosts.keys()


def test_line_16_history_tells_every_value_with_its_moment_and_author(
    hubspot: HubSpot, admin: Admin, contact: dict[str, Any]
) -> None:
    path = f"portals/{DEFAULT_PORTAL_ID}/objects/contacts/{contact['id']}"
    admin("PATCH", path, {"properties": {"firstname": "Grace"}})
    hubspot.patch(f"{CONTACTS}/{contact['id']}", {"properties": {"firstname": ""}})
    shown = hubspot.get(f"{CONTACTS}/{contact['id']}", propertiesWithHistory="firstname").json()
    cleared, changed, created = shown["propertiesWithHistory"]["firstname"]

    assert [each["value"] for each in (cleared, changed, created)] == ["", "Grace", "Ada"]
    assert cleared["timestamp"] >= changed["timestamp"] >= created["timestamp"]
    assert (changed["sourceType"], changed["sourceId"]) == ("CRM_UI", f"userId:{PERSON}")
    assert changed["updatedByUserId"] == PERSON
    assert created["sourceType"] == cleared["sourceType"] != "CRM_UI"
    assert "updatedByUserId" not in created


def test_line_16_the_webhooks_journal_is_read_entry_by_entry(
    sandbox: SandboxServer, hubspot: HubSpot, opened: Callable[..., HubSpot]
) -> None:
    rights = ("read", "subscriptions.read", "subscriptions.write")
    scopes = frozenset(f"developer.webhooks_journal.{each}" for each in rights)
    reader = opened(Access(DEFAULT_PORTAL_ID, DEFAULT_APP.id, scopes, FAR))
    base = "/webhooks-journal/journal/2026-03"
    asked = {"subscriptionType": "OBJECT", "objectTypeId": "0-1", "portalId": DEFAULT_PORTAL_ID}
    made = reader.post("/webhooks-journal/subscriptions/2026-03", {**asked, "actions": ["CREATE"]})
    assert made.status_code == 201

    assert reader.get(f"{base}/earliest").status_code == 204
    contact = hubspot.create("contacts", firstname="A")
    entry = reader.get(f"{base}/earliest").json()
    stored = requests.get(entry["url"], timeout=5).json()
    assert entry.keys() >= {"url", "currentOffset", "expiresAt"}
    assert [each["objectId"] for each in stored["journalEvents"]] == [int(contact["id"])]
    assert reader.get(f"{base}/latest").json()["currentOffset"] == stored["offset"]
    assert reader.get(f"{base}/offset/{stored['offset']}/next").status_code == 204
    sandbox.advance(3 * 86_400 + 1)
    assert reader.get(f"{base}/earliest").status_code == 204
    assert hubspot.get(f"{base}/earliest").status_code in (401, 403)
    path = f"/webhooks-journal/subscriptions/2026-03/{made.json()['id']}"
    assert reader.delete(path).status_code == 204


def test_line_16_introspection_tells_of_a_token_until_it_is_revoked(
    sandbox: SandboxServer,
) -> None:
    connector = Connector(sandbox.url)
    tokens = connector.connect()
    told = connector.ask("2026-09/token/introspect", token=tokens["refresh_token"]).json()

    assert (told["active"], told["hub_id"]) == (True, DEFAULT_PORTAL_ID)
    assert told.keys() >= {"user_id", "user", "app_id", "client_id", "hub_domain", "scopes"}
    assert connector.ask("2026-09/token/revoke", token=tokens["refresh_token"]).status_code == 200
    gone = connector.ask("2026-09/token/introspect", token=tokens["refresh_token"])
    assert gone.json() == {"active": False}
    assert connector.contacts(tokens["access_token"]).status_code == 200


def test_line_16_the_usage_endpoint_counts_the_private_apps_calls_alone(
    sandbox: SandboxServer, hubspot: HubSpot, opened: Callable[..., HubSpot], admin: Admin
) -> None:
    admin("PUT", "settings", {"limit_daily": 100})
    opened(Access(DEFAULT_PORTAL_ID, 2)).get(CONTACTS)
    opened(Access(DEFAULT_PORTAL_ID, 3, None, FAR)).get(CONTACTS)
    hubspot.search("contacts")
    hubspot.get(f"{CONTACTS}/1")
    for version in ("v3", "2026-03", "2026-09"):
        (usage,) = hubspot.get(USAGE.replace("2026-09", version)).json()["results"]

    assert (usage["currentUsage"], usage["usageLimit"]) == (6, 100)
    assert usage.keys() >= {"name", "collectedAt", "fetchStatus", "resetsAt"}


@pytest.mark.parametrize("base", ["/crm/v3/lists", "/crm/lists/2026-09"])
def test_line_16_lists_are_kept_with_their_members(
    hubspot: HubSpot, contact: dict[str, Any], base: str
) -> None:
    asked = {"name": "News", "objectTypeId": "0-1", "processingType": "MANUAL"}
    made = hubspot.post(base, asked).json()["list"]
    path = f"{base}/{made['listId']}"
    changed = hubspot.put(f"{path}/memberships/add", [contact["id"], "1"]).json()

    assert changed == {
        "recordsIdsAdded": [contact["id"]],
        "recordIdsRemoved": [],
        "recordIdsMissing": ["1"],
    }
    (member,) = hubspot.get(f"{path}/memberships").json()["results"]
    assert member["recordId"] == contact["id"]
    assert hubspot.get(f"{base}/object-type-id/0-1/name/news").json()["list"]["size"] == 1
    assert hubspot.post(f"{base}/search", {"query": "new"}).json()["total"] == 1
    assert hubspot.delete(path).status_code == 204
    assert hubspot.get(path).status_code == 404
    assert hubspot.put(f"{path}/restore").status_code == 204


# 17. Clock and seed, request log, changes as a user


def test_line_17_the_same_seed_and_clock_give_the_same_answers() -> None:
    def run() -> list[Any]:
        with SandboxServer(port=0, seed=1, limits=False, index_lag_ms=0) as server:
            server.sandbox.clock.set_now(1_790_607_600_000)
            server.sandbox.clock.freeze()
            client = HubSpot(server.url)
            with client.session:
                people = [{"properties": {"email": f"{n}@example.com"}} for n in range(6)]
                created = client.batch("contacts", "create", *people)
                refused = client.get(f"{CONTACTS}/1")
                return [created.json(), refused.json(), dict(refused.headers, Date="")]

    assert run() == run()


def test_line_17_the_clock_is_advanced_for_all_that_goes_by_time(
    frozen: SandboxServer, hubspot: HubSpot, opened: Callable[..., HubSpot], admin: Admin
) -> None:
    admin("PUT", "settings", {"index_lag_ms": 60_000, "limit_ten_secondly": 2})
    now = frozen.sandbox.clock.now_ms()
    client = opened(Access(DEFAULT_PORTAL_ID, 1, None, now + 1_800_000))
    made = hubspot.create("contacts", firstname="A")
    assert hubspot.patch(f"{CONTACTS}/{made['id']}", {"properties": {"firstname": "B"}}).ok
    assert hubspot.get(CONTACTS).status_code == 429
    assert hubspot.found("contacts") == []
    admin("POST", "clock/advance", {"seconds": 60})

    assert hubspot.found("contacts") == [made["id"]]
    changed = hubspot.patch(f"{CONTACTS}/{made['id']}", {"properties": {"firstname": "C"}}).json()
    span = datetime.fromisoformat(changed["updatedAt"]) - datetime.fromisoformat(made["updatedAt"])
    assert span == timedelta(seconds=60)
    assert client.get(CONTACTS).status_code == 200
    admin("POST", "clock/advance", {"seconds": 1_747})
    expired = client.get(CONTACTS)
    assert (expired.status_code, expired.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")
    assert expired.json()["message"] == (
        "The OAuth token used to make this call expired 7 second(s) ago."
    )


def test_line_17_the_request_log_knows_every_answer_by_its_correlation_id(
    sandbox: SandboxServer, hubspot: HubSpot, admin: Admin
) -> None:
    sandbox.clear_requests()
    sandbox.set_faults([{"kind": "status", "status": 503, "count": 1, "match": "PATCH"}])
    made = hubspot.post(CONTACTS, {"properties": {"firstname": "A"}})
    missing = hubspot.get(f"{CONTACTS}/1")
    struck = hubspot.patch(f"{CONTACTS}/1", {})
    logged = admin("GET", "requests/log")["results"]

    assert [(each["method"], each["status"], each["fault"]) for each in logged] == [
        ("PATCH", 503, "status"),
        ("GET", 404, None),
        ("POST", 201, None),
    ]
    assert [each["correlation_id"] for each in logged] == [
        each.headers["x-hubspot-correlation-id"] for each in (struck, missing, made)
    ]
    assert missing.json()["correlationId"] == logged[1]["correlation_id"]
    assert {each["portal_id"] for each in logged} == {DEFAULT_PORTAL_ID}


def test_line_17_the_admin_api_changes_records_as_a_user(
    sandbox: SandboxServer, hubspot: HubSpot, admin: Admin, receiver: Receiver
) -> None:
    base = f"portals/{DEFAULT_PORTAL_ID}/objects/contacts"
    one, two = (admin("POST", base, {"properties": {"firstname": each}})["id"] for each in "AB")
    admin("PATCH", f"{base}/{one}", {"properties": {"firstname": "C"}})
    merged = admin("POST", f"{base}/merge", {"primaryObjectId": one, "objectIdToMerge": two})
    admin("DELETE", f"{base}/{merged['id']}")
    admin("POST", f"{base}/{merged['id']}/restore")
    sandbox.flush_webhooks()
    told = receiver.events
    by_app = hubspot.create("contacts", firstname="D")
    sandbox.flush_webhooks()

    assert {each["changeSource"] for each in told} == {"CRM_UI"}
    assert {each["sourceId"] for each in told} == {f"userId:{PERSON}"}
    assert {each["subscriptionType"].partition(".")[2] for each in told} == {
        *("creation", "propertyChange", "merge", "deletion", "restore")
    }
    own = [each for each in receiver.events if each.get("objectId") == int(by_app["id"])]
    assert own
    assert "CRM_UI" not in {each["changeSource"] for each in own}
