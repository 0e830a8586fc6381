"""What is said of a restore while it goes on."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import Message

from tests.fakes.broker import Stored
from tests.unit.runtime.member import INPUT, FakeMember, new_broker, send
from worker.pipeline.restore_point import RestorePoint, encode
from worker.runtime.restore_progress import EVERY_S, RestoreProgress, Restoring

NOON = 1000.0
TASK, OTHER = ("topic", 0), ("topic", 1)


def test_a_short_restore_is_not_told() -> None:
    progress = RestoreProgress()
    assert progress.look([Restoring(TASK, 0, 10, 100)], NOON) is None
    assert progress.look([Restoring(TASK, 0, 90, 100)], NOON + EVERY_S - 0.1) is None
    assert progress.look([], NOON + EVERY_S) is None


def test_a_longer_one_is_told_with_its_share_its_rate_and_what_is_left() -> None:
    progress = RestoreProgress()
    progress.look([Restoring(TASK, 1000, 1000, 5000)], NOON)
    told = progress.look([Restoring(TASK, 1000, 3000, 5000)], NOON + 2)
    assert told == "restoring topic[0] 50 %: 2,000 records to go, 1,000/s, about 2 s"


def test_it_is_told_again_after_a_while_with_the_rate_since_then() -> None:
    progress = RestoreProgress()
    progress.look([Restoring(TASK, 0, 0, 10_000)], NOON)
    assert progress.look([Restoring(TASK, 0, 1000, 10_000)], NOON + 2) is not None
    assert progress.look([Restoring(TASK, 0, 1500, 10_000)], NOON + 3.9) is None
    told = progress.look([Restoring(TASK, 0, 9000, 10_000)], NOON + 4)
    assert told == "restoring topic[0] 90 %: 1,000 records to go, 4,000/s, about 0 s"


def test_partitions_that_restore_together_are_told_together() -> None:
    progress = RestoreProgress()
    progress.look([Restoring(TASK, 0, 0, 1000), Restoring(OTHER, 0, 0, 3000)], NOON)
    told = progress.look([Restoring(TASK, 0, 500, 1000), Restoring(OTHER, 0, 300, 3000)], NOON + 2)
    assert told == "restoring topic[0] 50 %, topic[1] 10 %: 3,200 records to go, 400/s, about 8 s"


def test_a_restore_that_stands_still_has_no_end_in_sight() -> None:
    progress = RestoreProgress()
    progress.look([Restoring(TASK, 0, 7, 100)], NOON)
    told = progress.look([Restoring(TASK, 0, 7, 100)], NOON + 2)
    assert told == "restoring topic[0] 7 %: 93 records to go, 0/s, no end in sight"


def test_a_long_rest_is_told_in_minutes() -> None:
    progress = RestoreProgress()
    progress.look([Restoring(TASK, 0, 0, 100_000)], NOON)
    told = progress.look([Restoring(TASK, 0, 1000, 100_000)], NOON + 2)
    assert told is not None
    assert told.endswith("500/s, about 3 min 18 s")


def test_a_partition_that_comes_later_has_two_seconds_of_its_own() -> None:
    progress = RestoreProgress()
    progress.look([Restoring(TASK, 0, 0, 1000)], NOON)
    assert progress.look([Restoring(OTHER, 0, 0, 1000)], NOON + 2) is None, "another one, and the first is done"
    assert progress.look([Restoring(OTHER, 0, 100, 1000)], NOON + 4) is not None


def test_a_restore_that_began_anew_is_not_told_a_negative_rate() -> None:
    progress = RestoreProgress()
    progress.look([Restoring(TASK, 0, 500, 1000)], NOON)
    progress.look([Restoring(TASK, 0, 100, 1000)], NOON + 1)
    told = progress.look([Restoring(TASK, 0, 300, 1000)], NOON + 3)
    assert told == "restoring topic[0] 30 %: 700 records to go, 100/s, about 7 s"


def test_a_member_tells_of_a_restore_that_takes_longer_than_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    broker = new_broker()
    for number in range(100):
        send(broker, text=str(number))
    broker.commits[INPUT, 0] = Stored(100, encode(RestorePoint(0)))
    member = FakeMember(broker, wanted=[(INPUT, 0)])
    consume = member.consumer.consume

    def slowly(_: int, timeout: float) -> list[Message]:
        broker.clock.sleep(0.05)
        return consume(1, timeout)

    member.consumer.consume = slowly  # type: ignore[method-assign, assignment]
    member.turn(60)
    assert member.tasks[INPUT, 0].is_running
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("restoring ")]
    assert len(told) == 2, "of five seconds"
    assert all(line.startswith("restoring input[0] ") and ", 20/s, about " in line for line in told)
