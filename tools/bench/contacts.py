"""``GET /contacts?limit=10`` against a bare Flask route that returns the same bytes."""

import sys
import tempfile
import urllib.request
from pathlib import Path

from sqlalchemy import text

from crm.accounts import sessions, users
from crm.db import db
from tools.bench.figures import Figure, median_ratio
from tools.bench.load import get_request, rate
from tools.stage import Stage

PATH = "/contacts"
SEED = Path(__file__).parent / "seed.sql"
BODY_FILE = Path(tempfile.gettempdir()) / "crm-bench-body.json"
ROUNDS, SECONDS = 5, 3.0
FEW, MANY = 1_000, 100_000


def measure(stage: Stage) -> list[Figure]:
    """Rounds of each in turn, so that a slow moment of the machine meets all of them."""
    few, request = _service(stage, "few", FEW)
    many, request_of_many = _service(stage, "many", MANY)
    with urllib.request.urlopen(  # noqa: S310 - our own loopback
        urllib.request.Request(f"{few}{PATH}?limit=10", headers=request)  # noqa: S310 - the same
    ) as answer:
        BODY_FILE.write_bytes(answer.read())
    bare = stage.serve("tools.bench.bare:app", stage.environment("few"))
    path = f"{PATH}?limit=10"
    against_bare, many_against_few = [], []
    for _ in range(ROUNDS):
        of_bare = rate(bare, lambda _: get_request(path, request), seconds=SECONDS)
        of_few = rate(few, lambda _: get_request(path, request), seconds=SECONDS)
        of_many = rate(many, lambda _: get_request(path, request_of_many), seconds=SECONDS)
        against_bare.append((of_few, of_bare))
        many_against_few.append((of_many, of_few))
        print(
            f"  bare {of_bare:.0f}/s  1,000 {of_few:.0f}/s  100,000 {of_many:.0f}/s",
            file=sys.stderr,
        )
    return [
        Figure("GET /contacts against a bare route", median_ratio(against_bare), 0.5),
        Figure("100,000 contacts against 1,000", median_ratio(many_against_few), 0.8),
    ]


def _service(stage: Stage, database: str, contacts: int) -> tuple[str, dict[str, str]]:
    """A service with so many deals and tickets too; its address, and the headers of somebody."""
    app = stage.create_service(database)
    with app.app_context():
        db.session.execute(text(SEED.read_text()), {"contacts": contacts})
        db.session.commit()
        # So that no autovacuum falls into a measurement, nor an old plan.
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
            plain.execute(text("VACUUM ANALYZE"))
        users.create_user(
            email="bench@example.com",
            password="bench-password",
            role="user",
            organization="Default",
        )
        tokens = sessions.login(email="bench@example.com", password="bench-password")
    address = stage.serve("crm:create_app()", stage.environment(database))
    return address, {"Authorization": f"Bearer {tokens.access_token}"}
