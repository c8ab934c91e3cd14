"""One client for one portal: token, budget, attempts, and an answer's status as an error."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import quote

import orjson
import requests
import structlog

from crm.hubspot import transport
from crm.hubspot.answers import error_from, json_from
from crm.hubspot.errors import (
    HubSpotAuthError,
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotRateLimitError,
)
from crm.hubspot.retries import Attempts
from crm.hubspot.versions import base_path

log = structlog.get_logger(__name__)

CallKind = Literal["general", "search", "associations"]
"""HubSpot limits searches and the associations API apart from everything else."""


class TokenSource(Protocol):
    """Where the bearer token of a portal comes from."""

    def get(self) -> str:
        """The token to send now.

        Raises:
            HubSpotAuthError: there is none any more.
        """

    def renew(self, refused: str) -> str:
        """Another token, after HubSpot refused this one as expired or invalid.

        Raises:
            HubSpotAuthError: there is no other.
        """


class Budget(Protocol):
    """Says when a call may be made; shared by all processes that call the portal."""

    def wait(self, kind: CallKind) -> None:
        """Return when a call of this kind may be made; after a 429, when its limit has passed.

        Raises:
            HubSpotRateLimitError: that is longer than the caller's patience.
        """

    def learn(
        self, kind: CallKind, headers: Mapping[str, str], error: HubSpotRateLimitError | None
    ) -> None:
        """Take in every answer: the limits in its headers, and the 429 if it was one."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a connection, for each piece of an answer, and for the whole call.

    The patience includes repeats and the pauses before them, not what comes before the first
    attempt: fetching a token, the budget's wait. A
    repeat is made only if there is patience left to wait out its connection and its answer.
    """

    connect: float = 3.05
    read: float = 30.0
    patience: float = 60.0


@dataclass
class HubSpotClient:
    """Speaks to HubSpot with the token of one portal; threads may share it.

    Args:
        base_url: such as ``https://api.hubapi.com``.
        token: of a private app or a service key, or the source of OAuth access tokens.
        version: a dated one, or ``v3`` for the v3 and v4 paths.
        timeouts: of every call.
        pause: waits the given seconds between attempts.
        budget: asked before every attempt, told every answer; None for no limits but HubSpot's.

    Raises:
        HubSpotAuthError: the token cannot even be sent.
    """

    base_url: str
    token: str | TokenSource = field(repr=False)
    version: str
    timeouts: Timeouts = Timeouts()
    pause: Callable[[float], None] = time.sleep
    budget: Budget | None = None

    def __post_init__(self) -> None:
        """Refuse a token that was mangled on its way here, without repeating it."""
        if isinstance(self.token, str):
            _check(self.token)

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
        request = requests.Request(
            method,
            self.base_url + path,
            headers=transport.HEADERS,
            params=params,
            data=None if body is None else orjson.dumps(body),
        ).prepare()
        kind = kind_of(path)
        # First, because it may take long: a call is to be made when the budget said, and not later.
        token = self.token if isinstance(self.token, str) else self.token.get()
        self._await_turn(kind)
        attempts = Attempts(
            repeatable=repeatable,
            longest=self.timeouts.connect + self.timeouts.read,
            patience=self.timeouts.patience,
            is_paced=self.budget is not None,
        )
        while True:
            try:
                return self._attempt(request, token, kind, attempts.until)
            except HubSpotError as error:
                seconds = attempts.pause_after(error)
                if isinstance(error, HubSpotAuthError):
                    token = self._renew(token, error)
                log.info("hubspot call repeated", path=path, reason=error.message, pause=seconds)
            self.pause(seconds)
            self._await_turn(kind)

    def batch(
        self,
        *segments: str,
        inputs: Sequence[Any],
        params: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Any:
        """Make a call for several inputs, with what stands beside them; see ``call``.

        Its path ends with ``batch`` and the last segment. Doing it twice does the same as once.
        """
        path = self.path(*segments[:-1], "batch", segments[-1])
        return self.call(
            "POST", path, params=params, body={"inputs": inputs, **more}, repeatable=True
        )

    def path(self, api: str, *segments: str) -> str:
        """The path of a resource in the client's version, every segment quoted.

        Raises:
            HubSpotNotFoundError: a segment, such as an id, that would make it another path.
        """
        if not all(segment.strip(".") for segment in segments):
            raise HubSpotNotFoundError
        quoted = [quote(segment, safe="") for segment in segments]
        return "/".join([base_path(self.version, api), *quoted])

    def _await_turn(self, kind: CallKind) -> None:
        if self.budget:
            self.budget.wait(kind)

    def _renew(self, refused: str, error: HubSpotAuthError) -> str:
        if isinstance(self.token, str):
            raise error
        return self.token.renew(refused)

    def _attempt(
        self, request: requests.PreparedRequest, token: str, kind: CallKind, until: float
    ) -> Any:
        _check(token)
        request.headers["Authorization"] = f"Bearer {token}"
        started = time.monotonic()
        answer = transport.exchange(
            request, connect=self.timeouts.connect, read=self.timeouts.read, until=until
        )
        log.debug(
            "hubspot call",
            method=request.method,
            path=request.path_url.partition("?")[0],
            status=answer.status,
            milliseconds=round((time.monotonic() - started) * 1000),
        )
        refusal = error_from(answer) if answer.status >= 300 else None
        if self.budget:
            limit = refusal if isinstance(refusal, HubSpotRateLimitError) else None
            self.budget.learn(kind, answer.headers, limit)
        if refusal:
            raise refusal
        return json_from(answer)


def kind_of(path: str) -> CallKind:
    """Which of HubSpot's limits a call counts towards."""
    if path.endswith("/search"):
        return "search"
    return "associations" if "/associations/" in path else "general"


def _check(token: str) -> None:
    if not re.fullmatch(r"[!-~]+", token):
        raise HubSpotAuthError("The HubSpot token holds characters that no token has")
