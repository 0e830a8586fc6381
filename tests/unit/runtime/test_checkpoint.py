"""The order of a checkpoint, and what is committed when a step of it fails."""

from __future__ import annotations

import pytest

from tests.fakes.broker import FakeBroker
from tests.unit.runtime.member import (
    HOP,
    INPUT,
    OUTPUT,
    FakeMember,
    committed,
    new_broker,
    records,
    send,
    texts,
)
from worker.errors import ExitCode, Fatal
from worker.kafka import KafkaError
from worker.pipeline.restore_point import decode


def kinds(broker: FakeBroker) -> list[str]:
    return [str(entry[0]) for entry in broker.journal]


def test_a_checkpoint_publishes_flushes_and_then_commits() -> None:
    broker = new_broker()
    member = FakeMember(broker, publish_interval_ms=60_000)
    send(broker)
    member.turn(2)
    assert records(broker) == {}, "the interval is not over"
    broker.journal.clear()

    member.settle()

    assert broker.journal.index(("produced", OUTPUT, b"amelie")) < broker.journal.index(("committed", (HOP, 0), 1))
    published = kinds(broker).index("delivered")
    assert "flushed" in kinds(broker)[published : kinds(broker).index("committed")]


def test_offset_and_restore_point_are_committed_together() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker, "ps_1", user=None)
    send(broker, "ps_2")
    member.settle()
    stored = broker.commits[INPUT, 0]
    point = decode(stored.metadata)
    assert point is not None
    assert (stored.offset, point.offset) == (2, 0), "ps_1 is held: a restore begins at its payload"


def test_a_checkpoint_with_nothing_new_commits_nothing() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    member.settle()
    broker.journal.clear()
    member.settle()
    assert "committed" not in kinds(broker)


def test_nothing_is_committed_when_a_delivery_fails() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    broker.refuse_deliveries[OUTPUT] = KafkaError._MSG_TIMED_OUT
    send(broker)
    member.settle()
    assert committed(broker, HOP) in (None, 0)

    broker.refuse_deliveries.clear()
    member.settle()
    assert texts(broker) == ["Pay"]
    assert committed(broker, HOP) == broker.end((HOP, 0))


def test_nothing_is_committed_when_a_delivery_is_not_allowed() -> None:
    """The process ends. What its closing does must not commit what was not delivered, either."""
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    broker.refuse_deliveries[HOP] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    send(broker)
    with pytest.raises(Fatal) as caught:
        member.loop.work()
    member.service.close()
    assert caught.value.exit_code is ExitCode.NOT_AUTHORIZED
    assert committed(broker) is None


def test_nothing_is_committed_when_the_dead_letters_are_too_many() -> None:
    broker = new_broker()
    member = FakeMember(broker, dlq_max_ratio=0.5)
    for _ in range(200):
        broker.append(INPUT, b"k", b"no json")
    with pytest.raises(Fatal) as caught:
        member.loop.work()
    member.service.close()
    assert caught.value.exit_code is ExitCode.DEAD_LETTERS
    assert committed(broker) is None, "the record that broke the limit has no dead letter"


def test_a_commit_that_a_rebalance_refuses_is_counted_and_the_next_one_goes_through() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    broker.refuse_commits.extend([KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION])
    send(broker)
    member.settle()
    assert member.count("commit_failures", "REBALANCE_IN_PROGRESS") == 1
    assert member.count("commit_failures", "ILLEGAL_GENERATION") == 1
    assert committed(broker) == 1
    assert member.count("restores_after_failure") == 0


@pytest.mark.parametrize("code", [KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_commit_that_is_never_allowed_ends_the_process(code: int) -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    broker.refuse_commits.extend([code] * 100)
    with pytest.raises(Fatal) as caught:
        member.settle()
    assert caught.value.exit_code is ExitCode.NOT_AUTHORIZED


def test_while_the_broker_is_away_commits_do_not_pile_up() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    member.turn(2)
    broker.is_down = True
    member.turn(100)
    assert len(member.consumer._unsent) == 1
    broker.is_down = False
    member.settle()
    assert committed(broker) == 1


def test_an_answer_about_a_task_that_is_gone_means_nothing() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    send(broker)
    member.turn(2)
    member.loop._checkpoint.make(member.consumer, member.tasks.values(), 1.0)
    member.assignment.restart_all(member.consumer)
    fresh = list(member.tasks.values())
    assert member.checkpoint._in_flight == {}
    member.consumer._answer_commits()
    assert not any(task.is_committed for task in fresh)
