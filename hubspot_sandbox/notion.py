"""Notion: pages and data sources, found by search.

Source: Notion API, "Search", "Request limits", "Status codes", "Versioning". How a person lets an
app in is in ``notion_oauth``.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

import orjson
from flask import Blueprint, Response, request

from hubspot_sandbox.clock import DAY_MS, Clock, iso
from hubspot_sandbox.limits import LimitSettings, Window
from hubspot_sandbox.third_party_oauth import Allowed, ThirdPartyApp, TokenBook, bearer

DEFAULT_NOTION_APP: Final = ThirdPartyApp(
    client_id="notion-app-of-the-sandbox",
    client_secret="not-really-secret-at-the-local-notion",  # noqa: S106 - opens this sandbox only
    redirect_uris=("http://localhost:4012/integrations/notion/oauth2callback",),
)
VERSION: Final = "2025-09-03"
"""The one that this sandbox speaks, of those that Notion knows."""

_SECOND_MS: Final = 1_000
_LARGEST_BODY: Final = 500 * 1024
_LARGEST_PAGE: Final = 100
_NAMESPACE: Final = UUID("6f0d2c1e-5e0b-4d0a-9a53-0d5e60b0c0de")
_EPOCH_MS: Final = 1_772_000_000_000
_FIELDS: Final = frozenset({"query", "filter", "sort", "start_cursor", "page_size"})
_PAGES: Final = ("Welcome aboard", "Price list 2026", "How we moor", "Minutes of the last meeting")
_DATABASES: Final = ("Suppliers", "Ideas")


@dataclass(frozen=True, slots=True)
class Thing:
    """A page or a data source; times in milliseconds since 1970."""

    id: str
    kind: str
    title: str
    created_at: int
    edited_at: int

    def render(self) -> dict[str, Any]:
        """Return it as Notion does, without what nobody here reads."""
        text = {"type": "text", "text": {"content": self.title, "link": None}}
        title = [{**text, "plain_text": self.title, "href": None}] if self.title else []
        shown = {
            "object": self.kind,
            "id": self.id,
            "created_time": iso(self.created_at),
            "last_edited_time": iso(self.edited_at),
            "archived": False,
            "in_trash": False,
            "icon": None,
            "cover": None,
            "url": f"https://www.notion.so/{self.id.replace('-', '')}",
            "public_url": None,
        }
        if self.kind == "page":
            parent = {"type": "workspace", "workspace": True}
            properties = {"title": {"id": "title", "type": "title", "title": title}}
            return {**shown, "parent": parent, "properties": properties}
        database_id = str(uuid5(_NAMESPACE, self.id))
        return {
            **shown,
            "parent": {"type": "database_id", "database_id": database_id},
            "title": title,
            "description": [],
            "properties": {"Name": {"id": "title", "name": "Name", "type": "title", "title": {}}},
        }


class NotionError(Exception):
    """A refusal, in the envelope of Notion's API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep what the answer will say."""
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = {}
        self.body = {"object": "error", "status": status, "code": code, "message": message}


class Notion:
    """A Notion workspace, and the app that may be let into it."""

    def __init__(self, clock: Clock, limits: LimitSettings, app: ThirdPartyApp) -> None:
        """Begin with a few pages and databases."""
        self.app = app
        # How long they live is not documented; nobody is told, so a refusal must be expected.
        self.book = TokenBook(clock, access_seconds=3600, refresh_seconds=365 * 24 * 3600)
        self._clock = clock
        self.reset(limits)

    def reset(self, limits: LimitSettings) -> None:
        """Go back to the beginning."""
        self._limits = limits
        self.book.reset()
        self.things = [make_thing("page", name, at) for at, name in enumerate(_PAGES)]
        self.things += [make_thing("data_source", name, at) for at, name in enumerate(_DATABASES)]
        self._windows: dict[str, Window] = defaultdict(lambda: Window(_SECOND_MS))

    def search(self) -> dict[str, Any]:
        """A page of what the person shared, by title."""
        allowed = self._admit()
        body = read_body()
        if unknown := sorted(body.keys() - _FIELDS):
            raise invalid(f"body.{unknown[0]} should be not present")
        found = [each for each in self.things if each.id in allowed.choices]
        found = [each for each in found if _matches(each, body)]
        found.sort(key=lambda each: (each.edited_at, each.id), reverse=not _is_ascending(body))
        start, size = _start(found, body.get("start_cursor")), _size(body)
        following = found[start + size : start + size + 1]
        return {
            "object": "list",
            "results": [each.render() for each in found[start : start + size]],
            "next_cursor": following[0].id if following else None,
            "has_more": bool(following),
            "type": "page_or_data_source",
            "page_or_data_source": {},
        }

    def _admit(self) -> Allowed:
        """What the request's token opens; raise 401, 400 without a version, or 429."""
        token = bearer()
        allowed = self.book.find(token)
        if allowed is None:
            raise NotionError(401, "unauthorized", "API token is invalid.")
        check_version()
        now, window = self._clock.now_ms(), self._windows[token]
        if self._limits.limit_notion and window.count(now) >= self._limits.limit_notion:
            refusal = NotionError(429, "rate_limited", "You have been rate limited.")
            refusal.headers["Retry-After"] = "1"
            raise refusal
        window.add(now)
        return allowed


def make_thing(kind: str, title: str, day: int) -> Thing:
    """A page or a data source that was made on some day of a year, and edited the day after."""
    created_at = _EPOCH_MS + day * DAY_MS
    thing_id = str(uuid5(_NAMESPACE, f"{kind} {day} {title}"))
    return Thing(thing_id, kind, title, created_at, created_at + DAY_MS)


def notion_blueprint(notion: Notion) -> Blueprint:
    """Build what is served under ``/v1`` for a workspace."""
    blueprint = Blueprint("notion", __name__, url_prefix="/v1")
    blueprint.add_url_rule("/search", "search", as_json(notion.search), methods=["POST"])
    blueprint.register_error_handler(NotionError, answer_refusal)
    return blueprint


def as_json(view: Callable[[], Mapping[str, Any]]) -> Callable[[], Response]:
    """A view that answers with JSON and the id of the request."""

    def serve() -> Response:
        return _answer(200, view())

    return serve


def answer_refusal(error: NotionError) -> Response:
    """Answer in Notion's envelope."""
    response = _answer(error.status, error.body)
    response.headers.update(error.headers)
    return response


def check_version() -> None:
    """Refuse a request that does not name the version; raise 400."""
    version = request.headers.get("Notion-Version")
    if version is None:
        raise NotionError(400, "missing_version", "Notion-Version header should be defined.")
    if version != VERSION:
        raise invalid(f"Notion-Version header should be {VERSION}, instead was {version!r}.")


def read_body() -> dict[str, Any]:
    """The JSON object of a request; raise 400."""
    if not request.is_json:
        raise NotionError(400, "invalid_json", "The content type must be application/json.")
    raw = request.get_data()
    if len(raw) > _LARGEST_BODY:
        raise invalid("The body is larger than 500 KB.")
    try:
        body = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise NotionError(400, "invalid_json", "Error parsing JSON body.") from error
    if not isinstance(body, dict):
        raise invalid("body should be an object")
    return body


def invalid(message: str) -> NotionError:
    """Make the 400 of a body that does not fit the schema."""
    return NotionError(400, "validation_error", f"body failed validation: {message}")


def _matches(thing: Thing, body: Mapping[str, Any]) -> bool:
    query = body.get("query", "")
    if not isinstance(query, str):
        raise invalid("body.query should be a string")
    wanted = body.get("filter")
    if wanted is not None:
        fits = isinstance(wanted, dict) and wanted.keys() == {"property", "value"}
        if not fits or wanted["property"] != "object":
            raise invalid("body.filter should have the property object and a value")
        if wanted["value"] not in ("page", "data_source"):
            raise invalid('body.filter.value should be "page" or "data_source"')
        if thing.kind != wanted["value"]:
            return False
    return query.casefold() in thing.title.casefold()


def _is_ascending(body: Mapping[str, Any]) -> bool:
    sort = body.get("sort", {"timestamp": "last_edited_time", "direction": "descending"})
    if not isinstance(sort, dict) or sort.get("timestamp") != "last_edited_time":
        raise invalid('body.sort.timestamp should be "last_edited_time"')
    if sort.get("direction", "descending") not in ("ascending", "descending"):
        raise invalid('body.sort.direction should be "ascending" or "descending"')
    return sort.get("direction") == "ascending"


def _start(found: list[Thing], cursor: Any) -> int:
    if cursor is None:
        return 0
    place = next((at for at, each in enumerate(found) if each.id == cursor), None)
    if place is None:
        raise NotionError(400, "validation_error", "The start_cursor provided is invalid.")
    return place


def _size(body: Mapping[str, Any]) -> int:
    size = body.get("page_size", _LARGEST_PAGE)
    if type(size) is not int or not 1 <= size <= _LARGEST_PAGE:
        raise invalid(f"body.page_size should be a number from 1 to {_LARGEST_PAGE}")
    return size


def _answer(status: int, body: Mapping[str, Any]) -> Response:
    shown = orjson.dumps({**body, "request_id": str(uuid4())})
    return Response(shown, status, content_type="application/json; charset=utf-8")
