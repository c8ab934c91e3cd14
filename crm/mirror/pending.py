"""List the rows and pairs of the mirror that wait for HubSpot, and apply its answers to them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import structlog
from sqlalchemy import ColumnElement, Select, case, func, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from crm.db import in_one_transaction, transaction
from crm.hubspot import associations as hubspot_associations
from crm.hubspot import records as hubspot_records
from crm.hubspot.answers import BatchOutcome, HubSpotRecord
from crm.hubspot.associations import Pair
from crm.hubspot.errors import HubSpotConflictError, HubSpotError
from crm.models import PENDING, SYNCED, Association, Record
from crm.object_types import CONTACTS, AssociationType, ObjectType

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PendingRecord:
    """A row as it was read for sending; ``revision`` tells whether it has changed since."""

    id: int
    uuid: UUID
    hs_object_id: str | None
    properties: Mapping[str, str | None]
    unsent: Sequence[str]
    revision: int
    replaced_email: str | None = None
    """Of a contact: the e-mail that HubSpot has in place of one that waits to be sent, or the one
    under which it may have a record whose answer was lost."""

    @property
    def key(self) -> str:
        """By what its answer is known, whatever its place in the batch."""
        return str(self.uuid)


_COLUMNS = (
    Record.id,
    Record.uuid,
    Record.hs_object_id,
    Record.properties,
    Record.unsent,
    Record.revision,
    case(
        (
            Record.object_type == CONTACTS.name,
            func.lower(Record.drafts["email"]["over"].astext),
        )
    ),
)
# Once for all: to make one takes longer than to ask.
_FROM, _TO = aliased(Record), aliased(Record)


def list_pending_records(
    portal_id: int, object_type: ObjectType, after: int
) -> list[PendingRecord]:
    """The next rows of a type that wait, after the row with the id ``after``: a batch at most."""
    return _list_pending(portal_id, object_type, after, Record.archived_at.is_(None))


def list_pending_archived(
    portal_id: int, object_type: ObjectType, after: int
) -> list[PendingRecord]:
    """The next rows that were archived here and may be live in HubSpot: a batch at most."""
    return _list_pending(portal_id, object_type, after, Record.archived_at.is_not(None))


def _list_pending(
    portal_id: int, object_type: ObjectType, after: int, condition: ColumnElement[bool]
) -> list[PendingRecord]:
    return _select_pending(
        select(*_COLUMNS)
        .where(Record.portal_id == portal_id, Record.object_type == object_type.name)
        .where(Record.id > after, condition)
        # A request is sending these itself.
        .where(or_(Record.held_until.is_(None), Record.held_until < func.now()))
        .limit(hubspot_records.BATCH)
    )


def list_still_pending(ids: Collection[int]) -> list[PendingRecord]:
    """Those rows, whether they are held or not, that still wait to be sent."""
    return _select_pending(
        select(*_COLUMNS).where(Record.id.in_(list(ids)), Record.archived_at.is_(None))
    )


def list_still_archiving(ids: Collection[int]) -> list[PendingRecord]:
    """Those rows, whether they are held or not, that are still to be archived in HubSpot."""
    return _select_pending(
        select(*_COLUMNS).where(Record.id.in_(list(ids)), Record.archived_at.is_not(None))
    )


def _select_pending(statement: Select[*tuple[Any, ...]]) -> list[PendingRecord]:
    statement = statement.where(Record.state == PENDING).order_by(Record.id)
    with transaction() as session:
        return [PendingRecord(*row) for row in session.execute(statement)]


def list_pending_pairs(portal_id: int, association: AssociationType, after: int) -> dict[Pair, int]:
    """The next pairs of HubSpot ids that wait, by row id; HubSpot has both ends already."""
    statement = (
        select(_FROM.hs_object_id, _TO.hs_object_id, Association.id)
        .join(_FROM, _FROM.id == Association.from_id)
        .join(_TO, _TO.id == Association.to_id)
        .where(Association.portal_id == portal_id, Association.type_id == association.type_id)
        .where(Association.state == PENDING, Association.id > after)
        .where(_FROM.hs_object_id.is_not(None), _TO.hs_object_id.is_not(None))
        # HubSpot has no pairs of archived records; these are sent when both are restored.
        .where(_FROM.archived_at.is_(None), _TO.archived_at.is_(None))
        .order_by(Association.id)
        .limit(hubspot_associations.BATCH)
    )
    with transaction() as session:
        return {
            (from_id, to_id): row_id
            for from_id, to_id, row_id in session.execute(statement)
            if from_id and to_id
        }


def list_pending_pairs_of(row_ids: Collection[int]) -> dict[int, dict[Pair, int]]:
    """The pairs of rows that wait, and whose both ends HubSpot has, by type id; then as above."""
    ids = list(row_ids)
    statement = (
        select(Association.type_id, _FROM.hs_object_id, _TO.hs_object_id, Association.id)
        .join(_FROM, _FROM.id == Association.from_id)
        .join(_TO, _TO.id == Association.to_id)
        .where(or_(Association.from_id.in_(ids), Association.to_id.in_(ids)))
        .where(Association.state == PENDING)
        .where(_FROM.hs_object_id.is_not(None), _TO.hs_object_id.is_not(None))
        # HubSpot has no pairs of archived records; these are sent when both are restored.
        .where(_FROM.archived_at.is_(None), _TO.archived_at.is_(None))
        .order_by(Association.id)
    )
    found: dict[int, dict[Pair, int]] = {}
    with transaction() as session:
        for type_id, from_id, to_id, row_id in session.execute(statement):
            found.setdefault(type_id, {})[from_id or "", to_id or ""] = row_id
    return found


# A live row gives up the e-mail that its own is to replace, an archived one that which it has. Of
# several new ones that had the same e-mail first, the oldest may be the one that HubSpot has.
_WAITS_FOR_EMAIL = text("""
    WITH waiting AS (
        SELECT id, email, false AS is_former FROM records WHERE id = ANY(:ids)
        UNION ALL SELECT id, lower(drafts -> 'email' ->> 'over'), true FROM records
        WHERE id = ANY(:ids) AND hs_object_id IS NULL
    ), giving AS (
        SELECT id, hs_object_id, state, email FROM records
        WHERE portal_id = :portal_id AND object_type = :object_type AND state = 'pending'
            AND archived_at IS NOT NULL
        UNION ALL SELECT id, hs_object_id, state, lower(drafts -> 'email' ->> 'over') FROM records
        WHERE portal_id = :portal_id AND object_type = :object_type AND archived_at IS NULL
            AND (state = 'pending' OR state = 'rejected' AND hs_object_id IS NOT NULL)
            AND lower(drafts -> 'email' ->> 'over') <> email
    )
    SELECT DISTINCT ON (waiting.id) waiting.id, hs_object_id, state = 'rejected' AS is_refused
    FROM waiting JOIN giving ON giving.email = waiting.email AND giving.id <> waiting.id
        AND (NOT is_former OR hs_object_id IS NOT NULL OR giving.id < waiting.id)
    ORDER BY waiting.id, is_refused DESC
""")


# An answer that was overtaken by news of the same record tells nothing new.
_ACCEPTED = text("""
    UPDATE records
    SET hs_object_id = answer.hs_object_id,
        properties = records.properties || CASE
            WHEN answer.updated_at < records.hs_modified_at THEN '{}'::jsonb
            ELSE answer.properties END || CASE
            WHEN records.revision = answer.revision THEN '{}'::jsonb
            ELSE coalesce((SELECT jsonb_object_agg(name, records.properties -> name)
                           FROM unnest(records.unsent) AS name), '{}') END,
        unsent = CASE WHEN records.revision = answer.revision THEN '{}' ELSE records.unsent END,
        drafts = CASE WHEN records.revision = answer.revision THEN '{}' ELSE coalesce((
            -- What has just been accepted is what they will replace.
            SELECT jsonb_object_agg(name, draft || CASE WHEN answer.properties ? name
                THEN jsonb_build_object('over', answer.properties -> name) ELSE '{}' END)
            FROM jsonb_each(records.drafts) AS waiting(name, draft)), '{}') END,
        state = CASE WHEN records.revision = answer.revision THEN 'synced' ELSE records.state END,
        rejection = NULL,
        held_until = NULL,
        hs_created_at = coalesce(answer.created_at, records.hs_created_at),
        hs_modified_at = greatest(answer.updated_at, records.hs_modified_at),
        updated_at = now()
    FROM jsonb_to_recordset(CAST(:answers AS jsonb)) AS answer(
        id bigint, revision bigint, hs_object_id text, properties jsonb,
        created_at timestamptz, updated_at timestamptz)
    WHERE records.id = answer.id AND NOT EXISTS (
        SELECT FROM records AS other
        WHERE other.portal_id = records.portal_id AND other.object_type = records.object_type
            AND other.id <> records.id
            AND (other.hs_object_id = answer.hs_object_id OR (
                other.archived_at IS NULL
                AND other.email = lower(answer.properties ->> 'email')
                -- A row whose e-mail was changed meanwhile keeps that.
                AND (records.revision = answer.revision
                    OR 'email' <> ALL (records.unsent)))))
    RETURNING records.id
""")

_REFUSED = text("""
    UPDATE records
    SET state = 'rejected', rejection = refusal.rejection, updated_at = now()
    FROM jsonb_to_recordset(CAST(:refusals AS jsonb)) AS refusal(
        id bigint, revision bigint, rejection jsonb)
    WHERE records.id = refusal.id AND records.revision = refusal.revision
        -- Else another sender was faster, and HubSpot has it.
        AND records.state = 'pending'
""")


# A request and the job may write down the same rows at once; in one order, neither waits for the
# other for ever.
_IN_ORDER = text("SELECT FROM records WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")


def apply_outcome(
    rows: Sequence[PendingRecord],
    outcome: BatchOutcome[str, HubSpotRecord],
    mirrored: Collection[str],
) -> dict[int, HubSpotError]:
    """Write down what became of the rows; one that changed meanwhile stays pending.

    Args:
        rows: as they were sent.
        outcome: by their keys.
        mirrored: the properties that are read again and again; what HubSpot answers beside them
            would grow old in the mirror.

    Returns:
        Why HubSpot refuses the others, by row id.
    """
    # Two rows that HubSpot takes for one record: the first has it, the other is told so below.
    answers = {
        outcome.done[row.key].id: _answer(row, outcome.done[row.key], mirrored)
        for row in reversed(rows)
        if row.key in outcome.done
    }

    def apply(session: Session) -> dict[int, HubSpotError]:
        session.execute(_IN_ORDER, {"ids": [row.id for row in rows]})
        accepted = set(
            session.scalars(_ACCEPTED, {"answers": orjson.dumps(list(answers.values())).decode()})
        )
        refused = {}
        for row in rows:
            error = outcome.refused.get(row.key) or (
                None if row.id in accepted else same_record(outcome.done[row.key].id)
            )
            if error and not error.retryable:
                refused[row.id] = error
        refusals = [
            {"id": row.id, "revision": row.revision, "rejection": refused[row.id].as_rejection()}
            for row in rows
            if row.id in refused
        ]
        session.execute(_REFUSED, {"refusals": orjson.dumps(refusals).decode()})
        return refused

    refused = in_one_transaction(apply)
    for row_id, error in refused.items():
        # HubSpot's words may hold the record's values; they stand in the row.
        log.warning(
            "record rejected",
            record_id=row_id,
            category=error.category,
            correlation_id=error.correlation_id,
        )
    return refused


_ARCHIVED = text("""
    UPDATE records SET state = 'synced', rejection = NULL, held_until = NULL,
        hs_object_id = coalesce(
        records.hs_object_id, CASE WHEN NOT EXISTS (
            SELECT FROM records AS other WHERE other.portal_id = records.portal_id
                AND other.object_type = records.object_type
                AND other.hs_object_id = gone.hs_object_id) THEN gone.hs_object_id END)
    FROM jsonb_to_recordset(CAST(:gone AS jsonb)) AS gone(
        id bigint, revision bigint, hs_object_id text)
    WHERE records.id = gone.id AND records.revision = gone.revision
""")


def apply_archived(rows: Sequence[PendingRecord], found: Mapping[str, str]) -> None:
    """Write down that HubSpot has archived rows, whose ids it told by their keys."""
    gone = [
        {"id": row.id, "revision": row.revision, "hs_object_id": found.get(row.key)} for row in rows
    ]

    def apply(session: Session) -> None:
        session.execute(_IN_ORDER, {"ids": [row.id for row in rows]})
        session.execute(_ARCHIVED, {"gone": orjson.dumps(gone).decode()})

    in_one_transaction(apply)


_REFUSED_PAIRS = text("""
    UPDATE associations
    SET state = 'rejected', rejection = refusal.rejection
    FROM jsonb_to_recordset(CAST(:refusals AS jsonb)) AS refusal(id bigint, rejection jsonb)
    WHERE associations.id = refusal.id
""")


def apply_pair_outcome(ids: Mapping[Pair, int], outcome: BatchOutcome[Pair, None]) -> None:
    """Write down what became of the pairs, whose row ids are given."""
    synced = [ids[pair] for pair in outcome.done]
    refusals = []
    for pair, error in outcome.refused.items():
        if error.retryable:
            continue
        log.warning(
            "association rejected",
            association_id=ids[pair],
            category=error.category,
            correlation_id=error.correlation_id,
        )
        refusals.append({"id": ids[pair], "rejection": error.as_rejection()})

    def apply(session: Session) -> None:
        session.execute(
            update(Association)
            .where(Association.id.in_(synced))
            .values(state=SYNCED, rejection=None, synced_at=func.now())
        )
        session.execute(_REFUSED_PAIRS, {"refusals": orjson.dumps(refusals).decode()})

    in_one_transaction(apply)


@dataclass(frozen=True)
class Sendable:
    """Rows, as far as they may be sent now."""

    rows: Sequence[PendingRecord]
    waiting: Collection[int]
    """Rows whose e-mail HubSpot has for another contact, the change of which is yet to be sent."""
    refused: Mapping[int, HubSpotError]
    """Rows whose e-mail another contact keeps, since HubSpot refused to change that one."""


def find_sendable(
    portal_id: int, object_type: ObjectType, rows: Sequence[PendingRecord]
) -> Sendable:
    """Leave out the rows whose e-mail another one is to give up first.

    Else an upsert would change that other one, because HubSpot knows contacts by their e-mails.
    """
    if object_type is not CONTACTS or not rows:
        return Sendable(rows, (), {})
    keys = {"portal_id": portal_id, "object_type": object_type.name}
    with transaction() as session:
        found = session.execute(_WAITS_FOR_EMAIL, {**keys, "ids": [row.id for row in rows]}).all()
    holders = {each.id: already_exists(each.hs_object_id) for each in found if each.is_refused}
    excluded = [row for row in rows if row.id in holders]
    refusals = BatchOutcome[str, HubSpotRecord](
        refused={row.key: holders[row.id] for row in excluded}
    )
    refused = apply_outcome(excluded, refusals, ()) if excluded else {}
    left_out = {each.id for each in found}
    return Sendable(
        [row for row in rows if row.id not in left_out], left_out - holders.keys(), refused
    )


def find_in_cycle(ids: Collection[int]) -> PendingRecord | None:
    """One of several contacts each of which waits for the e-mail of the next, and so for itself.

    One that HubSpot has, if there is any.
    """
    rows = list_still_pending(ids)
    by_replaced = {row.replaced_email: row for row in rows if row.replaced_email}
    for row in sorted(rows, key=lambda each: each.hs_object_id is None):
        passed: set[int] = set()
        at: PendingRecord | None = row
        while at and at.id not in passed:
            passed.add(at.id)
            at = by_replaced.get(at.properties.get("email") or "")
        if at and at.id == row.id:
            return row
    return None


_CLEARED = text("""
    UPDATE records SET drafts = jsonb_set(drafts, '{email,cleared}', 'true') WHERE id = :id
""")


def note_cleared(row_id: int) -> None:
    """Note, before HubSpot is asked to clear a contact's e-mail, that it was not a person."""
    with transaction() as session:
        session.execute(_CLEARED, {"id": row_id})


def already_exists(hs_object_id: str | None) -> HubSpotConflictError:
    """The refusal of a second contact with an e-mail, in HubSpot's words."""
    pointer = f". Existing ID: {hs_object_id}" if hs_object_id else ""
    return HubSpotConflictError(f"Contact already exists{pointer}")


def same_record(hs_object_id: str) -> HubSpotError:
    """What is wrong with a row whose record another row mirrors."""
    return HubSpotConflictError(
        f"HubSpot keeps this as record {hs_object_id}, which stands in the mirror as another row"
    )


def _answer(row: PendingRecord, record: HubSpotRecord, mirrored: Collection[str]) -> dict[str, Any]:
    kept = row.properties.keys() | set(mirrored)
    return {
        "id": row.id,
        "revision": row.revision,
        "hs_object_id": record.id,
        "properties": {name: value for name, value in record.properties.items() if name in kept},
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
