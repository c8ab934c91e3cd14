"""Airtable: who is asking, their bases, and a base's tables.

Source: Airtable Web API, "Get user ID & scopes", "List bases", "Get base schema", "Rate limits",
"Errors". How a person lets an app in is in ``airtable_oauth``.
"""

import base64
import binascii
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import orjson
from flask import Blueprint, Response, request

from hubspot_sandbox.clock import Clock
from hubspot_sandbox.limits import LimitSettings, Window
from hubspot_sandbox.third_party_oauth import Allowed, ThirdPartyApp, TokenBook, bearer

DEFAULT_AIRTABLE_APP: Final = ThirdPartyApp(
    client_id="airtable-app-of-the-sandbox",
    client_secret="not-really-secret-at-the-local-airtable",  # noqa: S106 - opens this sandbox only
    redirect_uris=("http://localhost:4012/integrations/airtable/oauth2callback",),
)
SCHEMA_SCOPE: Final = "schema.bases:read"
EMAIL_SCOPE: Final = "user.email:read"

_MINUTE: Final = 60
_DAY: Final = 24 * 3600
_SECOND_MS: Final = 1_000
_PENALTY_MS: Final = 30_000
_USER: Final = {"id": "usrBrightHarbor001", "email": "dana@brightharbor.example"}
_NAMES: Final = {
    "Fleet": ("Boats", "Moorings", "Repairs"),
    "Customers": ("People", "Contracts"),
    "Season plan": ("Weeks", "Crews", "Courses", "Weather"),
}


@dataclass(frozen=True, slots=True)
class Base:
    """A base with the names of its tables."""

    id: str
    name: str
    tables: tuple[str, ...]
    permission: str = "create"


class AirtableError(Exception):
    """A refusal, in the envelope of Airtable's API."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        """Keep what the answer will say."""
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"error": {"type": kind, "message": message}}


class Airtable:
    """An Airtable account, and the app that may be let into it.

    ``page_size`` is how many bases a page has; Airtable's are of a thousand.
    """

    def __init__(self, clock: Clock, limits: LimitSettings, app: ThirdPartyApp) -> None:
        """Begin with a few bases."""
        self.app = app
        self.book = TokenBook(clock, access_seconds=60 * _MINUTE, refresh_seconds=60 * _DAY)
        self._clock = clock
        self.reset(limits)

    def reset(self, limits: LimitSettings) -> None:
        """Go back to the beginning."""
        self._limits = limits
        self.book.reset()
        self.page_size = 1_000
        self.bases = [
            Base(_id("app", name), name, tables, "create" if tables[1:] else "read")
            for name, tables in _NAMES.items()
        ]
        self._windows: dict[str, Window] = defaultdict(lambda: Window(_SECOND_MS))
        self._shut_until: dict[str, int] = {}

    def spend(self, whose: str, ceiling: int) -> None:
        """Let a call in; raise 429, and for half a minute after one."""
        now, window = self._clock.now_ms(), self._windows[whose]
        too_many = ceiling and window.count(now) >= ceiling
        if ceiling and (too_many or now < self._shut_until.get(whose, 0)):
            if too_many:
                self._shut_until[whose] = now + _PENALTY_MS
            message = "Rate limit exceeded. Please try again later"
            refusal = AirtableError(429, "", message)
            refusal.body = {"errors": [{"error": "RATE_LIMIT_REACHED", "message": message}]}
            raise refusal
        window.add(now)

    def admit(self) -> Allowed:
        """What the request's token opens; raise 401."""
        token = bearer()
        if not token:
            raise AirtableError(401, "AUTHENTICATION_REQUIRED", "Authentication required")
        allowed = self.book.find(token)
        if allowed is None:
            raise AirtableError(401, "UNAUTHORIZED", "Invalid authentication token")
        self.spend(token, self._limits.limit_airtable)
        return allowed

    def whoami(self) -> dict[str, Any]:
        """Who let the app in; the address only where that was allowed."""
        scopes = self.admit().scopes
        shown = dict(_USER) if EMAIL_SCOPE in scopes else {"id": _USER["id"]}
        return {**shown, "scopes": sorted(scopes)}

    def list_bases(self) -> dict[str, Any]:
        """A page of the bases that the person chose."""
        bases = self._visible()
        start = _read_offset(request.args.get("offset"))
        if start > len(bases):
            raise _bad_offset()
        page = bases[start : start + self.page_size]
        shown: dict[str, Any] = {
            "bases": [
                {"id": each.id, "name": each.name, "permissionLevel": each.permission}
                for each in page
            ]
        }
        if start + self.page_size < len(bases):
            shown["offset"] = _offset(start + self.page_size)
        return shown

    def list_tables(self, base_id: str) -> dict[str, Any]:
        """The schema of a base."""
        base = next((each for each in self._visible() if each.id == base_id), None)
        if base is None:
            raise _not_permitted()
        self.spend(base_id, self._limits.limit_airtable_base)
        return {"tables": [_table(base, name) for name in base.tables]}

    def _visible(self) -> list[Base]:
        allowed = self.admit()
        if SCHEMA_SCOPE not in allowed.scopes:
            raise _not_permitted()
        return [each for each in self.bases if each.id in allowed.choices]


def airtable_blueprint(airtable: Airtable) -> Blueprint:
    """Build everything under ``/v0/meta`` for an account."""
    blueprint = Blueprint("airtable", __name__, url_prefix="/v0/meta")

    def serve_user() -> Response:
        return _answer(200, airtable.whoami())

    def serve_bases() -> Response:
        return _answer(200, airtable.list_bases())

    def serve_tables(base_id: str) -> Response:
        return _answer(200, airtable.list_tables(base_id))

    blueprint.add_url_rule("/whoami", "whoami", serve_user, methods=["GET"])
    blueprint.add_url_rule("/bases", "list_bases", serve_bases, methods=["GET"])
    blueprint.add_url_rule("/bases/<base_id>/tables", "list_tables", serve_tables, methods=["GET"])
    blueprint.register_error_handler(AirtableError, lambda error: _answer(error.status, error.body))
    return blueprint


def _answer(status: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, content_type="application/json; charset=utf-8")


def _table(base: Base, name: str) -> dict[str, Any]:
    key = f"{base.name} {name}"
    field_id = _id("fld", key)
    return {
        "id": _id("tbl", key),
        "name": name,
        "primaryFieldId": field_id,
        "fields": [{"id": field_id, "name": "Name", "type": "singleLineText"}],
        "views": [{"id": _id("viw", key), "name": "Grid view", "type": "grid"}],
    }


def _id(prefix: str, name: str) -> str:
    """An id as Airtable's are: three letters, and fourteen of letters and digits."""
    digits = "".join(each for each in base64.b64encode(name.encode()).decode() if each.isalnum())
    return prefix + (digits * 14)[-14:]


def _offset(start: int) -> str:
    return "itr" + base64.urlsafe_b64encode(str(start).encode()).decode().rstrip("=")


def _read_offset(offset: str | None) -> int:
    if offset is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(offset.removeprefix("itr") + "==").decode()
        start = int(text) if text.isdecimal() and len(text) < 10 else 0
    except (binascii.Error, ValueError):
        start = 0
    if not start or not offset.startswith("itr"):
        raise _bad_offset()
    return start


def _bad_offset() -> AirtableError:
    return AirtableError(422, "INVALID_OFFSET_VALUE", "The value of offset is invalid")


def _not_permitted() -> AirtableError:
    return AirtableError(
        403,
        "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND",
        "Invalid permissions, or the requested model was not found. Check that both your user and "
        "your token have the required permissions, and that names and ids are correct.",
    )
