"""Read each contact with its deals, and each deal with its tickets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import TextClause, text

from crm.db import db
from crm.mirror.reads.pages import (
    CREATED,
    MODIFIED,
    MOST,
    Conditions,
    ListQuery,
    Page,
    Sort,
    node,
    read_page,
    words_of,
)
from crm.mirror.reads.records import HANGING_ON_CONTACT, IDENTIFIED, identify
from crm.object_types import CONTACT_TO_DEAL, CONTACTS, DEAL_TO_TICKET, DEALS, TICKETS, ObjectType

SORTS: Mapping[str, Sort] = {
    "createdate": CREATED,
    "lastmodifieddate": MODIFIED,
    "email": Sort("coalesce(r.email, '')", "text"),
    # By their beginnings, since a cursor must hold the value and still fit into a URL.
    "firstname": Sort("lower(left(coalesce(r.properties ->> 'firstname', ''), 60))", "text"),
    "lastname": Sort("lower(left(coalesce(r.properties ->> 'lastname', ''), 60))", "text"),
}

FILTERS: Mapping[str, ObjectType] = {
    name: object_type for object_type in (TICKETS, DEALS, CONTACTS) for name in object_type.filters
}
"""Wire name to the type whose property it filters; the nearer to the contact, the stronger."""


def list_contacts(portal_id: int, query: ListQuery, *, only_contact_id: int | None = None) -> Page:
    """A page of contacts; paging is stable while contacts are added.

    Args:
        portal_id: whose mirror.
        query: what to find; its sort is a name of ``SORTS``, its filters are names of ``FILTERS``.
        only_contact_id: the one contact that the caller may see; None for all.

    Raises:
        InvalidInputError: a cursor that is none of ours, or of another order.
    """
    return read_page(
        portal_id,
        CONTACTS,
        query,
        item=_CONTACT,
        sorts=SORTS,
        conditions=_conditions(query, only_contact_id),
    )


def list_people(
    portal_id: int,
    query: ListQuery,
    *,
    state: str | None = None,
    only_contact_id: int | None = None,
) -> Page:
    """A page of contacts as a table shows them: a line each, and how many deals there are.

    Args:
        portal_id: whose mirror.
        query: as of ``list_contacts``.
        state: only those that are ``synced``, ``pending`` or ``rejected``.
        only_contact_id: the one contact that the caller may see; None for all.

    Returns:
        Items ``{"uuid", "email", "firstname", "lastname", "phone", "company", "lifecyclestage",
        "modified_at", "sync_state", "deals"}``, the last a number.

    Raises:
        InvalidInputError: a cursor that is none of ours, or of another order.
    """
    conditions = _conditions(query, only_contact_id)
    if state is not None:
        conditions.add("r.state = :state", state=state)
    return read_page(portal_id, CONTACTS, query, item=_PERSON, sorts=SORTS, conditions=conditions)


@dataclass(frozen=True)
class AssociatedNode:
    """A record that hangs together with a contact."""

    object_type: str
    uuid: UUID
    properties: Mapping[str, str | None]
    state: str


def list_associated(
    portal_id: int, contact_id: str, *, only_contact_id: int | None = None
) -> list[AssociatedNode]:
    """The live deals, tickets and companies of a contact, the newest first, ``MOST`` in all.

    Tickets count as a contact's when they hang on one of its deals, too.

    Args:
        portal_id: whose mirror.
        contact_id: HubSpot's id, one that was merged away, or the row's uuid.
        only_contact_id: show only what hangs on this contact; None for everything.

    Raises:
        NotFoundError: no contact could be called so.
    """
    found = db.session.execute(
        _ASSOCIATED_OF_OWN if only_contact_id is not None else _ASSOCIATED,
        {**identify(portal_id, CONTACTS, contact_id), "only_contact_id": only_contact_id},
    )
    return [AssociatedNode(*row) for row in found]


def find_graph(contact_id: int) -> dict[str, Any] | None:
    """One contact with its deals and tickets, as a mapping; None if it is archived."""
    row = db.session.execute(
        text(
            f"SELECT {_CONTACT} AS contact FROM records AS r"  # noqa: S608 - our own names
            " WHERE r.id = :id AND r.archived_at IS NULL"
        ),
        {"id": contact_id},
    ).one_or_none()
    graph: dict[str, Any] | None = orjson.loads(row.contact) if row else None
    return graph


def _nested(item: str, alias: str, type_id: int, parent: str) -> str:
    """SQL for the array of a parent's associated records."""
    return (
        f"coalesce((SELECT json_agg({item} ORDER BY {alias}.id)"  # noqa: S608 - our own names
        f" FROM associations AS to_{alias} JOIN records AS {alias} ON {alias}.id = to_{alias}.to_id"
        f" WHERE to_{alias}.from_id = {parent}.id AND to_{alias}.type_id = {type_id}"
        f" AND {alias}.archived_at IS NULL), '[]'::json)"
    )


_TICKETS = _nested(node(TICKETS, "t"), "t", DEAL_TO_TICKET.type_id, "d")
_DEALS = _nested(node(DEALS, "d", f"'tickets', {_TICKETS}"), "d", CONTACT_TO_DEAL.type_id, "r")
_CONTACT = node(CONTACTS, "r", f"'deals', {_DEALS}") + "::text"

_PERSON_FIELDS = ", ".join(
    f"'{name}', r.properties -> '{name}'"
    for name in ("email", "firstname", "lastname", "phone", "company", "lifecyclestage")
)
_PERSON = f"""json_build_object({_PERSON_FIELDS}, 'uuid', r.uuid, 'sync_state', r.state,
    'modified_at', coalesce(r.hs_modified_at, r.updated_at),
    'deals', (SELECT count(*) FROM associations AS a JOIN records AS d ON d.id = a.to_id
        WHERE a.from_id = r.id AND a.type_id = {CONTACT_TO_DEAL.type_id}
            AND d.archived_at IS NULL))::text"""  # noqa: S608 - our own names


def _associated(visible: str) -> TextClause:
    return text(f"""
        WITH near AS (
            SELECT to_id AS id FROM associations WHERE from_id = {IDENTIFIED}
        ), around AS (
            SELECT id FROM near
            UNION SELECT to_id FROM near JOIN associations ON from_id = near.id
                AND type_id = {DEAL_TO_TICKET.type_id}
        )
        SELECT o.object_type, o.uuid, o.properties, o.state
        FROM around JOIN records AS o USING (id)
        WHERE o.archived_at IS NULL{visible}
        ORDER BY o.id DESC LIMIT {MOST}
    """)  # noqa: S608 - our own names


_ASSOCIATED = _associated("")
_ASSOCIATED_OF_OWN = _associated(f" AND o.id IN {HANGING_ON_CONTACT}")

_CONTACTS_OF_DEALS = (
    "SELECT to_d.from_id FROM records AS d"  # noqa: S608 - our own names
    f" JOIN associations AS to_d ON to_d.to_id = d.id AND to_d.type_id = {CONTACT_TO_DEAL.type_id}"
    " WHERE d.portal_id = :portal_id AND d.object_type = 'deals' AND d.archived_at IS NULL"
    " AND d.{condition}"
)
_CONTACTS_OF_TICKETS = (
    "SELECT to_d.from_id FROM records AS t"  # noqa: S608 - our own names
    f" JOIN associations AS to_t ON to_t.to_id = t.id AND to_t.type_id = {DEAL_TO_TICKET.type_id}"
    " JOIN records AS d ON d.id = to_t.from_id AND d.archived_at IS NULL"
    f" JOIN associations AS to_d ON to_d.to_id = d.id AND to_d.type_id = {CONTACT_TO_DEAL.type_id}"
    " WHERE t.portal_id = :portal_id AND t.object_type = 'tickets' AND t.archived_at IS NULL"
    " AND t.{condition}"
)
_ITSELF = (
    "SELECT i.id FROM records AS i WHERE i.portal_id = :portal_id"
    " AND i.object_type = 'contacts' AND i.{condition}"
)
_CONTACTS_BY = {
    CONTACTS.name: _ITSELF,
    DEALS.name: _CONTACTS_OF_DEALS,
    TICKETS.name: _CONTACTS_OF_TICKETS,
}


def _conditions(query: ListQuery, only_contact_id: int | None) -> Conditions:
    conditions = Conditions()
    if only_contact_id is not None:
        conditions.add("r.id = :only_contact_id", only_contact_id=only_contact_id)
    wanted: dict[str, dict[str, str]] = {}
    for name, value in query.filters.items():
        object_type = FILTERS[name]
        wanted.setdefault(object_type.name, {})[object_type.property_for(name)] = value
    for object_type_name, properties in wanted.items():
        matching = f"properties @> CAST(:{object_type_name} AS jsonb)"
        conditions.add(
            f"r.id IN ({_CONTACTS_BY[object_type_name].format(condition=matching)})",
            **{object_type_name: orjson.dumps(properties).decode()},
        )
    for index, word in enumerate(words_of(query.q)):
        matching = f"search @@ to_tsquery('simple', :word_{index})"
        ways = (_CONTACTS_BY[each].format(condition=matching) for each in _CONTACTS_BY)
        conditions.add(f"r.id IN ({' UNION '.join(ways)})", **{f"word_{index}": word})
    return conditions
