"""What is said of restores while they go on: nothing of short ones. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from worker.runtime.task import Task, TaskId, TaskState

EVERY_S = 2.0  # between two lines, and how long a restore may take unnoticed


class Restoring(NamedTuple):
    """A task on its way from where it began to read, by the next offset, to the committed one."""

    task_id: TaskId
    began_at: int
    next_offset: int
    target: int


class Mark(NamedTuple):
    """Where a task was when it was told of last, or seen first (monotonic)."""

    next_offset: int
    at: float


class RestoreProgress:
    """Remembers how far the tasks were that restore."""

    def __init__(self) -> None:
        self._marks: dict[TaskId, Mark] = {}

    def look(self, restoring: Collection[Restoring], now: float) -> str | None:
        """To be called about ten times a second with all tasks that restore; a line for the log when it is time."""
        marks = {task.task_id: self._mark(task, now) for task in restoring}
        self._marks = marks
        if all(now - mark.at < EVERY_S for mark in marks.values()):
            return None
        self._marks = {task.task_id: Mark(task.next_offset, now) for task in restoring}
        return _line(restoring, marks, now)

    def _mark(self, task: Restoring, now: float) -> Mark:
        mark = self._marks.get(task.task_id)
        began_anew = mark is None or task.next_offset < mark.next_offset
        return Mark(task.next_offset, now) if mark is None or began_anew else mark


def restoring(tasks: Iterable[Task]) -> list[Restoring]:
    """Those of the tasks that restore."""
    return [
        Restoring(task.id, task.start.point.offset, task.next_offset, task.start.next_offset)
        for task in tasks
        if task.state is TaskState.RESTORING
    ]


def _line(tasks: Collection[Restoring], marks: dict[TaskId, Mark], now: float) -> str:
    shares = ", ".join(
        f"{topic}[{partition}] {100 * (next_offset - began_at) // max(1, target - began_at)} %"
        for (topic, partition), began_at, next_offset, target in tasks
    )
    left = sum(task.target - task.next_offset for task in tasks)
    rate = sum(
        (task.next_offset - marks[task.task_id].next_offset) / (now - marks[task.task_id].at)
        for task in tasks
        if now > marks[task.task_id].at
    )
    return f"restoring {shares}: {left:,} records to go, {rate:,.0f}/s, {_rest(left / rate) if rate else NO_END}"


NO_END = "no end in sight"


def _rest(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"about {minutes} min {rest} s" if minutes else f"about {rest} s"
