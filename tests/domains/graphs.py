"""Graphs as registrations write them, without the cost of a password; and what became of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

from sqlalchemy import select, text

from crm.db import transaction
from crm.mirror import rows as mirror_rows
from crm.mirror.rows import NewRecord
from crm.models import SYNCED, Record
from crm.object_types import CONTACT_TO_DEAL, DEAL_TO_TICKET, DEALS, TICKETS
from crm.push.job import enqueue_push
from tests.sandbox.client import OBJECTS, HubSpot

CONTACT = {"firstname": "Ada", "lastname": "Lovelace"}
DEAL = {"dealname": "A new engine", "dealstage": "qualifiedtobuy", "pipeline": "default"}
TICKET = {"subject": "It stutters", "hs_pipeline": "0", "hs_pipeline_stage": "1"}
TYPES = ("contacts", "deals", "tickets")


def write_contact(portal_id: int, email: str, **properties: str) -> int:
    """Change or create a contact here; returns its row's id."""
    with transaction():
        contact_id = mirror_rows.write_contact(portal_id, {"email": email, **CONTACT, **properties})
        enqueue_push(portal_id)
    return contact_id


def write_graph(
    portal_id: int,
    email: str,
    *,
    contact: dict[str, str] | None = None,
    deal: dict[str, str] | None = None,
    ticket: dict[str, str] | None = None,
    tickets: int = 1,
) -> int:
    """A contact with one deal that has some tickets, all in one transaction."""
    new_deal = NewRecord(DEALS, DEAL | (deal or {}))
    new_tickets = [NewRecord(TICKETS, TICKET | (ticket or {})) for _ in range(tickets)]
    with transaction():
        properties = {"email": email, **CONTACT, **(contact or {})}
        contact_id = mirror_rows.write_contact(portal_id, properties)
        ids = mirror_rows.create_records(portal_id, [new_deal, *new_tickets])
        deal_id = ids[new_deal.uuid]
        mirror_rows.associate(
            portal_id,
            [
                (CONTACT_TO_DEAL, contact_id, deal_id),
                *((DEAL_TO_TICKET, deal_id, ids[each.uuid]) for each in new_tickets),
            ],
        )
        enqueue_push(portal_id)
    return contact_id


def row(record_id: int) -> Record:
    """A row as it stands."""
    with transaction() as session:
        found = session.execute(select(Record).where(Record.id == record_id)).scalar_one()
        session.expunge(found)
    return found


def states() -> Counter[str]:
    """How many rows are in which state: ``{"contacts synced": 3, "associations pending": 2}``."""
    counts = (
        "SELECT object_type || ' ' || state, count(*) FROM records GROUP BY 1"
        " UNION ALL SELECT 'associations ' || state, count(*) FROM associations GROUP BY 1"
    )
    with transaction() as session:
        return Counter(dict(tuple(each) for each in session.execute(text(counts))))


def portal() -> Any:
    """The default portal's row."""
    with transaction() as session:
        return session.execute(text("SELECT portals.*, now() AS now FROM portals")).one()


def jobs(*columns: str) -> list[Any]:
    """All jobs, oldest first."""
    chosen = ", ".join(columns or ("task_name", "status"))
    with transaction() as session:
        statement = f"SELECT {chosen} FROM procrastinate_jobs ORDER BY id"  # noqa: S608 - our own
        return list(session.execute(text(statement)))


def end_pause() -> None:
    """Let the time of a pause pass."""
    with transaction() as session:
        session.execute(text("UPDATE portals SET push_retry_at = now() - interval '1 second'"))
        session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL"))


def records_in(hubspot: HubSpot, object_type: str, *properties: str) -> list[dict[str, Any]]:
    """All live records of a type, by HubSpot's own API."""
    return list(_pages(hubspot, object_type, properties))


def _pages(
    hubspot: HubSpot, object_type: str, properties: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    after = None
    while True:
        query = {"limit": 100, "properties": ",".join(properties), "after": after}
        page = hubspot.get(
            f"{OBJECTS}/{object_type}", **{name: value for name, value in query.items() if value}
        ).json()
        yield from page["results"]
        if "paging" not in page:
            return
        after = page["paging"]["next"]["after"]


def pairs_in(hubspot: HubSpot, from_type: str, to_type: str) -> list[tuple[str, str]]:
    """All associations of two types, by HubSpot's own API."""
    inputs = [{"id": each["id"]} for each in records_in(hubspot, from_type)]
    path = f"/crm/associations/2026-09/{from_type}/{to_type}/batch/read"
    answers = [
        hubspot.post(path, {"inputs": inputs[first : first + 1000]})
        for first in range(0, len(inputs), 1000)
    ]
    return sorted(
        (str(each["from"]["id"]), str(to["toObjectId"]))
        for answer in answers
        for each in answer.json()["results"]
        for to in each["to"]
    )


def differences(hubspot: HubSpot) -> list[str]:
    """What stands in HubSpot but not in the mirror as synced, or the other way round.

    A double would stand on one side only: the mirror has one row of each e-mail and ``crm_uid``.
    """
    with transaction() as session:
        rows = session.scalars(select(Record)).all()
        session.expunge_all()
        pairs = session.execute(text(_PAIRS)).all()
    found = [f"association {pair}" for pair in pairs if pair.state != SYNCED]
    for object_type in TYPES:
        here = [row for row in rows if row.object_type == object_type and not row.archived_at]
        found += _different_records(hubspot, object_type, here)
    for from_type, to_type in permutations(TYPES, 2):
        # The mirror has each pair once, HubSpot has it in both directions.
        here = {
            *((a, b) for a, b, *types in pairs if types[:2] == [from_type, to_type]),
            *((b, a) for a, b, *types in pairs if types[:2] == [to_type, from_type]),
        }
        there = Counter(pairs_in(hubspot, from_type, to_type))
        name = f"association of {from_type} with {to_type}"
        found += [f"{name}, {pair}: only here" for pair in here - there.keys()]
        found += [f"{name}, {pair}: only there" for pair in there.keys() - here]
        found += [
            f"{name}, {pair}: {count} times there" for pair, count in there.items() if count > 1
        ]
    return found


def _different_records(hubspot: HubSpot, object_type: str, rows: Sequence[Record]) -> Iterator[str]:
    names = {name for row in rows for name in row.properties}
    there = {each["id"]: each["properties"] for each in records_in(hubspot, object_type, *names)}
    here = {row.hs_object_id: row for row in rows}
    for each in there.keys() ^ here.keys():
        yield f"{object_type} {each}: only {'here' if each in here else 'there'}"
    for each in there.keys() & here.keys():
        row = here[each]
        ours = row.properties
        theirs = {name: there[each].get(name) for name in ours}
        # What was cleared is nothing there and perhaps an empty text here.
        differing = [name for name in ours if (ours[name] or None) != (theirs[name] or None)]
        if differing:
            yield f"{object_type} {each}: " + ", ".join(
                f"{name} {ours[name]!r} here and {theirs[name]!r} there" for name in differing
            )
        if row.state != SYNCED or row.unsent:
            yield f"{object_type} {each}: {row.state}, unsent {row.unsent}"


_PAIRS = """
    SELECT from_record.hs_object_id, to_record.hs_object_id,
        from_record.object_type AS from_type, to_record.object_type AS to_type, associations.state
    FROM associations
    JOIN records AS from_record ON from_record.id = from_id
    JOIN records AS to_record ON to_record.id = to_id
    WHERE from_record.archived_at IS NULL AND to_record.archived_at IS NULL
"""
