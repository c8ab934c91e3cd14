"""The state of the service."""

from marshmallow import Schema, fields, validate

_is_a_status = validate.OneOf(("healthy", "unhealthy"))


class DependencySchema(Schema):
    """One thing that the service stands on."""

    status = fields.String(required=True, validate=_is_a_status)
    response_time_ms = fields.Float(required=True, allow_none=True)


class HubSpotDependencySchema(DependencySchema):
    """HubSpot, as it answered at most 30 seconds ago."""

    rate_limit_remaining = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Calls that HubSpot allows yet in its window of ten seconds"},
    )


class DependenciesSchema(Schema):
    """All that the service stands on."""

    database = fields.Nested(DependencySchema, required=True)
    hubspot_api = fields.Nested(HubSpotDependencySchema, required=True)
    redis_cache = fields.Nested(DependencySchema, required=True)


class HealthMetricsSchema(Schema):
    """What scans did today, in UTC; null while the database is down."""

    active_scans = fields.Integer(required=True, allow_none=True)
    completed_scans_today = fields.Integer(required=True, allow_none=True)
    total_deals_extracted_today = fields.Integer(required=True, allow_none=True)


class HealthSchema(Schema):
    """The answer to ``GET /health``."""

    status = fields.String(required=True, validate=_is_a_status)
    timestamp = fields.String(required=True)
    version = fields.String(required=True)
    uptime_seconds = fields.Integer(required=True)
    dependencies = fields.Nested(DependenciesSchema, required=True)
    metrics = fields.Nested(HealthMetricsSchema, required=True)
