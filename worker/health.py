"""Whether a member lives, and whether it is ready: computed from facts when somebody asks. The broker is never asked.

May be called from any thread: everything is read with one look each.
"""

from __future__ import annotations

from worker.runtime.assignment import Assignment
from worker.runtime.clock import Clock
from worker.runtime.poll_loop import PollLoop


class Health:
    """Alive: the loop's heartbeat is younger than `longest_turn_s`. Ready: joined, and every owned partition RUNNING (a
    member that owns none is ready, one that is about to stop is not)."""

    def __init__(self, loop: PollLoop, assignment: Assignment, clock: Clock, longest_turn_s: float) -> None:
        self._loop = loop
        self._assignment = assignment
        self._clock = clock
        self._longest_turn_s = longest_turn_s

    @property
    def heartbeat_age_s(self) -> float:
        return max(0.0, self._clock.monotonic() - self._loop.last_turn)

    @property
    def is_alive(self) -> bool:
        return self.heartbeat_age_s <= self._longest_turn_s

    @property
    def is_ready(self) -> bool:
        return not self.why_not_ready

    @property
    def why_not_ready(self) -> str:
        """What is waited for; "" when it is ready."""
        if self._loop.is_stopping:
            return "stopping"
        if not self._assignment.has_joined:
            return "has not joined the group"
        if not self.is_alive:
            return "the loop does not come round"
        waiting = [task for task in list(self._assignment.tasks.values()) if not task.is_running]
        return f"{len(waiting)} partitions are being restored" if waiting else ""
