"""How a person lets an app into Airtable: the page to consent on, codes, tokens, refreshing.

Source: Airtable Web API, "OAuth reference". PKCE by SHA-256 and a state are mandatory, a client
that has a secret shows it by Basic authentication, a refresh token counts once.
"""

import base64
import hashlib
import re
from typing import Any, Final

import orjson
from flask import Blueprint, Response, request

from hubspot_sandbox.airtable import EMAIL_SCOPE, SCHEMA_SCOPE, Airtable
from hubspot_sandbox.consent import (
    CANCEL,
    ConsentError,
    explain_refusal,
    refuse_other_sites,
    render_page,
    send_back,
)
from hubspot_sandbox.third_party_oauth import Allowed, Code, Issued

_SCOPES: Final = frozenset({SCHEMA_SCOPE, EMAIL_SCOPE, "data.records:read"})
"""Those that are chosen in the app's settings."""
_STATE: Final = re.compile(r"[!-~]{16,1024}")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_FORM: Final = "application/x-www-form-urlencoded"


class TokenRefusal(Exception):  # noqa: N818 - a word of the RFC's, no mistake of ours
    """A refusal in the words of RFC 6749."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        """Keep what the answer will say."""
        super().__init__(description)
        self.status = status
        self.body = {"error": code, "error_description": description}


def airtable_oauth_blueprint(airtable: Airtable) -> Blueprint:
    """Build everything under ``/oauth2/v1`` for an account."""
    blueprint = Blueprint("airtable_oauth", __name__, url_prefix="/oauth2/v1")

    def show() -> Response:
        redirect_uri = _redirect_uri(airtable)
        problem = _find_problem()
        if problem:
            return _send_back(redirect_uri, error=problem[0], error_description=problem[1])
        return render_page(
            "consent_outside.html",
            200,
            redirect_uri,
            label="Airtable",
            legend="Bases",
            choices={each.id: each.name for each in airtable.bases},
            scopes=_asked_scopes(),
            redirect_uri=redirect_uri,
        )

    def answer() -> Response:
        refuse_other_sites()
        redirect_uri = _redirect_uri(airtable)
        problem = _find_problem()
        if request.form.get("action") == CANCEL:
            problem = "access_denied", "The user denied the request"
        if problem:
            return _send_back(redirect_uri, error=problem[0], error_description=problem[1])
        chosen = frozenset(request.form.getlist("choice")) & {each.id for each in airtable.bases}
        if not chosen:
            raise ConsentError("Choose at least one base.")
        allowed = Allowed(frozenset(_asked_scopes()), chosen)
        challenge = request.args["code_challenge"]
        return _send_back(
            redirect_uri, code=airtable.book.add_code(allowed, redirect_uri, challenge)
        )

    def create_token() -> Response:
        return _answer(200, _create_token(airtable))

    blueprint.add_url_rule("/authorize", "show_consent", show, methods=["GET"])
    blueprint.add_url_rule("/authorize", "answer_consent", answer, methods=["POST"])
    blueprint.add_url_rule("/token", "create_token", create_token, methods=["POST"])
    blueprint.register_error_handler(ConsentError, explain_refusal)
    blueprint.register_error_handler(TokenRefusal, lambda error: _answer(error.status, error.body))
    return blueprint


def _redirect_uri(airtable: Airtable) -> str:
    """Check what decides where a person may be sent; raise ConsentError."""
    if request.args.get("client_id") != airtable.app.client_id:
        raise ConsentError("The client_id is missing, or no integration has it.")
    redirect_uri = request.args.get("redirect_uri", "")
    if redirect_uri not in airtable.app.redirect_uris:
        raise ConsentError("The redirect_uri is missing, or is none of the integration's.")
    return redirect_uri


def _find_problem() -> tuple[str, str] | None:
    """What is wrong with the rest of the request, which the app is told."""
    query = request.args
    if query.get("response_type") != "code":
        return "unsupported_response_type", "response_type must be code"
    if not _STATE.fullmatch(query.get("state", "")):
        return "invalid_request", "state must have 16 to 1024 characters"
    if query.get("code_challenge_method") != "S256":
        return "invalid_request", "code_challenge_method must be S256"
    if not _CHALLENGE.fullmatch(query.get("code_challenge", "")):
        return "invalid_request", "code_challenge must be a SHA-256 digest in base64url"
    scopes = _asked_scopes()
    if not scopes or len(set(scopes)) != len(scopes) or not set(scopes) <= _SCOPES:
        return "invalid_scope", "scope must list unique scopes of the integration"
    return None


def _asked_scopes() -> list[str]:
    return request.args.get("scope", "").split()


def _send_back(redirect_uri: str, **parameters: str) -> Response:
    """Airtable repeats what it was asked with."""
    names = ("state", "code_challenge", "code_challenge_method")
    repeated = {name: request.args[name] for name in names if name in request.args}
    return send_back(redirect_uri, **parameters, **repeated)


def _create_token(airtable: Airtable) -> dict[str, Any]:
    if request.mimetype != _FORM:
        raise TokenRefusal("invalid_request", f"The content type must be {_FORM}")
    if not airtable.app.is_basic():
        raise TokenRefusal("invalid_client", "Invalid client credentials", 401)
    form = request.form
    if form.get("client_id", airtable.app.client_id) != airtable.app.client_id:
        raise TokenRefusal("invalid_request", "client_id differs from the authorization header's")
    grant_type = form.get("grant_type")
    if grant_type == "authorization_code":
        code = _checked(airtable.book.take_code(form.get("code", "")))
        return _token_answer(airtable, airtable.book.issue(code.allowed, form["code"]))
    if grant_type == "refresh_token":
        issued = airtable.book.refresh(form.get("refresh_token", ""))
        if issued is None:
            raise TokenRefusal("invalid_grant", "Invalid refresh token")
        return _token_answer(airtable, issued)
    raise TokenRefusal("unsupported_grant_type", "grant_type is missing or unknown")


def _checked(code: Code | None) -> Code:
    form = request.form
    if code is None:
        raise TokenRefusal("invalid_grant", "Invalid code")
    if form.get("redirect_uri") != code.redirect_uri:
        raise TokenRefusal("invalid_grant", "redirect_uri differs from the authorization request's")
    verifier = form.get("code_verifier", "")
    if not _VERIFIER.fullmatch(verifier):
        raise TokenRefusal("invalid_request", "code_verifier must have 43 to 128 characters")
    digest = hashlib.sha256(verifier.encode()).digest()
    if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
        raise TokenRefusal("invalid_grant", "code_verifier does not match code_challenge")
    return code


def _token_answer(airtable: Airtable, issued: Issued) -> dict[str, Any]:
    return {
        "access_token": issued.access_token,
        "refresh_token": issued.refresh_token,
        "token_type": "Bearer",
        "scope": " ".join(sorted(issued.allowed.scopes)),
        "expires_in": airtable.book.access_seconds,
        "refresh_expires_in": airtable.book.refresh_seconds,
    }


def _answer(status: int, body: dict[str, Any]) -> Response:
    response = Response(orjson.dumps(body), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
