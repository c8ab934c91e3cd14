"""List the mirror's rows in an order, each page with a cursor for the next.

A page is one statement, and Postgres writes its JSON: the rows of one record after another would
cost a query each, and building the same text in Python more than everything else together. In all
SQL here the listed row is called ``r``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import text

from crm.cursors import cursor_of, position_of
from crm.db import db, read
from crm.object_types import ObjectType

MOST = 100
"""Items on a page."""
MOST_WORDS = 8
"""Of a search; more find nothing that these do not."""

_WORD = re.compile(r"[^\s\x00-/:-@\[-`{-\x7f]+")


@dataclass(frozen=True)
class Sort:
    """An order: an expression over a row ``r``, and the type that a cursor holds of it."""

    expression: str
    kind: str


# Without a sort, the newest in the mirror come first; "+ 0" is how the index has it.
NEWEST = Sort("(r.id + 0)", "bigint")
CREATED = Sort("coalesce(r.hs_created_at, r.created_at)", "timestamptz")
MODIFIED = Sort("coalesce(r.hs_modified_at, r.updated_at)", "timestamptz")


# A cursor may be a plain id of HubSpot's, as older clients keep it: then what comes after that one.
# As texts of one length, ids have the order of their numbers.
_DIGITS = 20
_HUBSPOT_ID = re.compile(rf"[0-9]{{1,{_DIGITS}}}", re.ASCII)
_BY_HUBSPOT_ID = Sort(f"lpad(r.hs_object_id, {_DIGITS}, '0')", "text")


@dataclass(frozen=True)
class ListQuery:
    """What a caller wants to see."""

    limit: int = 10
    cursor: str | None = None
    q: str = ""
    sort: str = ""
    """A name of the list's sorts, with ``-`` in front for the other way round; empty: newest
    first."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """Wire name to value."""


@dataclass(frozen=True)
class Page:
    """Items as JSON texts, and the cursor of the next page, if there is one."""

    items: Sequence[str]
    next_after: str | None


@dataclass(frozen=True)
class Conditions:
    """What holds for the rows of a list, and the values that its SQL names."""

    sql: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    def add(self, condition: str, **parameters: Any) -> None:
        """Let one more thing hold."""
        self.sql.append(condition)
        self.parameters.update(parameters)


def read_page(
    portal_id: int,
    object_type: ObjectType,
    query: ListQuery,
    *,
    item: str,
    sorts: Mapping[str, Sort],
    conditions: Conditions,
) -> Page:
    """A page of live records; paging is stable while records are added.

    Args:
        portal_id: whose mirror.
        object_type: of the records.
        query: limit, cursor and order; filters and words are the conditions' matter.
        item: SQL for the JSON text of a row ``r``.
        sorts: the orders that the list has, by name.
        conditions: of the rows, beside what makes them live ones of this type.

    Raises:
        InvalidInputError: a cursor that is none of ours, or of another list or order.
    """
    listing = f"{object_type.name} {query.sort}"
    sort = sorts[query.sort.removeprefix("-")] if query.sort else NEWEST
    descending = query.sort.startswith("-") or not query.sort
    is_after_id = not query.sort and _HUBSPOT_ID.fullmatch(query.cursor or "") is not None
    if is_after_id:
        sort, descending = _BY_HUBSPOT_ID, False
        conditions.add(f"{sort.expression} > :sorted", sorted=str(query.cursor).zfill(_DIGITS))
    elif query.cursor is not None:
        sorted_value, row_id = position_of(query.cursor, listing)
        conditions.add(
            f"({sort.expression}, r.id) {'<' if descending else '>'}"
            f" (CAST(:sorted AS {sort.kind}), :after_id)",
            sorted=sorted_value,
            after_id=row_id,
        )
    parameters = {
        **conditions.parameters,
        "portal_id": portal_id,
        "more": query.limit + 1,
    }
    live = f"r.portal_id = :portal_id AND r.object_type = '{object_type.name}'"
    where = " AND ".join([live, "r.archived_at IS NULL", *conditions.sql])
    statement = _page_statement(item, sort, descending, where)
    if query.q or query.filters:
        # Too many combinations for Postgres to keep a plan of each.
        rows = [tuple(row) for row in db.session.execute(text(statement), parameters)]
    else:
        rows = read(statement, parameters)
    page = rows[: query.limit]
    next_after = None
    if len(rows) > query.limit:
        row_id, sorted_value, _ = page[-1]
        next_after = (
            sorted_value.lstrip("0") if is_after_id else cursor_of(listing, sorted_value, row_id)
        )
    return Page([each for _, _, each in page], next_after)


def node(object_type: ObjectType, alias: str, *inside: str) -> str:
    """SQL for a record's JSON object; ``inside`` are further pairs of it."""
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


def words_of(q: str) -> list[str]:
    """The words of a search, each as a ``tsquery`` that finds what begins like it."""
    # At ASCII punctuation, as the mirror's search column, so that parts of addresses and numbers
    # are found. All else Postgres splits or keeps together as it did in the column: what belongs
    # to a word of any language (vowel signs, for one) it knows in its own way.
    return [f"'{word}':*" for word in _WORD.findall(q)[:MOST_WORDS]]


@lru_cache
def _page_statement(item: str, sort: Sort, descending: bool, where: str) -> str:
    direction = "DESC" if descending else "ASC"
    order = f"{sort.expression} {direction}, r.id {direction}"
    return (
        f"SELECT r.id, r.sorted::text AS sorted, {item} AS item"  # noqa: S608 - our own names
        f" FROM (SELECT r.*, {sort.expression} AS sorted FROM records AS r WHERE {where}"
        # The plan is made before :more is known; the number tells Postgres that it is small.
        f" ORDER BY {order} LIMIT {MOST + 1}) AS r"
        f" ORDER BY r.sorted {direction}, r.id {direction} LIMIT :more"
    )
