"""Describe what a check of the service found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """What a check found, in a sentence, and what to do about it unless all is well."""

    level: Level
    name: str
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, name, found)


def warn(name: str, found: str, advice: str) -> Finding:
    """It works, but not for long or not in full."""
    return Finding(Level.WARN, name, found, advice)


def fail(name: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(Level.FAIL, name, found, advice)
