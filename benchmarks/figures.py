"""What a benchmark found out: figures with their spread, ratios between them, and what was wrong."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured several times: once in each round, unless it says otherwise."""

    name: str
    unit: str
    values: tuple[float, ...]
    digits: int = 1

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def over(self, other: Figure, name: str) -> Figure:
        """The ratio to another figure, measurement by measurement: what disturbs the machine then disturbs both.
        Infinite where the other was too short to be measured."""
        pairs = zip(self.values, other.values, strict=True)
        ratios = tuple([mine / theirs if theirs else math.inf for mine, theirs in pairs])
        return Figure(name, "x", ratios, digits=2)

    def every(self, step: int, first: int) -> Figure:
        """Only the values of every `step`-th measurement."""
        return replace(self, values=self.values[first::step])

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "min": min(self.values),
            "median": self.median,
            "max": max(self.values),
            "values": list(self.values),
        }


@dataclass(frozen=True, slots=True)
class Series:
    """Points of a curve, for the plot: each names the same quantities."""

    name: str
    points: tuple[dict[str, float], ...]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "points": list(self.points)}


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one question. `ratios` first: they are what a shared machine lets one compare.

    `facts` say how it was measured; `wrong` is empty unless the run did not do its work, and then the figures are void.
    `series` are in the JSON only, for the plots.
    """

    question: str
    title: str
    ratios: tuple[Figure, ...]
    figures: tuple[Figure, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    series: tuple[Series, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "title": self.title,
            "ratios": [figure.as_json() for figure in self.ratios],
            "figures": [figure.as_json() for figure in self.figures],
            "facts": self.facts,
            "wrong": list(self.wrong),
            "series": [each.as_json() for each in self.series],
        }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; `values` are sorted."""
    if not values:
        raise ValueError("nothing was measured")
    return values[max(0, math.ceil(share * len(values)) - 1)]
