"""Guards: who may call a route. Each route names one; a route without any is refused to all."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from flask import current_app, g, request
from flask_jwt_extended import decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import PyJWTError

from crm.errors import ForbiddenError, TokenError
from crm.services.callers import Caller, find_key_holder, find_signed_in

View = TypeVar("View", bound=Callable[..., Any])


class Guard(StrEnum):
    """Who may call."""

    PUBLIC = "public"
    MEMBER = "user, admin or key"
    PERSON = "user or admin"
    REFRESH = "the holder of a refresh token"


def guarded(guard: Guard) -> Callable[[View], View]:
    """Name the guard of a view; the decorator next to its route."""

    def mark(view: View) -> View:
        view.guard = guard  # type: ignore[attr-defined]
        return view

    return mark


def open_to_all(view: Callable[..., Any]) -> Callable[..., Any]:
    """A library's view as one that names the guard ``PUBLIC``."""
    return guarded(Guard.PUBLIC)(partial(view))


def current_caller() -> Caller:
    """The caller whom the guard let pass."""
    caller: Caller = g.caller
    return caller


def current_sign_in() -> UUID:
    """The sign-in that the caller's token belongs to."""
    return UUID(g.claims["sid"])


def current_refresh_id() -> UUID:
    """The id of the caller's refresh token."""
    return UUID(g.claims["rid"])


def identify() -> None:
    """Read the credentials; whoever proves an identity has limits of their own."""
    g.caller = g.claims = None
    key = request.headers.get("X-API-Key")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if key:
        g.caller = find_key_holder(key)
        if g.caller:
            g.limit_key = f"organization {g.caller.organization_id}"
    elif token and scheme.lower() == "bearer":
        g.claims = _claims(token)
        if g.claims:
            g.limit_key = f"user {g.claims['sub']}"


def authorize() -> None:
    """Let the request pass, or refuse it, by the guard of its route.

    Raises:
        TokenError: no credentials, or none that count here.
        ForbiddenError: a key where a person is needed, or a route that names no guard.
    """
    if request.endpoint is None:
        return  # Flask is about to answer 404 or 405.
    guard = getattr(current_app.view_functions[request.endpoint], "guard", None)
    if guard is Guard.PUBLIC:
        return
    if guard is None:
        raise ForbiddenError("This route names no guard")
    if g.caller is None:
        g.caller = _signed_in("refresh" if guard is Guard.REFRESH else "access")
    elif guard is not Guard.MEMBER:
        raise ForbiddenError("An API key cannot do this; sign in as a user")


def _signed_in(token_type: str) -> Caller:
    if g.claims is None or g.claims["type"] != token_type:
        raise TokenError
    caller = find_signed_in(int(g.claims["sub"]), current_sign_in())
    if caller is None:
        raise TokenError
    return caller


def _claims(token: str) -> dict[str, Any] | None:
    try:
        claims: dict[str, Any] = decode_token(token)
    except (JWTExtendedException, PyJWTError):
        return None
    return claims
