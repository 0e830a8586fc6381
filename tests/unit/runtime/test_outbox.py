"""Everything that is produced: bounded, and no delivery unseen."""

from __future__ import annotations

import pytest

from tests.fakes.broker import FakeBroker, FakeClock
from tests.fakes.clients import FakeClients
from worker.errors import ExitCode, Fatal, TaskCorrupted, TaskMigrated
from worker.kafka import KafkaError
from worker.runtime.outbox import Outbox, Outgoing, TooLarge

TOPIC = "topic"
PATIENCE_S = 13.0


class Desk:
    """An outbox over the broker of lists."""

    def __init__(self, *, limit: int = 1_000_000) -> None:
        self.broker = FakeBroker({TOPIC: 1}, FakeClock())
        self.clients = FakeClients(self.broker)
        self.migrated = False
        self.outbox = Outbox(
            self.clients.producer, self._may_produce, {TOPIC: limit}, self.broker.clock, patience_s=PATIENCE_S
        )

    def _may_produce(self) -> None:
        if self.migrated:
            raise TaskMigrated("someone else's")

    def send(self, value: bytes = b"value", topic: str = TOPIC) -> None:
        self.outbox.send(Outgoing(topic, b"key", value))

    @property
    def values(self) -> list[bytes | None]:
        return [message.value() for message in self.broker.records(TOPIC)]


def test_flush_returns_when_everything_is_delivered() -> None:
    desk = Desk()
    desk.send(b"1")
    desk.send(b"2")
    desk.outbox.flush(1.0)
    assert (desk.values, desk.outbox.queued) == ([b"1", b"2"], 0)


def test_what_is_not_delivered_in_time_is_told() -> None:
    desk = Desk()
    desk.broker.is_down = True
    desk.send()
    with pytest.raises(TaskCorrupted, match="1 records were not delivered"):
        desk.outbox.flush(1.0)


def test_a_failed_delivery_is_told_once() -> None:
    desk = Desk()
    desk.broker.refuse_deliveries[TOPIC] = KafkaError._MSG_TIMED_OUT
    desk.send()
    with pytest.raises(TaskCorrupted):
        desk.outbox.serve()
    desk.outbox.serve()


def test_what_ends_the_process_goes_before_what_only_restores() -> None:
    desk = Desk()
    for code in (KafkaError._MSG_TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._MSG_TIMED_OUT):
        desk.broker.refuse_deliveries[TOPIC] = code
        desk.send()
        desk.clients.producers[0].poll(0)
    with pytest.raises(Fatal) as caught:
        desk.outbox.flush(1.0)
    assert caught.value.exit_code is ExitCode.NOT_AUTHORIZED


def test_a_producer_that_cannot_go_on_is_replaced_by_a_restore() -> None:
    desk = Desk()
    desk.broker.refuse_deliveries[TOPIC] = KafkaError._FATAL
    desk.send()
    with pytest.raises(TaskCorrupted):
        desk.outbox.flush(1.0)


def test_a_full_queue_is_waited_for() -> None:
    desk = Desk()
    desk.clients.producers[0].max_queued = 2
    for number in range(5):
        desk.send(b"%d" % number)
    desk.outbox.flush(1.0)
    assert desk.values == [b"0", b"1", b"2", b"3", b"4"]


def test_a_queue_that_stays_full_corrupts_the_task() -> None:
    desk = Desk()
    desk.clients.producers[0].max_queued = 0
    began = desk.broker.clock.monotonic()
    with pytest.raises(TaskCorrupted, match="full"):
        desk.send()
    assert PATIENCE_S < desk.broker.clock.monotonic() - began < PATIENCE_S + 1


def test_a_record_that_does_not_fit_is_not_sent() -> None:
    desk = Desk(limit=1000)
    with pytest.raises(TooLarge):
        desk.send(b"x" * 1000)
    assert desk.outbox.queued == 0


def test_nothing_is_sent_for_a_member_that_is_out() -> None:
    desk = Desk()
    desk.migrated = True
    with pytest.raises(TaskMigrated):
        desk.send()
    assert desk.outbox.queued == 0


def test_what_is_discarded_never_reaches_the_broker() -> None:
    desk = Desk()
    desk.send(b"old")
    desk.outbox.discard()
    desk.send(b"new")
    desk.outbox.flush(1.0)
    desk.clients.producers[0].flush(1.0)
    assert desk.values == [b"new"]


def test_what_was_wrong_before_is_forgotten_with_what_is_discarded() -> None:
    desk = Desk()
    desk.broker.refuse_deliveries[TOPIC] = KafkaError._MSG_TIMED_OUT
    desk.send()
    desk.clients.producers[0].poll(0)
    desk.broker.refuse_deliveries[TOPIC] = KafkaError.MSG_SIZE_TOO_LARGE
    desk.send()
    desk.clients.producers[0].poll(0)
    desk.outbox.discard()
    desk.outbox.flush(1.0)
    assert desk.outbox.take_refused() == []
