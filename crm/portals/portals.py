"""Find the HubSpot account that an organization's rows belong to, and connect to it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

import structlog
from flask import current_app
from sqlalchemy import case, column, func, select, table, update

from crm.config import Settings
from crm.db import db, transaction
from crm.errors import ConfigError, CRMError
from crm.hubspot.account import get_details
from crm.hubspot.client import HubSpotClient, Timeouts
from crm.hubspot.errors import (
    HubSpotConflictError,
    HubSpotNotFoundError,
    HubSpotRefusedError,
    HubSpotScopeError,
    HubSpotUnavailableError,
)
from crm.hubspot.properties import ensure_unique_property
from crm.jobs import back_off
from crm.models import Organization, Portal
from crm.object_types import CRM_UID, OBJECT_TYPES
from crm.portals.oauth_tokens import OAuthTokens
from crm.portals.rate_bookings import Lane
from crm.portals.rate_budget import BACKFILL, PERSON, SCAN, SYNC, PortalBudget, budget_for

log = structlog.get_logger(__name__)

DEFAULT_ORGANIZATION = "Default"
"""Made by the migrations; people who register belong to it, and the settings' token is its own."""


CONNECTED_BY_A_PERSON = Portal.refresh_token.is_not(None) & Portal.seed_digest.is_(None)
"""Of a portal's row: its tokens did not begin with a setting."""
OF_DEFAULT_ORGANIZATION = Portal.organization_id == (
    select(Organization.id).where(Organization.name == DEFAULT_ORGANIZATION).scalar_subquery()
)
"""Of a portal's row: it is the one whose credentials the settings may hold."""

_IN_PAUSE = Portal.push_retry_at > func.now()
_ZONES = table("pg_timezone_names", column("name"))
# A job sits through pauses of a second. After longer ones it comes back, and keeps no worker.
_FOR_A_JOB = Timeouts(patience=35)
_FOR_A_PERSON = Timeouts(connect=1, read=2, patience=4)


@dataclass(frozen=True)
class PushPause:
    """Since when and why sending to a portal is interrupted."""

    until: datetime
    reason: str


class NoPortalError(HubSpotUnavailableError):
    """No HubSpot portal is connected."""


def get_default_portal_id() -> int:
    """The portal of the default organization."""
    return db.session.execute(
        select(Portal.id)
        .join(Organization, Organization.id == Portal.organization_id)
        .where(Organization.name == DEFAULT_ORGANIZATION)
    ).scalar_one()


def list_connected_portal_ids() -> list[int]:
    """The portals that we hold credentials for, in force or not."""
    by_settings = [get_default_portal_id()] if get_settings().has_portal else []
    by_people = db.session.scalars(
        select(Portal.id)
        .where(CONNECTED_BY_A_PERSON, Portal.id.not_in(by_settings))
        .order_by(Portal.id)
    )
    return [*by_settings, *by_people]


def is_connected_by_settings(portal_id: int) -> bool:
    """Whether the settings hold a portal's token, which comes before what a person connected."""
    return get_settings().has_portal and portal_id == get_default_portal_id()


def connect(portal_id: int, *, someone_waits: bool = False, lane: Lane = SYNC) -> HubSpotClient:
    """A client for a portal.

    Args:
        portal_id: whose.
        someone_waits: give up sooner and go first, because a person waits for the answer.
        lane: of the calls for which nobody waits.

    Raises:
        NoPortalError: no credentials are configured for this portal.
        HubSpotAuthError: the configured token is mangled, or there is no key to store tokens with.
    """
    with transaction():  # So that none is open while HubSpot is being called.
        by_settings = is_connected_by_settings(portal_id)
        is_connected = by_settings or portal_id in list_connected_portal_ids()
    if not is_connected:
        raise NoPortalError(
            "No HubSpot portal is connected; set HUBSPOT_PRIVATE_APP_TOKEN or "
            "HUBSPOT_REFRESH_TOKEN, or let an administrator connect it"
        )
    settings = get_settings()
    if not by_settings:
        # They name credentials of another portal.
        settings = replace(settings, hubspot_private_app_token="", hubspot_refresh_token="")
    timeouts = _FOR_A_PERSON if someone_waits else _FOR_A_JOB
    return HubSpotClient(
        base_url=settings.hubspot_api_url,
        token=settings.hubspot_private_app_token
        or OAuthTokens(portal_id, settings, patience=timeouts.read),
        version=settings.hubspot_api_version,
        timeouts=timeouts,
        budget=budget_for(portal_id, PERSON if someone_waits else lane),
    )


def connect_with(
    token: str, hub_id: int | None = None, *, pause: Callable[[float], None] = time.sleep
) -> HubSpotClient:
    """A client with somebody's own token, within the budget of the portal that it opens.

    All tokens of a portal share its budget; with the mirror, where the portal is the mirror's.

    Args:
        token: that opens the portal.
        hub_id: of the portal; None to ask HubSpot which it is, for which no budget is known.
        pause: waits the given seconds.

    Raises:
        HubSpotAuthError: the token is mangled.
    """
    settings = get_settings()
    return HubSpotClient(
        base_url=settings.hubspot_api_url,
        token=token,
        version=settings.hubspot_api_version,
        timeouts=_FOR_A_JOB,
        pause=pause,
        budget=None if hub_id is None else replace(_budget_of(hub_id), pause=pause),
    )


def _budget_of(hub_id: int) -> PortalBudget:
    with transaction() as session:
        mirrored = session.scalar(select(Portal.id).where(Portal.hub_id == hub_id))
    return budget_for(-hub_id, SCAN) if mirrored is None else budget_for(mirrored, BACKFILL)


def set_up(client: HubSpotClient, portal_id: int) -> None:
    """Make sure that the token is this portal's, and that the portal has what push needs.

    Types that it cannot be made ready for are blocked; see ``find_blocked``.

    Raises:
        ConfigError: the token belongs to another portal than the mirror.
        HubSpotError: HubSpot cannot be reached or refuses.
    """
    account = get_details(client)
    hub_id = account.hub_id
    with transaction() as session:
        known = session.scalar(select(Portal.hub_id).where(Portal.id == portal_id))
    if known not in (None, hub_id):
        raise ConfigError(
            f"The HubSpot token belongs to portal {hub_id}, but this mirror to portal {known}; "
            "configure a token of that portal, or start with an empty database"
        )
    blocked: dict[str, str] = {}
    for object_type in OBJECT_TYPES.values():
        with noting_blocks(blocked, object_type.name):
            if object_type.id_property == CRM_UID:
                ensure_crm_uid(client, object_type.name)
    with transaction() as session:
        session.execute(
            update(Portal)
            .where(Portal.id == portal_id)
            .values(
                hub_id=hub_id,
                set_up_at=func.now(),
                blocked={},
                # Its day and quota begin there; one that Postgres does not know would break them.
                time_zone=select(func.coalesce(func.max(_ZONES.c.name), Portal.time_zone))
                .where(_ZONES.c.name == str(account.time_zone))
                .scalar_subquery(),
            )
        )
    log.info("portal set up", hub_id=hub_id)
    if blocked:
        note_blocked(portal_id, blocked)


def ensure_set_up(client: HubSpotClient, portal_id: int) -> None:
    """Set a portal up that was not yet, or of which it is time to see what is still blocked.

    Raises what ``set_up`` does.
    """
    is_ready = Portal.set_up_at.is_not(None) & ((Portal.blocked == {}) | _IN_PAUSE)
    with transaction() as session:
        is_to_be_left = session.scalar(select(is_ready).where(Portal.id == portal_id))
    if not is_to_be_left:
        set_up(client, portal_id)


def ensure_crm_uid(client: HubSpotClient, object_type: str) -> bool:
    """Make the property by which records without a natural key are upserted.

    Returns:
        Whether it had to be made.

    Raises:
        ConfigError: the portal has one that is not unique, or refuses to have one; this is about
            the portal, so it must not look like HubSpot's opinion of a record.
        HubSpotError: HubSpot cannot be reached or refuses the token.
    """
    try:
        return ensure_unique_property(
            client,
            OBJECT_TYPES[object_type],
            CRM_UID,
            label="CRM middleware id",
            description="Tells the CRM middleware its own records again. Please do not edit.",
        )
    except (HubSpotConflictError, HubSpotNotFoundError, HubSpotRefusedError) as error:
        raise ConfigError(error.message) from error


def is_set_up(portal_id: int) -> bool:
    """Whether ``set_up`` has succeeded for this portal."""
    with transaction() as session:
        statement = select(Portal.set_up_at.is_not(None)).where(Portal.id == portal_id)
        return bool(session.scalar(statement))


def forget_set_up(portal_id: int) -> None:
    """Have the next push verify and set up the portal again, and try what was blocked."""
    is_blocked = Portal.blocked != {}
    retry_at = case((is_blocked, None), else_=Portal.push_retry_at)
    with transaction() as session:
        session.execute(
            update(Portal)
            .where(Portal.id == portal_id)
            .values(set_up_at=None, blocked={}, push_retry_at=retry_at)
        )


def find_push_pause(portal_id: int) -> PushPause | None:
    """The back-off that sending to this portal is in, or None."""
    statement = select(Portal.push_retry_at, Portal.push_error).where(
        Portal.id == portal_id, _IN_PAUSE, Portal.blocked == {}
    )
    with transaction() as session:
        row = session.execute(statement).one_or_none()
    return PushPause(until=row.push_retry_at, reason=row.push_error) if row else None


def find_blocked(portal_id: int) -> Mapping[str, str]:
    """What HubSpot does not let us write for now, with its reasons; see ``Portal.blocked``."""
    statement = select(Portal.blocked).where(Portal.id == portal_id, _IN_PAUSE)
    with transaction() as session:
        return session.scalar(statement) or {}


def list_blocked() -> dict[int, Mapping[str, str]]:
    """What is blocked of connected portals, by their ids, also what is about to be tried again."""
    statement = select(Portal.id, Portal.blocked).where(Portal.blocked != {})
    with transaction() as session:
        found = {row.id: row.blocked for row in session.execute(statement)}
    return {each: found[each] for each in list_connected_portal_ids() if each in found}


def list_to_unblock() -> set[int]:
    """The portals of which it is time to see what is still blocked."""
    statement = select(Portal.id).where(Portal.blocked != {}, ~func.coalesce(_IN_PAUSE, False))
    with transaction() as session:
        return set(session.scalars(statement))


def refuse_blocked(portal_id: int, name: str) -> None:
    """Refuse to ask HubSpot for what it does not let us write.

    Raises:
        HubSpotScopeError: it is blocked, with HubSpot's reason.
    """
    if reason := find_blocked(portal_id).get(name):
        error = HubSpotScopeError(reason)
        error.met = "403"  # As it was then.
        raise error


@contextmanager
def noting_blocks(blocked: dict[str, str], name: str) -> Iterator[None]:
    """Within it, what is about this type alone is noted instead of raised."""
    try:
        yield
    except (HubSpotScopeError, ConfigError) as error:
        scopes = " or ".join(error.scopes) if isinstance(error, HubSpotScopeError) else ""
        blocked[name] = f"{error.message} Missing: {scopes}" if scopes else error.message
        log.warning("not allowed by hubspot", blocked=name, reason=blocked[name])


def note_blocked(portal_id: int, blocked: Mapping[str, str]) -> None:
    """Leave these alone until it is time to try again."""
    reasons = "; ".join(dict.fromkeys(blocked.values()))
    with transaction():
        note_push_failure(portal_id, CRMError(reasons), blocked)


def note_push_failure(
    portal_id: int, error: CRMError, blocked: Mapping[str, str] = MappingProxyType({})
) -> datetime:
    """Count a failure of the portal; returns when to try again.

    To be called within a transaction.

    Args:
        portal_id: of the portal.
        error: what failed.
        blocked: what alone is to pause; nothing for the portal as a whole.
    """
    failures = db.session.scalar(
        update(Portal)
        .where(Portal.id == portal_id)
        .values(
            push_failures=Portal.push_failures + 1, push_error=error.message, blocked=dict(blocked)
        )
        .returning(Portal.push_failures)
    )
    pause = back_off(failures or 0, getattr(error, "retry_after", None))
    retry_at: datetime = db.session.execute(
        update(Portal)
        .where(Portal.id == portal_id)
        .values(push_retry_at=func.now() + pause)
        .returning(Portal.push_retry_at)
    ).scalar_one()  # type: ignore[assignment] # it was just set
    log.warning("push paused", reason=error.message, failures=failures, until=retry_at.isoformat())
    return retry_at


def note_push_success(portal_id: int) -> None:
    """Forget earlier failures."""
    with transaction() as session:
        session.execute(
            update(Portal)
            .where(Portal.id == portal_id, Portal.push_failures > 0)
            .values(push_failures=0, push_retry_at=None, push_error=None)
        )


def get_settings() -> Settings:
    """The settings of the running service."""
    settings: Settings = current_app.extensions["crm_settings"]
    return settings
