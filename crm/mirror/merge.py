"""Make one row of several that turn out to be one record, and lose nothing of them."""

from collections.abc import Sequence

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from crm.mirror.match import Match
from crm.object_types import ObjectType

log = structlog.get_logger(__name__)

_PAIRS = "unnest(CAST(:olds AS bigint[]), CAST(:keeps AS bigint[])) AS pair(old, keep)"

# Whatever pointed at a row that goes points at the one that stays.
_STEPS = tuple(
    text(each)
    for each in (
        # Where several become one, the state that says most is kept: synced, rejected, pending.
        f"""INSERT INTO associations (portal_id, type_id, from_id, to_id, state, rejection)
            SELECT DISTINCT ON (type_id, keep, to_id)
                portal_id, type_id, keep, to_id, state, rejection
            FROM associations JOIN {_PAIRS} ON from_id = old
            ORDER BY type_id, keep, to_id, state DESC
            ON CONFLICT DO NOTHING""",  # noqa: S608 - our own
        f"""INSERT INTO associations (portal_id, type_id, from_id, to_id, state, rejection)
            SELECT DISTINCT ON (type_id, from_id, keep)
                portal_id, type_id, from_id, keep, state, rejection
            FROM associations JOIN {_PAIRS} ON to_id = old
            ORDER BY type_id, from_id, keep, state DESC
            ON CONFLICT DO NOTHING""",  # noqa: S608 - our own
        f"UPDATE users SET contact_id = keep FROM {_PAIRS} WHERE contact_id = old",  # noqa: S608 - our own
        f"UPDATE record_changes SET record_id = keep FROM {_PAIRS} WHERE record_id = old",  # noqa: S608 - our own
        f"UPDATE record_aliases SET record_id = keep FROM {_PAIRS} WHERE record_id = old",  # noqa: S608 - our own
    )
)

_DELETE = text("DELETE FROM records WHERE id = ANY(:olds) RETURNING id, external_id")
_KEEP_EXTERNAL_IDS = text("""
    UPDATE records SET external_id = coalesce(records.external_id, kept.external_id)
    FROM unnest(CAST(:keeps AS bigint[]), CAST(:external_ids AS text[])) AS kept(id, external_id)
    WHERE records.id = kept.id
""")

_ALIAS = text("""
    INSERT INTO record_aliases (portal_id, object_type, hs_object_id, record_id)
    SELECT :portal_id, :object_type, id, row_id
    FROM unnest(CAST(:ids AS text[]), CAST(:row_ids AS bigint[])) AS alias(id, row_id)
    ON CONFLICT (portal_id, object_type, hs_object_id)
        DO UPDATE SET record_id = excluded.record_id
""")


def merge_rows(
    session: Session, portal_id: int, object_type: ObjectType, matches: Sequence[Match]
) -> None:
    """Merge the other rows of matches into their row; HubSpot's old ids lead there from now on.

    The unsent properties of the merged rows are the caller's to keep.
    """
    aliases = {
        row.hs_object_id: each.row.id
        for each in matches
        if each.row
        for row in (each.row, *each.merged)
        if row.hs_object_id and row.hs_object_id != each.record.id
    }
    pairs = {row.id: each.row.id for each in matches if each.row for row in each.merged}
    if pairs:
        log.info("rows are one record", rows=len(pairs))
        parameters = {"olds": list(pairs), "keeps": list(pairs.values())}
        for step in _STEPS:
            session.execute(step, parameters)
        gone = {
            row_id: external_id
            for row_id, external_id in session.execute(_DELETE, parameters)
            if external_id
        }
        session.execute(
            _KEEP_EXTERNAL_IDS,
            {"keeps": [pairs[each] for each in gone], "external_ids": list(gone.values())},
        )
    if aliases:
        session.execute(
            _ALIAS,
            {
                "portal_id": portal_id,
                "object_type": object_type.name,
                "ids": list(aliases),
                "row_ids": list(aliases.values()),
            },
        )
