"""The state of the service."""

from marshmallow import Schema, fields


class DependencySchema(Schema):
    """One thing that the service stands on."""

    status = fields.String(required=True)
    response_time_ms = fields.Float(required=True, allow_none=True)


class HealthSchema(Schema):
    """The answer to ``GET /health``."""

    status = fields.String(required=True)
    timestamp = fields.String(required=True)
    version = fields.String(required=True)
    uptime_seconds = fields.Integer(required=True)
    dependencies = fields.Dict(keys=fields.String(), values=fields.Nested(DependencySchema))
