"""Faults on request: which of them strikes a request, decided by chance with a seed of its own."""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from threading import Lock
from typing import Any, Final

KINDS: Final = frozenset(
    {"status", "slow", "reset_before", "reset_after", "truncated_json", "html"}
)
STATUSES: Final = frozenset({423, 429, 477, 500, 502, 503, 504})
_DEFAULT_STATUS: Final = 503
_HTML_STATUS: Final = 502


class FaultError(ValueError):
    """A fault was described in a way that the sandbox does not understand."""


@dataclass(slots=True)
class Fault:
    """One kind of trouble.

    ``probability`` is decided by a generator seeded with ``seed``; ``count`` is how many times
    it may still strike, None for ever; ``match`` is a regular expression sought in
    ``METHOD /path``. ``status`` belongs to the kinds status and html, ``seconds`` to slow.
    """

    kind: str
    probability: float = 1.0
    seed: int = 0
    count: int | None = None
    match: str = ""
    status: int = 0
    seconds: float = 1.0

    def __post_init__(self) -> None:
        """Raise FaultError for anything that could not work."""
        if self.kind not in KINDS:
            raise FaultError(f"unknown kind {self.kind!r}, known are {sorted(KINDS)}")
        self.status = self.status or (_HTML_STATUS if self.kind == "html" else _DEFAULT_STATUS)
        if self.kind == "status" and self.status not in STATUSES:
            raise FaultError(f"status {self.status} is none of {sorted(STATUSES)}")
        if not 0 <= self.probability <= 1 or not 0 <= self.seconds <= 300:
            raise FaultError("probability must be from 0 to 1, seconds from 0 to 300")
        try:
            re.compile(self.match)
        except re.error as error:
            raise FaultError(f"match is no regular expression: {error}") from error


class FaultPlan:
    """The faults now in force, in their order; at most one strikes a request."""

    def __init__(self) -> None:
        """Start without faults."""
        self._lock = Lock()
        self._faults: list[tuple[Fault, random.Random]] = []

    def replace(self, described: Iterable[Mapping[str, Any]]) -> None:
        """Put other faults in force; raise FaultError and change nothing when one is wrong."""
        faults = [read_fault(each) for each in described]
        with self._lock:
            # Seeds are for repeatable disorder, not for secrets.
            self._faults = [(each, random.Random(each.seed)) for each in faults]  # noqa: S311

    def describe(self) -> list[dict[str, Any]]:
        """Return the faults in force as JSON values, with the counts that are left."""
        with self._lock:
            return [asdict(fault) for fault, _ in self._faults]

    def strike(self, request_line: str) -> Fault | None:
        """Return the first fault that strikes this ``METHOD /path`` and count it; or None."""
        with self._lock:
            return next(
                (fault for fault, dice in self._faults if _hits(fault, dice, request_line)), None
            )


def read_fault(described: Mapping[str, Any]) -> Fault:
    """Make a fault of its JSON description; raise FaultError when it is wrong."""
    if not isinstance(described, Mapping):
        raise FaultError("a fault is an object")
    unknown = set(described) - {each.name for each in fields(Fault)}
    if unknown or "kind" not in described:
        raise FaultError(f"a fault has a kind and no field named {sorted(unknown)}")
    try:
        return Fault(**described)
    except TypeError as error:
        raise FaultError(str(error)) from error


def _hits(fault: Fault, dice: random.Random, request_line: str) -> bool:
    if fault.count == 0 or not re.search(fault.match, request_line):
        return False
    if dice.random() >= fault.probability:
        return False
    if fault.count is not None:
        fault.count -= 1
    return True
