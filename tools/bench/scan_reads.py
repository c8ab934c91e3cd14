"""Reading scans: a status beside a bare Flask route, and results far down beside the first ones."""

import sys
import tempfile
import urllib.request
from pathlib import Path

import orjson
from sqlalchemy import text

from crm.accounts import api_keys
from crm.db import db
from tests.api.scan_rows import make_scan
from tools.bench.figures import Figure, median_ratio
from tools.bench.load import get_request, rate
from tools.stage import Stage

STATUS = "/api/v1/scan/status/running"
RESULTS = "/api/v1/scan/results/completed"
BODY_FILE = Path(tempfile.gettempdir()) / "crm-bench-status.json"
ROUNDS, SECONDS = 5, 3.0
DEALS, DEPTH, PAGE = 100_000, 90_000, 50


def measure(stage: Stage) -> list[Figure]:
    """Rounds of each in turn, so that a slow moment of the machine meets all of them."""
    app = stage.create_service("scan_reads")
    with app.app_context():
        make_scan("running", status="running", total_items=DEALS, processed_items=DEPTH)
        make_scan("completed", deals=DEALS)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
            plain.execute(text("VACUUM ANALYZE"))
        key = {"X-API-Key": api_keys.create_key(name="bench", organization="Default")}
    ours = stage.serve("crm:create_app()", stage.environment("scan_reads"))
    BODY_FILE.write_bytes(_get(f"{ours}{STATUS}", key))
    bare = stage.serve("tools.bench.bare_status:app", stage.environment("scan_reads"))
    deep = f"{RESULTS}?cursor={_find_cursor(ours, key)}"
    against_bare, deep_against_first = [], []
    for _ in range(ROUNDS):
        of_bare, of_status, of_first, of_deep = (
            rate(address, lambda _, path=path: get_request(path, key), seconds=SECONDS)
            for address, path in ((bare, STATUS), (ours, STATUS), (ours, RESULTS), (ours, deep))
        )
        against_bare.append((of_status, of_bare))
        deep_against_first.append((of_first, of_deep))
        print(
            f"  bare {of_bare:.0f}/s  status {of_status:.0f}/s"
            f"  first page {of_first:.0f}/s  at {DEPTH} {of_deep:.0f}/s",
            file=sys.stderr,
        )
    return [
        Figure("a scan's status against a bare route", median_ratio(against_bare), 0.5),
        Figure(
            f"time of results at deal {DEPTH} by cursor, against the first",
            median_ratio(deep_against_first),
            1.2,
            at_most=True,
        ),
    ]


def _find_cursor(address: str, key: dict[str, str]) -> str:
    page = orjson.loads(_get(f"{address}{RESULTS}?page={DEPTH // PAGE}&page_size={PAGE}", key))
    cursor: str = page["pagination"]["next_cursor"]
    return cursor


def _get(address: str, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - our own loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
        body: bytes = answer.read()
        return body
