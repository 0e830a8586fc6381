"""Which dead letters are meant."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from worker.dlq.letter import Letter


@dataclass(frozen=True, slots=True)
class Selection:
    """By reason (empty = any), and by when they were written (`since`: Unix seconds); of those the newest `limit`."""

    reasons: frozenset[str] = frozenset()
    since: float | None = None
    limit: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether it is meant; the limit is not looked at."""
        if self.reasons and letter.why.reason not in self.reasons:
            return False
        return self.since is None or (letter.written_ms or 0) >= self.since * 1000


def newest(letters: Iterable[Letter], limit: int) -> list[Letter]:
    """The last `limit` that were written, oldest first."""
    return sorted(heapq.nlargest(limit, letters, key=age_key), key=age_key)


def age_key(letter: Letter) -> tuple[int, int, int]:
    """Sorts letters by when they were written."""
    return letter.written_ms or 0, letter.partition, letter.offset
