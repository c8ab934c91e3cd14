"""Checking property values before they are written: every problem of an input in one refusal.

Source: HubSpot docs, error-handling and using object APIs, and real error bodies.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import orjson

from hubspot_sandbox.clock import DAY_MS, is_full_date, iso, parse_moment
from hubspot_sandbox.errors import VALIDATION, HubSpotError
from hubspot_sandbox.schema import ObjectType, PipelineRule, Property, Values
from hubspot_sandbox.store import Portal
from hubspot_sandbox.tables import Record

_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)")
_EMAIL = re.compile(
    r"[^\s@,;<>()\[\]\\\"]+@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])"
)
_MAX_EMAIL_LENGTH = 254


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the value of one property."""

    property_name: str
    code: str
    message: str


class _InvalidValueError(Exception):
    """A value was refused: its arguments are HubSpot's code and message."""


def invalid_properties(portal_id: int, problems: Iterable[Problem]) -> HubSpotError:
    """Make the 400 that lists all problems, as JSON inside the message and as ``errors``."""
    problems = list(problems)
    inside = [
        {
            "isValid": False,
            "message": each.message,
            "error": each.code,
            "name": each.property_name,
            "localizedErrorMessage": each.message,
            "portalId": portal_id,
        }
        for each in problems
    ]
    return HubSpotError(
        400,
        f"Property values were not valid: {orjson.dumps(inside).decode()}",
        VALIDATION,
        errors=[
            {
                "message": each.message,
                "code": each.code,
                "context": {"propertyName": [each.property_name]},
            }
            for each in problems
        ],
    )


def check_values(
    portal: Portal, object_type: ObjectType, values: Values, record: Record | None = None
) -> dict[str, str]:
    """Return the values as HubSpot would store them; ``""`` still means "clear it".

    ``record`` is the one to be updated, None on create. Raises the 400 of
    `invalid_properties` with every problem there is.
    """
    before = record.properties if record else {}
    clean: dict[str, str] = {}
    problems = []
    for name, value in values.items():
        try:
            clean[name] = _check_value(portal, object_type, name, value, before)
        except _InvalidValueError as error:
            problems.append(Problem(name, *error.args))
    problems += _letters_problems(portal, object_type, clean)
    problems += _stage_problems(portal, object_type, {**before, **clean}, clean)
    problems += _unique_problems(portal, object_type, clean, record)
    if problems:
        raise invalid_properties(portal.id, problems)
    return clean


def check_required(object_type: ObjectType, values: Values) -> None:
    """Refuse a new record that lacks what its type requires.

    Source: HubSpot docs, using object APIs; the wording from real answers.
    """
    missing = sorted(name for name in object_type.required_all if not values.get(name))
    if object_type.required_any and not any(values.get(name) for name in object_type.required_any):
        missing += object_type.required_any
    if missing:
        raise HubSpotError(
            400,
            f"Error creating {object_type.singular.upper()}. "
            "Some required properties were not set.",
            VALIDATION,
            context={"properties": missing},
        )


def check_unique(portal: Portal, object_type: ObjectType, values: Values, record: Record) -> None:
    """Refuse unique values of a record that another one holds; raise `invalid_properties`."""
    problems = _unique_problems(portal, object_type, values, record)
    if problems:
        raise invalid_properties(portal.id, problems)


def normal_email(text: str) -> str:
    """Return an address as HubSpot stores and compares it: trimmed and in lower case."""
    return text.strip().lower()


def _check_value(
    portal: Portal, object_type: ObjectType, name: str, value: str, before: Values
) -> str:
    definition = portal.find_property(object_type, name)
    if definition is None:
        raise _InvalidValueError("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
    if definition.read_only:
        message = f'"{name}" is a read only property; its value cannot be set.'
        raise _InvalidValueError("READ_ONLY_VALUE", message)
    if value == "":
        return value
    if name == object_type.email:
        return _check_email(value)
    if name == object_type.more_emails:
        return ";".join(_check_email(part) for part in value.split(";") if part.strip())
    if definition.referenced_object_type == "OWNER":
        return _check_owner(portal, value)
    if definition.multiple:
        return _check_choices(definition, value, before.get(name, ""))
    return _CHECKS.get(definition.type, _keep)(definition, value)


def _keep(_: Property, value: str) -> str:
    return value


def _check_email(value: str) -> str:
    address = normal_email(value)
    if len(address) > _MAX_EMAIL_LENGTH or not _EMAIL.fullmatch(address):
        raise _InvalidValueError("INVALID_EMAIL", f"Email address {value} is invalid")
    return address


def _check_owner(portal: Portal, value: str) -> str:
    if not any(owner.id == value and not owner.archived for owner in portal.owners):
        raise _InvalidValueError("INVALID_OWNER_ID", f"Owner {value} does not exist")
    return value


def _check_number(_: Property, value: str) -> str:
    if not _NUMBER.fullmatch(value):
        raise _InvalidValueError("INVALID_INTEGER", f"{value} was not a valid number.")
    return value


def _check_datetime(_: Property, value: str) -> str:
    moment = parse_moment(value)
    if moment is None:
        raise _InvalidValueError("INVALID_LONG", f"{value} was not a valid long.")
    return iso(moment)


def _check_date(_: Property, value: str) -> str:
    if is_full_date(value):
        return value
    # An ISO time is no date, but the same moment in milliseconds may be one.
    moment = None if "-" in value[1:] else parse_moment(value)
    if moment is None:
        raise _InvalidValueError("INVALID_DATE", f"{value} was not a valid date.")
    if moment % DAY_MS:
        raise _InvalidValueError("INVALID_DATE", _not_midnight(value, moment % DAY_MS))
    return iso(moment)[:10]


def _not_midnight(value: str, past_midnight: int) -> str:
    minutes, milliseconds = divmod(past_midnight, 60_000)
    hours, minutes = divmod(minutes, 60)
    time = f"{hours}:{minutes}:{milliseconds // 1000}.{milliseconds % 1000}"
    return f"{value} is at {time} UTC, not midnight!"


def _check_choice(definition: Property, value: str) -> str:
    # HubSpot's enumerations without options (pipelines, stages) are checked elsewhere.
    elsewhere = definition.hubspot_defined and not definition.options
    if not elsewhere and all(option.value != value for option in definition.options):
        raise _InvalidValueError("INVALID_OPTION", _not_an_option(definition, value))
    return value


def _check_choices(definition: Property, value: str, before: str) -> str:
    """Check several choices; a leading semicolon adds them to those already set."""
    chosen = [part for part in value.split(";") if part]
    for part in chosen:
        _check_choice(definition, part)
    kept = before.split(";") if value.startswith(";") and before else []
    return ";".join(dict.fromkeys([*kept, *chosen]))


def _not_an_option(definition: Property, value: str) -> str:
    options = ", ".join(
        f'label: "{option.label}"\nvalue: "{option.value}"\n'
        f"display_order: {option.display_order}\nhidden: {str(option.hidden).lower()}\n"
        for option in definition.options
    )
    return f"{value} was not one of the allowed options: [{options}]"


_CHECKS: Mapping[str, Callable[[Property, str], str]] = {
    "number": _check_number,
    "datetime": _check_datetime,
    "date": _check_date,
    "bool": _check_choice,
    "enumeration": _check_choice,
}


def _letters_problems(portal: Portal, object_type: ObjectType, clean: Values) -> list[Problem]:
    """Find what is more than letters where an admin allows nothing else, in every version.

    Source: HubSpot changelog, "Property Validations Rules will be enforced for APIs and
    Integrations"; that a blank is no letter is unverified.
    """
    return [
        Problem(name, "INVALID_ALPHA", "Enter only letters")
        for name in portal.setup.write_rules(object_type).letters_only
        if clean.get(name) and not clean[name].isalpha()
    ]


def _stage_problems(
    portal: Portal, object_type: ObjectType, merged: Values, changed: Values
) -> list[Problem]:
    """Find a pipeline that does not exist, or a stage that is not in the record's pipeline."""
    rule = object_type.pipeline_rule
    if rule is None or not {rule.pipeline, rule.stage} & changed.keys():
        return []
    pipelines = portal.pipelines[object_type.name]
    pipeline_id = merged.get(rule.pipeline) or pipelines[0].id
    pipeline = next((each for each in pipelines if each.id == pipeline_id), None)
    if pipeline is None:
        valid = ", ".join(each.id for each in pipelines)
        message = f"{pipeline_id} is not a valid pipeline ID. Valid options are: [{valid}]"
        return [Problem(rule.pipeline, "INVALID_OPTION", message)]
    stage_id = merged.get(rule.stage, "")
    if _is_stage_left_out(rule, stage_id, changed) or pipeline.find_stage(stage_id):
        return []
    valid = ", ".join(stage.id for stage in pipeline.stages)
    message = (
        f"{stage_id} is not a valid pipeline stage ID. "
        f"Valid options are: pipelineId={pipeline.id} : [{valid}]"
    )
    return [Problem(rule.stage, "INVALID_OPTION", message)]


def _is_stage_left_out(rule: PipelineRule, stage_id: str, changed: Values) -> bool:
    """Leave a stage that was never given to the check of required properties."""
    return not stage_id and rule.stage not in changed


def _unique_problems(
    portal: Portal, object_type: ObjectType, clean: Values, record: Record | None
) -> list[Problem]:
    """Find values of unique custom properties that another record holds."""
    table = portal.table(object_type)
    problems = []
    for name, value in clean.items():
        definition = portal.find_property(object_type, name)
        if not value or definition is None or not definition.unique:
            continue
        holder = table.find_by_value(name, value)
        if holder and holder is not record:
            target = record.id if record else "a new record"
            message = (
                f"Cannot set {name} to {value} on {target}. {holder.id} already has that value."
            )
            problems.append(Problem(name, "CONFLICTING_UNIQUE_VALUE", message))
    return problems
