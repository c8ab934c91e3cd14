"""Fetch a portal's pipelines into Postgres, where they live shortly, and check stages by them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from crm.errors import InvalidInputError
from crm.hubspot import pipelines as hubspot_pipelines
from crm.models import PipelineSet
from crm.object_types import OBJECT_TYPES, ObjectType
from crm.portals import portals
from crm.portals.cached_sets import FetchedSets

WITH_PIPELINES = tuple(name for name, each in OBJECT_TYPES.items() if each.stage_property)

Pipelines = Sequence[Mapping[str, Any]]
"""``[{"id", "label", "display_order", "stages": [{"id", "label", "display_order"}]}]``."""

_sets = FetchedSets(
    table=PipelineSet,
    column=PipelineSet.pipelines,
    life=timedelta(seconds=60),
    fetch=hubspot_pipelines.list_pipelines,
)


def list_pipelines(portal_id: int, object_type: str) -> Pipelines:
    """The pipelines of an object type, at most a minute old while HubSpot can be reached.

    Raises:
        HubSpotError: they were never fetched, and cannot be now.
    """
    return _sets.get(portal_id, object_type)


def refresh_stale_pipelines() -> None:
    """Fetch the pipelines of all connected portals that have outlived their life."""
    _sets.refresh_stale(WITH_PIPELINES)


def find_pipelines(portal_id: int, object_type: str) -> Pipelines | None:
    """The pipelines as last fetched, however old, or None; never asks HubSpot."""
    return _sets.find(portal_id, object_type)


def refetch(portal_id: int, object_types: Iterable[str]) -> None:
    """Ask HubSpot for the pipelines now, unless it is known to be down."""
    if portals.find_push_pause(portal_id) is None:
        for object_type in object_types:
            _sets.refetch(portal_id, object_type)


def check_stage(
    pipelines: Pipelines | None,
    object_type: ObjectType,
    properties: Mapping[str, str],
    field: str,
) -> dict[str, str]:
    """Say what is wrong with a record's pipeline and stage; an empty answer means nothing.

    Args:
        pipelines: the portal's, or None while they are unknown: then HubSpot will be the judge.
        object_type: of the record.
        properties: of the record, by HubSpot's names. Without a pipeline, any pipeline's stage
            will do.
        field: dotted path of the record in the input; empty for the input itself.

    Returns:
        Dotted path to a sentence that lists the valid ids.
    """
    if pipelines is None or object_type.stage_property is None:
        return {}
    wire = {object_type.property_for(name): name for name in object_type.answer}
    pipeline_id = properties.get(object_type.pipeline_property or "")
    chosen = [each for each in pipelines if pipeline_id in (None, each["id"])]
    if not chosen:
        valid = ", ".join(each["id"] for each in pipelines)
        path = _path(field, wire[object_type.pipeline_property or ""])
        return {path: f"Unknown pipeline; valid ids are: {valid}"}
    stages = [stage["id"] for each in chosen for stage in each["stages"]]
    if properties.get(object_type.stage_property) in stages:
        return {}
    path = _path(field, wire[object_type.stage_property])
    return {path: f"Unknown stage of this pipeline; valid ids are: {', '.join(stages)}"}


def refuse_wrong_stages(problems: Mapping[str, str]) -> None:
    """Raise what ``check_stage`` found, if anything.

    Raises:
        InvalidInputError: names each field.
    """
    if problems:
        raise InvalidInputError(errors=problems)


def _path(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name
