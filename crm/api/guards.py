"""Guards: who may call a route. Each route names one; a route without any is refused to all."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial, update_wrapper
from hmac import compare_digest
from typing import Any, TypeVar
from uuid import UUID

from flask import current_app, g, request
from flask_jwt_extended import decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import PyJWTError
from structlog.contextvars import bind_contextvars

from crm import open_access
from crm.accounts.api_keys import is_key
from crm.accounts.callers import Caller, find_key_holder, find_open_caller, find_signed_in
from crm.api.schemas.inputs import body_of
from crm.errors import ForbiddenError, MissingTokenError, TokenError
from crm.inbox.replay import check_signature

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Claims:
    """What a token of ours says."""

    token_type: str
    user_id: int
    sign_in_id: UUID
    refresh_id: UUID | None
    expires_at: float


class Guard(StrEnum):
    """Who may call."""

    PUBLIC = "public"
    MEMBER = "user, admin or key"
    ADMIN = "admin or key"
    PERSON = "user or admin"
    REFRESH = "the holder of a refresh token"
    OPERATOR = "whoever shows METRICS_TOKEN; in development, without one, anybody"
    HUBSPOT = "whoever signs with the secret of our app in HubSpot"


def guarded(guard: Guard) -> Callable[[View], View]:
    """Name the guard of a view; the decorator next to its route."""

    def mark(view: View) -> View:
        view.guard = guard  # type: ignore[attr-defined]
        return view

    return mark


def open_to_all(view: Callable[..., Any]) -> Callable[..., Any]:
    """A library's view as one that names the guard ``PUBLIC``."""
    # Under its own name: the limiter knows views by theirs.
    return guarded(Guard.PUBLIC)(update_wrapper(partial(view), view))


def guard_of(view: Callable[..., Any]) -> Guard | None:
    """The guard that a view names."""
    guard: Guard | None = getattr(view, "guard", None)
    return guard


def current_caller() -> Caller:
    """The caller whom the guard let pass."""
    caller: Caller = g.caller
    return caller


def current_sign_in() -> UUID:
    """The sign-in that the caller's token belongs to."""
    claims: Claims = g.claims
    return claims.sign_in_id


def current_refresh_id() -> UUID:
    """The id of the caller's refresh token."""
    refresh_id: UUID = g.claims.refresh_id
    return refresh_id


def is_signed_by_hubspot() -> bool:
    """Whether this request is a delivery of HubSpot's, which no limit may turn away."""
    return bool(g.get("is_signed"))


def identify() -> None:
    """Read the credentials; whoever proves an identity has limits of their own."""
    g.caller = g.claims = g.signature_error = None
    g.is_signed = False
    if request.endpoint is None:
        return  # Flask is about to answer 404 or 405.
    guard = guard_of(current_app.view_functions[request.endpoint])
    if guard is Guard.HUBSPOT:
        g.signature_error = _find_signature_error()
        g.is_signed = g.signature_error is None
    elif guard is not Guard.OPERATOR:  # Whose token is none of ours.
        _read_credential(request.headers.get("X-API-Key"), request.headers.get("Authorization"))


def _read_credential(key: str | None, authorization: str | None) -> None:
    """Find who shows a key or a token; nobody, who shows both: it is not ours to choose."""
    if key is not None and authorization is not None:
        return
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        token = ""
    if key or is_key(token):
        g.caller = find_key_holder(key or token)
        if g.caller:
            g.limit_key = f"key {g.caller.key_id}"
    elif token:
        g.claims = _claims(token)
        if g.claims:
            g.limit_key = f"user {g.claims.user_id}"


def authorize() -> None:
    """Let the request pass, or refuse it, by the guard of its route.

    Raises:
        MissingTokenError: no credentials.
        TokenError: none that count here, or no good signature.
        ForbiddenError: a key where a person is needed, or a route that names no guard.
    """
    if request.endpoint is None:
        return  # Flask is about to answer 404 or 405.
    guard = guard_of(current_app.view_functions[request.endpoint])
    if guard is None:
        raise ForbiddenError("This route names no guard")
    if guard is Guard.PUBLIC or not isinstance(guard, Guard):
        return  # The console's knows people by a cookie and asks for itself.
    if guard is Guard.OPERATOR:
        _check_operator()
        return
    if guard is Guard.HUBSPOT:
        if g.signature_error:
            raise g.signature_error
        return
    if g.caller is None:
        g.caller = _find_open_caller() or _signed_in(
            "refresh" if guard is Guard.REFRESH else "access"
        )
    _check_role(guard, g.caller)


def _shows_nothing() -> bool:
    return not {"HTTP_AUTHORIZATION", "HTTP_X_API_KEY"} & request.environ.keys()


def _find_open_caller() -> Caller | None:
    """Somebody who tries the service out, on a route that may be tried so."""
    blueprint = current_app.blueprints.get(request.blueprint or "")
    is_open = getattr(blueprint, "in_open_access", False) and _shows_nothing()
    if not is_open or not open_access.is_granted():
        return None
    bind_contextvars(caller="open access")
    return find_open_caller()


def _check_operator() -> None:
    settings = current_app.extensions["crm_settings"]
    if not settings.metrics_token and not settings.is_production:
        return
    if _shows_nothing():
        raise MissingTokenError
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    is_right = compare_digest(shown.encode(), settings.metrics_token.encode())
    if scheme.lower() != "bearer" or not shown or not is_right:
        raise TokenError


def _check_role(guard: Guard, caller: Caller) -> None:
    if caller.role == "key" and guard not in (Guard.MEMBER, Guard.ADMIN):
        raise ForbiddenError("An API key cannot do this; sign in as a user")
    if guard is Guard.ADMIN and not caller.is_admin:
        raise ForbiddenError("This needs the role admin")


def _find_signature_error() -> TokenError | None:
    # Not base_url, which is worked out anew as an IRI, and shows in what a delivery costs.
    uri = f"{request.scheme}://{request.host}{request.script_root}{request.path}"
    if query := request.query_string:
        uri += f"?{query.decode('ascii', 'replace')}"
    try:
        check_signature(request.headers.get, method=request.method, uri=uri, body=body_of(request))
    except TokenError as error:
        return error
    return None


def _signed_in(token_type: str) -> Caller:
    if _shows_nothing():
        raise MissingTokenError
    if g.claims is None or g.claims.token_type != token_type:
        raise TokenError
    caller = find_signed_in(g.claims.user_id, g.claims.sign_in_id)
    if caller is None:
        raise TokenError
    return caller


def _claims(token: str) -> Claims | None:
    try:
        claims = _verified(token, current_app.config["JWT_SECRET_KEY"])
    except (JWTExtendedException, PyJWTError):
        return None
    except (KeyError, ValueError, TypeError, AttributeError):
        return None  # Signed by us, but with claims of another kind.
    return claims if claims.expires_at > time.time() else None


@lru_cache(maxsize=4096)
def _verified(token: str, _secret: str) -> Claims:
    """The claims of a token that we signed, however old; the same token needs no second look."""
    claims = decode_token(token, allow_expired=True)
    return Claims(
        token_type=claims["type"],
        user_id=int(claims["sub"]),
        sign_in_id=UUID(claims["sid"]),
        refresh_id=UUID(claims["rid"]) if claims["type"] == "refresh" else None,
        expires_at=float(claims["exp"]),
    )
