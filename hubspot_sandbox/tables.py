"""Records and the associations between them, with the indices that keep both quick.

A `RecordTable` knows ids, pages and unique values; `Links` knows who is associated with whom.
Neither knows HubSpot's rules: those stand in ``records`` and ``associations``.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from hubspot_sandbox.events import (
    ASSOCIATION_CHANGE,
    CREATION,
    DELETION,
    PROPERTY_CHANGE,
    Actor,
    Event,
)
from hubspot_sandbox.schema import ObjectType
from hubspot_sandbox.undo_log import UNKNOWN_ACTOR, UndoLog

_MAX_CHANGES_KEPT = 50

Before: TypeAlias = dict[str, str | None]
# The moment of a change, the values before it, and its actor's source and source id.
Change: TypeAlias = tuple[int, Before, str, str]
TypeIds: TypeAlias = tuple[int, ...]


@dataclass(slots=True)
class Record:
    """One record of the CRM.

    ``properties`` is replaced at every change, never altered, so that a reader may keep it.
    ``changes`` holds the last ones, oldest first. ``minted_at`` is when a merge made the record,
    which is later than the creation that it tells.
    """

    id: int
    properties: dict[str, str]
    created_at: int
    updated_at: int
    archived_at: int | None = None
    changes: list[Change] = field(default_factory=list)
    minted_at: int | None = None

    def as_of(self, moment: int) -> "Record | None":
        """Return the record as it stood at a moment; None before there was one of its id."""
        if self.updated_at <= moment:
            return self
        if (self.minted_at or self.created_at) > moment:
            return None
        properties: dict[str, str | None] = dict(self.properties)
        remaining = list(self.changes)
        while remaining and remaining[-1][0] > moment:
            properties.update(remaining.pop()[1])
        return Record(
            self.id,
            {name: value for name, value in properties.items() if value is not None},
            self.created_at,
            remaining[-1][0] if remaining else self.created_at,
            self.archived_at,
            remaining,
        )

    def history(self, name: str) -> list[tuple[str, int, Actor]]:
        """Return a property's values, their moments and actors, newest first."""
        timeline = []
        value = self.properties.get(name)
        for changed_at, before, *actor in reversed(self.changes):
            if name in before:
                timeline.append((value or "", changed_at, Actor(*actor)))
                value = before[name]
        if value is not None:
            timeline.append((value, self.created_at, self.creator))
        return timeline

    @property
    def creator(self) -> Actor:
        """Who created the record, as its own properties tell."""
        source = self.properties.get("hs_object_source", UNKNOWN_ACTOR.source)
        return Actor(source, self.properties.get("hs_object_source_id", ""))


class RecordTable:
    """All records of one object type in one portal."""

    def __init__(self, object_type: ObjectType, undo_log: UndoLog) -> None:
        """Start empty, with an index for the type's own unique properties.

        ``merged`` leads from each id that a merge took away to the record that it became.
        """
        self.object_type = object_type
        self.records: dict[int, Record] = {}
        self.merged: dict[int, int] = {}
        self._undo_log = undo_log
        self._live: list[int] = []
        self._archived: list[int] = []
        self._index: dict[str, dict[str, int]] = {}
        for name in (object_type.email, object_type.more_emails):
            if name:
                self.add_index(name)

    def add_index(self, name: str) -> None:
        """Index a property, so that `find_by_value` works for it; once is enough."""
        if name not in self._index:
            self._index[name] = {}
            for record in self.records.values():
                if record.archived_at is None:
                    self._enter(record, (name,))

    def find(self, record_id: int, *, archived: bool = False) -> Record | None:
        """Return the record with that id, archived or live as asked; None if there is none."""
        record = self.records.get(record_id)
        return record if record and (record.archived_at is not None) == archived else None

    def find_survivor(self, record_id: int) -> Record | None:
        """Return the live record that one became which was merged away; None for other ids."""
        if record_id not in self.merged:
            return None
        while record_id in self.merged:
            record_id = self.merged[record_id]
        return self.find(record_id)

    def find_by_value(self, name: str, value: str) -> Record | None:
        """Return the live record that holds a value of an indexed property."""
        record_id = self._index[name].get(value)
        return None if record_id is None else self.records[record_id]

    def add(self, record: Record) -> None:
        """Put in a new record, live or archived."""
        self._put(record)
        self._undo_log.note(lambda: self._remove(record))
        self._emit(CREATION, record, record.created_at)

    def change(self, record: Record, properties: dict[str, str], moment: int) -> None:
        """Replace a record's properties and remember the values before."""
        old, old_moment, old_changes = record.properties, record.updated_at, record.changes
        names = {name for name, _ in old.items() ^ properties.items()}
        self._swap(record, properties, names)
        record.updated_at = moment
        before: Before = {name: old.get(name) for name in names}
        change = (moment, before, self._undo_log.actor.source, self._undo_log.actor.source_id)
        record.changes = [*old_changes[1 - _MAX_CHANGES_KEPT :], change]

        def undo() -> None:
            self._swap(record, old, names)
            record.updated_at, record.changes = old_moment, old_changes

        self._undo_log.note(undo)
        for name in sorted(names):
            value = properties.get(name, "")
            self._emit(PROPERTY_CHANGE, record, moment, propertyName=name, propertyValue=value)

    def archive(self, record: Record, moment: int) -> None:
        """Move a live record to the archive, which frees its unique values."""
        self._leave(record, self._index)
        del self._live[bisect_left(self._live, record.id)]
        insort(self._archived, record.id)
        record.archived_at = moment
        self._undo_log.note(lambda: self._unarchive(record))
        self._emit(DELETION, record, moment)

    def restore(self, record: Record, moment: int) -> None:
        """Bring a record back from the archive, where nobody may hold its unique values."""
        archived_at, updated_at = record.archived_at, record.updated_at
        self._unarchive(record)
        record.updated_at = moment

        def undo() -> None:
            self._leave(record, self._index)
            del self._live[bisect_left(self._live, record.id)]
            insort(self._archived, record.id)
            record.archived_at, record.updated_at = archived_at, updated_at

        self._undo_log.note(undo)

    def purge(self, record: Record) -> None:
        """Forget a record for good, as if it had never been."""
        self._remove(record)
        self._undo_log.note(lambda: self._put(record))

    def merge(self, gone: Record, survivor: Record) -> None:
        """Take a live record away and let its id lead to the survivor, which is put in if new."""
        self.purge(gone)
        self.merged[gone.id] = survivor.id
        self._undo_log.note(lambda: self.merged.pop(gone.id))
        if survivor.id not in self.records:
            self._put(survivor)
            self._undo_log.note(lambda: self._remove(survivor))

    def page(self, start: int, size: int, *, archived: bool = False) -> tuple[list[Record], int]:
        """Return records by id from ``start`` on, and the id after the last (0 at the end)."""
        ids = self._archived if archived else self._live
        first = bisect_left(ids, start)
        following = ids[first + size] if first + size < len(ids) else 0
        return [self.records[each] for each in ids[first : first + size]], following

    def live(self) -> Iterator[Record]:
        """Iterate over the live records, oldest id first."""
        return (self.records[record_id] for record_id in self._live)

    def _put(self, record: Record) -> None:
        self.records[record.id] = record
        if record.archived_at is None:
            insort(self._live, record.id)
            self._enter(record, self._index)
        else:
            insort(self._archived, record.id)

    def _emit(self, kind: str, record: Record, moment: int, **details: str) -> None:
        if self._undo_log.has_listeners:
            self._undo_log.emit(Event(kind, self.object_type.name, record.id, moment, details))

    def _unarchive(self, record: Record) -> None:
        record.archived_at = None
        del self._archived[bisect_left(self._archived, record.id)]
        insort(self._live, record.id)
        self._enter(record, self._index)

    def _remove(self, record: Record) -> None:
        if record.archived_at is None:
            self._leave(record, self._index)
        ids = self._live if record.archived_at is None else self._archived
        del ids[bisect_left(ids, record.id)]
        del self.records[record.id]

    def _swap(self, record: Record, properties: dict[str, str], names: set[str]) -> None:
        indexed = names & self._index.keys()
        self._leave(record, indexed)
        record.properties = properties
        self._enter(record, indexed)

    def _enter(self, record: Record, names: Iterable[str]) -> None:
        for name, value in self._entries(record, names):
            self._index[name][value] = record.id

    def _leave(self, record: Record, names: Iterable[str]) -> None:
        for name, value in self._entries(record, names):
            if self._index[name].get(value) == record.id:
                del self._index[name][value]

    def _entries(self, record: Record, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        for name in names:
            value = record.properties.get(name)
            if value is None:
                continue
            several = name == self.object_type.more_emails
            for part in value.split(";") if several else (value,):
                yield name, part


class Ref(NamedTuple):
    """Points to a record: ids are unique within an object type only."""

    object_type: str
    id: int


class Links:
    """Who is associated with whom, and by which type ids; each direction is kept by itself."""

    def __init__(self, undo_log: UndoLog, now_ms: Callable[[], int]) -> None:
        """Start with no associations; ``now_ms`` tells the moment of a change."""
        self._undo_log = undo_log
        self._now_ms = now_ms
        self._links: dict[tuple[str, str], dict[int, dict[int, TypeIds]]] = {}

    def targets(self, source: Ref, to_type: str) -> Mapping[int, TypeIds]:
        """Return the associated ids of one type, each with its type ids."""
        return self.between(source.object_type, to_type).get(source.id, {})

    def between(self, from_type: str, to_type: str) -> Mapping[int, Mapping[int, TypeIds]]:
        """Return the `targets` of every record that has any, by its id."""
        return self._links.get((from_type, to_type), {})

    def all_targets(self, source: Ref) -> dict[Ref, TypeIds]:
        """Return everything that a record is associated with, each with its type ids."""
        return {
            Ref(to_type, target): type_ids
            for (from_type, to_type), sources in self._links.items()
            if from_type == source.object_type
            for target, type_ids in sources.get(source.id, {}).items()
        }

    def sources(self, from_type: str, to_type: str) -> list[Ref]:
        """Return the records of one type that are associated with any of another."""
        return [Ref(from_type, each) for each in self._links.get((from_type, to_type), {})]

    def put(self, source: Ref, target: Ref, type_ids: TypeIds) -> None:
        """Set the type ids of one direction; none of them removes it."""
        before = self.targets(source, target.object_type).get(target.id, ())
        if before != type_ids:
            self._set(source, target, type_ids)
            self._undo_log.note(lambda: self._set(source, target, before))
            if self._undo_log.has_listeners:
                self._emit(source, target, before, type_ids)

    def dump(self) -> list[Any]:
        """Return all of it as lists, for the state file."""
        return [[*pair, list(sources.items())] for pair, sources in self._links.items()]

    def load(self, dumped: list[Any]) -> None:
        """Take back what `dump` gave."""
        self._links = {
            (from_type, to_type): {
                source: {int(target): tuple(ids) for target, ids in targets.items()}
                for source, targets in sources
            }
            for from_type, to_type, sources in dumped
        }

    def _emit(self, source: Ref, target: Ref, before: TypeIds, after: TypeIds) -> None:
        """Tell each type id that came or went; the other direction is told when it is put."""
        for type_id in (*before, *after):
            if (type_id in before) == (type_id in after):
                continue
            details = {
                "fromObjectId": source.id,
                "toObjectId": target.id,
                "toObjectType": target.object_type,
                "associationTypeId": type_id,
                "associationRemoved": type_id in before,
            }
            moment = self._now_ms()
            self._undo_log.emit(
                Event(ASSOCIATION_CHANGE, source.object_type, source.id, moment, details)
            )

    def _set(self, source: Ref, target: Ref, type_ids: TypeIds) -> None:
        sources = self._links.setdefault((source.object_type, target.object_type), {})
        targets = sources.setdefault(source.id, {})
        if type_ids:
            targets[target.id] = type_ids
            return
        targets.pop(target.id, None)
        if not targets:
            del sources[source.id]
