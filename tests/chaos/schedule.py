"""When which nemesis begins, and for how long: drawn from a seed, the same for the same seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Span(NamedTuple):
    """Between how many and how many seconds."""

    least: float
    most: float

    def draw(self, rng: random.Random) -> float:
        return round(rng.uniform(*self), 1)


@dataclass(frozen=True, slots=True)
class Step:
    """One nemesis at work: from `at_s` after the traffic began, for `for_s`. `choice` picks its victim."""

    at_s: float
    name: str
    for_s: float
    choice: int

    @property
    def until_s(self) -> float:
        return self.at_s + self.for_s

    def __str__(self) -> str:
        return f"at {self.at_s:5.1f} s  {self.name} for {self.for_s:.1f} s (choice {self.choice})"


@dataclass(frozen=True, slots=True)
class Deck:
    """The nemeses of a scenario, each with how long it lasts. `times`: who comes more than once.

    `overlap`: how often the next one begins before the one before has ended.
    """

    lasts: Mapping[str, Span]
    times: Mapping[str, int] = field(default_factory=dict)
    overlap: float = 0.25


FIRST_AT = Span(2.0, 4.0)
GAP = Span(1.5, 4.0)  # after a nemesis has ended


def draw(seed: str, deck: Deck) -> list[Step]:
    """Every nemesis of the deck as often as the deck says, in an order and at times that the seed decides."""
    rng = random.Random(seed)
    names = [name for name in deck.lasts for _ in range(deck.times.get(name, 1))]
    rng.shuffle(names)
    steps: list[Step] = []
    at = FIRST_AT.draw(rng)
    for name in names:
        step = Step(round(at, 1), name, deck.lasts[name].draw(rng), rng.randrange(1_000_000))
        steps.append(step)
        ahead = rng.random() < deck.overlap
        at = rng.uniform(step.at_s, step.until_s) if ahead else step.until_s + GAP.draw(rng)
    return steps


def length_s(steps: list[Step]) -> float:
    """When the last nemesis has ended."""
    return max((step.until_s for step in steps), default=0.0)
