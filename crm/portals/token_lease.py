"""The token lease: of all processes on all machines, one at a time asks for a new access token.

The others go on with the token that is still good, or wait for what the one stores. A lease ends by
itself, so a crash heals. Every answer is stored before it is used, by compare-and-swap: not where
something else was stored meanwhile, or nothing is to be any more.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from crm.errors import CRMError
from crm.hubspot.errors import HubSpotError, HubSpotRevokedError

log = structlog.get_logger(__name__)

Stored = TypeVar("Stored")
Answer = TypeVar("Answer")

_POLL = 0.05


class TokenLease(ABC, Generic[Stored, Answer]):
    """A source of access tokens, whatever keeps them.

    ``Stored`` is what is kept, as one look shows it; ``Answer`` is what a refresh token gives.
    """

    patience: float
    """Seconds to wait for a token that another process fetches."""
    pause: Callable[[float], None]
    """Waits the given seconds."""
    _token = ""
    _good_until = 0.0

    def get(self) -> str:
        """The token to send now; raises what looking, asking and storing raise."""
        if time.monotonic() < self._good_until:
            return self._token
        return self._obtain(refused="")

    def renew(self, refused: str) -> str:
        """Another token than the one that was just refused; raises as ``get`` does."""
        self._good_until = 0.0
        return self._obtain(refused=refused)

    def _obtain(self, *, refused: str) -> str:
        until = time.monotonic() + self.patience
        while True:
            stored = self._read()
            token, fresh_for = self._token_in(stored)
            token = "" if token == refused else token
            if token and fresh_for > 0:
                self._token, self._good_until = token, time.monotonic() + fresh_for
                return token
            if self._lease(stored):
                token = self._refresh_or_keep(stored, token)
            if token:
                return token
            if time.monotonic() > until:
                raise self._out_of_patience()
            self.pause(_POLL)

    def _refresh_or_keep(self, stored: Stored, token: str) -> str:
        """A new token; the one that is still good where none can be had now."""
        try:
            return self._refresh(stored)
        except HubSpotRevokedError:
            raise
        except HubSpotError as error:
            if not token:
                raise
            log.warning("hubspot token not refreshed yet", reason=error.message)
            return token

    def _refresh(self, stored: Stored) -> str:
        """Ask, in no transaction; a new token, or none if somebody stored another first."""
        answer = self._ask(stored)
        return self._store(stored, answer) if answer else ""

    @abstractmethod
    def _read(self) -> Stored:
        """Look at what is stored."""

    @abstractmethod
    def _token_in(self, stored: Stored) -> tuple[str, float]:
        """The token, none once it has ended, and for how many seconds it needs no refresh."""

    @abstractmethod
    def _lease(self, stored: Stored) -> bool:
        """Whether this process is now the one to refresh what it has read, for a while."""

    @abstractmethod
    def _ask(self, stored: Stored) -> Answer | None:
        """Ask for new tokens, noting a failure; None if what was read is no longer stored."""

    @abstractmethod
    def _store(self, stored: Stored, answer: Answer) -> str:
        """Store the new tokens; the access token, or none if what was read has changed."""

    @abstractmethod
    def _out_of_patience(self) -> CRMError:
        """What to raise when another process takes too long."""
