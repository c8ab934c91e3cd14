"""Every deal that existed throughout a scan is in its results once, with all associations."""

import os
import random
import time

import pytest
from sqlalchemy import text

from crm.db import transaction
from crm.queue import give_back_stalled_jobs
from tests.conftest import wait_until
from tests.deals import TYPES, Deals
from tests.domains.scans.conftest import results, status
from tests.forked import Workers

KILLS = 12


@pytest.fixture
def deals(sandbox):
    return Deals(sandbox, seed=20261121)


@pytest.fixture
def slow_sandbox(sandbox):
    sandbox.sandbox.settings.latency_ms = 60
    yield sandbox
    sandbox.sandbox.settings.latency_ms = 0


@pytest.fixture
def workers(app):
    settings = app.extensions["crm_settings"]
    names = ("DATABASE_URL", "SECRET_KEY", "JWT_SECRET_KEY", "HUBSPOT_API_URL", "ENCRYPTION_KEYS")
    given = {name: getattr(settings, name.lower()) for name in names}
    with Workers({**os.environ, **given, "LOG_LEVEL": "ERROR"}) as workers:
        yield workers
    with transaction() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
        session.execute(text("DELETE FROM procrastinate_workers"))


def let_time_pass():
    """Who has not been heard of since counts as dead, and its jobs are given to others."""
    with transaction() as session:
        session.execute(
            text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute'")
        )
    give_back_stalled_jobs()


def test_deals_that_are_changed_while_a_scan_runs_are_stored_once(
    begin, run_jobs, deals, slow_sandbox
):
    deals.load(3_000)
    begin(association_types=TYPES)

    with deals.changing():
        run_jobs()

    row = status()
    assert row["status"] == "completed", row["error_message"]
    assert deals.find_differences(results()) == []
    assert row["processed_items"] == len(results())
    assert deals.changes > 50


@pytest.mark.long
def test_a_worker_that_is_killed_a_dozen_times_loses_no_deal(begin, deals, slow_sandbox, workers):
    deals.load(3_000)
    dice = random.Random(20261121)
    killed = 0
    # Small pages, so that no worker comes to the end before it is killed.
    begin(association_types=TYPES, batch_size=10)

    with deals.changing(0.02):
        for _ in range(KILLS):
            worker = workers.start()
            before = status()["takeovers"]
            wait_until(lambda before=before: status()["takeovers"] > before)
            time.sleep(dice.uniform(0, 0.2))
            workers.kill(worker)
            killed += status()["status"] == "running"
            let_time_pass()
        workers.start()
        wait_until(lambda: status()["status"] != "running")

    row = status()
    assert row["status"] == "completed", row["error_message"]
    assert deals.find_differences(results()) == []
    assert row["processed_items"] == len(results())
    assert killed == KILLS


def test_a_worker_that_is_stopped_hands_its_scan_over(begin, deals, slow_sandbox, workers):
    deals.load(1_500)
    begin(association_types=TYPES, batch_size=10)
    first = workers.start()
    wait_until(lambda: status()["processed_items"] > 0)

    began = time.monotonic()
    workers.stop(first)
    seconds = time.monotonic() - began
    before = status()
    workers.start()
    wait_until(lambda: status()["status"] != "running")

    assert seconds < 5
    assert before["status"] == "running"
    assert before["processed_items"] < 1_500
    assert status()["status"] == "completed", status()["error_message"]
    assert deals.find_differences(results()) == []
