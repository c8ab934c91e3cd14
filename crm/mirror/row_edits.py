"""Write many rows of the mirror at once, or make them again what they were.

Each call is a constant number of statements, whatever the number of rows, within the caller's
transaction. Rows that are written are held for the request that sends them at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from crm.mirror.rows import drafts_sql
from crm.object_types import ObjectType

HOLD = timedelta(seconds=45)
"""How long a request may take to send what it wrote; after a crash, the job goes on then."""


@dataclass(frozen=True)
class Before:
    """A row as it was."""

    id: int
    uuid: UUID
    hs_object_id: str | None
    key: str | None
    properties: Mapping[str, str | None]
    unsent: Sequence[str]
    drafts: Mapping[str, Any]
    state: str
    rejection: Mapping[str, Any] | None
    revision: int
    hs_modified_at: Any
    is_held: bool
    """Whether another request is sending it."""


@dataclass(frozen=True)
class Edit:
    """A row as it was written, with what it takes to undo that."""

    id: int
    uuid: UUID
    before: Before | None
    names: Sequence[str]
    revision: int
    drafts: Mapping[str, Any]


_KEYS = {"email": "email", "domain": "lower(properties ->> 'domain')", None: "external_id"}


def _select(object_type: ObjectType, condition: str) -> str:
    return f"""
        SELECT id, uuid, hs_object_id, {_KEYS[object_type.key_property]} AS key, properties,
            unsent, drafts, state, rejection, revision, hs_modified_at,
            coalesce(held_until > now(), false) AS is_held
        FROM records
        WHERE portal_id = :portal_id AND object_type = :object_type AND archived_at IS NULL
            AND {condition}
        ORDER BY id FOR NO KEY UPDATE
    """  # noqa: S608 - our own


# HubSpot lets several companies have one domain, so no index keeps two callers from making two.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))")


def find_by_keys(
    session: Session, portal_id: int, object_type: ObjectType, keys: Collection[str]
) -> dict[str, Before]:
    """Find and lock the live rows with these keys; of several with one key, the oldest."""
    if object_type.key_property == "domain":
        session.execute(_ONE_AT_A_TIME, {"lock": f"{object_type.name} by key:{portal_id}"})
    condition = f"{_KEYS[object_type.key_property]} = ANY(:keys)"
    found = session.execute(
        text(_select(object_type, condition)),
        {"portal_id": portal_id, "object_type": object_type.name, "keys": list(keys)},
    )
    rows = [Before(*row) for row in found]
    return {row.key: row for row in reversed(rows) if row.key is not None}


def find_by_id(
    session: Session, portal_id: int, object_type: ObjectType, record_id: str
) -> Before | None:
    """Find and lock the live row that HubSpot's id, one merged into it, or its uuid names."""
    is_hubspots = record_id.isascii() and record_id.isdecimal()
    uuid = None if is_hubspots else _uuid(record_id)
    if not is_hubspots and uuid is None:
        return None
    condition = """(hs_object_id = :hs_id OR uuid = CAST(:uuid AS uuid) OR id = (
        SELECT record_id FROM record_aliases AS alias
        WHERE alias.portal_id = :portal_id AND alias.object_type = :object_type
            AND alias.hs_object_id = :hs_id))"""
    row = session.execute(
        text(_select(object_type, condition)),
        {
            "portal_id": portal_id,
            "object_type": object_type.name,
            "hs_id": record_id if is_hubspots else None,
            "uuid": str(uuid) if uuid else None,
        },
    ).first()
    return Before(*row) if row else None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


_UPDATE = text(f"""
    UPDATE records SET
        properties = records.properties || incoming.properties,
        unsent = ARRAY(SELECT DISTINCT unnest(records.unsent || incoming.names)),
        drafts = records.drafts || {drafts_sql("incoming.properties")},
        state = 'pending', rejection = NULL, revision = revision + 1, updated_at = now(),
        held_until = CASE WHEN held_until > now() THEN held_until ELSE now() + :hold END
    FROM jsonb_to_recordset(CAST(:incoming AS jsonb)) AS incoming(
        row_id bigint, properties jsonb, names text[])
    WHERE records.id = incoming.row_id
    RETURNING records.id, revision, drafts
""")  # noqa: S608 - our own


def update(session: Session, changes: Sequence[tuple[Before, Mapping[str, str]]]) -> list[Edit]:
    """Change properties of rows; one of which nothing changes stays as it is."""
    incoming = [
        {"row_id": row.id, "properties": properties, "names": list(properties)}
        for row, properties in changes
        if properties
    ]
    if not incoming:
        return [_unchanged(row) for row, _ in changes]
    written = session.execute(_UPDATE, {"incoming": orjson.dumps(incoming).decode(), "hold": HOLD})
    after = {row.id: row for row in written}
    return [
        Edit(row.id, row.uuid, row, list(properties), after[row.id].revision, after[row.id].drafts)
        if row.id in after
        else _unchanged(row)
        for row, properties in changes
    ]


def _unchanged(row: Before) -> Edit:
    return Edit(row.id, row.uuid, row, [], row.revision, {})


_INSERT = text("""
    INSERT INTO records
        (portal_id, object_type, uuid, properties, unsent, external_id, held_until)
    SELECT :portal_id, :object_type, uuid, properties, names, external_id, now() + :hold
    FROM jsonb_to_recordset(CAST(:incoming AS jsonb)) AS incoming(
        uuid uuid, properties jsonb, names text[], external_id text)
    RETURNING id, uuid, revision
""")


@dataclass(frozen=True)
class New:
    """A row to be."""

    properties: Mapping[str, str]
    external_id: str | None


def insert(
    session: Session, portal_id: int, object_type: ObjectType, rows: Sequence[New]
) -> list[Edit]:
    """Create rows.

    Raises:
        IntegrityError: somebody has just created one with the same key.
    """
    if not rows:
        return []
    uuids = [uuid4() for _ in rows]
    incoming = [
        {
            "uuid": uuid,
            "properties": row.properties,
            "names": list(row.properties),
            "external_id": row.external_id,
        }
        for uuid, row in zip(uuids, rows, strict=True)
    ]
    written = session.execute(
        _INSERT,
        {
            "portal_id": portal_id,
            "object_type": object_type.name,
            "incoming": orjson.dumps(incoming).decode(),
            "hold": HOLD,
        },
    )
    ids = {row.uuid: row for row in written}
    return [
        Edit(ids[uuid].id, uuid, None, list(row.properties), ids[uuid].revision, {})
        for uuid, row in zip(uuids, rows, strict=True)
    ]


# The address that HubSpot has is in use there until it has archived the record.
_ARCHIVE = text("""
    UPDATE records SET archived_at = now(), state = 'pending', rejection = NULL, unsent = '{}',
        properties = properties || CASE WHEN object_type = 'contacts' AND drafts -> 'email' ? 'over'
            THEN jsonb_build_object('email', drafts -> 'email' -> 'over') ELSE '{}' END,
        drafts = '{}', revision = revision + 1, updated_at = now(),
        held_until = CASE WHEN held_until > now() THEN held_until ELSE now() + :hold END
    WHERE id = :id
    RETURNING revision
""")


def archive(session: Session, row: Before) -> Edit:
    """Archive a row; what waited to be sent of it, nobody wants any more."""
    revision = session.execute(_ARCHIVE, {"id": row.id, "hold": HOLD}).scalar_one()
    return Edit(row.id, row.uuid, row, [], revision, {})


# A row that others have written since keeps what they wrote: a value is known by when it was set.
_UNDO = text("""
    UPDATE records SET
        properties = (records.properties - undone.names) || undone.properties,
        unsent = ARRAY(
            SELECT name FROM unnest(records.unsent) AS name WHERE name <> ALL (undone.names)
            UNION SELECT unnest(undone.unsent)),
        drafts = (records.drafts - undone.names) || undone.drafts,
        state = CASE WHEN records.revision = undone.written THEN undone.state ELSE 'pending' END,
        rejection = CASE WHEN records.revision = undone.written THEN undone.rejection END,
        revision = CASE WHEN records.revision = undone.written
            THEN undone.revision ELSE records.revision + 1 END,
        held_until = NULL, updated_at = now()
    FROM (
        SELECT told.id, told.written, told.state, told.rejection, told.revision, ours.names,
            ARRAY(SELECT unnest(told.was_unsent) INTERSECT SELECT unnest(ours.names)) AS unsent,
            coalesce((SELECT jsonb_object_agg(name, told.was_drafts -> name)
                FROM unnest(ours.names) AS name WHERE told.was_drafts ? name), '{}') AS drafts,
            coalesce((SELECT jsonb_object_agg(name,
                    -- What HubSpot has meanwhile, unless our own older value waited.
                    CASE WHEN name <> ALL (told.was_unsent) AND row.drafts -> name ? 'over'
                        THEN row.drafts -> name -> 'over' ELSE told.was -> name END)
                FROM unnest(ours.names) AS name WHERE told.was ? name), '{}') AS properties
        FROM jsonb_to_recordset(CAST(:told AS jsonb)) AS told(
            id bigint, names text[], written bigint, ats jsonb, was jsonb, was_unsent text[],
            was_drafts jsonb, state text, rejection jsonb, revision bigint)
        JOIN records AS row ON row.id = told.id
        CROSS JOIN LATERAL (SELECT ARRAY(
            SELECT name FROM unnest(told.names) AS name
            WHERE row.drafts -> name ->> 'at' IS NOT DISTINCT FROM told.ats ->> name) AS names
        ) AS ours
    ) AS undone
    WHERE records.id = undone.id
""")

_FORGET_ROWS = text("""
    DELETE FROM records USING jsonb_to_recordset(CAST(:told AS jsonb)) AS told(
        id bigint, written bigint)
    WHERE records.id = told.id AND records.revision = told.written
        AND records.hs_object_id IS NULL
    RETURNING records.id
""")

# Both what we wrote and our taking it back.
_FORGET_HISTORY = text("""
    DELETE FROM record_changes
    USING jsonb_to_recordset(CAST(:told AS jsonb)) AS told(id bigint, names text[], ats jsonb)
    WHERE record_id = told.id AND name = ANY (told.names) AND (noted_at = now()
        OR side = 'here' AND changed_at = CAST(told.ats ->> name AS timestamptz))
""")


def undo(session: Session, edits: Sequence[Edit]) -> None:
    """Make rows what they were before, their history included; new ones are gone again.

    The rows are no longer held.
    """
    new = [{"id": row.id, "written": row.revision} for row in edits if row.before is None]
    gone = set(session.scalars(_FORGET_ROWS, {"told": orjson.dumps(new).decode()}))
    rows = [_as_json(row) for row in edits if row.id not in gone]
    if rows:
        parameters = {"told": orjson.dumps(rows).decode()}
        session.execute(_UNDO, parameters)
        session.execute(_FORGET_HISTORY, parameters)


def _as_json(row: Edit) -> dict[str, Any]:
    before = row.before
    return {
        "id": row.id,
        "names": row.names,
        "written": row.revision,
        "ats": {
            name: row.drafts[name]["at"] for name in row.names if "at" in row.drafts.get(name, {})
        },
        "was": before.properties if before else {},
        "was_unsent": before.unsent if before else [],
        "was_drafts": before.drafts if before else {},
        "state": before.state if before else "pending",
        "rejection": before.rejection if before else None,
        "revision": before.revision if before else row.revision + 1,
    }


_HOLD_ROWS = text("""
    UPDATE records SET held_until = now() + :hold
    WHERE id = ANY(:ids) AND (held_until IS NULL OR held_until < now())
    RETURNING id
""")


def hold(session: Session, ids: Collection[int]) -> set[int]:
    """Hold rows that nobody else holds; returns which."""
    return set(session.scalars(_HOLD_ROWS, {"ids": list(ids), "hold": HOLD}))


def release(session: Session, ids: Collection[int]) -> None:
    """Leave rows to the job."""
    statement = text("UPDATE records SET held_until = NULL WHERE id = ANY(:ids)")
    session.execute(statement, {"ids": list(ids)})
