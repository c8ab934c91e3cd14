"""HubSpot's answers as values and errors: the one place where a status becomes a class."""

import re
from collections.abc import Mapping
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

_BY_STATUS: Mapping[int, type[HubSpotError]] = {
    400: HubSpotRefusedError,
    401: HubSpotAuthError,
    403: HubSpotScopeError,
    404: HubSpotNotFoundError,
    409: HubSpotConflictError,
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
            properties=body.get("properties") or {},
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


def parse_time(value: Any) -> datetime | None:
    """HubSpot's times: ISO 8601 in UTC, with milliseconds unless they are zero."""
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def batch_from(body: Any) -> BatchAnswer:
    """Read the envelope of a batch answer, 200, 201 or 207."""
    if not isinstance(body, dict) or not isinstance(body.get("results"), list):
        raise HubSpotError("HubSpot answered a batch without results")
    return BatchAnswer(
        results=body["results"],
        errors=[_row_error(each) for each in body.get("errors") or []],
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
        body = {"message": f"HTTP {status}: {text}" if status < 500 else f"HTTP {status}"}
    error_class = _BY_STATUS.get(status, HubSpotUnavailableError if status >= 500 else HubSpotError)
    error = _error(error_class, body, headers.get("x-hubspot-correlation-id"))
    if isinstance(error, HubSpotUnavailableError):
        error.retry_after = _seconds(headers.get("Retry-After"))
        error.may_pass_soon = status >= 500
    return error


def _row_error(body: Mapping[str, Any]) -> HubSpotError:
    error_class = _BY_CATEGORY.get(str(body.get("category")), HubSpotRefusedError)
    error = _error(error_class, body, None)
    context = body.get("context") or {}
    error.trace_ids = _strings(context.get("objectWriteTraceId"))
    error.ids = _strings(context.get("ids")) or _strings(context.get("id"))
    return error


def _error(
    error_class: type[HubSpotError], body: Mapping[str, Any], correlation_id: str | None
) -> HubSpotError:
    message = str(body.get("message") or "HubSpot gave no reason")
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
    for each in body.get("errors") or []:
        for name in _strings((each.get("context") or {}).get("propertyName")):
            found.setdefault(name, str(each.get("message")))
    _, bracket, inside = message.partition("[")
    for each in _list(bracket + inside) if not found else []:
        if isinstance(each, dict) and "name" in each:
            found.setdefault(str(each["name"]), str(each.get("message")))
    return found


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _list(text: str) -> list[Any]:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    return parsed if isinstance(parsed, list) else []


def _strings(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _only(value: Any) -> str | None:
    return str(value[0] if isinstance(value, list) else value) if value else None


def _seconds(value: str | None) -> float | None:
    return float(value) if value and value.isdigit() else None
