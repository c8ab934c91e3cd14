"""What HubSpot sends."""

from typing import Any

import orjson

from crm.errors import InvalidInputError

MOST_EVENTS = 200
"""In one delivery. HubSpot docs: up to 100; a few more are better stored than refused for ever."""

_LARGEST_ID = 2**63 - 1


def events_from(body: bytes) -> list[dict[str, Any]]:
    """Read a delivery: an array of events, each of which names its portal.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        events = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _refusal("body", f"Malformed JSON: {error}") from error
    if not isinstance(events, list) or len(events) > MOST_EVENTS:
        raise _refusal("body", f"Must be an array of at most {MOST_EVENTS} events")
    return [_event(each, str(place)) for place, each in enumerate(events)]


def _event(given: Any, path: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _refusal(path, "Must be an object")
    hub_id = given.get("portalId")
    if type(hub_id) is not int or not 0 < hub_id <= _LARGEST_ID:
        raise _refusal(f"{path}.portalId", "Must be the number of a portal")
    return {_storable(name, path): _storable(value, path) for name, value in given.items()}


def _storable(value: Any, path: str, depth: int = 4) -> Any:
    """The value as Postgres can hold it, which is without NUL."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if not isinstance(value, list | dict):
        return value
    if depth == 0:
        raise _refusal(path, "Nested too deeply")
    if isinstance(value, list):
        return [_storable(each, path, depth - 1) for each in value]
    return {_storable(name, path): _storable(each, path, depth - 1) for name, each in value.items()}


def _refusal(path: str, sentence: str) -> InvalidInputError:
    return InvalidInputError(errors={path: sentence})
