"""Rate limits: whose requests are counted together, and what those are told who made too many."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from crm.extensions import limiter
from crm.streams import ResultsAllowance
from tests.conftest import _answers, _packaged_redis, free_port, wait_until

from .conftest import sign_in

LOGIN = {"email": "malformed logins count too, and cost no hashing"}


@pytest.fixture(params=["memory", "redis"])
def limited_client(request, make_app):
    """A service with tight limits, counted in memory or in Redis."""
    redis = {"REDIS_URL": request.getfixturevalue("redis_url")} if request.param == "redis" else {}
    return make_app(RATE_LIMIT_SIGN_IN="10 per 1 minute", **redis).test_client()


def test_the_eleventh_login_within_a_minute_is_told_to_wait(limited_client):
    before = [limited_client.post("/login", json=LOGIN).status_code for _ in range(10)]

    answer = limited_client.post("/login", json=LOGIN)

    assert before == [400] * 10
    assert answer.status_code == 429
    assert answer.json["error_code"] == "RATE_LIMIT_EXCEEDED"
    assert answer.json["message"] == "ratelimit exceeded 10 per 1 minute"
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


def test_a_refusal_says_how_long_to_wait(limited_client):
    for _ in range(10):
        limited_client.post("/login", json=LOGIN)

    headers = limited_client.post("/login", json=LOGIN).headers

    assert headers["X-RateLimit-Limit"] == "10"
    assert headers["X-RateLimit-Remaining"] == "0"
    assert 0 < int(headers["Retry-After"]) <= 60
    assert 0 < int(headers["X-RateLimit-Reset"]) - time.time() <= 61


def test_an_answer_says_what_is_left_and_asks_nobody_to_wait_before_it_is_used_up(limited_client):
    left = [limited_client.post("/login", json=LOGIN) for _ in range(3)]

    assert [each.headers["X-RateLimit-Remaining"] for each in left] == ["9", "8", "7"]
    assert not any("Retry-After" in each.headers for each in left)


def test_registering_and_signing_in_are_counted_apart(limited_client):
    for _ in range(10):
        limited_client.post("/login", json=LOGIN)

    assert limited_client.post("/register", json={}).status_code == 400


def test_users_behind_one_address_have_limits_of_their_own(make_app, make_user):
    for name in ("ada", "bob"):
        make_user(f"{name}@example.com")
    client = make_app(RATE_LIMIT="3 per 1 minute").test_client()
    ada, bob = (sign_in(client, f"{name}@example.com") for name in ("ada", "bob"))

    by_ada = [ada.get("/me").status_code for _ in range(4)]
    by_bob = [bob.get("/me").status_code for _ in range(4)]

    assert by_ada == by_bob == [200, 200, 200, 429]


def test_one_user_with_two_tokens_has_one_limit(make_app, make_user):
    make_user("ada@example.com")
    client = make_app(RATE_LIMIT="3 per 1 minute").test_client()
    one, other = (sign_in(client, "ada@example.com") for _ in range(2))

    statuses = [each.get("/me").status_code for each in (one, other, one, other)]

    assert statuses == [200, 200, 200, 429]


def test_a_key_has_a_limit_of_its_own(make_app, make_key):
    headers = make_key()
    client = make_app(RATE_LIMIT="3 per 1 minute").test_client()
    for _ in range(4):
        client.get("/contacts")

    assert client.get("/contacts", headers=headers).status_code == 200


def test_two_keys_of_one_organization_have_limits_of_their_own(make_app, make_key):
    one, other = make_key(), make_key()
    client = make_app(RATE_LIMIT="3 per 1 minute").test_client()

    statuses = [client.get("/contacts", headers=key).status_code for key in [one] * 4 + [other]]

    assert statuses == [200, 200, 200, 429, 200]


def test_a_key_has_one_limit_whichever_way_it_is_shown(make_app, make_key):
    one, other = make_key(), make_key()
    as_bearer = {"Authorization": f"Bearer {one['X-API-Key']}"}
    client = make_app(RATE_LIMIT="3 per 1 minute").test_client()

    shown = [one, as_bearer, as_bearer, as_bearer, one, other]
    statuses = [client.get("/contacts", headers=headers).status_code for headers in shown]

    assert statuses == [200, 200, 200, 429, 429, 200]


def test_tokens_that_prove_nothing_share_their_addresss_limit(make_app):
    client = make_app(RATE_LIMIT="3 per 1 minute").test_client()
    statuses = [
        client.get("/me", headers={"Authorization": f"Bearer {number}"}).status_code
        for number in range(4)
    ]

    assert statuses == [401, 401, 401, 429]


def test_an_account_does_not_buy_more_guesses_at_passwords(make_app, make_user):
    make_user("ada@example.com")
    client = make_app(RATE_LIMIT_SIGN_IN="3 per 1 minute").test_client()
    ada = sign_in(client, "ada@example.com")
    for _ in range(2):
        client.post("/login", json=LOGIN)

    assert client.post("/login", json=LOGIN, headers=ada.headers).status_code == 429


def test_two_processes_share_a_limit_through_redis(make_app, make_plain_app, redis_url):
    changes = {"RATE_LIMIT_SIGN_IN": "3 per 1 minute", "REDIS_URL": redis_url}
    statuses = []
    first = make_app(**changes).test_client()
    statuses += [first.post("/login", json=LOGIN).status_code for _ in range(2)]
    second = make_plain_app(**changes).test_client()
    statuses += [second.post("/login", json=LOGIN).status_code for _ in range(2)]

    assert statuses == [400, 400, 400, 429]


def test_redis_going_away_neither_stops_nor_slows_the_service(make_app, mortal_redis):
    process, url = mortal_redis
    client = make_app(REDIS_URL=url, RATE_LIMIT_SIGN_IN="3 per 1 minute").test_client()
    client.post("/login", json=LOGIN)
    process.kill()
    process.wait()
    began = time.monotonic()

    statuses = [client.post("/login", json=LOGIN).status_code for _ in range(4)]

    assert statuses == [400, 400, 400, 429]
    assert time.monotonic() - began < 8


def test_redis_going_away_does_not_stop_an_export(make_app, mortal_redis):
    process, url = mortal_redis
    app = make_app(REDIS_URL=url)
    with app.test_request_context():
        pieces = ResultsAllowance(1).pace(iter([b"one", b"two", b"three"]))
        next(pieces)
        process.kill()
        process.wait()

        assert list(pieces) == [b"two", b"three"]


def test_a_redis_that_hangs_neither_stops_nor_slows_the_service(make_app, mortal_redis):
    process, url = mortal_redis
    client = make_app(REDIS_URL=url).test_client()
    client.get("/contacts/pipelines")
    os.kill(process.pid, signal.SIGSTOP)
    began = time.monotonic()

    statuses = [client.get("/contacts/pipelines").status_code for _ in range(3)]

    assert statuses == [200] * 3
    assert time.monotonic() - began < 8


def test_a_redis_that_is_down_at_the_start_does_not_stop_the_service(make_plain_app):
    app = make_plain_app(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    assert app.test_client().get("/nowhere").status_code == 404
    assert app.test_client().get("/contacts").status_code == 401


@pytest.fixture
def mortal_redis():
    """A Redis that a test may kill, and its address."""
    port = free_port()
    binary = shutil.which("redis-server") or _packaged_redis()
    process = subprocess.Popen(
        [binary, "--port", str(port), "--save", "", "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        cwd="/tmp",
    )
    url = f"redis://127.0.0.1:{port}/0"
    wait_until(lambda: _answers(url))
    yield process, url
    process.kill()
    process.wait()


@pytest.fixture(params=["memory", "memory while Redis is down"])
def counters(request, make_plain_app):
    """What the service counts with."""
    redis = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"} if "Redis" in request.param else {}
    # Only a request finds out that Redis is down.
    make_plain_app(**redis).test_client().get("/me")
    yield limiter.limiter.storage
    limiter._storage_dead = False  # Else the next app's Redis would be looked for a second later.


def test_counting_starts_no_thread(counters, monkeypatch):
    def refuse(_):
        raise AssertionError("a thread is started")

    time.sleep(0.02)  # For as long as one would wait.
    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert [counters.incr("somebody", 60) for _ in range(3)] == [1, 2, 3]


def test_requests_that_come_at_once_are_each_counted_once(counters):
    def count(_):
        for _ in range(2000):
            counters.incr("somebody", 60)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # So that they meet between any two steps.
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(count, range(8)))
    finally:
        sys.setswitchinterval(usual)

    assert counters.get("somebody") == 16_000


def test_what_has_expired_is_forgotten(counters):
    counters.incr("somebody", 0.01)
    time.sleep(0.02)
    counters._sweep_at = 0
    counters.incr("somebody else", 60)

    assert "somebody" not in counters.storage
