"""Hold every process to how often HubSpot may be called for a portal.

Three limits (the rolling ten seconds, searches a second, the day) and three lanes of callers, and a
fourth for portals that scans alone call. The limits are learnt from HubSpot's answers.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from random import uniform

import structlog
from sqlalchemy import Engine, text

from crm.db import db
from crm.hubspot.client import CallKind
from crm.hubspot.errors import HubSpotRateLimitError
from crm.portals.rate_bookings import (
    KEPT,
    LONGEST_CLOSURE,
    MARGIN,
    RETRY_DAY_EVERY,
    Booking,
    Lane,
    book,
)

log = structlog.get_logger(__name__)

PERSON = Lane(
    "person",
    ahead=timedelta(seconds=2),
    patience=timedelta(seconds=2),
    share_of_day=1,
    is_paced=False,
)
SYNC = Lane("sync", ahead=timedelta(seconds=0.4), patience=timedelta(seconds=30), share_of_day=0.98)
BACKFILL = Lane(
    "backfill", ahead=timedelta(seconds=0.2), patience=timedelta(seconds=30), share_of_day=0.9
)
SCAN = Lane(
    "scan",
    ahead=timedelta(seconds=0.2),
    patience=timedelta(seconds=30),
    share_of_day=0.9,
    is_paced=False,
)
"""Of portals that nobody calls for people or the mirror, so that nothing is kept back for them."""

_CLOSURE = timedelta(seconds=1)
"""After a 429 that does not say how long; the calls it counted are written down besides."""
_LARGEST_MAX = 10_000
_PERIODS = (timedelta(seconds=1), timedelta(seconds=60))
_DRIFT = 0.01
"""Part of the day's quota by which our count may differ before it is put right."""
_NEARLY_USED = 0.9

# By the window's Max, whose add-on raises both. Source: HubSpot docs, usage guidelines.
_ASSOCIATIONS_CEILINGS = ((250, 200), (190, 150), (0, 100))

_LEARN_WINDOW = text("""
UPDATE call_windows SET
    max_calls = :max_calls,
    period = :period,
    next_at = CASE WHEN max_calls = :max_calls THEN next_at ELSE '-infinity' END,
    closed_until = greatest(closed_until, clock_timestamp() + :closure),
    calls = calls || array_fill(clock_timestamp(), ARRAY[greatest(0,
        :counted - (SELECT count(*) FROM unnest(calls) AS at WHERE at > :since))::integer])
WHERE portal_id = :portal_id AND kind = :kind
""")

_LEARN_CEILING = text("""
UPDATE call_windows SET max_calls = :max_calls
WHERE portal_id = :portal_id AND kind = 'associations' AND max_calls <> :max_calls
""")

_LEARN_DAY = text("""
UPDATE day_quotas SET
    max_calls = coalesce(:max_calls, max_calls),
    used = coalesce(:used, used),
    learnt_at = clock_timestamp(),
    closed_until = greatest(closed_until, clock_timestamp() + :closure)
WHERE portal_id = :portal_id
""")


@dataclass
class PortalBudget:
    """The budget of one portal as one lane sees it; ``HubSpotClient`` asks it before each call.

    Args:
        portal_id: whose; or minus the hub id of a portal that scans alone call.
        lane: PERSON, SYNC, BACKFILL or SCAN.
        engine: in autocommit: a booking must not wait for a commit that this process may be too
            busy to send, and belongs to no transaction of the caller's.
        pause: waits the given seconds.
    """

    portal_id: int
    lane: Lane
    engine: Engine = field(repr=False)
    pause: Callable[[float], None] = time.sleep
    _of_thread: threading.local = field(default_factory=threading.local, repr=False)

    def wait(self, kind: CallKind) -> None:
        """Return when a call may be made.

        Raises:
            HubSpotRateLimitError: the lane's patience would not last; ``retry_after`` tells when
                to come back.
        """
        left = self.lane.patience.total_seconds()
        while not (booking := book(self.engine, self.portal_id, kind, self.lane)).booked:
            if booking.seconds > left:
                raise _refusal(booking.seconds)
            # At some time in the stretch in which the lane may book it: not all at once.
            seconds = booking.seconds - self.lane.ahead.total_seconds() * uniform(0, 1)  # noqa: S311
            self.pause(seconds)
            left -= seconds
        if booking.seconds > 0:
            self.pause(booking.seconds)
        self._of_thread.booking = booking
        self._of_thread.called = time.monotonic()

    def learn(
        self, kind: CallKind, headers: Mapping[str, str], error: HubSpotRateLimitError | None
    ) -> None:
        """Take note of what an answer says of the limits; writes only what is news.

        To be called by the thread that waited.
        """
        booking: Booking = self._of_thread.booking
        reported = _Reported.read(headers)
        if error and error.policy == "DAILY":
            self._learn_day(reported.day_max, reported.day_max, RETRY_DAY_EVERY)
            return
        if _is_news(reported, booking):
            self._learn_day(reported.day_max, reported.day_used, timedelta())
        if error:
            asked_for = timedelta(seconds=error.retry_after or 0)
            closure = min(max(asked_for, _CLOSURE), LONGEST_CLOSURE)
            log.warning("hubspot rate limit met", portal_id=self.portal_id, kind=kind)
            self._learn_window(kind, booking, reported, None, closure)
        elif kind == "general" and reported.max_calls is not None:
            is_fresh = time.monotonic() - self._of_thread.called < KEPT.total_seconds()
            counted = reported.counted if is_fresh else 0
            has_changed = (reported.max_calls, reported.period) != (
                booking.max_calls,
                booking.period,
            )
            if has_changed or counted > booking.calls:
                self._learn_window(kind, booking, reported, counted, timedelta())

    def _learn_window(
        self,
        kind: CallKind,
        booking: Booking,
        reported: "_Reported",
        counted: int | None,
        closure: timedelta,
    ) -> None:
        """Calls that HubSpot counted and we know nothing of are others', with the same token.

        ``counted`` is None after a 429: as many as there may be.
        """
        # Only the general window tells of itself.
        max_calls = (reported.max_calls if kind == "general" else None) or booking.max_calls
        period = reported.period if kind == "general" else booking.period
        with self.engine.connect() as connection:
            connection.execute(
                _LEARN_WINDOW,
                {
                    "portal_id": self.portal_id,
                    "kind": kind,
                    "max_calls": max_calls,
                    "period": period,
                    "counted": max_calls if counted is None else counted,
                    "since": booking.at - booking.period - MARGIN,
                    "closure": closure,
                },
            )
            if max_calls != booking.max_calls:
                log.info("hubspot rate limit learnt", portal_id=self.portal_id, max_calls=max_calls)
                ceiling = next(each for max_, each in _ASSOCIATIONS_CEILINGS if max_calls >= max_)
                connection.execute(
                    _LEARN_CEILING, {"portal_id": self.portal_id, "max_calls": ceiling}
                )

    def _learn_day(self, max_calls: int | None, used: int | None, closure: timedelta) -> None:
        with self.engine.connect() as connection:
            connection.execute(
                _LEARN_DAY,
                {
                    "portal_id": self.portal_id,
                    "max_calls": max_calls,
                    "used": used,
                    "closure": closure,
                },
            )


def budget_for(portal_id: int, lane: Lane) -> PortalBudget:
    """The budget of a portal for callers of a lane."""
    return PortalBudget(portal_id, lane, db.engine.execution_options(isolation_level="AUTOCOMMIT"))


def _refusal(seconds: float) -> HubSpotRateLimitError:
    error = HubSpotRateLimitError(f"HubSpot's rate limit leaves no call for {seconds:.0f} s")
    error.retry_after = seconds
    return error


@dataclass(frozen=True)
class _Reported:
    """What the headers of an answer say, as far as it can be true."""

    max_calls: int | None
    counted: int
    period: timedelta
    day_max: int | None
    day_used: int | None

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> "_Reported":
        given = {name.lower(): value for name, value in headers.items()}

        def number(name: str) -> int | None:
            value = given.get(f"x-hubspot-ratelimit-{name}", "").strip()
            return int(value) if re.fullmatch(r"[0-9]{1,9}", value) else None

        max_calls, remaining = number("max"), number("remaining")
        day_max, day_left = number("daily") or None, number("daily-remaining")
        period = timedelta(milliseconds=number("interval-milliseconds") or 10_000)
        return cls(
            max_calls=min(max_calls, _LARGEST_MAX) if max_calls else None,
            counted=max(max_calls - remaining, 0) if max_calls and remaining is not None else 0,
            period=min(max(period, _PERIODS[0]), _PERIODS[1]),
            day_max=day_max,
            day_used=None if day_max is None or day_left is None else max(day_max - day_left, 0),
        )


def _is_news(reported: _Reported, booking: Booking) -> bool:
    if reported.day_max is None or reported.day_used is None:
        return False
    drift = abs(reported.day_used - booking.day_used)
    return (
        reported.day_max != booking.day_max
        or drift > reported.day_max * _DRIFT
        or reported.day_used >= reported.day_max * _NEARLY_USED
    )
