"""Contacts as people read them: each with its deals, and each deal with its tickets.

A page is one statement, and Postgres writes its JSON: the rows of one contact after another would
cost a query each, and building the same text in Python more than everything else together.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson
from flask import current_app
from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import text

from crm.errors import InvalidInputError
from crm.extensions import db, read
from crm.objects import CONTACT_TO_DEAL, CONTACTS, DEAL_TO_TICKET, DEALS, TICKETS, ObjectType

MOST = 100
"""Contacts on a page."""
MOST_WORDS = 8
"""Of a search; more find nothing that these do not."""


_WORD = re.compile(r"[^\s\x00-/:-@\[-`{-\x7f]+")


@dataclass(frozen=True)
class _Sort:
    """An order: an expression over a contact ``c``, and the type that a cursor holds of it."""

    expression: str
    kind: str


# Without a sort, the newest in the mirror come first; "+ 0" is how the index has it.
_NEWEST = _Sort("(c.id + 0)", "bigint")
SORTS: Mapping[str, _Sort] = {
    "createdate": _Sort("coalesce(c.hs_created_at, c.created_at)", "timestamptz"),
    "lastmodifieddate": _Sort("coalesce(c.hs_modified_at, c.updated_at)", "timestamptz"),
    "email": _Sort("coalesce(c.email, '')", "text"),
    # By their beginnings, since a cursor must hold the value and still fit into a URL.
    "firstname": _Sort("lower(left(coalesce(c.properties ->> 'firstname', ''), 60))", "text"),
    "lastname": _Sort("lower(left(coalesce(c.properties ->> 'lastname', ''), 60))", "text"),
}

FILTERS: Mapping[str, ObjectType] = {
    name: object_type for object_type in (TICKETS, DEALS, CONTACTS) for name in object_type.filters
}
"""Wire name to the type whose property it filters; the nearer to the contact, the stronger."""


@dataclass(frozen=True)
class ContactQuery:
    """What a caller wants to see."""

    limit: int = 10
    cursor: str | None = None
    q: str = ""
    sort: str = ""
    """A name of ``SORTS``, with ``-`` in front for the other way round; empty: newest first."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """By the names of ``FILTERS``."""


@dataclass(frozen=True)
class ContactPage:
    """Contacts as JSON texts, and the cursor of the next page, if there is one."""

    contacts: Sequence[str]
    next_after: str | None


def list_contacts(
    portal_id: int, query: ContactQuery, *, only_contact_id: int | None = None
) -> ContactPage:
    """A page of contacts; paging is stable while contacts are added.

    Args:
        portal_id: whose mirror.
        query: what to find.
        only_contact_id: the one contact that the caller may see; None for all.

    Raises:
        InvalidInputError: a cursor that is none of ours, or of another order.
    """
    sort, descending = _order(query.sort)
    conditions, parameters = _conditions(query, sort, descending)
    if only_contact_id is not None:
        conditions.append("c.id = :only_contact_id")
    parameters |= {
        "portal_id": portal_id,
        "more": query.limit + 1,
        "only_contact_id": only_contact_id,
    }
    statement = _page_statement(sort, descending, tuple(conditions))
    if query.q or query.filters:
        # Too many combinations for Postgres to keep a plan of each.
        rows = [tuple(row) for row in db.session.execute(text(statement), parameters)]
    else:
        rows = read(statement, parameters)
    page = rows[: query.limit]
    return ContactPage(
        contacts=[contact for _, _, contact in page],
        next_after=_cursor(query.sort, page[-1]) if len(rows) > query.limit else None,
    )


def find_graph(contact_id: int) -> dict[str, Any] | None:
    """One contact with its deals and tickets, as a mapping; None if it is archived."""
    row = db.session.execute(
        text(
            f"SELECT {_CONTACT} AS contact FROM records AS c"  # noqa: S608 - our own names
            " WHERE c.id = :id AND c.archived_at IS NULL"
        ),
        {"id": contact_id},
    ).one_or_none()
    graph: dict[str, Any] | None = orjson.loads(row.contact) if row else None
    return graph


def _node(object_type: ObjectType, alias: str, *inside: str) -> str:
    """SQL for a record's JSON; ``inside`` are further pairs of its object."""
    fields = [
        f"'{name}', {alias}.properties -> '{object_type.property_for(name)}'"
        for name in object_type.answer
    ]
    pairs = [
        f"'id', {alias}.hs_object_id",
        f"'hs_object_id', {alias}.hs_object_id",
        *fields,
        f"'sync_state', {alias}.state",
        *inside,
    ]
    return f"json_build_object({', '.join(pairs)})"


def _nested(node: str, alias: str, type_id: int, parent: str) -> str:
    """SQL for the array of a parent's associated records."""
    return (
        f"coalesce((SELECT json_agg({node} ORDER BY {alias}.id)"  # noqa: S608 - our own names
        f" FROM associations AS to_{alias} JOIN records AS {alias} ON {alias}.id = to_{alias}.to_id"
        f" WHERE to_{alias}.from_id = {parent}.id AND to_{alias}.type_id = {type_id}"
        f" AND {alias}.archived_at IS NULL), '[]'::json)"
    )


_TICKETS = _nested(_node(TICKETS, "t"), "t", DEAL_TO_TICKET.type_id, "d")
_DEALS = _nested(_node(DEALS, "d", f"'tickets', {_TICKETS}"), "d", CONTACT_TO_DEAL.type_id, "c")
_CONTACT = _node(CONTACTS, "c", f"'deals', {_DEALS}") + "::text"

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


@lru_cache
def _page_statement(sort: _Sort, descending: bool, conditions: tuple[str, ...]) -> str:
    direction = "DESC" if descending else "ASC"
    where = " AND ".join(
        [
            "c.portal_id = :portal_id",
            "c.object_type = 'contacts'",
            "c.archived_at IS NULL",
            *conditions,
        ]
    )
    order = f"{sort.expression} {direction}, c.id {direction}"
    return (
        f"SELECT c.id, c.sorted::text AS sorted, {_CONTACT} AS contact"  # noqa: S608 - our own names
        f" FROM (SELECT c.*, {sort.expression} AS sorted FROM records AS c WHERE {where}"
        # The plan is made before :more is known; the number tells Postgres that it is small.
        f" ORDER BY {order} LIMIT {MOST + 1}) AS c"
        f" ORDER BY c.sorted {direction}, c.id {direction} LIMIT :more"
    )


def _order(sort: str) -> tuple[_Sort, bool]:
    if not sort:
        return _NEWEST, True
    return SORTS[sort.removeprefix("-")], sort.startswith("-")


def _conditions(
    query: ContactQuery, sort: _Sort, descending: bool
) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    parameters: dict[str, Any] = {}
    wanted: dict[str, dict[str, str]] = {}
    for name, value in query.filters.items():
        object_type = FILTERS[name]
        wanted.setdefault(object_type.name, {})[object_type.property_for(name)] = value
    for object_type_name, properties in wanted.items():
        conditions.append(
            _among(object_type_name, f"properties @> CAST(:{object_type_name} AS jsonb)")
        )
        parameters[object_type_name] = orjson.dumps(properties).decode()
    for index, word in enumerate(_words(query.q)):
        matching = f"search @@ to_tsquery('simple', :word_{index})"
        ways = (_CONTACTS_BY[each].format(condition=matching) for each in _CONTACTS_BY)
        conditions.append(f"c.id IN ({' UNION '.join(ways)})")
        parameters[f"word_{index}"] = f"'{word}':*"
    if query.cursor is not None:
        sorted_value, row_id = _read_cursor(query.cursor, query.sort)
        sign = "<" if descending else ">"
        conditions.append(
            f"({sort.expression}, c.id) {sign} (CAST(:sorted AS {sort.kind}), :after_id)"
        )
        parameters |= {"sorted": sorted_value, "after_id": row_id}
    return conditions, parameters


def _among(object_type_name: str, condition: str) -> str:
    return f"c.id IN ({_CONTACTS_BY[object_type_name].format(condition=condition)})"


def _words(q: str) -> list[str]:
    # At ASCII punctuation, as the mirror's search column, so that parts of addresses and numbers
    # are found. All else Postgres splits or keeps together as it did in the column: what belongs
    # to a word of any language (vowel signs, for one) it knows in its own way.
    return _WORD.findall(q)[:MOST_WORDS]


def _cursor(sort: str, row: tuple[Any, ...]) -> str:
    row_id, sorted_value, _ = row
    cursor: str = _cursors().dumps([sort, sorted_value, row_id])
    return cursor


def _read_cursor(cursor: str, sort: str) -> tuple[str, int]:
    try:
        made_for, sorted_value, row_id = _cursors().loads(cursor)
    except (BadData, ValueError) as error:
        raise _not_a_cursor() from error
    if made_for != sort:
        raise _not_a_cursor()
    return sorted_value, row_id


def _not_a_cursor() -> InvalidInputError:
    return InvalidInputError(
        errors={"cursor": "Not a cursor of this list and order; begin again without one"}
    )


def _cursors() -> URLSafeSerializer:
    return _serializer(current_app.extensions["crm_settings"].secret_key)


@lru_cache
def _serializer(secret_key: str) -> URLSafeSerializer:
    # Signed, so that what comes back is what we gave and can go into a statement's types.
    return URLSafeSerializer(secret_key, salt="contacts cursor")
