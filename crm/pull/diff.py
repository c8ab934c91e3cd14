"""Find where the mirror is not as a list or a search of HubSpot's says."""

from collections.abc import Collection, Sequence

import orjson
from sqlalchemy import text

from crm.db import transaction
from crm.hubspot.answers import HubSpotRecord
from crm.object_types import ObjectType

_LONGEST_ID = 19
"""Digits of HubSpot's 64 bits."""

_STALE = text("""
    SELECT told.id FROM jsonb_to_recordset(CAST(:told AS jsonb)) AS told(
        id text, updated_at timestamptz)
    LEFT JOIN records ON portal_id = :portal_id AND object_type = :object_type
        AND hs_object_id = told.id
    WHERE (records.id IS NULL
            OR archived_at IS NOT NULL AND state <> 'pending'
            OR coalesce(read_through < told.updated_at, true))
        AND NOT EXISTS (SELECT FROM record_aliases WHERE portal_id = :portal_id
            AND object_type = :object_type AND hs_object_id = told.id)
""")

_UNLISTED = text("""
    SELECT hs_object_id
    FROM unnest(CAST(:lows AS text[]), CAST(:highs AS text[])) AS range(low, high)
    JOIN records ON portal_id = :portal_id AND object_type = :object_type
        AND hs_object_id > low AND hs_object_id <= high AND length(hs_object_id) = length(high)
    WHERE archived_at IS NULL AND hs_object_id <> ALL(:listed)
""")


def find_stale(
    portal_id: int, object_type: ObjectType, records: Sequence[HubSpotRecord]
) -> set[str]:
    """The ids of live records that the mirror has not, or not as of their last modification.

    Records that were merged away or purged since are left out.
    """
    rows = [{"id": each.id, "updated_at": each.updated_at} for each in records]
    keys = {"portal_id": portal_id, "object_type": object_type.name}
    with transaction() as session:
        return set(session.scalars(_STALE, {**keys, "told": orjson.dumps(rows).decode()}))


def find_unlisted(
    portal_id: int,
    object_type: ObjectType,
    listed: Collection[str],
    after: str,
    through: str | None,
) -> set[str]:
    """The ids that live rows of the mirror have, but that a stretch of HubSpot's list has not.

    Args:
        portal_id: whose mirror.
        object_type: of the records.
        listed: the ids of the stretch.
        after: the id before it; empty for the beginning.
        through: the last id of it; None for the end of the list.
    """
    ranges = _ranges(after, "9" * _LONGEST_ID if through is None else through)
    keys = {
        "portal_id": portal_id,
        "object_type": object_type.name,
        "lows": [low for low, _ in ranges],
        "highs": [high for _, high in ranges],
        "listed": list(listed),
    }
    with transaction() as session:
        return set(session.scalars(_UNLISTED, keys))


def _ranges(after: str, through: str) -> list[tuple[str, str]]:
    """The stretch as stretches of ids with equally many digits.

    The list goes by number and the index by text, which is the same among those.
    """
    return [
        (
            after if length == len(after) else "",
            through if length == len(through) else "9" * length,
        )
        for length in range(max(len(after), 1), len(through) + 1)
    ]
