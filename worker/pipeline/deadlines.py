"""Who is due at a time. Many wait, each for some minutes, and are put off again and again."""

from __future__ import annotations

from heapq import heappop, heappush
from math import floor

from worker.context.session_memory import NEVER


class Deadlines:
    """Names and their deadlines (Unix seconds). Those of a second wait together until it begins, and only then each for
    its own time: a tenth of the memory that a heap of all of them takes."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[str]] = {}
        self._order: list[int] = []  # a heap of the seconds
        self._begun = NEVER  # all seconds up to here
        self._near: list[tuple[float, str]] = []  # a heap of those in the seconds that have begun

    def __len__(self) -> int:
        return len(self._near) + sum(map(len, self._seconds.values()))

    def add(self, deadline: float, name: str) -> None:
        """Nobody looks whether the name waits already."""
        if deadline <= self._begun:
            heappush(self._near, (deadline, name))
            return
        second = floor(deadline)
        waiting = self._seconds.get(second)
        if waiting is None:
            waiting = self._seconds[second] = []
            heappush(self._order, second)
        waiting.append(name)

    def pop(self, clock: float) -> list[str]:
        """Take out all whose deadline is before `clock`. Among them may be some who are due within a second from then:
        they are to be added again."""
        due = []
        while self._near and self._near[0][0] < clock:
            due.append(heappop(self._near)[1])
        while self._order and self._order[0] < clock:
            second = heappop(self._order)
            due += self._seconds.pop(second)
            self._begun = second + 1.0
        return due
