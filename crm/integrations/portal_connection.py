"""Keep a portal that a person connected, its tokens encrypted, and mirror it from then on."""

from dataclasses import dataclass

import structlog
from cryptography.fernet import InvalidToken
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from crm.db import transaction
from crm.errors import ConflictError
from crm.hubspot.errors import HubSpotError
from crm.hubspot.oauth import Grant
from crm.integrations.providers.provider import Provider, Tokens
from crm.models import Portal
from crm.portals import portals
from crm.portals.oauth_tokens import columns_of, make_vault
from crm.pull import runner
from crm.queue import enqueue_once

log = structlog.get_logger(__name__)

WHAT_STAYS = (
    "What was mirrored stays, with its history, and so do changes that HubSpot has not got yet; "
    "they are sent once the portal is connected again"
)


@dataclass(frozen=True)
class ConnectedPortal:
    """The portal of an organization that is kept connected."""

    hub_id: int | None
    """HubSpot's id of it; None where it was not told yet."""
    problem: str | None
    """Why HubSpot gives no tokens any more, and what to do."""
    by_settings: bool

    @property
    def account(self) -> str:
        """Which it is, for people to read."""
        return f"portal {self.hub_id}" if self.hub_id else "a portal"


def find_connected(portal_id: int) -> ConnectedPortal | None:
    """The portal if it is kept connected, be it by a person or by the settings."""
    # One statement: the console's pages ask for it more than once.
    with transaction() as session:
        hub_id, problem, by_person, is_default = session.execute(
            select(
                Portal.hub_id,
                Portal.disabled_reason,
                portals.CONNECTED_BY_A_PERSON,
                portals.OF_DEFAULT_ORGANIZATION,
            ).where(Portal.id == portal_id)
        ).one()
    by_settings = is_default and portals.get_settings().has_portal
    return ConnectedPortal(hub_id, problem, by_settings) if by_settings or by_person else None


def refuse_second_way(portal_id: int) -> None:
    """See to it that a portal has one way of being connected.

    Raises:
        ConflictError: the settings hold its token.
    """
    with transaction():
        by_settings = portals.is_connected_by_settings(portal_id)
    if by_settings:
        raise ConflictError(
            "HubSpot stays connected by the settings HUBSPOT_PRIVATE_APP_TOKEN or "
            "HUBSPOT_REFRESH_TOKEN; what they hold is changed there"
        )


def connect_portal(portal_id: int, tokens: Tokens) -> None:
    """Keep a portal connected, and begin to mirror it.

    Raises:
        ConflictError: the mirror belongs to another portal, or this one to another organization;
            or the settings hold a token.
    """
    refuse_second_way(portal_id)
    hub_id = int(tokens.account_id)
    grant = Grant(tokens.access_token, tokens.refresh_token, tokens.expires_in or 0)
    columns = columns_of(make_vault(portals.get_settings()), grant)
    try:
        with transaction() as session:
            mirrored = session.scalar(
                select(Portal.hub_id).where(Portal.id == portal_id).with_for_update()
            )
            if mirrored not in (None, hub_id):
                raise ConflictError(
                    f"This mirror belongs to portal {mirrored}, and you chose portal {hub_id}; "
                    "choose that one, or have another organization made for this one"
                )
            session.execute(
                update(Portal)
                .where(Portal.id == portal_id)
                .values(
                    hub_id=hub_id,
                    seed_digest=None,
                    set_up_at=None,
                    push_failures=0,
                    push_retry_at=None,
                    push_error=None,
                    blocked={},
                    **columns,
                )
            )
            enqueue_once("push", portal_id)
    except IntegrityError as error:
        raise ConflictError(f"Another organization mirrors portal {hub_id} already") from error
    log.info("portal connected", portal_id=portal_id, hub_id=hub_id)
    runner.begin_for_new_portal(portal_id)


def disconnect_portal(portal_id: int, provider: Provider) -> bool:
    """Mirror the portal no longer; returns whether HubSpot knows.

    Raises:
        ConflictError: the settings hold its token.
    """
    refuse_second_way(portal_id)
    with transaction() as session:
        stored = session.scalar(
            select(Portal.refresh_token).where(Portal.id == portal_id).with_for_update()
        )
        session.execute(
            update(Portal)
            .where(Portal.id == portal_id)
            .values(
                refresh_token=None,
                access_token=None,
                access_expires_at=None,
                refresh_leased_until=None,
                disabled_reason=None,
                set_up_at=None,
            )
        )
    log.info("portal disconnected", portal_id=portal_id)
    refresh_token = _decrypt(stored) if stored else ""
    if not refresh_token:
        return False
    try:
        return provider.revoke("", refresh_token)
    except HubSpotError as error:
        log.warning("grant not revoked", reason=error.message)
        return False


def uses_grant(refresh_token: str) -> bool:
    """Whether any portal is kept connected by this very grant, which must not be revoked then."""
    if refresh_token == portals.get_settings().hubspot_refresh_token:
        return True  # Not in a row before its first use.
    with transaction() as session:
        stored = session.scalars(
            select(Portal.refresh_token).where(Portal.refresh_token.is_not(None))
        ).all()
    return any(_decrypt(each) == refresh_token for each in stored if each)


def _decrypt(secret: bytes) -> str:
    try:
        return make_vault(portals.get_settings()).decrypt(secret).decode()
    except InvalidToken:
        return ""  # Its key is gone, and with it the grant, as far as we are concerned.
