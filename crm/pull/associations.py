"""Write into the mirror which records HubSpot associates with which.

The mirror keeps each pair once, in the direction that ``crm.object_types`` declares; HubSpot may be
asked from either end.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache

import orjson
from sqlalchemy import TextClause, func, select, text

from crm.db import transaction
from crm.hubspot import associations as hubspot_associations
from crm.hubspot.client import HubSpotClient
from crm.object_types import ASSOCIATIONS, AssociationType, ObjectType
from crm.pull import apply

Targets = Mapping[str, Collection[str]]
"""HubSpot ids of the records at the other end, by the id of the record asked about."""


def list_associated_types(object_type: ObjectType) -> list[ObjectType]:
    """The types whose records can hang together with those of a type."""
    return [
        each.to_type if each.from_type is object_type else each.from_type
        for each in ASSOCIATIONS.values()
        if object_type in (each.from_type, each.to_type)
    ]


def refresh_associations(
    client: HubSpotClient,
    portal_id: int,
    object_type: ObjectType,
    other_type: ObjectType,
    ids: Collection[str],
) -> int:
    """Read what records are associated with, and take it into the mirror.

    Returns:
        How many pairs the mirror had wrong.

    Raises:
        HubSpotError: HubSpot cannot be reached or refuses.
    """
    if not ids:
        return 0
    asked_at = read_clock()
    found = hubspot_associations.read(client, object_type, other_type, ids)
    targets = {own: [each.id for each in others] for own, others in found.items()}
    refresh_unknown(client, portal_id, other_type, targets)
    return apply_associations(portal_id, object_type, other_type, targets, asked_at)


def refresh_unknown(
    client: HubSpotClient, portal_id: int, other_type: ObjectType, targets: Targets
) -> None:
    """Take in the records at the other ends that the mirror does not know yet."""
    unknown = find_unknown(portal_id, other_type, targets)
    if unknown:
        apply.refresh(client, portal_id, other_type, unknown)


def apply_associations(
    portal_id: int,
    object_type: ObjectType,
    other_type: ObjectType,
    targets: Targets,
    asked_at: datetime,
) -> int:
    """Make the pairs of records what HubSpot says they are; unknown records are left out.

    Args:
        portal_id: whose mirror.
        object_type: of the records that were asked about.
        other_type: of those at the other end.
        targets: everything that each record is associated with.
        asked_at: when HubSpot was asked; a pair that it took from us since then stays.

    Returns:
        How many pairs came or went.
    """
    if not targets:
        return 0
    kind, is_reversed = declared_between(object_type, other_type)
    rows = [{"own": own, "others": list(others)} for own, others in targets.items()]
    with transaction() as session:
        changed: int = session.execute(
            _statement(is_reversed),
            {
                "portal_id": portal_id,
                "own_type": object_type.name,
                "other_type": other_type.name,
                "type_id": kind.type_id,
                "told": orjson.dumps(rows).decode(),
                "asked_at": asked_at,
            },
        ).scalar_one()
    return changed


def find_unknown(portal_id: int, object_type: ObjectType, targets: Targets) -> set[str]:
    """The records at the other ends that the mirror does not know yet."""
    ids = {each for others in targets.values() for each in others}
    if not ids:
        return set()
    statement = text("""
        SELECT told FROM unnest(CAST(:ids AS text[])) AS told
        WHERE NOT EXISTS (SELECT FROM records WHERE portal_id = :portal_id
            AND object_type = :object_type AND hs_object_id = told)
    """)
    keys = {"portal_id": portal_id, "object_type": object_type.name, "ids": list(ids)}
    with transaction() as session:
        return set(session.scalars(statement, keys))


@lru_cache
def declared_between(
    object_type: ObjectType, other_type: ObjectType
) -> tuple[AssociationType, bool]:
    """The declared direction of a pair of types, and whether that is the other way round.

    Raises:
        ValueError: their records are not associated.
    """
    for each in ASSOCIATIONS.values():
        if (each.from_type, each.to_type) == (object_type, other_type):
            return each, False
        if (each.from_type, each.to_type) == (other_type, object_type):
            return each, True
    raise ValueError(f"{object_type.name} and {other_type.name} are not associated")


@lru_cache
def _statement(is_reversed: bool) -> TextClause:
    own, other = ("to_id", "from_id") if is_reversed else ("from_id", "to_id")
    return text(f"""
        WITH own AS (
            SELECT records.id, told.others
            FROM jsonb_to_recordset(CAST(:told AS jsonb)) AS told(own text, others text[])
            JOIN records ON portal_id = :portal_id AND object_type = :own_type
                AND hs_object_id = told.own
        ), truth AS (
            SELECT DISTINCT own.id AS own_id, records.id AS other_id
            FROM own CROSS JOIN unnest(own.others) AS other
            JOIN records ON portal_id = :portal_id AND object_type = :other_type
                AND hs_object_id = other
        ), gone AS (
            DELETE FROM associations USING own
            WHERE associations.{own} = own.id AND type_id = :type_id AND state = 'synced'
                AND coalesce(synced_at < :asked_at, true)
                -- NOT EXISTS would read all of truth for each, which Postgres takes for small.
                AND ({own}, {other}) NOT IN (SELECT own_id, other_id FROM truth)
            RETURNING 1
        ), come AS (
            INSERT INTO associations (portal_id, type_id, {own}, {other}, state, synced_at)
            SELECT :portal_id, :type_id, own_id, other_id, 'synced', :asked_at
            FROM truth ORDER BY own_id, other_id
            ON CONFLICT (from_id, type_id, to_id) DO UPDATE
                SET state = 'synced', rejection = NULL, synced_at = excluded.synced_at
                WHERE associations.state <> 'synced'
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM come)
    """)  # noqa: S608 - our own


def read_clock() -> datetime:
    """The moment, by the clock of ``asked_at``: Postgres's."""
    with transaction() as session:
        now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now
