"""What the admins of a portal have set up beyond HubSpot's stock.

Labels of associations, groups of properties, rules for writes, lists of records; the properties and
the pipelines themselves are with the portal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from hubspot_sandbox.object_types import ASSOCIATION_TYPES, OBJECT_TYPES
from hubspot_sandbox.schema import (
    AssociationType,
    ConditionalRule,
    ObjectType,
    PipelineChange,
    PropertyGroup,
    WriteRules,
)
from hubspot_sandbox.undo_log import UndoLog

# HubSpot numbers a portal's own labels from the low numbers on, among its own types' ids.
_FIRST_LABEL_ID: Final = 35
_NO_RULES: Final = WriteRules()

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordList:
    """A list of records of one type, which HubSpot's user interface calls a segment.

    ``members`` tells of each record's id when it was added; it is replaced, never altered.
    ``removed_at`` is when a record was last taken out, ``created_by`` and ``updated_by`` are ids
    of people or apps.
    """

    id: int
    name: str
    object_type: str
    processing_type: str
    created_at: int
    created_by: int
    updated_at: int
    updated_by: int
    deleted_at: int | None = None
    removed_at: int | None = None
    members: Mapping[int, int] = field(default_factory=dict)


class Setup:
    """One portal's setup; every change to it goes through `put` or a method, to be undoable."""

    def __init__(self, undo_log: UndoLog) -> None:
        """Start with HubSpot's stock."""
        self._undo_log = undo_log
        self._next_label_id = _FIRST_LABEL_ID
        self.association_types = dict(ASSOCIATION_TYPES)
        self.groups: dict[tuple[str, str], PropertyGroup] = {}
        self.pipeline_changes: list[PipelineChange] = []
        self._write_rules: dict[str, WriteRules] = {}
        self._next_list_id = 1
        self.lists: dict[int, RecordList] = {}

    def types_between(
        self, from_type: ObjectType, to_type: ObjectType
    ) -> Sequence[AssociationType]:
        """Return the association types in that direction, the unlabelled one first."""
        found = [
            each
            for each in self.association_types.values()
            if (each.from_type, each.to_type) == (from_type.name, to_type.name)
        ]
        return sorted(found, key=lambda each: (each.label is not None, each.type_id))

    def take_label_id(self) -> int:
        """Return an id that no association type of the portal ever had."""
        while self._next_label_id in ASSOCIATION_TYPES:
            self._next_label_id += 1
        self._next_label_id += 1
        return self._next_label_id - 1

    def put_type(self, declared: AssociationType) -> None:
        """Add or replace an association type of the portal's own."""
        self._put(self.association_types, declared.type_id, declared)

    def remove_type(self, declared: AssociationType) -> None:
        """Take an association type of the portal's own away."""
        self._put(self.association_types, declared.type_id, None)

    def put_group(self, object_type: ObjectType, group: PropertyGroup) -> None:
        """Add or replace a group of properties."""
        self._put(self.groups, (object_type.name, group.name), group)

    def remove_group(self, object_type: ObjectType, name: str) -> None:
        """Take a group of properties away."""
        self._put(self.groups, (object_type.name, name), None)

    def note_pipeline_change(self, change: PipelineChange) -> None:
        """Add to the audit of pipelines and stages."""
        self.pipeline_changes.append(change)
        self._undo_log.note(self.pipeline_changes.pop)

    def write_rules(self, object_type: ObjectType) -> WriteRules:
        """Return the rules for writes to a type."""
        return self._write_rules.get(object_type.name, _NO_RULES)

    def put_write_rules(self, object_type: ObjectType, rules: WriteRules) -> None:
        """Replace the rules for writes to a type."""
        self._put(self._write_rules, object_type.name, rules)

    def take_list_id(self) -> int:
        """Return an id that no list of the portal ever had."""
        self._next_list_id += 1
        return self._next_list_id - 1

    def put_list(self, changed: RecordList) -> None:
        """Add or replace a list."""
        self._put(self.lists, changed.id, changed)

    def dump(self) -> dict[str, Any]:
        """Return everything that is not stock, for the state file."""
        return {
            "next_label_id": self._next_label_id,
            "labels": [
                each for each in self.association_types.values() if each.category == "USER_DEFINED"
            ],
            "groups": [[name, group] for (name, _), group in self.groups.items()],
            "pipeline_changes": self.pipeline_changes,
            "write_rules": self._write_rules,
            "next_list_id": self._next_list_id,
            "lists": list(self.lists.values()),
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Take back what `dump` gave; what is missing stays as in a new portal."""
        self._next_label_id = dumped.get("next_label_id", _FIRST_LABEL_ID)
        for each in dumped.get("labels", []):
            self.put_type(AssociationType(**each))
        for name, group in dumped.get("groups", []):
            self.put_group(OBJECT_TYPES[name], PropertyGroup(**group))
        for each in dumped.get("pipeline_changes", []):
            self.note_pipeline_change(PipelineChange(**each))
        for name, rules in dumped.get("write_rules", {}).items():
            self.put_write_rules(OBJECT_TYPES[name], _load_write_rules(rules))
        self._next_list_id = dumped.get("next_list_id", 1)
        for each in dumped.get("lists", []):
            members = {int(record_id): at for record_id, at in each["members"].items()}
            self.put_list(RecordList(**{**each, "members": members}))

    def _put(self, entries: dict[Key, Value], key: Key, value: Value | None) -> None:
        """Set an entry, or with None remove it."""
        before = entries.get(key)
        _set(entries, key, value)
        self._undo_log.note(lambda: _set(entries, key, before))


def _set(entries: dict[Key, Value], key: Key, value: Value | None) -> None:
    if value is None:
        del entries[key]
    else:
        entries[key] = value


def _load_write_rules(shape: dict[str, Any]) -> WriteRules:
    conditional = tuple(
        ConditionalRule(each["name"], each["when"], tuple(each["values"]))
        for each in shape["conditional"]
    )
    return WriteRules(
        required=tuple(shape["required"]),
        letters_only=tuple(shape.get("letters_only", ())),
        conditional=conditional,
        may_associate=shape["may_associate"],
    )
