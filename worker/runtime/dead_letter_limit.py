"""When so many records are dead letters that the fault is not theirs. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_RECORDS = 1000
LEAST_RECORDS = 100  # before that many were seen, a share says nothing


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """The largest share of dead letters among the last 1000 records of the input; 0 = any share is fine."""

    max_ratio: float


class DeadLetterRatio:
    """The share of dead letters among the last records."""

    def __init__(self, limit: DeadLetterLimit) -> None:
        self._limit = limit
        self._last: deque[bool] = deque(maxlen=WINDOW_RECORDS)
        self._dead = 0

    def note_good(self, count: int) -> None:
        """So many more records of the input were readable."""
        if self._limit.max_ratio > 0:
            for _ in range(min(count, WINDOW_RECORDS)):
                self._note(dead=False)

    def note_dead(self) -> None:
        """One more record of the input is a dead letter."""
        if self._limit.max_ratio > 0:
            self._note(dead=True)

    def _note(self, *, dead: bool) -> None:
        if len(self._last) == WINDOW_RECORDS:
            self._dead -= self._last[0]
        self._last.append(dead)
        self._dead += dead

    @property
    def ratio(self) -> float:
        return self._dead / len(self._last) if self._last else 0.0

    @property
    def is_exceeded(self) -> bool:
        return 0 < self._limit.max_ratio < self.ratio and len(self._last) >= LEAST_RECORDS
