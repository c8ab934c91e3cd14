"""Refused changes: as a list, corrected, sent again."""

import re
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from crm.api.schemas.inputs import Input, Line, Lines
from crm.api.schemas.lists import PageInput
from crm.api.schemas.reading import RejectionSchema, page_of
from crm.property_values import LONGEST
from crm.push.rejections import TYPES

MOST = 1000
"""Changes that one call names, and properties that it corrects."""

_NAME = re.compile(r"[a-z0-9_]{1,255}")


class RejectedQueryInput(PageInput):
    """Which refused changes."""

    type = Line(load_default=None, choices=TYPES)


class _EndSchema(Schema):
    type = fields.String()
    id = fields.String(allow_none=True)
    uuid = fields.UUID()


class RejectedSchema(Schema):
    """A refused change: of a record, with the values that were sent, or of an association."""

    id = fields.String(required=True)
    type = fields.String(required=True)
    hubspot_id = fields.String(allow_none=True)
    properties = fields.Dict(keys=fields.String(), values=fields.String(allow_none=True))
    from_ = fields.Nested(_EndSchema, data_key="from")
    to = fields.Nested(_EndSchema)
    rejection = fields.Nested(RejectionSchema, required=True)


RejectedPageSchema = page_of("rejected", RejectedSchema, "Rejected")


class _Properties(fields.Dict):
    """Property to text or null; at most ``MOST``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            keys=fields.String(validate=validate.Regexp(_NAME.pattern + r"\Z")),
            values=Lines(longest=LONGEST, allow_none=True),
            **kwargs,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, dict) and len(value) > MOST:
            raise ValidationError(f"At most {MOST} properties.")
        return super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]


class CorrectionInput(Input):
    """What to change in a refused change before it is sent again."""

    properties = _Properties(load_default=dict)


class ResendInput(Input):
    """Which refused changes to send again: by their ids, or all of a type, or all."""

    ids = fields.List(
        Line(longest=64), load_default=None, validate=validate.Length(min=1, max=MOST)
    )
    type = Line(load_default=None, choices=TYPES)


class _ResentData(Schema):
    resent = fields.Integer(required=True)


class ResentSchema(Schema):
    """How many changes are sent again."""

    message = fields.String(required=True)
    data = fields.Nested(_ResentData, required=True)
