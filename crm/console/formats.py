"""How the console writes numbers, times and HubSpot's values for people: Jinja's filters."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Flask
from markupsafe import Markup

NOTHING = "—"

_LARGEST = Decimal(10) ** 21
"""A few characters can stand for a number of a million digits."""

_STEPS = (
    (timedelta(minutes=1), timedelta(seconds=1), "second"),
    (timedelta(hours=1), timedelta(minutes=1), "minute"),
    (timedelta(days=1), timedelta(hours=1), "hour"),
    (timedelta(days=60), timedelta(days=1), "day"),
)


def register_formats(app: Flask) -> None:
    """Give the templates the filters of this module."""
    for each in (amount, day, moment, duration, words, plural):
        app.add_template_filter(each, each.__name__)


def amount(value: Any) -> str:
    """A number with separators: ``1000000`` and ``"1000000"`` are 1,000,000."""
    try:
        number = Decimal(str(value))
        is_written_out = number.is_finite() and abs(number) < _LARGEST
    except InvalidOperation:
        is_written_out = False
    if is_written_out:
        return f"{number:,.2f}".removesuffix(".00")
    return str(value) if value else NOTHING


def moment(value: datetime | str | None) -> str:
    """A time element: how long ago it was, and on pointing at it the time in UTC."""
    at = _parsed(value)
    if at is None:
        return str(value or NOTHING)
    element = Markup('<time datetime="{}" title="{}">{}</time>')
    return element.format(at.isoformat(), f"{at:%d %b %Y, %H:%M:%S} UTC", _time_ago(at))


def day(value: datetime | str | None) -> str:
    """A time element: the day in UTC."""
    at = _parsed(value)
    if at is None:
        return str(value or NOTHING)
    return Markup('<time datetime="{}">{}</time>').format(f"{at:%Y-%m-%d}", f"{at.day} {at:%b %Y}")


def duration(seconds: float | None) -> str:
    """A length of time in its largest unit: 90 seconds are ``2 minutes``."""
    if seconds is None:
        return NOTHING
    length = timedelta(seconds=max(seconds, 0))
    for below, unit, name in _STEPS:
        if length < below:
            return plural(round(length / unit), name)
    return plural(length.days, "day")


def words(name: str) -> str:
    """A name of HubSpot's or ours as words: ``line_items`` is ``line items``."""
    return name.replace("_", " ")


def plural(count: int, noun: str) -> str:
    """``1 change``, ``2 changes``."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def _time_ago(at: datetime) -> str:
    passed = datetime.now(UTC) - at
    if abs(passed) >= timedelta(days=60):
        return f"{at.day} {at:%b %Y}"
    if passed < timedelta(0):
        return f"in {duration(-passed.total_seconds())}"
    if passed < timedelta(seconds=5):
        return "just now"
    return f"{duration(passed.total_seconds())} ago"


def _parsed(value: datetime | str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        return at and at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
