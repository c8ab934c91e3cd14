"""Charts: drawn by the server as SVG, each beside a table that says the same."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 100
"""Of a bar that is as long as can be, in the chart's own units."""


@dataclass(frozen=True)
class Bar:
    """One thing that a chart counts."""

    label: str
    value: float
    note: str = ""
    """What else there is to say of it, in the table's last column."""


def lengths(bars: Sequence[Bar]) -> list[float]:
    """How long each bar is; one that stands for something can always be seen."""
    largest = max((each.value for each in bars), default=0)
    return [
        max(WIDTH * each.value / largest, 1.0) if each.value > 0 and largest > 0 else 0.0
        for each in bars
    ]
