"""Delete scans and their results after some days."""

from flask import current_app
from sqlalchemy import text

from crm.db import transaction

_MOST_AT_ONCE = 20
"""Scans whose deals are deleted in one transaction."""

_FORGET = text("""
    DELETE FROM scans WHERE id IN (SELECT id FROM scans
        WHERE completed_at < now() - make_interval(days => :days) ORDER BY id LIMIT :most)
""")
# What HubSpot allows a portal that only scans call is learnt again when there is another.
_FORGET_BUDGETS = [
    text(
        f"DELETE FROM {table} WHERE portal_id < 0"  # noqa: S608 - the names from below
        " AND NOT EXISTS (SELECT FROM scans WHERE hub_id = -portal_id)"
    )
    for table in ("call_windows", "day_quotas")
]


def forget_old() -> None:
    """Delete the scans that ended ``SCAN_RETENTION_DAYS`` ago, with their results."""
    days = current_app.extensions["crm_settings"].scan_retention_days
    count = _MOST_AT_ONCE
    while count == _MOST_AT_ONCE:
        with transaction() as session:
            given = {"days": days, "most": _MOST_AT_ONCE}
            count = session.execute(_FORGET, given).rowcount  # type: ignore[attr-defined]
    with transaction() as session:
        for each in _FORGET_BUDGETS:
            session.execute(each)
