"""The tools of the admin API for time and for what was served: the clock, the log of requests."""

import re
from typing import Any, Final

from flask import request

from hubspot_sandbox.access_admin import AdminRoute
from hubspot_sandbox.clock import iso, parse_moment
from hubspot_sandbox.errors import invalid
from hubspot_sandbox.payload import JSONObject, parse_object, text_field, whole_number
from hubspot_sandbox.request_log import KEPT
from hubspot_sandbox.store import Sandbox

_CLOCK_FIELDS: Final = frozenset({"now", "offset_ms", "frozen"})
_SECOND: Final = 1_000


def serving_tools(sandbox: Sandbox) -> list[AdminRoute]:
    """Return the tools of a sandbox."""
    tools = _Tools(sandbox)
    return [
        ("GET", "/clock", tools.read_clock),
        ("PUT", "/clock", tools.set_clock),
        ("POST", "/clock/advance", tools.advance_clock),
        ("GET", "/requests/log", tools.list_log),
    ]


class _Tools:
    """Every method returns the JSON to answer with."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def read_clock(self) -> dict[str, Any]:
        clock = self._sandbox.clock
        return {
            "now": iso(clock.now_ms()),
            "offset_ms": clock.offset_ms,
            "frozen": clock.is_frozen,
        }

    def set_clock(self) -> dict[str, Any]:
        """Take ``now`` or ``offset_ms``, and ``frozen``; change nothing when one is wrong."""
        clock, changes = self._sandbox.clock, parse_object(request.get_data())
        if not changes or changes.keys() - _CLOCK_FIELDS or {"now", "offset_ms"} <= changes.keys():
            raise invalid("A clock takes now or offset_ms, and frozen")
        frozen = changes.get("frozen", clock.is_frozen)
        if type(frozen) is not bool:
            raise invalid(f"frozen cannot be {frozen!r}")
        now = _moment(changes) if "now" in changes else None
        offset_ms = _number(changes, "offset_ms", (int,)) if "offset_ms" in changes else None
        try:
            if now is not None:
                clock.set_now(now)
            if offset_ms is not None:
                clock.set_offset(offset_ms)
            clock.freeze(frozen)
            # Again, from the time that stands or goes on now.
            if now is not None:
                clock.set_now(now)
            if offset_ms is not None:
                clock.set_offset(offset_ms)
        except ValueError as error:
            raise invalid(str(error)) from error
        return self.read_clock()

    def advance_clock(self) -> dict[str, Any]:
        """Take ``seconds``, with a fraction if need be."""
        seconds = _number(parse_object(request.get_data()), "seconds", (int, float))
        try:
            self._sandbox.clock.advance(round(seconds * _SECOND))
        except (OverflowError, ValueError) as error:
            raise invalid(str(error)) from error
        return self.read_clock()

    def list_log(self) -> dict[str, Any]:
        """Take ``limit``, ``match`` and ``status`` of the query."""
        limit, status = _query_number("limit"), _query_number("status")
        if limit is not None and not 1 <= limit <= KEPT:
            raise invalid(f"limit must be from 1 to {KEPT}, got {limit}")
        match = request.args.get("match", "")
        try:
            return {"results": self._sandbox.request_log.list(limit or KEPT, match, status)}
        except (re.error, OverflowError, RecursionError) as error:
            raise invalid(f"match is no regular expression: {error}") from error


def _moment(changes: JSONObject) -> int:
    moment = parse_moment(text_field(changes, "now"))
    if moment is None:
        raise invalid(f"now cannot be {changes['now']!r}")
    return moment


def _number(body: JSONObject, name: str, kinds: tuple[type, ...]) -> Any:
    value = body.get(name)
    if type(value) not in kinds:
        raise invalid(f"{name} cannot be {value!r}")
    return value


def _query_number(name: str) -> int | None:
    text = request.args.get(name)
    number = None if text is None else whole_number(text)
    if text is not None and number is None:
        raise invalid(f"{name} cannot be {text!r}")
    return number
