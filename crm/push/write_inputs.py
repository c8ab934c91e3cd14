"""Hold what callers want of records, and with whom these are to be associated."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from crm.errors import InvalidInputError
from crm.object_types import AssociationType, ObjectType
from crm.pull.associations import declared_between, list_associated_types

Pair = tuple[AssociationType, int, int]
"""Of the rows from and to."""


@dataclass(frozen=True)
class Entry:
    """What a caller wants of one record, by HubSpot's names, checked."""

    properties: Mapping[str, str]
    external_id: str | None = None
    associations: Sequence[tuple[str, str]] = ()
    """Of each the object type and whom: HubSpot's id, or a contact's e-mail."""

    def key(self, object_type: ObjectType) -> str:
        """What tells whether two entries mean one record.

        Raises:
            InvalidInputError: there is none.
        """
        name = object_type.key_property or "external_id"
        key = self.external_id if name == "external_id" else self.properties.get(name)
        if not key or not key.strip():
            raise InvalidInputError(errors={name: "Field is required"})
        return key.strip().lower() if object_type.key_property else key


_TARGETS = text("""
    SELECT wanted.to_type, wanted.target, found.id
    FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS wanted(to_type text, target text)
    CROSS JOIN LATERAL (
        SELECT id FROM records
        WHERE portal_id = :portal_id AND object_type = wanted.to_type
            AND hs_object_id = wanted.target AND archived_at IS NULL
        UNION ALL
        SELECT id FROM records
        WHERE portal_id = :portal_id AND object_type = 'contacts' AND wanted.to_type = 'contacts'
            AND email = lower(wanted.target) AND archived_at IS NULL
        UNION ALL
        SELECT records.id FROM record_aliases AS alias
        JOIN records ON records.id = alias.record_id AND records.archived_at IS NULL
        WHERE alias.portal_id = :portal_id AND alias.object_type = wanted.to_type
            AND alias.hs_object_id = wanted.target
        LIMIT 1) AS found
""")


class Targets:
    """The rows that entries want to be associated with, found in one statement."""

    def __init__(
        self,
        session: Session,
        portal_id: int,
        object_type: ObjectType,
        entries: Iterable[Entry],
    ) -> None:
        self._object_type = object_type
        self._types = {each.name: each for each in list_associated_types(object_type)}
        wanted = {pair for entry in entries for pair in entry.associations}
        self._ids: dict[tuple[str, str], int] = {}
        if wanted:
            rows = [{"to_type": to_type, "target": target} for to_type, target in sorted(wanted)]
            parameters = {"portal_id": portal_id, "wanted": orjson.dumps(rows).decode()}
            found = session.execute(_TARGETS, parameters)
            self._ids = {(row.to_type, row.target): row.id for row in found}

    def problems_of(self, entry: Entry) -> dict[str, str]:
        """What is wrong with an entry's associations, by dotted path."""
        problems = {}
        for number, (to_type, target) in enumerate(entry.associations):
            if to_type not in self._types:
                valid = ", ".join(self._types)
                problems[f"associations.{number}.to_type"] = f"Must be one of: {valid}."
            elif (to_type, target) not in self._ids:
                kind = self._types[to_type].singular.replace("_", " ")
                problems[f"associations.{number}.to"] = f"There is no such {kind}"
        return problems

    def pairs_of(self, entry: Entry, row_id: int) -> list[Pair]:
        """An entry's associations, each in the direction that the registry declares."""
        pairs = []
        for to_type, target in entry.associations:
            kind, is_reversed = declared_between(self._object_type, self._types[to_type])
            other = self._ids[to_type, target]
            pairs.append((kind, other, row_id) if is_reversed else (kind, row_id, other))
        return pairs
