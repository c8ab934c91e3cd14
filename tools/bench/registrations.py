"""Registrations: what a hundred of them cost HubSpot, and how fast they are beside Argon2."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from argon2 import PasswordHasher

from crm.portals.portals import get_default_portal_id
from crm.push.job import push
from tests.conftest import registration
from tools.bench.figures import Figure, median_ratio
from tools.bench.load import CONNECTIONS, post_request, rate
from tools.stage import Stage

ROUNDS, SECONDS = 5, 4.0
QUEUED = 100


def measure_requests(stage: Stage) -> list[Figure]:
    """Register a hundred people while no worker runs, then let one push send them all."""
    app = stage.create_service("queued")
    client = app.test_client()
    with app.app_context():
        push(get_default_portal_id())  # Sets the portal up.
    for number in range(QUEUED):
        answer = client.post("/register", json=registration(f"queued{number}@example.com"))
        if answer.status_code != 201:
            raise RuntimeError(answer.text)
    stage.sandbox.clear_requests()
    with app.app_context():
        push(get_default_portal_id())
    requests = stage.sandbox.requests()["total"]
    return [Figure("requests for 100 registrations of 1/1/1", requests, 6, at_most=True)]


def measure_speed(stage: Stage) -> list[Figure]:
    """Registrations a second over HTTP, against hashing the same passwords and nothing else."""
    stage.create_service("registrations")
    address = stage.serve("crm:create_app()", stage.environment("registrations"))
    people = count()
    pairs = []
    for _ in range(ROUNDS):
        of_argon2 = _hash_rate()
        of_registrations = rate(
            address,
            lambda _: post_request("/register", registration(f"person{next(people)}@example.com")),
            seconds=SECONDS,
        )
        pairs.append((of_registrations, of_argon2))
        print(
            f"  Argon2 {of_argon2:.1f}/s  registrations {of_registrations:.1f}/s", file=sys.stderr
        )
    return [Figure("registrations against Argon2 alone", median_ratio(pairs), 0.8)]


def _hash_rate() -> float:
    hasher = PasswordHasher()
    deadline = time.perf_counter() + SECONDS

    def run(_: int) -> int:
        hashed = 0
        while time.perf_counter() < deadline:
            hasher.hash("a good password")
            hashed += 1
        return hashed

    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        hashed = sum(pool.map(run, range(CONNECTIONS)))
    return hashed / (time.perf_counter() - began)
