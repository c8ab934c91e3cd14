"""Classify notices by whether they are news to the mirror; its own writes above all are not.

HubSpot tells an app of its own writes too, and does not say reliably whose they were. So a notice
is held against the mirror instead: what it says stands there already, or was read after it
happened.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.orm import Session

from crm.db import transaction
from crm.inbox.events import CREATION, DELETION, MERGE, PROPERTY_CHANGE, RESTORE, Notice, Ref
from crm.models import PENDING, SYNCED
from crm.object_types import ObjectType
from crm.portals.property_schemas import list_mirrored


class Verdict(StrEnum):
    """What a notice is to the mirror; the first three are outcomes of its event."""

    KNOWN = "known"
    IGNORED = "ignored"
    PURGED = "purged"
    OURS = "ours"
    """It seems to be a write of ours whose answer is still on its way."""
    NEWS = "news"


@dataclass(frozen=True)
class _Row:
    id: int
    hs_object_id: str | None
    hs_modified_at: datetime | None
    read_through: datetime | None
    is_archived: bool
    unsent: Sequence[str]
    properties: Mapping[str, str | None]


@dataclass(frozen=True)
class _Mirror:
    """What the mirror holds of everything that some notices name."""

    rows: Mapping[Ref, _Row]
    purged: frozenset[Ref]
    pairs: Mapping[tuple[int, int, int], str]
    """The states of associations, by type id and both rows' ids."""
    nameless: frozenset[str]
    """Types of which something was sent that we do not know HubSpot's id of."""
    names: Mapping[str, frozenset[str]]
    """The properties that are mirrored, by type."""


def classify(
    portal_id: int, notices: Sequence[Notice], *, after_reading: bool = False
) -> dict[int, Verdict]:
    """What each notice is to the mirror, by its event's id.

    Args:
        portal_id: whose.
        notices: about the portal.
        after_reading: the records were read since the notices came, so that it is known what
            happened at the very moment of the last change too.
    """
    mirror = _look(portal_id, notices)
    return {each.event_id: _classify(each, mirror, after_reading) for each in notices}


_ROWS = text("""
    SELECT told.object_type, told.id, alias.hs_object_id IS NOT NULL AND alias.record_id IS NULL,
        records.id, records.hs_object_id, records.hs_modified_at, records.read_through,
        records.archived_at IS NOT NULL, records.unsent, records.properties
    FROM unnest(CAST(:types AS text[]), CAST(:ids AS text[])) AS told(object_type, id)
    LEFT JOIN record_aliases AS alias ON alias.portal_id = :portal_id
        AND alias.object_type = told.object_type AND alias.hs_object_id = told.id
    LEFT JOIN records AS own ON own.portal_id = :portal_id
        AND own.object_type = told.object_type AND own.hs_object_id = told.id
    LEFT JOIN records ON records.id = coalesce(own.id, alias.record_id)
""")

_PAIRS = text("""
    SELECT type_id, from_id, to_id, state
    FROM unnest(CAST(:type_ids AS integer[]), CAST(:from_ids AS bigint[]),
        CAST(:to_ids AS bigint[])) AS told(type_id, from_id, to_id)
    JOIN associations USING (type_id, from_id, to_id)
""")

_NAMELESS = text("""
    SELECT object_type FROM unnest(CAST(:types AS text[])) AS object_type
    WHERE EXISTS (SELECT FROM records WHERE portal_id = :portal_id
        AND records.object_type = object_type.object_type AND state = 'pending'
        AND hs_object_id IS NULL)
""")


def _look(portal_id: int, notices: Sequence[Notice]) -> _Mirror:
    refs = list({ref for each in notices for ref in each.refs})
    types = {each.object_type for each in notices}
    keys = {"portal_id": portal_id, "types": [each.name for each in types]}
    wanted = {
        "portal_id": portal_id,
        "types": [each for each, _ in refs],
        "ids": [each for _, each in refs],
    }
    with transaction() as session:
        found = session.execute(_ROWS, wanted).all()
        rows = {(name, hs_id): _Row(*row) for name, hs_id, _, *row in found if row[0]}
        return _Mirror(
            rows,
            frozenset((name, hs_id) for name, hs_id, is_purged, *_ in found if is_purged),
            _pairs(session, notices, rows),
            frozenset(session.scalars(_NAMELESS, keys)),
            {each.name: _mirrored(portal_id, each) for each in types},
        )


def _mirrored(portal_id: int, object_type: ObjectType) -> frozenset[str]:
    return frozenset(list_mirrored(portal_id, object_type))


def _pairs(
    session: Session, notices: Iterable[Notice], rows: Mapping[Ref, _Row]
) -> dict[tuple[int, int, int], str]:
    keys = {key for each in notices if (key := _pair_of(each, rows))}
    type_ids, from_ids, to_ids = zip(*keys, strict=True) if keys else ((), (), ())
    wanted = {"type_ids": list(type_ids), "from_ids": list(from_ids), "to_ids": list(to_ids)}
    return {
        (kind, one, other): state for kind, one, other, state in session.execute(_PAIRS, wanted)
    }


def _pair_of(notice: Notice, rows: Mapping[Ref, _Row]) -> tuple[int, int, int] | None:
    if notice.association is None:
        return None
    one, other = (rows.get(each) for each in notice.refs)
    return (notice.association.type_id, one.id, other.id) if one and other else None


def _classify(notice: Notice, mirror: _Mirror, after_reading: bool) -> Verdict:
    if any(ref in mirror.purged for ref in notice.refs):
        return Verdict.PURGED
    if notice.association:
        return _classify_association(notice, mirror, after_reading)
    names = mirror.names[notice.object_type.name]
    if notice.kind == PROPERTY_CHANGE and notice.name not in names:
        return Verdict.IGNORED
    row = mirror.rows.get(notice.refs[0])
    if row is None:
        return _classify_unknown(notice, mirror, after_reading)
    if notice.kind == MERGE and not _is_merged(notice, row, mirror.rows):
        return Verdict.NEWS
    return _classify_known(notice, row, after_reading)


def _classify_unknown(notice: Notice, mirror: _Mirror, after_reading: bool) -> Verdict:
    """Of a record that the mirror does not have; after a reading, HubSpot has it not either."""
    if after_reading or notice.kind == DELETION:
        return Verdict.KNOWN
    is_ours = notice.object_type.name in mirror.nameless and notice.kind != MERGE
    return Verdict.OURS if is_ours else Verdict.NEWS


def _classify_known(notice: Notice, row: _Row, after_reading: bool) -> Verdict:
    if _was_read(notice, row, after_reading):
        return Verdict.KNOWN
    if notice.kind == PROPERTY_CHANGE:
        return _classify_property(notice, row, after_reading)
    return _known_if(_agrees(notice, row))


def _was_read(notice: Notice, row: _Row, after_reading: bool) -> bool:
    if row.read_through is None:
        return False
    return notice.occurred_at < row.read_through or (
        after_reading and notice.occurred_at == row.read_through
    )


def _classify_property(notice: Notice, row: _Row, after_reading: bool) -> Verdict:
    stands_here = (row.properties.get(notice.name) or "") == (notice.value or "")
    if notice.is_redacted or not stands_here:
        return Verdict.NEWS
    if notice.name in row.unsent:
        return Verdict.OURS
    is_older = row.hs_modified_at is not None and notice.occurred_at <= row.hs_modified_at
    return _known_if(is_older or after_reading)


def _classify_association(notice: Notice, mirror: _Mirror, after_reading: bool) -> Verdict:
    pair = _pair_of(notice, mirror.rows)
    state = mirror.pairs.get(pair) if pair else None
    if not notice.is_removed:
        return Verdict.OURS if state == PENDING else _known_if(state == SYNCED)
    return _known_if(state != SYNCED or (notice.is_label and after_reading))


def _is_merged(notice: Notice, survivor: _Row, rows: Mapping[Ref, _Row]) -> bool:
    others = [rows.get(each) for each in notice.refs[1:]]
    return survivor.hs_object_id == notice.ids[0] and all(
        other is None or other.id == survivor.id for other in others
    )


def _agrees(notice: Notice, row: _Row) -> bool:
    if notice.kind == DELETION:
        return row.is_archived
    if notice.kind == RESTORE:
        return not row.is_archived
    return notice.kind == CREATION


def _known_if(is_known: bool) -> Verdict:
    return Verdict.KNOWN if is_known else Verdict.NEWS
