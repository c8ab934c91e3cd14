"""What happens to a request on its way: latency, the faults that were asked for, and the log.

A WSGI layer around the app, so that a fault can strike after a write took place and before its
answer is sent. Admin requests pass untouched.
"""

import random
import time
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import orjson

from hubspot_sandbox.access import Access
from hubspot_sandbox.admin import ADMIN_PREFIX
from hubspot_sandbox.errors import CONTENT_TYPE, HubSpotError
from hubspot_sandbox.fault_answers import LIMITED, ONLY_PAGES, failure, page
from hubspot_sandbox.faults import Fault
from hubspot_sandbox.request_log import CORRELATION_HEADER, EXCHANGE, Exchange
from hubspot_sandbox.store import Sandbox

_NEVER_ARRIVES = frozenset({"status", "html", "reset_before"})


class ConnectionDropped(Exception):  # noqa: N818 - an event on the wire, no mistake
    """The server shall cut the connection instead of answering."""


class FaultMiddleware:
    """The app as its clients meet it, with latency and faults; every request is logged."""

    def __init__(self, app: WSGIApplication, sandbox: Sandbox) -> None:
        """Stand before the app."""
        self._app = app
        self._sandbox = sandbox
        self._dice = random.Random()  # noqa: S311 - for latency only

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request; raise ConnectionDropped to have its connection reset."""
        log = self._sandbox.request_log
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        exchange = environ[EXCHANGE] = log.open(method, path, environ["QUERY_STRING"])
        if path.startswith(ADMIN_PREFIX):
            return self._app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            exchange.status = int(status[:3])
            return start_response(status, headers, *more)

        began = time.perf_counter()
        try:
            return self._pass(exchange, environ, start)
        finally:
            exchange.duration_ms = (time.perf_counter() - began) * 1000
            log.add(exchange)

    def _pass(
        self, exchange: Exchange, environ: WSGIEnvironment, start: StartResponse
    ) -> Iterable[bytes]:
        self._wait()
        caller = self._sandbox.find_access(environ.get("HTTP_AUTHORIZATION", ""))
        if caller:
            exchange.portal_id, exchange.app_id = caller.portal_id, caller.app_id
        fault = self._sandbox.faults.strike(f"{exchange.method} {exchange.path}")
        if fault is None:
            return self._app(environ, start)
        exchange.fault = fault.kind
        if fault.kind in _NEVER_ARRIVES:
            # The app does not see it, so it cannot tell its route.
            exchange.route = f"{exchange.method} (struck by {fault.kind})"
            return self._refuse(fault, caller, exchange.correlation_id, start)
        return self._disturb(fault, environ, start)

    def _wait(self) -> None:
        settings = self._sandbox.settings
        delay = settings.latency_ms + self._dice.random() * settings.latency_jitter_ms
        if delay:  # Even a sleep of nothing gives the processor away.
            time.sleep(delay / 1000)

    def _refuse(
        self, fault: Fault, caller: Access | None, correlation_id: str, start: StartResponse
    ) -> Iterable[bytes]:
        """Answer in the app's place, so that nothing is done."""
        if fault.kind == "reset_before":
            raise ConnectionDropped
        headers = {CORRELATION_HEADER: correlation_id}
        if fault.kind == "html" or fault.status in ONLY_PAGES:
            headers["Content-Type"] = "text/html"
            body = page(fault.status)
        else:
            error = self._make_error(fault, caller)
            headers |= {"Content-Type": CONTENT_TYPE, **error.headers}
            body = orjson.dumps({**error.body(), "correlationId": correlation_id})
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        start(f"{fault.status} Fault", list(headers.items()))
        return [body]

    def _make_error(self, fault: Fault, caller: Access | None) -> HubSpotError:
        if fault.status != LIMITED:
            return failure(fault.status)
        portals = self._sandbox.portals
        # Who shows no token is refused as if it were the first app of the first portal.
        if caller is None or caller.portal_id not in portals:
            caller = Access(self._sandbox.first_portal_id, next(iter(self._sandbox.apps)))
        return portals[caller.portal_id].limits.pretend_reached(caller, fault.policy)

    def _disturb(
        self, fault: Fault, environ: WSGIEnvironment, start: StartResponse
    ) -> Iterable[bytes]:
        """Let the app do its work, and spoil what comes before or after it."""
        if fault.kind == "reset_after":
            b"".join(self._app(environ, lambda *_: lambda _: None))
            raise ConnectionDropped
        if fault.kind == "truncated_json":
            body = b"".join(self._app(environ, start))
            return [body[: len(body) // 2]]
        if fault.kind == "expire_token":
            self._sandbox.expire_tokens()
        else:
            time.sleep(fault.seconds)
        return self._app(environ, start)
