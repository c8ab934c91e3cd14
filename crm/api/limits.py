"""Rate limits: everyone's default comes from the settings, some routes have a tighter one."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app
from flask_limiter.util import get_remote_address
from redis.backoff import NoBackoff
from redis.retry import Retry

from crm.api.guards import is_signed_by_hubspot
from crm.extensions import limiter

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
    hooks = app.before_request_funcs[None]
    hooks[-1] = partial(_unless_signed, hooks[-1])


def _unless_signed(count: Callable[[], Any]) -> None:
    # A delivery that is turned away comes back later and, after ten times, never again. To ask for
    # it with a filter of the limiter's would cost a tenth of what a delivery takes.
    if not is_signed_by_hubspot():
        count()


def _sign_in_rate() -> str:
    rate: str = current_app.extensions["crm_settings"].rate_limit_sign_in
    return rate
