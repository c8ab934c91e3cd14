"""Whoever calls, whenever: no window of HubSpot's is exceeded, and nobody waits for nothing."""

import heapq
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crm.db import db, transaction
from crm.portals.rate_bookings import MARGIN, book
from crm.portals.rate_budget import BACKFILL, PERSON, SYNC

BEGIN = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
END = BEGIN + timedelta(days=1)
MOMENT = timedelta.resolution
PERIOD = {
    "general": timedelta(seconds=2),
    "associations": timedelta(seconds=2),
    "search": timedelta(seconds=1),
}
COUNTED_IN = {
    "general": {"general"},
    "associations": {"general", "associations"},
    "search": {"search"},
}
CALLERS = st.lists(
    st.tuples(
        st.integers(0, 6000),  # Milliseconds after the beginning.
        st.sampled_from([PERSON, SYNC, BACKFILL]),
        st.sampled_from(["general", "general", "associations", "search"]),
        st.integers(0, 200),  # Milliseconds that the caller oversleeps.
    ),
    min_size=1,
    max_size=30,
)
LIMITS = st.tuples(st.integers(1, 8), st.integers(1, 5), st.integers(1, 3))


@pytest.fixture
def engine(app):
    return db.engine.execution_options(isolation_level="AUTOCOMMIT")


def limit(portal_id, maxima):
    with transaction() as session:
        session.execute(text("DELETE FROM call_windows"))
        for kind, max_calls in maxima.items():
            session.execute(
                text(
                    "INSERT INTO call_windows (portal_id, kind, max_calls, period)"
                    " VALUES (:portal_id, :kind, :max_calls, :period)"
                ),
                {
                    "portal_id": portal_id,
                    "kind": kind,
                    "max_calls": max_calls,
                    "period": PERIOD[kind],
                },
            )


def live_through(callers, ask):
    """Callers come and come again, each when it was told to; yields (came, lane, kind, booking)."""
    coming = [(BEGIN + timedelta(milliseconds=at), n) for n, (at, *_) in enumerate(callers)]
    heapq.heapify(coming)
    while coming:
        now, caller = heapq.heappop(coming)
        _, lane, kind, oversleeps = callers[caller]
        booking = ask(kind, lane, now)
        if not booking.booked:
            again = max(booking.at - lane.ahead, now) + timedelta(milliseconds=oversleeps)
            heapq.heappush(coming, (again, caller))
        yield now, lane, kind, booking


def within(calls, kind, after, until):
    return sum(after < at <= until for at, each in calls if kind in COUNTED_IN[each])


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(callers=CALLERS, limits=LIMITS)
def test_no_window_of_hubspots_is_exceeded_and_no_caller_waits_for_nothing(
    engine, portal_id, callers, limits
):
    maxima = dict(zip(PERIOD, limits, strict=True))
    limit(portal_id, maxima)
    calls = []

    for now, lane, kind, booking in live_through(
        callers, lambda kind, lane, now: book(engine, portal_id, kind, lane, now=now)
    ):
        if lane is PERSON and booking.at > now:
            # A moment earlier, some window was full.
            assert any(
                within(calls, each, booking.at - PERIOD[each] - MARGIN - MOMENT, END) >= most
                for each, most in maxima.items()
                if each in COUNTED_IN[kind]
            )
        if booking.booked:
            calls.append((booking.at, kind))

    assert len(calls) == len(callers)
    for kind, max_calls in maxima.items():
        for at, _ in calls:
            assert within(calls, kind, at - PERIOD[kind] - MARGIN, at) <= max_calls
    # Even one after another, a window at a time, they would be through by then.
    slowest = timedelta(seconds=6)
    for _, _, kind, oversleeps in callers:
        slowest += timedelta(milliseconds=oversleeps)
        slowest += max(PERIOD[each] + MARGIN for each in COUNTED_IN[kind])
    assert max(at for at, _ in calls) <= BEGIN + slowest
