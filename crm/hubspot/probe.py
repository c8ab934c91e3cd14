"""A look at an address, HubSpot's or our own: whatever is answered is an answer."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from crm.hubspot import transport


@dataclass(frozen=True)
class Answered:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By name, in any letter case."""
    body: Any
    """Its JSON, or None."""
    seconds: float
    skew: timedelta | None
    """How far our clock is ahead of theirs, or None if they do not tell the time."""


def probe(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answered:
    """Ask once, following no redirect.

    Raises:
        HubSpotUnavailableError: there is no answer; ``met`` says what happened.
    """
    request = requests.Request(method, url, headers=dict(headers or {}), data=body).prepare()
    asked_at, started = datetime.now(UTC), time.monotonic()
    answer = transport.exchange(request, until=started + transport.CONNECT + transport.READ)
    seconds = time.monotonic() - started
    return Answered(
        status=answer.status,
        headers=answer.headers,
        body=answer.json,
        seconds=seconds,
        skew=_skew(answer.headers.get("Date"), asked_at + timedelta(seconds=seconds / 2)),
    )


def _skew(date: str | None, ours: datetime) -> timedelta | None:
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    # They tell whole seconds, cut off.
    return ours - (theirs.replace(tzinfo=theirs.tzinfo or UTC) + timedelta(seconds=0.5))
