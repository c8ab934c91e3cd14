"""Connections: the tokens of a person at a provider, encrypted, until they end by themselves.

They are refreshed under the token lease, since a refresh token may count once. What the provider
gave to a process that died is lost, and the person connects again.
"""

import math
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
from crm.portals.token_lease import TokenLease

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

LIFE = timedelta(hours=12)
"""Of a connection: a working day."""
PREFIX = "connection:"

_MARGIN = 60.0
"""Seconds before its end from which on an access token is not used any more."""
_LEASE = LONGEST_CALL + 5


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
        self.store.put(self.key_of(provider), self.encrypt(made), seconds)
        return made

    def find(self, provider: Provider) -> Connection | None:
        """The connection, or None; one that no key decrypts is none."""
        return self._open(self.store.find(self.key_of(provider)))

    def forget(self, provider: Provider) -> Connection | None:
        """End it here; returns what it was."""
        return self._open(self.store.take(self.key_of(provider)))

    def use(self, provider: Provider, action: Callable[[str], Result]) -> Result:
        """Do something with an access token that is good; with another if it is refused.

        Raises:
            NotConnectedError: there is no connection.
            ProviderError, HubSpotError: of the action; or the connection has ended.
        """
        source = _Refreshed(self, provider, self.pause)
        token = source.get()
        try:
            return action(token)
        except REFUSED as error:
            log.info("access token refused", provider=provider.name, reason=error.message)
            return action(source.renew(token))

    def key_of(self, provider: Provider) -> str:
        """Where it is in the store."""
        return f"{PREFIX}{provider.name}:{self.user_id}"

    def encrypt(self, connection: Connection) -> bytes:
        """A connection as it is stored."""
        return self.vault.encrypt(orjson.dumps(asdict(connection)))

    def _open(self, secret: bytes | None) -> Connection | None:
        if secret is None:
            return None
        try:
            return Connection(**orjson.loads(self.vault.decrypt(secret)))
        except InvalidToken:
            log.warning("a connection cannot be decrypted; its key is not in ENCRYPTION_KEYS")
            return None


@dataclass
class _Refreshed(TokenLease[Connection, Tokens]):
    """The access tokens of one connection, backed by the store; the lease has a key of its own."""

    connections: Connections
    provider: Provider
    pause: Callable[[float], None]
    patience = _LEASE

    @property
    def _key(self) -> str:
        return f"refresh:{self.connections.key_of(self.provider)}"

    def _read(self) -> Connection:
        connection = self.connections.find(self.provider)
        if connection is None:
            raise NotConnectedError(f"{self.provider.label} is not connected; connect it first")
        return connection

    def _token_in(self, stored: Connection) -> tuple[str, float]:
        good_until = math.inf if stored.good_until is None else stored.good_until
        fresh_for = good_until - _MARGIN - time.time()
        return stored.access_token if fresh_for > 0 else "", fresh_for

    def _lease(self, stored: Connection) -> bool:
        return self.connections.store.claim(self._key, _LEASE)

    def _refresh(self, stored: Connection) -> str:
        try:
            return super()._refresh(stored)
        finally:
            self.connections.store.forget(self._key)

    def _ask(self, stored: Connection) -> Tokens | None:
        # Somebody may have stored another between the look and the lease.
        if self._read() != stored:
            return None
        try:
            if not stored.refresh_token:
                raise ProviderRevokedError(f"{self.provider.label} has ended the connection")
            return self.provider.refresh(stored.refresh_token)
        except REVOKED as error:
            self.connections.forget(self.provider)
            log.info("connection has ended", provider=self.provider.name, reason=error.message)
            raise

    def _store(self, stored: Connection, answer: Tokens) -> str:
        fresh = _with_tokens(stored, answer)
        key, secret = self.connections.key_of(self.provider), self.connections.encrypt(fresh)
        # Not at all if the person has disconnected meanwhile. Only the holder of the lease changes
        # the tokens, and that their encryption was rotated is no reason to lose the new ones.
        if not self.connections.store.replace(key, secret):
            revoke(self.provider, fresh)
            raise NotConnectedError(f"{self.provider.label} is not connected any more")
        return fresh.access_token

    def _out_of_patience(self) -> ProviderUnavailableError:
        return ProviderUnavailableError(f"Another process still waits for {self.provider.label}")


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
