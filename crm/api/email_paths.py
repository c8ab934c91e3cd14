"""E-mail addresses in paths: at the root, where a first segment with an @ is one, and elsewhere."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from werkzeug.routing import BaseConverter

_AS_THEY_ARE = "@!$&'()*+,;=:"


class EmailSegmentConverter(BaseConverter):
    """An address in one segment, as ``EmailPaths`` leaves it: a slash in it is ``%2F``."""

    regex = "[^/]*@[^/]*"

    def to_python(self, value: str) -> str:
        """The address."""
        return unquote(value)

    def to_url(self, value: str) -> str:
        """The segment for an address."""
        return quote(value, safe=_AS_THEY_ARE)


class EmailPathConverter(BaseConverter):
    """An address that is all the rest of a path, whatever slashes it has."""

    regex = ".+"
    part_isolating = False
    weight = 200

    def to_url(self, value: str) -> str:
        """The rest of a path for an address."""
        return quote(value, safe=f"/{_AS_THEY_ARE}")


class EmailPaths:
    """Keeps a slash within an address at the root from becoming one between two segments.

    A server decodes the path before anybody looks at it. Whether ``/sl/ash@example.com`` was an
    address, written ``/sl%2Fash@example.com``, only the path as it was sent can tell.
    """

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]]) -> None:
        self._wsgi_app = wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve a request."""
        if "@" in environ["PATH_INFO"]:
            environ["PATH_INFO"] = _with_address_whole(environ)
        return self._wsgi_app(environ, start_response)


def _with_address_whole(environ: dict[str, Any]) -> str:
    decoded: str = environ["PATH_INFO"]
    segment = _sent_path(environ, decoded).removeprefix("/")
    if "/" in segment:
        return decoded
    address = unquote(segment, "latin-1")
    return "/" + address.replace("%", "%25").replace("/", "%2F")


def _sent_path(environ: dict[str, Any], decoded: str) -> str:
    """The path as it was sent; where the server does not tell, as it must have been."""
    sent = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    path = urlsplit(sent).path if not sent.startswith("/") else sent.partition("?")[0]
    path = path.removeprefix(environ.get("SCRIPT_NAME", ""))
    return path if unquote(path, "latin-1") == decoded else quote(decoded, "/", "latin-1")
