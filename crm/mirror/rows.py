"""Write changes made on this side into the mirror, ready to be sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from sqlalchemy import exists, func, insert, or_, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import aliased

from crm.db import db, transaction
from crm.models import PENDING, Association, Portal, Record
from crm.object_types import CONTACTS, AssociationType, ObjectType

Properties = Mapping[str, str]


@dataclass(frozen=True)
class NewRecord:
    """A record to be; its uuid lets associations name it before the database numbers it."""

    object_type: ObjectType
    properties: Properties
    uuid: UUID = field(default_factory=uuid4)


def write_contact(portal_id: int, properties: Properties) -> int:
    """Create the contact with this e-mail in the mirror, or change it; returns the row's id.

    Within the caller's transaction. ``properties`` must hold a lower-case ``email``.
    """
    new = upsert(Record).values(
        portal_id=portal_id,
        object_type=CONTACTS.name,
        properties=properties,
        unsent=list(properties),
    )
    # Names already waiting and the new ones, each once.
    unsent = text("ARRAY(SELECT DISTINCT unnest(records.unsent || excluded.unsent))")
    drafts = text(f"records.drafts || {drafts_sql('excluded.properties')}")
    statement = new.on_conflict_do_update(
        index_elements=[Record.portal_id, Record.email],
        index_where=Record.archived_at.is_(None),
        set_={
            "properties": Record.properties.op("||")(new.excluded.properties),
            "unsent": unsent,
            "drafts": drafts,
            "state": PENDING,
            "rejection": None,
            "revision": Record.revision + 1,
            "updated_at": func.now(),
        },
    )
    return db.session.execute(statement.returning(Record.id)).scalar_one()


def drafts_sql(changes: str) -> str:
    """SQL for the drafts that changes make of a row of ``records``; see ``Record.drafts``.

    A record that HubSpot has not, as far as we know, may have been sent all the same; then it
    goes by the e-mail that it had first, so that is kept.

    Args:
        changes: the SQL name of a jsonb object, property to new value.
    """
    return f"""coalesce((
        SELECT jsonb_object_agg(name, jsonb_build_object('at', clock_timestamp()) || CASE
            WHEN records.drafts ? name THEN (records.drafts -> name) - 'at'
            WHEN records.hs_object_id IS NULL AND (name <> 'email' OR records.email IS NULL)
                THEN '{{}}'::jsonb
            ELSE jsonb_build_object('over', records.properties -> name) END)
        FROM jsonb_object_keys({changes}) AS name), '{{}}'::jsonb)"""  # noqa: S608 - a name of our own


def create_records(portal_id: int, records: Iterable[NewRecord]) -> dict[UUID, int]:
    """Create rows in one statement; returns each one's id by its uuid."""
    rows = [
        {
            "uuid": record.uuid,
            "portal_id": portal_id,
            "object_type": record.object_type.name,
            "properties": dict(record.properties),
            "unsent": list(record.properties),
        }
        for record in records
    ]
    if not rows:
        return {}
    inserted = db.session.execute(insert(Record).returning(Record.uuid, Record.id), rows)
    return {row.uuid: row.id for row in inserted}


def associate(
    portal_id: int, pairs: Iterable[tuple[AssociationType, int, int]]
) -> dict[int, tuple[int, int]]:
    """Associate rows, (type, from row, to row) each, in one statement.

    Returns:
        The ids of the pairs that are new, with the rows of each.
    """
    rows = [
        {"portal_id": portal_id, "type_id": kind.type_id, "from_id": from_id, "to_id": to_id}
        for kind, from_id, to_id in pairs
    ]
    if not rows:
        return {}
    statement = upsert(Association).on_conflict_do_nothing()
    returned = (Association.id, Association.from_id, Association.to_id)
    inserted = db.session.execute(statement.returning(*returned), rows)
    return {row.id: (row.from_id, row.to_id) for row in inserted}


def find_known_ids(portal_id: int, object_type: ObjectType, hs_ids: Iterable[str]) -> set[str]:
    """Those of HubSpot's ids that stand in the mirror."""
    statement = select(Record.hs_object_id).where(
        Record.portal_id == portal_id,
        Record.object_type == object_type.name,
        Record.hs_object_id.in_(list(hs_ids)),
    )
    with transaction() as session:
        return {hs_id for hs_id in session.scalars(statement) if hs_id}


def list_portals_with_unsent() -> list[int]:
    """The portals for which there is something that push could send."""
    from_record, to_record = aliased(Record), aliased(Record)
    unsent_record = exists().where(Record.portal_id == Portal.id, Record.state == PENDING)
    unsent_pair = exists().where(
        Association.portal_id == Portal.id,
        Association.state == PENDING,
        from_record.id == Association.from_id,
        from_record.hs_object_id.is_not(None),
        from_record.archived_at.is_(None),
        to_record.id == Association.to_id,
        to_record.hs_object_id.is_not(None),
        to_record.archived_at.is_(None),
    )
    return list(db.session.scalars(select(Portal.id).where(or_(unsent_record, unsent_pair))))
