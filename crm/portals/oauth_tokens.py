"""Credentials: a portal's OAuth tokens, stored encrypted, refreshed by one process at a time.

Of all processes on all machines, one takes a lease and asks HubSpot; the others go on with the
token that is still good, or wait for what it stores. A lease ends by itself, so a crash heals.
Every answer is stored before it is used. Encrypting the same twice gives two texts, so the
stored refresh token also tells whether somebody stored another answer meanwhile.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import Float, cast, func, or_, select, update

from crm.config import NEW_SECRET, Settings
from crm.db import transaction
from crm.hubspot.errors import HubSpotAuthError, HubSpotRevokedError, HubSpotUnavailableError
from crm.hubspot.oauth import Grant, OAuthApp
from crm.models import Portal

log = structlog.get_logger(__name__)

MARGIN = 300.0
"""Seconds before its end from which on a token is refreshed, while it is still good."""
LEASE = timedelta(seconds=30)
"""Longer than asking for a token can take."""

_PAUSE_AFTER_FAILURE = timedelta(seconds=1)
_POLL = 0.05


@dataclass(frozen=True)
class _Stored:
    """What the portal's row says; ``seconds_left`` of the access token, by the database's clock."""

    seed_digest: bytes | None
    refresh_token: bytes | None = field(repr=False)
    access_token: bytes | None = field(repr=False)
    seconds_left: float
    disabled_reason: str | None


@dataclass
class OAuthTokens:
    """A source of access tokens for a client, backed by the portal's row.

    Args:
        portal_id: whose.
        settings: the app, the keys, and the refresh token to begin with; none where a person
            connected the portal, and it is in the row already.
        patience: seconds to wait for a token that another process fetches.
        pause: waits the given seconds.

    Raises:
        HubSpotAuthError: there is no key to store tokens with.
    """

    portal_id: int
    settings: Settings = field(repr=False)
    patience: float
    pause: Callable[[float], None] = time.sleep
    _token: str = field(default="", repr=False)
    _good_until: float = 0.0

    def __post_init__(self) -> None:
        """Make what the settings describe."""
        self.app = make_app(self.settings)
        self._vault = make_vault(self.settings)

    def get(self) -> str:
        """The token to send now.

        Raises:
            HubSpotRevokedError: HubSpot gives none any more; the portal is disabled.
            HubSpotAuthError: our app or our keys are refused.
            HubSpotUnavailableError: HubSpot, or the process that asks it, does not answer.
        """
        if time.monotonic() < self._good_until:
            return self._token
        return self._obtain(refused="")

    def renew(self, refused: str) -> str:
        """Another token than the one that HubSpot just refused; raises as ``get`` does."""
        self._good_until = 0.0
        return self._obtain(refused=refused)

    def _obtain(self, *, refused: str) -> str:
        until = time.monotonic() + self.patience
        while True:
            stored = self._read()
            if stored.disabled_reason:
                raise HubSpotRevokedError(stored.disabled_reason)
            token = self._decrypt(stored.access_token) if stored.seconds_left > 0 else ""
            token = "" if token == refused else token
            if token and stored.seconds_left > MARGIN:
                self._token = token
                self._good_until = time.monotonic() + stored.seconds_left - MARGIN
                return token
            if self._lease(stored):
                token = self._refresh_or_keep(stored, token)
            if token:
                return token
            if time.monotonic() > until:
                raise HubSpotUnavailableError("Another process still waits for a HubSpot token")
            self.pause(_POLL)

    def _refresh_or_keep(self, stored: _Stored, token: str) -> str:
        """A new token; the one that is still good where none can be had now."""
        try:
            return self._refresh(stored)
        except HubSpotRevokedError:
            raise
        except (HubSpotAuthError, HubSpotUnavailableError) as error:
            if not token:
                raise
            log.warning("hubspot token not refreshed yet", reason=error.message)
            return token

    def _read(self) -> _Stored:
        """Read the row; a refresh token in the settings that is new to it takes its place first."""
        seed = self.settings.hubspot_refresh_token
        digest = hashlib.sha256(seed.encode()).digest()
        with transaction() as session:
            stored = _Stored(**session.execute(self._selection()).mappings().one())
            if not seed or stored.seed_digest == digest:
                return stored
            session.execute(
                update(Portal)
                .where(Portal.id == self.portal_id, Portal.seed_digest.is_distinct_from(digest))
                .values(
                    seed_digest=digest,
                    refresh_token=self._vault.encrypt(seed.encode()),
                    access_token=None,
                    access_expires_at=None,
                    refresh_leased_until=None,
                    disabled_reason=None,
                )
            )
            return _Stored(**session.execute(self._selection()).mappings().one())

    def _selection(self) -> Any:
        seconds_left = cast(func.extract("epoch", Portal.access_expires_at - func.now()), Float)
        return select(
            Portal.seed_digest,
            Portal.refresh_token,
            Portal.access_token,
            func.coalesce(seconds_left, 0).label("seconds_left"),
            Portal.disabled_reason,
        ).where(Portal.id == self.portal_id)

    def _lease(self, stored: _Stored) -> bool:
        """Whether this process is now the one to refresh what it has read."""
        return self._write(
            stored,
            or_(Portal.refresh_leased_until.is_(None), Portal.refresh_leased_until < func.now()),
            refresh_leased_until=func.now() + LEASE,
        )

    def _refresh(self, stored: _Stored) -> str:
        """Ask HubSpot, in no transaction; a new token, or none if somebody stored another first."""
        try:
            grant = self.app.refresh(self._decrypt(stored.refresh_token))
        except HubSpotRevokedError as error:
            advice = " and set HUBSPOT_REFRESH_TOKEN" if self.settings.hubspot_refresh_token else ""
            reason = f"{error.message}; connect the portal again{advice}"
            if not self._write(stored, refresh_leased_until=None, disabled_reason=reason):
                return ""
            log.error("hubspot portal disabled", portal_id=self.portal_id, reason=reason)
            raise HubSpotRevokedError(reason, correlation_id=error.correlation_id) from error
        except (HubSpotAuthError, HubSpotUnavailableError):
            # Not all who wait shall ask at once.
            self._write(stored, refresh_leased_until=func.now() + _PAUSE_AFTER_FAILURE)
            raise
        return grant.access_token if self._store(stored, grant) else ""

    def _store(self, stored: _Stored, grant: Grant) -> bool:
        is_stored = self._write(
            stored,
            refresh_token=self._vault.encrypt(grant.refresh_token.encode()),
            access_token=self._vault.encrypt(grant.access_token.encode()),
            access_expires_at=func.now() + timedelta(seconds=grant.expires_in),
            refresh_leased_until=None,
            disabled_reason=None,
        )
        log.info("hubspot token refreshed", portal_id=self.portal_id, is_stored=is_stored)
        return is_stored

    def _write(self, stored: _Stored, *conditions: Any, **values: Any) -> bool:
        """Change the row if it still holds the refresh token that was read; whether it did."""
        statement = (
            update(Portal)
            .where(Portal.id == self.portal_id, Portal.refresh_token == stored.refresh_token)
            .where(*conditions)
            .values(**values)
            .returning(Portal.id)
        )
        with transaction() as session:
            return session.scalar(statement) is not None

    def _decrypt(self, secret: bytes | None) -> str:
        if secret is None:
            return ""
        try:
            return self._vault.decrypt(secret).decode()
        except InvalidToken as error:
            raise HubSpotAuthError(
                "The stored HubSpot tokens cannot be decrypted; put the key that they were stored "
                "under back into ENCRYPTION_KEYS, or connect the portal again"
            ) from error


def make_app(settings: Settings) -> OAuthApp:
    """Our app, as the settings describe it."""
    return OAuthApp(
        base_url=settings.hubspot_api_url,
        version=settings.hubspot_api_version,
        client_id=settings.hubspot_client_id,
        client_secret=settings.hubspot_client_secret,
    )


def make_vault(settings: Settings) -> MultiFernet:
    """What encrypts with the first of the keys, and decrypts with any of them.

    Raises:
        HubSpotAuthError: there is no key.
    """
    if not settings.encryption_keys:
        raise HubSpotAuthError(
            f"ENCRYPTION_KEYS is not set, and OAuth tokens are stored encrypted only; {NEW_SECRET}"
        )
    return MultiFernet([Fernet(key.strip()) for key in settings.encryption_keys.split(",")])
