"""The vocabulary of a CRM schema: properties, pipelines, object types and association types.

Only the shapes live here, with how HubSpot spells each as JSON. What HubSpot ships with is in
``stock_properties`` and ``object_types``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from hubspot_sandbox.clock import iso

Values: TypeAlias = Mapping[str, str]

NON_SENSITIVE: Final = "non_sensitive"
FIELD_TYPES = {
    "string": frozenset({"text", "textarea", "phonenumber", "file", "html"}),
    "number": frozenset({"number", "calculation_equation"}),
    "bool": frozenset({"booleancheckbox", "calculation_equation"}),
    "date": frozenset({"date"}),
    "datetime": frozenset({"date"}),
    "enumeration": frozenset({"select", "radio", "checkbox", "booleancheckbox"}),
    "phone_number": frozenset({"phonenumber"}),
}


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of an enumeration; ``value`` is what records hold."""

    value: str
    label: str
    display_order: int = -1
    hidden: bool = False
    description: str = ""

    def render(self) -> dict[str, Any]:
        """Return the option as HubSpot's JSON."""
        return {
            "value": self.value,
            "label": self.label,
            "displayOrder": self.display_order,
            "hidden": self.hidden,
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class Property:
    """The definition of one property of an object type.

    ``type`` decides how values are checked, never ``field_type``: a datetime also has the field
    type ``date``.
    """

    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    group: str = ""
    description: str = ""
    options: tuple[Option, ...] = ()
    unique: bool = False
    read_only: bool = False
    calculated: bool = False
    hubspot_defined: bool = True
    hidden: bool = False
    form_field: bool = False
    display_order: int = -1
    referenced_object_type: str | None = None
    data_sensitivity: str = NON_SENSITIVE
    archived: bool = False
    created_at: int = 0
    updated_at: int = 0

    @property
    def is_sensitive(self) -> bool:
        """Whether its values are kept from those who may not see sensitive data."""
        return self.data_sensitivity != NON_SENSITIVE

    @property
    def multiple(self) -> bool:
        """Whether a value may hold several options, separated by semicolons."""
        return self.type == "enumeration" and self.field_type == "checkbox"

    def render(self) -> dict[str, Any]:
        """Return the definition as HubSpot's JSON."""
        shape: dict[str, Any] = {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field_type,
            "groupName": self.group,
            "description": self.description,
            "options": [option.render() for option in self.options],
            "displayOrder": self.display_order,
            "calculated": self.calculated,
            "externalOptions": self.referenced_object_type is not None,
            "hasUniqueValue": self.unique,
            "hidden": self.hidden,
            "hubspotDefined": self.hubspot_defined,
            "formField": self.form_field,
            "dataSensitivity": self.data_sensitivity,
            "archived": self.archived,
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.updated_at),
            "modificationMetadata": {
                "archivable": not self.hubspot_defined,
                "readOnlyDefinition": self.hubspot_defined,
                "readOnlyValue": self.read_only,
            },
        }
        if self.archived:
            shape["archivedAt"] = iso(self.updated_at)
        if self.referenced_object_type:
            shape["referencedObjectType"] = self.referenced_object_type
        return shape


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline; metadata values are strings, numbers and booleans too."""

    id: str
    label: str
    metadata: Mapping[str, str]
    display_order: int = 0
    created_at: int = 0
    updated_at: int = 0

    def render(self) -> dict[str, Any]:
        """Return the stage as HubSpot's JSON; stock stages are as old as 1970."""
        return {
            "id": self.id,
            "label": self.label,
            "displayOrder": self.display_order,
            "metadata": dict(self.metadata),
            "archived": False,
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.updated_at),
            "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
        }


@dataclass(frozen=True, slots=True)
class Pipeline:
    """An ordered set of stages; a stage id is unique within it only."""

    id: str
    label: str
    stages: tuple[Stage, ...]
    display_order: int = 0
    created_at: int = 0
    updated_at: int = 0

    def find_stage(self, stage_id: str) -> Stage | None:
        """Return the stage with that id, or None."""
        return next((stage for stage in self.stages if stage.id == stage_id), None)

    def render(self) -> dict[str, Any]:
        """Return the pipeline with its stages as HubSpot's JSON."""
        return {
            "id": self.id,
            "label": self.label,
            "displayOrder": self.display_order,
            "stages": [stage.render() for stage in in_display_order(self.stages)],
            "archived": False,
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.updated_at),
        }


Placed = TypeVar("Placed", Stage, Pipeline)


def in_display_order(items: Iterable[Placed]) -> list[Placed]:
    """Return pipelines or stages as HubSpot lists them: those of the same order by label."""
    return sorted(items, key=lambda each: (each.display_order, each.label))


@dataclass(frozen=True, slots=True)
class PipelineRule:
    """Which properties of an object type hold its pipeline and stage.

    ``derived`` names read-only properties whose value follows from the stage's metadata.
    """

    pipeline: str
    stage: str
    derived: Mapping[str, Callable[[Mapping[str, str]], str]]


@dataclass(frozen=True, slots=True)
class ConditionalRule:
    """Makes a property required while another one has one of some values."""

    name: str
    when: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriteRules:
    """What an admin of a portal asks of writes to an object type.

    ``required`` are the properties without which nobody may create a record, ``letters_only``
    those that hold letters and nothing else; ``may_associate`` says whether the portal's people
    may edit its associations.
    """

    required: tuple[str, ...] = ()
    letters_only: tuple[str, ...] = ()
    conditional: tuple[ConditionalRule, ...] = ()
    may_associate: bool = True


@dataclass(frozen=True, slots=True)
class PropertyGroup:
    """What properties of an object type stand under in HubSpot's user interface."""

    name: str
    label: str
    display_order: int = -1

    def render(self) -> dict[str, Any]:
        """Return the group as HubSpot's JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "displayOrder": self.display_order,
            "archived": False,
        }


@dataclass(frozen=True, slots=True)
class PipelineChange:
    """One entry of the audit of a pipeline or stage; ``shape`` is its JSON after the change.

    ``action`` is CREATE, UPDATE or DELETE, ``path`` the ids that lead to it: the pipeline's,
    and the stage's for a stage.
    """

    object_type: str
    path: str
    action: str
    at: int
    user_id: int | None
    shape: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One CRM object type, declared whole.

    ``required_any`` and ``required_all`` are the properties that a new record must have,
    ``defaults`` what it holds when it was not given; ``forward_only`` an enumeration that never
    moves back; ``computed`` read-only properties that follow from the record's own; ``email`` and
    ``more_emails`` the properties whose addresses are unique among all records of the type.
    """

    name: str
    type_id: str
    singular: str
    modified_property: str
    properties: tuple[Property, ...]
    default_properties: tuple[str, ...]
    searchable: tuple[str, ...]
    required_any: tuple[str, ...] = ()
    required_all: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    email: str | None = None
    more_emails: str | None = None
    forward_only: str | None = None
    pipeline_rule: PipelineRule | None = None
    pipelines: tuple[Pipeline, ...] = ()
    computed: Mapping[str, Callable[[Values], str | None]] | None = None
    association_key: str | None = None

    @property
    def system_properties(self) -> tuple[str, str, str]:
        """The three properties that every answer holds, asked for or not."""
        return ("hs_object_id", "createdate", self.modified_property)


@dataclass(frozen=True, slots=True)
class AssociationType:
    """One direction of an association type.

    ``name`` is how inline associations of the objects API call it. ``primary`` marks the type of
    which a record on the ``exclusive`` side may have one only. ``inverse_id`` is the same
    association seen from the other side.
    """

    type_id: int
    inverse_id: int
    from_type: str
    to_type: str
    name: str
    label: str | None = None
    primary: bool = False
    exclusive: bool = False
    category: str = "HUBSPOT_DEFINED"

    def render(self) -> dict[str, Any]:
        """Return the type as the associations API's JSON."""
        return {"category": self.category, "typeId": self.type_id, "label": self.label}
