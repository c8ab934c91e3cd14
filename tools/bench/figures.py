"""Figures and their goals, as they are printed."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One measured figure beside its goal."""

    name: str
    value: float
    goal: float
    at_most: bool = False

    def __str__(self) -> str:
        met = self.value <= self.goal if self.at_most else self.value >= self.goal
        sign = "at most" if self.at_most else "at least"
        return (
            f"{'met    ' if met else 'NOT MET'}  {self.value:8.2f}  {sign} {self.goal}  {self.name}"
        )


def median_ratio(pairs: list[tuple[float, float]]) -> float:
    """The middle of the ratios of rates that were measured side by side."""
    return median(ours / theirs for ours, theirs in pairs)
