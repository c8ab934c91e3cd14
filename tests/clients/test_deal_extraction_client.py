"""The client of the document about deal extraction: it reads all deals of a portal by a scan."""

import re
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from run import DEMO_EMAIL, DEMO_PASSWORD
from tests.test_run import Checkout

TIMEOUT = 30
TOKEN = "pat-na1-sandbox"
CONFIG = {
    "scanId": "hubspot-deals-2025-q3",
    "type": ["hubspot_deals"],
    "auth": {"hubspot_access_token": TOKEN},
    "organizationId": "org_123456",
    "properties": ["dealname", "amount", "dealstage", "pipeline", "closedate"],
    "includeAssociations": True,
    "associationTypes": ["contacts", "companies", "line_items"],
    "filters": {
        "includeArchived": False,
        "pipelineId": None,
        "dealstage": None,
        "dateFilter": {
            "property": "createdate",
            "startDate": "2024-01-01",
            "endDate": "2027-12-31",
        },
    },
    "batchSize": 100,
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
RATE = re.compile(r"\d+(\.\d+)?%")
PAGINATION = {
    *("current_page", "page_size", "total_items", "total_pages"),
    *("has_next", "has_previous", "next_page", "previous_page"),
}
DEAL = {
    *("id", "deal_id", "deal_name", "amount", "currency", "deal_stage", "deal_stage_label"),
    *("pipeline_id", "pipeline_label", "close_date", "deal_created_at", "deal_updated_at"),
    *("owner_id", "owner_email", "deal_type", "is_archived", "deal_url"),
    *("properties", "associations"),
}


@pytest.fixture(scope="module")
def service():
    # Below /tmp, as in test_run.py.
    with tempfile.TemporaryDirectory(prefix="crm-clients-", dir="/tmp") as folder:
        checkout = Checkout(Path(folder))
        service = checkout.service()
        identify = ("organizations", "identify", "Default", "org_123456")
        assert checkout.run("-m", "flask", "--app", "crm", *identify).code == 0
        yield service
        checkout.stop()


@pytest.fixture(scope="module")
def hubspot(service):
    """The sandbox's address."""
    return service.hubspot


@pytest.fixture(scope="module")
def client(service):
    return Client(service.url, service.sign_in(DEMO_EMAIL, DEMO_PASSWORD))


class Client:
    """Calls below the document's base path."""

    def __init__(self, url, token):
        self.url = f"{url}/api/v1"
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, path, **query):
        return requests.get(self.url + path, params=query, headers=self.headers, timeout=TIMEOUT)

    def post(self, path, body=None):
        return requests.post(self.url + path, json=body, headers=self.headers, timeout=TIMEOUT)

    def start(self, **changes):
        config = {name: each for name, each in {**CONFIG, **changes}.items() if each != ...}
        return self.post("/scan/start", {"config": config})

    def status(self, scan_id):
        answer = self.get(f"/scan/status/{scan_id}")
        assert answer.status_code == 200
        return answer.json()

    def wait(self, scan_id):
        """The status once the scan has ended."""
        until = time.monotonic() + 60
        while (found := self.status(scan_id))["status"] in ("pending", "running"):
            assert time.monotonic() < until, found
            time.sleep(0.2)
        return found


@pytest.fixture(scope="module")
def started(client):
    """The answer to the document's own start."""
    return client.start()


@pytest.fixture(scope="module")
def completed(client, started):
    """The status of that scan, once it has completed."""
    assert started.status_code == 202, started.text
    return client.wait("hubspot-deals-2025-q3")


@pytest.fixture(scope="module")
def failed(client):
    """The status of a scan whose token HubSpot refuses."""
    token = "pat-na1-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
    answer = client.start(scanId="refused", auth={"hubspot_access_token": token})
    assert answer.status_code == 202, answer.text
    return client.wait("refused")


@pytest.fixture
def slow(hubspot):
    """HubSpot takes its time, so that a scan can be seen at work."""
    fault = {"kind": "slow", "seconds": 2, "match": "deals"}
    answer = requests.put(f"{hubspot}/_sandbox/faults", json={"faults": [fault]}, timeout=TIMEOUT)
    assert answer.ok, answer.text
    yield
    requests.delete(f"{hubspot}/_sandbox/faults", timeout=TIMEOUT)


@pytest.fixture
def running(client, slow):
    """The name of a scan that runs."""
    scan_id = f"running-{uuid4()}"
    assert client.start(scanId=scan_id).status_code == 202
    yield scan_id
    client.post(f"/scan/cancel/{scan_id}")


def check_error(answer, status, code, message):
    body = answer.json()
    assert answer.status_code == status, body
    assert (body["status"], body["error_code"]) == ("error", code)
    assert body["error"] == body["message"] == message
    assert TIME.fullmatch(body["timestamp"])
    assert body["request_id"]
    return body


def test_a_scan_starts_with_the_documents_body(started):
    assert started.status_code == 202
    body = started.json()
    assert re.fullmatch(r"job_\w+", body.pop("jobId"))
    assert body == {
        "message": "HubSpot deal extraction started",
        "scanId": "hubspot-deals-2025-q3",
        "status": "started",
        "estimatedDuration": "5-10 minutes",
    }


def test_a_scan_starts_with_no_more_than_is_required(client):
    answer = client.post(
        "/scan/start",
        {
            "config": {
                "scanId": "my-deals-extraction",
                "type": ["hubspot_deals"],
                "auth": {"hubspot_access_token": TOKEN},
            }
        },
    )

    assert answer.status_code == 202
    status = client.wait("my-deals-extraction")
    assert status["status"] == "completed"
    assert status["config"]["includeAssociations"] is False
    assert status["config"]["batchSize"] == 100


WRONG = [
    ("scanId", ..., "scanId", "Field is required"),
    ("scanId", "my scan!", "scanId", "Must be alphanumeric with hyphens/underscores only"),
    ("scanId", "", "scanId", None),
    ("scanId", "x" * 256, "scanId", None),
    ("scanId", 7, "scanId", None),
    ("type", ..., "type", "Field is required"),
    ("type", [], "type", None),
    ("type", ["hubspot_tasks"], "type.0", None),
    ("type", "hubspot_deals", "type", None),
    ("auth", ..., "auth", "Field is required"),
    ("auth", {}, "auth.hubspot_access_token", "Field is required"),
    ("auth", {"hubspot_access_token": 7}, "auth.hubspot_access_token", None),
    ("auth", {"hubspot_access_token": None}, "auth.hubspot_access_token", None),
    ("auth", TOKEN, "auth", None),
    ("auth", None, "auth", None),
    ("organizationId", 7, "organizationId", None),
    ("properties", "dealname", "properties", None),
    ("includeAssociations", "true", "includeAssociations", None),
    ("associationTypes", ["owners"], "associationTypes.0", None),
    ("batchSize", 101, "batchSize", None),
    ("batchSize", 0, "batchSize", None),
    ("batchSize", "100", "batchSize", None),
    ("filters", {"includeArchived": 1}, "filters.includeArchived", None),
    ("filters", {"dateFilter": {}}, "filters.dateFilter.property", "Field is required"),
    ("filters", {"other": 1}, "filters.other", None),
]


@pytest.mark.parametrize(("name", "value", "path", "sentence"), WRONG)
def test_a_start_with_a_wrong_value_names_it_by_its_dotted_path(
    client, name, value, path, sentence
):
    answer = client.start(**{name: value})

    body = check_error(answer, 400, "VALIDATION_ERROR", "Input validation failed")
    assert list(body["errors"]) == [f"config.{path}"]
    assert sentence in (None, body["errors"][f"config.{path}"])


def test_a_start_without_a_config_says_that_it_is_required(client):
    body = check_error(
        client.post("/scan/start", {}), 400, "VALIDATION_ERROR", "Input validation failed"
    )

    assert body["errors"] == {"config": "Field is required"}


def test_a_scan_id_has_up_to_255_characters(client):
    scan_id = "aZ09-_".ljust(255, "x")

    assert client.start(scanId=scan_id).status_code == 202
    assert client.wait(scan_id)["scanId"] == scan_id


def test_a_scan_at_work_is_not_started_twice(client, running):
    body = check_error(
        client.start(scanId=running), 409, "SCAN_IN_PROGRESS", "Extraction already in progress"
    )

    assert set(body["details"]) == {"scanId", "currentStatus", "startedAt"}
    assert body["details"]["scanId"] == running
    assert body["details"]["currentStatus"] in ("pending", "running")
    assert TIME.fullmatch(body["details"]["startedAt"])


def test_more_than_ten_scans_at_once_are_too_many(client, completed, failed, slow):
    names = [f"many-{number}" for number in range(11)]

    answers = [client.start(scanId=each) for each in names]

    for each in names:
        client.post(f"/scan/cancel/{each}")
    assert [each.status_code for each in answers] == [202] * 10 + [429]
    assert answers[-1].json()["error_code"] == "RATE_LIMIT_EXCEEDED"
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_the_status_of_a_scan_at_work_has_every_field(client, running):
    body = client.status(running)

    assert body["status"] in ("pending", "running")
    assert (body["scanId"], body["scanType"]) == (running, "hubspot_deals")
    assert body["organizationId"] == "org_123456"
    assert (body["completed_at"], body["error_message"]) == (None, None)
    assert all(TIME.fullmatch(body[each]) for each in ("created_at", "updated_at"))
    progress = body["progress"]
    numbers = ("total_items", "processed_items", "failed_items", "current_batch", "total_batches")
    assert all(type(progress[each]) is int for each in numbers)
    assert RATE.fullmatch(progress["success_rate"])
    assert "estimated_time_remaining" in progress
    assert body["config"] == {
        "properties": CONFIG["properties"],
        "includeAssociations": True,
        "batchSize": 100,
    }


def test_the_status_of_a_completed_scan_says_what_it_brought(completed, started):
    assert completed["status"] == "completed"
    assert completed["id"] == started.json()["jobId"]
    assert completed["organizationId"] == "org_123456"
    assert all(
        TIME.fullmatch(completed[each])
        for each in ("created_at", "updated_at", "started_at", "completed_at")
    )
    assert completed["error_message"] is None
    progress, results = completed["progress"], completed["results"]
    assert progress["total_items"] == progress["processed_items"] == results["deals_extracted"] > 0
    assert (progress["failed_items"], results["archived_deals"]) == (0, 0)
    assert type(progress["duration_seconds"]) is int
    assert results["with_associations"] > 0
    assert results["data_size_mb"] > 0


def test_a_token_that_hubspot_refuses_fails_the_scan(failed):
    assert (failed["status"], failed["error_code"]) == ("failed", "HUBSPOT_AUTH_FAILED")
    assert failed["error_message"].startswith("HubSpot API authentication failed: ")
    assert failed["progress"]["total_items"] == failed["progress"]["processed_items"] == 0
    assert failed["progress"]["failed_items"] == 0
    assert failed["progress"]["success_rate"] == "0%"
    assert "xxxxxxxx" not in str(failed)


def test_the_status_of_an_unknown_scan_has_eight_fields_and_is_not_found(client):
    assert client.status("unknown") == {
        "id": None,
        "scanId": None,
        "status": "not_found",
        "started_at": None,
        "completed_at": None,
        "error_message": None,
        "created_at": None,
        "updated_at": None,
    }


@pytest.mark.parametrize("path", ["/scan/status/a.b", "/scan/results/a%20b"])
def test_a_malformed_id_is_an_error(client, path):
    check_error(client.get(path), 400, "VALIDATION_ERROR", "Input validation failed")


def test_a_scan_at_work_is_cancelled(client, running):
    answer = client.post(f"/scan/cancel/{running}")

    assert answer.status_code == 200
    body = answer.json()
    assert TIME.fullmatch(body.pop("cancelledAt"))
    assert type(body.pop("itemsProcessed")) is int
    assert body == {
        "message": "Extraction cancelled successfully",
        "scanId": running,
        "status": "cancelled",
    }
    assert client.status(running)["status"] == "cancelled"


def test_a_completed_scan_cannot_be_cancelled(client, completed):
    answer = client.post("/scan/cancel/hubspot-deals-2025-q3")

    body = check_error(answer, 400, "INVALID_CANCELLATION", "Cannot cancel completed extraction")
    assert body["details"] == {"scanId": "hubspot-deals-2025-q3", "currentStatus": "completed"}


def test_a_failed_scan_cannot_be_cancelled_either(client, failed):
    answer = client.post("/scan/cancel/refused")

    body = check_error(answer, 400, "INVALID_CANCELLATION", "Cannot cancel completed extraction")
    assert body["details"] == {"scanId": "refused", "currentStatus": "failed"}


def test_an_unknown_scan_cannot_be_cancelled(client):
    check_error(client.post("/scan/cancel/unknown"), 404, "SCAN_NOT_FOUND", "Resource not found")


def test_results_are_read_page_by_page(client, completed):
    first = client.get("/scan/results/hubspot-deals-2025-q3", page=1, page_size=50).json()
    pagination = first["pagination"]

    assert (first["scanId"], first["status"]) == ("hubspot-deals-2025-q3", "completed")
    assert set(pagination) == {*PAGINATION, "next_cursor"}
    total = completed["results"]["deals_extracted"]
    assert (pagination["current_page"], pagination["page_size"]) == (1, 50)
    assert (pagination["total_items"], pagination["total_pages"]) == (total, -(-total // 50))
    assert (pagination["has_next"], pagination["next_page"]) == (True, 2)
    assert (pagination["has_previous"], pagination["previous_page"]) == (False, None)
    second = client.get("/scan/results/hubspot-deals-2025-q3", page=2).json()
    by_cursor = client.get(
        "/scan/results/hubspot-deals-2025-q3", cursor=pagination["next_cursor"]
    ).json()
    assert second["deals"] == by_cursor["deals"]
    ids = [each["deal_id"] for page in (first, second) for each in page["deals"]]
    assert len(set(ids)) == len(ids) == min(total, 100)


def test_a_deal_has_every_field(client, completed):
    deals = client.get("/scan/results/hubspot-deals-2025-q3", page_size=500).json()["deals"]

    assert {frozenset(each) for each in deals} == {frozenset(DEAL)}
    assert deals[0]["id"] == "result_001"
    assert {type(each["amount"]) for each in deals} <= {int, float, type(None)}
    assert {each["is_archived"] for each in deals} == {False}
    times = ("close_date", "deal_created_at", "deal_updated_at")
    written = [deal[each] for deal in deals for each in times if deal[each] is not None]
    assert written
    assert all(map(TIME.fullmatch, written))
    assert {frozenset(each["associations"]) for each in deals} == {
        frozenset(("contacts", "companies", "line_items"))
    }
    pairs = {
        (name, pair["type"])
        for deal in deals
        for name, pairs in deal["associations"].items()
        for pair in pairs
        if set(pair) == {"id", "type"}
    }
    assert {
        *(("contacts", "deal_to_contact"), ("companies", "deal_to_company")),
        ("line_items", "deal_to_line_item"),
    } <= pairs


@pytest.mark.parametrize(
    ("name", "field"),
    [("pipeline", "pipeline_id"), ("dealstage", "deal_stage"), ("owner_id", "owner_id")],
)
def test_results_are_filtered(client, completed, name, field):
    path = "/scan/results/hubspot-deals-2025-q3"
    deals = client.get(path, page_size=500).json()["deals"]
    value = deals[0][field]

    found = client.get(path, page_size=500, **{name: value}).json()

    wanted = [each["deal_id"] for each in deals if each[field] == value]
    assert [each["deal_id"] for each in found["deals"]] == wanted
    assert found["pagination"]["total_items"] == len(wanted)


def test_an_empty_value_in_a_query_counts_as_not_given(client, completed):
    path = "/scan/results/hubspot-deals-2025-q3"
    empty = dict.fromkeys(("page", "page_size", "pipeline", "dealstage", "owner_id", "cursor"), "")

    assert client.get(path, **empty).json() == client.get(path).json()


@pytest.mark.parametrize("query", [{"page": 0}, {"page_size": 501}, {"page": "x"}, {"cursor": "?"}])
def test_a_wrong_query_of_results_names_what_is_wrong(client, completed, query):
    answer = client.get("/scan/results/hubspot-deals-2025-q3", **query)

    body = check_error(answer, 400, "VALIDATION_ERROR", "Input validation failed")
    assert list(body["errors"]) == list(query)


def test_results_of_a_scan_at_work_are_not_ready(client, running):
    body = check_error(
        client.get(f"/scan/results/{running}"), 404, "SCAN_NOT_READY", "Scan not completed yet"
    )

    details = body["details"]
    assert details["scanId"] == running
    assert details["currentStatus"] in ("pending", "running")
    assert re.fullmatch(r"\d{1,3}%", details["progress"])
    assert all(type(each) is int for each in details["counts"].values())


def test_an_unknown_scan_has_no_results(client):
    check_error(client.get("/scan/results/unknown"), 404, "SCAN_NOT_FOUND", "Resource not found")


def test_the_list_has_every_scan_with_every_field(client, completed, failed):
    body = client.get("/scan/list", page=1, page_size=100, sort_by="created_at").json()

    assert set(body["pagination"]) >= PAGINATION
    assert body["pagination"]["page_size"] == 100
    found = {each["scanId"]: each for each in body["scans"]}
    listed = found["hubspot-deals-2025-q3"]
    progress = completed["progress"]
    assert listed == {
        "id": completed["id"],
        "scanId": "hubspot-deals-2025-q3",
        "status": "completed",
        "scanType": "hubspot_deals",
        "organizationId": "org_123456",
        "started_at": completed["started_at"],
        "completed_at": completed["completed_at"],
        "total_items": progress["total_items"],
        "processed_items": progress["processed_items"],
        "success_rate": "100.00%",
        "duration_seconds": progress["duration_seconds"],
        "data_size_mb": completed["results"]["data_size_mb"],
    }
    refused = found["refused"]
    assert (refused["status"], refused["error_code"]) == ("failed", "HUBSPOT_AUTH_FAILED")
    assert refused["error_message"].startswith("HubSpot API authentication failed: ")
    assert (refused["total_items"], refused["success_rate"]) == (0, "0%")


@pytest.mark.parametrize("sort_by", ["created_at", "completed_at"])
def test_the_list_is_sorted_either_way(client, completed, failed, sort_by):
    both = [
        [
            each["scanId"]
            for each in client.get(
                "/scan/list", sort_by=sort_by, sort_order=order, page_size=100
            ).json()["scans"]
        ]
        for order in ("asc", "desc")
    ]

    assert both[0] == both[1][::-1]
    assert len(both[0]) >= 2


def test_the_list_is_filtered_by_status_and_organization(client, completed, failed):
    query = {"status": "failed", "organization_id": "org_123456"}

    scans = client.get("/scan/list", **query).json()["scans"]

    assert [each["scanId"] for each in scans] == ["refused"]


@pytest.mark.parametrize(
    "query", [{"page_size": 101}, {"status": "done"}, {"sort_by": "id"}, {"sort_order": "up"}]
)
def test_a_wrong_query_of_the_list_names_what_is_wrong(client, query):
    body = check_error(
        client.get("/scan/list", **query), 400, "VALIDATION_ERROR", "Input validation failed"
    )

    assert list(body["errors"]) == list(query)


@pytest.mark.parametrize("period", ["24h", "7d", "30d"])
def test_the_statistics_have_every_figure(client, completed, failed, period):
    body = client.get("/stats", period=period, organization_id="org_123456").json()

    assert body["period"] == period
    assert TIME.fullmatch(body["timestamp"])
    summary = body["summary"]
    assert RATE.fullmatch(summary.pop("success_rate"))
    assert set(summary) == {
        *("total_scans", "successful_scans", "failed_scans", "total_deals_extracted"),
        *("average_scan_duration_seconds", "total_data_extracted_mb"),
    }
    assert set(body["status_breakdown"]) == {
        *("completed", "failed", "running", "pending", "cancelled"),
    }
    assert set(body["performance_metrics"]) == {
        *("fastest_scan_seconds", "slowest_scan_seconds", "average_deals_per_second"),
        "peak_concurrent_scans",
    }
    assert set(body["error_analysis"]) == {
        *("authentication_failures", "rate_limit_errors", "network_timeouts", "other_errors"),
    }
    parts = ("status_breakdown", "performance_metrics", "error_analysis")
    figures = [*summary.values(), *(each for part in parts for each in body[part].values())]
    assert {type(each) for each in figures} <= {int, float}
    assert summary["successful_scans"] >= 1
    assert body["error_analysis"]["authentication_failures"] == 1


def test_health_tells_of_every_dependency_and_of_scans(client):
    answer = requests.get(f"{client.url}/health", timeout=TIMEOUT)

    body = answer.json()
    assert answer.status_code == 200, body
    assert body["status"] == "healthy"
    assert set(body["dependencies"]) == {"database", "hubspot_api", "redis_cache"}
    assert {"status", "response_time_ms"} <= set(body["dependencies"]["hubspot_api"])
    assert set(body["metrics"]) == {
        *("active_scans", "completed_scans_today", "total_deals_extracted_today"),
    }


def test_the_documentation_needs_no_credentials(client):
    base = client.url.removesuffix("/api/v1")

    assert requests.get(f"{base}/docs", timeout=TIMEOUT).ok
    paths = requests.get(f"{base}/openapi.json", timeout=TIMEOUT).json()["paths"]
    assert {
        *("/api/v1/scan/start", "/api/v1/scan/status/{scan_id}", "/api/v1/scan/cancel/{scan_id}"),
        *("/api/v1/scan/results/{scan_id}", "/api/v1/scan/list", "/api/v1/stats"),
        "/api/v1/health",
    } <= set(paths)
