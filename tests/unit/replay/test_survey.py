"""What a replay finds out before it does anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self, cast

import pytest

from schemas.user_context import UserContext, VisitorContext
from tests.routed import routed
from worker.context.session_memory import NEVER
from worker.errors import ExitCode, Fatal
from worker.group import Group
from worker.pipeline.record import Headers
from worker.pipeline.repartition import FORM, reset_headers, write
from worker.pipeline.restore_point import RestorePoint
from worker.replay.plan import Plan
from worker.replay.start_time import BEGINNING
from worker.replay.survey import Sources, survey
from worker.runtime.offsets import Offsets
from worker.runtime.restore import Committed, LogBounds
from worker.runtime.task import TaskId
from worker.settings import Settings
from worker.topic_reader import TopicReader

NOW = 10_000.0
SETTINGS = Settings(
    input_topic="in", output_topic="out", repartition_topic="users",
    lookback_seconds=10, max_clock_skew_s=3, link_retention_s=40, expire_idle_users=False,
)  # fmt: skip
FLOOR = NOW - 23  # of a user seen just now


class Record:
    def __init__(
        self, at: float, key: bytes | None, value: bytes | None, headers: Headers | None = None, topic: str = "users"
    ) -> None:
        self.at = at
        self._key, self._value, self._headers, self._topic = key, value, headers, topic

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Headers | None:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 2, round(self.at * 1000)


class World:
    """One partition of each topic. `timestamps` are those of the input's records, of which the first are `deleted`."""

    def __init__(self) -> None:
        self.timestamps = [NOW - 100 + 10 * n for n in range(11)]
        self.deleted = 0
        self.users: list[Record] = [event(NOW, "alice")]
        self.users_deleted = 0
        self.output: list[Record] = []
        self.sessions: list[Record] = []
        self.commits: dict[TaskId, Committed] = {
            ("in", 0): Committed(11, RestorePoint(11, NOW)),
            ("users", 0): Committed(1, RestorePoint(0, NOW)),
        }

    def survey(self, asked: float = BEGINNING, settings: Settings = SETTINGS) -> Plan:
        group, offsets = cast(Group, self), cast(Offsets, self)
        sources = Sources(group, offsets, self.look_into, {"in": 1, "users": 1, "out": 1, "sessions": 1})
        return survey(sources, settings, asked, NOW)

    def committed(self, ids: Iterable[TaskId]) -> dict[TaskId, Committed]:
        return {task_id: self.commits.get(task_id, Committed(None, None)) for task_id in ids}

    def bounds(self, ids: Iterable[TaskId]) -> dict[TaskId, LogBounds]:
        every = {
            ("in", 0): LogBounds(self.deleted, len(self.timestamps)),
            ("users", 0): LogBounds(self.users_deleted, self.users_deleted + len(self.users)),
        }
        return {task_id: every[task_id] for task_id in ids}

    def first_at(self, task_id: TaskId, timestamp: float) -> int | None:
        assert task_id == ("in", 0)
        found = [n for n, at in enumerate(self.timestamps) if at >= timestamp and n >= self.deleted]
        return found[0] if found else None

    def timestamp_at(self, _task_id: TaskId, offset: int) -> float | None:
        return self.timestamps[offset]

    def look_into(self, topic: str) -> TopicReader:
        logs = {"users": self.users, "out": self.output, "sessions": self.sessions}
        return cast(TopicReader, Reader(logs[topic]))


class Reader:
    def __init__(self, records: list[Record]) -> None:
        self.ends = {0: 50 + len(records)}
        self._records = records

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        pass

    def to_end(self, offsets: Mapping[int, int]) -> Iterator[Record]:
        assert offsets.keys() == {0}
        yield from self._records


def event(at: float, user: str) -> Record:
    return Record(at, None, write([routed(user, at, 0)]))


def test_sessions_that_stand_are_known_where_they_have_a_topic() -> None:
    world = World()
    value = VisitorContext(session_id="s", updated_at=0, expires_at=1).model_dump_json().encode()
    world.sessions = [Record(NOW, b"s", value), Record(NOW, b"t", value), Record(NOW, b"t", None)]
    assert world.survey().sessions == frozenset()
    named = SETTINGS.model_copy(update={"session_output_topic": "sessions"})
    assert world.survey(settings=named).sessions == {b"s"}


def test_everything_is_known_of_a_whole_log() -> None:
    world = World()
    world.users.insert(0, Record(NOW - 95, b"bob", None, reset_headers(None)))
    world.output = [
        Record(NOW, b"alice", UserContext(user_id="alice", updated_at=0, expires_at=1).model_dump_json().encode()),
        Record(NOW, b"bob", None),
    ]
    plan = world.survey()
    (start,) = plan.inputs
    assert (start.restore, start.start, start.end) == (0, 0, 11)
    assert plan.since == BEGINNING
    assert plan.marks == {"bob": NOW - 95}
    assert plan.standing == frozenset({b"alice"})
    assert (plan.empty_from, plan.output_ends) == ({0: 52}, {0: 52})
    assert not plan.resets_are_deleted
    assert not plan.topic_is_younger
    assert plan.windows_are_whole
    assert plan.committed == world.commits


def test_it_begins_as_early_as_the_slowest_partition_needs() -> None:
    world = World()
    assert world.survey(NOW - 5).since == FLOOR
    assert world.survey(NOW - 5).inputs[0].start == 8
    world.commits["users", 0] = Committed(1, RestorePoint(0, NOW + 2))  # further than what is left on the topic
    assert world.survey(NOW - 5).since == FLOOR + 2
    world.users, world.commits["users", 0] = [], Committed(1, RestorePoint(0, NEVER))
    assert world.survey(NOW - 5).since == FLOOR


def test_resets_may_be_missing_where_records_are_older_than_the_topic() -> None:
    """The first record of the input is at NOW - 100; a topic may be 20 s older than its own first record."""
    world = World()
    world.users = [event(NOW - 79, "alice")]
    assert world.survey().topic_is_younger
    assert not world.survey(NOW - 5).topic_is_younger
    world.users = [event(NOW - 80, "alice")]
    assert not world.survey().topic_is_younger


def test_resets_may_be_missing_where_they_are_deleted() -> None:
    world = World()
    world.users, world.users_deleted = [event(NOW - 99, "alice")], 5
    assert world.survey().resets_are_deleted
    assert not world.survey(NOW - 5).resets_are_deleted
    world.users = [event(NOW - 100, "alice")]
    assert not world.survey().resets_are_deleted
    world.users = []
    assert world.survey(NOW - 5).resets_are_deleted


@pytest.mark.parametrize(
    ("deleted", "known", "whole"),
    [(0, NEVER, True), (7, NEVER, True), (8, NOW, False), (11, NOW, False), (11, NEVER, False), (11, FLOOR - 1, True)],
)
def test_windows_are_whole_where_the_input_reaches_back_far_enough(deleted: int, known: float, whole: bool) -> None:
    world = World()
    world.deleted = deleted
    world.commits["in", 0] = Committed(11, RestorePoint(11, known))
    assert world.survey(NOW - 5).windows_are_whole is whole


def test_a_record_that_cannot_be_read_ends_it_with_a_name() -> None:
    world = World()
    world.users = [Record(NOW, b"alice", bytes([FORM + 1]))]
    with pytest.raises(Fatal, match=r"users\[0\] offset 0 holds") as refused:
        world.survey()
    assert refused.value.exit_code == ExitCode.UNKNOWN_FORM
