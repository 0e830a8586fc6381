"""A group that somebody has worked in since the plan was made is not moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytest

from tests.unit.replay.plans import plan
from worker.errors import ExitCode, Fatal
from worker.group import Group, Owner
from worker.pipeline.record import Headers
from worker.pipeline.restore_point import RestorePoint
from worker.replay import command, rewind
from worker.runtime.restore import Committed
from worker.runtime.task import TaskId
from worker.settings import Settings

SETTINGS = Settings(input_topic="in", repartition_topic="users", session_output_topic="sessions")
TASK: TaskId = ("in", 0)


class FakeGroup:
    group_id = "g"

    def __init__(self, next_offset: int, *members: Owner) -> None:
        self._committed = {TASK: Committed(next_offset, None)}
        self._members = members
        self.done: list[str] = []

    def members(self) -> tuple[str, tuple[Owner, ...]]:
        return "empty", self._members

    def committed(self, _ids: Iterable[TaskId]) -> dict[TaskId, Committed]:
        return self._committed

    def move(self, positions: Mapping[TaskId, tuple[int, RestorePoint]]) -> None:
        self.done.append(f"moved {len(positions)}")


def run(group: FakeGroup, monkeypatch: pytest.MonkeyPatch, **different: Any) -> None:
    def write_nulls(_settings: Settings, topic: str, records: Iterable[tuple[bytes, Headers]]) -> None:
        group.done.append(f"{topic}: {[(key, len(headers)) for key, headers in records]}")

    monkeypatch.setattr(rewind, "_write_nulls", write_nulls)
    rewind.rewind(cast(Group, group), SETTINGS, plan(committed={TASK: Committed(6, None)}, **different))


def test_the_resets_are_written_before_the_group_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    group = FakeGroup(6)
    run(group, monkeypatch)
    assert group.done == ["users: [(b'alice', 1)]", "moved 4"]


def test_sessions_are_cleared_before_whoever_comes_next_writes_what_they_restore(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = FakeGroup(6)
    run(group, monkeypatch, sessions=frozenset({b"s"}))
    assert group.done[1:] == ["sessions: [(b's', 0)]", "moved 4"]


@pytest.mark.parametrize("group", [FakeGroup(7), FakeGroup(6, Owner("m", "host", ()))])
def test_a_group_that_has_worked_since_is_left_alone(group: FakeGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fatal, match="somebody has worked in group g") as refused:
        run(group, monkeypatch)
    assert refused.value.exit_code == ExitCode.GROUP_IS_LIVE
    assert group.done == []


def test_erased_users_come_back_only_when_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirmed(question: str, *, yes: bool) -> bool:
        asked.append(question)
        return yes

    monkeypatch.setattr(command, "confirmed", confirmed)
    with pytest.raises(Fatal, match="nobody is here to agree") as refused:
        command._agreed(plan(resets_are_deleted=True), yes=False)
    assert refused.value.exit_code == ExitCode.USAGE
    assert command._agreed(plan(resets_are_deleted=True), yes=True)
    assert command._agreed(plan(topic_is_younger=True), yes=True)
    assert command._agreed(plan(), yes=True)
    warned = "Rebuild now, though users who were erased may come back?"
    assert asked == [warned, warned, "Rebuild now?"]
