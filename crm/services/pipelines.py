"""Pipelines: fetched from HubSpot into Postgres, where they live shortly, and served from there."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from crm.errors import InvalidInputError
from crm.extensions import db, transaction
from crm.hubspot import pipelines as hubspot_pipelines
from crm.hubspot.errors import HubSpotError, HubSpotUnavailableError
from crm.models import PipelineSet
from crm.objects import OBJECT_TYPES, ObjectType
from crm.services import portals

log = structlog.get_logger(__name__)

LIFE = timedelta(seconds=60)
_PAUSE = timedelta(seconds=5)
"""Between two attempts to ask HubSpot, whoever wants to know."""

WITH_PIPELINES = tuple(name for name, each in OBJECT_TYPES.items() if each.stage_property)

Pipelines = Sequence[Mapping[str, Any]]
"""``[{"id", "label", "display_order", "stages": [{"id", "label", "display_order"}]}]``."""


def list_pipelines(portal_id: int, object_type: str) -> Pipelines:
    """The pipelines of an object type, at most a minute old while HubSpot can be reached.

    Raises:
        HubSpotError: they were never fetched, and cannot be now.
    """
    found = find_pipelines(portal_id, object_type)
    try:
        if _claim(portal_id, object_type):
            return _refresh(portal_id, object_type, someone_waits=True)
    except HubSpotError as error:
        if found is None:
            raise
        log.warning("stale pipelines served", object_type=object_type, reason=error.message)
    if found is None:
        raise HubSpotUnavailableError("The pipelines are not fetched yet; try again in a moment")
    return found


def refresh_stale_pipelines() -> None:
    """Fetch the pipelines of all connected portals that have outlived their life."""
    for portal_id in portals.list_connected_portal_ids():
        for object_type in WITH_PIPELINES:
            if not _claim(portal_id, object_type):
                continue
            try:
                _refresh(portal_id, object_type, someone_waits=False)
            except HubSpotError as error:
                log.warning("pipelines stay stale", object_type=object_type, reason=error.message)


def find_pipelines(portal_id: int, object_type: str) -> Pipelines | None:
    """The pipelines as last fetched, however old, or None; never asks HubSpot."""
    return db.session.scalar(
        select(PipelineSet.pipelines).where(
            PipelineSet.portal_id == portal_id, PipelineSet.object_type == object_type
        )
    )


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
        field: dotted path of the record in the input.

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
        path = f"{field}.{wire[object_type.pipeline_property or '']}"
        return {path: f"Unknown pipeline; valid ids are: {valid}"}
    stages = [stage["id"] for each in chosen for stage in each["stages"]]
    if properties.get(object_type.stage_property) in stages:
        return {}
    path = f"{field}.{wire[object_type.stage_property]}"
    return {path: f"Unknown stage of this pipeline; valid ids are: {', '.join(stages)}"}


def refuse_wrong_stages(problems: Mapping[str, str]) -> None:
    """Raise what ``check_stage`` found, if anything.

    Raises:
        InvalidInputError: names each field.
    """
    if problems:
        raise InvalidInputError(errors=problems)


def _claim(portal_id: int, object_type: str) -> bool:
    """Whether this caller is the one to ask HubSpot now; all others use what there is."""
    new = insert(PipelineSet).values(
        portal_id=portal_id, object_type=object_type, attempted_at=func.now()
    )
    statement = new.on_conflict_do_update(
        index_elements=[PipelineSet.portal_id, PipelineSet.object_type],
        set_={"attempted_at": func.now()},
        where=(
            or_(PipelineSet.fetched_at.is_(None), PipelineSet.fetched_at < func.now() - LIFE)
            & (PipelineSet.attempted_at < func.now() - _PAUSE)
        ),
    )
    with transaction() as session:
        claimed = session.scalar(statement.returning(PipelineSet.object_type))
    return claimed is not None


def _refresh(portal_id: int, object_type: str, *, someone_waits: bool) -> Pipelines:
    client = portals.connect(portal_id, someone_waits=someone_waits)
    pipelines = hubspot_pipelines.list_pipelines(client, object_type)
    with transaction() as session:
        session.execute(
            update(PipelineSet)
            .where(PipelineSet.portal_id == portal_id, PipelineSet.object_type == object_type)
            .values(pipelines=pipelines, fetched_at=func.now())
        )
    return pipelines
