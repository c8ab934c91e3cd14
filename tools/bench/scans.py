"""Scans: what they cost in requests, and how fast they are within HubSpot's own limits.

The sandbox and the worker are processes of their own. The sandbox takes 150 ms to answer, and lets
a private app call 190 times in ten seconds, as HubSpot does. Beside the scan, HubSpot's own client
reads the same deals page after page.
"""

import base64
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import psutil
from flask import Flask
from hubspot import HubSpot
from sqlalchemy import text

from crm.config import load_settings
from crm.db import db
from crm.scans.commands import ScanConfig, start_scan
from hubspot_sandbox import DEFAULT_TOKEN
from tools.bench.figures import Figure
from tools.bench.sandbox import Client
from tools.stage import Stage

FEW, MANY = 12_000, 100_000
LATENCY_MS = 150
TEN_SECONDLY = 190
LIMITS = {"limit_ten_secondly": TEN_SECONDLY, "limit_associations": 150, "limit_search": 5}
TYPES = {"contacts": 3, "companies": 341, "line_items": 19}
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()


def measure(stage: Stage) -> list[Figure]:
    """Scan 12,000 deals, and the same by HubSpot's client; then scan 100,000."""
    client = Client(stage.start_sandbox())
    client.lift_limits()
    line_items = client.create("line_items", ({"name": f"Item {n}"} for n in range(FEW)))
    contacts = client.create("contacts", ({"email": f"p{n}@example.com"} for n in range(1_000)))
    companies = client.create("companies", ({"name": f"Company {n}"} for n in range(100)))
    others = zip(cycle(contacts), cycle(companies), line_items, strict=False)
    client.load(map(_deal, others))
    # Without a portal of the mirror's, whose calls would be among those that are counted.
    changes = {
        "HUBSPOT_API_URL": client.address,
        "HUBSPOT_PRIVATE_APP_TOKEN": "",
        "ENCRYPTION_KEYS": KEY,
    }
    app = stage.create_service("scans")
    app.extensions["crm_settings"] = load_settings(
        {**stage.environment("scans"), **changes}, embedded=False
    )
    worker = psutil.Process(stage.start_worker("scans", **changes).pid)
    _be_like_hubspot(client)
    of_client, deals = _time_of_official_client(client.address)
    _be_like_hubspot(client)
    first = _Scan(app, "few", client)
    of_scan = first.run()
    if not deals == first.processed == FEW:
        raise RuntimeError(f"{deals} deals by HubSpot's client, {first.processed} by the scan")
    client.set(latency_ms=0, **dict.fromkeys(LIMITS, 0))
    client.load(_deal((contact, company)) for contact, company in _pairs(contacts, companies))
    _be_like_hubspot(client)
    second = _Scan(app, "many", client, worker)
    of_many = second.run()
    alone = second.requests / TEN_SECONDLY * 10
    print(
        f"  client {of_client:.1f} s  scan {of_scan:.1f} s  100,000 deals {of_many:.1f} s,"
        f" {second.requests} requests that HubSpot lets through in {alone:.1f} s",
        file=sys.stderr,
    )
    return [
        Figure("requests for 12,000 deals", first.requests, 135, at_most=True),
        Figure("times faster than HubSpot's client", of_client / of_scan, 4),
        Figure("times what HubSpot's limit takes alone", of_many / alone, 1.2, at_most=True),
        Figure("MB of the worker at 100,000 deals", second.memory / 1e6, 200, at_most=True),
    ]


class _Scan:
    """One scan with all associations, and what it took."""

    requests = processed = memory = 0

    def __init__(
        self, app: Flask, name: str, client: Client, worker: psutil.Process | None = None
    ) -> None:
        self._app, self._name, self._client, self._worker = app, name, client, worker

    def run(self) -> float:
        """Seconds from its start by a caller to its end."""
        before = self._client.count_requests()
        with self._app.app_context():
            organization_id = db.session.scalar(text("SELECT id FROM organizations"))
            config = ScanConfig(association_types=tuple(TYPES))
            start_scan(organization_id, self._name, DEFAULT_TOKEN, config)
            while not (ended := self._find_ended()):
                time.sleep(0.1)
                if self._worker:
                    self.memory = max(self.memory, self._worker.memory_info().rss)
            seconds, self.processed = ended
        # Counting is a request too.
        self.requests = self._client.count_requests() - before - 1
        return float(seconds)

    def _find_ended(self) -> Any:
        row = db.session.execute(
            text(
                "SELECT status, extract(epoch FROM completed_at - created_at), processed_items,"
                " error_message FROM scans WHERE scan_id = :name"
            ),
            {"name": self._name},
        ).one()
        db.session.rollback()
        status, seconds, processed, why = row
        if status not in ("pending", "running", "completed"):
            raise RuntimeError(f"The scan {status}: {why}")
        return (seconds, processed) if status == "completed" else None


def _be_like_hubspot(client: Client) -> None:
    """Take time and have limits; the calls until now are forgotten."""
    client.set(latency_ms=LATENCY_MS, **LIMITS)
    time.sleep(10)


def _time_of_official_client(address: str) -> tuple[float, int]:
    official = HubSpot(access_token=DEFAULT_TOKEN, host=address)
    began, count, after = time.perf_counter(), 0, None
    while True:
        page = official.crm.deals.basic_api.get_page(
            limit=100, after=after, associations=list(TYPES)
        )
        count += len(page.results)
        if not page.paging:
            return time.perf_counter() - began, count
        after = page.paging.next.after


def _deal(others: tuple[str, ...]) -> dict[str, Any]:
    return {
        "properties": {
            "dealname": "A new engine",
            "dealstage": "qualifiedtobuy",
            "amount": "50000",
            "closedate": "2026-12-01T00:00:00Z",
        },
        "associations": [
            {
                "to": {"id": each},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}],
            }
            for each, type_id in zip(others, TYPES.values(), strict=False)
        ],
    }


def _pairs(contacts: list[str], companies: list[str]) -> Iterator[tuple[str, str]]:
    number = range(MANY - FEW)
    return ((contacts[n % len(contacts)], companies[n % len(companies)]) for n in number)
