"""One client for one portal: session, timeouts, repeats, and an answer's status as an error."""

import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import orjson
import requests
import structlog
from requests.adapters import HTTPAdapter

from crm.hubspot.answers import error_from
from crm.hubspot.errors import (
    HubSpotAuthError,
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotUnavailableError,
)

log = structlog.get_logger(__name__)

ATTEMPTS = 3
_FIRST_PAUSE = 0.2
_CONNECTIONS = 16

# HubSpot docs: versioning. Dated paths carry the version after the API's name; the older family
# has associations in v4 and everything else in v3.
_LEGACY = {
    "objects": "/crm/v3/objects",
    "associations": "/crm/v4/associations",
    "pipelines": "/crm/v3/pipelines",
    "properties": "/crm/v3/properties",
    "account": "/account-info/v3",
}
_DATED = {
    "objects": "/crm/objects/{version}",
    "associations": "/crm/associations/{version}",
    "pipelines": "/crm/pipelines/{version}",
    "properties": "/crm/properties/{version}",
    "account": "/account-info/{version}",
}


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a connection, and for each piece of an answer."""

    connect: float = 3.05
    read: float = 30.0


class TokenSource(Protocol):
    """Gives tokens that change, as those of OAuth do."""

    def get(self) -> str:
        """The token to send now; raises ``HubSpotAuthError`` when there is none any more."""

    def renew(self, refused: str) -> str:
        """Another token than the one that HubSpot just refused; raises as ``get`` does."""


@dataclass
class HubSpotClient:
    """Speaks to HubSpot with one token.

    Args:
        base_url: such as ``https://api.hubapi.com``.
        token: of a private app or a service key, or a source of OAuth access tokens.
        version: a dated one, or ``v3`` for the v3 and v4 paths.
        timeouts: of every call.
        pause: waits the given seconds between attempts.

    Raises:
        HubSpotAuthError: the token cannot even be sent.
    """

    base_url: str
    token: str | TokenSource = field(repr=False)
    version: str
    timeouts: Timeouts = Timeouts()
    pause: Callable[[float], None] = time.sleep
    _local: threading.local = field(default_factory=threading.local, repr=False)

    def __post_init__(self) -> None:
        """Refuse a token that was mangled on its way here, without repeating it."""
        if isinstance(self.token, str) and not re.fullmatch(r"[!-~]+", self.token):
            raise HubSpotAuthError("The HubSpot token holds characters that no token has")

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        repeatable: bool,
    ) -> Any:
        """Make one call; returns the answer's JSON, or None where HubSpot sends no body.

        Args:
            method: the HTTP method.
            path: made by ``path``.
            params: of the query.
            body: sent as JSON.
            repeatable: whether doing the call twice does the same as doing it once. Only then is
                it made again after an outcome that may have been a success: a lost answer, a 5xx.

        Raises:
            HubSpotError: one of its family; ``retryable`` says whether to come back later.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._call_once(method, path, params, body)
            except HubSpotUnavailableError as error:
                may_repeat = error.never_arrived or (repeatable and error.may_pass_soon)
                if not may_repeat or attempt == ATTEMPTS:
                    raise
                seconds = _pause_after(attempt)
                log.info("hubspot call repeated", path=path, reason=error.message, pause=seconds)
                self.pause(seconds)
        raise AssertionError("the loop returns or raises")

    def path(self, api: str, *segments: str) -> str:
        """The path of a resource in the client's version, every segment quoted.

        Raises:
            HubSpotNotFoundError: a segment, such as an id, that would make it another path.
        """
        if not all(segment.strip(".") for segment in segments):
            raise HubSpotNotFoundError
        paths = _LEGACY if self.version == "v3" else _DATED
        quoted = [quote(segment, safe="") for segment in segments]
        return "/".join([paths[api].format(version=self.version), *quoted])

    def _call_once(
        self, method: str, path: str, params: Mapping[str, Any] | None, body: Any
    ) -> Any:
        if isinstance(self.token, str):
            return self._send(self.token, method, path, params, body)
        token = self.token.get()
        try:
            return self._send(token, method, path, params, body)
        except HubSpotAuthError:
            return self._send(self.token.renew(token), method, path, params, body)

    def _send(
        self, token: str, method: str, path: str, params: Mapping[str, Any] | None, body: Any
    ) -> Any:
        started = time.monotonic()
        try:
            response = self._session().request(
                method,
                self.base_url + path,
                params=params,
                data=None if body is None else orjson.dumps(body),
                timeout=(self.timeouts.connect, self.timeouts.read),
                headers={"Authorization": f"Bearer {token}"},
                allow_redirects=False,
            )
        except (requests.ConnectTimeout, requests.ConnectionError) as error:
            raise _unreached(error) from error
        except requests.RequestException as error:
            raise HubSpotUnavailableError(f"HubSpot's answer was lost ({_kind(error)})") from error
        log.debug(
            "hubspot call",
            method=method,
            path=path,
            status=response.status_code,
            milliseconds=round((time.monotonic() - started) * 1000),
        )
        if response.status_code >= 300:
            raise error_from(response.status_code, response.headers, response.content)
        return _json(response)

    def _session(self) -> requests.Session:
        # requests does not promise that threads may share a session.
        if not hasattr(self._local, "session"):
            session = requests.Session()
            # Neither proxies nor .netrc of the machine may change where or as whom we call.
            session.trust_env = False
            adapter = HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=0)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            session.headers.update(
                {
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "User-Agent": "crm-middleware",
                }
            )
            self._local.session = session
        session_of_thread: requests.Session = self._local.session
        return session_of_thread


def _json(response: requests.Response) -> Any:
    if not response.content:
        return None
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise HubSpotUnavailableError(
            "HubSpot's answer was cut off or not JSON",
            correlation_id=response.headers.get("x-hubspot-correlation-id"),
        ) from error


def _unreached(error: requests.RequestException) -> HubSpotError:
    # requests calls both a refused connection and one that broke during the answer a
    # ConnectionError; only in the first case it is certain that HubSpot did nothing.
    reason = getattr(error.args[0], "reason", None) if error.args else None
    unavailable = HubSpotUnavailableError(f"HubSpot cannot be reached ({_kind(reason or error)})")
    unavailable.never_arrived = type(reason).__name__ in {
        "NewConnectionError",
        "ConnectTimeoutError",
        "NameResolutionError",
    }
    return unavailable


def _kind(error: BaseException) -> str:
    """The error's class alone: its text may hold an address with credentials."""
    return type(error).__name__


def _pause_after(attempt: int) -> float:
    return _FIRST_PAUSE * float(2**attempt) * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
