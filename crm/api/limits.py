"""Rate limits: everyone's default comes from the settings, some routes have a tighter one."""

import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from threading import RLock
from typing import Any

from flask import Flask, Response, g
from flask_limiter.util import get_remote_address
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from crm.api.guards import is_signed_by_hubspot
from crm.extensions import limiter, sign_in_rate

# A Redis that is down or hangs costs the requests that find out this long; the others nothing,
# since each process then counts by itself and looks only now and then whether Redis is back.
_PATIENCE_WITH_REDIS = {
    "socket_connect_timeout": 0.5,
    "socket_timeout": 0.5,
    "retry": Retry(NoBackoff(), 0),
}

_SWEEP = 10.0
"""Seconds between two looks at what has expired."""


class _Counters(MemoryStorage):
    """Counts of one process, which all of its threads may write at once.

    Its base starts a thread a hundred times a second to forget what has expired, and fails when two
    requests start the same one (limits 5.8; mended in its pull request 352, not released yet).
    """

    STORAGE_SCHEME = ["memory"]  # noqa: RUF012 - as its base, whose place it takes

    def __init__(self, uri: str | None = None, **options: Any) -> None:
        super().__init__(uri, **options)
        self._lock = RLock()
        self._sweep_at = 0.0

    def get(self, key: str) -> int:
        """The count of a key."""
        with self._lock:
            return super().get(key)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to the count of a key, which lives for so many seconds; returns the count."""
        now = time.time()
        with self._lock:
            if now >= self._sweep_at:
                self._sweep_at = now + _SWEEP
                for each in [each for each, end in self.expirations.items() if end <= now]:
                    self.clear(each)
            count = self.get(key) + amount
            self.storage[key] = count
            if count == amount:
                self.expirations[key] = now + expiry
        return count


def limit_sign_in(view: Callable[..., Any]) -> Callable[..., Any]:
    """For routes at which passwords can be guessed, or accounts made in masses.

    Counted by address alone: an account, which anybody may make, must not buy more guesses.
    """
    return limiter.limit(sign_in_rate, key_func=get_remote_address)(view)


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
        if "retry_after" in g:
            response.headers["Retry-After"] = str(g.retry_after)
        return response

    app.config["RATELIMIT_STORAGE_OPTIONS"] = _PATIENCE_WITH_REDIS
    limiter.init_app(app)
    limiter._fallback_limiter = FixedWindowRateLimiter(_Counters())  # Else one on its base.
    hooks = app.before_request_funcs[None]
    hooks[-1] = partial(_unless_signed, hooks[-1])


def _unless_signed(count: Callable[[], Any]) -> None:
    # A delivery that is turned away comes back later and, after ten times, never again. To ask for
    # it with a filter of the limiter's would cost a tenth of what a delivery takes.
    if not is_signed_by_hubspot():
        count()
