"""Waiting for the group, then for those whom nobody rebuilt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self, cast

import pytest

from schemas.user_context import UserContext
from tests.unit.replay.plans import plan
from worker.errors import ExitCode, Fatal, Retriable
from worker.group import Group
from worker.replay import catch_up
from worker.replay.catch_up import CatchUp, Outcome, Progress
from worker.runtime.restore import Committed, LogBounds
from worker.runtime.task import TaskId
from worker.settings import Settings

SETTINGS = Settings(input_topic="in", output_topic="out", repartition_topic="users", expire_idle_users=False)
INPUT_ENDS = {("in", 0): 6, ("in", 1): 8}


class FakeGroup:
    """A group that works one record of each partition at every look, and a repartition topic that grows with it."""

    def __init__(self) -> None:
        self.offsets: dict[TaskId, int] = {}
        self.ends: dict[TaskId, int] = {("users", 0): 9, ("users", 1): 9}
        self.refusals: list[Exception] = []

    def committed(self, ids: Iterable[TaskId]) -> dict[TaskId, Committed]:
        if self.refusals:
            raise self.refusals.pop()
        for task_id in ids:
            self.offsets[task_id] = self.offsets.get(task_id, 0) + 1
        return {task_id: Committed(self.offsets[task_id], None) for task_id in ids}

    def bounds(self, ids: Iterable[TaskId]) -> dict[TaskId, LogBounds]:
        return {task_id: LogBounds(0, self.ends[task_id]) for task_id in ids}


class FakeMessage:
    def __init__(self, key: bytes, value: bytes | None) -> None:
        self._key, self._value = key, value

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes | None:
        return self._value


class Output:
    """What the output topic holds since the survey, and what comes `later`."""

    now: list[FakeMessage]
    later: list[FakeMessage]

    def __init__(self, _settings: Settings, topic: str) -> None:
        assert topic == "out"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        pass

    def to_end(self, offsets: Mapping[int, int]) -> Iterator[FakeMessage]:
        assert offsets == {0: 7, 1: 9}
        yield from self.now

    def follow(self, _until: float) -> Iterator[FakeMessage]:
        yield from [self.later.pop(0)] if self.later else []


@pytest.fixture
def group() -> FakeGroup:
    return FakeGroup()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, group: FakeGroup) -> list[tuple[str, float]]:
    """The resets that it writes; the repartition topic grows by them."""
    resets: list[tuple[str, float]] = []

    def write(_settings: Settings, some: Iterable[tuple[str, float]]) -> None:
        resets.extend(some)
        group.ends["users", 0] = 11

    monkeypatch.setattr(catch_up, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(catch_up, "TopicReader", Output)
    monkeypatch.setattr(catch_up, "write_resets", write)
    Output.now, Output.later = [], []
    return resets


class Watched(CatchUp):
    """Runs in the test's own thread."""

    def __init__(self, group: FakeGroup, settings: Settings = SETTINGS) -> None:
        self.shown: list[Progress] = []
        self.finished = 0
        super().__init__(cast(Group, group), settings, plan(), self.shown.append, self._count)

    def _count(self) -> None:
        self.finished += 1


def record(expires_at: float = 9e9) -> bytes:
    return UserContext(user_id="u", updated_at=0.0, expires_at=expires_at).model_dump_json().encode()


def test_it_ends_when_everything_is_committed_and_nobody_is_left(
    group: FakeGroup, written: list[tuple[str, float]]
) -> None:
    Output.now = [FakeMessage(b"alice", record()), FakeMessage(b"bob", None), FakeMessage(b"new", record())]
    one = Watched(group)
    one.run()
    assert one.failure is None
    assert one.outcome == Outcome(2, 1, one.outcome.seconds if one.outcome else 0)
    assert one.finished == 1
    assert written == [("carol", float("-inf"))]
    assert {task_id: min(group.offsets[task_id], end) for task_id, end in (INPUT_ENDS | group.ends).items()} == (
        INPUT_ENDS | group.ends
    )
    whats = list(dict.fromkeys(progress.doing for progress in one.shown))
    assert whats == ["replaying in", "publishing the users", "clearing users of before"]
    assert (one.shown[0], one.shown[-1]) == (
        Progress("replaying in", 1, 10),
        Progress("clearing users of before", 12, 12),
    )


def test_without_anybody_left_nothing_is_written(group: FakeGroup, written: list[tuple[str, float]]) -> None:
    Output.now = [FakeMessage(key, None) for key in (b"alice", b"bob", b"carol")]
    one = Watched(group)
    one.run()
    assert (one.outcome and one.outcome.cleared, written) == (0, [])


def test_a_key_that_is_no_user_id_is_left_alone(
    group: FakeGroup, written: list[tuple[str, float]], caplog: pytest.LogCaptureFixture
) -> None:
    one = Watched(group)
    one._plan = plan(standing=frozenset({b"\xff", b"carol"}))
    one.run()
    assert [user for user, _ in written] == ["carol"]
    assert "no user id" in caplog.text


def test_a_broker_that_does_not_answer_is_asked_again(group: FakeGroup, written: list[tuple[str, float]]) -> None:
    group.refusals = [Retriable("not now"), Retriable("not now")]
    one = Watched(group)
    one.run()
    assert one.outcome is not None


def test_what_goes_wrong_ends_the_member_too(group: FakeGroup, written: list[tuple[str, float]]) -> None:
    group.refusals = [Fatal(ExitCode.NOT_AUTHORIZED, "no right")]
    one = Watched(group)
    one.run()
    assert isinstance(one.failure, Fatal)
    assert (one.outcome, one.finished) == (None, 1)


def test_stopped_it_ends_nothing_and_says_nothing(group: FakeGroup, written: list[tuple[str, float]]) -> None:
    one = Watched(group)
    one._stopped.set()
    one.run()
    assert (one.outcome, one.failure, one.finished, written) == (None, None, 0, [])


def test_users_of_before_get_the_time_to_expire(group: FakeGroup, written: list[tuple[str, float]]) -> None:
    Output.now = [FakeMessage(b"alice", record(1.0)), FakeMessage(b"bob", record())]
    Output.later = [FakeMessage(b"bob", record()), FakeMessage(b"alice", None)]
    one = Watched(group, SETTINGS.model_copy(update={"expire_idle_users": True}))
    one.run()
    assert one.outcome is not None
    assert one.outcome.published == 1
    assert Output.later == []
