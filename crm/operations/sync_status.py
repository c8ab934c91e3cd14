"""Tell how far the mirror and HubSpot are in step."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from crm.db import db

_SELECT = text("""
    SELECT
        portal.set_up_at IS NOT NULL AS is_set_up,
        portal.disabled_reason,
        CASE WHEN portal.push_retry_at > now() AND portal.blocked = '{}'
            THEN portal.push_error END AS pause,
        portal.blocked,
        (SELECT count(*) FROM records WHERE portal_id = portal.id AND state = 'pending')
            + (SELECT count(*) FROM associations
                WHERE portal_id = portal.id AND state = 'pending') AS pending,
        (SELECT min(updated_at) FROM records
            WHERE portal_id = portal.id AND state = 'pending') AS pending_since,
        (SELECT count(*) FROM records WHERE portal_id = portal.id AND state = 'rejected')
            + (SELECT count(*) FROM associations
                WHERE portal_id = portal.id AND state = 'rejected') AS rejected,
        (SELECT received_at FROM inbox WHERE hub_id = portal.hub_id
            ORDER BY id DESC LIMIT 1) AS last_event_at,
        (SELECT count(*) FROM inbox
            WHERE hub_id = portal.hub_id AND processed_at IS NULL) AS waiting_events,
        (SELECT min(received_at) FROM inbox
            WHERE hub_id = portal.hub_id AND processed_at IS NULL) AS waiting_since,
        (SELECT max(completed_at) FROM sync_runs
            WHERE portal_id = portal.id AND kind = 'reconcile' AND state = 'completed')
            AS reconciled_at,
        (SELECT count(*) FROM sync_runs
            WHERE portal_id = portal.id AND kind = 'backfill' AND state <> 'completed')
            AS backfilling,
        EXISTS (SELECT FROM procrastinate_workers
            WHERE last_heartbeat > now() - interval '30 seconds') AS has_worker
    FROM portals AS portal WHERE portal.id = :portal_id
""")


@dataclass(frozen=True)
class SyncStatus:
    """How a portal stands."""

    is_set_up: bool
    """Whether HubSpot was ever spoken to."""
    disabled_reason: str | None
    """Why the portal is disconnected, if HubSpot said so."""
    pause: str | None
    """Why sending pauses, while it does."""
    blocked: Mapping[str, str]
    """What alone cannot be sent, such as an object type, and why."""
    pending: int
    """Changes, of records and of associations, that HubSpot is still to get."""
    pending_since: datetime | None
    rejected: int
    """Changes that HubSpot refused and nobody has looked after yet."""
    last_event_at: datetime | None
    """When HubSpot last told something."""
    waiting_events: int
    waiting_since: datetime | None
    reconciled_at: datetime | None
    """When everything was last compared with HubSpot."""
    backfilling: int
    """Object types that are still being taken in for the first time."""
    has_worker: bool


def find_sync_status(portal_id: int) -> SyncStatus:
    """How a portal stands at this moment."""
    return SyncStatus(*db.session.execute(_SELECT, {"portal_id": portal_id}).one())
