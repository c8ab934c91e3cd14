"""HubSpot's rolling window over HTTP: it counts what arrives in any ten seconds, and is strict."""

import random
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import orjson

PERIOD = 10.0
_LATENCY = (0.02, 0.06)
"""Seconds on the way here, a fresh number for each request, and the same on the way back."""
_REFUSAL = {
    "status": "error",
    "message": "You have reached your ten_secondly_rolling limit.",
    "errorType": "RATE_LIMIT",
    "policyName": "TEN_SECONDLY_ROLLING",
}


class RollingWindow:
    """Serves any GET; more than ``max_calls`` within ten seconds get 429."""

    def __init__(self, max_calls: int) -> None:
        """Listen at once."""
        self.max_calls = max_calls
        self.accepted: list[float] = []
        self.refused = 0
        self._lock = threading.Lock()
        self._arrivals: deque[float] = deque()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def arrive(self) -> tuple[int, int]:
        """The status, and how many calls remain."""
        with self._lock:
            now = time.monotonic()
            while self._arrivals and self._arrivals[0] <= now - PERIOD:
                self._arrivals.popleft()
            if len(self._arrivals) >= self.max_calls:
                self.refused += 1
                return 429, 0
            self._arrivals.append(now)
            self.accepted.append(now)
            return 200, self.max_calls - len(self._arrivals)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


def _handler(window: RollingWindow) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            time.sleep(random.uniform(*_LATENCY))
            status, remaining = window.arrive()
            time.sleep(random.uniform(*_LATENCY))
            body = orjson.dumps({} if status == 200 else _REFUSAL)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-HubSpot-RateLimit-Max", str(window.max_calls))
            self.send_header("X-HubSpot-RateLimit-Remaining", str(remaining))
            self.send_header("X-HubSpot-RateLimit-Interval-Milliseconds", "10000")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
