"""GET /health: quick whatever hangs."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.operations import health
from crm.version import VERSION
from tests.conftest import free_port


def test_a_healthy_service_says_so_to_anybody(client):
    answer = client.get("/health")

    assert answer.status_code == 200
    assert answer.json["status"] == "healthy"
    assert answer.json["version"] == VERSION
    assert answer.json["timestamp"].endswith("Z")
    assert answer.json["uptime_seconds"] >= 0
    assert answer.json["dependencies"]["database"]["status"] == "healthy"
    assert answer.json["dependencies"]["database"]["response_time_ms"] > 0


def test_redis_is_healthy_in_this_process_where_there_is_none(client):
    cache = client.get("/health").json["dependencies"]["redis_cache"]

    assert cache == {"status": "healthy", "response_time_ms": 0}


def test_redis_is_asked_where_there_is_one(make_app, redis_url):
    answer = make_app(REDIS_URL=redis_url).test_client().get("/health")

    assert answer.status_code == 200
    assert answer.json["dependencies"]["redis_cache"]["status"] == "healthy"


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
    assert answer.json["dependencies"][name] == {"status": "unhealthy", "response_time_ms": None}


def hubspot_in(client, path="/health"):
    return client.get(path).json["dependencies"]["hubspot_api"]


def let_time_pass(seconds):
    with transaction() as session:
        session.execute(
            text("UPDATE portals SET asked_at = asked_at - :passed * interval '1 second'"),
            {"passed": seconds},
        )


def test_hubspot_is_asked_by_the_request_and_told_with_what_its_limit_leaves(client, sandbox):
    found = hubspot_in(client)

    assert found["status"] == "healthy"
    assert found["response_time_ms"] > 0
    assert 0 < found["rate_limit_remaining"] < 10_001
    assert len(sandbox.list_requests()) == 1


@pytest.mark.parametrize(("seconds", "asked"), [(0, 1), (29, 1), (31, 2)])
def test_hubspot_is_asked_at_most_every_half_a_minute(client, sandbox, seconds, asked):
    first = hubspot_in(client)
    let_time_pass(seconds)

    second = hubspot_in(client, "/api/v1/health")

    assert first["status"] == second["status"] == "healthy"
    assert len(sandbox.list_requests()) == asked


def test_hubspot_is_asked_once_when_many_want_to_know_at_once(app, sandbox):
    sandbox.set_faults([{"kind": "slow", "seconds": 0.3}])
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: hubspot_in(app.test_client()), range(16)))

    assert [each["status"] for each in found] == ["healthy"] * 16
    assert len(sandbox.list_requests()) == 1


def test_health_of_the_service_is_200_and_that_of_scans_503_when_hubspot_is_down(client, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 503}])

    of_service, of_scans = client.get("/health"), client.get("/api/v1/health")

    assert (of_service.status_code, of_service.json["status"]) == (200, "healthy")
    assert (of_scans.status_code, of_scans.json["status"]) == (503, "unhealthy")
    for each in (of_service, of_scans):
        assert each.json["dependencies"]["hubspot_api"]["status"] == "unhealthy"
        assert each.json["dependencies"]["database"]["status"] == "healthy"


def test_hubspot_is_healthy_again_when_it_is_back(client, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 503}])
    assert hubspot_in(client)["status"] == "unhealthy"
    sandbox.set_faults([])
    let_time_pass(31)

    assert hubspot_in(client)["status"] == "healthy"


@pytest.fixture
def slow_hubspot(app, sandbox):
    """A HubSpot that answers after more than two seconds; who asked it has an answer in the end."""
    sandbox.set_faults([{"kind": "slow", "seconds": 2.2}])
    yield
    app.extensions["crm_health"].under_way["hubspot"].result()


def test_a_hubspot_that_hangs_keeps_nobody_longer_than_a_second(client, slow_hubspot):
    for path in ("/health", "/api/v1/health"):
        began = time.monotonic()

        found = hubspot_in(client, path)

        assert time.monotonic() - began < 1
        assert found["status"] == "unhealthy"


def test_an_old_answer_of_hubspots_says_nothing_when_there_is_no_newer_one(
    client, sandbox, request
):
    hubspot_in(client)
    let_time_pass(120)
    request.getfixturevalue("slow_hubspot")

    assert hubspot_in(client)["status"] == "unhealthy"


def test_a_hubspot_that_counts_too_many_calls_is_healthy(client, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 429, "retry_after": 30}])

    assert hubspot_in(client)["status"] == "healthy"


@pytest.mark.parametrize(("is_there", "status"), [(True, "healthy"), (False, "unhealthy")])
def test_hubspots_address_is_asked_where_no_portal_is_configured(
    make_app, sandbox, is_there, status
):
    address = {} if is_there else {"HUBSPOT_API_URL": f"http://127.0.0.1:{free_port()}"}
    client = make_app(HUBSPOT_PRIVATE_APP_TOKEN="", **address).test_client()

    assert hubspot_in(client)["status"] == status


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
