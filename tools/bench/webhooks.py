"""Webhooks: ten deliveries of 100 events at once, each durable before it is answered."""

import sys
import time
from statistics import median

import orjson
from sqlalchemy import text

from crm.db import db
from crm.hubspot.signature import SIGNATURE_V3, TIMESTAMP, sign_v3
from crm.portals.portals import get_default_portal_id
from crm.push.job import push
from tools.bench.figures import Figure, median_ratio
from tools.bench.load import Load, load, post_bytes
from tools.stage import Stage

PATH = "/webhooks/hubspot"
SECRET = "the secret of an app"
EVENTS, AT_ONCE = 100, 10
ROUNDS, SECONDS = 5, 4.0


def measure(stage: Stage) -> list[Figure]:
    """Rounds of each in turn: a bare route that reads the same body and drops it, and ours."""
    app = stage.create_service("webhooks")
    with app.app_context():
        push(get_default_portal_id())  # So that the portal shows its number.
        hub_id = db.session.scalar(text("SELECT hub_id FROM portals"))
    environment = stage.environment("webhooks") | {"HUBSPOT_CLIENT_SECRET": SECRET}
    address = stage.serve("crm:create_app()", environment)
    bare = stage.serve("tools.bench.bare_webhooks:app", environment)
    body = orjson.dumps([_event(number, hub_id) for number in range(EVENTS)])
    pairs = [(_deliver(address, body), _deliver(bare, body)) for _ in range(ROUNDS)]
    with app.app_context():
        stored = db.session.scalar(text("SELECT count(*) FROM deliveries")) * EVENTS
    if stored < sum(ours.rate for ours, _ in pairs) * SECONDS * EVENTS * 0.9:
        raise RuntimeError(f"only {stored} events were stored")
    return [
        Figure(
            "deliveries of 100 events against a route that drops them",
            median_ratio([(ours.rate, theirs.rate) for ours, theirs in pairs]),
            0.33,
        ),
        Figure(
            "their p99 against that route's",
            median(ours.p99 / theirs.p99 for ours, theirs in pairs),
            5,
            at_most=True,
        ),
    ]


def _deliver(address: str, body: bytes) -> Load:
    # Signed anew: a signature lasts five minutes.
    timestamp = time.time_ns() // 1_000_000
    signature = sign_v3(
        SECRET, method="POST", uri=f"http://bench{PATH}", body=body, timestamp=timestamp
    )
    headers = {SIGNATURE_V3: signature, TIMESTAMP: str(timestamp)}
    request = post_bytes(PATH, body, headers)
    done = load(address, lambda _: request, seconds=SECONDS, connections=AT_ONCE)
    print(f"  {done.rate:.0f}/s, p99 {done.p99 * 1000:.1f} ms", file=sys.stderr)
    return done


def _event(number: int, hub_id: int) -> dict[str, object]:
    """As HubSpot sends them."""
    return {
        "eventId": 3816279340 + number,
        "subscriptionId": 12345,
        "portalId": hub_id,
        "appId": 1836221,
        "occurredAt": 1764113600000 + number,
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": 18000000000 + number,
        "propertyName": "firstname",
        "propertyValue": "Augusta Ada",
        "changeSource": "CRM_UI",
        "sourceId": "userId:60318841",
    }
