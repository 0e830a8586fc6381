"""Partitions that the client holds and no task works on: nobody else would ever notice. Pure: time is an argument."""

from __future__ import annotations

from worker.runtime.task import TaskId


class OrphanWatch:
    """Remembers since when there are such. A moment is normal: tasks are dropped before the client lets go."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: dict[TaskId, float] = {}

    def look(self, held: set[TaskId], worked_on: set[TaskId], now: float) -> set[TaskId]:
        """The partitions that have been without a task for too long. Monotonic time."""
        orphans = held - worked_on
        self._since = {task_id: self._since.get(task_id, now) for task_id in orphans}
        return {task_id for task_id, since in self._since.items() if now - since > self._patience_s}

    def forget(self) -> None:
        """The client joins anew: the count begins anew."""
        self._since.clear()
