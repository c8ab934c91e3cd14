"""Faults on request: which of them strikes a request, decided by chance with a seed of its own."""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from threading import Lock
from typing import Any, Final

from hubspot_sandbox.fault_answers import PAGES, STATUSES
from hubspot_sandbox.limits import POLICIES

KINDS: Final = frozenset(
    {"status", "slow", "reset_before", "reset_after", "truncated_json", "html", "expire_token"}
)
_DEFAULT_STATUS: Final = {"status": 503, "html": 502}
_LONGEST_SLOW_SECONDS: Final = 300
_LONGEST_RETRY_SECONDS: Final = 86_400
_LARGEST: Final = 2**63
_NUMBERS: Final = {"probability": float, "seconds": float}
_WHOLE: Final = frozenset({"seed", "count", "status", "retry_after"})


class FaultError(ValueError):
    """A fault was described in a way that the sandbox does not understand."""


@dataclass(slots=True)
class Fault:
    """One kind of trouble.

    ``probability`` is decided by a generator seeded with ``seed``; ``count`` is how many times
    it may still strike, None for ever; ``match`` is a regular expression sought in
    ``METHOD /path``. ``status`` belongs to the kinds status and html, ``seconds`` to slow,
    ``policy`` to status 429: the limit that was reached. ``retry_after`` is what the header says,
    in seconds. ``struck`` counts its strikes.
    """

    kind: str
    probability: float = 1.0
    seed: int = 0
    count: int | None = None
    match: str = ""
    status: int = 0
    seconds: float = 1.0
    policy: str = "ten_secondly"
    retry_after: int | None = None
    struck: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Raise FaultError for anything that could not work."""
        self._check_types()
        if self.kind not in KINDS:
            raise FaultError(f"unknown kind {self.kind!r}, known are {sorted(KINDS)}")
        self.status = self.status or _DEFAULT_STATUS.get(self.kind, 0)
        statuses = {"status": STATUSES, "html": frozenset(PAGES)}.get(self.kind)
        if statuses and self.status not in statuses:
            raise FaultError(f"status {self.status} is none of {sorted(statuses)}")
        if self.policy not in POLICIES:
            raise FaultError(f"policy {self.policy!r} is none of {sorted(POLICIES)}")
        if not 0 <= self.probability <= 1 or not 0 <= self.seconds <= _LONGEST_SLOW_SECONDS:
            raise FaultError("probability must be from 0 to 1, seconds from 0 to 300")
        if not 0 <= (self.retry_after or 0) <= _LONGEST_RETRY_SECONDS:
            raise FaultError(f"retry_after must be from 0 to {_LONGEST_RETRY_SECONDS}")
        try:
            re.compile(self.match)
        except (re.error, OverflowError, RecursionError) as error:
            raise FaultError(f"match is no regular expression: {error}") from error

    def _check_types(self) -> None:
        for name in ("kind", "match", "policy"):
            if not isinstance(getattr(self, name), str):
                raise FaultError(f"{name} must be text")
        for name in _NUMBERS:
            if type(getattr(self, name)) not in (int, float):
                raise FaultError(f"{name} must be a number")
        for name in _WHOLE:
            value = getattr(self, name)
            may_be_none = name in ("count", "retry_after")
            if not (value is None and may_be_none) and not _is_whole(value):
                raise FaultError(f"{name} must be a whole number")


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
        if not self._faults:
            return None
        with self._lock:
            return next(
                (fault for fault, dice in self._faults if _hits(fault, dice, request_line)), None
            )


def read_fault(described: Mapping[str, Any]) -> Fault:
    """Make a fault of its JSON description; raise FaultError when it is wrong."""
    if not isinstance(described, Mapping):
        raise FaultError("a fault is an object")
    unknown = set(described) - {each.name for each in fields(Fault) if each.init}
    if unknown:
        raise FaultError(f"a fault has no field named {sorted(unknown)}")
    if "kind" not in described:
        raise FaultError("a fault has a kind")
    return Fault(**described)


def parse_fault(text: str) -> dict[str, Any]:
    """Read a fault as the command line gives it, such as ``status=503,probability=0.1``.

    A kind stands alone, as in ``slow,seconds=2``; ``status=503`` tells its kind itself. Raises
    FaultError when it is wrong.
    """
    described: dict[str, Any] = {}
    # A comma may also stand in the regular expression of ``match``.
    for part in re.split(r",(?=[a-z_]+(?:=|$))", text):
        name, given, value = part.partition("=")
        described |= {name: _read_value(name, value)} if given else {"kind": name}
    if "status" in described:
        described.setdefault("kind", "status")
    read_fault(described)
    return described


def _read_value(name: str, text: str) -> Any:
    try:
        return int(text) if name in _WHOLE else _NUMBERS.get(name, str)(text)
    except ValueError as error:
        raise FaultError(f"{name} cannot be {text!r}") from error


def _is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _hits(fault: Fault, dice: random.Random, request_line: str) -> bool:
    if fault.count == 0 or not re.search(fault.match, request_line):
        return False
    if dice.random() >= fault.probability:
        return False
    if fault.count is not None:
        fault.count -= 1
    fault.struck += 1
    return True
