"""Integrations: connecting a provider by OAuth, its items, and disconnecting."""

from typing import Any

import structlog
from flask import Response, after_this_request, render_template, request
from werkzeug.datastructures import MultiDict

from crm import integrations
from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, current_caller, current_sign_in, guarded
from crm.api.schemas.accounts import MessageSchema
from crm.api.schemas.integrations import (
    AuthorizationInput,
    AuthorizationSchema,
    IntegrationSchema,
    IntegrationsSchema,
    ItemPageSchema,
    ItemsQueryInput,
)
from crm.errors import ConfigError, CRMError, NotFoundError
from crm.integrations import Integration
from crm.integrations.consent import Begun, Returned, cookie_name

log = structlog.get_logger(__name__)

bp = APIBlueprint(
    "integrations",
    __name__,
    url_prefix="/integrations",
    static_folder="static",
    template_folder="templates",
    description="What people connect by OAuth",
    in_open_access=True,
)

_LONGEST_SECRET = 4096
# The page loads its own two files and nothing else, and stands in no frame.
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    # Its address holds the code.
    "Referrer-Policy": "no-referrer",
}


@bp.get("")
@guarded(Guard.PERSON)
@bp.response(200, IntegrationsSchema)
def list_integrations() -> dict[str, list[Integration]]:
    """The providers, and whether each is connected, as whom, until when."""
    return {"integrations": integrations.list_integrations(current_caller())}


@bp.post("/<provider>/authorize")
@guarded(Guard.PERSON)
@bp.arguments(AuthorizationInput)
@bp.response(200, AuthorizationSchema)
@bp.alt_response(404, "NOT_FOUND")
@bp.alt_response(409, "CONFLICT")
@bp.alt_response(413, "REQUEST_ENTITY_TOO_LARGE")
@bp.alt_response(503, "SERVICE_UNAVAILABLE")
def authorize(given: dict[str, bool], provider: str) -> Begun:
    """Begin to connect: where to send the person, in the browser that gets this answer's cookie."""
    caller = current_caller()
    begun = integrations.begin(
        caller,
        None if caller.is_open_access else current_sign_in(),
        provider,
        stay_connected=given["stay_connected"],
    )

    @after_this_request
    def leave_cookie(response: Response) -> Response:
        response.set_cookie(**begun.cookie)
        response.headers["Cache-Control"] = "no-store"
        return response

    return begun


@bp.get("/<provider>/oauth2callback")
@guarded(Guard.PUBLIC)
@bp.response(
    200, {"type": "string"}, content_type="text/html", description="A page that closes itself"
)
@bp.alt_response(400, "BAD_REQUEST")
@bp.alt_response(404, "NOT_FOUND")
def oauth2callback(provider: str) -> Response:
    """Finish connecting; only for the browser that began, which the provider sends here."""
    query = request.args
    returned = Returned(
        state=_only(query, "state"),
        code=_only(query, "code"),
        error=_only(query, "error"),
        browser_secret=request.cookies.get(cookie_name(provider), "")[:_LONGEST_SECRET],
    )
    try:
        finished = integrations.finish(provider, returned)
    except (NotFoundError, ConfigError):
        raise
    except CRMError as error:
        log.info("integration not connected", provider=provider, reason=error.error_code)
        return _page(provider, error.status, problem=error.message)
    return _page(provider, 200, finished=finished)


@bp.get("/<provider>/credentials")
@guarded(Guard.PERSON)
@bp.response(200, IntegrationSchema)
@bp.alt_response(404, "NOT_FOUND")
@bp.alt_response(503, "SERVICE_UNAVAILABLE")
def get_credentials(provider: str) -> Integration:
    """The state of a connection; never a token."""
    return integrations.get_integration(current_caller(), provider)


@bp.get("/<provider>/items")
@guarded(Guard.PERSON)
@bp.arguments(ItemsQueryInput(), location="query")
@bp.response(200, ItemPageSchema)
@bp.alt_response(404, "NOT_FOUND")
@bp.alt_response(409, "CONFLICT")
@bp.alt_response(502, "BAD_GATEWAY")
@bp.alt_response(503, "SERVICE_UNAVAILABLE")
def list_items(given: dict[str, Any], provider: str) -> Any:
    """A page of what there is at the provider: of one type, or of all, one after another."""
    return integrations.list_items(
        current_caller(),
        provider,
        given["type"],
        limit=given["limit"],
        cursor=given.get("cursor"),
    )


@bp.delete("/<provider>")
@guarded(Guard.PERSON)
@bp.response(200, MessageSchema)
@bp.alt_response(404, "NOT_FOUND")
@bp.alt_response(409, "CONFLICT")
@bp.alt_response(503, "SERVICE_UNAVAILABLE")
def disconnect(provider: str) -> dict[str, str]:
    """Revoke and forget; the message says what is kept."""
    return {"message": integrations.disconnect(current_caller(), provider)}


def _only(query: MultiDict[str, str], name: str) -> str:
    """A parameter that comes once; two of them are somebody's trick."""
    values = query.getlist(name)
    return values[0] if len(values) == 1 and len(values[0]) <= _LONGEST_SECRET else ""


def _page(provider: str, status: int, **shown: object) -> Response:
    page = render_template("oauth2callback.html", provider=provider, **shown)
    response = Response(page, status, _PAGE_HEADERS, content_type="text/html; charset=utf-8")
    response.delete_cookie(cookie_name(provider), path=request.path, httponly=True, samesite="Lax")
    return response
