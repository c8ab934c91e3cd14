"""How webhooks are delivered: their times, and the disorder that is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from hubspot_sandbox.clock import DAY_MS
from hubspot_sandbox.errors import invalid

_PROBABILITIES: Final = ("duplicates", "reordering", "delay", "loss")


@dataclass(slots=True)
class DeliverySettings:
    """How webhooks are delivered: times in milliseconds, disorder as probabilities from 0 to 1.

    All retries come within ``retry_span_ms``. Each notification may come twice (``duplicates``),
    ``delay_ms`` late (``delay``), late by any part of that and so after others (``reordering``),
    or not at all (``loss``); ``seed`` repeats the choice.
    """

    timeout_ms: int = 5_000
    retry_span_ms: int = DAY_MS
    delay_ms: int = 5_000
    duplicates: float = 0.0
    reordering: float = 0.0
    delay: float = 0.0
    loss: float = 0.0
    seed: int = 0

    def change(self, changes: Mapping[str, Any]) -> None:
        """Set what is named; raise 400 and change nothing when a name or value is wrong."""
        for name, value in changes.items():
            _check(name, value)
        for name, value in changes.items():
            setattr(self, name, value)


def _check(name: str, value: Any) -> None:
    known = [each.name for each in fields(DeliverySettings)]
    if name not in known:
        raise invalid(f"There is no delivery setting {name}, only {known}")
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name in _PROBABILITIES:
        right = (whole or isinstance(value, float)) and 0 <= value <= 1
    else:
        right = whole and 0 <= value <= DAY_MS
    if not right:
        raise invalid(f"The delivery setting {name} cannot be {value!r}")
