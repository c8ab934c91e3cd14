"""Read what applications ask for: lists of every type, and one record with its associations."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import orjson
from sqlalchemy import text

from crm.db import db, read
from crm.errors import NotFoundError
from crm.mirror.etags import etag_of
from crm.mirror.reads.pages import (
    CREATED,
    MODIFIED,
    Conditions,
    ListQuery,
    Page,
    Sort,
    node,
    read_page,
    words_of,
)
from crm.models import REJECTED, SYNCED
from crm.object_types import ASSOCIATIONS, ObjectType

MOST_ASSOCIATED = 1000
"""Of one type with one record; ``association_totals`` tells how many there are."""

_HUBSPOT_ID = re.compile(r"[0-9]{1,20}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class FoundRecord:
    """One record as JSON text, and its version."""

    item: str
    etag: str
    is_synced: bool
    """Whether it is neither waiting for HubSpot nor refused, which its version would not tell."""


def sorts_of(object_type: ObjectType) -> Mapping[str, Sort]:
    """The orders that the list of a type has, by name."""
    return {"createdate": CREATED, object_type.modified_property: MODIFIED}


def list_records(
    portal_id: int,
    object_type: ObjectType,
    query: ListQuery,
    *,
    only_contact_id: int | None = None,
) -> Page:
    """A page of records of one type.

    Args:
        portal_id: whose mirror.
        object_type: of the records.
        query: what to find; its sort is a name of ``sorts_of``, its filters are the type's own.
        only_contact_id: show only what hangs on this contact; None for everything.

    Raises:
        InvalidInputError: a cursor that is none of ours, or of another list or order.
    """
    conditions = Conditions()
    if query.filters:
        wanted = {object_type.property_for(name): each for name, each in query.filters.items()}
        conditions.add(
            "r.properties @> CAST(:wanted AS jsonb)", wanted=orjson.dumps(wanted).decode()
        )
    for index, word in enumerate(words_of(query.q)):
        conditions.add(
            f"r.search @@ to_tsquery('simple', :word_{index})", **{f"word_{index}": word}
        )
    if only_contact_id is not None:
        conditions.add(f"r.id IN {HANGING_ON_CONTACT}", only_contact_id=only_contact_id)
    return read_page(
        portal_id,
        object_type,
        query,
        item=_item(object_type) + "::text",
        sorts=sorts_of(object_type),
        conditions=conditions,
    )


def find_record(
    portal_id: int,
    object_type: ObjectType,
    record_id: str,
    *,
    only_contact_id: int | None = None,
) -> FoundRecord:
    """One live record, with what it is associated with.

    Args:
        portal_id: whose mirror.
        object_type: of the record.
        record_id: HubSpot's id, one of a record that was merged into it, or the row's uuid.
        only_contact_id: show only what hangs on this contact; None for everything.

    Raises:
        NotFoundError: there is no such record, or it is not for this caller.
    """
    parameters = identify(portal_id, object_type, record_id)
    statement = _record_statement(object_type, only_contact_id is not None)
    rows = read(statement, {**parameters, "only_contact_id": only_contact_id})
    if not rows:
        raise NotFoundError
    item, revision, hs_modified_at, state = rows[0]
    return FoundRecord(item, etag_of(revision, hs_modified_at), state == SYNCED)


def identify(portal_id: int, object_type: ObjectType, record_id: str) -> dict[str, object]:
    """The parameters of ``IDENTIFIED`` for what a caller named a record by.

    Raises:
        NotFoundError: no record could be called so.
    """
    by_uuid = is_uuid(record_id)
    if not by_uuid and not _HUBSPOT_ID.fullmatch(record_id):
        raise NotFoundError
    return {
        "portal_id": portal_id,
        "object_type": object_type.name,
        "hubspot_id": None if by_uuid else record_id,
        "uuid": record_id if by_uuid else None,
    }


def is_uuid(given: str) -> bool:
    """Whether a text is a uuid in the form in which answers give it."""
    return bool(_UUID.fullmatch(given))


IDENTIFIED = """(
    SELECT id FROM records WHERE portal_id = :portal_id AND object_type = :object_type
        AND hs_object_id = :hubspot_id
    UNION ALL SELECT record_id FROM record_aliases
    WHERE portal_id = :portal_id AND object_type = :object_type AND hs_object_id = :hubspot_id
    UNION ALL SELECT id FROM records WHERE portal_id = :portal_id AND object_type = :object_type
        AND uuid = CAST(:uuid AS uuid)
    LIMIT 1)"""
"""SQL for the id of the row, archived or not, that ``identify`` means."""


def find_row_id(portal_id: int, object_type: ObjectType, record_id: str) -> int:
    """The id of the row that a caller names, archived or not.

    Raises:
        NotFoundError: there is none.
    """
    parameters = identify(portal_id, object_type, record_id)
    row_id: int | None = db.session.scalar(text(f"SELECT {IDENTIFIED}"), parameters)
    if row_id is None:
        raise NotFoundError
    return row_id


# Associations are followed in their declared direction alone, which leads away from contacts: to
# a contact's deals, their tickets and line items, the companies; never to another contact.
HANGING_ON_CONTACT = """(
    WITH RECURSIVE own AS (
        SELECT id FROM records WHERE id = :only_contact_id AND archived_at IS NULL
        UNION SELECT o.id FROM own JOIN associations ON from_id = own.id
        JOIN records AS o ON o.id = to_id AND o.archived_at IS NULL
    ) SELECT id FROM own)"""


@lru_cache
def _record_statement(object_type: ObjectType, only_own: bool) -> str:
    visible = f" AND r.id IN {HANGING_ON_CONTACT}" if only_own else ""
    associations, totals = _associations(object_type, only_own)
    item = _item(
        object_type,
        f"'associations', json_build_object({associations})",
        f"'association_totals', json_build_object({totals})",
    )
    return (
        f"SELECT {item}::text, r.revision, r.hs_modified_at, r.state FROM records AS r"  # noqa: S608
        f" WHERE r.id = {IDENTIFIED} AND r.archived_at IS NULL{visible}"
    )


def _item(object_type: ObjectType, *inside: str) -> str:
    return node(
        object_type,
        "r",
        "'uuid', r.uuid",
        "'properties', r.properties",
        f"'rejection', {rejection_of('r')}",
        *inside,
    )


def rejection_of(alias: str) -> str:
    """SQL for what HubSpot said when it refused a row, or null.

    ``{"message", "category", "correlation_id", "fields": {property: sentence}}``.
    """
    said = f"{alias}.rejection"
    return (
        f"CASE WHEN {alias}.state = '{REJECTED}' THEN json_build_object("
        f"'message', {said} -> 'message', 'category', {said} -> 'category',"
        f" 'correlation_id', {said} -> 'correlation_id',"
        f" 'fields', coalesce({said} -> 'errors', '{{}}'::jsonb)) END"
    )


def _associations(object_type: ObjectType, only_own: bool) -> tuple[str, str]:
    """SQL pairs of the associated records, and of how many there are, by their types."""
    items, totals = [], []
    visible = f" AND o.id IN {HANGING_ON_CONTACT}" if only_own else ""
    for each in ASSOCIATIONS.values():
        if object_type not in (each.from_type, each.to_type):
            continue
        is_from = each.from_type is object_type
        own, other = ("from_id", "to_id") if is_from else ("to_id", "from_id")
        other_type = each.to_type if is_from else each.from_type
        found = (
            f"FROM associations AS a JOIN records AS o ON o.id = a.{other}"
            f" WHERE a.{own} = r.id AND a.type_id = {each.type_id}"
            f" AND o.archived_at IS NULL{visible}"
        )
        pair = (
            "json_build_object('id', o.hs_object_id, 'uuid', o.uuid,"
            f" 'type', '{object_type.singular}_to_{other_type.singular}', 'sync_state', a.state)"
        )
        items.append(
            f"'{other_type.name}', coalesce((SELECT json_agg(pair ORDER BY id) FROM ("  # noqa: S608
            f"SELECT o.id, {pair} AS pair {found} ORDER BY o.id LIMIT {MOST_ASSOCIATED}"
            ") AS pairs), '[]'::json)"
        )
        totals.append(f"'{other_type.name}', (SELECT count(*) {found})")
    return ", ".join(items), ", ".join(totals)
