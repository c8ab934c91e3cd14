"""Write into the mirror what HubSpot's records are, and who won which property."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from crm.hubspot.answers import HubSpotRecord
from crm.mirror.conflicts import Resolution
from crm.mirror.match import Row
from crm.object_types import ObjectType

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RecordUpdate:
    """What of a record the mirror takes, and which of the row's unsent values are left."""

    row_id: int | None
    record: HubSpotRecord
    properties: Mapping[str, str | None]
    unsent: Sequence[str] | None = None
    drafts: Mapping[str, Any] | None = None
    resolutions: Sequence[Resolution] = ()


def write(
    session: Session, portal_id: int, object_type: ObjectType, updates: Sequence[RecordUpdate]
) -> int:
    """Write records into the mirror; returns how many of its rows were not like this."""
    known = [each for each in updates if each.row_id]
    new = [each for each in updates if not each.row_id and not each.record.archived]
    keys = {"portal_id": portal_id, "object_type": object_type.name}
    changed = 0
    if known:
        changed += session.scalar(_UPDATE, _as_json(known)) or 0
    if new:
        changed += session.scalar(_INSERT, {**keys, **_as_json(new)}) or 0
    return changed


_INCOMING = """
    jsonb_to_recordset(CAST(:incoming AS jsonb)) AS incoming(
        row_id bigint, hs_object_id text, properties jsonb, unsent text[], drafts jsonb,
        created_at timestamptz, updated_at timestamptz, archived boolean)
"""

_UPDATE = text(f"""
    WITH news AS (
        SELECT incoming.*, records.properties AS was, records.archived_at AS was_archived_at,
            jsonb_strip_nulls(records.properties || incoming.properties) AS combined,
            CASE WHEN incoming.archived THEN coalesce(records.archived_at, now())
                -- Archived here, and HubSpot is yet to be told.
                WHEN records.state = 'pending' THEN records.archived_at END AS now_archived_at
        FROM records JOIN {_INCOMING} ON records.id = incoming.row_id
    ), updated AS (
        UPDATE records SET
            hs_object_id = news.hs_object_id,
            properties = combined,
            unsent = coalesce(news.unsent, records.unsent),
            drafts = coalesce(news.drafts, records.drafts),
            state = CASE WHEN news.archived
                OR cardinality(news.unsent) = 0 AND now_archived_at IS NULL
                THEN 'synced'
                -- From a row that ended in this one.
                WHEN state = 'synced' AND cardinality(news.unsent) > 0 THEN 'pending'
                -- What was refused was refused of the record that has since become this one.
                WHEN state = 'rejected' AND news.hs_object_id <> records.hs_object_id
                THEN 'pending'
                ELSE state END,
            rejection = CASE WHEN cardinality(news.unsent) = 0
                OR news.hs_object_id <> records.hs_object_id THEN NULL ELSE rejection END,
            revision = revision + CASE WHEN news.unsent IS NULL THEN 0 ELSE 1 END,
            hs_created_at = coalesce(news.created_at, hs_created_at),
            hs_modified_at = greatest(news.updated_at, hs_modified_at),
            read_through = greatest(news.updated_at, read_through),
            archived_at = now_archived_at,
            updated_at = CASE WHEN combined IS DISTINCT FROM was
                OR (now_archived_at IS NULL) <> (was_archived_at IS NULL)
                THEN now() ELSE records.updated_at END
        FROM news
        WHERE records.id = news.row_id AND (
            combined IS DISTINCT FROM was
            OR news.updated_at IS DISTINCT FROM records.read_through
            OR news.hs_object_id IS DISTINCT FROM records.hs_object_id
            OR news.unsent IS NOT NULL
            OR (now_archived_at IS NULL) <> (was_archived_at IS NULL))
        RETURNING combined IS DISTINCT FROM was
            OR (now_archived_at IS NULL) <> (was_archived_at IS NULL) AS is_news
    )
    SELECT count(*) FROM updated WHERE is_news
""")  # noqa: S608 - our own

_INSERT = text(f"""
    WITH inserted AS (
        INSERT INTO records (portal_id, object_type, hs_object_id, properties, state,
            hs_created_at, hs_modified_at, read_through)
        SELECT :portal_id, :object_type, hs_object_id, jsonb_strip_nulls(properties), 'synced',
            created_at, updated_at, updated_at
        FROM {_INCOMING}
        RETURNING 1
    )
    SELECT count(*) FROM inserted
""")  # noqa: S608 - our own


def _as_json(updates: Iterable[RecordUpdate]) -> dict[str, str]:
    incoming = [
        {
            "row_id": each.row_id,
            "hs_object_id": each.record.id,
            "properties": each.properties,
            "unsent": each.unsent,
            "drafts": each.drafts,
            "created_at": each.record.created_at,
            "updated_at": each.record.updated_at,
            "archived": each.record.archived,
        }
        for each in updates
    ]
    return {"incoming": orjson.dumps(incoming).decode()}


_RELEASE = text("""
    UPDATE records SET properties = properties - 'email', drafts = drafts - 'email',
        unsent = array_remove(unsent, 'email'), revision = revision + 1,
        state = CASE WHEN unsent = '{email}' THEN 'synced' ELSE state END
    WHERE id = ANY(:ids)
""")


def release_emails(session: Session, without_email: Sequence[Row]) -> None:
    """Take away the e-mails that other records have now."""
    if without_email:
        log.info("e-mail is another contact's", record_ids=[row.id for row in without_email])
        session.execute(_RELEASE, {"ids": [row.id for row in without_email]})


_ARCHIVE = text("""
    UPDATE records SET archived_at = coalesce(archived_at, now()), state = 'synced',
        -- What HubSpot had last.
        properties = jsonb_strip_nulls(properties || coalesce((
            SELECT jsonb_object_agg(draft.key, draft.value -> 'over')
            FROM jsonb_each(drafts) AS draft WHERE draft.value ? 'over'), '{}')),
        unsent = '{}', drafts = '{}', rejection = NULL, revision = revision + 1,
        updated_at = now()
    WHERE id = ANY(:ids)
""")


def archive(session: Session, row_ids: Sequence[int]) -> None:
    """Archive rows with what HubSpot last had of them; nothing of them waits any longer."""
    session.execute(_ARCHIVE, {"ids": list(row_ids)})


_OVERRULE_OURS = text("""
    UPDATE record_changes SET overruled_at = now(), reason = ruling.reason
    FROM jsonb_to_recordset(CAST(:rulings AS jsonb)) AS ruling(
        record_id bigint, name text, reason text)
    WHERE record_changes.id = (
        SELECT max(id) FROM record_changes AS ours
        WHERE ours.record_id = ruling.record_id AND ours.name = ruling.name
            AND ours.side = 'here')
""")

_NOTE_THEIRS = text("""
    INSERT INTO record_changes
        (record_id, name, was, value, side, changed_at, overruled_at, reason)
    SELECT record_id, name, over, value, 'hubspot', changed_at, now(), reason
    FROM jsonb_to_recordset(CAST(:rulings AS jsonb)) AS ruling(
        record_id bigint, name text, over text, value text, changed_at timestamptz, reason text)
""")


def note_resolutions(session: Session, resolutions: Sequence[tuple[int, Resolution]]) -> None:
    """Write into the history of rows, whose ids are given, which values have lost, and why."""
    for hubspot_wins, statement in ((True, _OVERRULE_OURS), (False, _NOTE_THEIRS)):
        rows = [
            {
                "record_id": row_id,
                "name": resolution.name,
                "over": resolution.replaced,
                "value": resolution.value,
                "changed_at": resolution.changed_at,
                "reason": resolution.reason,
            }
            for row_id, resolution in resolutions
            if resolution.hubspot_wins is hubspot_wins
        ]
        if rows:
            log.info("conflict settled", hubspot_wins=hubspot_wins, rulings=len(rows))
            session.execute(statement, {"rulings": orjson.dumps(rows).decode()})
