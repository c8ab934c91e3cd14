"""OAuth: tokens for authorization codes and refresh tokens, and what a token is.

Sources: HubSpot docs, manage OAuth tokens; changelog, "New OAuth v3 API endpoints and
standardized error responses"; live observations of the refusals. The page on which a person
consents is in ``consent``.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from flask import Blueprint, Response, request

from hubspot_sandbox.access import Access, App, Grant
from hubspot_sandbox.consent import add_consent_page
from hubspot_sandbox.errors import HubSpotError, resource_not_found
from hubspot_sandbox.scopes import OAUTH
from hubspot_sandbox.store import Sandbox

VERSIONS: Final = ("v1", "v3", "2026-03", "2026-09")

_FORM: Final = "application/x-www-form-urlencoded"
# Where a portal's company is found; HubSpot calls this the hub's domain, its own host it is not.
_HUB_DOMAIN: Final = "brightharbor.example"
_DEVELOPER_SCOPES: Final = "developer."


def oauth_blueprint(sandbox: Sandbox) -> Blueprint:
    """Build everything under ``/oauth`` for a sandbox."""
    oauth = Blueprint("oauth", __name__, url_prefix="/oauth")
    add_consent_page(oauth, sandbox)
    views = _Views(sandbox)
    for method, path, view in (
        ("POST", "/<oauth:version>/token", views.create_token),
        ("POST", "/<new_oauth:version>/token/introspect", views.introspect_token),
        ("POST", "/<new_oauth:version>/token/revoke", views.revoke_token),
        ("GET", "/v1/access-tokens/<token>", views.read_access_token),
        ("GET", "/v1/refresh-tokens/<token>", views.read_refresh_token),
        ("DELETE", "/v1/refresh-tokens/<token>", views.delete_refresh_token),
    ):
        serve = _as_json(view)
        oauth.add_url_rule(
            path, view.__name__, serve, methods=[method], provide_automatic_options=False
        )
    return oauth


def _as_json(view: Callable[..., dict[str, Any] | None]) -> Callable[..., Response]:
    def serve(**path: str) -> Response:
        shown = view(**path)
        if shown is None:
            return Response(status=204 if request.method == "DELETE" else 200)
        content_type = "application/json;charset=utf-8"
        response = Response(orjson.dumps(shown), content_type=content_type)
        response.headers["Cache-Control"] = "no-store"
        return response

    return serve


class _Views:
    """What is asked under ``/oauth``; every method returns the JSON to answer with, or None."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._registry = sandbox.registry
        self._grant_types: Mapping[str, Callable[[App, _Fields, str], dict[str, Any]]] = {
            "authorization_code": self._exchange_code,
            "refresh_token": self._refresh,
            "client_credentials": self._open_developer_account,
        }

    def create_token(self, version: str) -> dict[str, Any]:
        fields = _Fields()
        exchange = self._grant_types.get(fields["grant_type"])
        if exchange is None:
            raise _refused("BAD_GRANT_TYPE", "missing or unknown grant type")
        return exchange(self._authenticate(fields), fields, version)

    def introspect_token(self, version: str) -> dict[str, Any]:
        fields = _Fields()
        app = self._authenticate(fields)
        token = fields["token"]
        access, grant = self._live_access(token), self._registry.grants.get(token)
        found = access or grant
        if found is None or found.app_id != app.id:
            return {"active": False}
        shown = self._describe(found) | {"active": True, "app_id": app.id}
        shown |= {"client_id": app.client_id, "token_type": "bearer"}
        if access is None:
            return shown | {"token_use": "refresh_token"}
        return shown | {"token_use": "access_token", "expires_in": self._seconds_left(access)}

    def revoke_token(self, version: str) -> None:
        """End a grant; what is unknown is revoked already (RFC 7009)."""
        fields = _Fields()
        app = self._authenticate(fields)
        grant = self._registry.grants.get(fields["token"])
        if grant and grant.app_id == app.id:
            self._registry.revoke(fields["token"])

    def read_access_token(self, token: str) -> dict[str, Any]:
        access = self._live_access(token)
        if access is None:
            raise resource_not_found()
        shown = self._describe(access) | {"token": token, "token_type": "access"}
        return shown | {"app_id": access.app_id, "expires_in": self._seconds_left(access)}

    def read_refresh_token(self, token: str) -> dict[str, Any]:
        grant = self._registry.grants.get(token)
        if grant is None:
            raise resource_not_found()
        client_id = self._registry.apps[grant.app_id].client_id
        shown = self._describe(grant) | {"token": token, "token_type": "refresh"}
        return shown | {"client_id": client_id}

    def delete_refresh_token(self, token: str) -> None:
        if self._registry.revoke(token) is None:
            raise resource_not_found()

    def _authenticate(self, fields: "_Fields") -> App:
        app = self._registry.find_app(fields["client_id"])
        if app is None:
            raise _refused("BAD_CLIENT_ID", "missing or unknown client id")
        if not hmac.compare_digest(app.client_secret.encode(), fields["client_secret"].encode()):
            raise _refused("BAD_CLIENT_SECRET", "missing or invalid client secret")
        return app

    def _exchange_code(self, app: App, fields: "_Fields", _: str) -> dict[str, Any]:
        code = self._registry.take_code(fields["code"])
        if code is None or code.grant.app_id != app.id:
            raise _refused("BAD_AUTH_CODE", "missing or unknown auth code")
        if code.redirect_uri != fields["redirect_uri"]:
            raise _refused("BAD_REDIRECT_URI", "missing or invalid redirect uri")
        if code.challenge and code.challenge != _challenge(fields["code_verifier"]):
            raise _refused("BAD_CODE_VERIFIER", "missing or invalid code verifier")
        return self._answer(code.grant, self._registry.add_grant(code.grant))

    def _refresh(self, app: App, fields: "_Fields", version: str) -> dict[str, Any]:
        refresh_token = fields["refresh_token"]
        grant = self._registry.grants.get(refresh_token)
        if grant is None or grant.app_id != app.id:
            raise _bad_refresh_token(version)
        if grant.portal_id not in self._sandbox.portals:
            raise _refused("BAD_HUB", "missing or unknown hub id")
        if self._sandbox.settings.rotate_refresh_tokens:
            # Of two that come at once with the same token, the second finds it used up.
            if self._registry.revoke(refresh_token) is None:
                raise _bad_refresh_token(version)
            refresh_token = self._registry.add_grant(grant)
        return self._answer(grant, refresh_token)

    def _open_developer_account(self, app: App, fields: "_Fields", _: str) -> dict[str, Any]:
        """Give a token for the app's own account: it opens no customer's data."""
        scopes = frozenset(fields["scope"].split())
        if not scopes or not all(each.startswith(_DEVELOPER_SCOPES) for each in scopes):
            raise _refused("BAD_SCOPES", "missing or invalid scopes")
        access = Access(
            self._sandbox.first_portal_id, app.id, scopes, self._sandbox.clock.now_ms() + self._life
        )
        return {
            "access_token": self._registry.issue_token(access),
            "expires_in": self._life // 1000,
            "token_type": "bearer",
            "token_use": "access_token",
            "scopes": sorted(scopes),
        }

    def _answer(self, grant: Grant, refresh_token: str) -> dict[str, Any]:
        access = Access(
            portal_id=grant.portal_id,
            app_id=grant.app_id,
            scopes=grant.scopes | {OAUTH},
            expires_at=self._sandbox.clock.now_ms() + self._life,
            user_id=grant.user_id,
        )
        return {
            "token_type": "bearer",
            "refresh_token": refresh_token,
            "access_token": self._registry.issue_token(access),
            "hub_id": grant.portal_id,
            "user_id": grant.user_id,
            "scopes": sorted(access.scopes or ()),
            "expires_in": self._life // 1000,
            "token_use": "access_token",
        }

    @property
    def _life(self) -> int:
        return self._sandbox.settings.access_token_seconds * 1000

    def _live_access(self, token: str) -> Access | None:
        """Return what an OAuth access token opens; private apps' tokens are none of this."""
        access = self._registry.find_access(token)
        return access if access and access.is_oauth and self._seconds_left(access) > 0 else None

    def _seconds_left(self, access: Access) -> int:
        return ((access.expires_at or 0) - self._sandbox.clock.now_ms()) // 1000

    def _describe(self, granted: Access | Grant) -> dict[str, Any]:
        return {
            "hub_id": granted.portal_id,
            "user_id": granted.user_id,
            "user": self._find_email(granted),
            "hub_domain": _HUB_DOMAIN,
            "scopes": sorted((granted.scopes or frozenset()) | {OAUTH}),
        }

    def _find_email(self, granted: Access | Grant) -> str | None:
        portal = self._sandbox.portals.get(granted.portal_id)
        owners = portal.owners if portal else ()
        return next((each.email for each in owners if each.user_id == granted.user_id), None)


class _Fields:
    """The form of the request's body; HubSpot takes nothing from the address, nor JSON."""

    def __init__(self) -> None:
        if request.mimetype != _FORM:
            raise HubSpotError(415, "HTTP 415 Unsupported Media Type")
        self._form = request.form

    def __getitem__(self, name: str) -> str:
        return self._form.get(name, "")


# What RFC 6749 calls each refusal; HubSpot's own name stands in ``status``.
_RFC_ERRORS: Final = {
    "BAD_GRANT_TYPE": "unsupported_grant_type",
    "BAD_CLIENT_ID": "invalid_client",
    "BAD_CLIENT_SECRET": "invalid_client",
    "BAD_AUTH_CODE": "invalid_grant",
    "BAD_REDIRECT_URI": "invalid_grant",
    "BAD_CODE_VERIFIER": "invalid_grant",
    "BAD_REFRESH_TOKEN": "invalid_grant",
    "BAD_HUB": "access_denied",
    "BAD_SCOPES": "invalid_scope",
}


def _refused(status: str, message: str, error: str = "") -> HubSpotError:
    """Make a 400 in the words of RFC 6749, with HubSpot's older fields beside them."""
    named = error or _RFC_ERRORS[status]
    return HubSpotError(400, message).adding(status=status, error=named, error_description=message)


def _bad_refresh_token(version: str) -> HubSpotError:
    """Make the refusal of a revoked or unknown refresh token; v1 was seen to spell it older."""
    if version == "v1":
        return _refused("BAD_REFRESH_TOKEN", "missing or invalid refresh token", "invalid_request")
    return _refused("BAD_REFRESH_TOKEN", "refresh token is invalid, expired or revoked")


def _challenge(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
