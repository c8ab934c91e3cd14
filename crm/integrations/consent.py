"""Send a person to a provider with a ``state``, to come back with it and a code.

The ``state`` is random, counts once and for ten minutes. It belongs to the provider, to the browser
that began, which shows a cookie, and to the person's sign-in. So nobody can have somebody else
finish what they began, or finish it themselves with another's code.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from cryptography.fernet import InvalidToken

from crm.accounts.callers import Caller, find_open_caller, find_signed_in
from crm.config import Settings
from crm.errors import CRMError
from crm.integrations.providers.provider import Provider, Tokens
from crm.integrations.store import get_store
from crm.portals.oauth_tokens import make_vault

LIFE = 600
"""Seconds in which a person must come back."""
PREFIX = "consent:"

_STATE = re.compile(r"[\w-]{43}")
_CODE = re.compile(r"[!-~]{1,2048}")
_DENIED = "access_denied"


class ConsentError(CRMError):
    """This did not work; begin to connect again."""

    status = 400
    error_code = "CONSENT_REFUSED"


@dataclass(frozen=True)
class Begun:
    """Where to send the person, and the cookie to leave in their browser."""

    authorization_url: str
    cookie: Mapping[str, Any] = field(repr=False)
    """The arguments of Flask's ``set_cookie``; only the way back shows it again."""


@dataclass(frozen=True)
class Returned:
    """What came back with a browser; everything may be missing or forged."""

    state: str = field(repr=False)
    code: str = field(repr=False)
    error: str
    browser_secret: str = field(repr=False)


@dataclass(frozen=True)
class Consented:
    """Who let us in where, and the tokens that this gave."""

    caller: Caller
    stay_connected: bool
    tokens: Tokens


def cookie_name(provider: str) -> str:
    """Of the cookie in which a browser keeps its secret; one for each provider."""
    return f"crm_consent_{provider}"


def ask(
    settings: Settings,
    provider: Provider,
    *,
    user_id: int,
    sign_in_id: UUID | None,
    stay_connected: bool,
) -> Begun:
    """Begin: make a state, and say where to go."""
    state, verifier, browser_secret = token_urlsafe(32), token_urlsafe(48), token_urlsafe(32)
    redirect_uri = settings.redirect_uri(provider.name)
    asked = {
        "provider": provider.name,
        "user_id": user_id,
        "sign_in_id": sign_in_id and str(sign_in_id),
        "stay_connected": stay_connected,
        "verifier": verifier,
        "browser": _digest(browser_secret),
        "redirect_uri": redirect_uri,
    }
    secret = make_vault(settings).encrypt(orjson.dumps(asked))
    get_store().put(_key(state), secret, LIFE)
    url = provider.authorization_url(
        redirect_uri=redirect_uri,
        state=state,
        code_challenge=_challenge(verifier),
        stay_connected=stay_connected,
    )
    way_back = urlsplit(redirect_uri)
    cookie = {
        "key": cookie_name(provider.name),
        "value": browser_secret,
        "max_age": LIFE,
        "path": way_back.path,
        "secure": way_back.scheme == "https",
        "httponly": True,
        "samesite": "Lax",
    }
    return Begun(url, cookie)


def conclude(settings: Settings, provider: Provider, returned: Returned) -> Consented:
    """End: check who comes back, and have the code exchanged for tokens.

    Raises:
        ConsentError: the person refused, or this is not what they began; says which.
        ProviderError, HubSpotError: the provider does not take the code, or does not answer.
    """
    asked = _take(settings, returned.state)
    if asked is None:
        raise ConsentError(
            "This link has been used already, or is older than ten minutes; begin again"
        )
    if asked["provider"] != provider.name:
        raise ConsentError("This link belongs to another integration; begin again")
    if not hmac.compare_digest(asked["browser"], _digest(returned.browser_secret)):
        raise ConsentError("This was begun in another browser; begin again in this one")
    caller = _find_beginner(asked)
    if caller is None:
        raise ConsentError("Whoever began this has signed out; sign in and begin again")
    if returned.error == _DENIED:
        raise ConsentError(f"You did not allow it, so {provider.label} is not connected")
    if returned.error or not _CODE.fullmatch(returned.code):
        raise ConsentError(f"{provider.label} did not let us in; begin again")
    tokens = provider.exchange(
        returned.code, redirect_uri=asked["redirect_uri"], code_verifier=asked["verifier"]
    )
    return Consented(caller, asked["stay_connected"], tokens)


def _find_beginner(asked: Mapping[str, Any]) -> Caller | None:
    """Find who began, if they may still do so."""
    if asked["sign_in_id"] is None:
        return find_open_caller()
    return find_signed_in(asked["user_id"], UUID(asked["sign_in_id"]))


def _take(settings: Settings, state: str) -> dict[str, Any] | None:
    """What was asked under a state, which is used up by that; None for one that does not count."""
    found = get_store().take(_key(state)) if _STATE.fullmatch(state) else None
    if found is None:
        return None
    try:
        asked: dict[str, Any] = orjson.loads(make_vault(settings).decrypt(found))
    except InvalidToken:
        return None  # Its key was taken away meanwhile.
    return asked


def _key(state: str) -> str:
    # Who reads Redis must not find states to use.
    return PREFIX + _digest(state)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _challenge(verifier: str) -> str:
    """The S256 challenge of a verifier. Source: RFC 7636."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
