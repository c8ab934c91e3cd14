"""What version 2026-09 began to ask of writes: an admin's rules, and dates that it sets right.

Source: HubSpot changelog, "CRM API write validation enforcement". The older versions know none
of it, save for letters only, which ``validation`` checks. Which of several refusals comes first
is unverified: here these rules come before the values are checked one by one.
"""

from typing import Any, Final, TypeAlias

from hubspot_sandbox.calls import Call
from hubspot_sandbox.clock import DAY_MS, is_full_date, iso, parse_moment
from hubspot_sandbox.errors import VALIDATION, HubSpotError, invalid
from hubspot_sandbox.payload import JSONObject, find_text, object_list, text_field, text_list
from hubspot_sandbox.schema import ConditionalRule, ObjectType, Values, WriteRules
from hubspot_sandbox.store import Portal
from hubspot_sandbox.tables import Record

SINCE: Final = "2026-09"
# A number below is taken for seconds: as milliseconds it would be a day before 1973.
_SECONDS_BELOW: Final = 100_000_000_000

Warnings: TypeAlias = list[dict[str, Any]]


def govern_write(
    call: Call, object_type: ObjectType, values: Values, record: Record | None = None
) -> tuple[dict[str, str], Warnings]:
    """Return the values to write and warnings about those that were set right.

    ``record`` is the one to be updated, None on create. Raises 400 with everything that the
    portal's rules miss.
    """
    if not call.is_since(SINCE):
        return dict(values), []
    _check_rules(call.portal, object_type, values, record)
    return _normalize_dates(call.portal, object_type, values)


def check_may_associate(call: Call, *object_types: ObjectType) -> None:
    """Refuse to touch associations in the name of a person who may not edit them."""
    if call.access.user_id is None or not call.is_since(SINCE):
        return
    rules_of = call.portal.setup.write_rules
    if not all(rules_of(each).may_associate for each in object_types):
        raise HubSpotError(400, "Missing 'Edit Associations' permission.", VALIDATION)


def with_warnings(shape: dict[str, Any], warnings: Warnings) -> dict[str, Any]:
    """Return a record's JSON with its warnings, if there are any."""
    return {**shape, "warnings": warnings} if warnings else shape


def read_write_rules(portal: Portal, object_type: ObjectType, body: JSONObject) -> WriteRules:
    """Read the admin API's rules, all of them optional.

    ``{"required": [name], "lettersOnly": [name], "conditional": [{"property", "when", "values"}],
    "mayAssociate": true}``.
    Raises 400 for a property that the type does not have.
    """
    rules = WriteRules(
        required=tuple(text_list(body, "required")),
        letters_only=tuple(text_list(body, "lettersOnly")),
        conditional=tuple(
            ConditionalRule(
                text_field(each, "property"),
                text_field(each, "when"),
                tuple(text_list(each, "values")),
            )
            for each in object_list(body, "conditional")
        ),
        may_associate=find_text(body, "mayAssociate") != "false",
    )
    ends = (name for each in rules.conditional for name in (each.name, each.when))
    names = {*rules.required, *rules.letters_only, *ends}
    unknown = sorted(name for name in names if portal.find_property(object_type, name) is None)
    if unknown:
        raise invalid(f"The object type {object_type.name} has no properties {unknown}")
    return rules


def _check_rules(
    portal: Portal, object_type: ObjectType, values: Values, record: Record | None
) -> None:
    rules = portal.setup.write_rules(object_type)
    merged = {**(record.properties if record else {}), **values}
    required = [] if record else [name for name in rules.required if not merged.get(name)]
    errors = [
        _error("MISSING_REQUIRED_PROPERTY", name, f"A value for {name} must be provided")
        for name in required
    ]
    for rule in rules.conditional:
        # A record that broke the rule before may be changed elsewhere (unverified).
        touched = record is None or rule.name in values or rule.when in values
        if touched and merged.get(rule.when) in rule.values and not merged.get(rule.name):
            message = (
                f"{rule.name} is required because of a conditional property rule "
                f"based on [{rule.when}]"
            )
            errors.append(_error("MISSING_CONDITIONAL_REQUIRED_PROPERTY", rule.name, message))
    if errors:
        message = "The property values provided are invalid"
        raise HubSpotError(400, message, VALIDATION, errors=errors)


def _error(code: str, name: str, message: str) -> dict[str, Any]:
    return {"message": message, "code": code, "context": {"propertyName": [name]}}


def _normalize_dates(
    portal: Portal, object_type: ObjectType, values: Values
) -> tuple[dict[str, str], Warnings]:
    """Set right the dates that older versions refuse: moments within a day, and seconds."""
    normalized, warnings = dict(values), []
    for name, value in values.items():
        definition = portal.find_property(object_type, name)
        if definition is None or definition.type != "date":
            continue
        date = _normal_date(value)
        if date is not None:
            normalized[name] = date
            warnings.append(_warning(name, value, date))
    return normalized, warnings


def _normal_date(value: str) -> str | None:
    """Return the day of a moment that is no date by itself; None for a date or for nonsense."""
    moment = parse_moment(value)
    if moment is None or is_full_date(value) or (value.isdigit() and moment % DAY_MS == 0):
        return None
    if value.isdigit() and moment < _SECONDS_BELOW:
        return iso(moment * 1000)[:10]
    return iso(moment)[:10]


def _warning(name: str, raw: str, normalized: str) -> dict[str, Any]:
    return {
        "category": "PROPERTY_VALUE_NORMALIZED",
        "message": f"{name} was normalized",
        "context": {"propertyName": [name], "rawValue": [raw], "normalizedValue": [normalized]},
    }
