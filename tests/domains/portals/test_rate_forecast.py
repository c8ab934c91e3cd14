"""The forecast of a portal's day, and ``flask hubspot budget``, which tells it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from crm.db import db, transaction
from crm.hubspot.errors import HubSpotRateLimitError
from crm.portals import portals
from crm.portals.rate_budget import PERSON, budget_for
from crm.portals.rate_forecast import forecast
from tests.hubspot.relay import Answer


@pytest.fixture(autouse=True)
def _first_day(portal_id):
    """Nothing is known of the portal's limits yet."""
    change("DELETE FROM call_windows")
    change("DELETE FROM day_quotas")


def change(statement, **values):
    with transaction() as session:
        session.execute(text(statement), values)


def test_the_time_zone_of_the_portal_is_learnt_when_it_is_set_up(send):
    send()

    assert db.session.scalar(text("SELECT time_zone FROM portals")) == "US/Eastern"


@pytest.mark.parametrize("told", [None, "", "Mars/Olympus", "UTC'; --", 5])
def test_a_time_zone_that_postgres_does_not_know_is_not_taken(relay, send, portal_id, told):
    account = Answer(200, {"portalId": 1, "timeZone": told})
    relay.handler = lambda call: account if call.is_for("details") else call.pass_on()
    send()

    assert portals.is_set_up(portal_id)
    assert db.session.scalar(text("SELECT time_zone FROM portals")) == "UTC"


@pytest.fixture
def at_nine(portal_id):
    """It is past nine o'clock where the portal is, and so much was used by each hour."""
    # There are zones from fourteen hours before Greenwich to twelve behind; their names say west.
    west = (datetime.now(UTC).hour - 9 + 11) % 24 - 11

    def do(max_calls, by_hour):
        change("UPDATE portals SET time_zone = :zone", zone=f"Etc/GMT{west:+}")
        change(
            "INSERT INTO day_quotas (portal_id, max_calls, began_at, used, used_by_hour)"
            " SELECT id, :max_calls, date_trunc('day', now(), time_zone), :used, :by_hour"
            " FROM portals WHERE id = :portal_id",
            max_calls=max_calls,
            used=max(by_hour.values()),
            by_hour=str(by_hour).replace("'", '"'),
            portal_id=portal_id,
        )

    return do


def test_a_portal_that_was_never_called_has_an_empty_forecast(portal_id):
    found = forecast(portal_id)

    assert (found.used, found.limit, found.expected_by_reset, found.runs_out_at) == (
        *(0, None, 0, None),
    )
    assert timedelta() < found.resets_at - datetime.now(UTC) <= timedelta(days=1)


def test_the_day_is_expected_to_go_on_as_it_went(at_nine, portal_id):
    at_nine(250_000, {str(hour): 1000 * (hour + 1) for hour in range(9)} | {"9": 9001})

    found = forecast(portal_id)

    assert found.used == 9001
    assert 20_000 < found.expected_by_reset < 25_000
    assert found.runs_out_at is None


def test_an_hour_of_many_calls_tells_when_the_day_runs_out(at_nine, portal_id):
    at_nine(100_000, {"7": 100, "8": 50_000, "9": 80_000})

    found = forecast(portal_id)

    assert found.runs_out_at - datetime.now(UTC) < timedelta(hours=1)
    assert found.runs_out_at < found.resets_at


def test_the_quota_of_yesterday_is_not_todays(at_nine, portal_id):
    at_nine(100_000, {"9": 80_000})
    change("UPDATE day_quotas SET began_at = began_at - interval '1 day'")

    assert forecast(portal_id).used == 0


# ---- as a person at a terminal reads it


@pytest.fixture
def tell(app):
    """Runs ``flask hubspot budget``; returns the exit code and its lines."""

    def do(*arguments):
        result = app.test_cli_runner().invoke(args=["hubspot", "budget", *arguments])
        return result.exit_code, result.output.splitlines()

    return do


@pytest.fixture
def called(portal_id):
    """A call was made, and its answer told of the day."""

    def do(daily=None, policy=None):
        budget = budget_for(portal_id, PERSON)
        budget.wait("general")
        error = None
        if policy:
            error = HubSpotRateLimitError()
            error.policy = policy
        day = {} if daily is None else {"Daily": str(daily), "Daily-Remaining": str(daily - 1)}
        headers = {"Max": "190", "Remaining": "189", **day}
        told = {f"X-HubSpot-RateLimit-{name}": value for name, value in headers.items()}
        budget.learn("general", told, error)

    return do


def test_the_budget_command_prints_a_sentence_before_the_first_call(tell):
    assert tell() == (
        0,
        [
            "portal that was not set up yet",
            "  no calls are known yet; the limits are learnt from HubSpot's first answer",
        ],
    )


def test_the_budget_command_prints_all_that_is_known(tell, set_up, called, sandbox):
    called(daily=625_000)

    code, lines = tell()

    assert code == 0
    resets = re.fullmatch(r"  resets: (.*):00 UTC, at midnight in US/Eastern", lines.pop(2))[1]
    assert resets[-2:] in {"04", "05"}
    assert 1 <= int(re.fullmatch(r"  expected by then: (\d+) calls", lines.pop(2))[1]) <= 24
    assert lines == [
        f"portal {sandbox.sandbox.first_portal_id}",
        "  used today: 1 of 625000 calls",
        "  runs out: not today",
        "  associations: at most 150 calls in 10 s",
        "  general: at most 190 calls in 10 s",
        "  search: at most 5 calls in 1 s",
    ]


def test_a_day_that_runs_out_is_shown_with_the_time(tell, called, at_nine):
    called()
    change("DELETE FROM day_quotas")
    at_nine(100_000, {"7": 100, "8": 50_000, "9": 80_000})

    _, lines = tell()

    assert "  used today: 80000 of 100000 calls" in lines
    [at] = re.findall(r"  runs out: (.*) UTC", "\n".join(lines))
    now = datetime.now(UTC).replace(tzinfo=None)
    assert timedelta(minutes=-1) < datetime.fromisoformat(at) - now < timedelta(hours=1)


def test_the_budget_command_says_that_hubspot_names_no_daily_limit(tell, called):
    called()

    _, lines = tell()

    assert "  used today: 1 calls; HubSpot tells no limit" in lines
    assert not [each for each in lines if "runs out" in each]


def test_a_day_that_hubspot_ended_is_shown_as_used_up(tell, called):
    called(policy="DAILY")

    _, lines = tell()

    assert [each for each in lines if each.startswith("  used up, says HubSpot; it is asked again")]


def test_one_portal_may_be_asked_for_by_hubspots_id(tell, send, sandbox):
    send()
    hub_id = sandbox.sandbox.first_portal_id

    assert tell("--portal-id", str(hub_id)) == tell()
    assert tell("--portal-id", "7") == (1, ["Error: No portal with the id 7 is connected"])


def test_the_budget_command_has_nothing_to_print_without_a_portal(tell, change_settings):
    change_settings(hubspot_private_app_token="")

    assert tell() == (0, ["No portal is connected."])
