"""Tokens for anybody who asks, in development only."""

from flask import current_app

from crm import open_access
from crm.accounts import sessions
from crm.accounts.users import ROLES
from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, guarded
from crm.api.schemas.accounts import TokenSchema
from crm.errors import NotFoundError
from crm.portals.portals import DEFAULT_ORGANIZATION

bp = APIBlueprint("dev_tokens", __name__, description="Tokens in development")


@bp.get("/get-token/<role>")
@guarded(Guard.PUBLIC)
@bp.response(200, TokenSchema)
@bp.alt_response(404, "NOT_FOUND")
def get_token(role: str) -> dict[str, str]:
    """A token of an `admin` or a `user` for an hour; only with DEV_TOKENS=1, or by open access."""
    is_development = current_app.extensions["crm_settings"].dev_tokens
    if role not in ROLES or not (is_development or open_access.is_granted()):
        raise NotFoundError
    token = sessions.create_token(
        role=role, organization=DEFAULT_ORGANIZATION, by_open_access=not is_development
    )
    return {"token": token}
