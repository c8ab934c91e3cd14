"""HubSpot's answers as values and errors: the one place where a status becomes a class."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import orjson

from crm.hubspot.errors import (
    HubSpotAuthError,
    HubSpotConflictError,
    HubSpotError,
    HubSpotNotFoundError,
    HubSpotRateLimitError,
    HubSpotRefusedError,
    HubSpotScopeError,
    HubSpotUnavailableError,
)

Key = TypeVar("Key")
Answer = TypeVar("Answer")

_EXISTING_ID = re.compile(r"Existing ID: (\d+)")
_LONGEST_QUOTE = 500
_LONGEST_PAUSE = 24 * 3600.0

_BY_STATUS: Mapping[int, type[HubSpotError]] = {
    400: HubSpotRefusedError,
    401: HubSpotAuthError,
    403: HubSpotScopeError,
    404: HubSpotNotFoundError,
    409: HubSpotConflictError,
    413: HubSpotRefusedError,
    414: HubSpotRefusedError,
    422: HubSpotRefusedError,
    423: HubSpotUnavailableError,
    429: HubSpotRateLimitError,
    477: HubSpotUnavailableError,
}

# What a row's error says of itself in a 207, where it has no status of its own.
_BY_CATEGORY: Mapping[str, type[HubSpotError]] = {
    "CONFLICT": HubSpotConflictError,
    "OBJECT_NOT_FOUND": HubSpotNotFoundError,
    "RATE_LIMITS": HubSpotRateLimitError,
    "INTERNAL_ERROR": HubSpotUnavailableError,
}


@dataclass(frozen=True)
class HubSpotRecord:
    """A record as HubSpot answers with it."""

    id: str
    properties: Mapping[str, str | None]
    created_at: datetime | None = None
    updated_at: datetime | None = None
    trace_id: str | None = None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "HubSpotRecord":
        """Read HubSpot's SimplePublicObject; ids become strings, whichever way they came."""
        return cls(
            id=str(body["id"]),
            properties={
                name: _value(value) for name, value in (body.get("properties") or {}).items()
            },
            created_at=parse_time(body.get("createdAt")),
            updated_at=parse_time(body.get("updatedAt")),
            trace_id=_only(body.get("objectWriteTraceId")),
        )


@dataclass(frozen=True)
class BatchAnswer:
    """What became of a batch: records that stand, and what HubSpot said of the others."""

    results: list[Mapping[str, Any]]
    errors: list[HubSpotError] = field(default_factory=list)


@dataclass
class BatchOutcome(Generic[Key, Answer]):
    """What became of each input of a batch, by its key; one in neither got no answer of its own."""

    done: dict[Key, Answer] = field(default_factory=dict)
    refused: dict[Key, HubSpotError] = field(default_factory=dict)

    def add(self, other: "BatchOutcome[Key, Answer]") -> None:
        """Take in what became of other inputs."""
        self.done |= other.done
        self.refused |= other.refused


@contextmanager
def reading() -> Iterator[None]:
    """Around the reading of an answer: one of an undocumented shape becomes a ``HubSpotError``."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HubSpotError(
            f"HubSpot's answer has another shape than documented ({error!r})"
        ) from error


def parse_time(value: Any) -> datetime | None:
    """HubSpot's times: ISO 8601 in UTC, with milliseconds unless they are zero."""
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def batch_from(body: Any) -> BatchAnswer:
    """Read the envelope of a batch answer, 200, 201 or 207."""
    if not isinstance(body, dict) or not isinstance(body.get("results"), list):
        raise HubSpotError("HubSpot answered a batch without results")
    return BatchAnswer(
        results=body["results"],
        errors=[_row_error(each) for each in _objects(body.get("errors"))],
    )


def error_from(status: int, headers: Mapping[str, str], content: bytes) -> HubSpotError:
    """The error that an unsuccessful answer stands for.

    Args:
        status: HTTP status, 300 and above.
        headers: of the answer, whatever their letter case.
        content: the body, which need not be JSON: proxies answer with pages.
    """
    body = _object(content)
    if body is None:
        text = content.decode("utf-8", "replace")[:_LONGEST_QUOTE].strip()
        is_telling = status < 500 and text
        body = {"message": f"HTTP {status}: {text}" if is_telling else f"HTTP {status}"}
    error_class = _BY_STATUS.get(status, HubSpotUnavailableError if status >= 500 else HubSpotError)
    error = _error(error_class, body, headers.get("x-hubspot-correlation-id"))
    if isinstance(error, HubSpotUnavailableError):
        error.retry_after = _seconds(headers.get("Retry-After"))
        error.may_pass_soon = status >= 500 and error.retry_after is None
    return error


def _row_error(body: Mapping[str, Any]) -> HubSpotError:
    error_class = _BY_CATEGORY.get(str(body.get("category")), HubSpotRefusedError)
    error = _error(error_class, body, None)
    context = _mapping(body.get("context"))
    error.trace_ids = _strings(context.get("objectWriteTraceId"))
    error.ids = _strings(context.get("ids")) or _strings(context.get("id"))
    return error


def _error(
    error_class: type[HubSpotError], body: Mapping[str, Any], correlation_id: str | None
) -> HubSpotError:
    message = _value(body.get("message")) or "HubSpot gave no reason"
    error = error_class(
        message,
        category=body.get("category"),
        correlation_id=body.get("correlationId") or correlation_id,
        errors=_property_errors(body, message),
    )
    if isinstance(error, HubSpotConflictError):
        found = _EXISTING_ID.search(message)
        error.existing_id = found.group(1) if found else None
    return error


def _property_errors(body: Mapping[str, Any], message: str) -> dict[str, str]:
    """Property name to sentence, from ``errors[]`` or from the JSON inside the message."""
    found: dict[str, str] = {}
    for each in _objects(body.get("errors")):
        for name in _strings(_mapping(each.get("context")).get("propertyName")):
            found.setdefault(name, _value(each.get("message")) or "")
    _, bracket, inside = message.partition("[")
    for each in _list(bracket + inside) if not found else []:
        if "name" in each:
            found.setdefault(str(each["name"]), _value(each.get("message")) or "")
    return found


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _list(text: str) -> list[dict[str, Any]]:
    try:
        return _objects(orjson.loads(text))
    except orjson.JSONDecodeError:
        return []


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _value(value: Any) -> str | None:
    """A property's value as text; Postgres keeps no NUL, so none is taken over."""
    if value is None:
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text.replace("\0", "")


def _strings(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _only(value: Any) -> str | None:
    return str(value[0] if isinstance(value, list) else value) if value else None


def _seconds(value: str | None) -> float | None:
    return min(float(value), _LONGEST_PAUSE) if value and value.isdecimal() else None
