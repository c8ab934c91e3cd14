"""What HubSpot sends."""

from typing import Any

import orjson

from crm.errors import InvalidInputError

MOST_EVENTS = 200
"""In one delivery. HubSpot docs: up to 100; a few more are better stored than refused for ever."""

_LARGEST_ID = 2**63 - 1
_DEEPEST = 4


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
    for place, each in enumerate(events):
        hub_id = each.get("portalId") if isinstance(each, dict) else None
        if type(hub_id) is not int or not 0 < hub_id <= _LARGEST_ID:
            raise _refusal(f"{place}.portalId", "Must be an object with the number of a portal")
    # Real events hold no others, and looking at each value costs more than all else here.
    if body.count(b"{") + body.count(b"[") > len(events) + 1:
        for place, each in enumerate(events):
            _check_depth(each, str(place), _DEEPEST)
    return [_without_nul(each) for each in events] if rb"\u0000" in body else events


def _check_depth(value: Any, path: str, depth: int) -> None:
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            if depth == 0:
                raise _refusal(path, "Nested too deeply")
            _check_depth(each, path, depth - 1)


def _without_nul(value: Any) -> Any:
    """The value as Postgres can hold it."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(each) for name, each in value.items()}
    return value


def _refusal(path: str, sentence: str) -> InvalidInputError:
    return InvalidInputError(errors={path: sentence})
