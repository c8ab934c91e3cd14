"""A look at an address, HubSpot's or our own: whatever is answered is an answer."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import requests

from crm.hubspot.errors import HubSpotUnavailableError

_CONNECT, _READ = 3.05, 10.0


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
        HubSpotUnavailableError: there is no answer; the message names the error's class alone.
    """
    asked_at, started = datetime.now(UTC), time.monotonic()
    try:
        with requests.Session() as session:
            # As in the client: neither proxies nor .netrc of the machine count.
            session.trust_env = False
            response = session.request(
                method,
                url,
                headers=dict(headers or {}),
                data=body,
                timeout=(_CONNECT, _READ),
                allow_redirects=False,
            )
    except (requests.RequestException, UnicodeError) as error:
        reason = getattr(error.args[0], "reason", None) if error.args else None
        raise HubSpotUnavailableError(type(reason or error).__name__) from error
    seconds = time.monotonic() - started
    return Answered(
        status=response.status_code,
        headers=response.headers,
        body=_json(response.content),
        seconds=seconds,
        skew=_skew(response.headers.get("Date"), asked_at + timedelta(seconds=seconds / 2)),
    )


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _skew(date: str | None, ours: datetime) -> timedelta | None:
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    # They tell whole seconds, cut off.
    return ours - (theirs.replace(tzinfo=theirs.tzinfo or UTC) + timedelta(seconds=0.5))
