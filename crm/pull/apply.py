"""Pull: what HubSpot says of its records is taken into the mirror.

``take_in`` is the only way in. It is fed by webhooks, searches, lists and reconciliation, which
only say at which records to look; so their order, duplicates and gaps do not matter. The newest
state wins, what waits here to be sent keeps this side's value unless a policy says otherwise, and
what is equal changes nothing.
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
from crm.mirror.conflicts import Draft, Policies, Ruling, rule
from crm.mirror.match import Match, Matches, Row, match, merged_ids
from crm.mirror.merge import fold
from crm.mirror.row_updates import Settled, archive, note_rulings, release_emails, write
from crm.object_types import ObjectType
from crm.portals.property_schemas import list_mirrored

log = structlog.get_logger(__name__)

ChangeTimes = Mapping[tuple[str, str], datetime]
"""When a property was last changed in HubSpot, by record id and name."""


@dataclass
class Taken:
    """What a batch of records did to the mirror."""

    changed: int = 0
    """Rows that were not as HubSpot has them, the new ones among them."""
    unsettled: set[str] = field(default_factory=set)
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
        taken = take_in(client, portal_id, object_type, found)
        changed += taken.changed
        # What a batch does not follow is read again by the id that it leads to.
        wanted = (taken.unsettled | set(filter(None, survivors.values()))) - wanted
    return Refreshed(changed, missing)


def _find_survivor(client: HubSpotClient, object_type: ObjectType, record_id: str) -> str | None:
    """The id of the record that this one was merged into."""
    try:
        return hubspot_records.get(client, object_type, record_id).id
    except HubSpotNotFoundError:
        return None


def take_in(
    client: HubSpotClient,
    portal_id: int,
    object_type: ObjectType,
    records: Sequence[HubSpotRecord],
) -> Taken:
    """Take records, as HubSpot has just given them, into the mirror.

    Args:
        client: of the portal; asked only when both sides have changed a property.
        portal_id: whose mirror.
        object_type: of the records.
        records: with the properties of ``property_schemas.list_mirrored``.
    """
    if not records:
        return Taken()
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
        rulings = [
            (row_id, Ruling(name, True, None, None, None, "gone from HubSpot"))
            for row_id, unsent in gone
            for name in unsent
        ]
        note_rulings(session, rulings)
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
    return [name for name in unsent if Draft.read(name, row).is_contested(theirs)]


def _apply(
    session: Session,
    portal_id: int,
    object_type: ObjectType,
    records: Sequence[HubSpotRecord],
    times: ChangeTimes,
) -> Taken:
    def keeps_email(row: Row, record: HubSpotRecord) -> bool:
        rulings = _rule(object_type, record, ["email"], vars(row), times)
        return not any(each.hubspot_wins for each in rulings)

    matches = match(session, portal_id, object_type, records, keeps_email)
    fold(session, portal_id, object_type, matches.matches)
    release_emails(session, matches.robbed)
    settled = [_settle(object_type, each, times) for each in matches.matches]
    rulings = [(each.row_id, ruling) for each in settled if each.row_id for ruling in each.rulings]
    robbed = [(row.id, _ROBBED) for row in matches.robbed if "email" in row.unsent]
    note_rulings(session, rulings + robbed)
    changed = write(session, portal_id, object_type, settled)
    return Taken(changed, _unsettled(matches))


_ROBBED = Ruling("email", True, None, None, None, "another contact has it in HubSpot")


def _unsettled(matches: Matches) -> set[str]:
    read = {each.row.id for each in matches.matches if each.row}
    return {row.hs_object_id or "" for row in matches.robbed if row.id not in read}


def _settle(object_type: ObjectType, matched: Match, times: ChangeTimes) -> Settled:
    record, row = matched.record, matched.row
    if row is None:
        return Settled(None, record, record.properties)
    drafts, unsent, properties = _combined(row, matched.folded)
    if not unsent:
        return Settled(row.id, record, record.properties)
    if record.archived:
        rulings = [
            Ruling(name, True, None, None, _changed_at(record), "archived in HubSpot")
            for name in unsent
        ]
        return Settled(row.id, record, record.properties, [], {}, rulings)
    state = {"properties": properties, "drafts": drafts}
    rulings = _rule(object_type, record, unsent, state, times)
    lost = {each.name for each in rulings if each.hubspot_wins}
    kept = [name for name in unsent if name not in lost]
    return Settled(
        row.id,
        record,
        {**record.properties, **{name: properties.get(name) for name in kept}},
        kept,
        {name: drafts.get(name, {}) | _over(record, name) for name in kept},
        rulings,
    )


def _rule(
    object_type: ObjectType,
    record: HubSpotRecord,
    unsent: Iterable[str],
    row: Mapping[str, Any],
    times: ChangeTimes,
) -> list[Ruling]:
    """Decide about those of the unsent properties that HubSpot has changed too."""
    return [
        rule(
            _policies().of(object_type.name, name),
            Draft.read(name, row),
            record.properties[name],
            times.get((record.id, name)) or _changed_at(record),
        )
        for name in _contested(unsent, row, record)
    ]


def _combined(row: Row, folded: Sequence[Row]) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    """The drafts of a row and of those that end in it, whose properties are the weaker."""
    drafts, unsent, properties = dict(row.drafts), list(row.unsent), dict(row.properties)
    for other in folded:
        for name in other.unsent:
            if name not in unsent and name != "email":
                unsent.append(name)
                # What the other row was to replace says nothing of this one's.
                drafts[name] = {"at": other.drafts.get(name, {}).get("at")}
                properties[name] = other.properties.get(name)
    return drafts, unsent, properties


def _over(record: HubSpotRecord, name: str) -> dict[str, str | None]:
    return {"over": record.properties[name]} if name in record.properties else {}


def _changed_at(record: HubSpotRecord) -> datetime:
    if record.updated_at is None:
        raise ValueError(f"HubSpot tells no time of record {record.id}")
    return record.updated_at


def _policies() -> Policies:
    return Policies.parse(current_app.extensions["crm_settings"].conflicts)
