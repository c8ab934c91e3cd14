"""Read a pipeline's records by their stages, with totals and the first of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import text

from crm.db import db
from crm.mirror.etags import etag_of
from crm.mirror.reads.records import HANGING_ON_CONTACT
from crm.object_types import DEALS, TICKETS, ObjectType

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
        text(_board_statement(object_type, only_contact_id is not None)),
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
    return Board({row.stage: Total(row.held, row.amount) for row in found}, cards)


def read_totals(
    portal_id: int, object_type: ObjectType, *, only_contact_id: int | None = None
) -> Mapping[tuple[str, str], Total]:
    """What each stage holds, by the ids of pipeline and stage; arguments as ``read_board``."""
    found = db.session.execute(
        text(_totals_statement(object_type, only_contact_id is not None)),
        {"portal_id": portal_id, "only_contact_id": only_contact_id},
    )
    return {(row.pipeline, row.stage): Total(row.held, row.amount) for row in found}


def _card(object_type: ObjectType, row: Any) -> Card:
    title = row.properties.get(TITLES[object_type.name]) or "Without a name"
    etag = etag_of(row.revision, row.hs_modified_at)
    return Card(str(row.uuid), title, row.properties, row.state, etag)


# What is no number counts nothing: HubSpot would refuse it, and says so elsewhere. A pattern
# would take five times as long.
_AMOUNT = """CASE WHEN pg_input_is_valid(amount, 'float8')
    AND amount::float8 BETWEEN -1e21 AND 1e21 THEN amount::float8 ELSE 0 END"""


def _mine(object_type: ObjectType, only_own: bool, condition: str = "") -> str:
    """SQL for what is counted of each live record of a type."""
    visible = f" AND r.id IN {HANGING_ON_CONTACT}" if only_own else ""
    return f"""
        SELECT r.id, r.properties ->> 'amount' AS amount,
            coalesce(r.hs_modified_at, r.updated_at) AS modified_at,
            coalesce(r.properties ->> '{object_type.pipeline_property}', '') AS pipeline,
            coalesce(r.properties ->> '{object_type.stage_property}', '') AS stage
        FROM records AS r
        WHERE r.portal_id = :portal_id AND r.object_type = '{object_type.name}'
            AND r.archived_at IS NULL{condition}{visible}
        OFFSET 0 -- Else Postgres would take each value out of its row as often as it is named.
    """  # noqa: S608 - our own names


@lru_cache
def _totals_statement(object_type: ObjectType, only_own: bool) -> str:
    return f"""
        SELECT pipeline, stage, count(*) AS held, sum({_AMOUNT}) AS amount
        FROM ({_mine(object_type, only_own)}) AS mine GROUP BY pipeline, stage
    """  # noqa: S608 - our own names


@lru_cache
def _board_statement(object_type: ObjectType, only_own: bool) -> str:
    of_pipeline = " AND r.properties @> CAST(:pipeline AS jsonb)"
    return f"""
        WITH mine AS MATERIALIZED ({_mine(object_type, only_own, of_pipeline)}),
        totals AS (
            SELECT stage, count(*) AS held, sum({_AMOUNT}) AS amount FROM mine GROUP BY stage
        )
        SELECT uuid, properties, state, revision, hs_modified_at, stage, held, totals.amount
        FROM totals CROSS JOIN LATERAL (
            SELECT id, modified_at FROM mine WHERE mine.stage = totals.stage
            ORDER BY modified_at DESC, id DESC LIMIT :most
        ) AS first JOIN records USING (id)
        ORDER BY stage, modified_at DESC, id DESC
    """  # noqa: S608 - our own names
