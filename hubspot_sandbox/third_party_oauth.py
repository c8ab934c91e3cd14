"""What Airtable and Notion have in common: an app, codes, and the tokens that come from them.

Unlike HubSpot's, their refresh tokens count once, and both old tokens end with a refresh. Nothing
of it is kept between runs.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final
from uuid import uuid4

from flask import request

from hubspot_sandbox.clock import Clock

_CODE_MS: Final = 10 * 60_000


@dataclass(frozen=True, slots=True)
class ThirdPartyApp:
    """Our app, as a provider beside HubSpot knows it."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...]

    def is_basic(self) -> bool:
        """Whether the request shows the app's id and secret as HTTP's Basic authentication."""
        shown = request.authorization
        if shown is None or shown.type != "basic":
            return False
        pairs = ((shown.username, self.client_id), (shown.password, self.client_secret))
        return all(
            secrets.compare_digest((given or "").encode(), own.encode()) for given, own in pairs
        )


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a person has allowed the app: scopes, and the things that they chose."""

    scopes: frozenset[str]
    choices: frozenset[str]


@dataclass(frozen=True, slots=True)
class Code:
    """What waits to be fetched by the app, with what the app has to prove."""

    allowed: Allowed
    redirect_uri: str
    challenge: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Issued:
    """Two tokens that end together."""

    allowed: Allowed
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    code: str = field(repr=False)
    access_until: int
    refresh_until: int


class TokenBook:
    """The codes and tokens of one provider; safe to use from several threads.

    Args:
        clock: of the sandbox.
        access_seconds: how long an access token lives.
        refresh_seconds: how long a refresh token that nobody uses lives.
    """

    def __init__(self, clock: Clock, *, access_seconds: int, refresh_seconds: int) -> None:
        """Begin with none."""
        self.access_seconds, self.refresh_seconds = access_seconds, refresh_seconds
        self._clock = clock
        self._codes: dict[str, Code] = {}
        self._issued: list[Issued] = []
        self._lock = Lock()

    def reset(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._codes.clear()
            self._issued.clear()

    def add_code(self, allowed: Allowed, redirect_uri: str, challenge: str = "") -> str:
        """Return a new code, for one use within ten minutes."""
        code = str(uuid4())
        until = self._clock.now_ms() + _CODE_MS
        with self._lock:
            self._codes[code] = Code(allowed, redirect_uri, challenge, until)
        return code

    def take_code(self, code: str) -> Code | None:
        """Use a code up; what a code gave that is used twice ends (RFC 6749, 4.1.2)."""
        with self._lock:
            found = self._codes.pop(code, None)
            if found is None:
                self._issued = [each for each in self._issued if each.code != code]
        return found if found and found.expires_at > self._clock.now_ms() else None

    def issue(self, allowed: Allowed, code: str) -> Issued:
        """Return new tokens; ``code`` is what they come from."""
        now = self._clock.now_ms()
        issued = Issued(
            allowed,
            secrets.token_urlsafe(48),
            secrets.token_urlsafe(48),
            code,
            now + self.access_seconds * 1000,
            now + self.refresh_seconds * 1000,
        )
        with self._lock:
            self._issued.append(issued)
        return issued

    def find(self, access_token: str) -> Allowed | None:
        """Return what a live access token opens, or None."""
        now = self._clock.now_ms()
        with self._lock:
            alive = (each for each in self._issued if each.access_until > now)
            return next((e.allowed for e in alive if e.access_token == access_token), None)

    def refresh(self, refresh_token: str) -> Issued | None:
        """Return new tokens for a refresh token, which ends with its access token."""
        now = self._clock.now_ms()
        with self._lock:
            found = self._remove(
                each for each in self._issued if each.refresh_token == refresh_token
            )
        if found is None or found.refresh_until <= now:
            return None
        return self.issue(found.allowed, found.code)

    def revoke(self, token: str) -> bool:
        """End the tokens of which this is one; say whether there were any."""
        with self._lock:
            mine = (e for e in self._issued if token in (e.access_token, e.refresh_token))
            return self._remove(mine) is not None

    def expire_access(self) -> None:
        """Let every access token end now."""
        now = self._clock.now_ms()
        with self._lock:
            self._issued = [
                Issued(e.allowed, e.access_token, e.refresh_token, e.code, now, e.refresh_until)
                for e in self._issued
            ]

    def list_secrets(self) -> list[str]:
        """Return every live token."""
        with self._lock:
            return [each for e in self._issued for each in (e.access_token, e.refresh_token)]

    def _remove(self, found: Iterable[Issued]) -> Issued | None:
        issued = next(iter(found), None)
        if issued:
            self._issued.remove(issued)
        return issued


def bearer() -> str:
    """The bearer token of the request; empty when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
