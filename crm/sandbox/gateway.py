"""What happens to a request on its way: latency, and the faults that were asked for.

A WSGI layer around the app, so that a fault can strike after a write took place and before its
answer is sent. Admin requests pass untouched.
"""

import time
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import orjson

from crm.sandbox.admin import ADMIN_PREFIX
from crm.sandbox.faults import Fault
from crm.sandbox.store import Sandbox

_JSON = [("Content-Type", "application/json;charset=utf-8")]
_HTML = [("Content-Type", "text/html")]
_HTML_PAGE = (
    b"<html><head><title>502 Bad Gateway</title></head>"
    b"<body><center><h1>502 Bad Gateway</h1></center><hr><center>cloudflare</center></body></html>"
)
_NEVER_ARRIVES = frozenset({"status", "html", "reset_before"})
_CORRELATION_ID = "0f0f0f0f-0000-4000-8000-000000000000"

# The body of each status, apart from the correlation id that all carry.
_BODIES: dict[int, dict[str, Any]] = {
    423: {
        "message": "This resource is locked due to a high volume of writes",
        "category": "LOCKED",
    },
    429: {
        "message": "You have reached your ten_secondly_rolling limit.",
        "errorType": "RATE_LIMIT",
        "policyName": "TEN_SECONDLY_ROLLING",
    },
    477: {"message": "This account is being migrated to another data center"},
    500: {"message": "internal error"},
    502: {"message": "Bad gateway"},
    503: {"message": "Service temporarily unavailable"},
    504: {"message": "Gateway timeout"},
}
# A portal that moves to another data centre says when to come back.
_MIGRATION = 477
_MIGRATION_RETRY_SECONDS = "2"


class ConnectionDropped(Exception):  # noqa: N818 - an event on the wire, no mistake
    """The server shall cut the connection instead of answering."""


class Gateway:
    """The app as its clients meet it, with latency and faults."""

    def __init__(self, app: WSGIApplication, sandbox: Sandbox) -> None:
        """Stand before the app."""
        self._app = app
        self._sandbox = sandbox

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request; raise ConnectionDropped to have its connection reset."""
        path = environ["PATH_INFO"]
        if path.startswith(ADMIN_PREFIX):
            return self._app(environ, start_response)
        if self._sandbox.settings.latency_ms:  # Even a sleep of nothing gives the processor away.
            time.sleep(self._sandbox.settings.latency_ms / 1000)
        fault = self._sandbox.faults.strike(f"{environ['REQUEST_METHOD']} {path}")
        if fault is None:
            return self._app(environ, start_response)
        return self._strike(fault, environ, start_response)

    def _strike(
        self, fault: Fault, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if fault.kind in _NEVER_ARRIVES:
            # The app does not see it, so it cannot count it.
            self._sandbox.counts.add(f"{environ['REQUEST_METHOD']} (struck by {fault.kind})")
        if fault.kind == "reset_before":
            raise ConnectionDropped
        if fault.kind == "reset_after":
            b"".join(self._app(environ, lambda *_: lambda _: None))
            raise ConnectionDropped
        if fault.kind == "slow":
            time.sleep(fault.seconds)
            return self._app(environ, start_response)
        if fault.kind == "truncated_json":
            body = b"".join(self._app(environ, start_response))
            return [body[: len(body) // 2]]
        if fault.kind == "html":
            start_response(f"{fault.status} Bad Gateway", _HTML)
            return [_HTML_PAGE]
        return _answer_status(fault.status, start_response)


def _answer_status(status: int, start_response: StartResponse) -> list[bytes]:
    headers = [*_JSON, ("x-hubspot-correlation-id", _CORRELATION_ID)]
    if status == _MIGRATION:
        headers.append(("Retry-After", _MIGRATION_RETRY_SECONDS))
    start_response(f"{status} Fault", headers)
    body = {"status": "error", **_BODIES[status], "correlationId": _CORRELATION_ID}
    return [orjson.dumps(body)]
