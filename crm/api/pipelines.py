"""The portal's pipelines."""

from typing import Any

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, guarded
from crm.api.schemas.pipelines import PipelineQueryInput, PipelinesSchema
from crm.portals import pipelines
from crm.portals.portals import get_default_portal_id

bp = APIBlueprint("pipelines", __name__, url_prefix="/contacts/pipelines", description="Pipelines")


@bp.get("")
@guarded(Guard.PUBLIC)
@bp.arguments(PipelineQueryInput, location="query")
@bp.response(200, PipelinesSchema)
@bp.alt_response(502, "BAD_GATEWAY")
@bp.alt_response(503, "SERVICE_UNAVAILABLE")
def list_pipelines(given: dict[str, str]) -> dict[str, Any]:
    """The pipelines of tickets or deals with their stages, for a registration to choose from."""
    object_type = given["object_type"]
    return {
        "data": {"data": pipelines.list_pipelines(get_default_portal_id(), object_type)},
        "message": f"Pipeline {object_type} retrieve successfully",
    }
