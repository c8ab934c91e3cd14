"""Pipelines and their stages."""

from marshmallow import Schema, fields

from crm.api.schemas.inputs import Input, Line
from crm.portals.pipelines import WITH_PIPELINES


class PipelineQueryInput(Input):
    """Whose pipelines."""

    object_type = Line(load_default="tickets", choices=WITH_PIPELINES)


class StageSchema(Schema):
    """A stage of a pipeline."""

    id = fields.String(required=True)
    label = fields.String(required=True)
    display_order = fields.Integer(required=True)


class PipelineSchema(StageSchema):
    """A pipeline with its stages, in display order."""

    stages = fields.List(fields.Nested(StageSchema), required=True)


class _PipelinesData(Schema):
    data = fields.List(fields.Nested(PipelineSchema), required=True)


class PipelinesSchema(Schema):
    """The answer to ``GET /contacts/pipelines``."""

    data = fields.Nested(_PipelinesData, required=True)
    message = fields.String(required=True)
