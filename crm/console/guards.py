"""Guards of the console: who may open a page. Each view names one; a cookie tells who asks.

The cookie is signed, and names a sign-in of ``crm.accounts.sessions``: ending that row ends the
session at once, wherever the cookie still is. The API never looks at cookies, and the console
never at tokens and keys, so what a browser sends along by itself opens nothing but pages.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from flask import Response, current_app, g, redirect, request, session, url_for

from crm.accounts.callers import Caller, find_signed_in
from crm.accounts.sessions import SignedIn
from crm.errors import ForbiddenError

View = TypeVar("View", bound=Callable[..., Any])

_USER, _SIGN_IN, _EMAIL = "user", "sign_in", "email"


class Guard(StrEnum):
    """Who may open a page."""

    ANYONE = "anyone with a browser"
    PERSON = "a user or admin who is signed in to the console"
    ADMIN = "an admin who is signed in to the console"


def guarded(guard: Guard) -> Callable[[View], View]:
    """Name the guard of a view; the decorator next to its route."""

    def mark(view: View) -> View:
        view.guard = guard  # type: ignore[attr-defined]
        return view

    return mark


def begin_session(signed_in: SignedIn, email: str) -> None:
    """Have the browser remember a sign-in; whatever it knew before is gone."""
    session.clear()
    session.permanent = True
    session.update({_USER: signed_in.user_id, _SIGN_IN: str(signed_in.id), _EMAIL: email})


def end_session() -> UUID | None:
    """Have the browser forget; returns the sign-in that it knew."""
    known = _from_cookie()
    session.clear()
    return known.id if known else None


def identify() -> None:
    """Read the cookie; whoever it names has limits of their own. Asks no database."""
    if isinstance(_guard(), Guard):
        g.caller = None
        if known := _from_cookie():
            g.limit_key = f"user {known.user_id}"


def authorize() -> Response | None:
    """Let the request pass, send it to the sign-in, or refuse it.

    Raises:
        ForbiddenError: an admin's page, and somebody else.
    """
    guard = _guard()
    if guard not in (Guard.PERSON, Guard.ADMIN):
        return None
    g.caller = find_signed_in_caller()
    if g.caller is None:
        session.pop(_SIGN_IN, None)
        back = request.full_path.removesuffix("?") if request.method == "GET" else None
        return redirect(url_for("console.accounts.sign_in", next=back), 303)  # type: ignore[return-value]
    g.person = session[_EMAIL]
    if guard is Guard.ADMIN and not g.caller.is_admin:
        raise ForbiddenError("This page is for administrators.")
    return None


def find_signed_in_caller() -> Caller | None:
    """Who is signed in with this browser, if anybody."""
    known = _from_cookie()
    return find_signed_in(known.user_id, known.id) if known else None


def current_caller() -> Caller:
    """Who opens the page, as the guard let them pass."""
    caller: Caller = g.caller
    return caller


def current_sign_in() -> UUID:
    """The sign-in that opens the page, as the guard let it pass."""
    return UUID(session[_SIGN_IN])


def _from_cookie() -> SignedIn | None:
    try:
        return SignedIn(session[_USER], UUID(session[_SIGN_IN]))
    except KeyError:
        return None


def _guard() -> Any:
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, "guard", None)
