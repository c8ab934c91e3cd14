"""Rate limits: everyone's default comes from the settings, some routes have a tighter one."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Any

from flask import Flask, Response, current_app, stream_with_context
from flask_limiter import RequestLimit
from flask_limiter.util import get_remote_address
from limits import parse
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from werkzeug.exceptions import TooManyRequests

from crm.api.guards import is_signed_by_hubspot
from crm.extensions import limiter

STREAMS = 4
"""Answers that take long, of one process: the half of its threads stays free for all others."""

_PAUSE = 0.2
"""Seconds until an export looks again whether it may go on."""

# A delivery that is turned away comes back later and, after ten times, never again.
limiter.request_filter(is_signed_by_hubspot)

# A Redis that is down or hangs costs the requests that find out this long; the others nothing,
# since each process then counts by itself and looks only now and then whether Redis is back.
_PATIENCE_WITH_REDIS = {
    "socket_connect_timeout": 0.5,
    "socket_timeout": 0.5,
    "retry": Retry(NoBackoff(), 0),
}


def limit_sign_in(view: Callable[..., Any]) -> Callable[..., Any]:
    """For routes at which passwords can be guessed, or accounts made in masses.

    Counted by address alone: an account, which anybody may make, must not buy more guesses.
    """
    return limiter.limit(_sign_in_rate, key_func=get_remote_address)(view)


def unlimited(view: Callable[..., Any]) -> Callable[..., Any]:
    """For what must be answered whoever asks how often, and whatever has become of Redis."""
    exempt: Callable[..., Any] = limiter.exempt(view)
    return exempt


def init_limits(app: Flask) -> None:
    """Count requests, and tell callers what they have left."""

    # Registered before the limiter's own, so that it runs after that one.
    @app.after_request
    def ask_to_wait_only_when_refused(response: Response) -> Response:
        if response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            response.headers.pop("Retry-After", None)
        return response

    app.config["RATELIMIT_STORAGE_OPTIONS"] = _PATIENCE_WITH_REDIS
    limiter.init_app(app)


def _sign_in_rate() -> str:
    rate: str = current_app.extensions["crm_settings"].rate_limit_sign_in
    return rate


class ResultsAllowance:
    """What an organization may be given of scans' results within a while.

    As with requests, a Redis that is down keeps nobody from anything.
    """

    def __init__(self, organization_id: int) -> None:
        self._rate = parse(current_app.extensions["crm_settings"].rate_limit_results)
        self._key = ("results", str(organization_id))

    def check(self) -> None:
        """Refuse whoever has had as much as there is.

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
