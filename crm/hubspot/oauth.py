"""OAuth: how an app is let into a portal, and how its tokens are made, looked at and revoked.

Source: HubSpot docs, "Manage OAuth tokens"; changelog, "New OAuth v3 endpoints and standardized
error responses". Nothing here is repeated: a code counts once, and a refresh token perhaps too.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests

from crm.hubspot import transport
from crm.hubspot.answers import error_from, json_from
from crm.hubspot.errors import (
    HubSpotAuthError,
    HubSpotError,
    HubSpotRevokedError,
    HubSpotUnavailableError,
)
from crm.hubspot.transport import Answer

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_TOKEN = re.compile(r"[!-~]{1,4096}")
_LONGEST_LIFE = 24 * 3600
_SECRETS = {"client_secret", "code", "code_verifier", "refresh_token", "token"}
# Whoever has no grant, or no portal, any more.
_REVOKED = {"BAD_REFRESH_TOKEN", "BAD_HUB"}
_ADVICE = {
    "BAD_CLIENT_ID": "check HUBSPOT_CLIENT_ID",
    "BAD_CLIENT_SECRET": "check HUBSPOT_CLIENT_SECRET",
    "invalid_client": "check HUBSPOT_CLIENT_ID and HUBSPOT_CLIENT_SECRET",
    "BAD_REDIRECT_URI": "name this redirect URL in the app, letter by letter",
    "BAD_AUTH_CODE": "a code counts once and shortly; begin to connect again",
}
"""What to do about a refusal, by its ``status`` or its ``error``."""


@dataclass(frozen=True)
class Grant:
    """What HubSpot gives for a code or a refresh token; ``expires_in`` in seconds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    hub_id: int | None = None


@dataclass(frozen=True)
class TokenState:
    """What HubSpot says of a token; one that it does not know is not active."""

    is_active: bool
    hub_id: int | None = None
    expires_in: int | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True)
class OAuthApp:
    """Our app, as HubSpot knows it.

    Args:
        base_url: such as ``https://api.hubapi.com``.
        version: a dated one, or ``v3``.
        client_id: of the app.
        client_secret: of the app.

    Every call raises ``HubSpotUnavailableError`` when HubSpot cannot be reached or is busy, and
    ``HubSpotAuthError`` when it refuses; never another kind, which might be taken for HubSpot's
    opinion of a record. No error holds a token, a code or the secret.
    """

    base_url: str
    version: str
    client_id: str
    client_secret: str = field(repr=False)

    def authorization_url(
        self,
        *,
        redirect_uri: str,
        scopes: Sequence[str],
        state: str,
        code_challenge: str,
    ) -> str:
        """Where a person's browser goes to let the app in; PKCE by SHA-256."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(scopes),
            "state": state,
            "code_challenge": code_challenge,
            "code_challenge_method": "S256",
        }
        is_hubspots = (urlsplit(self.base_url).hostname or "").endswith(".hubapi.com")
        host = "https://app.hubspot.com" if is_hubspots else self.base_url
        return f"{host}/oauth/authorize?{urlencode(query, quote_via=quote)}"

    def exchange_code(self, code: str, *, redirect_uri: str, code_verifier: str) -> Grant:
        """The first tokens, for the code that came back with the browser."""
        body = self._post(
            "token",
            grant_type="authorization_code",
            code=code,
            redirect_uri=redirect_uri,
            code_verifier=code_verifier,
        )
        return _grant(body, used="")

    def refresh(self, refresh_token: str) -> Grant:
        """New tokens for a refresh token, which is perhaps used up by that.

        Raises:
            HubSpotRevokedError: the app was uninstalled, or the portal is gone.
        """
        body = self._post("token", grant_type="refresh_token", refresh_token=refresh_token)
        return _grant(body, used=refresh_token)

    def introspect(self, access_token: str) -> TokenState:
        """What HubSpot says of an access token."""
        body = self._post(
            "token/introspect",
            token=access_token,
            token_type_hint="access_token",  # noqa: S106
        )
        scopes = body.get("scopes")
        return TokenState(
            is_active=body.get("active") is True,
            hub_id=_number(body.get("hub_id")),
            expires_in=_number(body.get("expires_in")),
            scopes=tuple(map(str, scopes)) if isinstance(scopes, list) else (),
        )

    def revoke(self, refresh_token: str) -> None:
        """Give the grant back; access tokens live on for their half hour at most."""
        self._post(
            "token/revoke",
            token=refresh_token,
            token_type_hint="refresh_token",  # noqa: S106
        )

    def _post(self, path: str, **form: str) -> Mapping[str, Any]:
        form |= {"client_id": self.client_id, "client_secret": self.client_secret}
        request = requests.Request(
            "POST",
            f"{self.base_url}/oauth/{self.version}/{path}",
            headers=transport.HEADERS | _FORM,
            data=form,
        ).prepare()
        answer = transport.exchange(request, until=time.monotonic() + transport.LONGEST)
        if answer.status >= 300:
            raise _refusal(answer, form)
        return _object(answer)


def _grant(body: Mapping[str, Any], *, used: str) -> Grant:
    access_token = body.get("access_token")
    # Docs: always store what is returned; today it is the same again.
    refresh_token = body.get("refresh_token") or used
    for token in (access_token, refresh_token):
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise HubSpotUnavailableError("HubSpot's answer holds no tokens that can be sent")
    expires_in = _number(body.get("expires_in")) or 0
    if not 0 < expires_in <= _LONGEST_LIFE:
        raise HubSpotUnavailableError("HubSpot's tokens live for a time that makes no sense")
    return Grant(str(access_token), str(refresh_token), expires_in, _number(body.get("hub_id")))


def _number(value: Any) -> int | None:
    return value if type(value) is int else None


def _object(answer: Answer) -> Mapping[str, Any]:
    body = json_from(answer)
    return body if isinstance(body, dict) else {}


def _refusal(answer: Answer, form: Mapping[str, str]) -> HubSpotError:
    error = error_from(answer)
    if isinstance(error, HubSpotUnavailableError):
        return error
    try:
        body = _object(answer)
    except HubSpotUnavailableError:
        body = {}
    status, code = body.get("status"), body.get("error")
    message = str(body.get("error_description") or error.message)
    for secret in filter(None, (form[name] for name in _SECRETS & form.keys())):
        message = message.replace(secret, "…")
    # Of a code it says something else: that it came too late.
    is_invalid = code == "invalid_grant" and form.get("grant_type") == "refresh_token"
    is_revoked = status in _REVOKED or (is_invalid and status not in _ADVICE)
    refused = HubSpotRevokedError if is_revoked else HubSpotAuthError
    advice = _ADVICE.get(str(status)) or _ADVICE.get(str(code))
    return refused(
        f"{message}; {advice}" if advice else message,
        category=str(status) if status else None,
        correlation_id=error.correlation_id,
    )
