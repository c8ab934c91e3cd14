"""The budget: four processes call for one portal for a minute, flat out, as people come by.

HubSpot is the sandbox, in a process of its own, with the limits of a Professional account. Requests
arrive there after 40 to 120 ms, and it counts them when they do.
"""

import multiprocessing
import random
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace

import requests

from crm import create_app
from crm.config import load_settings
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotRateLimitError
from crm.portals.portals import connect, get_default_portal_id
from crm.portals.rate_budget import BACKFILL, budget_for
from hubspot_sandbox.limits import TIERS
from tools.bench.figures import Figure
from tools.stage import Stage

PROCESSES, THREADS, SECONDS = 4, 3, 60.0
MAX_CALLS, PERIOD = TIERS["PROFESSIONAL"].ten_secondly, 10.0
_LATENCY = ("--latency-ms", "40", "--latency-jitter-ms", "80")
_STARTING = 20.0
_BETWEEN_PEOPLE = (0.5, 3.5)


def measure(stage: Stage) -> list[Figure]:
    """Every process has a backfill of several threads, and a person now and then."""
    stage.create_service("budget")
    hubspot = stage.start_sandbox(*_LATENCY)
    environment = stage.environment("budget") | {"HUBSPOT_API_URL": hubspot}
    begin = time.time() + _STARTING
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        of_processes = [pool.submit(_call, environment, begin) for _ in range(PROCESSES)]
        time.sleep(begin + SECONDS - time.time())
        used = _count_answers(hubspot).get("200", 0)
        waits = sorted(wait for each in of_processes for wait in each.result())
    answers = _count_answers(hubspot)
    refused, total = answers.get("429", 0), sum(answers.values())
    print(
        f"  {answers}; {len(waits)} people, half of them within {waits[len(waits) // 2]:.3f} s",
        file=sys.stderr,
    )
    allowed = MAX_CALLS * SECONDS / PERIOD
    return [
        Figure("share of HubSpot's window used by four processes", used / allowed, 0.95),
        Figure("share of answers that were 429", refused / total, 0.001, at_most=True),
        Figure("seconds until a person's answer, the longest", waits[-1], 1, at_most=True),
    ]


def _count_answers(hubspot: str) -> dict[str, int]:
    """How many there were of each status."""
    answer = requests.get(f"{hubspot}/_sandbox/requests", timeout=10)
    counts: dict[str, int] = answer.json()["by_status"]
    return counts


def _call(environment: Mapping[str, str], begin: float) -> list[float]:
    """One process; returns how long each of its people waited for an answer."""
    with create_app(load_settings(environment, embedded=False)).app_context():
        portal_id = get_default_portal_id()
        patient = replace(connect(portal_id), budget=budget_for(portal_id, BACKFILL))
        hurried = connect(portal_id, someone_waits=True)
        time.sleep(max(begin - time.time(), 0))
        deadline = time.monotonic() + SECONDS
        backfill = [
            threading.Thread(target=_backfill, args=(patient, deadline)) for _ in range(THREADS)
        ]
        for thread in backfill:
            thread.start()
        waits = _people(hurried, deadline)
        for thread in backfill:
            thread.join()
    return waits


def _backfill(client: HubSpotClient, deadline: float) -> None:
    while time.monotonic() < deadline:
        with suppress(HubSpotRateLimitError):
            client.call("GET", client.path("objects", "contacts"), repeatable=True)


def _people(client: HubSpotClient, deadline: float) -> list[float]:
    waits = []
    while time.monotonic() < deadline:
        time.sleep(random.uniform(*_BETWEEN_PEOPLE))
        began = time.monotonic()
        client.call("GET", client.path("account", "details"), repeatable=True)
        waits.append(time.monotonic() - began)
    return waits
