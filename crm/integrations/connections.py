"""Connections: the tokens of a person at a provider, encrypted, until they end by themselves.

Of all processes one asks for new tokens, since a refresh token may count once; the others wait for
what it stores. A lease ends by itself, so a crash heals; what the provider gave to a process that
died is lost, and the person connects again.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import orjson
import structlog
from cryptography.fernet import InvalidToken, MultiFernet

from crm.errors import ConflictError
from crm.hubspot.errors import HubSpotError
from crm.integrations import portal_connection
from crm.integrations.providers.api_calls import LONGEST_CALL
from crm.integrations.providers.errors import (
    REFUSED,
    REVOKED,
    ProviderError,
    ProviderRevokedError,
    ProviderUnavailableError,
)
from crm.integrations.providers.hubspot import HubSpot
from crm.integrations.providers.provider import Provider, Tokens
from crm.integrations.store import Store

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

LIFE = timedelta(hours=12)
"""Of a connection: a working day."""
PREFIX = "connection:"

_MARGIN = 60.0
"""Seconds before its end from which on an access token is not used any more."""
_LEASE = LONGEST_CALL + 5
_POLL = 0.05


class NotConnectedError(ConflictError):
    """This integration is not connected; connect it first."""


@dataclass(frozen=True)
class Connection:
    """A person's account at a provider; times in seconds since 1970."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    good_until: float | None
    """Of the access token; None where the provider does not tell."""
    account: str
    account_id: str
    until: float

    @property
    def ends_at(self) -> datetime:
        """When we forget it."""
        return datetime.fromtimestamp(self.until, UTC)


@dataclass(frozen=True)
class Connections:
    """The connections of one person.

    Args:
        store: where they are.
        vault: encrypts them.
        user_id: the person's.
        pause: waits the given seconds.
    """

    store: Store
    vault: MultiFernet
    user_id: int
    pause: Callable[[float], None] = time.sleep

    def keep(self, provider: Provider, tokens: Tokens) -> Connection:
        """Begin a connection, in place of an earlier one."""
        seconds = LIFE.total_seconds()
        until = time.time() + seconds
        made = _with_tokens(
            Connection("", "", None, tokens.account, tokens.account_id, until), tokens
        )
        self.store.put(self._key(provider), self._lock(made), seconds)
        return made

    def find(self, provider: Provider) -> Connection | None:
        """The connection, or None; one that no key decrypts is none."""
        return self._open(self.store.find(self._key(provider)))

    def forget(self, provider: Provider) -> Connection | None:
        """End it here; returns what it was."""
        return self._open(self.store.take(self._key(provider)))

    def use(self, provider: Provider, action: Callable[[str], Result]) -> Result:
        """Do something with an access token that is good; with another if it is refused.

        Raises:
            NotConnectedError: there is no connection.
            ProviderError, HubSpotError: of the action; or the connection has ended.
        """
        connection = self._find(provider)
        if connection.good_until is not None and connection.good_until < time.time() + _MARGIN:
            connection = self._refresh(provider, connection)
        try:
            return action(connection.access_token)
        except REFUSED as error:
            log.info("access token refused", provider=provider.name, reason=error.message)
            return action(self._refresh(provider, connection).access_token)

    def _find(self, provider: Provider) -> Connection:
        connection = self.find(provider)
        if connection is None:
            raise NotConnectedError(f"{provider.label} is not connected; connect it first")
        return connection

    def _refresh(self, provider: Provider, stale: Connection) -> Connection:
        """Another access token than the stale one, from the provider or from another process."""
        lease = f"refresh:{self._key(provider)}"
        until = time.monotonic() + _LEASE
        while time.monotonic() < until:
            connection = self._find(provider)
            if connection.access_token != stale.access_token:
                return connection
            if self.store.claim(lease, _LEASE):
                try:
                    return self._ask(provider, stale)
                finally:
                    self.store.forget(lease)
            self.pause(_POLL)
        raise ProviderUnavailableError(f"Another process still waits for {provider.label}")

    def _ask(self, provider: Provider, stale: Connection) -> Connection:
        # Somebody may have stored another between the look and the lease.
        connection = self._find(provider)
        if connection.access_token != stale.access_token:
            return connection
        try:
            if not connection.refresh_token:
                raise ProviderRevokedError(f"{provider.label} has ended the connection")
            tokens = provider.refresh(connection.refresh_token)
        except REVOKED as error:
            self.store.forget(self._key(provider))
            log.info("connection has ended", provider=provider.name, reason=error.message)
            raise
        fresh = _with_tokens(connection, tokens)
        # Stored before use; and not at all if the person has disconnected meanwhile.
        if not self.store.replace(self._key(provider), self._lock(fresh)):
            revoke(provider, fresh)
            raise NotConnectedError(f"{provider.label} is not connected any more")
        return fresh

    def _key(self, provider: Provider) -> str:
        return f"{PREFIX}{provider.name}:{self.user_id}"

    def _lock(self, connection: Connection) -> bytes:
        return self.vault.encrypt(orjson.dumps(asdict(connection)))

    def _open(self, secret: bytes | None) -> Connection | None:
        if secret is None:
            return None
        try:
            return Connection(**orjson.loads(self.vault.decrypt(secret)))
        except InvalidToken:
            log.warning("a connection cannot be decrypted; its key is not in ENCRYPTION_KEYS")
            return None


def revoke(provider: Provider, connection: Connection) -> bool:
    """End the grant at the provider; False where that cannot be done, or not now.

    HubSpot may have given the same grant to a portal that stays connected: then it goes on.
    """
    if isinstance(provider, HubSpot) and portal_connection.uses_grant(connection.refresh_token):
        return True
    try:
        return provider.revoke(connection.access_token, connection.refresh_token)
    except (ProviderError, HubSpotError) as error:
        log.warning("grant not revoked", provider=provider.name, reason=error.message)
        return False


def _with_tokens(connection: Connection, tokens: Tokens) -> Connection:
    return replace(
        connection,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token or connection.refresh_token,
        good_until=None if tokens.expires_in is None else time.time() + tokens.expires_in,
    )
