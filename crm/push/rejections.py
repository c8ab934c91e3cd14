"""List what HubSpot refused, which waits here to be corrected and sent again, or dropped.

A refused change is a row or a pair of rows in the state ``rejected``. It is called by the row's
uuid, or by ``association-`` and the pair's number.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from crm.cursors import cursor_of, position_of
from crm.db import db, transaction
from crm.errors import ConflictError, InvalidInputError, NotFoundError
from crm.mirror.conflicts import Resolution
from crm.mirror.reads.pages import Page
from crm.mirror.reads.records import is_uuid, rejection_of
from crm.mirror.row_updates import note_resolutions
from crm.mirror.rows import drafts_sql
from crm.object_types import CONTACTS, OBJECT_TYPES
from crm.portals import portals
from crm.pull import apply
from crm.push.job import enqueue_push

log = structlog.get_logger(__name__)

ASSOCIATIONS_TYPE = "associations"
TYPES = (*OBJECT_TYPES, ASSOCIATIONS_TYPE)

_PAIR_ID = re.compile(r"association-([0-9]{1,18})")
_DROPPED = "HubSpot refused it, and it was dropped here"


@dataclass(frozen=True)
class _Named:
    """Refused changes as callers name them."""

    uuids: list[str] = field(default_factory=list)
    pair_ids: list[int] = field(default_factory=list)


def _rejection_field(alias: str) -> str:
    return f"'rejection', {rejection_of(alias)}"


def _end(alias: str) -> str:
    return (
        f"json_build_object('type', {alias}.object_type, 'id', {alias}.hs_object_id,"
        f" 'uuid', {alias}.uuid)"
    )


_PAGE = text(f"""
    SELECT place, id, item FROM (
        SELECT 1 AS place, r.id, json_build_object(
            'id', r.uuid, 'type', r.object_type, 'hubspot_id', r.hs_object_id,
            'properties', coalesce((SELECT jsonb_object_agg(name, r.properties -> name)
                FROM unnest(r.unsent) AS name), '{{}}'),
            {_rejection_field("r")})::text AS item
        FROM records AS r
        WHERE r.portal_id = :portal_id AND r.state = 'rejected'
            AND (CAST(:type AS text) IS NULL OR r.object_type = :type)
        UNION ALL
        SELECT 0, a.id, json_build_object(
            'id', 'association-' || a.id, 'type', '{ASSOCIATIONS_TYPE}',
            'from', {_end("f")}, 'to', {_end("t")}, {_rejection_field("a")})::text
        FROM associations AS a
        JOIN records AS f ON f.id = a.from_id JOIN records AS t ON t.id = a.to_id
        WHERE a.portal_id = :portal_id AND a.state = 'rejected'
            AND (CAST(:type AS text) IS NULL OR :type = '{ASSOCIATIONS_TYPE}')
    ) AS rejected
    WHERE (place, id) < (:place, :before)
    ORDER BY place DESC, id DESC LIMIT :more
""")  # noqa: S608 - our own


def list_rejected(
    portal_id: int, *, object_type: str | None = None, limit: int, cursor: str | None = None
) -> Page:
    """A page of refused changes: records, the newest first, and then associations.

    Args:
        portal_id: whose.
        object_type: one of ``TYPES``; None for all.
        limit: of the page.
        cursor: of the page before.

    Raises:
        InvalidInputError: a cursor that is none of ours, or of another list.
    """
    listing = f"rejected {object_type}"
    place, before = position_of(cursor, listing) if cursor is not None else (2, 0)
    parameters = {"portal_id": portal_id, "type": object_type, "place": place, "before": before}
    rows = db.session.execute(_PAGE, parameters | {"more": limit + 1}).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        [row.item for row in rows[:limit]],
        cursor_of(listing, last.place, last.id) if last else None,
    )


_RESEND_RECORDS = text("""
    UPDATE records SET state = 'pending', rejection = NULL, revision = revision + 1,
        updated_at = now()
    WHERE portal_id = :portal_id AND state = 'rejected' AND (
        uuid = ANY(CAST(:uuids AS uuid[]))
        OR :everything AND (CAST(:type AS text) IS NULL OR object_type = :type))
    RETURNING 1
""")
_RESEND_PAIRS = text(f"""
    UPDATE associations SET state = 'pending', rejection = NULL
    WHERE portal_id = :portal_id AND state = 'rejected' AND (
        id = ANY(CAST(:pair_ids AS bigint[]))
        OR :everything AND (CAST(:type AS text) IS NULL OR :type = '{ASSOCIATIONS_TYPE}'))
    RETURNING 1
""")  # noqa: S608 - our own


def resend(
    portal_id: int, ids: Collection[str] | None = None, *, object_type: str | None = None
) -> int:
    """Send refused changes again as they are; returns how many.

    Args:
        portal_id: whose.
        ids: of the changes; those that are not refused (any more) are left out. None for all.
        object_type: where there are no ids: only changes of this one of ``TYPES``.

    Raises:
        NotFoundError: an id that no change could have.
    """
    named = _named(ids or ())
    with transaction() as session:
        return _resend(session, portal_id, named, everything=ids is None, object_type=object_type)


def correct(portal_id: int, rejected_id: str, properties: Mapping[str, str | None]) -> None:
    """Send a refused change again, with some of its values changed.

    Args:
        portal_id: whose.
        rejected_id: of the change.
        properties: by HubSpot's names or the wire's; None clears a value. May be empty.

    Raises:
        NotFoundError: there is no such refused change.
        InvalidInputError: properties of an association, which has none, or a contact without an
            e-mail.
        ConflictError: another contact has this e-mail.
    """
    named = _named([rejected_id])
    if properties and named.pair_ids:
        raise InvalidInputError(errors={"properties": "An association has none"})
    with _one_email_each(), transaction() as session:
        if properties:
            _correct(session, portal_id, named.uuids[0], properties)
        if not _resend(session, portal_id, named):
            raise NotFoundError


_FIND_TYPE = text("""
    SELECT object_type FROM records
    WHERE portal_id = :portal_id AND uuid = CAST(:uuid AS uuid) AND state = 'rejected'
    FOR UPDATE
""")
_CORRECT = text(f"""
    UPDATE records SET properties = properties || CAST(:properties AS jsonb),
        unsent = ARRAY(SELECT DISTINCT unnest(
            unsent || ARRAY(SELECT jsonb_object_keys(CAST(:properties AS jsonb))))),
        drafts = drafts || {drafts_sql("CAST(:properties AS jsonb)")}
    WHERE portal_id = :portal_id AND uuid = CAST(:uuid AS uuid)
""")  # noqa: S608 - our own


def _correct(
    session: Session, portal_id: int, uuid: str, properties: Mapping[str, str | None]
) -> None:
    keys = {"portal_id": portal_id, "uuid": uuid}
    object_type = OBJECT_TYPES.get(session.scalar(_FIND_TYPE, keys) or "")
    if object_type is None:
        raise NotFoundError
    changes = {object_type.property_for(name): value for name, value in properties.items()}
    if object_type is CONTACTS and "email" in changes:
        changes["email"] = (changes["email"] or "").strip().lower()
        if not changes["email"]:
            raise InvalidInputError(errors={"properties.email": "A contact needs one"})
    session.execute(_CORRECT, {**keys, "properties": orjson.dumps(changes).decode()})


def _resend(
    session: Session,
    portal_id: int,
    named: _Named,
    *,
    everything: bool = False,
    object_type: str | None = None,
) -> int:
    parameters = {
        "portal_id": portal_id,
        "uuids": named.uuids,
        "pair_ids": named.pair_ids,
        "everything": everything,
        "type": object_type,
    }
    statements = (_RESEND_RECORDS, _RESEND_PAIRS)
    resent = sum(len(session.execute(each, parameters).all()) for each in statements)
    if resent:
        log.info("refused changes are sent again", portal_id=portal_id, changes=resent)
        enqueue_push(portal_id)
    return resent


_UNKNOWN_THERE = text("""
    SELECT object_type, array_agg(hs_object_id) FROM records
    WHERE portal_id = :portal_id AND uuid = ANY(CAST(:uuids AS uuid[])) AND state = 'rejected'
        AND hs_object_id IS NOT NULL AND EXISTS (
            SELECT FROM unnest(unsent) AS name
            WHERE NOT coalesce(drafts -> name ? 'over', false))
    GROUP BY object_type
""")
_LOCK = text("""
    SELECT id, hs_object_id, unsent FROM records
    WHERE portal_id = :portal_id AND uuid = ANY(CAST(:uuids AS uuid[])) AND state = 'rejected'
    ORDER BY id FOR UPDATE
""")
_UNLINK_USERS = text("UPDATE users SET contact_id = NULL WHERE contact_id = ANY(:ids)")
_DELETE = text("DELETE FROM records WHERE id = ANY(:ids)")
_GO_BACK = text("""
    UPDATE records SET
        properties = jsonb_strip_nulls((properties - unsent) || coalesce((
            SELECT jsonb_object_agg(name, drafts -> name -> 'over')
            FROM unnest(unsent) AS name), '{}')),
        unsent = '{}', drafts = '{}', state = 'synced', rejection = NULL, archived_at = NULL,
        revision = revision + 1, updated_at = now()
    WHERE id = ANY(:ids)
""")
_DELETE_PAIRS = text("""
    DELETE FROM associations
    WHERE portal_id = :portal_id AND state = 'rejected' AND id = ANY(CAST(:ids AS bigint[]))
    RETURNING 1
""")


def drop(portal_id: int, ids: Collection[str]) -> int:
    """Give refused changes up; returns how many.

    A record that HubSpot never had is deleted with its associations, one that it has goes back to
    HubSpot's values. A pair of records is no pair any more.

    Args:
        portal_id: whose.
        ids: of the changes; those that are not refused (any more) are left out.

    Raises:
        NotFoundError: an id that no change could have.
        ConflictError: another contact has by now the e-mail that one goes back to.
        HubSpotError: HubSpot's values are not known here, and it cannot be asked; nothing is
            dropped.
    """
    named = _named(ids)
    keys = {"portal_id": portal_id, "uuids": named.uuids}
    _learn_values(portal_id, keys)
    with _one_email_each(), transaction() as session:
        rows = session.execute(_LOCK, keys).all()
        new = {"ids": [row.id for row in rows if row.hs_object_id is None]}
        known = [row for row in rows if row.hs_object_id is not None]
        session.execute(_UNLINK_USERS, new)
        session.execute(_DELETE, new)
        note_resolutions(
            session,
            [
                (row.id, Resolution(name, True, None, None, None, _DROPPED))
                for row in known
                for name in row.unsent
            ],
        )
        session.execute(_GO_BACK, {"ids": [row.id for row in known]})
        pairs = session.execute(_DELETE_PAIRS, {"portal_id": portal_id, "ids": named.pair_ids})
        dropped = len(rows) + len(pairs.all())
    log.info("refused changes dropped", portal_id=portal_id, changes=dropped)
    return dropped


def _learn_values(portal_id: int, keys: Mapping[str, Any]) -> None:
    """Have HubSpot tell the values that refused ones were to replace, where nobody noted them."""
    with transaction() as session:
        unknown = {row[0]: row[1] for row in session.execute(_UNKNOWN_THERE, keys)}
    if unknown:
        client = portals.connect(portal_id, someone_waits=True)
        for name, hs_ids in unknown.items():
            apply.refresh(client, portal_id, OBJECT_TYPES[name], hs_ids)


def _named(ids: Iterable[str]) -> _Named:
    named = _Named()
    for each in ids:
        if pair := _PAIR_ID.fullmatch(each):
            named.pair_ids.append(int(pair[1]))
        elif is_uuid(each):
            named.uuids.append(each)
        else:
            raise NotFoundError(f"No refused change is called {each[:100]!r}")
    return named


@contextmanager
def _one_email_each() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise ConflictError("Another contact has this e-mail") from error
