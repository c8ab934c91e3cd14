"""The budget: four processes call for one portal for a minute, flat out, as people come by."""

import multiprocessing
import random
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace

from crm import create_app
from crm.config import load_settings
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotRateLimitError
from crm.services.budget import BACKFILL, budget_for
from crm.services.portals import connect, get_default_portal_id
from tests.bench.figures import Figure
from tests.bench.window import PERIOD, RollingWindow
from tests.stage import Stage

PROCESSES, THREADS, SECONDS = 4, 3, 60.0
MAX_CALLS = 190
_STARTING = 10.0
_BETWEEN_PEOPLE = (0.5, 3.5)


def measure(stage: Stage) -> list[Figure]:
    """Every process has a backfill of several threads, and a person now and then."""
    stage.create_service("budget")
    with RollingWindow(MAX_CALLS) as hubspot:
        environment = stage.environment("budget") | {"HUBSPOT_API_URL": hubspot.url}
        begin = time.time() + _STARTING
        with ProcessPoolExecutor(
            PROCESSES, mp_context=multiprocessing.get_context("spawn")
        ) as pool:
            waits = sorted(
                wait
                for each in pool.map(_call, [environment] * PROCESSES, [begin] * PROCESSES)
                for wait in each
            )
    answers = len(hubspot.accepted) + hubspot.refused
    used = sum(at < hubspot.accepted[0] + SECONDS for at in hubspot.accepted)
    print(
        f"  {answers} answers, {hubspot.refused} of them 429; {len(waits)} people, half of them"
        f" within {waits[len(waits) // 2]:.3f} s",
        file=sys.stderr,
    )
    allowed = MAX_CALLS * SECONDS / PERIOD
    return [
        Figure("share of HubSpot's window used by four processes", used / allowed, 0.95),
        Figure("share of answers that were 429", hubspot.refused / answers, 0.001, at_most=True),
        Figure("seconds until a person's answer, the longest", waits[-1], 1, at_most=True),
    ]


def _call(environment: Mapping[str, str], begin: float) -> list[float]:
    """One process; returns how long each of its people waited for an answer."""
    with create_app(load_settings(environment, embedded=False)).app_context():
        portal_id = get_default_portal_id()
        patient = replace(connect(portal_id), budget=budget_for(portal_id, BACKFILL))
        hurried = connect(portal_id, someone_waits=True)
        time.sleep(begin - time.time())
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
            client.call("GET", "/backfill", repeatable=True)


def _people(client: HubSpotClient, deadline: float) -> list[float]:
    waits = []
    while time.monotonic() < deadline:
        time.sleep(random.uniform(*_BETWEEN_PEOPLE))
        began = time.monotonic()
        client.call("GET", "/person", repeatable=True)
        waits.append(time.monotonic() - began)
    return waits
