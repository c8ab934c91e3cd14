"""Reading JSON bodies strictly: a value of the wrong kind is refused as HubSpot's parser does.

HubSpot reads bodies with Jackson, which turns numbers and booleans into text where text is
expected, refuses objects and lists there, and ignores fields that it does not know.
"""

from typing import Any, TypeAlias

import orjson

from hubspot_sandbox.errors import HubSpotError, invalid, invalid_json, missing_fields

JSONObject: TypeAlias = dict[str, Any]

_TOKENS = {dict: "START_OBJECT", list: "START_ARRAY", str: "VALUE_STRING", type(None): "VALUE_NULL"}


def _wrong_kind(value: object, expected: str) -> Exception:
    token = _TOKENS.get(type(value), "VALUE_NUMBER")
    return invalid_json(f"Cannot deserialize value of type `{expected}` from {token}")


def parse_object(body: bytes) -> JSONObject:
    """Read a JSON object of the admin API, whatever its content type says."""
    try:
        return as_object(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise HubSpotError(400, f"not JSON: {error}") from error


def as_object(value: object) -> JSONObject:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise _wrong_kind(value, "java.util.LinkedHashMap")
    return value


def json_object(body: bytes) -> JSONObject:
    """Return the JSON object that a body is, whatever its content type says."""
    try:
        return as_object(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise invalid_json(error.msg, error.lineno, error.colno) from error


def as_list(value: object) -> list[Any]:
    """Return a JSON array."""
    if not isinstance(value, list):
        raise _wrong_kind(value, "java.util.ArrayList")
    return value


def as_text(value: object) -> str:
    """Return text; numbers and booleans become text as in HubSpot."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise _wrong_kind(value, "java.lang.String")


def text_field(item: JSONObject, name: str) -> str:
    """Return a required text field of an object."""
    if item.get(name) is None:
        raise missing_fields(name)
    return as_text(item[name])


def find_text(item: JSONObject, name: str) -> str | None:
    """Return an optional text field of an object."""
    return None if item.get(name) is None else as_text(item[name])


def text_list(item: JSONObject, name: str) -> list[str]:
    """Return an optional list of texts, empty when it is absent."""
    return [as_text(value) for value in as_list(item.get(name) or [])]


def object_list(item: JSONObject, name: str) -> list[JSONObject]:
    """Return an optional list of objects, empty when it is absent."""
    return [as_object(value) for value in as_list(item.get(name) or [])]


def property_values(item: JSONObject) -> dict[str, str]:
    """Return the required ``properties`` of an input; a null value leaves its property alone."""
    if item.get("properties") is None:
        raise missing_fields("properties")
    values = as_object(item["properties"])
    return {name: as_text(value) for name, value in values.items() if value is not None}


def batch_inputs(body: object, maximum: int, purpose: str = "") -> list[JSONObject]:
    """Return the inputs of a batch; refuse none and more than the maximum.

    ``purpose`` ends the refusal's first half, such as `` for property histories``.
    """
    item = as_object(body)
    if item.get("inputs") is None:
        raise missing_fields("inputs")
    inputs = object_list(item, "inputs")
    if not inputs:
        raise invalid("The batch request must have at least one input")
    if len(inputs) > maximum:
        raise invalid(
            f"The maximum number of inputs supported in a batch request{purpose} is {maximum}"
        )
    return inputs


def whole_number(text: str) -> int | None:
    """Read a non-negative number that fits in 64 bits; None for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    return int(text)
