"""A partition with lag that makes no progress: loud, not for ever. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from worker.runtime.task import TaskId


class Progress(NamedTuple):
    """How far a task was, and since when (monotonic)."""

    next_offset: int
    since: float


@dataclass(frozen=True, slots=True)
class StallPolicy:
    """How long a partition may stand still while there is something to read."""

    timeout_s: float


class StallWatch:
    """Remembers when each task last moved."""

    def __init__(self, policy: StallPolicy) -> None:
        self._policy = policy
        self._looked_at = float("-inf")
        self._progress: dict[TaskId, Progress] = {}

    def see(self, task_id: TaskId, next_offset: int, end: int, now: float) -> float | None:
        """Note where a task is; for how long it has stood still, if that is too long."""
        before = self._progress.get(task_id)
        if before is None or before.next_offset != next_offset or next_offset >= end:
            self._progress[task_id] = Progress(next_offset, now)
            return None
        stood = now - before.since
        return stood if stood > self._policy.timeout_s else None

    def look(self, task_ids: set[TaskId], now: float) -> None:
        """To be called before `see`. Forgets the tasks that this member does not have any more, and all that it knew
        before a long time in which it did not look: then it was the process that stood still."""
        if now - self._looked_at > self._policy.timeout_s / 2:
            self._progress.clear()
        self._looked_at = now
        for task_id in self._progress.keys() - task_ids:
            del self._progress[task_id]
