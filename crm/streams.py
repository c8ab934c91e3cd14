"""Answers that are large or take long: how much of them there is, for the API and the console."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any

import structlog
from flask import Response, current_app, request, stream_with_context
from flask_limiter import RequestLimit
from limits import parse
from redis.exceptions import RedisError
from werkzeug.exceptions import TooManyRequests

from crm.extensions import limiter
from crm.outages import DATABASE_ERRORS, is_outage

log = structlog.get_logger(__name__)

STREAMS = 4
"""Answers that take long, of one process: the half of its turns stays free for all others."""

_PAUSE = 0.2
"""Seconds until an export looks again whether it may go on."""
_RETRY_MS = 3000
"""After which a browser that was cut off comes again."""


class ResultsAllowance:
    """What an organization may be given of scans' results within a while.

    As with requests, a Redis that is down keeps nobody from anything.
    """

    def __init__(self, organization_id: int) -> None:
        self._rate = parse(current_app.extensions["crm_settings"].rate_limit_results)
        self._key = ("results", str(organization_id))

    def check(self) -> None:
        """Refuse an organization that has had as much as there is.

        Raises:
            TooManyRequests: ``X-RateLimit`` headers and ``Retry-After`` say for how long.
        """
        if self._is_used_up():
            # For the headers of the answer, instead of the limit of requests.
            limiter.context.view_rate_limit = RequestLimit(
                limiter, self._rate, [*self._key], True, True
            )
            raise TooManyRequests(str(self._rate))

    def count(self, size: int) -> None:
        """Note that so many bytes were given."""
        with suppress(RedisError):
            limiter.limiter.hit(self._rate, *self._key, cost=size)

    def headers(self) -> dict[str, str]:
        """What is left, beside what is left of requests."""
        with suppress(RedisError):
            reset_at, left = limiter.limiter.get_window_stats(self._rate, *self._key)
            return {
                "X-RateLimit-Bytes-Limit": str(self._rate.amount),
                "X-RateLimit-Bytes-Remaining": str(left),
                "X-RateLimit-Bytes-Reset": str(int(reset_at)),
            }
        return {}

    def pace(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces, each as soon as it may be given."""
        for piece in pieces:
            while self._is_used_up():
                time.sleep(_PAUSE)
            self.count(len(piece))
            yield piece

    def _is_used_up(self) -> bool:
        with suppress(RedisError):
            return not limiter.limiter.test(self._rate, *self._key)
        return False


_streams = BoundedSemaphore(STREAMS)


def stream_response(pieces: Iterator[bytes], **options: Any) -> Response:
    """An answer that takes its time, of which a process gives only a few at once.

    Raises:
        TooManyRequests: it gives as many already.
    """
    if not _streams.acquire(blocking=False):
        raise TooManyRequests(f"{STREAMS} streams at once")
    response = Response(stream_with_context(pieces), **options)
    response.call_on_close(_streams.release)
    return response


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: bytes
    id: str = ""
    """Of the last event: a browser that knows it is told to come no more."""


def stream_events(events: Iterator[Event | None]) -> Response:
    """An answer with each event as it comes; None is a sign of life.

    Raises:
        TooManyRequests: the process gives as many streams already.
    """
    first = next(events)
    if first and first.id and request.headers.get("Last-Event-ID") == first.id:
        # A browser's EventSource comes again after every end, unless it is told this.
        return Response(status=204)
    return stream_response(
        _write_events(first, events),
        content_type="text/event-stream; charset=utf-8",
        # Proxies must pass on each event as it comes.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _write_events(first: Event | None, rest: Iterator[Event | None]) -> Iterator[bytes]:
    yield f"retry: {_RETRY_MS}\n\n".encode()
    yield _write(first)
    try:
        for event in rest:
            yield _write(event)
    except DATABASE_ERRORS as error:
        if not is_outage(error):
            raise
        # The listener comes again by itself, and learns it then.
        log.warning("events end early: the database is away", reason=type(error).__name__)


def _write(event: Event | None) -> bytes:
    if event is None:
        return b": still here\n\n"
    fields = [b"event: %b" % event.name.encode()]
    if event.id:
        fields.append(b"id: %b" % event.id.encode())
    fields.extend(b"data: %b" % line for line in event.data.splitlines())
    return b"\n".join(fields) + b"\n\n"
