"""Read which value each property of a record took, on which side, and which one lost."""

from sqlalchemy import text

from crm.cursors import cursor_of, position_of
from crm.db import db
from crm.mirror.reads.pages import Page
from crm.mirror.reads.records import find_row_id
from crm.object_types import ObjectType

_PAGE = text("""
    SELECT id, json_build_object(
        'property', name, 'from', was, 'to', value, 'side', side,
        'changed_at', to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'overruled', overruled_at IS NOT NULL, 'reason', reason)::text AS item
    FROM record_changes WHERE record_id = :row_id AND id < :before
    ORDER BY id DESC LIMIT :more
""")

_NEWEST = 2**63 - 1


def list_changes(
    portal_id: int, object_type: ObjectType, record_id: str, *, limit: int, cursor: str | None
) -> Page:
    """A page of the changes of one record, in the order in which this side learnt of them.

    The newest come first; a record that was archived still tells its history.

    Raises:
        NotFoundError: there is no such record.
        InvalidInputError: a cursor that is none of ours, or of another record.
    """
    row_id = find_row_id(portal_id, object_type, record_id)
    listing = f"history {row_id}"
    before = position_of(cursor, listing)[0] if cursor is not None else _NEWEST
    parameters = {"row_id": row_id, "before": before, "more": limit + 1}
    rows = db.session.execute(_PAGE, parameters).all()
    last_id = rows[limit - 1].id if len(rows) > limit else None
    return Page(
        [row.item for row in rows[:limit]], cursor_of(listing, last_id) if last_id else None
    )
