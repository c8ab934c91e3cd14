"""An app's webhook receiver over real HTTP, which answers as a test wants and keeps what it got."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import orjson


class Delivery(NamedTuple):
    """One POST as it arrived; ``uri`` is what a receiver would verify the signature against."""

    method: str
    uri: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(orjson.loads(self.body))


class Receiver:
    """Answers 204, or what ``answer`` says for a delivery; it may also block."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.answer: Callable[[Delivery], int] = lambda _: 204
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks?from=hubspot"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for delivery in self.deliveries for event in delivery.events]

    def types(self) -> list[str]:
        return [event["subscriptionType"] for event in self.events]

    def clear(self) -> None:
        self.deliveries.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that goes away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        uri = f"http://{self.headers['Host']}{self.path}"
        delivery = Delivery("POST", uri, dict(self.headers.items()), body)
        self.server.receiver.deliveries.append(delivery)
        self.send_response(self.server.receiver.answer(delivery))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
