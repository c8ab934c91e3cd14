"""Rate limits: everyone's default comes from the settings, some routes have a tighter one."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app

from crm.extensions import limiter


def limit_sign_in(view: Callable[..., Any]) -> Callable[..., Any]:
    """For routes at which passwords can be guessed, or accounts made in masses."""
    return limiter.limit(_sign_in_rate)(view)


def init_limits(app: Flask) -> None:
    """Count requests, and tell callers what they have left."""

    # Registered before the limiter's own, so that it runs after that one.
    @app.after_request
    def ask_to_wait_only_when_refused(response: Response) -> Response:
        if response.status_code < 400:
            response.headers.pop("Retry-After", None)
        return response

    limiter.init_app(app)


def _sign_in_rate() -> str:
    rate: str = current_app.extensions["crm_settings"].rate_limit_sign_in
    return rate
