"""The page on which a person lets an app into a portal, as ``app.hubspot.com/oauth/authorize``.

Whoever opens it counts as signed in to every portal. A wrong request gets a page that says so
and is never sent on: the address to send it to is not to be trusted then.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, render_template, request

from hubspot_sandbox.access import App, Grant
from hubspot_sandbox.payload import whole_number
from hubspot_sandbox.scopes import is_known_scope
from hubspot_sandbox.store import Portal, Sandbox

CANCEL: Final = "cancel"

_LARGEST_STATE: Final = 4_000
_CHALLENGE_LENGTH: Final = 43


class ConsentError(Exception):
    """The address of the page, or the answer to it, is wrong; the text is for the person."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an app asks for, already found to be in order."""

    app: App
    redirect_uri: str
    scopes: frozenset[str]
    optional_scopes: frozenset[str]
    state: str
    challenge: str | None


def add_consent_page(oauth: Blueprint, sandbox: Sandbox) -> None:
    """Serve the page and take what the person answers."""

    def show() -> Response:
        asked = _read(sandbox)
        portals = sandbox.portals.values()
        return render_page("consent.html", 200, asked.redirect_uri, asked=asked, portals=portals)

    def answer() -> Response:
        refuse_other_sites()
        asked = _read(sandbox)
        if request.form.get("action") == CANCEL:
            description = "The user has denied access to the app"
            return _send_back(asked, error="access_denied", error_description=description)
        portal = _chosen_portal(sandbox)
        with portal.lock:
            user_id = portal.owners[0].user_id
        scopes = asked.scopes | asked.optional_scopes
        grant = Grant(portal.id, asked.app.id, user_id, scopes)
        code = sandbox.registry.add_code(grant, asked.redirect_uri, asked.challenge)
        return _send_back(asked, code=code)

    oauth.add_url_rule("/authorize", "show_consent", show, methods=["GET"])
    oauth.add_url_rule("/authorize", "answer_consent", answer, methods=["POST"])
    oauth.register_error_handler(ConsentError, explain_refusal)


def _read(sandbox: Sandbox) -> Asked:
    """Check what the address of the page says; raise ConsentError."""
    query = request.args
    app = sandbox.registry.find_app(query.get("client_id", ""))
    if app is None:
        raise ConsentError("The client_id is missing, or no app has it.")
    redirect_uri = query.get("redirect_uri", "")
    if redirect_uri not in app.redirect_uris:
        raise ConsentError("The redirect_uri is missing, or is none of the app's.")
    scopes = frozenset(query.get("scope", "").split())
    optional = frozenset(query.get("optional_scope", "").split())
    _check_scopes(app, scopes, optional)
    if len(query.get("state", "")) > _LARGEST_STATE:
        raise ConsentError("The state is too long.")
    return Asked(app, redirect_uri, scopes, optional, query.get("state", ""), _read_challenge())


def _check_scopes(app: App, scopes: frozenset[str], optional: frozenset[str]) -> None:
    if not scopes:
        raise ConsentError("The scope is missing: name at least one.")
    unknown = sorted(each for each in scopes | optional if not is_known_scope(each))
    if unknown:
        raise ConsentError(f"HubSpot knows no scope {', '.join(unknown)}.")
    if app.scopes is not None and not scopes | optional <= app.scopes:
        raise ConsentError(
            "There is a mismatch between the scopes in the install address and those in the "
            f"app's settings: {', '.join(sorted((scopes | optional) - app.scopes))}."
        )


def _read_challenge() -> str | None:
    """Return the PKCE challenge, if there is one."""
    challenge = request.args.get("code_challenge")
    if challenge is None:
        return None
    if request.args.get("code_challenge_method") != "S256":
        raise ConsentError("The code_challenge_method must be S256.")
    if len(challenge) != _CHALLENGE_LENGTH:
        raise ConsentError("The code_challenge is no SHA-256 digest in base64url.")
    return challenge


def _chosen_portal(sandbox: Sandbox) -> Portal:
    portals = sandbox.portals
    text = request.form.get("portal_id")
    if text is None and len(portals) == 1:
        return portals[sandbox.first_portal_id]
    portal = portals.get(whole_number(text or "") or 0)
    if portal is None:
        raise ConsentError("Choose one of the accounts.")
    return portal


def refuse_other_sites() -> None:
    """Let nobody answer but the page itself: browsers say where a form came from."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise ConsentError("The answer did not come from this page.")


def _send_back(asked: Asked, **told: str) -> Response:
    return send_back(asked.redirect_uri, **told, **({"state": asked.state} if asked.state else {}))


def send_back(redirect_uri: str, **told: str) -> Response:
    """Redirect to the app, with what it needs to know."""
    target = urlsplit(redirect_uri)
    query = urlencode([*parse_qsl(target.query, keep_blank_values=True), *told.items()])
    address = urlunsplit(target._replace(query=query))
    return Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})


def explain_refusal(error: ConsentError) -> Response:
    """Tell the person what is wrong, and send them nowhere."""
    return render_page("consent_error.html", 400, problem=str(error))


def render_page(template: str, status: int, leads_to: str = "", **shown: object) -> Response:
    """Render a page that loads nothing, runs nothing, and stands in no frame.

    Its form may lead to the address that it redirects to.
    """
    nonce = secrets.token_urlsafe(16)
    # A browser holds the form's redirect to this list too.
    targets = ["'self'", *_origins([leads_to] if leads_to else [])]
    response = Response(
        render_template(template, nonce=nonce, **shown),
        status,
        content_type="text/html;charset=utf-8",
    )
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; "
        f"form-action {' '.join(targets)}; frame-ancestors 'none'"
    )
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _origins(addresses: Iterable[str]) -> list[str]:
    return [f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, addresses)]
