"""Where each partition begins, and what the operator is told."""

from __future__ import annotations

from tests.unit.replay.plans import plan
from worker.pipeline.restore_point import RestorePoint
from worker.replay.plan import InputStart, input_start, warnings
from worker.replay.rewind import positions
from worker.replay.start_time import BEGINNING
from worker.runtime.restore import LogBounds
from worker.settings import Settings

REACH_S = 20.0


class EveryTenSeconds:
    """The record at offset n has the timestamp 10 n; the first `deleted` are gone, there are `end`."""

    def __init__(self, end: int, deleted: int = 0) -> None:
        self.log = LogBounds(deleted, end)

    def first_at(self, _partition: int, timestamp: float) -> int:
        return min(max(self.log.start, -int(-timestamp // 10)), self.log.end)

    def timestamp_at(self, _partition: int, offset: int) -> float | None:
        return None if offset >= self.log.end else 10.0 * offset


def begin(times: EveryTenSeconds, since: float, next_offset: int | None = None) -> InputStart:
    return input_start(0, times.log, next_offset, since, REACH_S, times)


def test_it_runs_from_the_start_and_restores_from_before() -> None:
    assert begin(EveryTenSeconds(9), 55, 9) == InputStart(0, restore=4, start=6, end=9)
    assert begin(EveryTenSeconds(9), 55).records == 3


def test_the_beginning_is_the_start_of_the_log() -> None:
    assert begin(EveryTenSeconds(9), BEGINNING, 9) == InputStart(0, 0, 0, 9)
    assert begin(EveryTenSeconds(9, deleted=2), BEGINNING, 9) == InputStart(0, 2, 2, 9, is_cut=True)


def test_what_the_group_has_not_read_is_not_skipped() -> None:
    assert begin(EveryTenSeconds(9), 55, 4) == InputStart(0, restore=2, start=4, end=9, unread=True)
    assert begin(EveryTenSeconds(9, deleted=5), 75, 3) == InputStart(0, 5, 5, 9, unread=True, is_cut=True)


def test_a_partition_without_newer_records_begins_at_its_end() -> None:
    assert begin(EveryTenSeconds(9), 500, 9) == InputStart(0, 9, 9, 9)
    assert begin(EveryTenSeconds(9, deleted=9), 50, 9) == InputStart(0, 9, 9, 9)


def test_what_is_deleted_may_have_been_needed() -> None:
    assert not begin(EveryTenSeconds(9, deleted=2), 55, 9).is_cut
    assert begin(EveryTenSeconds(9, deleted=4), 55, 9).is_cut
    assert not begin(EveryTenSeconds(9), 15, 9).is_cut


def test_the_group_is_moved_in_both_topics_and_users_begin_with_nothing() -> None:
    settings = Settings(input_topic="in", repartition_topic="users")
    assert positions(plan(), settings) == {
        ("in", 0): (0, RestorePoint(0)),
        ("in", 1): (4, RestorePoint(2)),
        ("users", 0): (3, RestorePoint(3)),
        ("users", 1): (5, RestorePoint(5)),
    }


def test_a_sound_plan_warns_of_nothing() -> None:
    assert list(warnings(plan())) == []
    assert plan().records == 10


def test_each_doubt_is_told_once() -> None:
    (deleted,) = warnings(plan(resets_are_deleted=True, topic_is_younger=True))
    assert "resets that are deleted there are unknown" in deleted
    (younger,) = warnings(plan(topic_is_younger=True))
    assert "under another group id" in younger
    cut = (InputStart(0, 2, 2, 9, is_cut=True),)
    (sessions,) = warnings(plan(inputs=cut))
    assert "anonymous until they are identified again" in sessions
    (users,) = warnings(plan(inputs=cut, windows_are_whole=False))
    assert "the records of live users may lose" in users
    (unread,) = warnings(plan(inputs=(InputStart(3, 2, 2, 9, unread=True),)))
    assert "has not read input partition 3" in unread
