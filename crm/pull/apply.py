"""Write what HubSpot says of its records into the mirror.

``apply_records`` is the only way in. It is fed by webhooks, searches, lists and reconciliation,
which only say at which records to look; so their order, duplicates and gaps do not matter. The
newest state wins, what waits here to be sent keeps this side's value unless a policy says
otherwise, and what is equal changes nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from flask import current_app
from sqlalchemy import text
from sqlalchemy.orm import Session

from crm.db import in_one_transaction, transaction
from crm.hubspot import records as hubspot_records
from crm.hubspot.answers import HubSpotRecord
from crm.hubspot.client import HubSpotClient
from crm.hubspot.errors import HubSpotNotFoundError
from crm.mirror.conflicts import Policies, Resolution, UnsentValue, resolve
from crm.mirror.match import Match, Matches, Row, match, merged_ids
from crm.mirror.merge import merge_rows
from crm.mirror.row_updates import RecordUpdate, archive, note_resolutions, release_emails, write
from crm.object_types import ObjectType
from crm.portals.property_schemas import list_mirrored

log = structlog.get_logger(__name__)

ChangeTimes = Mapping[tuple[str, str], datetime]
"""When a property was last changed in HubSpot, by record id and name."""


@dataclass
class Applied:
    """What a batch of records did to the mirror."""

    changed: int = 0
    """Rows that were not as HubSpot has them, the new ones among them."""
    undecided: set[str] = field(default_factory=set)
    """HubSpot ids to be read again: the e-mail that the mirror had for them is another's now."""


@dataclass(frozen=True)
class Refreshed:
    """What became of ids that were read again."""

    changed: int
    missing: Collection[str]
    """HubSpot has them neither alive nor archived, nor do they lead to another record."""


def refresh(
    client: HubSpotClient, portal_id: int, object_type: ObjectType, ids: Collection[str]
) -> Refreshed:
    """Read records and take them into the mirror, whatever became of them.

    Raises:
        HubSpotError: HubSpot cannot be reached or refuses; some may have been taken in.
    """
    names = list_mirrored(portal_id, object_type)
    changed, wanted = 0, set(ids)
    missing: set[str] = set()
    while wanted:
        live = hubspot_records.read_batch(client, object_type, wanted, properties=names)
        found = list(live.found.values())
        led_on = {old for record in found for old in merged_ids(record)}
        unfound = set(live.missing) - led_on
        archived = hubspot_records.read_batch(
            client, object_type, unfound, properties=names, archived=True
        )
        found += archived.found.values()
        survivors = {each: _find_survivor(client, object_type, each) for each in archived.missing}
        missing |= {each for each, survivor in survivors.items() if survivor is None}
        applied = apply_records(client, portal_id, object_type, found)
        changed += applied.changed
        # What a batch does not follow is read again by the id that it leads to.
        wanted = (applied.undecided | set(filter(None, survivors.values()))) - wanted
    return Refreshed(changed, missing)


def _find_survivor(client: HubSpotClient, object_type: ObjectType, record_id: str) -> str | None:
    """The id of the record that this one was merged into."""
    try:
        return hubspot_records.get(client, object_type, record_id).id
    except HubSpotNotFoundError:
        return None


def apply_records(
    client: HubSpotClient,
    portal_id: int,
    object_type: ObjectType,
    records: Sequence[HubSpotRecord],
) -> Applied:
    """Take records, as HubSpot has just given them, into the mirror.

    Args:
        client: of the portal; asked only when both sides have changed a property.
        portal_id: whose mirror.
        object_type: of the records.
        records: with the properties of ``property_schemas.list_mirrored``.
    """
    if not records:
        return Applied()
    times = _read_times(client, portal_id, object_type, records)
    return in_one_transaction(
        lambda session: _apply(session, portal_id, object_type, records, times)
    )


_CONTESTABLE = text("""
    SELECT hs_object_id, unsent, drafts, properties FROM records
    WHERE portal_id = :portal_id AND object_type = :object_type AND hs_object_id = ANY(:ids)
        AND unsent <> '{}'
""")


def archive_missing(portal_id: int, object_type: ObjectType, ids: Collection[str]) -> int:
    """Archive the rows of records that HubSpot has nowhere any more; returns how many.

    What waits in them can never be sent; their history says so.
    """
    if not ids:
        return 0
    keys = {"portal_id": portal_id, "object_type": object_type.name, "ids": list(ids)}
    with transaction() as session:
        gone = session.execute(_UNARCHIVED, keys).all()
        resolutions = [
            (row_id, Resolution(name, True, None, None, None, "gone from HubSpot"))
            for row_id, unsent in gone
            for name in unsent
        ]
        note_resolutions(session, resolutions)
        archive(session, [row_id for row_id, _ in gone])
    log.info("records are gone from hubspot", object_type=object_type.name, records=len(gone))
    return len(gone)


_UNARCHIVED = text("""
    SELECT id, unsent FROM records
    WHERE portal_id = :portal_id AND object_type = :object_type AND hs_object_id = ANY(:ids)
        AND (archived_at IS NULL OR state = 'pending')
    ORDER BY id FOR NO KEY UPDATE
""")


def _read_times(
    client: HubSpotClient,
    portal_id: int,
    object_type: ObjectType,
    records: Sequence[HubSpotRecord],
) -> ChangeTimes:
    """When HubSpot's values of contested properties were set.

    The record's own time would be too late: it is that of whichever property changed last.
    """
    by_id = {each.id: each for each in records}
    keys = {"portal_id": portal_id, "object_type": object_type.name, "ids": list(by_id)}
    with transaction() as session:
        rows = [dict(row) for row in session.execute(_CONTESTABLE, keys).mappings()]
    contested = {
        row["hs_object_id"]: lost
        for row in rows
        if (lost := _contested(row["unsent"], row, by_id[row["hs_object_id"]]))
    }
    names = sorted({name for each in contested.values() for name in each})
    if not any(_policies().of(object_type.name, each) == "newest" for each in names):
        return {}
    return hubspot_records.read_change_times(client, object_type, list(contested), names)


def _contested(unsent: Iterable[str], row: Mapping[str, Any], theirs: HubSpotRecord) -> list[str]:
    return [name for name in unsent if UnsentValue.read(name, row).is_contested(theirs)]


def _apply(
    session: Session,
    portal_id: int,
    object_type: ObjectType,
    records: Sequence[HubSpotRecord],
    times: ChangeTimes,
) -> Applied:
    def keeps_email(row: Row, record: HubSpotRecord) -> bool:
        resolutions = _resolve(object_type, record, ["email"], vars(row), times)
        return not any(each.hubspot_wins for each in resolutions)

    matches = match(session, portal_id, object_type, records, keeps_email)
    merge_rows(session, portal_id, object_type, matches.matches)
    release_emails(session, matches.without_email)
    updates = [_update_of(object_type, each, times) for each in matches.matches]
    resolutions = [
        (each.row_id, resolution)
        for each in updates
        if each.row_id
        for resolution in each.resolutions
    ]
    without_email = [
        (row.id, _LOST_EMAIL) for row in matches.without_email if "email" in row.unsent
    ]
    note_resolutions(session, resolutions + without_email)
    changed = write(session, portal_id, object_type, updates)
    return Applied(changed, _undecided(matches))


_LOST_EMAIL = Resolution("email", True, None, None, None, "another contact has it in HubSpot")


def _undecided(matches: Matches) -> set[str]:
    read = {each.row.id for each in matches.matches if each.row}
    return {row.hs_object_id or "" for row in matches.without_email if row.id not in read}


def _update_of(object_type: ObjectType, matched: Match, times: ChangeTimes) -> RecordUpdate:
    record, row = matched.record, matched.row
    if row is None:
        return RecordUpdate(None, record, record.properties)
    drafts, unsent, properties = _combined(row, matched.merged)
    if not unsent:
        return RecordUpdate(row.id, record, record.properties)
    if record.archived:
        resolutions = [
            Resolution(name, True, None, None, _changed_at(record), "archived in HubSpot")
            for name in unsent
        ]
        return RecordUpdate(row.id, record, record.properties, [], {}, resolutions)
    state = {"properties": properties, "drafts": drafts}
    resolutions = _resolve(object_type, record, unsent, state, times)
    lost = {each.name for each in resolutions if each.hubspot_wins}
    kept = [name for name in unsent if name not in lost]
    return RecordUpdate(
        row.id,
        record,
        {**record.properties, **{name: properties.get(name) for name in kept}},
        kept,
        {name: drafts.get(name, {}) | _replaced(record, name) for name in kept},
        resolutions,
    )


def _resolve(
    object_type: ObjectType,
    record: HubSpotRecord,
    unsent: Iterable[str],
    row: Mapping[str, Any],
    times: ChangeTimes,
) -> list[Resolution]:
    """Decide about those of the unsent properties that HubSpot has changed too."""
    return [
        resolve(
            _policies().of(object_type.name, name),
            UnsentValue.read(name, row),
            record.properties[name],
            times.get((record.id, name)) or _changed_at(record),
        )
        for name in _contested(unsent, row, record)
    ]


def _combined(row: Row, merged: Sequence[Row]) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    """The unsent values of a row and of those merged into it, whose properties are the weaker."""
    drafts, unsent, properties = dict(row.drafts), list(row.unsent), dict(row.properties)
    for other in merged:
        for name in other.unsent:
            if name not in unsent and name != "email":
                unsent.append(name)
                # What the other row was to replace says nothing of this one's.
                drafts[name] = {"at": other.drafts.get(name, {}).get("at")}
                properties[name] = other.properties.get(name)
    return drafts, unsent, properties


def _replaced(record: HubSpotRecord, name: str) -> dict[str, str | None]:
    return {"over": record.properties[name]} if name in record.properties else {}


def _changed_at(record: HubSpotRecord) -> datetime:
    if record.updated_at is None:
        raise ValueError(f"HubSpot tells no time of record {record.id}")
    return record.updated_at


def _policies() -> Policies:
    return Policies.parse(current_app.extensions["crm_settings"].conflicts)
