"""A partition with lag that stands still."""

from __future__ import annotations

from worker.runtime.stall_watch import StallPolicy, StallWatch

TASK = ("topic", 0)
TIMEOUT_S = 60


class Watched:
    """One task, looked at every second."""

    def __init__(self) -> None:
        self._watch = StallWatch(StallPolicy(TIMEOUT_S))
        self.now = 1000.0

    def look(self, next_offset: int, end: int, *, seconds: int = 1) -> float | None:
        """What the last of the looks says."""
        stood = None
        for _ in range(seconds):
            self.now += 1
            self._watch.look({TASK}, self.now)
            stood = self._watch.see(TASK, next_offset, end, self.now)
        return stood


def test_a_partition_that_stands_still_despite_lag_is_told() -> None:
    watched = Watched()
    assert watched.look(5, 9, seconds=TIMEOUT_S) is None
    assert watched.look(5, 9, seconds=2) == TIMEOUT_S + 1


def test_a_partition_that_moves_is_not() -> None:
    watched = Watched()
    assert [watched.look(offset, 1000, seconds=TIMEOUT_S) for offset in range(5)] == [None] * 5


def test_a_partition_at_its_end_is_not() -> None:
    watched = Watched()
    assert watched.look(9, 9, seconds=10 * TIMEOUT_S) is None
    assert watched.look(9, 10, seconds=TIMEOUT_S) is None


def test_a_process_that_did_not_look_was_asleep_itself() -> None:
    watched = Watched()
    watched.look(5, 9)
    watched.now += 10 * TIMEOUT_S
    assert watched.look(5, 9, seconds=TIMEOUT_S) is None


def test_a_partition_that_came_back_is_looked_at_anew() -> None:
    watched = Watched()
    watched.look(5, 9, seconds=TIMEOUT_S)
    watched._watch.look(set(), watched.now)
    assert watched.look(5, 9, seconds=TIMEOUT_S) is None
