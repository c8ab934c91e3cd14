"""The filters of a search: operators, and how each kind of property compares.

Source: HubSpot docs, search the CRM. Text compares without regard to case, enumerations with;
IN and NOT_IN compare text with values that must be in lower case already. A record without a
value matches only NOT_HAS_PROPERTY: the negative operators ask for a value that differs.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from fnmatch import translate
from functools import partial
from operator import attrgetter, eq, ge, gt, le, lt, ne
from typing import Any, Final, TypeAlias

from hubspot_sandbox.clock import parse_moment
from hubspot_sandbox.errors import HubSpotError, invalid, invalid_json
from hubspot_sandbox.object_types import get_object_type
from hubspot_sandbox.payload import JSONObject, find_text, text_field, text_list, whole_number
from hubspot_sandbox.phones import local_number, only_digits
from hubspot_sandbox.records import RECORD_ID, value_of
from hubspot_sandbox.schema import ObjectType, Property
from hubspot_sandbox.store import Portal
from hubspot_sandbox.tables import Record, Ref

_ASSOCIATIONS: Final = "associations."
_LISTS: Final = frozenset({"IN", "NOT_IN"})
_VALUELESS: Final = frozenset({"HAS_PROPERTY", "NOT_HAS_PROPERTY"})
_TOKENS: Final = frozenset({"CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"})
PHONE: Final = "phonenumber"
_TOKEN: Final = re.compile(r"\w+")


Filter: TypeAlias = Callable[[Record], bool]
Read: TypeAlias = Callable[[Record], Any]


def comparable(definition: Property, value: str) -> Any:
    """Return a value in a form that orders as HubSpot orders that kind of property.

    None for text that is no value of that kind.
    """
    if definition.type == "number":
        return _finite(value)
    if definition.type in ("date", "datetime"):
        return parse_moment(value)
    return value if definition.type in ("enumeration", "bool") else value.lower()


def reader(object_type: ObjectType, definition: Property) -> Read:
    """Return how to get a record's value of a property, in the form of `comparable`."""
    name = definition.name
    if name in object_type.system_properties:
        return _SYSTEM.get(name, _UPDATED_AT)

    in_index = local_number if definition.field_type == PHONE else str

    def read(record: Record) -> Any:
        text = record.properties.get(name)
        return None if text is None else comparable(definition, in_index(text))

    return read


def read_filter(portal: Portal, object_type: ObjectType, shape: JSONObject) -> Filter:
    """Make a filter of its JSON; raise HubSpot's 400 for what it cannot mean."""
    name = text_field(shape, "propertyName")
    operator = text_field(shape, "operator")
    if name.startswith(_ASSOCIATIONS):
        return _association_filter(portal, object_type, name, shape)
    definition = portal.find_property(object_type, name)
    if definition is None:
        raise invalid(f"There is no property {name} to filter by")
    if operator in _VALUELESS:
        wanted = operator == "HAS_PROPERTY"
        return lambda record: (value_of(object_type, record, name) is not None) is wanted
    if operator in _TOKENS:
        return _token_filter(object_type, definition, shape)
    read, compare = reader(object_type, definition), _comparison(definition, operator, shape)

    def holds(record: Record) -> bool:
        value = read(record)
        return value is not None and compare(value)

    return holds


_SYSTEM: Final[Mapping[str, Read]] = {
    RECORD_ID: attrgetter("id"),
    "createdate": attrgetter("created_at"),
}
_UPDATED_AT: Final[Read] = attrgetter("updated_at")


def _finite(value: str) -> int | Decimal | None:
    # Most numbers are whole, and those compare many times faster.
    whole = whole_number(value)
    if whole is not None:
        return whole
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _comparison(definition: Property, operator: str, shape: JSONObject) -> Callable[[Any], bool]:
    if operator in _LISTS:
        values = _need_values(shape, operator)
        # Text is indexed in lower case, and these values are looked up as they are.
        as_given = definition.type in ("string", "phone_number") and definition.field_type != PHONE
        wanted = {each if as_given else _operand(definition, each) for each in values}
        return lambda value: (value in wanted) is (operator == "IN")
    given = _operand(definition, _need_value(shape, "value", operator))
    if operator == "BETWEEN":
        high = _operand(definition, _need_value(shape, "highValue", operator))
        return lambda value: bool(given <= value <= high)
    comparison = _COMPARISONS.get(operator)
    if comparison is None:
        raise invalid_json(f"{operator} is not an operator")
    return partial(comparison, given)


def _operand(definition: Property, text: str) -> Any:
    if definition.field_type == PHONE:
        return only_digits(text)
    value = comparable(definition, text)
    if value is None:
        raise invalid(f"{text} is not a valid value for the property {definition.name}")
    return value


# The operand of the filter stands first, so that it can be bound.
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "EQ": eq,
    "NEQ": ne,
    "LT": gt,
    "LTE": ge,
    "GT": lt,
    "GTE": le,
}


def _token_filter(object_type: ObjectType, definition: Property, shape: JSONObject) -> Filter:
    """Make the filter of a pattern against whole words; ``*`` stands for any part of one."""
    operator = text_field(shape, "operator")
    name, given = definition.name, _need_value(shape, "value", operator).lower()
    is_phone = definition.field_type == PHONE
    parts = [only_digits(given)] if is_phone else given.split()
    patterns = [_compile(part) for part in parts]
    wanted = operator == "CONTAINS_TOKEN"

    def holds(record: Record) -> bool:
        value = value_of(object_type, record, name)
        if value is None:
            return False
        tokens = {local_number(value)} if is_phone else _tokens(value)
        return all(any(each.match(token) for token in tokens) for each in patterns) is wanted

    return holds


def _compile(part: str) -> re.Pattern[str]:
    # Of the shell's wildcards HubSpot knows the asterisk only.
    return re.compile(translate(part.replace("[", "[[]").replace("?", "[?]")))


def _tokens(value: str) -> set[str]:
    """Return the words of a text: between blanks, and between marks within those."""
    text = value.lower()
    return {*text.split(), *_TOKEN.findall(text)}


def _association_filter(
    portal: Portal, object_type: ObjectType, name: str, shape: JSONObject
) -> Filter:
    """Make the filter of the pseudo property ``associations.{type}``, which knows EQ and IN."""
    to_type = get_object_type(name.removeprefix(_ASSOCIATIONS))
    operator = text_field(shape, "operator")
    if operator == "IN":
        keys = _need_values(shape, operator)
    elif operator == "EQ":
        keys = [_need_value(shape, "value", operator)]
    else:
        raise invalid(f"The operator {operator} does not work for {name}")
    wanted = {whole_number(key) for key in keys}
    table = portal.table(to_type)

    def holds(record: Record) -> bool:
        targets = portal.links.targets(Ref(object_type.name, record.id), to_type.name)
        return any(target in wanted and table.find(target) for target in targets)

    return holds


def _need_value(shape: JSONObject, key: str, operator: str) -> str:
    value = find_text(shape, key)
    if value is None:
        raise _operand_missing(operator, key)
    return value


def _need_values(shape: JSONObject, operator: str) -> list[str]:
    values = text_list(shape, "values")
    if not values:
        raise _operand_missing(operator, "values")
    return values


def _operand_missing(operator: str, key: str) -> HubSpotError:
    return invalid_json(f"operator {operator} requires {key}")
