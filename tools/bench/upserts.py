"""``POST /contacts/batch`` of a thousand, against as many upserts with HubSpot's own client."""

import sys
import time
from typing import Any

import requests
from hubspot import HubSpot as Official
from hubspot.crm.contacts import (
    BatchInputSimplePublicObjectBatchInputUpsert,
    SimplePublicObjectBatchInputUpsert,
)

from crm.accounts import api_keys
from crm.portals.portals import get_default_portal_id
from crm.portals.property_schemas import refresh_stale_schemas
from crm.push.job import push
from hubspot_sandbox import DEFAULT_TOKEN
from tools.bench.figures import Figure
from tools.stage import Stage

CONTACTS = 1_000
LATENCY_MS = 50
ROUNDS = 3


def measure(stage: Stage) -> list[Figure]:
    """New contacts over HTTP, with a worker beside as in production."""
    app = stage.create_service("upserts")
    with app.app_context():
        push(get_default_portal_id())  # Sets the portal up.
        refresh_stale_schemas()
        key = api_keys.create_key(name="bench", organization="Default")
    stage.start_worker("upserts")
    address = stage.serve("crm:create_app()", stage.environment("upserts"))
    stage.sandbox.sandbox.settings.latency_ms = LATENCY_MS
    seconds, calls = [], []
    for number in range(ROUNDS):
        stage.sandbox.clear_requests()
        seconds.append(_of_ours(address, key, f"ours{number}"))
        calls.append(_upserts(stage))
    of_theirs = _of_theirs(stage.sandbox.url)
    of_ours = sorted(seconds)[ROUNDS // 2]
    print(f"  ours {of_ours:.2f} s  official client {of_theirs:.1f} s", file=sys.stderr)
    return [
        Figure("requests for a batch of 1,000 contacts", max(calls), 11, at_most=True),
        Figure("batch of 1,000 contacts against the official client", of_theirs / of_ours, 20),
    ]


def _contacts(prefix: str) -> list[dict[str, str]]:
    return [
        {
            "email": f"{prefix}.{number}@example.com",
            "firstname": "Ada",
            "lastname": "Lovelace",
            "phone": "+44 20 7946 0000",
            "lifecyclestage": "lead",
        }
        for number in range(CONTACTS)
    ]


def _of_ours(address: str, key: str, prefix: str) -> float:
    body = {"inputs": _contacts(prefix)}
    began = time.perf_counter()
    answer = requests.post(
        f"{address}/contacts/batch", json=body, headers={"X-API-Key": key}, timeout=60
    )
    seconds = time.perf_counter() - began
    results: list[dict[str, Any]] = answer.json()["results"]
    if {each["action"] for each in results} != {"created"}:
        raise RuntimeError(answer.text[:500])
    return seconds


def _upserts(stage: Stage) -> int:
    """All requests but those of the worker's schedule, which come by the clock."""
    by_route = stage.sandbox.requests()["by_route"]
    return sum(count for route, count in by_route.items() if not route.startswith("GET "))


def _of_theirs(url: str) -> float:
    client = Official(access_token=DEFAULT_TOKEN, host=url)
    began = time.perf_counter()
    for contact in _contacts("theirs"):
        one = SimplePublicObjectBatchInputUpsert(
            id=contact["email"], id_property="email", properties=contact
        )
        client.crm.contacts.batch_api.upsert(
            BatchInputSimplePublicObjectBatchInputUpsert(inputs=[one])
        )
    return time.perf_counter() - began
