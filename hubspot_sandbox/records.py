"""The rules of one record: finding, creating, updating, archiving it, and spelling it as JSON.

Every function expects the portal's lock and a transaction around it; what raises leaves changes
that the transaction takes back.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hubspot_sandbox.clock import DAY_MS, iso
from hubspot_sandbox.errors import HubSpotError, id_not_numeric, invalid, resource_not_found
from hubspot_sandbox.events import RESTORE, Actor, Event
from hubspot_sandbox.payload import whole_number
from hubspot_sandbox.schema import ObjectType, Values
from hubspot_sandbox.store import Portal
from hubspot_sandbox.tables import Record
from hubspot_sandbox.validation import check_required, check_unique, check_values, normal_email

RECORD_ID = "hs_object_id"
_DAYS_IN_RECYCLE_BIN = 90
_USER = "userId:"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which properties an answer holds; ``names`` None means every property that is set."""

    names: Sequence[str] | None = None
    history: Sequence[str] = ()


def select(object_type: ObjectType, names: Sequence[str], history: Sequence[str] = ()) -> Selection:
    """Make the selection of a read: the names asked for, or the type's default set."""
    return Selection(names or object_type.default_properties, history)


def find_record(
    portal: Portal,
    object_type: ObjectType,
    key: str,
    id_property: str | None = None,
    *,
    archived: bool = False,
) -> Record | None:
    """Return the record with that id, or that value of a unique property; None if absent.

    It must be live, or archived when that is asked for; archived ones are known by id only.
    Raises 400 when the property is not unique and 404 when it does not exist, as HubSpot does
    for ``idProperty``. The id of a record that was merged away finds nothing, as in HubSpot's
    batches (source: live observations of batch/update; batch/read and batch/archive are assumed
    to be alike).
    """
    table = portal.table(object_type)
    if id_property in (None, "", RECORD_ID):
        record_id = whole_number(key)
        return None if record_id is None else table.find(record_id, archived=archived)
    check_id_property(portal, object_type, id_property)
    found = table.find_by_value(id_property, normal_key(object_type, key, id_property))
    return None if archived else found


def get_record(
    portal: Portal,
    object_type: ObjectType,
    key: str,
    id_property: str | None = None,
    *,
    archived: bool = False,
) -> Record:
    """Return what `find_record` does; raise HubSpot's 404 for a record that is not there.

    Other than in batches, the id of a record that was merged away leads to what it became.
    Source: live observations of GET and PATCH by old ids.
    """
    if not id_property and whole_number(key) is None:
        raise id_not_numeric(key)
    record = find_record(portal, object_type, key, id_property, archived=archived)
    if record is None and id_property in (None, RECORD_ID) and not archived:
        record = portal.table(object_type).find_survivor(whole_number(key) or 0)
    if record is None:
        raise resource_not_found()
    return record


def check_id_property(portal: Portal, object_type: ObjectType, name: str) -> None:
    """Refuse an ``idProperty`` that cannot identify a record of the type."""
    definition = portal.find_property(object_type, name)
    if definition is None:
        raise resource_not_found()
    if not definition.unique and name != object_type.email:
        raise invalid(
            f"Unable to perform update/upsert by non-unique {object_type.type_id} property {name}"
        )


def normal_key(object_type: ObjectType, key: str, id_property: str | None) -> str:
    """Return a key as it is compared: e-mail addresses in lower case."""
    is_email = id_property is not None and id_property == object_type.email
    return normal_email(key) if is_email else key


def create_record(
    portal: Portal, object_type: ObjectType, values: Values, *, moment: int | None = None
) -> Record:
    """Create a record; raise what HubSpot answers when it refuses the values.

    ``moment`` is the time of its creation, by default now.
    """
    given = {name: value for name, value in values.items() if value != ""}
    clean = check_values(portal, object_type, given)
    check_required(object_type, clean)
    _check_emails(portal, object_type, clean, None)
    clean = {**object_type.defaults, **clean}
    rule = object_type.pipeline_rule
    if rule:
        clean.setdefault(rule.pipeline, portal.pipelines[object_type.name][0].id)
    at = portal.clock.now_ms() if moment is None else moment
    properties = with_derived(portal, object_type, {**_source(portal.undo_log.actor), **clean})
    record = Record(portal.take_id(object_type), properties, at, at)
    portal.table(object_type).add(record)
    return record


def update_record(portal: Portal, object_type: ObjectType, record: Record, values: Values) -> None:
    """Write values to a live record; the empty text clears a property.

    The modified date moves with every accepted write, also with one that changes no value.
    """
    if not values:
        raise invalid("No properties found to update, please provide at least one.")
    clean = check_values(portal, object_type, values, record)
    _check_emails(portal, object_type, clean, record)
    _drop_backward_move(portal, object_type, clean, record)
    merged = {**record.properties, **clean}
    properties = {name: value for name, value in merged.items() if value != ""}
    properties = with_derived(portal, object_type, properties)
    portal.table(object_type).change(record, properties, portal.clock.now_ms())


def archive_record(portal: Portal, object_type: ObjectType, record: Record) -> None:
    """Move a live record to the archive."""
    portal.table(object_type).archive(record, portal.clock.now_ms())


def restore_record(portal: Portal, object_type: ObjectType, record: Record) -> None:
    """Bring a record back from the archive, as a person does in HubSpot's recycle bin.

    Raises 404 after the 90 days that it is kept there, and 409 or 400 when another record has
    taken one of its unique values since. Source: HubSpot docs, using object APIs; the refusals
    are unverified.
    """
    now = portal.clock.now_ms()
    if record.archived_at is None or now - record.archived_at > _DAYS_IN_RECYCLE_BIN * DAY_MS:
        raise resource_not_found()
    _check_emails(portal, object_type, record.properties, record)
    check_unique(portal, object_type, record.properties, record)
    portal.table(object_type).restore(record, now)
    portal.undo_log.emit(Event(RESTORE, object_type.name, record.id, now))


def value_of(object_type: ObjectType, record: Record, name: str) -> str | None:
    """Return a record's value of any property, those that the sandbox keeps itself included."""
    if name == RECORD_ID:
        return str(record.id)
    if name == "createdate":
        return iso(record.created_at)
    if name == object_type.modified_property:
        return iso(record.updated_at)
    return record.properties.get(name)


def render_record(
    portal: Portal, object_type: ObjectType, record: Record, selection: Selection
) -> dict[str, Any]:
    """Return a record as HubSpot's JSON.

    A property that is asked for, defined and unset comes as null; an undefined one not at all.
    """
    return renderer(portal, object_type, selection)(record)


def renderer(
    portal: Portal, object_type: ObjectType, selection: Selection
) -> Callable[[Record], dict[str, Any]]:
    """Return `render_record` for many records: what they share is worked out once."""
    defined = portal.properties[object_type.name]

    def shown(names: Iterable[str]) -> list[str]:
        wanted = {*object_type.system_properties, *names}
        return sorted(name for name in wanted if name in defined and not defined[name].archived)

    selected = None if selection.names is None else shown(selection.names)
    history = [name for name in selection.history if name in defined]
    pages = f"https://{portal.ui_domain}/contacts/{portal.id}/record/{object_type.type_id}"

    def render(record: Record) -> dict[str, Any]:
        values = record.properties
        created_at, updated_at = iso(record.created_at), iso(record.updated_at)
        properties: dict[str, str | None] = {
            name: values.get(name) for name in (shown(values) if selected is None else selected)
        }
        properties[RECORD_ID] = record_id = str(record.id)
        properties["createdate"] = created_at
        properties[object_type.modified_property] = updated_at
        shape: dict[str, Any] = {
            "id": record_id,
            "properties": properties,
            "createdAt": created_at,
            "updatedAt": updated_at,
            "archived": record.archived_at is not None,
            "url": f"{pages}/{record_id}",
        }
        if record.archived_at is not None:
            shape["archivedAt"] = iso(record.archived_at)
        if history:
            shape["propertiesWithHistory"] = {
                name: _render_history(record, name) for name in history
            }
        return shape

    return render


def _render_history(record: Record, name: str) -> list[dict[str, Any]]:
    return [
        {"value": value, "timestamp": iso(moment), **_render_actor(actor)}
        for value, moment, actor in record.history(name)
    ]


def _render_actor(actor: Actor) -> dict[str, Any]:
    shape: dict[str, Any] = {"sourceType": actor.source}
    if actor.source_id:
        shape["sourceId"] = actor.source_id
    if actor.source_id.startswith(_USER):
        shape["updatedByUserId"] = int(actor.source_id.removeprefix(_USER))
    return shape


def _source(actor: Actor) -> dict[str, str]:
    """Return what a new record tells of its creation."""
    by_id = {"hs_object_source_id": actor.source_id} if actor.source_id else {}
    return {"hs_object_source": actor.source, "hs_object_source_label": actor.source, **by_id}


def _check_emails(
    portal: Portal, object_type: ObjectType, clean: Values, record: Record | None
) -> None:
    """Refuse an address that another contact has, as its own or as an additional one."""
    names = [name for name in (object_type.email, object_type.more_emails) if name]
    table = portal.table(object_type)
    for address in (part for name in names for part in clean.get(name, "").split(";") if part):
        for holder in (table.find_by_value(name, address) for name in names):
            if holder and holder is not record:
                raise _already_exists(portal, object_type, holder)


def _already_exists(portal: Portal, object_type: ObjectType, holder: Record) -> HubSpotError:
    message = f"{object_type.singular.capitalize()} already exists"
    if portal.settings.conflict_names_id:
        message += f". Existing ID: {holder.id}"
    return HubSpotError(409, message, "CONFLICT")


def _drop_backward_move(
    portal: Portal, object_type: ObjectType, clean: dict[str, str], record: Record
) -> None:
    """Ignore a move against the order of a forward-only enumeration.

    Source: HubSpot docs, contacts guide: the lifecycle stage only moves forward unless it is
    cleared first; a backward move does not stick, and no error is promised.
    """
    name = object_type.forward_only
    if name is None or not clean.get(name) or name not in record.properties:
        return
    order = forward_order(portal, object_type)
    if order.get(clean[name], 0) < order.get(record.properties[name], 0):
        del clean[name]


def forward_order(portal: Portal, object_type: ObjectType) -> dict[str, int]:
    """Return the place of each value of a type's forward-only enumeration; empty without one."""
    definition = portal.properties[object_type.name].get(object_type.forward_only or "")
    options = definition.options if definition else ()
    return {option.value: option.display_order for option in options}


def with_derived(
    portal: Portal, object_type: ObjectType, properties: dict[str, str]
) -> dict[str, str]:
    """Return the properties with those that HubSpot computes from them."""
    derived: dict[str, str | None] = {}
    for name, compute in (object_type.computed or {}).items():
        derived[name] = compute(properties)
    rule = object_type.pipeline_rule
    if rule:
        pipelines = portal.pipelines[object_type.name]
        pipeline = next((p for p in pipelines if p.id == properties.get(rule.pipeline)), None)
        stage = pipeline.find_stage(properties.get(rule.stage, "")) if pipeline else None
        for name, compute in rule.derived.items():
            derived[name] = compute(stage.metadata) if stage else None
    merged = {**properties, **derived}
    return {name: value for name, value in merged.items() if value is not None}
