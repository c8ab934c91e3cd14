"""Book calls in Postgres, where every process of a portal agrees when one may be made.

A booking is one statement and one commit, by Postgres's clock. It takes the first moment at which
HubSpot's rolling windows have room and writes it down, so that nobody else takes it; the caller
sleeps until then, holding nothing. So a caller that dies costs one call and no more. How far ahead
a lane may book is its rank: a person takes slots that a backfill is not allowed to take yet.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from crm.hubspot.client import CallKind

MARGIN = timedelta(seconds=0.2)
"""Added to HubSpot's windows, since it counts when a call arrives and not when it was booked."""
KEPT = timedelta(seconds=1)
"""How much longer calls are kept, to compare them with what an answer says HubSpot counted."""

FURTHEST = timedelta(seconds=3)
"""Nobody books so far ahead: what is later was booked before the clock was put back."""
LONGEST_CLOSURE = timedelta(hours=1)
"""After a 429; what is later was, too, written before the clock was put back."""
RETRY_DAY_EVERY = timedelta(minutes=15)
"""A used-up day is tried again so often: HubSpot's midnight need not be where we think it is."""

_RESERVE = 50
"""The paced lanes leave one call in so many to people."""
_BURST = 10
"""The paced lanes save up at most the calls of this part of a window."""

# Starter's limits, the lowest; the headers tell better. Source: HubSpot docs, usage guidelines.
_WINDOWS = {
    "general": (100, timedelta(seconds=10)),
    "associations": (100, timedelta(seconds=10)),
    "search": (5, timedelta(seconds=1)),
}
# Associations have a ceiling of their own within the general one. Search has its own window only.
_COUNTED_IN: dict[CallKind, list[str]] = {
    "general": ["general"],
    "associations": ["associations", "general"],
    "search": ["search"],
}


@dataclass(frozen=True)
class Lane:
    """Who calls, and what that entitles to."""

    name: str
    ahead: timedelta
    """How far ahead it may book."""
    patience: timedelta
    """How long a caller waits at most."""
    share_of_day: float
    """Of the day's quota; what is left is for the lanes before."""
    is_paced: bool = True
    """Whether its calls are spread over the window, so that at any moment some are left."""


@dataclass(frozen=True)
class Booking:
    """A call that may be made at ``at``; or, where not ``booked``, one that could be by then."""

    booked: bool
    at: datetime
    seconds: float
    """From now."""
    max_calls: int
    period: timedelta
    calls: int
    """Of the window of this kind, this one included."""
    day_max: int | None
    day_used: int


# `windows` and `day` lock their rows, always in this order, so that nobody waits in a circle; what
# they read is what the caller before left. `moment` looks at the clock only then. `lived` are the
# calls that HubSpot may still count, those booked for later among them; `roomy` is how many more it
# would take; `verdict` when. `next` is what is written then: a paced lane may come again after its
# share of the window, or later, so that what is left lasts until the oldest calls are forgotten.
_BOOK = text("""
WITH windows AS MATERIALIZED (
    SELECT * FROM call_windows WHERE portal_id = :portal_id AND kind = ANY(:kinds)
    ORDER BY kind FOR UPDATE
), moment AS MATERIALIZED (
    SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now, count(*) AS found
    FROM windows
), day AS MATERIALIZED (
    SELECT day_quotas.*, now FROM day_quotas, moment WHERE portal_id = :portal_id
    FOR UPDATE OF day_quotas
), today AS (
    SELECT midnight, max_calls, learnt_at, closed_until,
        CASE WHEN began_at = midnight THEN used ELSE 0 END AS used,
        CASE WHEN began_at = midnight THEN used_by_hour ELSE '{}' END AS used_by_hour,
        extract(hour FROM now AT TIME ZONE zone.time_zone)::text AS hour,
        date_bin('15 minutes', now, 'epoch') AS quarter
    FROM day LEFT JOIN portals ON portals.id = portal_id,
        LATERAL (SELECT coalesce(portals.time_zone, 'UTC') AS time_zone) AS zone,
        LATERAL (SELECT date_trunc('day', now, zone.time_zone) AS midnight) AS at_midnight
), lived AS (
    SELECT windows.*, hold, ARRAY(
        SELECT at FROM unnest(calls) AS at WHERE at > now - hold AND at < now + :furthest
        ORDER BY at
    ) AS live
    FROM windows, moment, LATERAL (SELECT period + :margin AS hold) AS held
), roomy AS (
    SELECT *, max_calls - cardinality(live)
        - CASE WHEN :is_paced THEN max_calls / :reserve ELSE 0 END AS room
    FROM lived
), verdict AS (
    SELECT opens_at, opens_at <= now + :ahead AS booked
    FROM moment, LATERAL (SELECT greatest(
        now,
        (SELECT max(greatest(
            CASE WHEN closed_until < now + :longest_closure THEN closed_until END,
            CASE WHEN room < 1 THEN live[1 - room] + hold END,
            CASE WHEN :is_paced AND next_at < now + hold + :furthest THEN next_at END
        )) FROM roomy),
        (SELECT greatest(
            CASE WHEN closed_until < now + :longest_closure THEN closed_until END,
            CASE WHEN used >= max_calls * :share_of_day AND learnt_at >= quarter
                THEN quarter + :retry_day_every END
        ) FROM today)
    ) AS opens_at) AS opening
), next AS (
    SELECT kind, opens_at || ARRAY(
            SELECT at FROM unnest(calls) AS at WHERE at > now - hold - :kept
        ) AS calls,
        CASE WHEN :is_paced THEN greatest(next_at, opens_at - hold / :burst) + greatest(
            hold / max_calls,
            (coalesce(still[1], opens_at) + hold - opens_at)
                / greatest(room + cardinality(live) - cardinality(still) - 1, 1)
        ) ELSE next_at END AS next_at
    FROM roomy, moment, verdict,
        LATERAL (SELECT ARRAY(SELECT at FROM unnest(live) AS at WHERE at > opens_at - hold)
            AS still) AS then_live
), book AS (
    UPDATE call_windows SET calls = next.calls, next_at = next.next_at FROM next, verdict
    WHERE portal_id = :portal_id AND call_windows.kind = next.kind AND booked
), count AS (
    UPDATE day_quotas SET
        began_at = midnight,
        used = today.used + 1,
        used_by_hour = today.used_by_hour || jsonb_build_object(hour, today.used + 1)
    FROM today, verdict WHERE portal_id = :portal_id AND booked
)
SELECT booked, opens_at AS at, extract(epoch FROM opens_at - now)::float AS seconds,
    roomy.max_calls, period, cardinality(live) + 1 AS calls,
    today.max_calls AS day_max, used AS day_used
FROM moment, verdict, roomy, today WHERE kind = :kind AND found = cardinality(:kinds)
""")

_BEGIN = text("""
WITH day AS (
    INSERT INTO day_quotas (portal_id) VALUES (:portal_id) ON CONFLICT DO NOTHING
)
INSERT INTO call_windows (portal_id, kind, max_calls, period)
SELECT :portal_id, * FROM unnest(
    CAST(:kinds AS text[]), CAST(:max_calls AS integer[]), CAST(:periods AS interval[])
) ON CONFLICT DO NOTHING
""")


def book(
    engine: Engine, portal_id: int, kind: CallKind, lane: Lane, *, now: datetime | None = None
) -> Booking:
    """Book the first moment at which a call may be made, if the lane may book so far ahead.

    Args:
        engine: in autocommit.
        portal_id: whose.
        kind: of the call.
        lane: of the caller.
        now: instead of Postgres's clock.
    """
    parameters: dict[str, Any] = {
        "portal_id": portal_id,
        "kind": kind,
        "kinds": _COUNTED_IN[kind],
        "now": now,
        "ahead": lane.ahead,
        "share_of_day": lane.share_of_day,
        "is_paced": lane.is_paced,
        "margin": MARGIN,
        "kept": KEPT,
        "reserve": _RESERVE,
        "burst": _BURST,
        "furthest": FURTHEST,
        "longest_closure": LONGEST_CLOSURE,
        "retry_day_every": RETRY_DAY_EVERY,
    }
    with engine.connect() as connection:
        row = connection.execute(_BOOK, parameters).one_or_none()
        if row is None:  # The portal's first call, or Postgres crashed.
            _begin(connection, portal_id)
            row = connection.execute(_BOOK, parameters).one()
    return Booking(**row._mapping)


def _begin(connection: Connection, portal_id: int) -> None:
    connection.execute(
        _BEGIN,
        {
            "portal_id": portal_id,
            "kinds": list(_WINDOWS),
            "max_calls": [max_calls for max_calls, _ in _WINDOWS.values()],
            "periods": [period for _, period in _WINDOWS.values()],
        },
    )
