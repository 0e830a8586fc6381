"""The loop: what it does after a gap, after a failure, and when it is asked to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.runtime.member import (
    COMMIT_INTERVAL_S,
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
from worker.errors import ExitCode, Fatal, TaskCorrupted, TaskMigrated, WorkerError
from worker.kafka import KafkaError, Message, TopicPartition
from worker.runtime import task
from worker.runtime.router import BUNDLE_BYTES
from worker.runtime.task import TaskState

GAP_S = 8.0  # more than half the session timeout of 15 s


def produced(member: FakeMember) -> list[Any]:
    return [entry for entry in member.broker.journal if entry[0] == "produced"]


def interrupt(member: FakeMember, after: int, what: Callable[[], None]) -> None:
    """Let something happen right after so many records were handed to the producer."""
    produce, count = member.producer.produce, 0

    def wrapped(*args: Any, **kwargs: Any) -> None:
        nonlocal count
        produce(*args, **kwargs)
        count += 1
        if count == after:
            what()

    member.producer.produce = wrapped  # type: ignore[method-assign]


# --- batches -----------------------------------------------------------------------------------------------------


def read_in_portions(member: FakeMember, most: int, *, each_takes_s: float = 0.0) -> None:
    """The client never has more ready at once."""
    consume = member.consumer.consume

    def portion(num_messages: int, timeout: float) -> list[Message]:
        member.broker.clock.sleep(each_takes_s)
        return consume(min(num_messages, most), timeout)

    member.consumer.consume = portion  # type: ignore[method-assign]


@pytest.mark.parametrize(("most", "read"), [(1200, 3000), (300, 301)], ids=["behind", "keeping up"])
def test_a_batch_is_topped_up_while_the_client_has_many_records_ready(most: int, read: int) -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    read_in_portions(member, most)
    for number in range(3000):
        send(broker, text=str(number))
    member.turn()
    assert member.tasks[INPUT, 0].next_offset == read


def test_a_batch_is_not_topped_up_for_longer_than_a_second() -> None:
    """Large records: otherwise one batch could outlast a transaction."""
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    read_in_portions(member, 1200, each_takes_s=0.2)
    for number in range(9000):
        send(broker, text=str(number))
    member.turn()
    assert 2400 < member.tasks[INPUT, 0].next_offset < 8000


def test_a_large_batch_is_published_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """In portions: all of its records at once would be too many."""
    monkeypatch.setattr(task, "PORTION", 2)
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    for number in range(5):
        send(broker, f"session {number}", f"user {number}")
    member.turn()
    (message,) = broker.records(HOP)
    by_user = member.tasks[HOP, 0]
    assert isinstance(by_user, task.UserTask)
    by_user.process([message], 0.0)
    assert by_user.publish(broker.clock.wall()) == 5
    assert not by_user.stage.has_changes


def test_a_batch_has_its_size_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    policy = member.loop._policy
    monkeypatch.setattr(member.loop, "_policy", replace(policy, read_size=1500, batch_size=2000))
    for number in range(3000):
        send(broker, text=str(number))
    member.turn()
    assert member.tasks[INPUT, 0].next_offset == 2000


def test_payloads_with_long_ids_do_not_make_a_record_larger_than_others() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    for number in range(30):
        send(broker, f"session {number}", f"{number:02d}" * 1000)
    member.settle()
    assert len(hops(broker)) == len(records(broker)) == 30
    assert max(len(message.value() or b"") for message in broker.records(HOP)) <= BUNDLE_BYTES


# --- gaps --------------------------------------------------------------------------------------------------------


def test_after_a_gap_nothing_is_produced_before_a_commit_succeeded() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    send(broker)
    broker.journal.clear()
    broker.clock.sleep(GAP_S)
    member.turn()
    assert broker.journal[0][0] == "committed"
    assert produced(member)


def test_after_a_gap_the_group_is_asked_once() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    broker.clock.sleep(GAP_S)
    broker.journal.clear()
    member.turn(5)
    assert len([entry for entry in broker.journal if entry[0] == "committed"]) == len(member.tasks)


def test_a_member_that_was_expelled_meanwhile_produces_nothing_and_joins_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = new_broker()
    member = FakeMember(broker, publish_interval_ms=60_000)
    member.settle()
    send(broker, text="first")
    member.turn(2)
    assert member.tasks[HOP, 0].stage.next_offset == 1
    broker.journal.clear()
    broker.clock.sleep(20)
    broker.expelled.add(member.consumer)
    send(broker, text="second")
    member.turn()
    assert [entry[0] for entry in broker.journal if entry[0] != "flushed"] == ["unsubscribed", "subscribed"]
    assert member.tasks == {}
    member.settle()
    assert texts(broker) == ["first", "second"]
    assert caplog.text.count("stood still") == 1


@pytest.mark.parametrize("topic", [HOP, OUTPUT])
def test_a_member_that_is_stopped_within_a_turn_produces_nothing_more(topic: str) -> None:
    broker = new_broker()
    member = FakeMember(broker, publish_interval_ms=60_000 if topic == OUTPUT else 0)
    member.settle()
    for number in range(10):
        send(broker, f"ps_{number}", f"user {number}", text="x" * BUNDLE_BYTES)  # each travels alone
    if topic == OUTPUT:
        member.turn(2)

    def suspend() -> None:
        broker.clock.sleep(20)
        broker.expelled.add(member.consumer)

    broker.journal.clear()
    interrupt(member, 3, suspend)
    member.turn(1 if topic == HOP else 2)
    if topic == OUTPUT:  # the publish interval is not over: the checkpoint publishes
        member.turn(int(COMMIT_INTERVAL_S / 0.1) + 1)
    before_joining = broker.journal[: broker.journal.index(("unsubscribed",))]
    assert len([entry for entry in before_joining if entry[0] == "produced"]) == 3


def test_work_that_takes_longer_than_the_gap_goes_on_after_it_has_asked() -> None:
    """Rendering very many users is no reason to begin again, which would take just as long."""
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    for number in range(5):
        send(broker, f"ps_{number}", f"user {number}")
    interrupt(member, 2, lambda: broker.clock.sleep(GAP_S))
    member.settle()
    assert len(records(broker)) == 5
    assert member.count("restores_after_failure") == 0


def test_asking_does_not_take_back_what_was_committed_a_moment_ago() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    send(broker)
    member.turn()
    member.checkpoint.make(member.consumer, member.tasks.values(), 1.0)
    member.loop._ownership._checked_at -= GAP_S
    member.loop._ownership.check()
    assert committed(broker) == 1


def test_users_do_not_expire_by_a_clock_that_ran_while_the_member_slept() -> None:
    """What happened meanwhile has not been read yet: a fetch takes its time."""
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    member.settle()
    broker.clock.sleep(3600)
    consume = member.consumer.consume
    member.consumer.consume = lambda *_: []  # type: ignore[method-assign]
    member.turn(3)
    member.consumer.consume = consume  # type: ignore[method-assign]
    send(broker, text="meanwhile", at=broker.clock.wall() - 200)
    member.turn(5)
    assert all(message.value() is not None for message in broker.records(OUTPUT))
    assert texts(broker) == ["meanwhile"]


def test_a_wall_clock_that_is_set_back_changes_nothing() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker, text="before")
    member.settle()
    broker.clock.jump(-7200)
    send(broker, text="after", at=broker.clock.wall() + 7200)
    member.settle()
    assert committed(broker) == 2
    assert records(broker)["amelie"] is not None
    assert member.count("restores_after_failure") == 0


# --- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [TaskCorrupted("of one delivery"), TaskMigrated("to another member")])
def test_what_is_queued_is_gone_before_the_wait_that_follows_a_failure(failure: WorkerError) -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    queue = member.producer
    queue.produce(OUTPUT, b"stale", b"someone")
    sleep, left = broker.clock.sleep, []

    def watched(seconds: float) -> None:
        left.append(len(queue))
        sleep(seconds)

    member.assignment._keep(failure)
    consume = member.consumer.consume
    member.consumer.consume = lambda *_: []  # type: ignore[method-assign]
    broker.clock.sleep = watched  # type: ignore[method-assign]
    member.turn()
    assert left == [0]
    member.consumer.consume = consume  # type: ignore[method-assign]
    member.settle()
    assert broker.records(OUTPUT) == []


@pytest.mark.parametrize("code", [KafkaError._MSG_TIMED_OUT, KafkaError.NOT_ENOUGH_REPLICAS, KafkaError._FATAL])
def test_after_a_failed_delivery_everything_is_restored_from_what_is_committed(code: int) -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker, text="first")
    member.settle()
    broker.refuse_deliveries[OUTPUT] = code
    send(broker, text="second")
    member.turn(3)
    broker.refuse_deliveries.clear()
    member.settle()
    assert texts(broker) == ["first", "second"]
    assert member.count("restores_after_failure") > 0


def test_a_partition_that_the_producer_has_not_heard_of_is_known_to_the_next_one() -> None:
    """The loop counts partitions at each assignment, a producer once in a minute."""
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    broker.refuse_deliveries[HOP] = KafkaError._UNKNOWN_PARTITION
    send(broker)
    member.turn(2)
    broker.refuse_deliveries.clear()
    member.settle()
    assert texts(broker) == ["Pay"]
    assert len(member.clients.producers) > 1


def test_the_waits_between_failures_grow_and_are_bounded() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    member.turn()
    broker.refuse_deliveries[OUTPUT] = KafkaError._MSG_TIMED_OUT
    waits = []
    for _ in range(20):
        before, count = broker.clock.monotonic(), member.count("restores_after_failure")
        member.turn()
        if member.count("restores_after_failure") > count:
            waits.append(broker.clock.monotonic() - before)
    assert waits[0] < 0.5
    assert max(waits) == pytest.approx(5.0, abs=0.2)


def test_a_partition_that_cannot_be_rewound_is_asked_for_anew() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    member.settle()
    broker.refuse_deliveries[OUTPUT] = KafkaError._MSG_TIMED_OUT
    del member.consumer._next[INPUT, 0]  # gone from the client, which the callbacks did not tell yet
    send(broker, text="second")
    send(broker, "ps_2", "amelie", text="third")
    broker.append(HOP, b"amelie", None)
    member.turn(2)
    broker.refuse_deliveries.clear()
    member.settle()
    assert ("unsubscribed",) in broker.journal
    assert member.tasks.keys() == {(INPUT, 0), (HOP, 0)}


def test_an_error_that_the_client_raises_where_none_is_expected_is_survived() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    position = member.consumer.position

    def fails_once(partitions: list[TopicPartition]) -> list[TopicPartition]:
        member.consumer.position = position  # type: ignore[method-assign]
        member.consumer.seek(TopicPartition("unknown", 0))
        return []

    member.consumer.position = fails_once  # type: ignore[method-assign]
    member.turn(3)
    send(broker)
    member.settle()
    assert texts(broker) == ["Pay"]


def test_a_missing_topic_is_waited_for_and_a_missing_right_is_not() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.consumer.send_error(KafkaError.UNKNOWN_TOPIC_OR_PART, INPUT)
    member.turn(2)
    member.consumer.send_error(KafkaError.TOPIC_AUTHORIZATION_FAILED, INPUT)
    with pytest.raises(Fatal) as caught:
        member.turn()
    assert caught.value.exit_code is ExitCode.NOT_AUTHORIZED


def test_a_record_of_a_form_that_is_not_known_ends_the_process() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    broker.append(HOP, b"amelie", b"of a later version")
    with pytest.raises(Fatal) as caught:
        member.loop.work()
    member.service.close()
    assert caught.value.exit_code is ExitCode.UNKNOWN_FORM
    assert committed(broker, HOP) is None


def test_a_partition_that_stands_still_despite_lag_ends_the_process() -> None:
    broker = new_broker()
    member = FakeMember(broker, stall_timeout_s=30)
    member.settle()
    member.consumer._broken.add((INPUT, 0))
    send(broker)
    with pytest.raises(Fatal) as caught:
        member.turn(400)
    assert caught.value.exit_code is ExitCode.STALLED


def test_a_tail_without_records_counts_as_read_also_while_other_partitions_are_busy() -> None:
    """Transaction markers take an offset and are never handed out."""
    broker = new_broker(partitions=2)
    member = FakeMember(broker)
    send(broker, partition=0)
    member.settle()
    member.consumer._next[INPUT, 0] = member.consumer._position[INPUT, 0] = 3
    broker.logs[INPUT, 0] *= 3
    for _ in range(20):
        send(broker, "ps_2", "bruno", partition=1)
        member.turn()
        broker.clock.sleep(0.1)
    assert committed(broker, INPUT, 0) == 3


# --- stopping ----------------------------------------------------------------------------------------------------


def test_asked_to_stop_it_makes_a_last_checkpoint_and_leaves() -> None:
    broker = new_broker()
    member = FakeMember(broker, publish_interval_ms=60_000)
    member.turn()
    send(broker)
    member.turn(2)
    tasks = list(member.tasks.values())
    member.loop.stop()
    member.loop.work()
    assert member.service.close()
    assert (committed(broker), committed(broker, HOP)) == (1, 1)
    assert texts(broker) == ["Pay"]
    assert {task.state for task in tasks} == {TaskState.CLOSED}
    assert member.consumer.is_closed


def test_a_last_commit_that_a_rebalance_refuses_is_made_again() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    send(broker)
    member.turn()
    member.loop.stop()
    broker.refuse_commits.extend([KafkaError.REBALANCE_IN_PROGRESS] * 3)
    member.loop.work()
    assert committed(broker) == 1


@pytest.mark.parametrize(
    "answers",
    [[0, KafkaError.REBALANCE_IN_PROGRESS], [KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION]],
)
def test_an_older_answer_is_not_taken_for_that_of_the_last_commit(answers: list[int]) -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    send(broker)
    member.turn()
    broker.refuse_commits.extend(answers)
    member.checkpoint.make(member.consumer, member.tasks.values(), 1.0)
    send(broker, text="second")
    member.loop._process(broker.records(INPUT)[1:])
    member.loop.stop()
    member.loop.work()
    assert committed(broker) == 2


def test_partitions_that_leave_during_the_last_checkpoint_are_closed_clean() -> None:
    broker = new_broker(partitions=2)
    member = FakeMember(broker)
    member.turn()
    send(broker, partition=0)
    send(broker, "ps_2", "bruno", partition=1)
    member.turn()
    member.loop.stop()
    member.consumer.revoke((INPUT, 1))
    member.loop.work()
    assert (committed(broker, INPUT, 0), committed(broker, INPUT, 1)) == (1, 1)


def test_partitions_that_are_lost_before_the_last_commit_is_confirmed_are_no_clean_end() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    send(broker)
    member.turn()
    commit = member.consumer.commit

    def lose_meanwhile(*, offsets: list[TopicPartition], asynchronous: bool) -> object:
        member.consumer.lose(*member.tasks)
        broker.is_down = True
        return commit(offsets=offsets, asynchronous=asynchronous)

    member.consumer.commit = lose_meanwhile  # type: ignore[method-assign, assignment]
    member.loop.stop()
    with pytest.raises(Fatal, match="lost before the last commit") as caught:
        member.loop.work()
    assert caught.value.exit_code is ExitCode.UNCLEAN_STOP


def test_without_a_broker_the_last_checkpoint_ends_in_time_with_a_name() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    send(broker)
    member.turn()
    broker.is_down = True
    began = broker.clock.monotonic()
    member.loop.stop()
    with pytest.raises(Fatal) as caught:
        member.loop.work()
    assert caught.value.exit_code is ExitCode.UNCLEAN_STOP
    assert broker.clock.monotonic() - began < 10
    assert member.tasks == {}


def test_what_failed_and_was_not_restored_before_the_stop_is_no_clean_end() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    member.settle()
    send(broker)
    broker.is_down = True
    member.consumer.send_error(KafkaError.UNKNOWN_TOPIC_OR_PART)
    member.producer.produce(OUTPUT, b"value", b"key")
    member.checkpoint._outbox._failure = TaskCorrupted("a delivery failed")
    member.turn()
    assert not member.assignment.is_running
    member.loop.stop()
    with pytest.raises(Fatal) as caught:
        member.loop.work()
    assert caught.value.exit_code is ExitCode.UNCLEAN_STOP


def test_what_failed_before_the_stop_is_restored_and_committed_if_there_is_time() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    member.settle()
    send(broker, text="second")
    member.checkpoint._outbox._failure = TaskCorrupted("a delivery failed")
    member.turn()
    assert not member.assignment.is_running
    member.loop.stop()
    member.loop.work()
    assert committed(broker) == 2


def test_without_a_broker_and_without_work_it_ends_clean() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    member.settle()
    broker.is_down = True
    member.loop.stop()
    member.loop.work()
    assert committed(broker) == 1


def test_a_restoring_task_is_not_committed_when_it_stops() -> None:
    broker = new_broker()
    first = FakeMember(broker)
    for number in range(4):
        send(broker, f"ps_{number}", f"user {number}")
    first.settle()
    before = dict(broker.commits)
    second = FakeMember(broker)
    consume = second.consumer.consume
    second.consumer.consume = lambda _, timeout: consume(1, timeout)  # type: ignore[method-assign, assignment]
    second.turn()
    assert not second.tasks[INPUT, 0].is_running
    second.loop.stop()
    second.loop.work()
    assert broker.commits[INPUT, 0] == before[INPUT, 0]
