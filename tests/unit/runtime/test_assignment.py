"""Assigned, revoked and lost: three methods with three meanings, and none of them raises."""

from __future__ import annotations

import pytest

from tests.fakes.broker import Stored
from tests.unit.runtime.member import (
    HOP,
    INPUT,
    OUTPUT,
    FakeMember,
    committed,
    dead_letters,
    hops,
    new_broker,
    records,
    send,
    texts,
)
from worker.errors import ExitCode, Fatal, TaskCorrupted, TaskMigrated
from worker.kafka import KafkaError, TopicPartition, murmur2
from worker.runtime.task import TaskState


def test_revoked_partitions_are_closed_clean_with_a_commit() -> None:
    broker = new_broker()
    member = FakeMember(broker, publish_interval_ms=60_000)
    send(broker)
    member.turn(2)
    task = member.tasks[HOP, 0]
    member.consumer.revoke((HOP, 0), (INPUT, 0))
    member.turn()
    assert (committed(broker), committed(broker, HOP)) == (1, 1)
    assert texts(broker) == ["Pay"], "published, although its interval was not over"
    assert task.state is TaskState.CLOSED
    assert (member.tasks, member.consumer.held) == ({}, set())


def test_a_revoked_partition_does_not_stop_the_others() -> None:
    broker = new_broker(partitions=2)
    member = FakeMember(broker)
    member.settle()
    kept = member.tasks[INPUT, 0]
    member.consumer.revoke((INPUT, 1))
    send(broker, partition=0)
    member.settle()
    assert member.tasks[INPUT, 0] is kept
    assert (INPUT, 1) not in member.tasks
    assert texts(broker) == ["Pay"]


def test_lost_partitions_are_closed_dirty_without_flush_or_commit() -> None:
    broker = new_broker()
    member = FakeMember(broker, publish_interval_ms=60_000)
    send(broker)
    member.turn(2)
    member.producer.produce(OUTPUT, b"queued", b"someone")
    broker.journal.clear()
    member.consumer.lose((HOP, 0), (INPUT, 0))
    member.turn(20)
    kinds = {entry[0] for entry in broker.journal if entry[0] != "flushed" or len(broker.records(OUTPUT))}
    assert kinds == set()
    assert broker.records(OUTPUT) == []
    assert committed(broker) is None
    assert len(member.clients.producers) == 2, "what the old one had queued is gone with it"


def test_a_checkpoint_that_fails_while_revoked_commits_nothing_and_leaves_nothing_in_the_queue() -> None:
    broker = new_broker(partitions=2)
    member = FakeMember(broker)
    member.turn(2)
    send(broker, partition=0)
    member.turn()
    broker.is_down = True
    member.consumer.revoke((INPUT, 0))
    queue = member.producer
    queue.produce(OUTPUT, b"stale", b"someone")
    unassign, left = member.consumer.incremental_unassign, []

    def watched(partitions: list[TopicPartition]) -> None:
        left.append(len(queue))
        unassign(partitions)

    member.consumer.incremental_unassign = watched  # type: ignore[method-assign]
    member.turn()
    broker.is_down = False
    assert left == [0], "it is gone when the partition goes"
    assert member.consumer.held == {(INPUT, 1), (HOP, 0), (HOP, 1)}
    member.settle()
    assert b"stale" not in broker.newest(OUTPUT).values()
    assert committed(broker, INPUT, 0) is None


def test_after_a_checkpoint_that_failed_the_next_revoked_partition_is_not_committed_either() -> None:
    """Both may come within one poll, and the first one dropped what the second partition had yet to deliver."""
    broker = new_broker(partitions=2)
    member = FakeMember(broker, publish_interval_ms=60_000, commit_interval_s=60)
    member.turn(2)
    send(broker)
    member.turn(4)
    home = murmur2(b"amelie", 2)
    broker.is_down = True
    member.consumer.revoke((HOP, 1 - home))
    member.consumer._events.append(lambda: setattr(broker, "is_down", False))
    member.consumer.revoke((HOP, home))
    member.turn()
    assert broker.records(OUTPUT) == []
    assert committed(broker, HOP, home) is None
    member.consumer.assign((HOP, home))
    member.settle()
    assert member.tasks.keys() == {(INPUT, 0), (INPUT, 1), (HOP, home)}


def test_what_ends_the_process_is_told_also_when_it_comes_up_while_revoked() -> None:
    broker = new_broker()
    member = FakeMember(broker, publish_interval_ms=60_000)
    send(broker)
    member.turn(2)
    broker.refuse_deliveries[OUTPUT] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    member.consumer.revoke((HOP, 0))
    with pytest.raises(Fatal) as caught:
        member.turn()
    assert caught.value.exit_code is ExitCode.NOT_AUTHORIZED


def test_a_refused_record_of_a_revoked_partition_is_a_dead_letter_too() -> None:
    broker = new_broker()
    member = FakeMember(broker, publish_interval_ms=60_000)
    send(broker, text="x" * 30_000)
    send(broker, "ps_2", "bruno")
    member.turn(2)
    broker.limits[OUTPUT] = 20_000  # lowered while the member runs
    member.consumer.revoke((HOP, 0))
    member.turn()
    assert [letter.reason for letter, _, _ in dead_letters(broker)] == ["too_large"]
    assert records(broker).keys() == {"bruno"}
    assert committed(broker, HOP) == 2


def test_a_failed_assignment_is_told_before_a_record_is_touched_and_tried_again() -> None:
    broker = new_broker()
    send(broker)
    member = FakeMember(broker)
    list_offsets = member.clients.admin.list_offsets

    def fails_once(*_: object, **__: object) -> None:
        member.clients.admin.list_offsets = list_offsets  # type: ignore[method-assign]
        raise RuntimeError("nobody foresaw this")

    member.clients.admin.list_offsets = fails_once  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError, match="foresaw"):
        member.turn()
    assert broker.records(HOP) == []


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError.NOT_COORDINATOR, KafkaError.ILLEGAL_GENERATION])
def test_partitions_whose_assignment_failed_are_asked_for_anew(code: int) -> None:
    """The client hands out their records all the same: without a task they would be passed over for ever."""
    broker = new_broker()
    broker.commits[INPUT, 0] = Stored(0, None)
    broker.commits[HOP, 0] = Stored(0, None)
    send(broker)
    member = FakeMember(broker)
    broker.refuse_reads.extend([code] * 3)
    member.settle()
    assert texts(broker) == ["Pay"]
    assert member.tasks.keys() == {(INPUT, 0), (HOP, 0)}


def test_a_broker_that_is_away_while_partitions_arrive_is_waited_for() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    broker.is_down = True
    member.turn(8)
    broker.is_down = False
    send(broker)
    member.settle()
    assert texts(broker) == ["Pay"]


def test_a_leader_that_changed_since_the_client_looked_is_found_again() -> None:
    """As after a restart of the broker: the client would ask with the old epoch until its next refresh."""
    broker = new_broker()
    send(broker)
    member = FakeMember(broker)
    member.clients.admin.is_stale = True
    member.settle()
    assert texts(broker) == ["Pay"]
    assert member.count("restores_after_failure") == 0


@pytest.mark.parametrize("code", [KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART])
def test_a_topic_of_which_the_broker_knows_nothing_for_a_moment_is_asked_for_again(code: int) -> None:
    """Such an answer comes with no partitions, and a payload has to go to one of them."""
    broker = new_broker()
    send(broker)
    member = FakeMember(broker)
    member.clients.admin.unknown_topics.extend([code] * 3)
    member.settle()
    assert texts(broker) == ["Pay"]
    assert member.count("restores_after_failure") == 0


def test_partitions_that_the_client_refuses_to_assign_are_asked_for_anew() -> None:
    broker = new_broker()
    send(broker)
    member = FakeMember(broker)
    member.consumer.refuse_assign.append(KafkaError._STATE)
    member.consumer.poll(0)
    assert member.tasks == {}
    member.settle()
    assert texts(broker) == ["Pay"]


def test_callbacks_never_raise_even_where_the_client_does() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    strange = [TopicPartition(INPUT, 77)]  # not assigned: the client refuses to take it away
    member.assignment.revoked(member.consumer, strange)
    member.assignment.lost(member.consumer, strange)


def test_what_ends_the_process_goes_before_what_does_not() -> None:
    assignment = FakeMember(new_broker()).assignment
    assignment._keep(TaskMigrated("someone else's"))
    assignment._keep(Fatal(ExitCode.NOT_AUTHORIZED, "not allowed"))
    assignment._keep(TaskCorrupted("afterwards"))
    with pytest.raises(Fatal):
        assignment.raise_failure()
    assignment.raise_failure()


def test_a_message_of_a_partition_that_went_away_is_dropped() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    send(broker)
    message = member.consumer.poll(0)
    assert message is not None
    member.consumer.revoke((INPUT, 0))
    member.turn()
    member.loop._process([message])
    assert broker.records(HOP) == []


def test_a_message_that_was_in_hand_when_its_partition_left_and_came_back_is_dropped() -> None:
    """Its new task starts at the restore point; the old message would tear a hole into what it reads."""
    broker = new_broker()
    member = FakeMember(broker)
    for number in range(5):
        send(broker, text=str(number))
    member.settle()
    send(broker, text="5")
    send(broker, text="6")
    consume = member.consumer.consume
    polled: list[int] = []

    def rebalance_between(num_messages: int, timeout: float) -> object:
        polled.append(num_messages)
        if len(polled) == 2:  # after `poll`, before the rest of the batch
            member.consumer.revoke((INPUT, 0))
            member.consumer.assign((INPUT, 0))
        return consume(num_messages, timeout)

    member.consumer.consume = rebalance_between  # type: ignore[method-assign, assignment]
    member.settle()
    assert texts(broker) == [str(number) for number in range(7)]
    assert len(hops(broker)) == 7, "each was routed once"


def test_a_member_without_partitions_is_fine() -> None:
    broker = new_broker()
    member = FakeMember(broker, wanted=[])
    member.settle()
    assert (member.assignment.has_joined, member.tasks) == (True, {})
    member.loop.stop()
    member.loop.work()


def test_a_client_that_joins_anew_and_keeps_its_partitions_to_itself_is_noticed() -> None:
    """Measured, in the middle of a rebalance over a slow connection: no callback, the group takes it for the owner."""
    broker = new_broker()
    member = FakeMember(broker)
    member.turn(3)
    send(broker)
    member.turn(3)
    member.consumer.keeps_quiet = True
    broker.refuse_reads.append(KafkaError.UNKNOWN_MEMBER_ID)
    member.loop._rejoin(TaskMigrated("counted out"))
    assert member.tasks == {}
    assert member.consumer.held
    send(broker, text="after")
    for _ in range(100):
        member.turn()
    assert texts(broker) == ["Pay", "after"]
    assert set(member.tasks) == member.consumer.held
