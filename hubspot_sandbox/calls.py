"""What a view is given and what it gives back, apart from any web framework.

A view is a function of a `Call` and the parts of its path; it returns an `Answer` or raises
`HubSpotError`. `Route` says where it is served.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlencode

import orjson

from hubspot_sandbox.access import Access, Registry
from hubspot_sandbox.errors import HubSpotError, invalid, invalid_json
from hubspot_sandbox.payload import whole_number
from hubspot_sandbox.store import Portal


@dataclass(frozen=True, slots=True)
class Answer:
    """A response before it is written: a JSON value (None for no body), status and headers."""

    payload: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request of an API client, whose token opens ``portal`` as ``access`` says.

    ``version`` is ``v3`` or ``v4`` for the legacy paths and a date for the others. ``query``
    holds every value of a parameter, in order.
    """

    portal: Portal
    access: Access
    registry: Registry
    version: str
    url: str
    query: Mapping[str, list[str]]
    body: bytes
    content_type: str

    def json(self) -> Any:
        """Return the parsed body; raise HubSpot's 400 (or 415) when it is not JSON."""
        if "json" not in self.content_type.lower():
            raise HubSpotError(415, "HTTP 415 Unsupported Media Type")
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise invalid_json(error.msg, error.lineno, error.colno) from error

    def is_since(self, version: str) -> bool:
        """Say whether the path is of that date version or a later one; legacy paths never are."""
        return not self.version.startswith("v") and self.version >= version

    def text(self, name: str) -> str | None:
        """Return the last value of a query parameter; None when absent or empty."""
        values = self.query.get(name)
        return values[-1] or None if values else None

    def names(self, name: str) -> list[str]:
        """Return a list parameter, given repeatedly or with commas, each name once."""
        parts = (part.strip() for value in self.query.get(name, []) for part in value.split(","))
        return list(dict.fromkeys(part for part in parts if part))

    def flag(self, name: str) -> bool:
        """Return a boolean parameter, false by default."""
        return (self.text(name) or "false").lower() == "true"

    def limit(self, default: int, maximum: int) -> int:
        """Return the page size; raise 400 when it is no number or out of range."""
        text = self.text("limit")
        if text is None:
            return default
        value = whole_number(text)
        if value is None or not 1 <= value <= maximum:
            raise invalid(f"The limit must be a number between 1 and {maximum}, got {text}")
        return value

    def page_link(self, after: str) -> dict[str, dict[str, str]]:
        """Return the ``paging`` object that points to the page after this one."""
        parameters = {**self.query, "after": [after]}
        return {"next": {"after": after, "link": f"{self.url}?{urlencode(parameters, doseq=True)}"}}


View: TypeAlias = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """A view's place: an area of the API (see ``app.AREAS``), a method and the rest of the path.

    Path parts whose name ends in ``_type`` reach the view as `ObjectType`.
    """

    area: str
    method: str
    path: str
    view: View
