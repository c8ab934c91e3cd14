"""Creating, changing and deleting pipelines and their stages.

Sources: HubSpot docs, pipelines guide; changelog, "Pipeline and pipeline stage delete endpoints
will validate references by default". The bodies of the refusals are unverified but for the
sub-category of a stage in use.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import HubSpotError, invalid, missing_fields
from hubspot_sandbox.object_types import DEALS, TICKETS
from hubspot_sandbox.payload import (
    JSONObject,
    as_object,
    as_text,
    find_text,
    object_list,
    text_field,
)
from hubspot_sandbox.pipelines import ONE, ONE_STAGE, get_pipeline, get_stage
from hubspot_sandbox.records import with_derived
from hubspot_sandbox.schema import ObjectType, Pipeline, PipelineChange, Placed, Stage

MAX_PIPELINES: Final = 100
MAX_STAGES: Final = 100
_MAX_LABEL_LENGTH: Final = 255
_MAX_DISPLAY_ORDER: Final = 2**31 - 1
_IDS: Final = (1_000_000, 999_999_999)
_VALIDATE: Final = "validateReferencesBeforeDelete"
_VALIDATE_DEALS: Final = "validateDealStageUsagesBeforeDelete"


def create_pipeline(call: Call, object_type: ObjectType) -> Answer:
    """Create a pipeline with at least one stage: 201."""
    if object_type.pipeline_rule is None:
        raise invalid(f"The object type {object_type.type_id} has no pipelines")
    present = call.portal.pipelines[object_type.name]
    if len(present) >= MAX_PIPELINES:
        raise invalid(f"An object type can have at most {MAX_PIPELINES} pipelines")
    created = _read_pipeline(call, object_type, as_object(call.json()))
    _put(call, object_type, [*present, created])
    _note(call, object_type, "CREATE", created.id, created.render())
    return Answer(created.render(), 201)


def replace_pipeline(call: Call, object_type: ObjectType, pipeline_id: str) -> Answer:
    """Replace a pipeline's label, place and stages, all of which get new ids."""
    before = get_pipeline(call, object_type, pipeline_id)
    _check_unused(call, object_type, before.stages)
    given = _read_pipeline(call, object_type, as_object(call.json()))
    after = replace(given, id=before.id, created_at=before.created_at)
    return _swap_pipeline(call, object_type, before, after)


def update_pipeline(call: Call, object_type: ObjectType, pipeline_id: str) -> Answer:
    """Change a pipeline's label or place; ``archived`` deletes it."""
    before, item = get_pipeline(call, object_type, pipeline_id), as_object(call.json())
    if item.get("archived") is True:
        _remove_pipeline(call, object_type, before)
        return Answer({**before.render(), "archived": True})
    after = replace(
        before,
        label=_label(item) if item.get("label") is not None else before.label,
        display_order=_display_order(item, before.display_order),
        updated_at=call.portal.clock.now_ms(),
    )
    return _swap_pipeline(call, object_type, before, after)


def delete_pipeline(call: Call, object_type: ObjectType, pipeline_id: str) -> Answer:
    """Delete a pipeline: 204."""
    _remove_pipeline(call, object_type, get_pipeline(call, object_type, pipeline_id))
    return Answer(status=204)


def create_stage(call: Call, object_type: ObjectType, pipeline_id: str) -> Answer:
    """Add a stage to a pipeline: 201."""
    pipeline = get_pipeline(call, object_type, pipeline_id)
    created = _read_stage(call, object_type, as_object(call.json()))
    _swap_stages(call, object_type, pipeline, [*pipeline.stages, created])
    _note(call, object_type, "CREATE", f"{pipeline_id}/{created.id}", created.render())
    return Answer(created.render(), 201)


def replace_stage(call: Call, object_type: ObjectType, pipeline_id: str, stage_id: str) -> Answer:
    """Replace a stage's label, place and metadata."""
    pipeline = get_pipeline(call, object_type, pipeline_id)
    before = get_stage(pipeline, stage_id)
    given = _read_stage(call, object_type, as_object(call.json()))
    after = replace(given, id=before.id, created_at=before.created_at)
    return _swap_stage(call, object_type, pipeline, before, after)


def update_stage(call: Call, object_type: ObjectType, pipeline_id: str, stage_id: str) -> Answer:
    """Change a stage's label, place or metadata."""
    pipeline = get_pipeline(call, object_type, pipeline_id)
    before, item = get_stage(pipeline, stage_id), as_object(call.json())
    metadata = {**before.metadata, **as_object(item.get("metadata") or {})}
    after = replace(
        before,
        label=_label(item) if item.get("label") is not None else before.label,
        display_order=_display_order(item, before.display_order),
        metadata=_read_metadata(object_type, metadata),
        updated_at=call.portal.clock.now_ms(),
    )
    return _swap_stage(call, object_type, pipeline, before, after)


def delete_stage(call: Call, object_type: ObjectType, pipeline_id: str, stage_id: str) -> Answer:
    """Delete a stage, but never the last one of a pipeline: 204."""
    pipeline = get_pipeline(call, object_type, pipeline_id)
    stage = get_stage(pipeline, stage_id)
    _check_unused(call, object_type, [stage])
    kept = [each for each in pipeline.stages if each is not stage]
    _swap_stages(call, object_type, pipeline, kept)
    _note(call, object_type, "DELETE", f"{pipeline_id}/{stage_id}", stage.render())
    return Answer(status=204)


def _read_pipeline(call: Call, object_type: ObjectType, item: JSONObject) -> Pipeline:
    if item.get("stages") is None or item.get("displayOrder") is None:
        raise missing_fields("displayOrder", "stages")
    stages = [_read_stage(call, object_type, each) for each in object_list(item, "stages")]
    now = call.portal.clock.now_ms()
    return Pipeline(
        _new_id(call), _label(item), tuple(_checked(stages)), _display_order(item, 0), now, now
    )


def _read_stage(call: Call, object_type: ObjectType, item: JSONObject) -> Stage:
    if item.get("metadata") is None or item.get("displayOrder") is None:
        raise missing_fields("displayOrder", "metadata")
    metadata = _read_metadata(object_type, as_object(item["metadata"]))
    now = call.portal.clock.now_ms()
    return Stage(_new_id(call), _label(item), metadata, _display_order(item, 0), now, now)


def _read_metadata(object_type: ObjectType, given: JSONObject) -> dict[str, str]:
    """Return a stage's metadata: how probable a deal is in it, or whether a ticket is open."""
    metadata = {name: as_text(value) for name, value in given.items()}
    if object_type is DEALS:
        probability = _probability(metadata.get("probability", ""))
        metadata |= {
            "probability": str(probability),
            "isClosed": "true" if probability in (0.0, 1.0) else "false",
        }
    if object_type is TICKETS:
        state = metadata.get("ticketState", "OPEN")
        if state not in ("OPEN", "CLOSED"):
            raise invalid(f"The ticketState {state} is neither OPEN nor CLOSED")
        metadata |= {"ticketState": state, "isClosed": "true" if state == "CLOSED" else "false"}
    return metadata


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise invalid(f"A deal's stage needs a probability from 0.0 to 1.0, got {text!r}")
    return value


def _label(item: JSONObject) -> str:
    label = text_field(item, "label")
    if not 1 <= len(label.strip()) <= _MAX_LABEL_LENGTH:
        raise invalid(f"A label must have 1 to {_MAX_LABEL_LENGTH} characters")
    return label


def _display_order(item: JSONObject, default: int) -> int:
    text = find_text(item, "displayOrder")
    if text is None:
        return default
    if not text.removeprefix("-").isdecimal() or abs(int(text[:12])) > _MAX_DISPLAY_ORDER:
        raise invalid(f"The displayOrder must be a whole number, got {text}")
    return int(text)


def _new_id(call: Call) -> str:
    """Return the id of a new pipeline or stage; HubSpot's are numbers as text."""
    taken = {
        each
        for pipelines in call.portal.pipelines.values()
        for pipeline in pipelines
        for each in (pipeline.id, *(stage.id for stage in pipeline.stages))
    }
    while (chosen := str(call.portal.random.randint(*_IDS))) in taken:
        pass
    return chosen


def _checked(items: Sequence[Placed]) -> Sequence[Placed]:
    """Refuse none, too many, and two of the same label, which HubSpot keeps unique."""
    if not 1 <= len(items) <= MAX_STAGES:
        raise invalid(f"There must be 1 to {MAX_STAGES}, got {len(items)}")
    labels = [each.label for each in items]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise HubSpotError(409, f"The label {twice[0]} is in use already", "CONFLICT")
    return items


def _put(call: Call, object_type: ObjectType, pipelines: Sequence[Pipeline]) -> None:
    call.portal.put_pipelines(object_type, _checked(pipelines))


def _swap_pipeline(
    call: Call, object_type: ObjectType, before: Pipeline, after: Pipeline
) -> Answer:
    present = call.portal.pipelines[object_type.name]
    _put(call, object_type, [after if each is before else each for each in present])
    _note(call, object_type, "UPDATE", after.id, after.render())
    return Answer(after.render())


def _remove_pipeline(call: Call, object_type: ObjectType, pipeline: Pipeline) -> None:
    _check_unused(call, object_type, pipeline.stages)
    present = call.portal.pipelines[object_type.name]
    _put(call, object_type, [each for each in present if each is not pipeline])
    _note(call, object_type, "DELETE", pipeline.id, pipeline.render())


def _swap_stages(
    call: Call, object_type: ObjectType, pipeline: Pipeline, stages: Sequence[Stage]
) -> None:
    after = replace(pipeline, stages=tuple(_checked(stages)))
    present = call.portal.pipelines[object_type.name]
    _put(call, object_type, [after if each is pipeline else each for each in present])


def _swap_stage(
    call: Call, object_type: ObjectType, pipeline: Pipeline, before: Stage, after: Stage
) -> Answer:
    stages = [after if each is before else each for each in pipeline.stages]
    _swap_stages(call, object_type, pipeline, stages)
    if before.metadata != after.metadata:
        _recompute(call, object_type, after)
    _note(call, object_type, "UPDATE", f"{pipeline.id}/{after.id}", after.render())
    return Answer(after.render())


def _recompute(call: Call, object_type: ObjectType, stage: Stage) -> None:
    """Have the records in a stage follow it: whether they are closed is worked out from it."""
    table, rule = call.portal.table(object_type), object_type.pipeline_rule
    held = [each for each in table.live() if rule and each.properties.get(rule.stage) == stage.id]
    for record in held:
        after = with_derived(call.portal, object_type, record.properties)
        if after != record.properties:
            table.change(record, after, call.portal.clock.now_ms())


def _check_unused(call: Call, object_type: ObjectType, stages: Sequence[Stage]) -> None:
    """Refuse to delete stages that records are in: when asked to, and from 2026-09 on unless not.

    Since then a deal's pipelines have a parameter of their own.
    """
    rule = object_type.pipeline_rule
    own = _VALIDATE_DEALS if object_type is DEALS else _VALIDATE
    newer = call.is_since("2026-09")
    asked = call.text(own) or (None if newer else call.text(_VALIDATE))
    if rule is None or not (newer if asked is None else asked.lower() == "true"):
        return
    ids = {each.id for each in stages}
    used = {each.properties.get(rule.stage) for each in call.portal.table(object_type).live()} & ids
    if used:
        named = sorted(each for each in used if each)
        raise invalid(
            f"The stages {', '.join(named)} are in use and cannot be deleted",
            sub_category="PipelineError.STAGE_ID_IN_USE",
            stageIds=named,
        )


def _note(
    call: Call, object_type: ObjectType, action: str, path: str, shape: dict[str, Any]
) -> None:
    at, user_id = call.portal.clock.now_ms(), call.access.user_id
    change = PipelineChange(object_type.name, path, action, at, user_id, shape)
    call.portal.setup.note_pipeline_change(change)


ROUTES = (
    Route("pipelines", "POST", "/<object_type>", create_pipeline),
    Route("pipelines", "PUT", ONE, replace_pipeline),
    Route("pipelines", "PATCH", ONE, update_pipeline),
    Route("pipelines", "DELETE", ONE, delete_pipeline),
    Route("pipelines", "POST", ONE + "/stages", create_stage),
    Route("pipelines", "PUT", ONE_STAGE, replace_stage),
    Route("pipelines", "PATCH", ONE_STAGE, update_stage),
    Route("pipelines", "DELETE", ONE_STAGE, delete_stage),
)
