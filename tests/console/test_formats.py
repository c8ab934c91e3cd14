"""How numbers and times are written for people."""

from datetime import UTC, datetime, timedelta

import pytest

from crm.console.charts import Bar, lengths
from crm.console.formats import amount, day, duration, moment, plural


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1000000", "1,000,000"),
        (1234.5, "1,234.50"),
        ("0.10", "0.10"),
        (0, "0"),
        (None, "—"),
        ("", "—"),
        ("about 12", "about 12"),
        ("NaN", "NaN"),
        ("1e999999", "1e999999"),
    ],
)
def test_a_number_is_written_with_separators_and_else_as_it_is(value, text):
    assert amount(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "just now"), (59, "59 seconds ago"), (120, "2 minutes ago"), (90_000, "1 day ago")],
)
def test_a_time_is_told_by_how_long_ago_it_was(seconds, text):
    at = datetime.now(UTC) - timedelta(seconds=seconds)

    assert f">{text}<" in moment(at)
    assert f'datetime="{at.isoformat()}"' in moment(at)


@pytest.mark.parametrize("value", ["<script>", "1700000000000", "9999-12-31T23:59:59-14:00"])
def test_what_is_no_time_stays_a_text(value):
    assert moment(value) == day(value) == value


def test_a_length_of_time_is_told_in_its_largest_unit():
    assert [duration(each) for each in (1, 90, 7200, -5)] == [
        "1 second",
        "2 minutes",
        "2 hours",
        "0 seconds",
    ]
    assert plural(1, "deal") == "1 deal"


def test_bars_are_as_long_as_what_they_stand_for():
    bars = [Bar("a", 50), Bar("b", 100), Bar("c", 0), Bar("d", 0.001)]

    # What is there can always be seen.
    assert lengths(bars) == [50, 100, 0, 1]
    assert lengths([]) == []
    assert lengths([Bar("a", 0)]) == [0]
