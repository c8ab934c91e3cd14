"""HTTP/1.1 on sockets: persistent connections, no delayed answers, clean ends.

The standard library's handler is used because Werkzeug's closes every connection after one
answer and Gunicorn cannot run in a thread, which tests need.
"""

import contextlib
import io
import logging
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote
from wsgiref.types import WSGIApplication, WSGIEnvironment

from hubspot_sandbox.app import MAX_BODY_BYTES
from hubspot_sandbox.fault_middleware import ConnectionDropped
from hubspot_sandbox.payload import whole_number

_log = logging.getLogger(__name__)
_IDLE_SECONDS = 120
_PIECE = 64 * 1024
_LARGEST_DISCARDED = 256 * 1024 * 1024
# Lingering for no time makes a close send RST: the client sees its connection reset.
_NO_LINGER = struct.pack("ii", 1, 0)


class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A socket that gives each connection a thread, and knows them all."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], app: WSGIApplication) -> None:
        self.app = app
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def close(self) -> None:
        """Stop accepting, then cut what is open: kept-alive clients shall notice at once."""
        self.shutdown()
        self.server_close()
        with self._guard:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a new connection, and serve it in a thread of its own."""
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection, and close it."""
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that were cut; log what is a mistake of ours."""
        _log.debug("a connection of %s ended", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 on one connection and WSGI to the app."""

    server: Listener
    protocol_version = "HTTP/1.1"
    # Without this a kept-alive client waits 40 ms for answers sent in two pieces.
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    timeout = _IDLE_SECONDS

    def _serve(self) -> None:
        answer = _WSGIAnswer()
        try:
            environ = self._environ(*self._read_body())
            payload = b"".join(self.server.app(environ, answer.start))
        except _UnreadableBody as error:
            self.close_connection = True
            answer.start(error.args[0], [("Content-Type", "text/plain")])
            payload = b""
        except ConnectionDropped:
            self._reset()
            return
        self._send(answer, payload)

    # The names that the standard library calls methods by.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Send the standard library's lines to the log instead of stderr."""
        _log.debug(format, *args)

    def _read_body(self) -> tuple[bytes, int]:
        """Return the body and its length; one that is too large is read away and left empty."""
        if "Transfer-Encoding" in self.headers:
            raise _UnreadableBody("411 Length Required")
        length = whole_number(self.headers.get("Content-Length", "0"))
        if length is None:
            raise _UnreadableBody("400 Bad Request")
        if length <= MAX_BODY_BYTES:
            return self.rfile.read(length), length
        # The app refuses it by its length, and a client that still sent would not see that.
        remaining = min(length, _LARGEST_DISCARDED)
        while remaining and (piece := self.rfile.read(min(remaining, _PIECE))):
            remaining -= len(piece)
        self.close_connection = length > _LARGEST_DISCARDED
        return b"", length

    def _environ(self, body: bytes, length: int) -> WSGIEnvironment:
        path, _, query = self.path.partition("?")
        host, port = self.server.server_address[:2]
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "SERVER_NAME": str(host),
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = "HTTP_" + name.upper().replace("-", "_")
            if key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
                environ[key] = value
        return environ

    def _send(self, answer: "_WSGIAnswer", payload: bytes) -> None:
        """Write an answer in one piece; its length is what is really sent."""
        self.send_response_only(answer.code, answer.reason)
        self.send_header("Date", self.date_time_string())
        for name, value in answer.headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        if answer.code != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(payload)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        self.wfile.flush()

    def _reset(self) -> None:
        """Cut the connection without a word."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        os.close(self.connection.detach())


class _UnreadableBody(Exception):  # noqa: N818 - its argument is the status line of the answer
    """A request's body does not come in a way that can be read."""


class _WSGIAnswer:
    """Takes what a WSGI app says before its body."""

    code = 500
    reason = ""
    headers: Sequence[tuple[str, str]] = ()

    def start(self, status: str, headers: list[tuple[str, str]], *_: object) -> Any:
        """Be the app's ``start_response``."""
        code, _space, self.reason = status.partition(" ")
        self.code, self.headers = int(code), headers
