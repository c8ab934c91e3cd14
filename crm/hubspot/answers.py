"""HubSpot's answers as values and errors: the one place where a status becomes a class."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
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
    RateLimitPolicy,
)
from crm.hubspot.retries import NOT_JSON
from crm.hubspot.transport import Answer

Key = TypeVar("Key")
Done = TypeVar("Done")

_CORRELATION_ID = "x-hubspot-correlation-id"

_EXISTING_ID = re.compile(r"Existing ID: (\d+)")
_LIMIT_IN_WORDS = re.compile(r"reached your (\w+) limit")
_LONGEST_QUOTE = 500
_LONGEST_PAUSE = 24 * 3600.0

_BY_STATUS: Mapping[int, type[HubSpotError]] = {
    400: HubSpotRefusedError,
    401: HubSpotAuthError,
    403: HubSpotScopeError,
    404: HubSpotNotFoundError,
    408: HubSpotUnavailableError,
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

_POLICIES: Mapping[str, RateLimitPolicy] = {
    "TEN_SECONDLY_ROLLING": "TEN_SECONDLY_ROLLING",
    "SECONDLY": "SECONDLY",
    "DAILY": "DAILY",
}


@dataclass(frozen=True)
class HubSpotRecord:
    """A record as HubSpot answers with it."""

    id: str
    properties: Mapping[str, str | None]
    created_at: datetime | None = None
    updated_at: datetime | None = None
    trace_id: str | None = None
    archived: bool = False
    is_new: bool = False
    """Whether an upsert has just created it."""
    associations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ids by object type, each once, where a list was asked for them."""

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
            archived=bool(body.get("archived")),
            is_new=bool(body.get("new")),
            associations={
                # HubSpot lists a record once for each type of its association (seen live).
                association_key(name): list(dict.fromkeys(str(to["id"]) for to in page["results"]))
                for name, page in (body.get("associations") or {}).items()
            },
        )


@dataclass(frozen=True)
class BatchAnswer:
    """What became of a batch: records that stand, and what HubSpot said of the others."""

    results: list[Mapping[str, Any]]
    errors: list[HubSpotError] = field(default_factory=list)


@dataclass
class BatchOutcome(Generic[Key, Done]):
    """What became of each input of a batch, by its key; one in neither got no answer of its own."""

    done: dict[Key, Done] = field(default_factory=dict)
    refused: dict[Key, HubSpotError] = field(default_factory=dict)

    def add(self, other: "BatchOutcome[Key, Done]") -> None:
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


def association_key(name: str) -> str:
    """The object type that a record's inline associations mean: they say ``line items``."""
    return name.replace(" ", "_")


def parse_time(value: Any) -> datetime | None:
    """HubSpot's times: ISO 8601 in UTC, with milliseconds unless they are zero."""
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def batch_from(body: Any) -> BatchAnswer:
    """Read the envelope of a batch answer, 200, 201 or 207."""
    if not isinstance(body, dict) or not isinstance(body.get("results"), list):
        raise HubSpotError("HubSpot answered a batch without results")
    return BatchAnswer(
        results=body["results"],
        errors=[
            _row_error(each, _value(body.get("correlationId")))
            for each in _objects(body.get("errors"))
        ],
    )


def json_from(answer: Answer) -> Any:
    """The JSON of a successful answer; None where it has no body.

    Raises:
        HubSpotUnavailableError: it was cut off, or is a page of some proxy.
    """
    if not answer.content:
        return None
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        unreadable = HubSpotUnavailableError(
            "HubSpot's answer was cut off or not JSON",
            correlation_id=answer.headers.get(_CORRELATION_ID),
        )
        unreadable.met = NOT_JSON
        raise unreadable from error
    if answer.status == HTTPStatus.MULTI_STATUS and isinstance(body, dict):
        # The errors of single rows have none of their own.
        body.setdefault("correlationId", answer.headers.get(_CORRELATION_ID))
    return body


def error_from(answer: Answer) -> HubSpotError:
    """The error that an unsuccessful answer stands for.

    Args:
        answer: of status 300 and above; its body need not be JSON: proxies answer with pages.
    """
    status = answer.status
    body = _object(answer.content)
    if body is None:
        text = answer.content.decode("utf-8", "replace")[:_LONGEST_QUOTE].strip()
        is_telling = status < 500 and text
        body = {"message": f"HTTP {status}: {text}" if is_telling else f"HTTP {status}"}
    error_class = _BY_STATUS.get(status, HubSpotUnavailableError if status >= 500 else HubSpotError)
    error = _error(error_class, body, answer.headers.get(_CORRELATION_ID))
    detail = error.category if isinstance(error, HubSpotAuthError) else None
    if isinstance(error, HubSpotUnavailableError):
        error.retry_after = _seconds(answer.headers.get("Retry-After"))
    if isinstance(error, HubSpotRateLimitError):
        error.policy = detail = _policy(body, error.message)
    error.met = f"{status} {detail or ''}".rstrip()
    return error


def _row_error(body: Mapping[str, Any], correlation_id: str | None) -> HubSpotError:
    error_class = _BY_CATEGORY.get(str(body.get("category")), HubSpotRefusedError)
    error = _error(error_class, body, correlation_id)
    error.trace_ids = error.context.get("objectWriteTraceId", ())
    error.ids = error.context.get("ids") or error.context.get("id", ())
    return error


def _error(
    error_class: type[HubSpotError], body: Mapping[str, Any], correlation_id: str | None
) -> HubSpotError:
    message = _value(body.get("message")) or "HubSpot gave no reason"
    error = error_class(
        message,
        category=_value(body.get("category")),
        correlation_id=_value(body.get("correlationId")) or correlation_id,
        errors=_property_errors(body, message),
    )
    error.sub_category = _value(body.get("subCategory"))
    error.context = _context(body)
    if isinstance(error, HubSpotConflictError):
        found = _EXISTING_ID.search(message)
        error.existing_id = found.group(1) if found else None
    if isinstance(error, HubSpotScopeError):
        error.scopes = _scopes(body)
    return error


def _policy(body: Mapping[str, Any], message: str) -> RateLimitPolicy | None:
    """The limit that a 429 is about: one of a search may tell it in words only (seen live)."""
    in_words = _LIMIT_IN_WORDS.search(message)
    name = _value(body.get("policyName")) or (in_words.group(1) if in_words else "")
    return _POLICIES.get(name.upper())


def _scopes(body: Mapping[str, Any]) -> list[str]:
    contexts = map(_context, _objects(body.get("errors")))
    names = ("requiredGranularScopes", "requiredScopes")
    return [scope for context in contexts for name in names for scope in context.get(name, ())]


def _context(body: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: _strings(value) for name, value in _mapping(body.get("context")).items()}


def _property_errors(body: Mapping[str, Any], message: str) -> dict[str, str]:
    """Property name to sentence, from ``errors[]`` or from the JSON inside the message."""
    found: dict[str, str] = {}
    for each in _objects(body.get("errors")):
        for name in _context(each).get("propertyName", ()):
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
