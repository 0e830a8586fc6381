"""Whether the partitions are still this member's: asked after every gap in which the group may have given them away.

A member that was suspended, paused or starved for longer than its session still believes that it owns them, and what it
produces then would overwrite its successor's records for ever: compaction keeps the higher offset.
"""

from __future__ import annotations

import logging

from worker.errors import TaskMigrated, WorkerError
from worker.runtime.assignment import Assignment
from worker.runtime.checkpoint import Checkpoint
from worker.runtime.clients import ConsumerLike
from worker.runtime.clock import Clock

log = logging.getLogger(__name__)


class Ownership:
    """`check` is called with every turn of the loop and before every record that is produced."""

    def __init__(
        self,
        consumer: ConsumerLike,
        assignment: Assignment,
        checkpoint: Checkpoint,
        clock: Clock,
        session_timeout_s: float,
    ) -> None:
        self._consumer = consumer
        self._assignment = assignment
        self._checkpoint = checkpoint
        self._clock = clock
        self._longest_gap_s = session_timeout_s / 2
        self._checked_at = clock.monotonic()

    def check(self) -> None:
        """Returns at once where the last check was a moment ago, else when a commit has succeeded.

        Raises:
            TaskMigrated: it did not. Nothing may be produced before the group was joined anew (`joined`).
        """
        now = self._clock.monotonic()
        gap = now - self._checked_at
        if gap <= self._longest_gap_s:
            self._checked_at = now
            return
        log.warning("the loop stood still for %.1f s: asking the group whether the partitions are still ours", gap)
        wall = self._clock.wall()
        tasks = self._assignment.tasks.values()
        for task in tasks:
            if task.idle_clock is not None:
                task.idle_clock.stay_awake(wall)
        try:
            self._checkpoint.confirm_ownership(self._consumer, tasks)
        except WorkerError as exc:
            raise TaskMigrated(f"after a gap of {gap:.1f} s: {exc}") from exc
        self._checked_at = self._clock.monotonic()

    def joined(self) -> None:
        """Nothing is owned that was owned before: the count begins anew."""
        self._checked_at = self._clock.monotonic()
