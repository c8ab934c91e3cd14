"""For those who run the service."""

from typing import Any

from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, guarded
from crm.api.schemas.operations import HealthSchema
from crm.services import health

bp = APIBlueprint("operations", __name__, description="Operations")


@bp.get("/health")
@guarded(Guard.PUBLIC)
@bp.response(200, HealthSchema)
@bp.alt_response(503, schema=HealthSchema, description="A dependency is down")
def get_health() -> tuple[dict[str, Any], int]:
    """Whether the service and what it stands on are up."""
    found = health.check()
    return found, 200 if found["status"] == "healthy" else 503
