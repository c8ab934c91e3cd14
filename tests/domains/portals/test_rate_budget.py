"""The budget: which call goes when, what is learnt from HubSpot's answers, and the forecast."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from crm.db import db, transaction
from crm.hubspot.errors import HubSpotRateLimitError
from crm.portals import portals, rate_budget
from crm.portals.rate_bookings import MARGIN, book
from crm.portals.rate_budget import BACKFILL, PERSON, SYNC, PortalBudget
from crm.portals.rate_forecast import forecast
from tests.conftest import wait_until

HEADERS = "X-HubSpot-RateLimit-"
SECOND = timedelta(seconds=1)
NOON = datetime.fromisoformat("2026-11-21T12:00:00+00:00")


@pytest.fixture(autouse=True)
def _first_day(portal_id):
    """Nothing is known of the portal's limits yet."""
    change("DELETE FROM call_windows")
    change("DELETE FROM day_quotas")


@pytest.fixture
def engine(app):
    return db.engine.execution_options(isolation_level="AUTOCOMMIT")


@pytest.fixture
def take(engine, portal_id):
    """Books a call, at Postgres's time or at a given one."""
    return lambda lane, kind="general", now=None: book(engine, portal_id, kind, lane, now=now)


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def budget_of(engine, portal_id, pauses):
    """The budget of a lane, whose pauses take no time."""
    return lambda lane: PortalBudget(portal_id, lane, engine, pause=pauses.append)


@pytest.fixture
def answer(budget_of):
    """A call is made and answered with these headers, or refused as over this limit."""

    def do(kind="general", policy=None, retry_after=None, **headers):
        of_person = budget_of(PERSON)
        of_person.wait(kind)
        error = None
        if policy:
            error = HubSpotRateLimitError()
            error.policy, error.retry_after = policy, retry_after
        given = {HEADERS + name.replace("_", "-"): str(value) for name, value in headers.items()}
        of_person.learn(kind, given, error)

    return do


def change(statement, **values):
    with transaction() as session:
        session.execute(text(statement), values)


def take_all(take, lane, now=None, kind="general"):
    """As many as the lane may book at one moment."""
    count = 0
    while take(lane, kind, now).booked:
        count += 1
    return count


def clock():
    """Postgres's."""
    return db.session.scalar(text("SELECT clock_timestamp()"))


def window(name, kind="general"):
    return db.session.execute(
        text(f"SELECT {name} FROM call_windows WHERE kind = :kind"),  # noqa: S608 - of this file
        {"kind": kind},
    ).scalar_one()


# ---- the windows


def test_a_portal_that_nobody_knows_yet_has_the_lowest_limit(take):
    assert take_all(take, PERSON, NOON) == 100
    assert not take(PERSON, now=NOON + 7 * SECOND).booked


def test_a_call_makes_room_when_hubspot_has_surely_forgotten_it(take):
    take_all(take, PERSON, NOON)

    booking = take(PERSON, now=NOON + 9 * SECOND)

    assert booking.booked
    assert booking.at == NOON + 10 * SECOND + MARGIN


def test_searches_have_a_window_of_their_own(take):
    assert take_all(take, PERSON, NOON) == 100
    assert [take(PERSON, "search", NOON).seconds for _ in range(11)] == [0] * 5 + [1.2] * 5 + [2.4]


def test_associations_count_as_calls_too(take):
    for _ in range(60):
        take(PERSON, "associations", NOON)

    assert take_all(take, PERSON, NOON) == 40


def test_calls_are_kept_from_others_in_no_transaction_of_the_callers(take, portal_id):
    take(PERSON)
    db.session.rollback()

    assert db.session.scalar(text("SELECT used FROM day_quotas")) == 1


def test_a_call_that_was_booked_and_never_made_costs_one_slot_once(take):
    take(PERSON, now=NOON)

    assert take_all(take, PERSON, NOON + SECOND) == 99
    assert take_all(take, PERSON, NOON + 12 * SECOND) == 100


def test_the_budget_begins_again_when_postgres_lost_it_in_a_crash(take):
    take_all(take, PERSON, NOON)
    change("TRUNCATE call_windows, day_quotas")

    assert take(PERSON, now=NOON).booked


def test_a_clock_that_was_put_back_stops_nobody(take):
    take_all(take, BACKFILL, NOON)
    take_all(take, PERSON, NOON)

    assert take(BACKFILL, now=NOON - timedelta(hours=1)).seconds == 0


# ---- the lanes


def test_a_backfill_begins_with_a_tenth_and_goes_on_evenly(take):
    assert take_all(take, BACKFILL, NOON) in {11, 12}

    booking = take(BACKFILL, now=NOON + SECOND)

    assert 0 <= booking.seconds <= 0.2


def test_a_lane_may_book_what_the_one_after_it_may_not_yet(take):
    take_all(take, BACKFILL, NOON)

    assert take_all(take, SYNC, NOON) > 0
    assert not take(BACKFILL, now=NOON).booked
    assert take(PERSON, now=NOON).seconds == 0


def test_a_person_hardly_waits_at_any_moment_of_a_backfill(take):
    waits = []
    for tick in range(300):
        now = NOON + tick * SECOND / 10
        take_all(take, BACKFILL, now)
        if tick % 7 == 0:
            waits.append(take(PERSON, now=now).seconds)

    assert max(waits) <= 0.5


def test_a_backfill_alone_uses_nearly_all_and_leaves_the_rest_to_people(take):
    calls = [take_all(take, BACKFILL, NOON + tick * SECOND / 10) for tick in range(300)]

    assert sum(calls[100:]) >= 0.95 * 200
    assert sum(take(PERSON, now=NOON + 29.9 * SECOND).seconds for _ in range(2)) < 0.05


def test_a_person_is_not_kept_waiting_for_long(take, budget_of):
    take_all(take, PERSON, clock())

    with pytest.raises(HubSpotRateLimitError) as caught:
        budget_of(PERSON).wait("general")

    assert 2 < caught.value.retry_after <= 10.2
    assert caught.value.retryable


def test_a_backfill_waits_for_half_a_minute(take, budget_of, pauses):
    take_all(take, PERSON, clock())

    with pytest.raises(HubSpotRateLimitError):
        budget_of(BACKFILL).wait("general")

    assert 10 < sum(pauses) <= 30


def test_a_caller_that_waits_sleeps_until_the_booked_moment(take, budget_of, pauses):
    for _ in range(5):
        take(PERSON, "search")
    before = clock()

    budget_of(PERSON).wait("search")

    [pause] = pauses
    booked, *_ = window("calls", "search")
    assert before <= booked - pause * SECOND <= clock()


# ---- what answers tell


def test_the_limit_is_learnt_from_an_answer_whatever_its_letter_case(answer, take):
    answer(max=190, REMAINING=189, interval_milliseconds=10_000)

    assert take_all(take, PERSON, clock()) == 189
    assert window("max_calls", "associations") == 150


def test_a_lane_that_was_slowed_down_goes_on_at_once_when_the_limit_turns_out_higher(answer, take):
    for _ in range(90):
        take(PERSON)
    take_all(take, BACKFILL)

    answer(Max=190, Remaining=99)

    assert take(BACKFILL).seconds == 0


def test_a_window_of_another_length_is_learnt(answer):
    answer(Max=50, Remaining=49, Interval_Milliseconds=5000)

    assert window("period") == 5 * SECOND


def test_calls_of_others_with_the_same_token_count(answer, take):
    answer(Max=100, Remaining=60)

    assert take_all(take, PERSON, clock()) == 60


def test_calls_of_others_count_once(answer, take):
    answer(Max=100, Remaining=60)
    answer(Max=100, Remaining=59)

    assert take_all(take, PERSON, clock()) == 59


def test_calls_of_others_are_not_learnt_from_an_answer_that_took_long(answer, take, monkeypatch):
    monkeypatch.setattr(rate_budget, "KEPT", timedelta())
    answer(Max=100, Remaining=60)

    assert take_all(take, PERSON, clock()) == 99


@pytest.mark.parametrize("kind", ["general", "search"])
def test_an_answer_that_says_nothing_new_is_not_written(answer, budget_of, kind):
    answer(Max=100, Remaining=99, Daily=1000, Daily_Remaining=999)
    told = {"Max": "100", "Remaining": "98", "Daily": "1000", "Daily-Remaining": "998"}
    written = text(
        "SELECT xmin::text FROM day_quotas UNION ALL SELECT xmin::text FROM call_windows"
    )
    of_person = budget_of(PERSON)
    of_person.wait(kind)
    before = db.session.execute(written).all()

    of_person.learn(kind, {HEADERS + name: value for name, value in told.items()}, None)

    assert db.session.execute(written).all() == before


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "1e3", "٣", "9" * 4000, "100, 100", None])
def test_a_header_that_makes_no_sense_is_ignored(answer, take, value):
    answer(
        **dict.fromkeys(("Max", "Interval_Milliseconds", "Daily", "Daily_Remaining"), value),
        Remaining=5,
    )

    assert take_all(take, PERSON, clock()) == 99


def test_a_429_fills_the_window_for_every_lane_until_it_has_passed(answer, take):
    answer(policy="TEN_SECONDLY_ROLLING")

    refused_at, *_ = window("calls")
    assert take(PERSON).at == refused_at + 10 * SECOND + MARGIN
    assert take(PERSON, "search").booked
    later = clock() + 11 * SECOND
    assert take(PERSON, now=later).seconds == 0
    assert take(BACKFILL, now=later).seconds == 0


def test_a_429_fills_the_window_also_when_it_tells_of_a_higher_limit(answer, take):
    answer(policy="TEN_SECONDLY_ROLLING", Max=190, Remaining=0)

    assert take_all(take, PERSON, clock() + 2 * SECOND) == 0


def test_a_429_of_search_is_about_searches_only(answer, take):
    answer("search", policy="SECONDLY")

    refused_at, *_ = window("calls", "search")
    assert take(PERSON, "search", refused_at).at == refused_at + SECOND + MARGIN
    assert take(PERSON).seconds == 0


def test_a_429_without_a_policy_is_about_the_window_of_its_call(answer, take):
    answer("search", policy="none known")

    refused_at, *_ = window("calls", "search")
    assert take(PERSON, "search", refused_at).seconds > 0
    assert take(PERSON).seconds == 0


def test_a_pause_that_hubspot_asks_for_is_kept(answer, take):
    answer(policy="TEN_SECONDLY_ROLLING", retry_after=25)

    assert take(PERSON).seconds == pytest.approx(25, abs=1)


# ---- the day


@pytest.mark.parametrize(
    ("used", "may_go"), [(895, 3), (905, 2), (975, 2), (985, 1), (999, 1), (1000, 0)]
)
def test_each_lane_leaves_a_part_of_the_day_to_those_before_it(answer, take, used, may_go):
    answer(Daily=1000, Daily_Remaining=1000 - used)

    bookings = [take(lane) for lane in (PERSON, SYNC, BACKFILL)]

    assert [each.booked for each in bookings] == [True] * may_go + [False] * (3 - may_go)
    assert all(each.booked or each.seconds <= 15 * 60 for each in bookings)


def test_the_day_that_hubspot_ends_is_over_for_everybody_and_tried_again(answer, take):
    answer(policy="DAILY")

    assert take(PERSON).seconds == pytest.approx(15 * 60, abs=1)
    assert take(PERSON, "search").seconds == pytest.approx(15 * 60, abs=1)
    assert take(PERSON, now=datetime.now(NOON.tzinfo) + timedelta(minutes=15, seconds=1)).booked


def test_a_used_day_is_tried_again_every_quarter_of_an_hour(answer, take):
    answer(Daily=1000, Daily_Remaining=0)
    change("UPDATE day_quotas SET learnt_at = learnt_at - interval '15 minutes'")

    assert take(PERSON).booked


def test_the_day_begins_at_midnight_where_the_portal_is(take, portal_id):
    change("UPDATE portals SET time_zone = 'US/Eastern'")
    late = datetime.fromisoformat("2026-11-21T23:59:00-05:00")
    take(PERSON, now=late)
    take(PERSON, now=late)

    take(PERSON, now=late + timedelta(minutes=2))

    assert db.session.execute(text("SELECT used, used_by_hour FROM day_quotas")).one() == (
        1,
        {"0": 1},
    )


# ---- all together


def test_calls_of_a_push_are_counted(sandbox, set_up, send, portal_id):
    portals.forget_set_up(portal_id)
    used = forecast(portal_id).used
    send()

    assert forecast(portal_id).used - used == sandbox.requests()["total"] > 0


def test_the_budget_learns_from_what_hubspot_answers_to_a_client(relay, portal_id):
    relay.answer(200, {}, headers={HEADERS + "Max": "190", HEADERS + "Remaining": "100"})

    portals.connect(portal_id).call("GET", "/anything", repeatable=True)

    assert window("max_calls") == 190
    assert window("cardinality(calls)") == 90


def test_a_429_to_one_client_holds_up_the_next(relay, portal_id, take, pauses):
    relay.answer(429, {"policyName": "TEN_SECONDLY_ROLLING"})
    client = portals.connect(portal_id)
    client = replace(client, budget=replace(client.budget, pause=pauses.append))
    before = datetime.now(UTC)

    with pytest.raises(HubSpotRateLimitError):
        client.call("GET", "/anything", repeatable=False)

    assert take(PERSON, now=before).seconds > 9


def test_a_person_and_a_job_are_in_lanes_of_their_own(portal_id):
    assert portals.connect(portal_id, someone_waits=True).budget.lane is PERSON
    assert portals.connect(portal_id).budget.lane is SYNC


@pytest.mark.parametrize("kinds", [["general"], ["general", "associations"]])
def test_connections_share_a_window_and_fill_it(take, kinds):
    take(PERSON)
    take(PERSON, "associations")
    change("UPDATE call_windows SET max_calls = 50, period = '0.5 seconds', calls = '{}'")
    start = threading.Barrier(8)

    def book_some(n):
        start.wait()
        return [take(PERSON, kinds[n % len(kinds)], NOON) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        bookings = [each for some in pool.map(book_some, range(8)) for each in some]

    # Two seconds ahead there are three windows, whoever comes first.
    hold = SECOND / 2 + MARGIN
    assert sorted(each.at - NOON for each in bookings if each.booked) == [
        *[0 * hold] * 50,
        *[1 * hold] * 50,
        *[2 * hold] * 50,
    ]


def test_a_caller_that_waited_for_another_connection_books_from_then_on(take, engine):
    take(PERSON)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with (
        ThreadPoolExecutor(1) as pool,
        engine.connect() as other,
        db.engine.connect() as holder,
        holder.begin(),
    ):
        holder.execute(text("SELECT FROM call_windows WHERE kind = 'general' FOR UPDATE"))
        booked = pool.submit(take, PERSON)
        wait_until(lambda: other.scalar(waiting))
        released = holder.scalar(text("SELECT clock_timestamp()"))

    assert booked.result().at > released
