"""The life cycle of a task: moves that are legal, and those that are not."""

from __future__ import annotations

import itertools

import pytest

from worker.pipeline.restore_point import RestorePoint
from worker.runtime.restore import Start
from worker.runtime.task import LEGAL_MOVES, Task, TaskState

LEGAL = {
    (TaskState.RESTORING, TaskState.RUNNING),
    (TaskState.RESTORING, TaskState.CLOSED),
    (TaskState.RUNNING, TaskState.CLOSED),
}


def task_in(state: TaskState) -> Task:
    task = Task(("topic", 0), Start(RestorePoint(0), 0, 0))
    task.state = state
    return task


def test_the_table_names_every_state() -> None:
    assert set(LEGAL_MOVES) == set(TaskState)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(TaskState, TaskState)))
def test_a_task_makes_legal_moves_only(before: TaskState, after: TaskState) -> None:
    task = task_in(before)
    if (before, after) in LEGAL:
        task.move(after)
        assert task.state is after
    else:
        with pytest.raises(AssertionError):
            task.move(after)
        assert task.state is before
