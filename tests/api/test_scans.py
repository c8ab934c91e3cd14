"""/api/v1/scan: starting, watching over and ending deal extractions."""

import base64
import dataclasses
import json
import re

import pytest
from sqlalchemy import text

from crm.accounts import users
from crm.db import transaction
from crm.scans import status as scans_status
from crm.scans.commands import ScanConfig, cancel_scan
from tests.sandbox.client import HubSpot

from .scan_rows import make_scan

SCANS = "/api/v1/scan"
TOKEN = "pat-na1-very-secret"
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()


@pytest.fixture
def organization_id(app):
    return str(users.get_organization_id("Default"))


@pytest.fixture
def key(app, make_key):
    settings = app.extensions["crm_settings"]
    app.extensions["crm_settings"] = dataclasses.replace(settings, encryption_keys=KEY)
    return make_key()


@pytest.fixture
def foreign_key(app, make_key):
    users.create_organization("Other")
    return make_key("Other")


@pytest.fixture
def start(client, key):
    """Starts a scan; with changes to its config."""

    def do(headers=key, **changes):
        config = {
            "scanId": "nightly",
            "type": ["hubspot_deals"],
            "auth": {"hubspot_access_token": TOKEN},
            **changes,
        }
        config = {name: each for name, each in config.items() if each is not None}
        return client.post(f"{SCANS}/start", json={"config": config}, headers=headers)

    return do


@pytest.fixture
def get(client, key):
    def do(path, headers=key, buffered=False, **query):
        return client.get(f"/api/v1/{path}", query_string=query, headers=headers, buffered=buffered)

    return do


def test_without_a_key_to_store_tokens_with_no_scan_starts_and_the_answer_says_why(
    client, make_key, app
):
    settings = app.extensions["crm_settings"]
    app.extensions["crm_settings"] = dataclasses.replace(settings, encryption_keys="")
    config = {
        "scanId": "nightly",
        "type": ["hubspot_deals"],
        "auth": {"hubspot_access_token": TOKEN},
    }

    answer = client.post(f"{SCANS}/start", json={"config": config}, headers=make_key())

    assert answer.status_code == 503
    assert "ENCRYPTION_KEYS" in answer.json["message"]


def test_a_scan_is_accepted_in_the_words_of_the_contract(start):
    answer = start()

    assert answer.status_code == 202
    job_id = answer.json.pop("jobId")
    assert job_id.startswith("job_")
    assert answer.json | {"jobId": job_id} == {
        "message": "HubSpot deal extraction started",
        "scanId": "nightly",
        "status": "started",
        "jobId": job_id,
        "estimatedDuration": "5-10 minutes",
    }


def stored_config():
    with transaction() as session:
        return session.execute(text("SELECT config FROM scans")).scalar_one()


def test_what_is_asked_for_reaches_the_scan(start, organization_id):
    answer = start(
        organizationId=organization_id,
        properties=["dealname", "hs_priority", "dealname"],
        includeAssociations=True,
        associationTypes=["contacts", "line_items"],
        filters={
            "includeArchived": True,
            "pipelineId": "default",
            "dealstage": "closedwon",
            "dateFilter": {
                "property": "createdate",
                "startDate": "2026-01-01",
                "endDate": "2026-06-30T12:00:00+02:00",
            },
        },
        batchSize=50,
    )

    assert answer.status_code == 202, answer.json
    assert ScanConfig.from_json(stored_config()) == ScanConfig(
        properties=("dealname", "hs_priority"),
        association_types=("contacts", "line_items"),
        include_archived=True,
        pipeline_id="default",
        deal_stage="closedwon",
        date_property="createdate",
        start_date="2026-01-01",
        end_date="2026-06-30T10:00:00.000Z",
        batch_size=50,
    )


def test_associations_are_left_out_unless_they_are_wanted(start):
    start(associationTypes=["contacts"])

    assert ScanConfig.from_json(stored_config()) == ScanConfig()


def test_associations_are_of_the_three_usual_types_unless_others_are_named(start):
    start(includeAssociations=True)

    assert ScanConfig.from_json(stored_config()).association_types == (
        *("contacts", "companies", "line_items"),
    )


DATES = {"property": "createdate", "startDate": "2026-06-30", "endDate": "2026-07-01"}
WRONG = [
    ("scanId", None, "scanId", "Field is required"),
    ("scanId", "", "scanId", "Must be"),
    ("scanId", "a b", "scanId", "Must be alphanumeric with hyphens/underscores only"),
    ("scanId", "a\n", "scanId", "Must be alphanumeric with hyphens/underscores only"),
    ("scanId", "é", "scanId", "Must be alphanumeric with hyphens/underscores only"),
    ("scanId", "x" * 256, "scanId", ""),
    ("scanId", 7, "scanId", "Not a valid string."),
    ("type", None, "type", "Field is required"),
    ("type", [], "type", 'Must be ["hubspot_deals"]'),
    ("type", ["hubspot_contacts"], "type.0", "Must be hubspot_deals"),
    ("type", "hubspot_deals", "type", "Not a valid list."),
    ("auth", None, "auth", "Field is required"),
    ("auth", {}, "auth.hubspot_access_token", "Field is required"),
    ("auth", {"hubspot_access_token": ""}, "auth.hubspot_access_token", ""),
    ("auth", {"hubspot_access_token": "x\ny"}, "auth.hubspot_access_token", ""),
    ("auth", {"hubspot_access_token": "x" * 2001}, "auth.hubspot_access_token", ""),
    ("properties", ["Deal Name"], "properties.0", "Must be the name of a property"),
    ("properties", ["x"] * 251, "properties", ""),
    ("includeAssociations", "yes", "includeAssociations", "Must be true or false."),
    ("includeAssociations", 1, "includeAssociations", "Must be true or false."),
    ("associationTypes", ["quotes"], "associationTypes.0", "Must be one of"),
    ("associationTypes", [], "associationTypes", ""),
    ("batchSize", 0, "batchSize", "Must be"),
    ("batchSize", 101, "batchSize", "Must be"),
    ("batchSize", "100", "batchSize", "Must be a whole number."),
    ("batchSize", True, "batchSize", "Must be a whole number."),
    ("batchSize", 10**30, "batchSize", "Must be"),
    ("filters", {"includeArchived": "false"}, "filters.includeArchived", "Must be true"),
    ("filters", {"stage": "x"}, "filters.stage", "Unknown field."),
    ("filters", {"dateFilter": {}}, "filters.dateFilter.property", "Field is required"),
    ("filters", {"dateFilter": {"property": "x"}}, "filters.dateFilter.startDate", "Give start"),
    (
        *("filters", {"dateFilter": DATES | {"endDate": "yesterday"}}),
        *("filters.dateFilter.endDate", "Must be a date or a time"),
    ),
    (
        *("filters", {"dateFilter": DATES | {"endDate": "2026-06-29"}}),
        *("filters.dateFilter.endDate", "Must not be before startDate."),
    ),
    ("surprise", 1, "surprise", "Unknown field."),
]


@pytest.mark.parametrize(("name", "value", "path", "sentence"), WRONG)
def test_what_is_wrong_with_a_start_is_said_by_its_dotted_path(start, name, value, path, sentence):
    answer = start(**{name: value})

    assert answer.status_code == 400
    assert answer.json["error_code"] == "VALIDATION_ERROR"
    assert answer.json["message"] == "Input validation failed"
    assert list(answer.json["errors"]) == [f"config.{path}"]
    assert sentence in answer.json["errors"][f"config.{path}"]
    assert TOKEN not in answer.text


def test_one_day_is_a_span(start):
    dates = {"property": "createdate", "startDate": "2026-06-30T08:00:00Z", "endDate": "2026-06-30"}

    assert start(filters={"dateFilter": dates}).status_code == 202


@pytest.mark.parametrize(
    ("body", "content_type"),
    [("{", "application/json"), ("[]", "application/json"), ("{}", "text/plain")],
)
def test_a_body_that_is_no_json_object_is_refused_in_the_same_words(
    client, key, body, content_type
):
    answer = client.post(f"{SCANS}/start", data=body, content_type=content_type, headers=key)

    assert (answer.status_code, answer.json["message"]) == (400, "Input validation failed")


def test_a_scan_that_runs_is_not_started_twice(start):
    start()

    answer = start()

    assert (answer.status_code, answer.json["error_code"]) == (409, "SCAN_IN_PROGRESS")
    assert answer.json["message"] == "Extraction already in progress"
    details = answer.json["details"]
    assert details.pop("startedAt").endswith("Z")
    assert details == {"scanId": "nightly", "currentStatus": "pending"}


def test_the_eleventh_scan_at_once_is_too_many(start):
    statuses = [start(scanId=f"scan-{number}").status_code for number in range(11)]

    assert statuses == [202] * 10 + [429]


@pytest.mark.parametrize("name", ["Other", "other", "0", "999999", "-1", "default", " Default"])
def test_nobody_starts_a_scan_for_another_organization(start, name):
    answer = start(organizationId=name)

    assert (answer.status_code, answer.json["error_code"]) == (403, "FORBIDDEN")


@pytest.fixture
def open_access(open_access, key):
    """Calls come in without the key, as from somebody who tries this out."""
    key.clear()


def own_names(organization_id):
    users.set_identifier("Default", "org_123456")
    return ("Default", organization_id, "org_123456")


def test_an_organization_is_named_by_its_name_number_or_identifier_and_shown_as_it_was_given(
    start, get, organization_id
):
    for name in own_names(organization_id):
        assert start(scanId="a", organizationId=name).status_code == 202

        shown = [get("scan/status/a").json, *get("scan/list").json["scans"]]
        assert [each["organizationId"] for each in shown] == [name, name]
        assert users.get_organization_id("Default") == int(organization_id)
        cancel_scan(int(organization_id), "a")


@pytest.mark.parametrize("given", [{}, {"organizationId": ""}])
def test_a_scan_whose_start_names_no_organization_shows_its_number(
    start, get, organization_id, given
):
    assert start(**given).status_code == 202

    assert get("scan/status/nightly").json["organizationId"] == organization_id


def test_an_organization_is_not_named_by_anothers_identifier(start, get, foreign_key):
    users.set_identifier("Other", "org_7")

    answers = [
        start(organizationId="org_7"),
        get("scan/list", organization_id="org_7"),
        get("stats", organization_id="org_7"),
    ]

    assert {(each.status_code, each.json["error_code"]) for each in answers} == {(403, "FORBIDDEN")}
    assert start(headers=foreign_key, organizationId="org_7").status_code == 202


def test_scans_are_found_by_each_name_of_the_organization_whichever_they_were_started_with(
    start, get, organization_id
):
    names = own_names(organization_id)
    for number, name in enumerate(names):
        start(scanId=f"scan-{number}", organizationId=name)

    for name in names:
        assert len(get("scan/list", organization_id=name).json["scans"]) == 3
        assert get("stats", organization_id=name).json["summary"]["total_scans"] == 3


@pytest.mark.parametrize("value", [7, True, [], {}, "x" * 256, "a\nb"])
def test_what_cannot_be_the_name_of_an_organization_is_a_400(start, open_access, value):
    answer = start(organizationId=value)

    assert (answer.status_code, list(answer.json["errors"])) == (400, ["config.organizationId"])


def test_under_open_access_any_name_of_an_organization_is_a_label(start, get, open_access):
    for name in ("org_123456", "Acme & Söhne", "0"):
        assert start(scanId="a", organizationId=name).status_code == 202

        assert get("scan/status/a").json["organizationId"] == name
        cancel_scan(users.get_organization_id("Default"), "a")


def test_under_open_access_scans_are_found_by_their_label(start, get, open_access, organization_id):
    for scan_id, label in (("a", "org_1"), ("b", "org_2"), ("c", None)):
        start(scanId=scan_id, organizationId=label)

    for label, found in (
        *(("org_1", ["a"]), ("org_2", ["b"]), (organization_id, ["c"])),
        *(("org_3", []), ("", ["c", "b", "a"])),
    ):
        listed = get("scan/list", organization_id=label).json
        stats = get("stats", organization_id=label).json
        assert [each["scanId"] for each in listed["scans"]] == found
        assert listed["pagination"]["total_items"] == len(found)
        assert stats["summary"]["total_scans"] == stats["status_breakdown"]["pending"] == len(found)


def test_a_scan_of_the_sandbox_is_read_from_its_start_to_its_results(start, get, run_jobs, sandbox):
    hubspot = HubSpot(sandbox.url)
    contact = hubspot.create("contacts", email="ada@example.com")["id"]
    deals = [
        hubspot.create("deals", dealname=f"Deal {number}", dealstage="closedwon", amount="1000")
        for number in range(5)
    ]
    pair = f"deals/{deals[0]['id']}/associations/default/contacts/{contact}"
    assert hubspot.put(f"/crm/v4/objects/{pair}").ok
    auth = {"hubspot_access_token": "pat-na1-sandbox"}
    assert start(auth=auth, includeAssociations=True).status_code == 202

    run_jobs()

    status = get("scan/status/nightly").json
    assert status["status"] == "completed", status
    assert status["progress"]["total_items"] == status["results"]["deals_extracted"] == 5
    assert status["results"]["with_associations"] == 1
    found = get("scan/results/nightly").json["deals"]
    assert [each["deal_id"] for each in found] == [each["id"] for each in deals]
    assert found[0]["associations"]["contacts"] == [{"id": contact, "type": "deal_to_contact"}]
    assert (found[0]["amount"], found[0]["deal_stage_label"]) == (1000.0, "Closed Won")
    export = get("scan/results/nightly/export", format="jsonl", buffered=True)
    assert [json.loads(line) for line in export.text.splitlines()] == found


def test_a_token_that_hubspot_refuses_fails_the_scan(start, get, run_jobs):
    start()

    run_jobs()

    status, [listed] = get("scan/status/nightly").json, get("scan/list").json["scans"]
    for each in (status, listed):
        assert (each["status"], each["error_code"]) == ("failed", "HUBSPOT_AUTH_FAILED")
        assert each["error_message"].startswith("HubSpot API authentication failed: Auth")
    assert get("stats").json["error_analysis"]["authentication_failures"] == 1


def test_the_token_of_a_scan_is_told_to_nobody(start, get, capfd):
    start()

    answers = [get("scan/status/nightly"), get("scan/list"), get("stats"), start()]

    assert all(TOKEN not in answer.text for answer in answers)
    with transaction() as session:
        kept = session.execute(text("SELECT scans::text FROM scans")).scalar_one()
    assert TOKEN not in kept
    assert TOKEN not in "".join(capfd.readouterr())


def test_the_status_of_a_running_scan_tells_how_far_it_is(get, organization_id):
    make_scan(
        "nightly",
        status="running",
        total_items=1000,
        processed_items=399,
        failed_items=1,
        ago=120,
        config=ScanConfig(properties=("dealname",), batch_size=50),
    )

    body = get("scan/status/nightly").json

    assert body.pop("id").startswith("job_")
    assert all(body.pop(name).endswith("Z") for name in ("created_at", "started_at", "updated_at"))
    assert body == {
        "scanId": "nightly",
        "status": "running",
        "scanType": "hubspot_deals",
        "organizationId": organization_id,
        "completed_at": None,
        "error_message": None,
        "error_code": None,
        "progress": {
            "total_items": 1000,
            "processed_items": 399,
            "failed_items": 1,
            "success_rate": "99.75%",
            "current_batch": 8,
            "total_batches": 20,
            "estimated_time_remaining": "3 minutes",
        },
        "config": {"properties": ["dealname"], "includeAssociations": False, "batchSize": 50},
    }


def test_a_rate_is_100_percent_only_if_nothing_failed():
    rates = [
        scans_status.percentage(*each) for each in ((99_999, 100_000), (1, 1), (399, 400), (0, 0))
    ]

    assert rates == ["99.99%", "100.00%", "99.75%", "0%"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "1 second"), (1.4, "1 second"), (45, "45 seconds"), (60, "1 minute")),
        *((170, "3 minutes"), (3600, "1 hour"), (2.6 * 3600, "3 hours")),
    ],
)
def test_a_time_is_told_as_people_say_it(seconds, words):
    assert scans_status.in_words(seconds) == words


def test_the_status_of_a_completed_scan_tells_what_it_brought(get):
    make_scan("nightly", deals=3)

    body = get("scan/status/nightly").json

    assert body["status"] == "completed"
    assert body["progress"]["duration_seconds"] == 60
    assert body["progress"]["success_rate"] == "100.00%"
    assert body["progress"]["estimated_time_remaining"] is None
    assert body["results"] == {
        "deals_extracted": 3,
        "with_associations": 0,
        "archived_deals": 0,
        "data_size_mb": 2.5,
    }
    assert body["config"]["includeAssociations"] is True


def test_what_is_not_known_of_a_scan_yet_is_0(get):
    make_scan("nightly", deals=0)
    make_scan("pending", status="pending", total_items=None)

    completed, pending = (get(f"scan/status/{name}").json for name in ("nightly", "pending"))

    assert completed["progress"]["success_rate"] == "0%"
    assert (completed["progress"]["current_batch"], completed["progress"]["total_batches"]) == (
        0,
        0,
    )
    assert pending["progress"] == {
        "total_items": 0,
        "processed_items": 0,
        "failed_items": 0,
        "success_rate": "0%",
        "current_batch": 0,
        "total_batches": 0,
        "estimated_time_remaining": None,
    }
    assert pending["started_at"] is None
    [listed] = get("scan/list", status="pending").json["scans"]
    numbers = ("total_items", "processed_items", "duration_seconds", "data_size_mb")
    assert [listed[each] for each in numbers] == [0, 0, 0, 2.5]
    assert listed["success_rate"] == "0%"


def test_the_status_of_a_failed_scan_tells_why(get):
    make_scan("nightly", status="failed", error_message="The token is expired")

    body = get("scan/status/nightly").json

    assert (body["status"], body["error_message"]) == ("failed", "The token is expired")
    assert "results" not in body


def test_the_status_of_an_unknown_scan_is_not_found_and_nothing_else(get):
    answer = get("scan/status/unknown")

    assert answer.status_code == 200
    assert answer.json == {
        "id": None,
        "scanId": None,
        "status": "not_found",
        "started_at": None,
        "completed_at": None,
        "error_message": None,
        "created_at": None,
        "updated_at": None,
    }


PATHS = ["scan/status", "scan/results", "scan/events"]


@pytest.mark.parametrize("scan_id", ["a b", "x" * 256, "a.b", "%00", "é", "a%0A"])
@pytest.mark.parametrize("path", PATHS)
def test_a_malformed_id_is_a_400(get, path, scan_id):
    answer = get(f"{path}/{scan_id}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["scan_id"]


@pytest.mark.parametrize("path", [*(f"{path}/nightly" for path in PATHS), "scan/list", "stats"])
def test_an_unknown_query_parameter_is_a_400(get, path):
    answer = get(path, surprise="1")

    assert answer.status_code == 400
    assert answer.json["errors"] == {"surprise": "Unknown field."}


def test_a_scan_is_cancelled_in_the_words_of_the_contract(client, key, get, start):
    start()

    answer = client.post(f"{SCANS}/cancel/nightly", headers=key)

    assert answer.status_code == 200
    assert answer.json.pop("cancelledAt").endswith("Z")
    assert answer.json == {
        "message": "Extraction cancelled successfully",
        "scanId": "nightly",
        "status": "cancelled",
        "itemsProcessed": 0,
        "cancelledAt": answer.json["cancelledAt"],
    }
    assert get("scan/status/nightly").json["status"] == "cancelled"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_scan_that_has_ended_is_not_cancelled(client, key, status):
    make_scan("nightly", status=status)

    answer = client.post(f"{SCANS}/cancel/nightly", headers=key)

    assert (answer.status_code, answer.json["error_code"]) == (400, "INVALID_CANCELLATION")
    assert answer.json["message"] == "Cannot cancel completed extraction"
    assert answer.json["details"] == {"scanId": "nightly", "currentStatus": status}


def test_an_unknown_scan_is_not_cancelled(client, key):
    answer = client.post(f"{SCANS}/cancel/unknown", headers=key)

    assert (answer.status_code, answer.json["error_code"]) == (404, "SCAN_NOT_FOUND")


def test_another_organizations_scan_is_as_unknown(client, get, foreign_key):
    make_scan("nightly", deals=1)

    status = get("scan/status/nightly", headers=foreign_key).json
    listed = get("scan/list", headers=foreign_key).json
    stats = get("stats", headers=foreign_key).json
    codes = [
        get(path, headers=foreign_key).json["error_code"]
        for path in ("scan/results/nightly", "scan/events/nightly")
    ]
    export = get("scan/results/nightly/export", headers=foreign_key, format="csv")
    cancelled = client.post(f"{SCANS}/cancel/nightly", headers=foreign_key)

    assert (status["status"], status["id"]) == ("not_found", None)
    assert listed["scans"] == []
    assert listed["pagination"]["total_items"] == stats["summary"]["total_scans"] == 0
    assert codes == ["SCAN_NOT_FOUND", "SCAN_NOT_FOUND"]
    assert (export.status_code, cancelled.status_code) == (404, 404)


def test_two_organizations_have_scans_of_one_name(start, get, foreign_key):
    assert [start().status_code, start(headers=foreign_key).status_code] == [202, 202]


def test_an_admin_may_what_a_key_may_and_a_user_may_not(get, make_user):
    make_scan("nightly")
    admin, user = (make_user(f"{role}@example.com", role=role) for role in ("admin", "user"))

    answers = [get("scan/status/nightly", headers=each.headers) for each in (admin, user)]

    assert [each.status_code for each in answers] == [200, 403]


def test_scans_are_listed_the_latest_first(get, organization_id):
    for number in range(3):
        make_scan(f"scan-{number}", ago=600 - number, deals=number)
    make_scan("running", status="running", total_items=10, processed_items=5, ago=60)
    make_scan("failed", status="failed", error_message="No", ago=700)

    body = get("scan/list").json

    assert [each["scanId"] for each in body["scans"]] == [
        *("running", "scan-2", "scan-1", "scan-0", "failed")
    ]
    running, latest, *_, failed = body["scans"]
    assert (running["estimated_time_remaining"], failed["error_message"]) == ("1 minute", "No")
    assert "error_message" not in latest
    assert (latest["duration_seconds"], latest["data_size_mb"]) == (60, 2.5)
    assert (latest["total_items"], latest["success_rate"]) == (2, "100.00%")
    assert latest["organizationId"] == organization_id
    assert body["pagination"] == {
        "current_page": 1,
        "page_size": 20,
        "total_items": 5,
        "total_pages": 1,
        "has_next": False,
        "has_previous": False,
        "next_page": None,
        "previous_page": None,
    }


def test_scans_are_listed_by_status_page_and_order(get):
    for number in range(5):
        make_scan(f"scan-{number}", ago=600 - number, took=60 - 10 * number)
    make_scan("running", status="running")

    found = get(
        "scan/list", status="completed", page=2, page_size=2, sort_by="completed_at",
        sort_order="asc",
    ).json  # fmt: skip

    assert [each["scanId"] for each in found["scans"]] == ["scan-2", "scan-1"]
    assert found["pagination"]["next_page"] == 3
    assert found["pagination"]["previous_page"] == 1


def test_what_has_not_ended_comes_last_by_its_end(get):
    make_scan("running", status="running")
    make_scan("done")

    for order in ("asc", "desc"):
        found = get("scan/list", sort_by="completed_at", sort_order=order).json["scans"]
        assert [each["scanId"] for each in found] == ["done", "running"]


def test_a_page_far_beyond_the_last_is_empty(get):
    make_scan("nightly")

    body = get("scan/list", page=10**9).json

    assert body["scans"] == []
    assert (body["pagination"]["has_next"], body["pagination"]["previous_page"]) == (False, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("page", each) for each in (0, -1, "x", 10**9 + 1, 10**40)),
        *(("page_size", each) for each in (0, 101, "1.5")),
        *(("status", "not_found"), ("sort_by", "id"), ("sort_order", "up")),
    ],
)
def test_a_wrong_list_query_is_a_400(get, name, value):
    answer = get("scan/list", **{name: value})

    assert (answer.status_code, list(answer.json["errors"])) == (400, [name])


@pytest.mark.parametrize("path", ["scan/status/nightly", "scan/list", "stats"])
def test_an_empty_value_in_a_query_counts_as_not_given(get, path):
    make_scan("nightly")
    names = ("status", "organization_id", "page", "page_size", "sort_by", "sort_order", "period")

    given, not_given = get(path, **dict.fromkeys(names, "")), get(path)

    assert given.status_code == 200
    assert given.json | {"timestamp": None} == not_given.json | {"timestamp": None}


@pytest.mark.parametrize("path", ["scan/list", "stats"])
def test_only_ones_own_organization_may_be_named(get, organization_id, path):
    assert get(path, organization_id=organization_id).status_code == 200
    assert get(path, organization_id="0").status_code == 403


def test_statistics_tell_what_became_of_scans(get):
    make_scan("a", deals=30, took=10, ago=100)
    make_scan("b", deals=90, took=30, ago=95)
    make_scan("c", status="running", ago=80)
    make_scan("d", status="cancelled", ago=60, took=1)
    make_scan("e", status="pending")
    for number, code in enumerate(
        ("HUBSPOT_AUTH_FAILED", "FORBIDDEN", "RATE_LIMIT_EXCEEDED", "HUBSPOT_UNAVAILABLE", None)
    ):
        make_scan(f"f{number}", status="failed", error_code=code, took=0, ago=50 - number)
    make_scan("old", deals=7, ago=25 * 3600)

    body = get("stats").json

    assert body.pop("timestamp").endswith("Z")
    assert body == {
        "period": "24h",
        "summary": {
            "total_scans": 10,
            "successful_scans": 2,
            "failed_scans": 5,
            "success_rate": "28.57%",
            "total_deals_extracted": 120,
            "average_scan_duration_seconds": 20,
            "total_data_extracted_mb": 25.0,
        },
        "status_breakdown": {
            "completed": 2,
            "failed": 5,
            "running": 1,
            "pending": 1,
            "cancelled": 1,
        },
        "performance_metrics": {
            "fastest_scan_seconds": 10,
            "slowest_scan_seconds": 30,
            "average_deals_per_second": 3,
            "peak_concurrent_scans": 2,
        },
        "error_analysis": {
            "authentication_failures": 2,
            "rate_limit_errors": 1,
            "network_timeouts": 1,
            "other_errors": 1,
        },
    }
    assert get("stats", period="7d").json["summary"]["total_scans"] == 11


def test_statistics_of_nothing_are_zeros(get):
    body = get("stats", period="30d").json

    assert body["summary"].pop("success_rate") == "0%"
    parts = ("summary", "status_breakdown", "performance_metrics", "error_analysis")
    assert {figure for part in parts for figure in body[part].values()} == {0}


def test_times_are_in_whole_seconds(get, start, client, key):
    make_scan("done", deals=1)
    make_scan("running", status="running")
    answers = [
        *(get(path).json for path in ("scan/status/done", "scan/list", "stats")),
        get("scan/results/done").json,
        start(scanId="running").json,
        client.post(f"{SCANS}/cancel/running", headers=key).json,
    ]

    times = re.findall(r'"([^"]*\dT\d[^"]*)"', json.dumps(answers))

    assert len(times) > 10
    assert [each for each in times if not re.fullmatch(r"[\d-]{10}T[\d:]{8}Z", each)] == []


def test_health_tells_of_scans(get):
    make_scan("a", deals=5, ago=0, took=0)
    make_scan("b", status="running")

    assert get("health").json["metrics"] == {
        "active_scans": 1,
        "completed_scans_today": 1,
        "total_deals_extracted_today": 5,
    }
