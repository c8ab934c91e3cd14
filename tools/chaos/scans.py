"""Scans whose worker is killed again and again, while deals are changed and HubSpot errs.

Each deal that existed throughout a scan must be in its results once, with all associations.
"""

import base64
import random
import time
from collections.abc import Mapping
from itertools import count
from typing import IO, Any

from sqlalchemy import text

from crm.config import load_settings
from crm.db import transaction
from crm.queue import give_back_stalled_jobs
from crm.scans.commands import ScanConfig, start_scan
from hubspot_sandbox import DEFAULT_TOKEN
from tests.deals import TYPES, Deals
from tests.forked import Workers
from tools.chaos.trouble import FAULTS
from tools.stage import stage

DEALS = 12_000
BATCH = 10
"""Deals of a page: few, so that a scan takes longer than its workers live."""
LONGEST_LIFE = 0.6
MILD = [each for each in FAULTS if each.get("status") not in (429, 477)]
"""The others make a scan pause for longer than any worker lives."""
LONGEST_WAIT = 120.0


def run(kills: int, seed: int, log: IO[bytes]) -> list[str]:
    """Kill so many workers at random; returns what was different in the end."""
    with stage(log=log) as place:
        app = place.create_service("scans")
        key = base64.urlsafe_b64encode(b"k" * 32).decode()
        # Without a portal of the mirror's, which would be backfilled meanwhile.
        changes = {"ENCRYPTION_KEYS": key, "HUBSPOT_PRIVATE_APP_TOKEN": ""}
        environment = {**place.environment("scans"), **changes}
        app.extensions["crm_settings"] = load_settings(environment, embedded=False)
        deals = Deals(place.sandbox, seed)
        deals.load(DEALS)
        place.sandbox.sandbox.settings.limit_ten_secondly = 190
        place.sandbox.set_faults([{**each, "seed": seed} for each in MILD])
        with app.app_context(), Workers(environment, log) as workers, deals.changing(0.05):
            differences = _kill_again_and_again(deals, workers, kills, random.Random(seed))
        struck = sum(each["struck"] for each in place.sandbox.sandbox.faults.describe())
    print(f"{kills} workers killed within scans, {struck} faults, {deals.changes} deals changed")
    print(f"{len(differences)} differences between the scans and HubSpot")
    return differences


def _kill_again_and_again(
    deals: Deals, workers: Workers, kills: int, dice: random.Random
) -> list[str]:
    differences: list[str] = []
    killed = 0
    for number in count():
        name = f"scan-{number}"
        deals.look()
        config = ScanConfig(association_types=TYPES, batch_size=BATCH)
        start_scan(_organization_id(), name, DEFAULT_TOKEN, config)
        while killed < kills and (before := _find(name))["status"] in ("pending", "running"):
            worker = workers.start()
            _wait(lambda before=before: _find(before["scan_id"])["takeovers"] > before["takeovers"])
            time.sleep(dice.uniform(0, LONGEST_LIFE))
            workers.kill(worker)
            killed += 1
            _let_time_pass()
        if killed == kills:
            workers.start()
            _wait(lambda name=name: _find(name)["status"] not in ("pending", "running"))
        differences += _compare(deals, _find(name))
        print(f"  {name}: {killed} workers killed, {len(differences)} differences", flush=True)
        if killed == kills:
            return differences
    raise AssertionError


def _compare(deals: Deals, scan: Mapping[str, Any]) -> list[str]:
    if scan["status"] != "completed":
        return [f"{scan['scan_id']} {scan['status']}: {scan['error_message']}"]
    with transaction() as session:
        rows = session.execute(
            text("SELECT deal_id, associations FROM scan_deals WHERE scan_id = :id"),
            {"id": scan["id"]},
        )
        found = {str(row.deal_id): {"associations": row.associations} for row in rows}
    counted = scan["processed_items"]
    miscounted = [] if counted == len(found) else [f"{counted} counted, {len(found)} stored"]
    return [*miscounted, *deals.find_differences(found)]


def _find(name: str) -> Mapping[str, Any]:
    with transaction() as session:
        statement = text("SELECT * FROM scans WHERE scan_id = :name")
        return dict(session.execute(statement, {"name": name}).mappings().one())


def _organization_id() -> int:
    with transaction() as session:
        return int(session.execute(text("SELECT id FROM organizations")).scalar_one())


def _let_time_pass() -> None:
    """Who has not been heard of since counts as dead, and nobody pauses."""
    with transaction() as session:
        session.execute(
            text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute'")
        )
        session.execute(
            text("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE task_name = 'scan'")
        )
    give_back_stalled_jobs()


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("The scan does not go on")
        time.sleep(0.02)
