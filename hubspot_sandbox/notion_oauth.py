"""How a person lets an app into Notion: the page to consent on, codes, tokens, revoking.

Source: Notion API, "Authorization", "Create a token", "Refresh a token", "Revoke token",
"Introspect token". The app shows its id and secret by Basic authentication, in JSON requests.
"""

from typing import Any, Final

from flask import Blueprint, Response, request

from hubspot_sandbox.consent import (
    CANCEL,
    ConsentError,
    explain_refusal,
    refuse_other_sites,
    render_page,
    send_back,
)
from hubspot_sandbox.notion import (
    Notion,
    NotionError,
    answer_refusal,
    as_json,
    check_version,
    invalid,
    read_body,
)
from hubspot_sandbox.third_party_oauth import Allowed, Issued

_WORKSPACE: Final = "Bright Harbor"
_OWNER: Final = {
    "type": "user",
    "user": {
        "object": "user",
        "id": "0b6f3d0e-5e0b-4d0a-8a53-1d5e60b0c0de",
        "name": "Dana Okoye",
        "avatar_url": None,
        "type": "person",
        "person": {"email": "dana@brightharbor.example"},
    },
}
_BOT_ID: Final = "1c7f4e1e-5e0b-4d0a-8a53-2d5e60b0c0de"
_WORKSPACE_ID: Final = "2d8f5f2e-5e0b-4d0a-8a53-3d5e60b0c0de"
_LARGEST_STATE: Final = 4_000


def notion_oauth_blueprint(notion: Notion) -> Blueprint:
    """Build everything under ``/v1/oauth`` for a workspace."""
    blueprint = Blueprint("notion_oauth", __name__, url_prefix="/v1/oauth")
    views = _Views(notion)
    blueprint.add_url_rule("/authorize", "show_consent", views.show, methods=["GET"])
    blueprint.add_url_rule("/authorize", "answer_consent", views.answer, methods=["POST"])
    for name, view in (
        ("token", views.create_token),
        ("revoke", views.revoke),
        ("introspect", views.introspect),
    ):
        blueprint.add_url_rule(f"/{name}", name, as_json(view), methods=["POST"])
    blueprint.register_error_handler(ConsentError, explain_refusal)
    blueprint.register_error_handler(NotionError, answer_refusal)
    return blueprint


class _Views:
    """What is asked under ``/v1/oauth``."""

    def __init__(self, notion: Notion) -> None:
        self._notion = notion

    def show(self) -> Response:
        redirect_uri = self._redirect_uri()
        return render_page(
            "consent_outside.html",
            200,
            redirect_uri,
            label="Notion",
            legend="Pages and databases",
            choices={each.id: each.title for each in self._notion.things},
            redirect_uri=redirect_uri,
        )

    def answer(self) -> Response:
        refuse_other_sites()
        redirect_uri, state = self._redirect_uri(), request.args.get("state")
        more = {} if state is None else {"state": state}
        if request.form.get("action") == CANCEL:
            return send_back(redirect_uri, error="access_denied", **more)
        chosen = frozenset(request.form.getlist("choice")) & {e.id for e in self._notion.things}
        if not chosen:
            raise ConsentError("Choose at least one page.")
        code = self._notion.book.add_code(Allowed(frozenset(), chosen), redirect_uri)
        return send_back(redirect_uri, code=code, **more)

    def create_token(self) -> dict[str, Any]:
        body = self._read("grant_type")
        if body["grant_type"] == "authorization_code":
            code = self._notion.book.take_code(_text(body, "code"))
            if code is None:
                raise _invalid_grant("Invalid code: this code is unknown, expired or used.")
            if body.get("redirect_uri") != code.redirect_uri:
                raise _invalid_grant("Invalid redirect_uri: it differs from the authorization's.")
            return _token_answer(self._notion.book.issue(code.allowed, body["code"]))
        if body["grant_type"] == "refresh_token":
            issued = self._notion.book.refresh(_text(body, "refresh_token"))
            if issued is None:
                raise _invalid_grant("Invalid refresh_token.")
            return _token_answer(issued)
        raise invalid('body.grant_type should be "authorization_code" or "refresh_token"')

    def revoke(self) -> dict[str, Any]:
        body = self._read("token")
        self._notion.book.revoke(_text(body, "token"))
        return {}

    def introspect(self) -> dict[str, Any]:
        body = self._read("token")
        return {"active": self._notion.book.find(_text(body, "token")) is not None}

    def _read(self, required: str) -> dict[str, Any]:
        """The body of a request that the app makes as itself."""
        if not self._notion.app.is_basic():
            raise NotionError(401, "invalid_client", "Client authentication failed.")
        check_version()
        body = read_body()
        _text(body, required)
        return body

    def _redirect_uri(self) -> str:
        """Check what the address of the page says; raise ConsentError."""
        query, app = request.args, self._notion.app
        if query.get("client_id") != app.client_id:
            raise ConsentError("Missing or invalid client_id.")
        if query.get("redirect_uri") not in app.redirect_uris:
            raise ConsentError("Missing or invalid redirect_uri.")
        if query.get("response_type") != "code":
            raise ConsentError("Missing or invalid response_type.")
        if query.get("owner") != "user":
            raise ConsentError("Missing or invalid owner.")
        if len(query.get("state", "")) > _LARGEST_STATE:
            raise ConsentError("The state is too long.")
        return query["redirect_uri"]


def _token_answer(issued: Issued) -> dict[str, Any]:
    """Notion does not tell when a token ends."""
    return {
        "access_token": issued.access_token,
        "token_type": "bearer",
        "refresh_token": issued.refresh_token,
        "bot_id": _BOT_ID,
        "workspace_id": _WORKSPACE_ID,
        "workspace_name": _WORKSPACE,
        "workspace_icon": None,
        "owner": _OWNER,
        "duplicated_template_id": None,
    }


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"body.{name} should be a string")
    return value


def _invalid_grant(message: str) -> NotionError:
    return NotionError(400, "invalid_grant", message)
