"""One request and its answer: this process's connections to HubSpot, and how they fail."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import requests
import urllib3
from requests.adapters import HTTPAdapter

from crm.hubspot import retries
from crm.hubspot.errors import HubSpotUnavailableError
from crm.version import VERSION

HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": f"crm-middleware/{VERSION}",
}

CONNECT, READ, LONGEST = 3.05, 10.0, 15.0
"""Seconds to wait for a connection, for each piece of an answer, and for all of them."""

_CONNECTIONS = 32
"""Kept alive: the eight threads of a web process, or the sixteen jobs of a worker, and some."""
_PIECE = 64 * 1024
_LARGEST = 64 * 1024 * 1024
"""Bytes of an answer: many times a hundred records with long texts, and still room for others."""


@dataclass(frozen=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By name, in any letter case."""
    content: bytes

    @property
    def json(self) -> Any:
        """The content as JSON; None where it is none."""
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError:
            return None


@cache
def _adapter() -> HTTPAdapter:
    # One for all clients, since they come and go with requests and jobs, and a new connection costs
    # two round trips and more. It is requests' pool of connections, which is made for threads, and
    # not its Session, which is not: that would also bring along cookies, which mix up portals, and
    # redirects, proxies and .netrc, which change where or as whom we call.
    return HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=0)


# Two processes that write to one connection would read each other's answers.
os.register_at_fork(after_in_child=_adapter.cache_clear)


def exchange(
    request: requests.PreparedRequest,
    *,
    until: float,
    connect: float = CONNECT,
    read: float = READ,
) -> Answer:
    """Send a request and receive its answer.

    Args:
        request: with all of its headers.
        until: when to give up an answer that comes in drops, on the monotonic clock.
        connect: seconds to wait for a connection.
        read: seconds to wait for each piece of the answer.

    Raises:
        HubSpotUnavailableError: no answer, or not all of it; ``met`` says what happened. It names
            classes alone: the libraries' own words may hold an address with credentials.
    """
    try:
        with _adapter().send(request, stream=True, timeout=(connect, read)) as response:
            pieces, size = [], 0
            while piece := response.raw.read1(_PIECE, decode_content=True):
                pieces.append(piece)
                size += len(piece)
                if size > _LARGEST:
                    raise _unavailable(retries.TOO_LARGE, "HubSpot's answer is too large")
                if time.monotonic() > until:
                    raise requests.ReadTimeout
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _lost(error) from error
    return Answer(response.status_code, response.headers, b"".join(pieces))


def _lost(error: Exception) -> HubSpotUnavailableError:
    # requests calls both a refused connection and one that broke during the answer a
    # ConnectionError; only in the first case it is certain that HubSpot did nothing.
    reason = (getattr(error.args[0], "reason", None) if error.args else None) or error
    if isinstance(error, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        met, what = retries.READ_TIMEOUT, "HubSpot took too long"
    elif isinstance(reason, urllib3.exceptions.NewConnectionError):
        met, what = retries.NOT_CONNECTED, "HubSpot cannot be reached"
    elif isinstance(error, requests.ConnectTimeout):
        met, what = retries.CONNECT_TIMEOUT, "HubSpot cannot be reached"
    else:
        met, what = retries.CONNECTION_LOST, "HubSpot cannot be reached"
    return _unavailable(met, f"{what} ({type(reason).__name__})")


def _unavailable(met: str, message: str) -> HubSpotUnavailableError:
    unavailable = HubSpotUnavailableError(message)
    unavailable.met = met
    return unavailable
