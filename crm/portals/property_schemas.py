"""Fetch which properties a portal's records have, and list those that the mirror takes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from sqlalchemy import select

from crm.db import db
from crm.errors import InvalidInputError
from crm.hubspot import properties as hubspot_properties
from crm.hubspot.client import HubSpotClient
from crm.hubspot.properties import Option, Property
from crm.models import PropertySet
from crm.object_types import CONTACTS, CRM_UID, MERGED_IDS, OBJECT_TYPES, ObjectType
from crm.portals import pipelines
from crm.portals.cached_sets import FetchedSets
from crm.portals.pipelines import Pipelines
from crm.property_values import ValueProblem, as_email, as_hubspot_writes

LIFE = timedelta(minutes=5)

_LONGEST_NAME = 100
"""Characters of a property's name (HubSpot docs: properties)."""
_LONGEST_PATH = 300
_MOST_GUESSES = 20
"""Unknown names for which a near one is looked for: each costs some milliseconds."""
_ALWAYS_READ_ONLY = {CRM_UID, MERGED_IDS, "hs_object_id", "createdate"}

Definitions = Mapping[str, Property]


def _fetch(client: HubSpotClient, object_type: str) -> list[dict[str, Any]]:
    found = hubspot_properties.list_properties(client, OBJECT_TYPES[object_type])
    return [asdict(each) for each in found]


_sets = FetchedSets(table=PropertySet, column=PropertySet.properties, life=LIFE, fetch=_fetch)


def refresh_stale_schemas() -> None:
    """Fetch the property definitions of all connected portals that have outlived their life."""
    _sets.refresh_stale(OBJECT_TYPES)


def list_mirrored(portal_id: int, object_type: ObjectType) -> list[str]:
    """The properties that are read from HubSpot into the mirror.

    Those that the registry declares and, once the portal's definitions were fetched, all that a
    person could edit.
    """
    editable = [
        each.name
        for each in _find_definitions(portal_id, object_type).values()
        if not (each.hidden or each.read_only or each.calculated)
    ]
    return list(dict.fromkeys([*_declared(object_type), *editable]))


def check_properties(
    portal_id: int, object_type: ObjectType, given: Mapping[str, Any]
) -> dict[str, str]:
    """What a caller gives for a record's properties, by HubSpot's names, as HubSpot's strings.

    Raises:
        InvalidInputError: names every wrong field.
    """
    return find_schema(portal_id, object_type).check({"": given})


def find_schema(portal_id: int, object_type: ObjectType) -> "Schema":
    """The schema of a type's records as last fetched; never asks HubSpot."""
    return Schema(
        object_type,
        _find_definitions(portal_id, object_type),
        pipelines.find_pipelines(portal_id, object_type.name)
        if object_type.stage_property
        else None,
    )


@dataclass
class Schema:
    """The schema of a type's records, for as many records as a request brings.

    Without definitions, as long as they were never fetched, HubSpot will be the judge.
    """

    object_type: ObjectType
    definitions: Definitions
    pipelines: Pipelines | None
    _by_squeezed: Mapping[str, list[str]] = field(init=False)
    _guesses: int = 0

    def __post_init__(self) -> None:
        """Note how each name reads without its underscores."""
        by_squeezed: dict[str, list[str]] = {}
        for name in self.definitions or _declared(self.object_type):
            by_squeezed.setdefault(_squeezed(name), []).append(name)
        self._by_squeezed = by_squeezed

    def check(self, groups: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Properties given in several places, by the dotted path of each place.

        Raises:
            InvalidInputError: names every wrong field by its path.
        """
        checked: dict[str, str] = {}
        paths: dict[str, str] = {}
        problems: dict[str, str] = {}
        for place, given in groups.items():
            for wire_name, value in given.items():
                path = f"{place}.{wire_name}" if place else wire_name
                try:
                    name = self._resolve(wire_name)
                    if name in paths:
                        raise ValueProblem(f"Given twice, also as {paths[name]}")
                    paths[name] = path
                    checked[name] = self._value(name, value)
                except ValueProblem as problem:
                    problems[_spelt(path)] = str(problem)
        problems |= self._stage_problems(checked, paths)
        if problems:
            raise InvalidInputError(errors=problems)
        return checked

    def _resolve(self, wire_name: str) -> str:
        name = self.object_type.property_for(wire_name)
        if name in self.definitions:
            return name
        alike = self._by_squeezed.get(_squeezed(name), [])
        if len(alike) == 1:
            return alike[0]
        if self.definitions or not _is_plausible(name):
            raise ValueProblem(self._unknown(name))
        return name

    def _unknown(self, name: str) -> str:
        sentence = f"Unknown property of {self.object_type.name}."
        self._guesses += 1
        if self._guesses > _MOST_GUESSES or len(name) > _LONGEST_NAME:
            return sentence
        near = get_close_matches(name.lower(), list(self.definitions), n=1)
        return f"{sentence} Did you mean {near[0]}?" if near else sentence

    def _value(self, name: str, value: Any) -> str:
        definition = self.definitions.get(name)
        is_read_only = definition and (definition.read_only or definition.calculated)
        if is_read_only or name in _ALWAYS_READ_ONLY | {self.object_type.modified_property}:
            raise ValueProblem("Read-only in HubSpot.")
        if name == "email" and self.object_type is CONTACTS:
            return as_email(value)
        return as_hubspot_writes(definition, value)

    def _stage_problems(
        self, checked: Mapping[str, str], paths: Mapping[str, str]
    ) -> dict[str, str]:
        if not checked.get(self.object_type.stage_property or ""):
            return {}  # HubSpot knows what a record without one needs.
        found = pipelines.check_stage(self.pipelines, self.object_type, checked, "")
        return {
            paths[self.object_type.property_for(wire_name)]: sentence
            for wire_name, sentence in found.items()
        }


def _declared(object_type: ObjectType) -> list[str]:
    names = [
        *map(object_type.property_for, (*object_type.answer, *object_type.filters)),
        object_type.id_property,
        object_type.modified_property,
        "createdate",
        CRM_UID,
        MERGED_IDS,
    ]
    return list(dict.fromkeys(names))


def _find_definitions(portal_id: int, object_type: ObjectType) -> Definitions:
    fetched_at = db.session.scalar(
        select(PropertySet.fetched_at).where(
            PropertySet.portal_id == portal_id, PropertySet.object_type == object_type.name
        )
    )
    return _read(portal_id, object_type.name, fetched_at) if fetched_at else {}


@lru_cache(maxsize=64)
def _read(portal_id: int, object_type: str, _fetched_at: datetime) -> Definitions:
    """The definitions of one fetching, some hundreds: read once by each process."""
    return {
        each["name"]: Property(
            **each | {"options": tuple(Option(**option) for option in each["options"])}
        )
        for each in _sets.find(portal_id, object_type) or ()
    }


def _squeezed(name: str) -> str:
    return name.replace("_", "").lower()


def _is_plausible(name: str) -> bool:
    return name.isascii() and name.replace("_", "").isalnum() and len(name) <= _LONGEST_NAME


def _spelt(path: str) -> str:
    # A field may have any name that JSON can spell, broken Unicode too.
    return path.encode("utf-8", "backslashreplace").decode()[:_LONGEST_PATH]
