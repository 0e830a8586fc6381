"""Who was erased, up to when: what is written again."""

from __future__ import annotations

from tests.routed import routed
from worker.context.session_memory import NEVER
from worker.pipeline.repartition import PUBLISH_AGAIN, Reset
from worker.replay.repartition_log import RepartitionLog, resets_deleted_before


class Log(RepartitionLog):
    def event(self, at: float, user: str = "alice", *, partition: int = 0, stream: float | None = None) -> None:
        self.add(partition, 1000.0, [routed(user, at, 0, stream_time=stream)])

    def reset(self, at: float, user: str = "alice", *, partition: int = 0, mark: float | None = None) -> None:
        self.add(partition, at, Reset(user, mark))


def test_a_reset_reaches_up_to_its_time() -> None:
    log = Log()
    log.event(3)
    log.reset(5)
    log.event(7)
    log.reset(6, "bob")
    assert log.marks == {"alice": 5, "bob": 6}


def test_a_reset_reaches_up_to_the_newest_event_that_counted_by_then() -> None:
    log = Log()
    log.event(7)
    log.event(9, "bob")
    log.reset(5)
    log.event(6)  # erased: it is not what the next reset finds
    log.reset(5.5)
    assert log.marks == {"alice": 7}


def test_marks_never_go_back() -> None:
    log = Log()
    log.reset(5)
    log.reset(3)
    log.reset(9, mark=2)
    assert log.marks == {"alice": 5}


def test_what_was_written_again_erases_nothing_that_happened_since() -> None:
    log = Log()
    log.reset(5)
    log.event(7)
    log.reset(9, mark=5)
    assert log.marks == {"alice": 5}


def test_a_user_that_was_only_published_again_was_not_erased() -> None:
    log = Log()
    log.event(7)
    log.reset(9, mark=PUBLISH_AGAIN)
    assert log.marks == {}


def test_a_user_with_two_homes_is_judged_in_each() -> None:
    """When partitions are added a user moves; the logs of two partitions have no common order."""
    log = Log()
    log.event(9, partition=1)
    log.reset(5, partition=0)
    assert log.marks == {"alice": 5}
    log.reset(6, partition=1)
    assert log.marks == {"alice": 9}


def test_stream_time_is_the_largest_of_each_partition() -> None:
    log = Log()
    log.event(7, stream=6)
    log.event(3)
    log.event(9, partition=2, stream=8)
    log.reset(50)
    assert log.stream_times == {0: 6, 2: 8}


def test_resets_may_be_deleted_where_the_log_has_lost_its_beginning() -> None:
    log = Log()
    log.reset(5, partition=0)
    log.reset(6, partition=1)
    log.reset(7, partition=1)
    assert resets_deleted_before(log.first_timestamps, {0: 0, 1: 0}, 99) == NEVER
    assert resets_deleted_before(log.first_timestamps, {0: 3, 1: 0}, 99) == 5
    assert resets_deleted_before(log.first_timestamps, {0: 3, 1: 3}, 99) == 6
    assert resets_deleted_before(log.first_timestamps, {0: 3, 2: 3}, 99) == 99
