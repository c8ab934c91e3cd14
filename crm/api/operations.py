"""For those who run the service."""

from typing import Any

from flask import Response

from crm import metrics
from crm.admission import at_once
from crm.api.blueprints import APIBlueprint
from crm.api.guards import Guard, guarded
from crm.api.limits import unlimited
from crm.api.schemas.operations import HealthSchema
from crm.operations import health
from crm.operations.gauges import read_gauges

bp = APIBlueprint("operations", __name__, description="Operations")


@bp.get("/health")
@guarded(Guard.PUBLIC)
@unlimited
@at_once
@bp.response(200, HealthSchema)
@bp.alt_response(503, schema=HealthSchema, description="A dependency is down")
def get_health() -> tuple[dict[str, Any], int]:
    """Whether the service can work, as containers ask: without HubSpot it can."""
    return _health_response(health.check())


@bp.get("/api/v1/health")
@guarded(Guard.PUBLIC)
@unlimited
@at_once
@bp.response(200, HealthSchema)
@bp.alt_response(503, schema=HealthSchema, description="A dependency is down")
def get_health_of_scans() -> tuple[dict[str, Any], int]:
    """Whether the service and all that it stands on are up, HubSpot too."""
    return _health_response(health.check_with_hubspot())


@bp.get("/metrics")
@guarded(Guard.OPERATOR)
@bp.response(200, content_type=metrics.CONTENT_TYPE)
def get_metrics() -> Response:
    """Prometheus metrics of this machine's requests, and of the service's state."""
    return Response(metrics.write(read_gauges()), content_type=metrics.CONTENT_TYPE)


def _health_response(found: dict[str, Any]) -> tuple[dict[str, Any], int]:
    return found, 200 if found["status"] == "healthy" else 503
