"""GET /health: quick whatever hangs."""

import socket
import time

import pytest

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


@pytest.mark.parametrize("name", ["database", "redis_cache"])
@pytest.mark.parametrize("fate", ["refuses", "is silent"])
def test_a_dependency_that_is_down_is_a_503_within_a_second(
    make_plain_app, silent_port, name, fate
):
    port = silent_port if fate == "is silent" else free_port()
    address = {
        "database": {"DATABASE_URL": f"postgresql://a:b@127.0.0.1:{port}/crm"},
        "redis_cache": {"REDIS_URL": f"redis://127.0.0.1:{port}/0"},
    }
    client = make_plain_app(**address[name]).test_client()
    client.get("/health")  # The limiter finds out that Redis is down, too.
    began = time.monotonic()

    answer = client.get("/health")

    assert answer.status_code == 503
    assert time.monotonic() - began < 1.5
    assert answer.json["status"] == "unhealthy"
    assert answer.json["dependencies"][name] == {"status": "down", "response_time_ms": None}
