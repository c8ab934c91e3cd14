"""The rules of associations: which types fit, what implies what, one primary, one deal a line item.

Source: HubSpot docs, associate records guide. Type ids are directed: 341 is deal to company,
342 company to deal. A labelled association always stands beside the unlabelled one.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

from hubspot_sandbox.errors import NOT_FOUND, HubSpotError, invalid
from hubspot_sandbox.object_types import OBJECT_TYPES, types_between
from hubspot_sandbox.payload import (
    JSONObject,
    as_object,
    as_text,
    object_list,
    text_field,
    whole_number,
)
from hubspot_sandbox.schema import AssociationType, ObjectType
from hubspot_sandbox.store import Portal
from hubspot_sandbox.tables import Record, Ref, TypeIds


def unlabelled_type(from_type: ObjectType, to_type: ObjectType) -> AssociationType:
    """Return the default type of a direction; raise 400 when the types cannot be associated."""
    found = types_between(from_type, to_type)
    if not found:
        raise invalid(f"No association types exist between {from_type.name} and {to_type.name}")
    return found[0]


def read_types(
    portal: Portal,
    specs: Sequence[JSONObject],
    from_type: ObjectType,
    to_type: ObjectType | None = None,
) -> list[AssociationType]:
    """Return the association types that a request names.

    Raises 400 when none is given, one is unknown, or one belongs to another direction.
    """
    if not specs:
        raise invalid("At least one association type must be given")
    return [_read_type(portal, spec, from_type, to_type) for spec in specs]


def associate(portal: Portal, source: Ref, target: Ref, types: Sequence[AssociationType]) -> None:
    """Add types between two live records, in both directions, with all that they imply."""
    if source == target:
        raise invalid("A record cannot be associated with itself")
    unlabelled = unlabelled_type(OBJECT_TYPES[source.object_type], OBJECT_TYPES[target.object_type])
    for each in (unlabelled, *types):
        _check_one_to_one(portal, source, target, each)
        if each.primary:
            _drop_other_primary(portal, source, target, each)
        _add(portal, source, target, each.type_id)
        _add(portal, target, source, each.inverse_id)


def replace_types(
    portal: Portal, source: Ref, target: Ref, types: Sequence[AssociationType]
) -> None:
    """Make the given types the only ones between two records, the unlabelled one apart."""
    present = portal.links.targets(source, target.object_type).get(target.id, ())
    for each in type_ids_to_types(portal, present):
        if each.label is not None and each not in types:
            _drop(portal, source, target, each)
    associate(portal, source, target, types)


def dissociate(portal: Portal, source: Ref, target: Ref) -> None:
    """Remove every type between two records, in both directions."""
    portal.links.put(source, target, ())
    portal.links.put(target, source, ())


def remove_types(
    portal: Portal, source: Ref, target: Ref, types: Sequence[AssociationType]
) -> None:
    """Remove types between two records; without the unlabelled one none can stay."""
    for each in types:
        if each.label is None:
            dissociate(portal, source, target)
        else:
            _drop(portal, source, target, each)


def remove_associations(portal: Portal, source: Ref) -> None:
    """Remove everything that a record is associated with."""
    for target in portal.links.all_targets(source):
        dissociate(portal, source, target)


def move_associations(portal: Portal, gone: Ref, survivor: Ref) -> None:
    """Give all associations of a merged record to its survivor, whose own exclusive ones win."""
    for target, type_ids in portal.links.all_targets(gone).items():
        dissociate(portal, gone, target)
        if target == survivor:
            continue
        for each in type_ids_to_types(portal, type_ids):
            if not (each.exclusive and _has_type(portal, survivor, target, each)):
                _add(portal, survivor, target, each.type_id)
                _add(portal, target, survivor, each.inverse_id)


def drop_type(portal: Portal, each: AssociationType) -> None:
    """Remove a labelled type wherever it stands; the records stay associated."""
    for source in portal.links.sources(each.from_type, each.to_type):
        for target, type_ids in list(portal.links.targets(source, each.to_type).items()):
            if each.type_id in type_ids:
                _drop(portal, source, Ref(each.to_type, target), each)


def live_targets(
    portal: Portal, source: Ref, to_type: ObjectType
) -> list[tuple[int, tuple[int, ...]]]:
    """Return the associated records that are not archived, by id, with their type ids."""
    table = portal.table(to_type)
    targets = portal.links.targets(source, to_type.name)
    return sorted((each, ids) for each, ids in targets.items() if table.find(each))


def type_ids_to_types(portal: Portal, type_ids: Sequence[int]) -> list[AssociationType]:
    """Return the declarations of type ids, the unlabelled one first."""
    found = [portal.setup.association_types[each] for each in type_ids]
    return sorted(found, key=lambda each: (each.label is not None, each.type_id))


def associate_inline(
    portal: Portal, object_type: ObjectType, record: Record, item: JSONObject
) -> list[ObjectType]:
    """Create the ``associations`` that came with a new record; return the types of their targets.

    Raises HubSpot's 400 for a type of another direction and for targets that do not exist.
    """
    wanted = []
    for each in object_list(item, "associations"):
        types = read_types(portal, object_list(each, "types"), object_type)
        target_id = text_field(as_object(each.get("to")), "id")
        wanted += [(OBJECT_TYPES[one.to_type], target_id, one) for one in types]
    missing = [
        (to_type, target_id)
        for to_type, target_id, _ in wanted
        if _find_ref(portal, to_type, target_id) is None
    ]
    if missing:
        raise invalid_targets(missing)
    source = Ref(object_type.name, record.id)
    for to_type, target_id, one in wanted:
        associate(portal, source, get_ref(portal, to_type, target_id), [one])
    return [to_type for to_type, _, _ in wanted]


def invalid_targets(missing: Sequence[tuple[ObjectType, str]]) -> HubSpotError:
    """Make the 400 for associations to records that do not exist."""
    return invalid(
        "One or more associations are invalid",
        INVALID_OBJECT_IDS=[f"{each.singular.upper()}={key} is not valid" for each, key in missing],
        objectId=[key for _, key in missing],
        objectType=[each.singular.upper() for each, _ in missing],
    )


def get_ref(portal: Portal, object_type: ObjectType, key: str) -> Ref:
    """Return the reference to a live record; raise 404 OBJECT_NOT_FOUND."""
    found = _find_ref(portal, object_type, key)
    if found is None:
        message = f"{object_type.singular.upper()} with id {key} could not be found"
        raise HubSpotError(404, message, NOT_FOUND, context={"id": [key]})
    return found


def inline_renderer(
    portal: Portal, object_type: ObjectType, to_type: ObjectType
) -> Callable[[Record], list[dict[str, str]]]:
    """Return what spells a record's associations in the objects API's v3 style.

    There is one row per type, by the id of the associated record.
    """
    targets_of = portal.links.between(object_type.name, to_type.name)
    records = portal.table(to_type).records

    @cache
    def names_of(type_ids: TypeIds) -> tuple[str, ...]:
        return tuple(each.name for each in type_ids_to_types(portal, type_ids))

    def render(record: Record) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = []
        targets = targets_of.get(record.id, {})
        for target in sorted(targets) if len(targets) > 1 else targets:
            found = records.get(target)
            if found and found.archived_at is None:
                rows += _rows(target, names_of(targets[target]))
        return rows

    return render


# A company of many deals is spelled once for all of them.
@lru_cache(maxsize=65_536)
def _rows(target: int, names: tuple[str, ...]) -> tuple[dict[str, str], ...]:
    return tuple({"id": str(target), "type": name} for name in names)


def _find_ref(portal: Portal, object_type: ObjectType, key: str) -> Ref | None:
    record_id = whole_number(key)
    if record_id is None or portal.table(object_type).find(record_id) is None:
        return None
    return Ref(object_type.name, record_id)


def _read_type(
    portal: Portal, spec: JSONObject, from_type: ObjectType, to_type: ObjectType | None
) -> AssociationType:
    type_id = text_field(spec, "associationTypeId")
    category = as_text(spec.get("associationCategory", ""))
    found = portal.setup.association_types.get(whole_number(type_id) or 0)
    if found is None or found.category != category:
        raise invalid(f"Association type {category} {type_id} does not exist")
    expected = OBJECT_TYPES[found.from_type]
    if expected is not from_type:
        raise invalid(
            f"invalid from object type {from_type.type_id} for associations to be created. "
            f"expected: {expected.type_id}"
        )
    if to_type and found.to_type != to_type.name:
        raise invalid(
            f"invalid to object type {to_type.type_id} for associations to be created. "
            f"expected: {OBJECT_TYPES[found.to_type].type_id}"
        )
    return found


def _check_one_to_one(portal: Portal, source: Ref, target: Ref, each: AssociationType) -> None:
    """Refuse a second partner on the side of a type that may have one only and is no primary."""
    for one, other, declared in (
        (source, target, each),
        (target, source, portal.setup.association_types[each.inverse_id]),
    ):
        if not declared.exclusive or declared.primary:
            continue
        partners = live_targets(portal, one, OBJECT_TYPES[other.object_type])
        others = [
            str(partner)
            for partner, type_ids in partners
            if partner != other.id and declared.type_id in type_ids
        ]
        if others:
            ids = ", ".join([*others, str(other.id)])
            raise invalid(
                f"cannot pass multiple to object ids: [{ids}] for one to one association type "
                f"{declared.category}-{declared.type_id}"
            )


def _drop_other_primary(portal: Portal, source: Ref, target: Ref, each: AssociationType) -> None:
    """Take the primary label from the exclusive side's other partners; they stay associated."""
    if not each.exclusive:
        source, target, each = target, source, portal.setup.association_types[each.inverse_id]
    for partner, type_ids in list(portal.links.targets(source, target.object_type).items()):
        if each.type_id in type_ids and partner != target.id:
            _drop(portal, source, Ref(target.object_type, partner), each)


def _has_type(portal: Portal, source: Ref, target: Ref, each: AssociationType) -> bool:
    """Say whether a record has an association of that type already, whoever is the target."""
    present = portal.links.targets(source, target.object_type).values()
    return any(each.type_id in type_ids for type_ids in present)


def _add(portal: Portal, source: Ref, target: Ref, type_id: int) -> None:
    present = portal.links.targets(source, target.object_type).get(target.id, ())
    if type_id not in present:
        portal.links.put(source, target, (*present, type_id))


def _drop(portal: Portal, source: Ref, target: Ref, each: AssociationType) -> None:
    """Remove one labelled type in both directions."""
    for one, other, type_id in ((source, target, each.type_id), (target, source, each.inverse_id)):
        present = portal.links.targets(one, other.object_type).get(other.id, ())
        portal.links.put(one, other, tuple(kept for kept in present if kept != type_id))


def render_pair(source: Ref, target: Ref, types: Sequence[AssociationType]) -> dict[str, Any]:
    """Return a created association as the associations API's JSON, ids as numbers."""
    return {
        "fromObjectTypeId": OBJECT_TYPES[source.object_type].type_id,
        "fromObjectId": source.id,
        "toObjectTypeId": OBJECT_TYPES[target.object_type].type_id,
        "toObjectId": target.id,
        "labels": [each.label for each in types if each.label],
    }
