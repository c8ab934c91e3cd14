"""Pipelines: deals and tickets as columns by stage; moving one there reaches HubSpot."""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from crm.console.guards import Guard, current_caller, guarded
from crm.errors import CRMError, NotFoundError, PreconditionFailedError
from crm.mirror.reads import pipeline_boards, records
from crm.mirror.reads.pipeline_boards import Board, Total
from crm.object_types import OBJECT_TYPES, ObjectType
from crm.portals import pipelines, property_schemas
from crm.push import writes
from crm.push.write_inputs import Entry

bp = Blueprint("pipelines", __name__, url_prefix="/console/pipelines")

_NONE = Total(0, 0)


@bp.get("")
@guarded(Guard.PERSON)
def show() -> ResponseReturnValue:
    """The first board there is."""
    return redirect(url_for(".show_board", object_type=next(iter(pipeline_boards.TITLES))))


@bp.get("/<object_type>")
@guarded(Guard.PERSON)
def show_board(object_type: str) -> ResponseReturnValue:
    """A pipeline's records by stage; the address names the pipeline, else it is the first."""
    caller, kind = current_caller(), _type(object_type)
    known = {
        each["id"]: each for each in pipelines.find_pipelines(caller.portal_id, kind.name) or ()
    }
    chosen = known.get(request.args.get("pipeline", "")) or next(iter(known.values()), None)
    columns: list[dict[str, Any]] = []
    if chosen:
        board = pipeline_boards.read_board(
            caller.portal_id, kind, chosen["id"], only_contact_id=caller.only_contact_id
        )
        columns = _columns(chosen, board)
    return render_template(
        "console/pipelines.html",
        kind=kind,
        types=[OBJECT_TYPES[name] for name in pipeline_boards.TITLES],
        known=known.values(),
        chosen=chosen,
        columns=columns,
    )


def _columns(pipeline: Mapping[str, Any], board: Board) -> list[dict[str, Any]]:
    labels = {each["id"]: each["label"] for each in pipeline["stages"]}
    # A stage that was deleted in HubSpot may still hold records.
    stages = [*labels, *(each for each in board.totals if each not in labels)]
    return [
        {
            "id": each,
            "label": labels.get(each, each or "No stage"),
            "total": board.totals.get(each, _NONE),
            "cards": board.cards.get(each, ()),
        }
        for each in stages
    ]


@bp.post("/<object_type>/<record_id>")
@guarded(Guard.ADMIN)
def move(object_type: str, record_id: str) -> ResponseReturnValue:
    """Move a record to another stage, here and in HubSpot."""
    kind, form = _type(object_type), request.form
    back = url_for(
        ".show_board",
        object_type=kind.name,
        pipeline=form.get("pipeline", ""),
        _anchor=f"card-{record_id}",
    )
    try:
        _move(kind, record_id, form)
    except NotFoundError:
        raise
    except CRMError as error:
        if error.status == CRMError.status:
            raise
        flash(_refusal(error), "danger" if error.status < 500 else "warning")
    return redirect(back, 303)


def _move(kind: ObjectType, record_id: str, form: Mapping[str, str]) -> None:
    try:
        _change_stage(kind, record_id, form.get("stage", ""), form.get("version", ""))
    except PreconditionFailedError:
        found = records.find_record(current_caller().portal_id, kind, record_id)
        stage = orjson.loads(found.item)["properties"].get(kind.stage_property)
        if stage != form.get("from"):
            raise
        # Something else of it was changed, which is no reason to stop.
        _change_stage(kind, record_id, form.get("stage", ""), found.etag)


def _change_stage(kind: ObjectType, record_id: str, stage: str, version: str) -> None:
    portal_id = current_caller().portal_id
    properties = property_schemas.check_properties(
        portal_id, kind, {kind.stage_property or "": stage}
    )
    written = writes.change(portal_id, kind, record_id, Entry(properties), {version})
    if written.action == "queued":
        flash(
            "Moved here. HubSpot cannot be reached right now, and gets it as soon as it can.",
            "warning",
        )
    else:
        flash("Moved, here and in HubSpot.", "success")


def _refusal(error: CRMError) -> str:
    if isinstance(error, PreconditionFailedError):
        return (
            "Somebody else moved it meanwhile. It stands where they put it now;"
            " move it again if you still want to."
        )
    return f"It was not moved: {' '.join(error.errors.values()) or error.message}"


def _type(name: str) -> ObjectType:
    if name not in pipeline_boards.TITLES:
        raise NotFoundError
    return OBJECT_TYPES[name]
