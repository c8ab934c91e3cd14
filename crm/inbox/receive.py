"""Store deliveries as they come, and put their events into the inbox a moment later.

Storing a hundred events takes many times as long as storing the text that holds them, and HubSpot
waits for an answer.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog
from sqlalchemy import text

from crm.db import transaction, write_at_once
from crm.queue import enqueue_once

log = structlog.get_logger(__name__)

TASK = "read_inbox"

# As ``enqueue_once`` does, in its order: a waiting job sees what was stored under this lock. Where
# none is waiting, one is enqueued right after; in a crash between, the sweep does it.
_STORE = (
    "INSERT INTO deliveries (body) VALUES (:body)",
    f"""
    SELECT pg_advisory_xact_lock_shared(hashtextextended('{TASK}:' || id, 0))
    FROM portals WHERE hub_id = ANY(:hub_ids) ORDER BY id
    """,  # noqa: S608 - our own
    f"""
    SELECT id FROM portals WHERE hub_id = ANY(:hub_ids) AND NOT EXISTS (
        SELECT FROM procrastinate_jobs
        WHERE queueing_lock = '{TASK}:' || portals.id AND status = 'todo')
    """,  # noqa: S608 - our own
)


def store_events(events: Sequence[Mapping[str, Any]]) -> None:
    """Keep a delivery's events, all of them or none, and have them looked at.

    Each has the number of its ``portalId``.
    """
    if not events:
        return
    parameters = {
        # As we have read it: a number too large for Postgres would hold up all that comes after.
        # A row so small is written several times as fast.
        "body": zlib.compress(orjson.dumps(events), zlib.Z_BEST_SPEED),
        "hub_ids": list({each["portalId"] for each in events}),
    }
    for (portal_id,) in write_at_once(_STORE, parameters):
        with transaction():
            enqueue_once(TASK, portal_id)
    log.info("webhook stored", events=len(events))


_DELIVERIES = 100
"""That are unpacked in one transaction."""

_TAKE = text("""
    DELETE FROM deliveries WHERE id IN (
        SELECT id FROM deliveries ORDER BY id LIMIT :deliveries FOR UPDATE)
    RETURNING id, body, received_at
""")

# What is about none of our portals is not looked at, unless one has yet to tell its number.
_UNPACK = text("""
    INSERT INTO inbox (hub_id, payload, received_at, processed_at, outcome)
    SELECT hub_id, payload, received_at, CASE WHEN is_strange THEN now() END,
        CASE WHEN is_strange THEN 'ignored' END
    FROM unnest(CAST(:bodies AS text[]), CAST(:times AS timestamptz[]))
        WITH ORDINALITY AS delivery(body, received_at, place)
    CROSS JOIN LATERAL jsonb_array_elements(CAST(body AS jsonb))
        WITH ORDINALITY AS told(payload, number)
    CROSS JOIN LATERAL (SELECT (payload ->> 'portalId')::bigint AS hub_id) AS event
    CROSS JOIN LATERAL (
        SELECT NOT EXISTS (SELECT FROM portals
            WHERE portals.hub_id = event.hub_id OR portals.hub_id IS NULL) AS is_strange
    ) AS portal
    ORDER BY place, number
""")


def unpack() -> None:
    """Put the events of all deliveries into the inbox, in the order in which they came."""
    while _unpack_some():
        pass


def _unpack_some() -> bool:
    with transaction() as session:
        deliveries = sorted(
            session.execute(_TAKE, {"deliveries": _DELIVERIES}), key=lambda row: row.id
        )
        bodies = [zlib.decompress(row.body).decode() for row in deliveries]
        times = [row.received_at for row in deliveries]
        if deliveries:
            session.execute(_UNPACK, {"bodies": bodies, "times": times})
    return bool(deliveries)
