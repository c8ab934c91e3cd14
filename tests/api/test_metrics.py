"""GET /metrics: what Prometheus is told, and who may ask."""

import re

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from crm.db import transaction
from tests.api.conftest import answers, serving
from tests.conftest import free_port, registration, wait_until

TOKEN = "m" * 32
PRODUCTION = {"FLASK_ENV": "production"}


def told(client, **headers):
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    return figures_in(answer.text)


def figures_in(page):
    """Figures by name and the labels' values, in the order of the labels' names."""
    families = text_string_to_metric_families(page)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_are_counted_by_the_template_of_their_route(client):
    before = told(client)
    for number in range(3):
        client.get(f"/contacts/{number}/history")

    key = ("crm_requests_total", "GET", "/contacts/<record_id>/history", "401")
    assert told(client)[key] - before.get(key, 0) == 3


@pytest.mark.parametrize(
    ("method", "name"), [("GET", "GET"), ("BREW", "(other)")], ids=["known", "invented"]
)
def test_what_a_caller_invents_makes_no_time_series(client, method, name):
    client.open("/wp-admin.php", method=method)

    found = told(client)
    assert ("crm_requests_total", name, "(none)", "404") in found
    assert not any("wp-admin" in str(key) or "BREW" in key for key in found)


def test_the_time_of_requests_is_told_in_buckets(client):
    client.get("/health")

    found = told(client)
    count = found["crm_request_seconds_count", "GET", "/health"]
    assert count >= 1
    assert found["crm_request_seconds_bucket", "+Inf", "GET", "/health"] == count


def test_jobs_and_what_waits_for_hubspot_are_told(client):
    assert client.post("/register", json=registration("ada@example.com")).status_code == 201
    with transaction() as session:
        session.execute(text("UPDATE procrastinate_events SET at = at - interval '1 minute'"))

    found = told(client)

    assert found["crm_jobs", "todo"] == 1
    assert found["crm_jobs", "doing"] == 0
    assert 60 <= found["crm_oldest_job_seconds",] < 90
    assert found["crm_pushes", "records", "pending"] == 3
    assert found["crm_pushes", "associations", "pending"] == 2
    assert found["crm_pushes", "records", "rejected"] == 0


def test_a_job_for_later_does_not_wait_yet(client):
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, scheduled_at)"
                " VALUES ('default', 'x', now() + interval '1 hour')"
            )
        )

    found = told(client)

    assert (found["crm_jobs", "todo"], found["crm_oldest_job_seconds",]) == (1, 0)


def test_the_lag_of_webhooks_is_told(client):
    assert told(client)["crm_webhook_lag_seconds",] == 0
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO inbox (hub_id, payload, received_at)"
                " VALUES (1, '{}', now() - interval '1 minute')"
            )
        )

    assert 60 <= told(client)["crm_webhook_lag_seconds",] < 90


def test_the_calls_that_hubspot_allows_yet_are_told(client, portal_id):
    with transaction() as session:
        session.execute(
            text(
                "UPDATE portals SET hub_id = 7;"
                "UPDATE call_windows SET max_calls = 100,"
                " calls = array_fill(clock_timestamp(), ARRAY[40]) WHERE kind = 'general';"
                "UPDATE day_quotas SET max_calls = 1000, used = 250,"
                " began_at = date_trunc('day', now(), 'UTC')"
            )
        )

    found = told(client)

    assert found["crm_hubspot_calls_left", "general", "7"] == 60
    assert found["crm_hubspot_calls_left", "day", "7"] == 750


def test_without_a_database_the_requests_are_told_still(make_plain_app):
    address = f"postgresql://a:b@127.0.0.1:{free_port()}/crm"
    client = make_plain_app(DATABASE_URL=address).test_client()
    client.get("/nowhere")

    found = told(client)

    assert found["crm_database_up",] == 0
    assert ("crm_requests_total", "GET", "(none)", "404") in found


@pytest.mark.parametrize("settings", [{}, {"METRICS_TOKEN": TOKEN}], ids=["no token", "a token"])
@pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer x", f"Basic {TOKEN}", "Bearer \xff"])
def test_metrics_are_refused_without_their_token_in_production(make_app, settings, shown):
    client = make_app(**PRODUCTION, **settings).test_client()

    answer = client.get("/metrics", headers={"Authorization": shown})

    assert (answer.status_code, answer.json["error_code"]) == (401, "INVALID_TOKEN")


def test_metrics_are_given_to_a_caller_with_their_token(make_app):
    client = make_app(**PRODUCTION, METRICS_TOKEN=TOKEN).test_client()

    assert told(client, Authorization=f"Bearer {TOKEN}")["crm_database_up",] == 1


def test_a_token_that_is_set_counts_in_development_too(make_app):
    assert make_app(METRICS_TOKEN=TOKEN).test_client().get("/metrics").status_code == 401


def test_the_answer_is_prometheuss_text(client):
    content_type = client.get("/metrics").content_type

    assert re.fullmatch(r"text/plain; version=0\.0\.4; charset=utf-8", content_type)


@pytest.fixture
def gunicorn(make_settings, tmp_path):
    """The service with two processes; yields its address and gunicorn's own process."""
    with serving(make_settings(), tmp_path, WEB_CONCURRENCY="2") as (url, process):
        yield url, process
    assert list(tmp_path.glob("crm-metrics-*")) == []


def test_every_process_tells_what_all_have_counted_and_none_is_forgotten(gunicorn, tmp_path):
    url, process = gunicorn

    def count():
        pages = {requests.get(f"{url}/metrics", timeout=30).text for _ in range(8)}
        key = ("crm_requests_total", "GET", "(none)", "404")
        return {figures_in(page).get(key, 0) for page in pages}

    for _ in range(40):
        requests.get(f"{url}/nowhere", timeout=30)
    before = count()
    children = process.children()
    children[0].terminate()
    wait_until(lambda: set(process.children()) != set(children) and len(process.children()) == 2)
    wait_until(lambda: answers(url))
    requests.get(f"{url}/nowhere", timeout=30)

    assert before == {40}
    assert count() == {41}
    # A new process goes on in the file of the one before, so that they become no more.
    assert len(list(tmp_path.glob("crm-metrics-*/counter_*.db"))) <= 2
