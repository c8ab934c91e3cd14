"""Pipelines and their stages, for reading, and the audit of their changes.

Source: HubSpot docs, pipelines guide. Lists are not paged; metadata values are strings.
"""

from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.clock import iso
from hubspot_sandbox.errors import resource_not_found
from hubspot_sandbox.schema import ObjectType, Pipeline, Stage, in_display_order


def list_pipelines(call: Call, object_type: ObjectType) -> Answer:
    """Return all pipelines of an object type with their stages."""
    pipelines = in_display_order(call.portal.pipelines[object_type.name])
    return Answer({"results": [each.render() for each in pipelines]})


def read_pipeline(call: Call, object_type: ObjectType, pipeline_id: str) -> Answer:
    """Return one pipeline with its stages."""
    return Answer(get_pipeline(call, object_type, pipeline_id).render())


def list_stages(call: Call, object_type: ObjectType, pipeline_id: str) -> Answer:
    """Return the stages of a pipeline."""
    return Answer({"results": get_pipeline(call, object_type, pipeline_id).render()["stages"]})


def read_stage(call: Call, object_type: ObjectType, pipeline_id: str, stage_id: str) -> Answer:
    """Return one stage of a pipeline."""
    return Answer(get_stage(get_pipeline(call, object_type, pipeline_id), stage_id).render())


def audit_pipeline(call: Call, object_type: ObjectType, pipeline_id: str) -> Answer:
    """Return the changes of a pipeline, newest first, deleted ones' too."""
    return _audit(call, object_type, pipeline_id)


def audit_stage(call: Call, object_type: ObjectType, pipeline_id: str, stage_id: str) -> Answer:
    """Return the changes of a stage, newest first, deleted ones' too."""
    return _audit(call, object_type, f"{pipeline_id}/{stage_id}")


def get_pipeline(call: Call, object_type: ObjectType, pipeline_id: str) -> Pipeline:
    """Return a pipeline of the portal; raise 404."""
    for pipeline in call.portal.pipelines[object_type.name]:
        if pipeline.id == pipeline_id:
            return pipeline
    raise resource_not_found()


def get_stage(pipeline: Pipeline, stage_id: str) -> Stage:
    """Return a stage of a pipeline; raise 404."""
    stage = pipeline.find_stage(stage_id)
    if stage is None:
        raise resource_not_found()
    return stage


def _audit(call: Call, object_type: ObjectType, path: str) -> Answer:
    results = [
        {
            "portalId": call.portal.id,
            "identifier": path.rpartition("/")[2],
            "action": each.action,
            "timestamp": iso(each.at),
            "message": f"{each.action} by {each.user_id or 'an app'}",
            "rawObject": each.shape,
            **({"fromUserId": each.user_id} if each.user_id else {}),
        }
        for each in reversed(call.portal.setup.pipeline_changes)
        if (each.object_type, each.path) == (object_type.name, path)
    ]
    return Answer({"results": results})


ONE = "/<object_type>/<pipeline_id>"
ONE_STAGE = ONE + "/stages/<stage_id>"

ROUTES = (
    Route("pipelines", "GET", "/<object_type>", list_pipelines),
    Route("pipelines", "GET", ONE, read_pipeline),
    Route("pipelines", "GET", ONE + "/audit", audit_pipeline),
    Route("pipelines", "GET", ONE + "/stages", list_stages),
    Route("pipelines", "GET", ONE_STAGE, read_stage),
    Route("pipelines", "GET", ONE_STAGE + "/audit", audit_stage),
)
