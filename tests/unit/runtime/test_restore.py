"""Where a task begins, and what it does until it has caught up with what is committed."""

from __future__ import annotations

import pytest

from tests.fakes.broker import Stored
from tests.unit.runtime.member import (
    HOP,
    INPUT,
    OUTPUT,
    FakeMember,
    committed,
    hops,
    new_broker,
    records,
    send,
    texts,
)
from worker.context.session_memory import NEVER
from worker.errors import ExitCode, Fatal
from worker.pipeline.restore_point import RestorePoint, encode
from worker.runtime.restore import Committed, LogBounds, Start, start_of

FALLBACK = RestorePoint(3, NEVER)
POINT = RestorePoint(4, 100.0)


@pytest.mark.parametrize(
    ("committed_at", "log", "expected"),
    [
        pytest.param(Committed(None, None), LogBounds(0, 0), Start(RestorePoint(0), 0, 0), id="nothing, empty log"),
        pytest.param(Committed(None, None), LogBounds(0, 1), Start(RestorePoint(0), 0, 1), id="nothing, one record"),
        pytest.param(
            Committed(None, None), LogBounds(7, 9), Start(RestorePoint(7), 7, 9), id="nothing, log starts late"
        ),
        pytest.param(
            Committed(0, RestorePoint(0)), LogBounds(0, 0), Start(RestorePoint(0), 0, 0), id="at 0 of an empty log"
        ),
        pytest.param(
            Committed(1, RestorePoint(0)), LogBounds(0, 1), Start(RestorePoint(0), 1, 1), id="at the end of one record"
        ),
        pytest.param(
            Committed(1, RestorePoint(1)), LogBounds(0, 1), Start(RestorePoint(1), 1, 1), id="nothing to restore"
        ),
        pytest.param(
            Committed(1, RestorePoint(0)), LogBounds(0, 2), Start(RestorePoint(0), 1, 2), id="one of two records"
        ),
        pytest.param(Committed(6, POINT), LogBounds(0, 9), Start(POINT, 6, 9), id="between"),
        pytest.param(Committed(6, None), LogBounds(0, 9), Start(FALLBACK, 6, 9), id="no metadata of ours"),
        pytest.param(
            Committed(2, None), LogBounds(0, 9), Start(RestorePoint(2), 2, 9), id="never beyond the committed"
        ),
    ],
)
def test_a_task_starts_at_its_restore_point_and_works_from_the_committed_offset(
    committed_at: Committed, log: LogBounds, expected: Start
) -> None:
    assert start_of(committed_at, log, FALLBACK) == expected


@pytest.mark.parametrize(
    ("committed_at", "log", "expected"),
    [
        pytest.param(Committed(6, POINT), LogBounds(8, 9), Start(RestorePoint(8, 100.0), 8, 9), id="below the start"),
        pytest.param(Committed(6, None), LogBounds(8, 9), Start(RestorePoint(8), 8, 9), id="below it, no metadata"),
        pytest.param(Committed(6, POINT), LogBounds(0, 5), Start(RestorePoint(5), 5, 5), id="beyond the end"),
        pytest.param(Committed(6, POINT), LogBounds(0, 0), Start(RestorePoint(0), 0, 0), id="a topic made anew"),
        pytest.param(
            Committed(6, POINT), LogBounds(5, 9), Start(RestorePoint(5, 100.0), 6, 9), id="restore point gone"
        ),
        pytest.param(Committed(8, POINT), LogBounds(8, 9), Start(RestorePoint(8, 100.0), 8, 9), id="at the start"),
    ],
)
def test_what_lies_outside_the_log_is_clamped_with_a_warning(
    committed_at: Committed, log: LogBounds, expected: Start
) -> None:
    start = start_of(committed_at, log, FALLBACK)
    assert start._replace(warning="") == expected
    assert start.warning


def test_a_task_restores_below_the_committed_offset_and_emits_nothing() -> None:
    broker = new_broker()
    for number in range(4):
        send(broker, text=str(number))
    broker.commits[INPUT, 0] = Stored(3, encode(RestorePoint(0)))
    member = FakeMember(broker)
    member.settle()
    assert len(broker.records(HOP)) == 1
    assert texts(broker) == ["3"]


def test_what_a_session_was_linked_to_is_known_after_a_restore() -> None:
    broker = new_broker()
    first = FakeMember(broker)
    send(broker, text="named")
    first.settle()
    first.loop.stop()
    first.loop.work()
    send(broker, user=None, text="not named")
    FakeMember(broker).settle()
    assert texts(broker) == ["named", "not named"]


def test_restored_users_are_published_when_the_end_that_was_seen_is_reached() -> None:
    """That repairs what an owner left behind who died between publishing and committing."""
    broker = new_broker()
    first = FakeMember(broker)
    send(broker, "ps_1", "amelie")
    send(broker, "ps_2", "bruno")
    first.settle()
    stale = broker.records(OUTPUT)[0]
    broker.append(OUTPUT, stale.key(), b'{"stale": true}')

    second = FakeMember(broker, wanted=[(HOP, 0)])
    for number in range(3):
        send(broker, "ps_3", "cleo", text=str(number))
    first.turn()
    second.turn()
    assert len(hops(broker)) == 5
    second.settle()
    assert texts(broker) == ["Pay"]
    assert records(broker).keys() == {"amelie", "bruno", "cleo"}


def test_users_that_are_not_restored_yet_are_not_published() -> None:
    broker = new_broker()
    first = FakeMember(broker)
    for number in range(5):
        send(broker, text=str(number))
        first.settle()
    before = len(broker.records(OUTPUT))
    second = FakeMember(broker, wanted=[(HOP, 0)])
    consume = second.consumer.consume
    second.consumer.consume = lambda _, timeout: consume(1, timeout)  # type: ignore[method-assign, assignment]
    second.turn(2)
    assert not second.tasks[HOP, 0].is_running
    assert len(broker.records(OUTPUT)) == before
    second.settle()
    assert texts(broker) == [str(number) for number in range(5)]


def test_an_offset_that_another_tool_set_is_restored_by_time() -> None:
    broker = new_broker()
    first = FakeMember(broker)
    send(broker, "ps_1", "amelie", text="long ago")
    broker.clock.sleep(6000)
    send(broker, "ps_1", "amelie", text="named")
    broker.clock.sleep(60)
    send(broker, "ps_1", user=None, text="not named")
    broker.clock.sleep(60)
    broker.commits[INPUT, 0] = Stored(2, None)
    first.settle()
    assert texts(broker) == ["not named"], "what is below the offset is not emitted again"
    assert first.tasks[INPUT, 0].start.point.offset == 1, "nor is what is too old read"


@pytest.mark.parametrize("silent_s", [0.0, 100_000.0])
def test_an_offset_at_the_end_that_another_tool_set_is_restored_by_the_last_record(silent_s: float) -> None:
    broker = new_broker()
    send(broker, text="named")
    broker.clock.sleep(10)
    send(broker, text="named again")
    broker.commits[INPUT, 0] = Stored(2, "of another tool")
    at = broker.clock.wall() + 10
    broker.clock.sleep(silent_s)
    member = FakeMember(broker, expire_idle_users=False)
    member.turn(2)
    broker.append(
        INPUT, b"ps_1", b'{"session_id":"ps_1","forwarded_at":%f,"actions":[{"description":"late"}]}' % at, timestamp=at
    )
    member.settle()
    assert texts(broker) == ["late"], "the session is still linked"


def test_a_log_that_was_deleted_while_it_was_read_is_begun_at_its_start() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    for number in range(4):
        send(broker, text=str(number))
    member.turn(1)
    broker.delete_before((INPUT, 0), 4)
    member.consumer._next[INPUT, 0] = 1
    send(broker, text="4")
    member.settle()
    assert texts(broker)[-1] == "4"
    assert committed(broker) == 5


def test_a_restore_that_makes_no_progress_ends_the_process() -> None:
    broker = new_broker()
    for number in range(4):
        send(broker, text=str(number))
    broker.commits[INPUT, 0] = Stored(3, encode(RestorePoint(0)))
    member = FakeMember(broker, wanted=[(INPUT, 0)], stall_timeout_s=30)
    consume = member.consumer.consume
    member.consumer.consume = lambda _, timeout: consume(1, timeout)  # type: ignore[method-assign, assignment]
    member.turn(1)
    member.consumer._broken.add((INPUT, 0))
    with pytest.raises(Fatal, match=r"input\[0\] has stood at offset \d of 4 .*\(restoring\)") as caught:
        member.turn(400)
    assert caught.value.exit_code is ExitCode.STALLED


def test_a_topic_that_was_made_anew_is_read_from_its_end_on() -> None:
    broker = new_broker()
    broker.commits[INPUT, 0] = Stored(1000, encode(RestorePoint(990)))
    send(broker, text="before")
    member = FakeMember(broker)
    member.turn()
    send(broker, text="after")
    member.settle()
    assert texts(broker) == ["after"]
    assert committed(broker) == 2
    assert member.count("clamped_starts") == 1
