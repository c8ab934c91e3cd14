"""The log of requests: the last of them one by one, and counters of them all.

Every request gets a correlation id here, also one that a fault keeps from arriving.
"""

import random
import re
from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from hubspot_sandbox.clock import Clock, iso

CORRELATION_HEADER: Final = "x-hubspot-correlation-id"
# Where the WSGI environment holds the `Exchange` of a request.
EXCHANGE: Final = "hubspot_sandbox.exchange"
KEPT: Final = 1_000
_LONGEST_ADDRESS: Final = 2_000
_HIDDEN: Final = "***"
_TOKEN_IN_PATH: Final = re.compile(r"(?<=-tokens/)[^/]+")
_TOKEN: Final = re.compile(r"pat-[a-z0-9]+-[\w-]+", re.IGNORECASE)
_SECRETS: Final = re.compile(r"token|secret|password|hapikey|authorization|code", re.IGNORECASE)


@dataclass(slots=True)
class Exchange:
    """One request and what became of it.

    ``at`` is by the sandbox's clock. ``route`` is its path without ids. ``status`` is None when
    the connection was cut instead of an answer; ``fault`` is the kind of the fault that struck.
    """

    at: int
    method: str
    path: str
    query: str
    correlation_id: str
    route: str
    portal_id: int | None = None
    app_id: int | None = None
    fault: str | None = None
    status: int | None = None
    duration_ms: float = 0.0

    @property
    def address(self) -> str:
        """The path with its query, without any secret in them."""
        path = _TOKEN_IN_PATH.sub(_HIDDEN, self.path)
        if self.query:
            path += "?" + urlencode(
                [
                    (name, _HIDDEN if _SECRETS.search(name) else value)
                    for name, value in parse_qsl(self.query, keep_blank_values=True)
                ],
                safe="*,",
            )
        return _TOKEN.sub(_HIDDEN, path)[:_LONGEST_ADDRESS]

    def describe(self) -> dict[str, Any]:
        """Return the exchange as JSON values."""
        return {
            "at": iso(self.at),
            "method": self.method,
            "path": self.address,
            "status": self.status,
            "duration_ms": round(self.duration_ms, 3),
            "correlation_id": self.correlation_id,
            "portal_id": self.portal_id,
            "app_id": self.app_id,
            "fault": self.fault,
        }


class RequestLog:
    """The last requests, and how many there were by route, by status and by fault."""

    def __init__(self, clock: Clock, seed: int | None) -> None:
        """Start empty; a seed repeats the correlation ids."""
        self._clock = clock
        self._lock = Lock()
        # Not for secrets: a seed must make the same ids again.
        self._random = random.Random(seed)  # noqa: S311
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT)
        self._by_route: Counter[str] = Counter()
        self._by_status: Counter[str] = Counter()
        self._by_fault: Counter[str] = Counter()

    def open(self, method: str, path: str, query: str) -> Exchange:
        """Begin a request; it is in the log from `add` on."""
        correlation_id = str(UUID(int=self._random.getrandbits(128), version=4))
        now, route = self._clock.now_ms(), f"{method} (no such route)"
        return Exchange(now, method, path, query[:_LONGEST_ADDRESS], correlation_id, route)

    def add(self, exchange: Exchange) -> None:
        """Log and count a request that has been answered, or cut off."""
        with self._lock:
            self._exchanges.append(exchange)
            self._by_route[exchange.route] += 1
            self._by_status[str(exchange.status or "connection reset")] += 1
            if exchange.fault:
                self._by_fault[exchange.fault] += 1

    def clear(self) -> None:
        """Forget all of them, and count from zero."""
        with self._lock:
            for each in (self._exchanges, self._by_route, self._by_status, self._by_fault):
                each.clear()

    def count(self) -> dict[str, Any]:
        """Return ``{"total": n, "by_route": {...}, "by_status": {...}, "by_fault": {...}}``."""
        with self._lock:
            return {
                "total": self._by_route.total(),
                "by_route": dict(self._by_route),
                "by_status": dict(self._by_status),
                "by_fault": dict(self._by_fault),
            }

    def list(
        self, limit: int = KEPT, match: str = "", status: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the last requests, newest first.

        ``match`` is a regular expression sought in ``METHOD /path?query``; re.error is raised
        when it is none.
        """
        pattern = re.compile(match)
        with self._lock:
            exchanges = list(reversed(self._exchanges))
        found = (
            each
            for each in exchanges
            if status in (None, each.status) and pattern.search(f"{each.method} {each.address}")
        )
        return [each.describe() for each in islice(found, limit)]
