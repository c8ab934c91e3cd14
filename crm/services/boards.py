"""Boards: the records of a pipeline by their stages, with totals and the first of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import text

from crm.extensions import db
from crm.objects import DEALS, TICKETS, ObjectType
from crm.services.etags import etag_of
from crm.services.reading import HANGING_ON_CONTACT

MOST_CARDS = 25
"""Of one stage; its totals count all."""

TITLES: Mapping[str, str] = {DEALS.name: "dealname", TICKETS.name: "subject"}
"""The types that have a board, and the property that names a record of each."""


@dataclass(frozen=True)
class Card:
    """A record on a board."""

    uuid: str
    title: str
    properties: Mapping[str, str | None]
    state: str
    etag: str


@dataclass(frozen=True)
class Total:
    """What a stage holds."""

    count: int
    amount: float
    """Of deals, in whatever currency each is."""


@dataclass(frozen=True)
class Board:
    """What the stages of a pipeline hold, by the stages' ids."""

    totals: Mapping[str, Total]
    cards: Mapping[str, Sequence[Card]]


def read_board(
    portal_id: int,
    object_type: ObjectType,
    pipeline_id: str,
    *,
    only_contact_id: int | None = None,
) -> Board:
    """The live records of a pipeline, the most recently changed of each stage first.

    Args:
        portal_id: whose mirror.
        object_type: one of ``TITLES``.
        pipeline_id: HubSpot's.
        only_contact_id: show only what hangs on this contact; None for everything.
    """
    found = db.session.execute(
        text(_statement(object_type, only_contact_id is not None)),
        {
            "portal_id": portal_id,
            "pipeline": orjson.dumps({object_type.pipeline_property: pipeline_id}).decode(),
            "only_contact_id": only_contact_id,
            "most": MOST_CARDS,
        },
    ).all()
    cards: dict[str, list[Card]] = {}
    for row in found:
        cards.setdefault(row.stage, []).append(_card(object_type, row))
    return Board({row.stage: Total(row.held, float(row.amount)) for row in found}, cards)


def read_totals(
    portal_id: int, object_type: ObjectType, *, only_contact_id: int | None = None
) -> Mapping[tuple[str, str], Total]:
    """What each stage holds, by the ids of pipeline and stage; arguments as ``read_board``."""
    found = db.session.execute(
        text(_totals_statement(object_type, only_contact_id is not None)),
        {"portal_id": portal_id, "only_contact_id": only_contact_id},
    )
    return {(row.pipeline, row.stage): Total(row.held, float(row.amount)) for row in found}


def _card(object_type: ObjectType, row: Any) -> Card:
    title = row.properties.get(TITLES[object_type.name]) or "Without a name"
    etag = etag_of(row.revision, row.hs_modified_at)
    return Card(str(row.uuid), title, row.properties, row.state, etag)


# What is no number counts nothing: HubSpot would refuse it, and says so elsewhere.
_AMOUNT = (
    r"CASE WHEN r.properties ->> 'amount' ~ '^-?[0-9]{1,20}(\.[0-9]{1,10})?$'"
    " THEN (r.properties ->> 'amount')::numeric ELSE 0 END"
)


@lru_cache
def _totals_statement(object_type: ObjectType, only_own: bool) -> str:
    return f"""
        SELECT coalesce(r.properties ->> '{object_type.pipeline_property}', '') AS pipeline,
            coalesce(r.properties ->> '{object_type.stage_property}', '') AS stage,
            count(*) AS held, sum({_AMOUNT}) AS amount
        FROM records AS r
        WHERE r.portal_id = :portal_id AND r.object_type = '{object_type.name}'
            AND r.archived_at IS NULL{_visible(only_own)}
        GROUP BY 1, 2
    """  # noqa: S608 - our own names


def _visible(only_own: bool) -> str:
    return f" AND r.id IN {HANGING_ON_CONTACT}" if only_own else ""


@lru_cache
def _statement(object_type: ObjectType, only_own: bool) -> str:
    stage = f"coalesce(r.properties ->> '{object_type.stage_property}', '')"
    return f"""
        SELECT uuid, properties, state, revision, hs_modified_at, stage, held, amount FROM (
            SELECT r.*, {stage} AS stage,
                count(*) OVER (PARTITION BY {stage}) AS held,
                sum({_AMOUNT}) OVER (PARTITION BY {stage}) AS amount,
                row_number() OVER (PARTITION BY {stage}
                    ORDER BY coalesce(r.hs_modified_at, r.updated_at) DESC, r.id DESC) AS place
            FROM records AS r
            WHERE r.portal_id = :portal_id AND r.object_type = '{object_type.name}'
                AND r.archived_at IS NULL
                AND r.properties @> CAST(:pipeline AS jsonb){_visible(only_own)}
        ) AS placed
        WHERE place <= :most ORDER BY stage, place
    """  # noqa: S608 - our own names
