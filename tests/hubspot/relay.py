"""A HubSpot of other manners: passes calls on to the sandbox, and changes what a test wants."""

import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import requests

# Lingering for no time makes a close send RST.
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass
class Answer:
    """What the client gets: JSON, or ``raw`` bytes as they are."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass
class Call:
    """What the client sent; a handler may change the body before it passes the call on."""

    target: str
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    caller: tuple[str, int] = ("", 0)
    """The other end of the connection."""

    def pass_on(self) -> Answer:
        content = None if self.body is None else json.dumps(self.body)
        names = ("Authorization", "Content-Type")
        headers = {name: self.headers[name] for name in names if name in self.headers}
        answer = requests.request(
            self.method, self.target + self.path, data=content, headers=headers, timeout=60
        )
        return Answer(answer.status_code, answer.json() if answer.content else None)

    def is_for(self, ending: str) -> bool:
        return self.path.partition("?")[0].endswith(ending)


Handler = Callable[[Call], Answer]


class Relay:
    """Listens on a port of its own; ``handler`` decides what becomes of each call."""

    def __init__(self, target: str) -> None:
        self.handler: Handler = Call.pass_on
        self.calls: list[Call] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self, target))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def paths(self, method: str = "") -> list[str]:
        return [call.path for call in self.calls if method in ("", call.method)]

    def answer(self, status: int, body: Any = None, **more: Any) -> None:
        """Answer every call with this."""
        self.handler = lambda _: Answer(status, body, **more)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _make_handler(relay: Relay, target: str) -> type[BaseHTTPRequestHandler]:
    class Handle(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 64 * 1024

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            # Of a form, a handler sees that it came.
            is_json = content and "form" not in self.headers.get("Content-Type", "")
            body = json.loads(content) if is_json else None
            call = Call(target, self.command, self.path, dict(self.headers.items()), body)
            call.caller = self.client_address
            relay.calls.append(call)
            try:
                answer = relay.handler(call)
            except requests.ConnectionError:
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                return
            self._send(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - its caller's names

        def _send(self, answer: Answer) -> None:
            content = answer.raw
            if content is None:
                content = b"" if answer.body is None else json.dumps(answer.body).encode()
            self.send_response_only(answer.status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
            for name, value in (headers | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    return Handle
