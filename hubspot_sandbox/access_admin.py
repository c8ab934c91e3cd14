"""The part of the admin API that says who may call: portals, apps and tokens."""

import re
import secrets
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit
from uuid import uuid4

from flask import request

from hubspot_sandbox.access import Access, App
from hubspot_sandbox.errors import invalid, resource_not_found
from hubspot_sandbox.limits import TIERS
from hubspot_sandbox.payload import JSONObject, find_text, parse_object, text_list, whole_number
from hubspot_sandbox.store import Portal, Sandbox

_MAX_PORTALS: Final = 100
_MAX_ID: Final = 2**31 - 1
_MAX_LIFE_SECONDS: Final = 366 * 86_400
_LONGEST_NAME: Final = 200
_LONGEST_ADDRESS: Final = 2_000
_DOMAIN: Final = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){1,5}")
# What a header and a form carry whole; HubSpot's tokens have up to 512 characters.
_TOKEN: Final = re.compile(r"[!-~]{8,512}")
_SCOPE: Final = re.compile(r"[a-z][a-z0-9._-]{1,99}")
_SHOWN_OF_A_TOKEN: Final = 8
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1"})

AdminRoute: TypeAlias = tuple[str, str, Callable[..., dict[str, Any]]]


def access_routes(sandbox: Sandbox) -> tuple[AdminRoute, ...]:
    """Return the method, path and view of each call."""
    views = _Views(sandbox)
    return (
        ("GET", "/portals", views.list_portals),
        ("POST", "/portals", views.add_portal),
        ("DELETE", "/portals/<portal_id>", views.remove_portal),
        ("GET", "/apps", views.list_apps),
        ("POST", "/apps", views.add_app),
        ("DELETE", "/portals/<portal_id>/apps/<app_id>", views.uninstall_app),
        ("GET", "/tokens", views.list_tokens),
        ("POST", "/tokens", views.add_token),
        ("POST", "/tokens/expire", views.expire_tokens),
    )


def is_redirect_uri(text: str) -> bool:
    """Say whether HubSpot would send a browser there: https, or this machine, no fragment."""
    if len(text) > _LONGEST_ADDRESS or not re.fullmatch(r"[!-~]+", text) or "#" in text:
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    # The page's content security policy names the host, and must not be led on by it.
    if not re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]+)?", parts.netloc):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


class _Views:
    """What is asked of portals, apps and tokens; every method returns the JSON to answer with."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._registry = sandbox.registry

    def list_portals(self) -> dict[str, Any]:
        return {"results": [_show_portal(each) for each in self._sandbox.portals.values()]}

    def add_portal(self) -> dict[str, Any]:
        body = parse_object(request.get_data())
        portals = self._sandbox.portals
        if len(portals) >= _MAX_PORTALS:
            raise invalid(f"There are {_MAX_PORTALS} portals already")
        portal_id = _find_id(body, "id") or max(portals) + 1
        name = _find_name(body, "name") or f"Portal {portal_id}"
        ui_domain = find_text(body, "uiDomain") or "app.hubspot.com"
        if not _DOMAIN.fullmatch(ui_domain):
            raise invalid("uiDomain is not the name of a host")
        tier = find_text(body, "tier")
        if tier is not None and tier not in TIERS:
            raise invalid(f"The tier is none of {sorted(TIERS)}")
        try:
            portal = self._sandbox.open_portal(portal_id)
        except ValueError as error:
            raise invalid(str(error)) from error
        portal.describe(name=name, ui_domain=ui_domain, tier=tier)
        return _show_portal(portal)

    def remove_portal(self, portal_id: str) -> dict[str, Any]:
        portal = self._find_portal(whole_number(portal_id))
        if portal.id == self._sandbox.first_portal_id:
            raise invalid("The first portal stays")
        self._sandbox.close_portal(portal.id)
        return self.list_portals()

    def list_apps(self) -> dict[str, Any]:
        return {"results": [_show_app(each) for each in self._registry.apps.copy().values()]}

    def add_app(self) -> dict[str, Any]:
        """Add an app; the answer is the only one that tells its secret."""
        body = parse_object(request.get_data())
        apps = self._registry.apps
        app_id = _find_id(body, "id") or max(apps) + 1
        client_id = _find_token(body, "client_id") or str(uuid4())
        if app_id in apps or self._registry.find_app(client_id):
            raise invalid("There is an app with this id or client_id already")
        redirect_uris = text_list(body, "redirect_uris")
        if not all(is_redirect_uri(each) for each in redirect_uris):
            raise invalid("redirect_uris are addresses with https, or with http of localhost")
        app = App(
            id=app_id,
            name=_find_name(body, "name") or f"App {app_id}",
            client_id=client_id,
            client_secret=_find_token(body, "client_secret") or str(uuid4()),
            redirect_uris=tuple(redirect_uris),
            scopes=_find_scopes(body),
        )
        self._registry.add_app(app)
        return _show_app(app) | {"client_secret": app.client_secret}

    def uninstall_app(self, portal_id: str, app_id: str) -> dict[str, Any]:
        """Do what a person does in the portal's settings: the app is not told."""
        portal = self._find_portal(whole_number(portal_id))
        return {"revoked": self._registry.uninstall(portal.id, whole_number(app_id) or 0)}

    def list_tokens(self) -> dict[str, Any]:
        """Return what each token opens, and only its beginning."""
        return {
            "results": [
                _show_access(each) | {"token": f"{token[:_SHOWN_OF_A_TOKEN]}…"}
                for token, each in self._registry.tokens.copy().items()
            ]
        }

    def add_token(self) -> dict[str, Any]:
        """Add a token; with ``expires_in`` it is one of OAuth's, without a grant behind it."""
        body = parse_object(request.get_data())
        portal = self._find_portal(_find_id(body, "portal_id"))
        app_id = _find_id(body, "app_id") or min(self._registry.apps)
        if app_id not in self._registry.apps:
            raise resource_not_found()
        token = _find_token(body, "token") or f"pat-na1-{uuid4()}-{secrets.token_hex(4)}"
        if self._registry.find_access(token):
            raise invalid("This token is known already")
        life = _find_number(body, "expires_in", _MAX_LIFE_SECONDS)
        access = Access(
            portal_id=portal.id,
            app_id=app_id,
            scopes=_find_scopes(body),
            expires_at=None if life is None else self._sandbox.clock.now_ms() + life * 1000,
            user_id=None if life is None else portal.owners[0].user_id,
        )
        self._registry.add_token(token, access)
        return _show_access(access) | {"token": token}

    def expire_tokens(self) -> dict[str, Any]:
        return {"expired": self._sandbox.expire_tokens()}

    def _find_portal(self, portal_id: int | None) -> Portal:
        portal = self._sandbox.portals.get(portal_id or 0)
        if portal is None:
            raise resource_not_found()
        return portal


def _show_portal(portal: Portal) -> dict[str, Any]:
    return {
        "id": portal.id,
        "name": portal.name,
        "uiDomain": portal.ui_domain,
        "tier": portal.tier,
    }


def _show_app(app: App) -> dict[str, Any]:
    return {
        "id": app.id,
        "name": app.name,
        "client_id": app.client_id,
        "redirect_uris": list(app.redirect_uris),
        "scopes": None if app.scopes is None else sorted(app.scopes),
    }


def _show_access(access: Access) -> dict[str, Any]:
    return {
        "portal_id": access.portal_id,
        "app_id": access.app_id,
        "scopes": None if access.scopes is None else sorted(access.scopes),
        "expires_at": access.expires_at,
    }


def _find_number(body: JSONObject, name: str, largest: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= largest:
        raise invalid(f"{name} is a number from 0 to {largest}")
    return value


def _find_id(body: JSONObject, name: str) -> int | None:
    return _find_number(body, name, _MAX_ID) or None


def _find_name(body: JSONObject, name: str) -> str | None:
    text = find_text(body, name)
    if text is not None and not 0 < len(text) <= _LONGEST_NAME:
        raise invalid(f"{name} has 1 to {_LONGEST_NAME} characters")
    return text


def _find_token(body: JSONObject, name: str) -> str | None:
    text = find_text(body, name)
    if text is not None and not _TOKEN.fullmatch(text):
        raise invalid(f"{name} has 8 to 512 printable ASCII characters, and no space")
    return text


def _find_scopes(body: JSONObject) -> frozenset[str] | None:
    """Return the scopes; None, which is every scope, when they are not given."""
    if body.get("scopes") is None:
        return None
    scopes = frozenset(text_list(body, "scopes"))
    if not all(_SCOPE.fullmatch(each) for each in scopes):
        raise invalid("scopes are names such as crm.objects.contacts.read")
    return scopes
