"""Integrations: connecting HubSpot, Airtable and Notion by consent, and what is in them."""

from typing import Any

import structlog
from flask import (
    Blueprint,
    Response,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from crm import integrations
from crm.console.guards import Guard, current_caller, current_sign_in, guarded
from crm.errors import (
    ConfigError,
    ConflictError,
    CRMError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from crm.integrations.connections import NotConnectedError
from crm.integrations.portal_connection import WHAT_STAYS

log = structlog.get_logger(__name__)

bp = Blueprint("integrations", __name__, url_prefix="/console/integrations")

_ON_A_PAGE = 20


@bp.get("")
@guarded(Guard.PERSON)
def show() -> ResponseReturnValue:
    """Every provider, and whether it is connected, as whom, until when."""
    return render_template(
        "console/integrations.html",
        integrations=integrations.list_integrations(current_caller()),
        what_stays=WHAT_STAYS,
    )


@bp.get("/<provider>")
@guarded(Guard.PERSON)
def show_items(provider: str) -> ResponseReturnValue:
    """What there is at a provider, of one of its types; or how to connect it."""
    caller, asked = current_caller(), request.args
    shown: dict[str, Any] = {"page": None, "next_url": None, "problem": None}
    item_type, status = asked.get("type") or integrations.list_types(provider)[0], 200
    try:
        page = integrations.list_items(
            caller, provider, item_type, limit=_ON_A_PAGE, cursor=asked.get("cursor") or None
        )
    except (NotFoundError, InvalidInputError, ConfigError):
        raise
    except NotConnectedError:
        pass
    except CRMError as error:
        log.info("items not listed", provider=provider, reason=error.error_code)
        shown["problem"], status = error.message, error.status
    else:
        following = page.next_cursor
        shown["page"] = page
        shown["next_url"] = following and url_for(
            ".show_items", provider=provider, type=item_type, cursor=following
        )
    # Asked for afterwards: by now, a connection that the provider has ended is none any more.
    integration = integrations.get_integration(caller, provider)
    first_url = url_for(".show_items", provider=provider, type=item_type)
    return render_template(
        "console/integration.html",
        integration=integration,
        chosen=item_type,
        first_url=first_url if asked.get("cursor") else None,
        what_stays=WHAT_STAYS,
        **shown,
    ), status


@bp.post("/<provider>/connect")
@guarded(Guard.PERSON)
def connect(provider: str) -> ResponseReturnValue:
    """Begin to connect: leave the cookie by which this browser is known, and go to the provider.

    The page that goes there stands for a redirect, which browsers would hold against
    ``form-action``, and with it every address to which the provider itself redirects.
    """
    caller = current_caller()
    try:
        begun = integrations.begin(
            caller, current_sign_in(), provider, stay_connected="stay_connected" in request.form
        )
    except (ConflictError, ForbiddenError) as error:
        flash(f"{error.message}.", "danger")
        return redirect(url_for(".show"), 303)
    name = integrations.get_integration(caller, provider).name
    page = render_template("console/consent.html", name=name, address=begun.authorization_url)
    response: Response = make_response(page)
    response.set_cookie(**begun.cookie)
    return response


@bp.post("/<provider>/disconnect")
@guarded(Guard.PERSON)
def disconnect(provider: str) -> ResponseReturnValue:
    """End a connection, and say what is kept."""
    try:
        said = integrations.disconnect(current_caller(), provider)
    except (ConflictError, ForbiddenError) as error:
        flash(f"{error.message}.", "warning")
    else:
        flash(f"{said}.", "success")
    return redirect(url_for(".show"), 303)
