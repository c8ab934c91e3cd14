"""GET /health: quick whatever hangs."""

import socket
import time

import pytest
from sqlalchemy import text

from crm.extensions import transaction
from crm.services import health
from crm.version import VERSION
from tests.conftest import free_port


def test_a_healthy_service_says_so_to_anybody(client):
    answer = client.get("/health")

    assert answer.status_code == 200
    assert answer.json["status"] == "healthy"
    assert answer.json["version"] == VERSION
    assert answer.json["timestamp"].endswith("Z")
    assert answer.json["uptime_seconds"] >= 0
    assert answer.json["dependencies"]["database"]["status"] == "up"
    assert answer.json["dependencies"]["database"]["response_time_ms"] > 0
    assert answer.json["dependencies"]["redis_cache"] == {
        "status": "not configured",
        "response_time_ms": None,
    }


def test_redis_is_asked_where_there_is_one(make_app, redis_url):
    answer = make_app(REDIS_URL=redis_url).test_client().get("/health")

    assert answer.status_code == 200
    assert answer.json["dependencies"]["redis_cache"]["status"] == "up"


@pytest.fixture
def silent_port():
    """A port at which connections are accepted and nothing is ever said."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_dependencies_have_less_than_a_second():
    assert health._LONGEST < 1


@pytest.mark.parametrize("name", ["database", "redis_cache"])
@pytest.mark.parametrize("fate", ["refuses", "is silent"])
def test_a_dependency_that_is_down_is_a_503_after_that_time(
    make_plain_app, silent_port, monkeypatch, name, fate
):
    monkeypatch.setattr(health, "_LONGEST", 0.1)
    port = silent_port if fate == "is silent" else free_port()
    address = {
        "database": {"DATABASE_URL": f"postgresql://a:b@127.0.0.1:{port}/crm"},
        "redis_cache": {"REDIS_URL": f"redis://127.0.0.1:{port}/0"},
    }
    client = make_plain_app(**address[name]).test_client()
    began = time.monotonic()

    answer = client.get("/health")

    assert answer.status_code == 503
    assert time.monotonic() - began < 1
    assert answer.json["status"] == "unhealthy"
    assert answer.json["dependencies"][name] == {"status": "down", "response_time_ms": None}


def hubspot_in(client):
    answer = client.get("/health")
    assert answer.status_code == 200
    return answer.json["dependencies"]["hubspot_api"]


def test_hubspot_is_unknown_until_it_was_asked_and_not_asked_by_the_request(client, sandbox):
    found = hubspot_in(client)

    assert (found["status"], found["response_time_ms"]) == ("unknown", None)
    assert sandbox.list_requests() == []


def test_hubspots_last_answer_is_told_with_what_its_limit_leaves(client):
    health.ask_hubspot()

    found = hubspot_in(client)

    assert found["status"] == "up"
    assert found["response_time_ms"] > 0
    assert 0 < found["rate_limit_remaining"] < 10_000


def test_a_service_without_hubspot_is_healthy(client, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 503}])
    health.ask_hubspot()

    assert hubspot_in(client)["status"] == "down"


def test_an_old_answer_of_hubspots_says_nothing(client):
    health.ask_hubspot()
    with transaction() as session:
        session.execute(text("UPDATE portals SET asked_at = now() - interval '2 minutes'"))

    assert hubspot_in(client)["status"] == "unknown"


def test_without_a_portal_hubspot_is_not_configured(make_app):
    app = make_app(HUBSPOT_PRIVATE_APP_TOKEN="")
    with app.app_context():
        health.ask_hubspot()

    assert hubspot_in(app.test_client())["status"] == "not configured"


def test_several_dependencies_that_hang_are_waited_for_together(make_plain_app, silent_port):
    client = make_plain_app(
        DATABASE_URL=f"postgresql://a:b@127.0.0.1:{silent_port}/crm",
        REDIS_URL=f"redis://127.0.0.1:{silent_port}/0",
    ).test_client()
    client.get("/health")
    began = time.monotonic()

    answer = client.get("/health")

    assert answer.status_code == 503
    assert time.monotonic() - began < 2 * health._LONGEST
