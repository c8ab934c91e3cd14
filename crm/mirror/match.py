"""Find which row of the mirror a record of HubSpot's is, and which rows it makes needless.

A record is known by its id; by the ids that were merged into it; by ``crm_uid`` when it was sent
from here and the answer was lost; a contact by its e-mail when it waits here to be sent.

A record whose own row waits to get another e-mail, or to be archived, gives its address up: a row
that waits here with that address is another contact's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from crm.hubspot.answers import HubSpotRecord
from crm.object_types import CONTACTS, CRM_UID, MERGED_IDS, ObjectType


@dataclass(frozen=True)
class Row:
    """A row as matching sees it; ``properties`` are there only if some of them are unsent."""

    id: int
    uuid: UUID
    hs_object_id: str | None
    email: str | None
    external_id: str | None
    is_archived: bool
    is_pending: bool
    hs_modified_at: datetime | None
    unsent: Sequence[str]
    drafts: Mapping[str, Any]
    properties: Mapping[str, str | None]


@dataclass(frozen=True)
class Match:
    """A record and its row; None where it is new to the mirror."""

    record: HubSpotRecord
    row: Row | None
    merged: Sequence[Row] = ()
    """Other rows of the same record, which are merged into this one."""


@dataclass
class Matches:
    """What a batch of records means for the mirror."""

    matches: list[Match] = field(default_factory=list)
    without_email: list[Row] = field(default_factory=list)
    """Rows of other records whose e-mail has gone to one of these."""


KeepsEmail = Callable[[Row, HubSpotRecord], bool]
"""Whether a row's own e-mail, which waits to be sent, stays when the record is taken in."""

_ROWS = text("""
    SELECT id, uuid, hs_object_id, email, external_id, archived_at IS NOT NULL, state = 'pending',
        hs_modified_at, unsent, drafts,
        CASE WHEN unsent = '{}' THEN '{}'::jsonb ELSE properties END
    FROM records
    WHERE portal_id = :portal_id AND object_type = :object_type AND (
        hs_object_id = ANY(:ids) OR uuid = ANY(:uids)
        OR email = ANY(:emails) AND archived_at IS NULL
        OR state = 'pending' AND hs_object_id IS NULL AND archived_at IS NULL
            AND lower(drafts -> 'email' ->> 'over') = ANY(:emails))
    ORDER BY id
    FOR NO KEY UPDATE
""")

_ALIASES = text("""
    SELECT hs_object_id FROM record_aliases
    WHERE portal_id = :portal_id AND object_type = :object_type AND hs_object_id = ANY(:ids)
""")


def match(
    session: Session,
    portal_id: int,
    object_type: ObjectType,
    records: Iterable[HubSpotRecord],
    keeps_email: KeepsEmail,
) -> Matches:
    """Find and lock the rows of records; those that are older than what is known are left out.

    Also left out: what was merged into another record, and what was purged.
    """
    newest = _newest(object_type, records)
    keys = {"portal_id": portal_id, "object_type": object_type.name}
    ids = [each.id for each in newest] + [old for each in newest for old in merged_ids(each)]
    gone = set(session.scalars(_ALIASES, {**keys, "ids": ids}))
    wanted = {
        **keys,
        "ids": ids,
        "uids": list(filter(None, map(_uid, newest))),
        "emails": [email for each in newest if (email := _email(object_type, each))],
    }
    found_rows = [Row(*row) for row in session.execute(_ROWS, wanted)]
    rows = _Rows(object_type, found_rows, keeps_email)
    matches = Matches()
    for record in newest:
        if record.id in gone:
            continue
        found = rows.take(record)
        row = found.rows[0] if found.rows else None
        if row and _is_older(record, row):
            continue
        matches.without_email += found.without_email
        matches.matches.append(Match(record, row, found.rows[1:]))
    merged = {row.id for each in matches.matches for row in each.merged}
    matches.without_email = [row for row in matches.without_email if row.id not in merged]
    return matches


def merged_ids(record: HubSpotRecord) -> list[str]:
    """The ids that lead to this record since merges, its own left out."""
    listed = record.properties.get(MERGED_IDS) or ""
    return [
        each for each in (part.strip() for part in listed.split(";")) if each not in ("", record.id)
    ]


@dataclass(frozen=True)
class _Found:
    rows: list[Row]
    without_email: list[Row]


class _Rows:
    """The rows that come into question; each is one record's only."""

    def __init__(
        self, object_type: ObjectType, rows: Iterable[Row], keeps_email: KeepsEmail
    ) -> None:
        self._object_type, self._keeps_email = object_type, keeps_email
        self._rows = list(rows)
        self._by_id = {row.hs_object_id: row for row in self._rows if row.hs_object_id}
        new = [row for row in self._rows if not row.hs_object_id]
        self._unsent_by_uid = {str(row.uuid): row for row in new}
        # Of several, the oldest had the address first.
        self._by_former_email = {each: row for row in reversed(new) if (each := _former_email(row))}
        self._by_email = {row.email: row for row in self._rows if row.email and not row.is_archived}
        self._taken: set[int] = set()

    def take(self, record: HubSpotRecord) -> _Found:
        rows = self._own_rows(record)
        email = _email(self._object_type, record)
        if not rows and (former := self._by_former_email.get(email or "")):
            rows = self._untaken([former])
        holder = self._by_email.get(email or "") if self._claims_email(rows, record) else None
        if holder and not holder.hs_object_id:
            rows = list({row.id: row for row in (*rows, *self._untaken([holder]))}.values())
        self._taken |= {row.id for row in rows}
        loses_email = holder and holder.id not in {row.id for row in rows}
        return _Found(rows, [holder] if holder and loses_email else [])

    def _own_rows(self, record: HubSpotRecord) -> list[Row]:
        """The rows that are the record's whatever its e-mail."""
        merged = [self._by_id.get(each) for each in merged_ids(record)]
        oldest_first = sorted(filter(None, merged), key=lambda row: row.id)
        uid_row = self._unsent_by_uid.get(str(_uid(record)))
        return self._untaken([self._by_id.get(record.id), *oldest_first, uid_row])

    def _untaken(self, candidates: Iterable[Row | None]) -> list[Row]:
        found = {row.id: row for row in candidates if row and row.id not in self._taken}
        return list(found.values())

    def _claims_email(self, rows: Sequence[Row], record: HubSpotRecord) -> bool:
        """Whether the record's row will have the record's e-mail, and no other row may."""
        if not rows:
            return True
        row = rows[0]
        if row.is_archived and row.is_pending:
            return False
        return "email" not in row.unsent or not self._keeps_email(row, record)


def _former_email(row: Row) -> str | None:
    """The address under which HubSpot may have a row that got another one before it was sent."""
    former = row.drafts.get("email", {}).get("over")
    return former.lower() if former and not row.is_archived else None


def _newest(object_type: ObjectType, records: Iterable[HubSpotRecord]) -> list[HubSpotRecord]:
    """Each record once, and of two contacts with one e-mail the one that was read later."""
    newest: dict[str, HubSpotRecord] = {}
    for record in sorted(records, key=_modified):
        newest[record.id] = record
    if object_type is not CONTACTS:
        return list(newest.values())
    by_email = {
        _email(object_type, each) or each.id: each
        for each in sorted(newest.values(), key=_modified)
    }
    return list(by_email.values())


def _modified(record: HubSpotRecord) -> float:
    return record.updated_at.timestamp() if record.updated_at else 0.0


def _is_older(record: HubSpotRecord, row: Row) -> bool:
    known = row.hs_modified_at if row.hs_object_id == record.id else None
    return bool(known and record.updated_at and record.updated_at < known)


def _email(object_type: ObjectType, record: HubSpotRecord) -> str | None:
    email = record.properties.get("email") if object_type is CONTACTS else None
    return email.lower() if email and not record.archived else None


def _uid(record: HubSpotRecord) -> UUID | None:
    try:
        return UUID(record.properties.get(CRM_UID) or "")
    except ValueError:
        return None
