"""Values: what a caller gives for a property becomes the string that HubSpot wants, or a sentence.

Sources: HubSpot docs, using object APIs and properties: all values are strings; a ``date`` is a
day, a ``datetime`` a moment in UTC; several options are written ``a;b``; ``""`` clears.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, validate

from crm.hubspot.properties import Property

LONGEST = 65_536
"""HubSpot's limit of a text property, in characters (docs: properties)."""

FORBIDDEN_IN_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
FORBIDDEN_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""What Postgres and HubSpot cannot hold, or nobody can see."""
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,10})?")
_MOST_NAMED = 20
_email = validate.And(validate.Length(max=254), validate.Email())


class ValueProblem(Exception):  # noqa: N818 - it never leaves the check
    """Why a value cannot be what it was given for: one sentence."""


def as_email(value: Any) -> str:
    """An address as HubSpot compares it.

    Raises:
        ValueProblem: it is none.
    """
    address = _text(value).strip().lower()
    try:
        _email(address)
    except ValidationError as error:
        raise ValueProblem("Not a valid email address.") from error
    return address


def as_hubspot_writes(definition: Property | None, value: Any) -> str:
    """The string that HubSpot stores.

    Args:
        definition: the property's; None while it is unknown: then HubSpot will be the judge.
        value: from JSON: a text, a number, a boolean, or null, which clears as ``""`` does.

    Raises:
        ValueProblem: no value of this property.
    """
    if value is None or value == "":
        return ""
    if definition is None:
        return _plain(value)
    return _WRITERS.get(definition.type, _string)(definition, value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return as_number(value) if isinstance(value, int | float) else _text(value)


def _string(_: Property, value: Any) -> str:
    return _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueProblem("Must be a text.")
    if len(value) > LONGEST:
        raise ValueProblem(f"Longer than maximum length {LONGEST}.")
    if FORBIDDEN_IN_TEXT.search(value):
        raise ValueProblem("Must not contain control characters or broken Unicode.")
    return value


def _number(_: Property, value: Any) -> str:
    return as_number(value)


def as_number(value: Any) -> str:
    """A number as HubSpot writes it, given as one or as its digits.

    Raises:
        ValueProblem: it is none, or has too many digits.
    """
    if isinstance(value, float):
        # The shortest digits that stand for it, never its exponent.
        text = f"{Decimal(repr(value)):f}".removesuffix(".0")
    elif isinstance(value, int | str) and not isinstance(value, bool):
        text = str(value)
    else:
        raise ValueProblem("Not a valid number.")
    if not _NUMBER.fullmatch(text):
        raise ValueProblem("Must be a number of at most 20 digits, without separators.")
    return text


def _bool(_: Property, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value in ("true", "false"):
        return str(value)
    raise ValueProblem("Must be true or false.")


def _date(_: Property, value: Any) -> str:
    return _moment(value).date().isoformat()


def _datetime(_: Property, value: Any) -> str:
    return _moment(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(value: Any) -> datetime:
    """A moment in UTC, from ISO 8601 or, as HubSpot's own clients write it, epoch milliseconds."""
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise ValueProblem("Must be a date or a time like 2026-12-31T17:00:00Z.") from error


def _option(definition: Property, value: Any) -> str:
    given = _plain(value)
    options = {each.value for each in definition.options}
    # A leading semicolon adds to what is chosen already.
    chosen = [each for each in given.split(";") if each] if definition.has_many else [given]
    # Those without options are owners, pipelines and the like.
    if options and not options.issuperset(chosen):
        raise ValueProblem(f"Unknown option; valid ones are: {_named(definition)}")
    return given


def _named(definition: Property) -> str:
    values = [each.value for each in definition.options]
    more = f" and {len(values) - _MOST_NAMED} more" if len(values) > _MOST_NAMED else ""
    return ", ".join(values[:_MOST_NAMED]) + more


_WRITERS: Mapping[str, Callable[[Property, Any], str]] = {
    "number": _number,
    "bool": _bool,
    "date": _date,
    "datetime": _datetime,
    "enumeration": _option,
}
