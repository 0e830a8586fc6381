"""Records of sessions without a user, in the hands of the runtime: the same places as those of users."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.broker import FakeBroker
from tests.unit.runtime.member import (
    INPUT,
    OUTPUT,
    SESSIONS,
    FakeMember,
    committed,
    dead_letters,
    new_broker,
    records,
    send,
)
from worker.partitioner import partition_of
from worker.pipeline.restore_point import RestorePoint
from worker.runtime.restore import Start
from worker.runtime.task import SessionTask

GUARANTEES = pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])


def new_member(broker: FakeBroker, guarantee: str = "at_least_once", **settings: Any) -> FakeMember:
    return FakeMember(broker, visitors=True, processing_guarantee=guarantee, **settings)


def visitor(broker: FakeBroker, session: str = "ps_1") -> dict[str, Any] | None:
    return records(broker, SESSIONS)[session]


def told(broker: FakeBroker, session: str = "ps_1") -> list[str]:
    """The descriptions in a visitor's newest record."""
    record = visitor(broker, session)
    assert record is not None
    lines = [line for entry in record["sessions"] for line in entry["context"].splitlines()[1:]]
    return [line.split(": ")[1].split(" — ")[0] for line in lines]


def test_nothing_is_published_unless_it_is_wanted() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker, user=None)
    member.settle()
    assert broker.records(SESSIONS) == []
    assert not any(task.publishes for key, task in member.tasks.items() if key[0] == INPUT)


@GUARANTEES
def test_a_visitor_is_published_then_linked_then_forgotten(guarantee: str) -> None:
    broker = new_broker()
    member = new_member(broker, guarantee, lookback_seconds=10, expire_idle_users=False)
    send(broker, user=None, text="Look")
    member.settle()
    assert told(broker) == ["Look"]
    assert records(broker) == {}
    send(broker)
    member.settle()
    linked = visitor(broker)
    assert linked is not None
    assert (linked["linked_user_id"], linked["sessions"]) == ("amelie", [])
    broker.clock.jump(21)
    send(broker, "ps_2")
    member.settle()
    assert visitor(broker) is None
    assert (member.count("published", "visitor"), member.count("published", "visitor_tombstone")) == (3, 1)


def test_a_record_lies_where_java_would_put_its_session_id() -> None:
    broker = new_broker(partitions=4)
    member = new_member(broker)
    for number in range(20):
        send(broker, f"ps_{number}", user=None, partition=0)
    member.settle()
    homes = {(message.key() or b"", message.partition()) for message in broker.records(SESSIONS)}
    assert homes == {(f"ps_{number}".encode(), partition_of(f"ps_{number}".encode(), 4)) for number in range(20)}


@GUARANTEES
def test_a_checkpoint_publishes_what_changed_before_it_commits(guarantee: str) -> None:
    broker = new_broker()
    member = new_member(broker, guarantee, publish_interval_ms=60_000, commit_interval_s=1.0)
    send(broker, user=None)
    member.turn(2)
    assert broker.records(SESSIONS) == [], "the interval is not over"
    assert committed(broker) is None
    member.settle()
    journal = list(broker.journal)
    assert committed(broker) == 1
    produced = journal.index(("produced", SESSIONS, b"ps_1"))
    assert not [entry for entry in journal[:produced] if entry[0] == "committed" and entry[1] == (INPUT, 0)]


def test_visitors_of_a_batch_are_published_at_once_without_an_interval() -> None:
    broker = new_broker()
    member = new_member(broker)
    member.settle()
    send(broker, user=None)
    send(broker, user=None, text="More")
    member.turn()
    assert told(broker) == ["Pay", "More"]
    assert len(broker.records(SESSIONS)) == 1


def test_with_exactly_once_they_are_seen_with_their_position_only() -> None:
    broker = new_broker()
    member = new_member(broker, "exactly_once", commit_interval_s=1.0)
    send(broker, user=None)
    member.turn()
    assert broker.records(SESSIONS) == []
    assert committed(broker) is None
    member.settle()
    assert told(broker) == ["Pay"]
    assert committed(broker) == 1


@GUARANTEES
def test_another_member_publishes_what_it_restored(guarantee: str) -> None:
    broker = new_broker()
    settings = {"lookback_seconds": 10, "expire_idle_users": False}
    member = new_member(broker, guarantee, **settings)
    send(broker, user=None)
    send(broker, "ps_2")
    send(broker, "ps_3", user=None)
    member.settle()
    newest = records(broker, SESSIONS)
    for key in newest:  # what a stopped member may have left
        broker.append(SESSIONS, key.encode(), b"stale")
    another = new_member(broker, guarantee, **settings)
    another.settle()
    assert records(broker, SESSIONS) == newest


def test_a_silent_partition_lets_its_visitors_expire_by_the_wall_clock() -> None:
    broker = new_broker()
    member = new_member(broker, lookback_seconds=20, idle_after_s=5)
    send(broker, user=None)
    send(broker, "ps_2")
    member.settle()
    assert visitor(broker) is not None
    broker.clock.jump(20)
    member.settle()
    assert visitor(broker) is None
    assert visitor(broker, "ps_2") is not None
    broker.clock.jump(20)
    member.settle()
    assert visitor(broker, "ps_2") is None


def test_a_visitors_record_that_the_broker_refuses_is_a_dead_letter_and_the_rest_goes_on() -> None:
    broker = new_broker()
    member = new_member(broker)
    member.settle()
    broker.limits[SESSIONS] = 1000  # less than the member was told at its start
    send(broker, "s" * 900, user=None)
    send(broker, user=None)
    member.settle()
    assert told(broker) == ["Pay"]
    ((letter, key, _),) = dead_letters(broker)
    assert (letter.reason, key) == ("too_large", b"s" * 900)
    assert committed(broker) == 2


def test_a_visitors_record_is_never_larger_than_the_topic_takes() -> None:
    broker = new_broker()
    member = new_member(broker, limits={SESSIONS: 1000})
    for number in range(20):
        send(broker, user=None, text=f"action {number}")
    member.settle()
    assert told(broker)[-1] == "action 19"
    assert dead_letters(broker) == []
    assert max(len(message.value() or b"") for message in broker.records(SESSIONS)) <= 1000


def test_users_are_published_as_without_visitors() -> None:
    with_visitors, without = new_broker(), new_broker()
    for broker, member in ((with_visitors, new_member(with_visitors)), (without, FakeMember(without))):
        send(broker, user=None, at=1e9)
        send(broker, at=1e9)
        member.settle()
    assert [message.value() for message in with_visitors.records(OUTPUT)] == [
        message.value() for message in without.records(OUTPUT)
    ]


def test_while_a_partition_is_restored_nothing_waits_to_be_published() -> None:
    """Else the loop would not rest before it is restored, whatever the broker does."""
    broker = new_broker()
    member = new_member(broker, lookback_seconds=10, expire_idle_users=False)
    send(broker, user=None)
    member.settle()
    broker.clock.jump(30)
    send(broker, "ps_2")
    task = member.service._make_task((INPUT, 0), Start(RestorePoint(0), 3, 3))
    assert isinstance(task, SessionTask)
    task.process(broker.records(INPUT), broker.clock.wall(), broker.clock.monotonic())
    assert task.stage.visitors is not None
    assert task.stage.visitors.has_changes, "the first one is forgotten"
    assert task.changed_since is None


def test_a_refused_record_of_a_session_that_is_forgotten_by_now_is_not_sent_again() -> None:
    broker = new_broker()
    member = new_member(broker, lookback_seconds=10, expire_idle_users=False, commit_interval_s=3)
    member.settle()
    broker.limits[SESSIONS] = 100
    send(broker, user=None)
    member.turn()
    assert broker.records(SESSIONS) == []
    del broker.limits[SESSIONS]  # as when it was refused for a neighbour in its batch
    broker.clock.jump(30)
    send(broker, "ps_2")
    member.settle()
    assert committed(broker) == 2
    assert visitor(broker) is None
