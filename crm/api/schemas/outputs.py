"""What every answer has in common: how times are written, and the one shape of an error."""

from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, fields


class Moment(fields.AwareDateTime):
    """A time in ISO 8601, in UTC with ``Z``."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return written(value) if value else None


class ErrorSchema(Schema):
    """The body of every answer that is an error."""

    status = fields.Constant("error", required=True)
    error = fields.String(required=True, metadata={"description": "The same as message"})
    message = fields.String(required=True, metadata={"description": "A sentence for people"})
    error_code = fields.String(
        required=True, metadata={"description": "Such as VALIDATION_ERROR, for programs"}
    )
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "Of a validation: dotted field path to one sentence"},
    )
    details = fields.Dict(required=True, metadata={"description": "Context"})
    timestamp = Moment(required=True)
    request_id = fields.String(
        required=True, metadata={"description": "Also in the header X-Request-ID"}
    )


def written(moment: datetime) -> str:
    """A time as every answer writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
