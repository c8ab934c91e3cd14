"""Write records for other applications, to the mirror first and at once to HubSpot.

By the time the caller is told, HubSpot has it (created, updated, archived), or it is sure to get
it (queued), or HubSpot refused it and the mirror is as if it had never been asked.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from crm.db import in_one_transaction, transaction
from crm.errors import (
    ConflictError,
    CRMError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
)
from crm.hubspot.client import Timeouts
from crm.hubspot.errors import HubSpotNotFoundError
from crm.mirror import row_edits
from crm.mirror import rows as mirror_rows
from crm.mirror.etags import etag_of
from crm.mirror.row_edits import Before, Edit, New
from crm.models import SYNCED
from crm.object_types import CONTACTS, ObjectType
from crm.push.immediate import (
    FOR_MANY,
    FOR_ONE,
    Sent,
    archive_now,
    leave_to_job,
    refresh_missing,
    send_now,
)
from crm.push.write_inputs import Entry, Pair, Targets

MOST = 1000
"""Upserts of one request."""


Action = Literal["created", "updated", "archived", "queued"]


@dataclass(frozen=True)
class Written:
    """What became of an entry."""

    action: Action
    hs_object_id: str | None
    etag: str | None = None
    refused_associations: Sequence[str] = ()
    """HubSpot's reason for each association that it refused; the mirror does not keep those."""


@dataclass
class _RowWrite:
    """One row with the entries that it stands for."""

    indexes: list[int]
    entry: Entry
    edit: Edit | None = None
    new_pairs: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By the id of each association that was new, its two rows."""


def upsert(
    portal_id: int, object_type: ObjectType, entries: Sequence[Entry]
) -> list[Written | CRMError]:
    """Create or change records by their keys.

    Entries with one key are taken in their order, and sent as one.

    Returns:
        What became of each entry, in their order; an error for one that was refused.
    """
    results = _upsert(portal_id, object_type, dict(enumerate(entries)))
    stale = [each for each in sorted(results) if isinstance(results[each], HubSpotNotFoundError)]
    if stale:
        # HubSpot has them no longer by these ids, and now the mirror knows.
        results |= _upsert(portal_id, object_type, {each: entries[each] for each in stale})
    return [results[index] for index in range(len(entries))]


def _upsert(
    portal_id: int, object_type: ObjectType, entries: Mapping[int, Entry]
) -> dict[int, Written | CRMError]:
    results: dict[int, Written | CRMError] = {}
    writes = in_one_transaction(
        lambda session: _write_rows(session, portal_id, object_type, entries, results)
    )
    for write, result in zip(
        writes,
        _sent(portal_id, object_type, writes, FOR_ONE if len(entries) == 1 else FOR_MANY),
        strict=True,
    ):
        results |= dict.fromkeys(write.indexes, result)
        if isinstance(result, Written) and result.action == "created":
            # The later ones of the same key found it there.
            later = Written("updated", result.hs_object_id, result.etag)
            results |= dict.fromkeys(write.indexes[1:], later)
    return results


def _sent(
    portal_id: int, object_type: ObjectType, writes: Sequence[_RowWrite], timeouts: Timeouts
) -> list[Written | CRMError]:
    """Send written rows, undo those that HubSpot refuses, and tell what became of each."""
    rows = [each.edit for each in writes if each.edit]
    if not rows:
        return []
    sent = send_now(portal_id, object_type, rows, timeouts)
    leave_to_job(portal_id, rows, sent)
    _undo_refused(writes, sent)
    refresh_missing(portal_id, object_type, rows, sent)
    return _results(writes, sent)


def change(
    portal_id: int,
    object_type: ObjectType,
    record_id: str,
    entry: Entry,
    expected: Collection[str] | None,
) -> Written:
    """Change a record.

    Args:
        portal_id: whose mirror.
        object_type: of the record.
        record_id: HubSpot's, also one that was merged away, or the row's uuid.
        entry: what to change.
        expected: the tags of the versions that may be changed; None for any.

    Raises:
        NotFoundError: there is no such record.
        PreconditionFailedError: it has moved on.
        ConflictError: another contact has the e-mail.
        InvalidInputError: nothing to change, or an unknown record to associate with.
        HubSpotError: HubSpot refuses it.
    """
    if not entry.properties and not entry.associations:
        raise InvalidInputError(errors={"properties": "Nothing to change"})

    def write(session: Session) -> _RowWrite:
        row = _expected(session, portal_id, object_type, record_id, expected)
        _refuse_taken_email(session, portal_id, object_type, row, entry)
        targets = Targets(session, portal_id, object_type, [entry])
        if problems := targets.problems_of(entry):
            raise InvalidInputError(errors=problems)
        edit = row_edits.update(session, [(row, entry.properties)])[0]
        pairs = mirror_rows.associate(portal_id, targets.pairs_of(entry, row.id))
        return _RowWrite([0], entry, edit, pairs)

    [result] = _sent(portal_id, object_type, [in_one_transaction(write)], FOR_ONE)
    if isinstance(result, HubSpotNotFoundError):
        # It may have been merged away; now the mirror knows into what.
        [result] = _sent(portal_id, object_type, [in_one_transaction(write)], FOR_ONE)
    if isinstance(result, CRMError):
        raise result
    # A record that waited here, unknown to HubSpot, was created by this; the caller changed it.
    return replace(result, action="updated") if result.action == "created" else result


def archive(
    portal_id: int, object_type: ObjectType, record_id: str, expected: Collection[str] | None
) -> Written:
    """Archive a record; otherwise like ``change``."""
    with transaction() as session:
        row = _expected(session, portal_id, object_type, record_id, expected)
        edit = row_edits.archive(session, row)
    is_archived = archive_now(portal_id, object_type, edit)
    return Written("archived", row.hs_object_id) if is_archived else Written("queued", None)


def _expected(
    session: Session,
    portal_id: int,
    object_type: ObjectType,
    record_id: str,
    expected: Collection[str] | None,
) -> Before:
    row = row_edits.find_by_id(session, portal_id, object_type, record_id)
    if row is None:
        raise NotFoundError
    check_version(row, expected)
    return row


def check_version(row: Before, expected: Collection[str] | None) -> None:
    """Refuse a row that has moved on.

    Raises:
        PreconditionFailedError: its tag is not among the expected.
    """
    if expected is not None and etag_of(row.revision, row.hs_modified_at) not in expected:
        raise PreconditionFailedError


def _refuse_taken_email(
    session: Session, portal_id: int, object_type: ObjectType, row: Before, entry: Entry
) -> None:
    email = entry.properties.get("email")
    if object_type is not CONTACTS or email in (None, row.key):
        return
    holder = row_edits.find_by_keys(session, portal_id, object_type, [email]).get(email)
    if holder:
        raise already_exists(object_type, holder.hs_object_id)


def already_exists(object_type: ObjectType, hs_object_id: str | None) -> ConflictError:
    """The refusal of a second record with a unique value, in HubSpot's words."""
    pointer = f". Existing ID: {hs_object_id}" if hs_object_id else ""
    return ConflictError(f"{object_type.singular.title()} already exists{pointer}")


def _write_rows(
    session: Session,
    portal_id: int,
    object_type: ObjectType,
    entries: Mapping[int, Entry],
    results: dict[int, Written | CRMError],
) -> list[_RowWrite]:
    """Write what the entries want; what is wrong with one goes to the results."""
    targets = Targets(session, portal_id, object_type, entries.values())
    writes: dict[str, _RowWrite] = {}
    for index, entry in entries.items():
        try:
            key = entry.key(object_type)
            if problems := targets.problems_of(entry):
                raise InvalidInputError(errors=problems)
        except InvalidInputError as error:
            results[index] = error
            continue
        write = writes.setdefault(key, _RowWrite([], Entry({})))
        write.indexes.append(index)
        write.entry = Entry(
            {**write.entry.properties, **entry.properties},
            entry.external_id,
            list(dict.fromkeys([*write.entry.associations, *entry.associations])),
        )
    found = row_edits.find_by_keys(session, portal_id, object_type, list(writes))
    changes = sorted(
        ((found[key], write.entry.properties) for key, write in writes.items() if key in found),
        key=lambda each: each[0].id,
    )
    new = sorted(writes.keys() - found.keys())  # In one order, so that no two wait for each other.
    changed = {row.id: row for row in row_edits.update(session, changes)}
    inserted = row_edits.insert(
        session,
        portal_id,
        object_type,
        [New(writes[key].entry.properties, writes[key].entry.external_id) for key in new],
    )
    for key, row in zip(new, inserted, strict=True):
        writes[key].edit = row
    for key, before in found.items():
        writes[key].edit = changed[before.id]
    _associate(portal_id, targets, list(writes.values()))
    return list(writes.values())


def _associate(portal_id: int, targets: Targets, writes: Sequence[_RowWrite]) -> None:
    owners: dict[tuple[int, int], _RowWrite] = {}
    wanted: list[Pair] = []
    for write in writes:
        assert write.edit  # noqa: S101 - each was just written
        pairs = targets.pairs_of(write.entry, write.edit.id)
        owners |= {(from_id, to_id): write for _, from_id, to_id in pairs}
        wanted += pairs
    for pair_id, ends in mirror_rows.associate(portal_id, dict.fromkeys(wanted)).items():
        owners[ends].new_pairs[pair_id] = ends


_FORGET_PAIRS = text("DELETE FROM associations WHERE id = ANY(:ids)")


def _undo_refused(writes: Sequence[_RowWrite], sent: Sent) -> None:
    refused = [each for each in writes if each.edit and each.edit.id in sent.refused]
    pairs = [pair_id for each in refused for pair_id in each.new_pairs] + [
        pair_id for each in writes for pair_id in each.new_pairs if pair_id in sent.refused_pairs
    ]
    if not refused and not pairs:
        return
    with transaction() as session:
        session.execute(_FORGET_PAIRS, {"ids": pairs})
        row_edits.undo(session, [each.edit for each in refused if each.edit])


_ROWS_NOW = text("""
    SELECT id, hs_object_id, state, revision, hs_modified_at FROM records WHERE id = ANY(:ids)
""")


def _results(writes: Sequence[_RowWrite], sent: Sent) -> list[Written | CRMError]:
    """What became of each written row."""
    ids = [each.edit.id for each in writes if each.edit]
    with transaction() as session:
        rows = {row.id: row for row in session.execute(_ROWS_NOW, {"ids": ids})}
    return [_result(each, rows, sent) for each in writes]


def _result(write: _RowWrite, rows: Mapping[int, Any], sent: Sent) -> Written | CRMError:
    row_id = write.edit.id if write.edit else 0
    if row_id in sent.refused:
        return sent.refused[row_id]
    row, record = rows.get(row_id), sent.accepted.get(row_id)
    if row is None:
        # The same record had another row, into which pull has just merged this one.
        return Written("updated" if record else "queued", record.id if record else None)
    if record is None and (row.state != SYNCED or not sent.is_complete):
        return Written("queued", None, etag_of(row.revision, row.hs_modified_at))
    return Written(
        "created" if record and record.is_new else "updated",
        record.id if record else row.hs_object_id,
        etag_of(row.revision, row.hs_modified_at),
        [
            sent.refused_pairs[pair_id].message
            for pair_id in write.new_pairs
            if pair_id in sent.refused_pairs
        ],
    )
