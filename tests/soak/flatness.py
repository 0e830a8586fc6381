"""Whether a series of samples is flat, and how steep it is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import NamedTuple

HOUR_S = 3600.0
FEWEST = 6  # samples that a verdict needs
MOST = 300  # samples that a slope is made of: it looks at every pair


class Sample(NamedTuple):
    """A value at a time, in seconds."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Criterion:
    """Flat: the median of the last third is not above that of the first third by more than `share` of it, or `least`
    where that is more."""

    what: str
    unit: str
    share: float
    least: float

    def allowed(self, samples: Sequence[Sample]) -> float:
        """How much it may grow."""
        return max(self.least, self.share * _middle(samples[: len(samples) // 3]))

    def is_flat(self, samples: Sequence[Sample]) -> bool:
        """False also for too few samples: who did not look has seen nothing."""
        return len(samples) >= FEWEST and growth(samples) <= self.allowed(samples)

    def verdict(self, samples: Sequence[Sample]) -> str:
        """One line for people."""
        if len(samples) < FEWEST:
            return f"{self.what}: {len(samples)} samples are too few"
        third, unit = len(samples) // 3, self.unit
        return (
            f"{self.what}: {'flat' if self.is_flat(samples) else 'NOT FLAT'}; "
            f"from {_middle(samples[:third]):.1f} to {_middle(samples[-third:]):.1f} {unit}, "
            f"{growth(samples):+.1f} (allowed {self.allowed(samples):.1f}), "
            f"slope {slope_per_hour(samples):+.1f} {unit} per hour"
        )


def growth(samples: Sequence[Sample]) -> float:
    """From the first third to the last, by their medians."""
    third = len(samples) // 3
    return _middle(samples[-third:]) - _middle(samples[:third])


def slope_per_hour(samples: Sequence[Sample]) -> float:
    """The median of the slopes of all pairs (Theil and Sen): a single spike does not bend it."""
    thinned = samples[:: max(1, len(samples) // MOST)]
    slopes = [(b.value - a.value) / (b.at - a.at) for a, b in combinations(thinned, 2) if b.at > a.at]
    return median(slopes) * HOUR_S if slopes else 0.0


def _middle(samples: Sequence[Sample]) -> float:
    return median(sample.value for sample in samples)
