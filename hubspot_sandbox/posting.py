"""One POST to a webhook target, which another thread may cut short."""

import contextlib
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from hubspot_sandbox.signatures import signature_headers

# Made once: it reads every certificate authority that this machine trusts.
_TLS = ssl.create_default_context()
_HEADERS = {
    "Content-Type": "application/json;charset=utf-8",
    "Accept": "*/*",
    "User-Agent": "HubSpot Connect 2.0 (http://dev.hubspot.com/) - WebhooksExecutorDaemon-executor",
    "Connection": "close",
}


class PostError(Exception):
    """A POST got no answer; the argument says why in a few words."""


class Post:
    """A signed POST that has not been sent yet.

    Redirects are not followed and no proxy is used, as a target is called directly.
    """

    def __init__(self, url: str, secret: str, body: bytes, timeout: float) -> None:
        """Prepare it; ``timeout`` is in seconds and spans the whole exchange, if `expire` is used.

        The signature's timestamp is the real time, whatever the sandbox's clock says: receivers
        compare it with their own clock.
        """
        parts = urlsplit(url)
        path = parts.path or "/"
        self._path = f"{path}?{parts.query}" if parts.query else path
        self._body = body
        uri = url if parts.path else f"{parts.scheme}://{parts.netloc}{self._path}"
        signatures = signature_headers(secret, uri, body, time.time_ns() // 1_000_000)
        self._headers = {**_HEADERS, **signatures}
        host, port = parts.hostname or "", parts.port
        self._connection = (
            HTTPSConnection(host, port, timeout=timeout, context=_TLS)
            if parts.scheme == "https"
            else HTTPConnection(host, port, timeout=timeout)
        )
        self._deadline = time.monotonic() + timeout
        self._cut = ""

    def send(self) -> int:
        """Send it and return the status of the answer; raise PostError when there is none."""
        with contextlib.closing(self._connection):
            try:
                self._connection.connect()
                # A cut that came while there was no socket yet.
                if self._cut:
                    raise PostError(self._cut)
                self._connection.request("POST", self._path, self._body, self._headers)
                status = self._connection.getresponse().status
                # One that was cut amid its headers looks like an answer that is whole.
                if self._cut:
                    raise PostError(self._cut)
                return status
            except TimeoutError as error:
                raise PostError("timed out") from error
            except (OSError, HTTPException, ValueError) as error:
                raise PostError(self._cut or type(error).__name__) from error

    def expire(self) -> None:
        """Cut it short when its time is over: a target that trickles never times out by itself."""
        if time.monotonic() > self._deadline:
            self.cut("timed out")

    def cut(self, reason: str) -> None:
        """Break the connection; `send` raises with this reason."""
        self._cut = self._cut or reason
        if (connected := self._connection.sock) is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
