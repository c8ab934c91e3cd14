"""Pipelines and their stages, for reading.

Source: HubSpot docs, pipelines guide. Lists are not paged; metadata values are strings.
"""

from crm.sandbox.calls import Answer, Call, Route
from crm.sandbox.errors import resource_not_found
from crm.sandbox.schema import ObjectType, Pipeline


def list_pipelines(call: Call, object_type: ObjectType) -> Answer:
    """Return all pipelines of an object type with their stages."""
    pipelines = call.portal.pipelines[object_type.name]
    return Answer({"results": [each.render() for each in pipelines]})


def read_pipeline(call: Call, object_type: ObjectType, pipeline_id: str) -> Answer:
    """Return one pipeline with its stages."""
    return Answer(_get_pipeline(call, object_type, pipeline_id).render())


def list_stages(call: Call, object_type: ObjectType, pipeline_id: str) -> Answer:
    """Return the stages of a pipeline."""
    stages = _get_pipeline(call, object_type, pipeline_id).stages
    return Answer({"results": [each.render() for each in stages]})


def read_stage(call: Call, object_type: ObjectType, pipeline_id: str, stage_id: str) -> Answer:
    """Return one stage of a pipeline."""
    stage = _get_pipeline(call, object_type, pipeline_id).find_stage(stage_id)
    if stage is None:
        raise resource_not_found()
    return Answer(stage.render())


def _get_pipeline(call: Call, object_type: ObjectType, pipeline_id: str) -> Pipeline:
    for pipeline in call.portal.pipelines[object_type.name]:
        if pipeline.id == pipeline_id:
            return pipeline
    raise resource_not_found()


ROUTES = (
    Route("pipelines", "GET", "/<object_type>", list_pipelines),
    Route("pipelines", "GET", "/<object_type>/<pipeline_id>", read_pipeline),
    Route("pipelines", "GET", "/<object_type>/<pipeline_id>/stages", list_stages),
    Route("pipelines", "GET", "/<object_type>/<pipeline_id>/stages/<stage_id>", read_stage),
)
