"""Count up the scans that an organization started within a period."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import text

from crm.db import db
from crm.scans.status import MINE, STATUSES, TIME, percentage

PERIODS: Mapping[str, str] = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}

# Of those that begin and end in the same moment, the ends count first.
_STATISTICS = text(f"""
WITH mine AS (
    SELECT *, extract(epoch FROM completed_at - started_at) AS seconds FROM scans
    WHERE {MINE} AND created_at > clock_timestamp() - CAST(:period AS interval)
), steps AS (
    SELECT sum(step) OVER (ORDER BY at, step) AS running FROM (
        SELECT started_at AS at, 1 AS step FROM mine WHERE started_at IS NOT NULL
        UNION ALL SELECT completed_at, -1 FROM mine
        WHERE started_at IS NOT NULL AND completed_at IS NOT NULL) AS all_steps
)
SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', {TIME}) AS timestamp,
    count(*) AS total_scans,
    {", ".join(f"count(*) FILTER (WHERE status = '{each}') AS {each}" for each in STATUSES)},
    coalesce(sum(processed_items), 0) AS deals,
    coalesce(sum(data_size), 0) AS bytes,
    avg(seconds) FILTER (WHERE status = 'completed') AS average_seconds,
    min(seconds) FILTER (WHERE status = 'completed') AS fastest,
    max(seconds) FILTER (WHERE status = 'completed') AS slowest,
    sum(processed_items) FILTER (WHERE status = 'completed')
        / nullif(sum(seconds) FILTER (WHERE status = 'completed'), 0) AS deals_per_second,
    (SELECT coalesce(max(running), 0) FROM steps) AS peak,
    count(*) FILTER (WHERE status = 'failed'
        AND error_code IN ('HUBSPOT_AUTH_FAILED', 'FORBIDDEN')) AS authentication,
    count(*) FILTER (WHERE status = 'failed'
        AND error_code = 'RATE_LIMIT_EXCEEDED') AS rate_limit,
    count(*) FILTER (WHERE status = 'failed' AND error_code = 'HUBSPOT_UNAVAILABLE') AS network
FROM mine
""")  # noqa: S608 - our own names

_BY_DAY = text("""
SELECT today - ago AS day, coalesce(sum(processed_items), 0) AS deals,
    coalesce(sum(extract(epoch FROM completed_at - started_at)), 0) AS seconds
FROM (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) AS now
CROSS JOIN generate_series(:days - 1, 0, -1) AS ago
LEFT JOIN scans ON organization_id = :organization_id AND status = 'completed'
    AND (completed_at AT TIME ZONE 'UTC')::date = today - ago
GROUP BY day ORDER BY day
""")


@dataclass(frozen=True)
class Day:
    """What the scans brought that completed on a day of UTC."""

    day: date
    deals: int
    seconds: float
    """That they took together."""


def count_by_day(organization_id: int, days: int) -> Sequence[Day]:
    """The last days up to today, of an organization's scans that are still kept."""
    rows = db.session.execute(_BY_DAY, {"organization_id": organization_id, "days": days})
    return [Day(day, int(deals), float(seconds)) for day, deals, seconds in rows]


def count_up(organization_id: int, period: str, *, label: str | None = None) -> dict[str, Any]:
    """What became of an organization's scans of a period.

    Args:
        organization_id: whose.
        period: one of ``PERIODS``.
        label: only those whose starter called the organization so; None for all.

    Returns:
        The answer to ``GET /stats``; seconds and rates are 0 while no scan has completed.
    """
    found = db.session.execute(
        _STATISTICS,
        {"organization_id": organization_id, "label": label, "period": PERIODS[period]},
    ).one()
    return {
        "period": period,
        "timestamp": found.timestamp,
        "summary": {
            "total_scans": found.total_scans,
            "successful_scans": found.completed,
            "failed_scans": found.failed,
            "success_rate": percentage(found.completed, found.completed + found.failed),
            "total_deals_extracted": found.deals,
            "average_scan_duration_seconds": round(found.average_seconds or 0),
            "total_data_extracted_mb": round(int(found.bytes) / 1_000_000, 2),
        },
        "status_breakdown": {each: getattr(found, each) for each in STATUSES},
        "performance_metrics": {
            "fastest_scan_seconds": round(found.fastest or 0),
            "slowest_scan_seconds": round(found.slowest or 0),
            "average_deals_per_second": round(float(found.deals_per_second or 0), 2),
            "peak_concurrent_scans": int(found.peak),
        },
        "error_analysis": {
            "authentication_failures": found.authentication,
            "rate_limit_errors": found.rate_limit,
            "network_timeouts": found.network,
            "other_errors": found.failed - found.authentication - found.rate_limit - found.network,
        },
    }
