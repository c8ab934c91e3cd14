"""Who calls: apps, what a bearer token opens, and the grants that OAuth tokens come from.

A token belongs to one app and opens one portal; that is all that keeps portals apart.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from threading import Lock
from typing import Any, Final
from uuid import uuid4

from hubspot_sandbox.clock import DAY_MS, Clock

DEFAULT_TOKEN: Final = "pat-na1-sandbox"  # noqa: S105 - opens nothing but this sandbox

# HubSpot's are long and change their length; its docs tell to keep room for 512 characters.
_ACCESS_TOKEN_BYTES: Final = 210
_CODE_MS: Final = 5 * 60_000


@dataclass(slots=True)
class App:
    """An app that is known to HubSpot, with what it needs for OAuth and for signing webhooks.

    ``scopes`` are all that it may ask for; None leaves it free.
    """

    id: int
    name: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()
    scopes: frozenset[str] | None = None


# The one app that every sandbox knows; its secret opens nothing else.
DEFAULT_APP: Final = App(
    id=1_836_221,
    name="CRM middleware",
    client_id="5a9d6b1e-0c1f-4c53-9a53-0d5e60b0c0de",
    client_secret="a3f1c6de-5b0e-4f0b-8a55-6a6e64b0c5ec",  # noqa: S106
    redirect_uris=("http://localhost:4012/integrations/hubspot/oauth2callback",),
)


@dataclass(frozen=True, slots=True)
class Access:
    """What one token opens.

    ``scopes`` None means every scope; ``expires_at`` is in epoch milliseconds, None for a token
    that stays (private apps, service keys). ``user_id`` is of the person who granted an OAuth
    token.
    """

    portal_id: int
    app_id: int
    scopes: frozenset[str] | None = None
    expires_at: int | None = None
    user_id: int | None = None

    @property
    def is_oauth(self) -> bool:
        """Whether the token came from OAuth: those expire."""
        return self.expires_at is not None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person allowed an app to do in a portal; it lasts until it is revoked."""

    portal_id: int
    app_id: int
    user_id: int
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Code:
    """A grant that waits to be fetched by its app, with what the app has to prove."""

    grant: Grant
    redirect_uri: str
    expires_at: int
    challenge: str | None = None


class Registry:
    """Every app, token and grant of a sandbox; safe to use from several threads.

    ``tokens`` are known by their text, ``grants`` by their refresh token. ``changes`` counts what
    the state file has to follow; authorization codes are too short-lived to be kept there.
    """

    def __init__(self, clock: Clock, app: App, tokens: Mapping[str, Access]) -> None:
        """Begin with one app and its tokens, to which `reset` comes back."""
        self.changes = 0
        self.apps: dict[int, App] = {}
        self.tokens: dict[str, Access] = {}
        self.grants: dict[str, Grant] = {}
        self._codes: dict[str, Code] = {}
        self._clock = clock
        self._first_app, self._first_tokens = app, dict(tokens)
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all but the first app and its tokens."""
        with self._lock:
            for each in (self.apps, self.tokens, self.grants, self._codes):
                each.clear()
            self._add_first()

    def find_app(self, client_id: str) -> App | None:
        """Return the app with that client id, or None."""
        with self._lock:
            return next((app for app in self.apps.values() if app.client_id == client_id), None)

    def add_app(self, app: App) -> None:
        """Make an app known; one with the same id gives way."""
        with self._lock:
            self.apps[app.id] = app
            self.changes += 1

    def add_token(self, token: str, access: Access) -> None:
        """Let a token open what it may."""
        with self._lock:
            self._forget_expired()
            self.tokens[token] = access
            self.changes += 1

    def find_access(self, token: str) -> Access | None:
        """Return what a token opens, also when it has expired; None for an unknown one."""
        return self.tokens.get(token)

    def add_code(self, grant: Grant, redirect_uri: str, challenge: str | None) -> str:
        """Return a new authorization code, for one use within five minutes."""
        code, expires_at = str(uuid4()), self._clock.now_ms() + _CODE_MS
        with self._lock:
            self._forget_expired()
            self._codes[code] = Code(grant, redirect_uri, expires_at, challenge)
        return code

    def take_code(self, code: str) -> Code | None:
        """Use an authorization code up; None when there is none, or it came too late."""
        with self._lock:
            found = self._codes.pop(code, None)
        return found if found and found.expires_at > self._clock.now_ms() else None

    def add_grant(self, grant: Grant) -> str:
        """Keep a grant and return its refresh token."""
        refresh_token = f"na1-{uuid4()}"
        with self._lock:
            self.grants[refresh_token] = grant
            self.changes += 1
        return refresh_token

    def issue_token(self, access: Access) -> str:
        """Return a new access token that opens this."""
        token = secrets.token_urlsafe(_ACCESS_TOKEN_BYTES)
        self.add_token(token, access)
        return token

    def revoke(self, refresh_token: str) -> Grant | None:
        """End a grant and return it; access tokens that it gave live on until they expire."""
        with self._lock:
            self.changes += 1
            return self.grants.pop(refresh_token, None)

    def uninstall(self, portal_id: int, app_id: int) -> int:
        """End all grants of an app in a portal; return how many there were."""
        with self._lock:
            ended = [
                refresh_token
                for refresh_token, grant in self.grants.items()
                if (grant.portal_id, grant.app_id) == (portal_id, app_id)
            ]
            for refresh_token in ended:
                del self.grants[refresh_token]
            self.changes += 1
        return len(ended)

    def close_portal(self, portal_id: int) -> None:
        """Forget the tokens that open a portal; its grants stay, to be refused as such."""
        with self._lock:
            for token, access in list(self.tokens.items()):
                if access.portal_id == portal_id:
                    del self.tokens[token]
            self.changes += 1

    def expire_tokens(self) -> int:
        """Let every OAuth access token expire now; return how many did."""
        now = self._clock.now_ms()
        with self._lock:
            alive = {
                token: replace(access, expires_at=now)
                for token, access in self.tokens.items()
                if access.expires_at is not None and access.expires_at > now
            }
            self.tokens.update(alive)
            self.changes += 1
        return len(alive)

    def dump(self) -> dict[str, Any]:
        """Return what the state file keeps."""
        with self._lock:
            return {
                "apps": [asdict(app) for app in self.apps.values()],
                "tokens": {token: asdict(each) for token, each in self.tokens.items()},
                "grants": {token: asdict(each) for token, each in self.grants.items()},
            }

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take back what `dump` gave; the first app and tokens stay as they were given.

        Raises KeyError, TypeError or AttributeError when the data is of another shape.
        """
        apps = [_load_app(each) for each in dumped.get("apps", ())]
        tokens = {name: Access(**_scopes(each)) for name, each in dumped.get("tokens", {}).items()}
        grants = {name: Grant(**_scopes(each)) for name, each in dumped.get("grants", {}).items()}
        with self._lock:
            self.apps.update({app.id: app for app in apps})
            self.tokens.update(tokens)
            self.grants.update(grants)
            self._add_first()

    def _add_first(self) -> None:
        self.apps[self._first_app.id] = self._first_app
        self.tokens.update(self._first_tokens)
        self.changes += 1

    def _forget_expired(self) -> None:
        """Make room; a token that expired is told so for a day, then it is an unknown one."""
        now = self._clock.now_ms()
        for each in _expired(self.tokens, now - DAY_MS):
            del self.tokens[each]
        for each in _expired(self._codes, now):
            del self._codes[each]


def _expired(held: Mapping[str, Access] | Mapping[str, Code], moment: int) -> Iterable[str]:
    return [
        name
        for name, each in held.items()
        if each.expires_at is not None and each.expires_at < moment
    ]


def _load_app(shape: dict[str, Any]) -> App:
    return App(**{**_scopes(shape), "redirect_uris": tuple(shape["redirect_uris"])})


def _scopes(shape: dict[str, Any]) -> dict[str, Any]:
    """Return the shape with its list of scopes as a set again."""
    scopes = shape["scopes"]
    return {**shape, "scopes": None if scopes is None else frozenset(scopes)}
