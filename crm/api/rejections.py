"""Changes that HubSpot refused."""

from typing import Any

from flask import Response

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, current_caller, guarded
from crm.api.pages import page_response
from crm.api.schemas.accounts import MessageSchema
from crm.api.schemas.rejections import (
    CorrectionInput,
    RejectedPageSchema,
    RejectedQueryInput,
    ResendInput,
    ResentSchema,
)
from crm.errors import NotFoundError
from crm.push import rejections

bp = APIBlueprint(
    "rejections", __name__, url_prefix="/sync/rejected", description="Refused changes"
)


@bp.get("")
@guarded(Guard.ADMIN)
@bp.arguments(RejectedQueryInput(), location="query")
@bp.response(200, RejectedPageSchema)
def list_rejected(given: dict[str, Any]) -> Response:
    """A page of the changes that HubSpot refused, with what it said."""
    page = rejections.list_rejected(
        current_caller().portal_id,
        object_type=given["type"],
        limit=given["limit"],
        cursor=given.get("cursor"),
    )
    return page_response(
        name="rejected",
        items=page.items,
        next_after=page.next_after,
        message="Refused changes retrieved successfully",
    )


@bp.post("/resend")
@guarded(Guard.ADMIN)
@bp.arguments(ResendInput)
@bp.response(200, ResentSchema)
@bp.alt_response(404, "NOT_FOUND")
@bp.alt_response(413, "REQUEST_ENTITY_TOO_LARGE")
def resend_many(given: dict[str, Any]) -> dict[str, Any]:
    """Send refused changes again as they are: those named, or all of a type, or all."""
    resent = rejections.resend(current_caller().portal_id, given["ids"], object_type=given["type"])
    return {"message": "The changes will be sent again", "data": {"resent": resent}}


@bp.post("/<rejected_id>/resend")
@guarded(Guard.ADMIN)
@bp.arguments(CorrectionInput)
@bp.response(200, MessageSchema)
@bp.alt_response(404, "NOT_FOUND")
@bp.alt_response(409, "CONFLICT")
@bp.alt_response(413, "REQUEST_ENTITY_TOO_LARGE")
def resend(given: dict[str, Any], rejected_id: str) -> dict[str, str]:
    """Send a refused change again, corrected or as it is."""
    rejections.correct(current_caller().portal_id, rejected_id, given["properties"])
    return {"message": "The change will be sent again"}


@bp.delete("/<rejected_id>")
@guarded(Guard.ADMIN)
@bp.response(200, MessageSchema)
@bp.alt_response(404, "NOT_FOUND")
@bp.alt_response(409, "CONFLICT")
@bp.alt_response(503, "SERVICE_UNAVAILABLE")
def drop(rejected_id: str) -> dict[str, str]:
    """Drop a refused change: here everything is again as HubSpot has it."""
    if not rejections.drop(current_caller().portal_id, [rejected_id]):
        raise NotFoundError
    return {"message": "The change was dropped"}
