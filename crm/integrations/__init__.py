"""Connect providers for people by a click, and show what there is to see in them.

A connection belongs to the person who made it and lasts for hours. An administrator may let HubSpot
stay connected instead; then the organization's portal is mirrored in the background.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

import structlog

from crm.accounts.callers import Caller
from crm.cursors import cursor_of, position_of
from crm.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from crm.integrations import consent, portal_connection
from crm.integrations.connections import Connections, NotConnectedError, revoke
from crm.integrations.consent import Begun, Returned
from crm.integrations.providers import PROVIDERS
from crm.integrations.providers.hubspot import HubSpot, list_records
from crm.integrations.providers.provider import ItemPage, Provider
from crm.integrations.store import get_store
from crm.portals import portals
from crm.portals.oauth_tokens import make_vault

log = structlog.get_logger(__name__)

_NOBODY = 0
"""No user's id: whose the connections are that somebody makes by open access."""


@dataclass(frozen=True)
class Integration:
    """A provider, as one person sees it."""

    provider: str
    """Its name in addresses: ``airtable``."""
    name: str
    """As people write it: ``Airtable``."""
    types: tuple[str, ...]
    """What it has items of."""
    is_available: bool
    """Whether the service has an app there, so that it can be connected."""
    can_stay_connected: bool
    """Whether this person may let it stay connected."""
    can_disconnect: bool
    """Whether this person may end what connects it."""
    connected: bool
    account: str | None
    """As whom, for people to read."""
    until: datetime | None
    """When the connection ends by itself; None where it stays."""
    stays_connected: bool
    """Whether it is mirrored in the background, no matter who connected it."""
    problem: str | None
    """Why it is not mirrored although it stays connected, and what to do."""


@dataclass(frozen=True)
class Finished:
    """What became of a consent."""

    name: str
    """The provider, as people write it."""
    account: str
    stays_connected: bool


def list_integrations(caller: Caller) -> list[Integration]:
    """Every provider, and whether it is connected."""
    return [get_integration(caller, name) for name in PROVIDERS]


def get_integration(caller: Caller, name: str) -> Integration:
    """One provider, and whether it is connected.

    Raises:
        NotFoundError: there is no such provider.
    """
    provider = _provider(name)
    connections = _connections(caller)
    held = connections.find(provider) if connections else None
    portal = portal_connection.find_connected(caller.portal_id) if _is_hubspot(provider) else None
    # One that has ended may be connected again; one of the settings is mended there.
    is_free = portal is None or bool(portal.problem and not portal.by_settings)
    return Integration(
        provider=provider.name,
        name=provider.label,
        types=provider.types,
        is_available=_lack_of(provider) is None,
        can_stay_connected=_is_hubspot(provider) and caller.is_admin and is_free,
        can_disconnect=bool(held or (portal and caller.is_admin and not portal.by_settings)),
        connected=bool(held or portal),
        account=held.account if held else portal.account if portal else None,
        until=held.ends_at if held else None,
        stays_connected=portal is not None,
        problem=portal.problem if portal else None,
    )


def begin(
    caller: Caller, sign_in_id: UUID | None, name: str, *, stay_connected: bool = False
) -> Begun:
    """Begin to connect: where to send the browser, and the secret to leave in a cookie of it.

    Args:
        caller: a person.
        sign_in_id: theirs; once it ends, they cannot finish. None by open access.
        name: of the provider.
        stay_connected: mirror the portal in the background; for administrators, and HubSpot only.

    Raises:
        NotFoundError: there is no such provider.
        ConflictError: the service has no app there; or it stays connected in another way.
        ForbiddenError, InvalidInputError: it cannot stay connected.
    """
    provider = _provider(name)
    lack = _lack_of(provider)
    if lack:
        raise ConflictError(f"{provider.label} cannot be connected yet: {lack} is not set")
    if stay_connected:
        _check_may_stay(caller, provider)
    return consent.ask(
        portals.get_settings(),
        provider,
        user_id=_user_of(caller),
        sign_in_id=sign_in_id,
        stay_connected=stay_connected,
    )


def finish(name: str, returned: Returned) -> Finished:
    """Finish connecting, when the browser comes back.

    Raises:
        NotFoundError: there is no such provider.
        ConsentError: the person refused, or this browser did not begin; says which.
        ConflictError: it may not stay connected, or that is another portal than the mirror's.
        ProviderError, HubSpotError: the provider does not take the code, or does not answer.
    """
    provider = _provider(name)
    given = consent.conclude(portals.get_settings(), provider, returned)
    caller, tokens = given.caller, given.tokens
    if given.stay_connected:
        _check_may_stay(caller, provider)
        portal_connection.connect_portal(caller.portal_id, tokens)
    elif connections := _connections(caller):
        connections.keep(provider, tokens)
    log.info("integration connected", provider=provider.name, stays=given.stay_connected)
    return Finished(provider.label, tokens.account, given.stay_connected)


def list_types(name: str) -> tuple[str, ...]:
    """What a provider has items of.

    Raises:
        NotFoundError: there is no such provider.
    """
    return _provider(name).types


def list_items(
    caller: Caller, name: str, item_type: str | None, *, limit: int, cursor: str | None
) -> ItemPage:
    """A page of what there is at a provider; its cursor is signed and goes back in as it is.

    Args:
        caller: whose connection is used; or HubSpot's that stays, where there is none.
        name: of the provider.
        item_type: one of its types; None for all of them, one after another.
        limit: 1 to 100.
        cursor: of the page before.

    Raises:
        NotFoundError: there is no such provider.
        InvalidInputError: it has no such type; the cursor is none of this list.
        NotConnectedError: it is not connected.
        ProviderError, HubSpotError: what the provider says.
    """
    provider = _provider(name)
    if item_type is not None and item_type not in provider.types:
        choices = ", ".join(provider.types)
        raise InvalidInputError(errors={"type": f"Must be one of: {choices}."})
    types = provider.types if item_type is None else (item_type,)
    # By all their names: should a later release have others, a cursor of this one counts no more.
    listing = f"items of {provider.name}:{' '.join(types)}:{_user_of(caller)}"
    at, place = (0, None) if cursor is None else position_of(cursor, listing)
    while True:
        page = _list_page(caller, provider, types[at], limit, place)
        at, place = (at, page.next_cursor) if page.next_cursor else (at + 1, None)
        # A page holds items of one type, but types of which there is nothing make no page.
        if page.items or place or at == len(types):
            following = cursor_of(listing, at, place) if at < len(types) else None
            return ItemPage(page.items, following)


def disconnect(caller: Caller, name: str) -> str:
    """End a connection here and at the provider; returns what there is to say about it.

    A person's own comes first. What stays connected only an administrator can end.

    Raises:
        NotFoundError: there is no such provider.
        NotConnectedError: there is nothing to end.
        ForbiddenError: it stays connected, and the caller is no administrator.
        ConflictError: the settings hold its token.
    """
    provider = _provider(name)
    connections = _connections(caller)
    held = connections.forget(provider) if connections else None
    if held:
        return _disconnected_message(provider, is_revoked=revoke(provider, held))
    if not _is_hubspot(provider) or portal_connection.find_connected(caller.portal_id) is None:
        raise NotConnectedError(f"{provider.label} is not connected")
    if not caller.is_admin:
        raise ForbiddenError("HubSpot stays connected; only an admin can disconnect it")
    is_revoked = portal_connection.disconnect_portal(caller.portal_id, provider)
    return (
        f"{_disconnected_message(provider, is_revoked=is_revoked)}. {portal_connection.WHAT_STAYS}"
    )


def _list_page(
    caller: Caller, provider: Provider, item_type: str, limit: int, place: str | None
) -> ItemPage:
    connections = _connections(caller)
    if connections and connections.find(provider):
        return connections.use(
            provider,
            lambda token: provider.list_items(token, item_type, limit=limit, cursor=place),
        )
    # The organization's own portal, for those who may see all of its mirror anyway.
    lack = NotConnectedError(f"{provider.label} is not connected; connect it first")
    if not _is_hubspot(provider) or caller.only_contact_id is not None:
        raise lack
    try:
        client = portals.connect(caller.portal_id, someone_waits=True)
    except portals.NoPortalError as error:
        raise lack from error
    return list_records(client, item_type, limit=limit, cursor=place)


def _check_may_stay(caller: Caller, provider: Provider) -> None:
    if not _is_hubspot(provider):
        raise InvalidInputError(errors={"stay_connected": "Only HubSpot can stay connected."})
    if not caller.is_admin:
        raise ForbiddenError("Only an admin can let HubSpot stay connected")
    portal_connection.refuse_second_way(caller.portal_id)


def _disconnected_message(provider: Provider, *, is_revoked: bool) -> str:
    said = f"{provider.label} is disconnected, and its tokens are forgotten here"
    if is_revoked:
        return said
    return f"{said}; remove the app in {provider.label}'s own settings, to end its access there too"


def _provider(name: str) -> Provider:
    """A provider with its settings, which have the names of its fields."""
    provider_class = PROVIDERS.get(name)
    if provider_class is None:
        raise NotFoundError
    settings = portals.get_settings()
    return provider_class(
        **{each.name: getattr(settings, f"{name}_{each.name}") for each in fields(provider_class)}
    )


def _lack_of(provider: Provider) -> str | None:
    """The setting without which it cannot be connected."""
    if not provider.client_id:
        return f"{provider.name.upper()}_CLIENT_ID"
    return None if portals.get_settings().encryption_keys else "ENCRYPTION_KEYS"


def _is_hubspot(provider: Provider) -> bool:
    return isinstance(provider, HubSpot)


def _connections(caller: Caller) -> Connections | None:
    """The caller's; none without a key to encrypt them with."""
    settings = portals.get_settings()
    if not settings.encryption_keys:
        return None
    return Connections(get_store(), make_vault(settings), _user_of(caller))


def _user_of(caller: Caller) -> int:
    if caller.is_open_access:
        return _NOBODY
    if caller.user_id is None:
        raise ForbiddenError("An API key cannot do this; sign in as a user")
    return caller.user_id
