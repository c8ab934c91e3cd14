"""Front ends of other origins: their browsers may call the API, by a token, never by cookies."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from flask import Flask, Response, current_app, request
from flask_cors import CORS
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, guard_of

_DOCUMENT = "api-docs.openapi_json"
_SENT = (
    *("Accept", "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"),
    "X-Request-ID",
)
_READ = (
    *("ETag", "Idempotent-Replayed", "Location", "Retry-After", "X-Request-ID"),
    *("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    *("X-RateLimit-Bytes-Limit", "X-RateLimit-Bytes-Remaining", "X-RateLimit-Bytes-Reset"),
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REMEMBERED = timedelta(minutes=10)
"""How long a browser need not ask again whether it may."""


def init_cors(app: Flask) -> None:
    """Let the browsers of the front ends that are named read answers, errors too."""
    origins = app.extensions["crm_settings"].front_ends
    if not origins:
        return

    @app.before_request
    def answer_preflight() -> Response | None:
        # Before the guards and the limits: a browser asks without the credential.
        is_preflight = (
            request.method == "OPTIONS"
            and "Access-Control-Request-Method" in request.headers
            and request.headers.get("Origin") in origins
        )
        return app.make_default_options_response() if is_preflight and _is_for_others() else None

    CORS(
        app,
        # The library takes what has brackets in it, as an IPv6 address has, for a pattern.
        origins=[re.compile(rf"{re.escape(each)}\Z") for each in origins],
        methods=_METHODS,
        allow_headers=_SENT,
        expose_headers=_READ,
        max_age=_REMEMBERED,
        supports_credentials=False,
        always_send=False,
        # Errors pass through the same hook as every answer.
        intercept_exceptions=False,
    )
    hooks = app.after_request_funcs[None]
    hooks[-1] = partial(_only_for_others, hooks[-1])


def _only_for_others(add_headers: Callable[..., Any], response: Response) -> Any:
    return add_headers(response) if _is_for_others() else response


def _is_for_others() -> bool:
    """Whether this is the API, or a mistyped address of it; no page, webhook or metrics."""
    endpoint = _find_endpoint()
    if endpoint is None or endpoint == _DOCUMENT:
        return True
    blueprint = current_app.blueprints.get(endpoint.rpartition(".")[0])
    guard = guard_of(current_app.view_functions[endpoint])
    return isinstance(blueprint, APIBlueprint) and guard not in (Guard.HUBSPOT, Guard.OPERATOR)


def _find_endpoint() -> str | None:
    """The view that answers, that a browser asks about, or that has this path by other methods."""
    method = request.method
    if method == "OPTIONS":
        method = request.headers.get("Access-Control-Request-Method", method)
    elif request.endpoint is not None:
        return request.endpoint
    routes = current_app.create_url_adapter(request)
    try:
        return str(routes.match(method=method)[0]) if routes else None
    except MethodNotAllowed as error:
        others = error.valid_methods or ["GET"]
        return str(routes.match(method=next(iter(others)))[0]) if routes else None
    except HTTPException:
        return None
