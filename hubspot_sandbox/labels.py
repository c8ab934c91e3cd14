"""Association labels: HubSpot's own, and those that a portal adds.

Source: HubSpot docs, associations schema guide. A label of one's own has a type id in each
direction, with the same text or, when it is a pair, with the text of its other side.
"""

import re
from dataclasses import replace
from typing import Final

from hubspot_sandbox.associations import drop_type
from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import invalid, resource_not_found
from hubspot_sandbox.payload import as_object, find_text, text_field, whole_number
from hubspot_sandbox.schema import AssociationType, ObjectType

USER_DEFINED: Final = "USER_DEFINED"
# Unverified: HubSpot's guides have named 10 and 50 for the dearest subscription.
MAX_LABELS: Final = 50
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_MAX_LABEL_LENGTH: Final = 100


def list_labels(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Return the association types of a direction."""
    types = call.portal.setup.types_between(from_type, to_type)
    return Answer({"results": [each.render() for each in types]})


def create_label(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Define a label and return its type ids, this direction's first."""
    item = as_object(call.json())
    name, label = text_field(item, "name"), _text(text_field(item, "label"))
    inverse_label = find_text(item, "inverseLabel")
    if not _NAME.fullmatch(name):
        raise invalid(f"The name {name} must start with a letter and hold no blanks or hyphens")
    setup = call.portal.setup
    present = setup.types_between(from_type, to_type)
    if not present:
        raise invalid(f"No association types exist between {from_type.name} and {to_type.name}")
    if sum(each.category == USER_DEFINED for each in present) >= MAX_LABELS:
        raise invalid(f"There can be at most {MAX_LABELS} labels between two object types")
    either_way = [*present, *setup.types_between(to_type, from_type)]
    if any(each.label in (label, inverse_label) for each in either_way if each.label):
        raise invalid(f"There is a label {label} or {inverse_label} between these types already")
    if any(each.name == name for each in either_way):
        raise invalid(f"There is a label with the name {name} already")
    created = _declare(call, (from_type, to_type), name, label, inverse_label)
    for each in created:
        setup.put_type(each)
    return Answer({"results": [each.render() for each in created]})


def update_label(call: Call, from_type: ObjectType, to_type: ObjectType) -> Answer:
    """Change the text of a label, and with ``inverseLabel`` of its other side: 204."""
    item = as_object(call.json())
    setup = call.portal.setup
    declared = _get_own(call, from_type, to_type, text_field(item, "associationTypeId"))
    label, inverse_label = _text(text_field(item, "label")), find_text(item, "inverseLabel")
    inverse = setup.association_types[declared.inverse_id]
    if inverse_label is None and inverse.label == declared.label:
        inverse_label = label
    setup.put_type(replace(declared, label=label))
    if inverse_label is not None and inverse != declared:
        setup.put_type(replace(inverse, label=_text(inverse_label)))
    return Answer(status=204)


def delete_label(call: Call, from_type: ObjectType, to_type: ObjectType, type_id: str) -> Answer:
    """Remove a label, which the records that have it lose but stay associated: 204."""
    declared = _get_own(call, from_type, to_type, type_id)
    drop_type(call.portal, declared)
    for each in {declared.type_id, declared.inverse_id}:
        call.portal.setup.remove_type(call.portal.setup.association_types[each])
    return Answer(status=204)


def _declare(
    call: Call,
    ends: tuple[ObjectType, ObjectType],
    name: str,
    label: str,
    inverse_label: str | None,
) -> list[AssociationType]:
    """Return both directions of a new label; within one type it may be its own inverse."""
    here, there = ends
    type_id = call.portal.setup.take_label_id()
    symmetric = here is there and inverse_label is None
    inverse_id = type_id if symmetric else call.portal.setup.take_label_id()
    one = AssociationType(
        type_id, inverse_id, here.name, there.name, name, label, category=USER_DEFINED
    )
    if symmetric:
        return [one]
    other_label = label if inverse_label is None else _text(inverse_label)
    return [
        one,
        AssociationType(
            inverse_id, type_id, there.name, here.name, name, other_label, category=USER_DEFINED
        ),
    ]


def _get_own(
    call: Call, from_type: ObjectType, to_type: ObjectType, type_id: str
) -> AssociationType:
    found = call.portal.setup.association_types.get(whole_number(type_id) or 0)
    if found is None or (found.from_type, found.to_type) != (from_type.name, to_type.name):
        raise resource_not_found()
    if found.category != USER_DEFINED:
        raise invalid(f"The association type {type_id} is HubSpot's own and cannot be changed")
    return found


def _text(label: str) -> str:
    if not 1 <= len(label.strip()) <= _MAX_LABEL_LENGTH:
        raise invalid(f"A label must have 1 to {_MAX_LABEL_LENGTH} characters")
    return label


_LABELS = "/<from_type>/<to_type>/labels"

ROUTES = (
    Route("associations", "GET", _LABELS, list_labels),
    Route("associations", "POST", _LABELS, create_label),
    Route("associations", "PUT", _LABELS, update_label),
    Route("associations", "DELETE", _LABELS + "/<type_id>", delete_label),
)
