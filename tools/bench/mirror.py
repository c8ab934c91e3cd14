"""The mirror: a backfill beside a bare loop over the same pages, and what a reconciliation costs.

The sandbox is a process of its own and takes its time to answer, as HubSpot does. The bare loop
reads each page as JSON and asks for the next.
"""

import sys
import time
from threading import Event, Thread

import orjson
import psutil
from sqlalchemy import text

from crm.config import load_settings
from crm.db import db
from crm.object_types import COMPANIES, CONTACTS, ObjectType
from crm.portals import portals
from crm.portals.property_schemas import list_mirrored
from crm.pull import runner
from tools.bench.figures import Figure
from tools.bench.sandbox import OBJECTS, Client
from tools.stage import Stage

RECORDS, COMPANY_COUNT = 100_000, 1_000
LATENCY_MS = 50
"""HubSpot's lists take longer."""
TO_CONTACT = 280
TYPES: dict[ObjectType, tuple[ObjectType, ...]] = {CONTACTS: (), COMPANIES: (CONTACTS,)}
"""What is listed, and the associations that are asked for along with it."""

_ALLOW_MUCH = """
    INSERT INTO day_quotas (portal_id) SELECT id FROM portals;
    INSERT INTO call_windows (portal_id, kind, max_calls, period)
        SELECT id, unnest(ARRAY['general', 'associations', 'search']), 10000, '10 seconds'
        FROM portals;
"""


def measure(stage: Stage) -> list[Figure]:
    """Load contacts and their companies; read them in turn by a bare loop and by a backfill."""
    address = stage.start_sandbox()
    client = Client(address)
    client.lift_limits()
    _load(client)
    app = stage.create_service("mirror")
    app.extensions["crm_settings"] = load_settings(
        {**stage.environment("mirror"), "HUBSPOT_API_URL": address}, embedded=False
    )
    with app.app_context():
        db.session.execute(text(_ALLOW_MUCH))
        db.session.commit()
        portal_id = portals.get_default_portal_id()
        portals.set_up(portals.connect(portal_id), portal_id)
        client.set(latency_ms=LATENCY_MS)
        of_bare = _time_of_bare_loop(client, portal_id)
        with Memory() as memory:
            of_backfill, taken_in = _time_of("backfill")
        client.set(latency_ms=0)
        requests = client.count_requests()
        _, reconciled = _time_of("reconcile")
        requests = client.count_requests() - requests
    print(
        f"  bare {of_bare:.1f} s  backfill {of_backfill:.1f} s  differences {reconciled}",
        file=sys.stderr,
    )
    records = RECORDS + COMPANY_COUNT
    if taken_in != records + RECORDS or reconciled:
        raise RuntimeError(f"{taken_in} taken in, {reconciled} differences after that")
    return [
        Figure("backfill of 100,000 contacts", of_backfill / of_bare, 1.5, at_most=True),
        Figure("MB that it takes at most", memory.growth / 1e6, 200, at_most=True),
        Figure(
            "requests of a reconciliation beyond N/100", requests - records / 100, 10, at_most=True
        ),
    ]


def _load(client: Client) -> None:
    """Every contact belongs to a company."""
    contacts = client.create("contacts", map(_contact, range(RECORDS)))
    each = RECORDS // COMPANY_COUNT
    for first in range(0, COMPANY_COUNT, 100):
        inputs = [
            {
                "properties": {"name": f"Company {n}", "domain": f"company{n}.example.com"},
                "associations": [
                    {
                        "to": {"id": contact},
                        "types": [
                            {
                                "associationCategory": "HUBSPOT_DEFINED",
                                "associationTypeId": TO_CONTACT,
                            }
                        ],
                    }
                    for contact in contacts[n * each : (n + 1) * each]
                ],
            }
            for n in range(first, first + 100)
        ]
        client.post(f"{OBJECTS}/companies/batch/create", {"inputs": inputs})


def _contact(number: int) -> dict[str, str]:
    return {
        "email": f"person{number}@example.com",
        "firstname": f"Person {number}",
        "lastname": "of the bench",
        "phone": f"+1 555 {number:07}",
        "company": f"Company {number % COMPANY_COUNT}",
        "lifecyclestage": "lead",
    }


def _time_of_bare_loop(client: Client, portal_id: int) -> float:
    began = time.perf_counter()
    for object_type, others in TYPES.items():
        names = ",".join(list_mirrored(portal_id, object_type))
        associations = ",".join(each.name for each in others)
        path = f"{OBJECTS}/{object_type.name}?limit=100&properties={names}"
        path += f"&associations={associations}" if associations else ""
        after = "0"
        while after:
            page = orjson.loads(client.get(f"{path}&after={after}"))
            after = page.get("paging", {}).get("next", {}).get("after")
    return time.perf_counter() - began


def _time_of(kind: str) -> tuple[float, int]:
    """Seconds and differences of a whole run."""
    began = time.perf_counter()
    last = {run.object_type: run for run in runner.follow(kind)}
    return time.perf_counter() - began, sum(run.differences for run in last.values())


class Memory:
    """By how many bytes this process grows within the block."""

    growth = 0

    def __enter__(self) -> "Memory":
        self._process = psutil.Process()
        self._began = self._process.memory_info().rss
        self._over = Event()
        self._watching = Thread(target=self._watch)
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.growth = max(self.growth, self._process.memory_info().rss - self._began)
