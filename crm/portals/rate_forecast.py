"""Tell how far the calls that HubSpot allows a portal will last, as its budget knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text

from crm.db import transaction
from crm.models import CallWindow

_DAY = text("""
SELECT hub_id, time_zone, now, midnight,
    (date_trunc('day', now AT TIME ZONE time_zone) + interval '1 day') AT TIME ZONE time_zone
        AS resets_at,
    max_calls,
    CASE WHEN closed_until > now THEN closed_until END AS closed_until,
    CASE WHEN began_at = midnight THEN used ELSE 0 END AS used,
    CASE WHEN began_at = midnight THEN used_by_hour ELSE '{}' END AS used_by_hour
FROM (SELECT id, hub_id, time_zone, now, date_trunc('day', now, time_zone) AS midnight
    FROM portals, clock_timestamp() AS now) AS portal
LEFT JOIN day_quotas ON portal_id = id
WHERE id = :portal_id
""")


@dataclass(frozen=True)
class Window:
    """So many calls are allowed in any period of this length."""

    kind: str
    """``general``, ``associations`` (which are general ones too) or ``search``."""
    max_calls: int
    period: timedelta


@dataclass(frozen=True)
class Forecast:
    """What a portal's budget knows: the limits, what was used today, and where that leads."""

    hub_id: int | None
    """HubSpot's id of the portal, once it has told."""
    windows: Sequence[Window]
    """None before the first call."""
    used: int
    limit: int | None
    """None where HubSpot tells none, as to OAuth apps."""
    resets_at: datetime
    """The next midnight in the portal's time zone."""
    time_zone: str
    expected_by_reset: int
    """If calls go on as they did today or in the last hour, whichever was more."""
    runs_out_at: datetime | None
    """When the quota will be used up at this rate, if before the reset."""
    closed_until: datetime | None
    """HubSpot has said that the day's calls are used up; it will be asked again then."""


def forecast(portal_id: int) -> Forecast:
    """How far the calls that HubSpot allows a portal will last."""
    with transaction() as session:
        day = session.execute(_DAY, {"portal_id": portal_id}).one()
        windows = session.execute(
            select(CallWindow.kind, CallWindow.max_calls, CallWindow.period)
            .where(CallWindow.portal_id == portal_id)
            .order_by(CallWindow.kind)
        ).all()
    used, by_hour = day.used or 0, {int(hour): at for hour, at in (day.used_by_hour or {}).items()}
    hours = (day.now - day.midnight) / timedelta(hours=1)
    in_last_hour = used - _used_at(by_hour, hours - 1)
    # Of the first minutes alone, a rate would say little.
    rate = max(used / max(hours, 1), in_last_hour)
    left = (day.resets_at - day.now) / timedelta(hours=1)
    runs_out_at = None
    if day.max_calls is not None and rate * left > day.max_calls - used:
        lasts = max(day.max_calls - used, 0) / rate if rate else 0
        runs_out_at = day.now + timedelta(hours=lasts)
    return Forecast(
        hub_id=day.hub_id,
        windows=[Window(*each) for each in windows],
        used=used,
        limit=day.max_calls,
        resets_at=day.resets_at,
        time_zone=day.time_zone,
        expected_by_reset=round(used + rate * left),
        runs_out_at=runs_out_at,
        closed_until=day.closed_until,
    )


def _used_at(by_hour: Mapping[int, int], hours: float) -> float:
    """What was used so many hours after midnight, supposing that each hour's calls are even."""
    hour = int(max(hours, 0))
    before = max((at for each, at in by_hour.items() if each < hour), default=0)
    after = max(before, by_hour.get(hour, 0))
    return before + (after - before) * (max(hours, 0) - hour)
