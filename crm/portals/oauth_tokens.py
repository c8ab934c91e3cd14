"""OAuth tokens: a portal's, stored encrypted in its row and refreshed under the token lease.

The clock is the database's. Encrypting the same twice gives two texts, so the stored refresh token
also tells whether somebody stored another answer meanwhile.
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
from crm.portals.token_lease import TokenLease

log = structlog.get_logger(__name__)

MARGIN = 300.0
"""Seconds before its end from which on a token is refreshed, while it is still good."""
LEASE = timedelta(seconds=30)
"""Longer than asking for a token can take."""

_PAUSE_AFTER_FAILURE = timedelta(seconds=1)


@dataclass(frozen=True)
class _Stored:
    """What the portal's row says; ``seconds_left`` of the access token, by the database's clock."""

    seed_digest: bytes | None
    refresh_token: bytes | None = field(repr=False)
    access_token: bytes | None = field(repr=False)
    seconds_left: float
    disabled_reason: str | None


@dataclass
class OAuthTokens(TokenLease[_Stored, Grant]):
    """A source of access tokens for a client, backed by the portal's row.

    Its tokens raise ``HubSpotRevokedError`` when HubSpot gives none any more and the portal is
    disabled, ``HubSpotAuthError`` when our app or our keys are refused, and
    ``HubSpotUnavailableError`` when HubSpot, or the process that asks it, does not answer.

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

    def __post_init__(self) -> None:
        """Make what the settings describe."""
        self.app = make_app(self.settings)
        self._vault = make_vault(self.settings)

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
                .values(seed_digest=digest, **columns_of(self._vault, Grant("", seed, 0)))
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

    def _token_in(self, stored: _Stored) -> tuple[str, float]:
        if stored.disabled_reason:
            raise HubSpotRevokedError(stored.disabled_reason)
        token = self._decrypt(stored.access_token) if stored.seconds_left > 0 else ""
        return token, stored.seconds_left - MARGIN

    def _lease(self, stored: _Stored) -> bool:
        return self._write(
            stored,
            or_(Portal.refresh_leased_until.is_(None), Portal.refresh_leased_until < func.now()),
            refresh_leased_until=func.now() + LEASE,
        )

    def _ask(self, stored: _Stored) -> Grant | None:
        try:
            return self.app.refresh(self._decrypt(stored.refresh_token))
        except HubSpotRevokedError as error:
            advice = " and set HUBSPOT_REFRESH_TOKEN" if self.settings.hubspot_refresh_token else ""
            reason = f"{error.message}; connect the portal again{advice}"
            if not self._write(stored, refresh_leased_until=None, disabled_reason=reason):
                return None
            log.error("hubspot portal disabled", portal_id=self.portal_id, reason=reason)
            raise HubSpotRevokedError(reason, correlation_id=error.correlation_id) from error
        except (HubSpotAuthError, HubSpotUnavailableError):
            # Not all who wait shall ask at once.
            self._write(stored, refresh_leased_until=func.now() + _PAUSE_AFTER_FAILURE)
            raise

    def _store(self, stored: _Stored, answer: Grant) -> str:
        is_stored = self._write(stored, **columns_of(self._vault, answer))
        log.info("hubspot token refreshed", portal_id=self.portal_id, is_stored=is_stored)
        return answer.access_token if is_stored else ""

    def _out_of_patience(self) -> HubSpotUnavailableError:
        return HubSpotUnavailableError("Another process still waits for a HubSpot token")

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


def columns_of(vault: MultiFernet, grant: Grant) -> dict[str, Any]:
    """What a portal's row holds once a grant is stored, whose access token may be none yet."""
    has_access = bool(grant.access_token)
    return {
        "refresh_token": vault.encrypt(grant.refresh_token.encode()),
        "access_token": vault.encrypt(grant.access_token.encode()) if has_access else None,
        "access_expires_at": func.now() + timedelta(seconds=grant.expires_in)
        if has_access
        else None,
        "refresh_leased_until": None,
        "disabled_reason": None,
    }


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
