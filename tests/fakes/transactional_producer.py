"""A transactional producer over the broker of lists."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.fakes.broker import FakeBroker, Key, Queued, Stored, Transaction, kafka_error
from tests.fakes.producer import FakeProducer
from worker.pipeline.record import Headers
from worker.runtime.clients import Delivered

TRANSACTION_TIMEOUT_S = 10.0


class FakeTransactionalProducer(FakeProducer):
    """What it delivers is seen when its transaction is committed. The first error in a transaction ends it.

    A transaction that is older than its timeout is taken back by the broker, and its producer fenced.
    """

    def __init__(
        self,
        broker: FakeBroker,
        on_delivery: Delivered,
        transactional_id: str,
        *,
        max_bytes: int = 10_000_000,
        one_by_one: bool = False,
    ) -> None:
        super().__init__(broker, on_delivery, max_bytes=max_bytes)
        self.one_by_one = one_by_one
        self._transactional_id = transactional_id
        self._epoch = 0
        self._began_at: float | None = None
        self._error: KafkaError | None = None  # what the open transaction failed for

    @property
    def _transaction(self) -> Transaction:
        return self._broker.transactions.setdefault(self._transactional_id, Transaction())

    def init_transactions(self, timeout: float) -> None:
        self._reach(timeout)
        transaction = self._transaction
        self._broker.end_transaction(transaction, commit=False)
        transaction.epoch += 1
        self._epoch = transaction.epoch

    def begin_transaction(self) -> None:
        if not self._epoch or self._began_at is not None or self._error is not None:
            raise KafkaException(self._error or kafka_error(KafkaError._STATE))
        self._began_at = self._broker.clock.monotonic()
        self._broker.journal.append(("begun",))

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int = -1,
        *,
        headers: Headers | None = None,
        on_delivery: Delivered | None = None,
    ) -> None:
        if self._began_at is None or self._error is not None:
            raise KafkaException(kafka_error(KafkaError._STATE))
        super().produce(topic, value, key, partition, headers=headers, on_delivery=on_delivery)

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: object, timeout: float
    ) -> None:
        self._go_on(timeout)
        code = 0
        if group_metadata in self._broker.expelled:
            code = KafkaError.UNKNOWN_MEMBER_ID
        if code:
            self._error = kafka_error(code, ends_transaction=True)
            raise KafkaException(self._error)
        for item in positions:
            self._transaction.offsets[item.topic, item.partition] = Stored(item.offset, item.metadata)

    def commit_transaction(self, timeout: float) -> None:
        if self.flush(timeout):
            raise KafkaException(kafka_error(KafkaError._TIMED_OUT))
        self._go_on(timeout)
        code = self._broker.refuse_transactions.popleft() if self._broker.refuse_transactions else 0
        if code:
            raise KafkaException(kafka_error(code))
        self._broker.end_transaction(self._transaction, commit=True)
        self._began_at = None
        if self._broker.is_silent:
            raise KafkaException(kafka_error(KafkaError._TIMED_OUT))

    def abort_transaction(self, timeout: float) -> None:
        self._reach(timeout)
        self._check_epoch()
        self._queue = []
        self._broker.end_transaction(self._transaction, commit=False)
        self._broker.journal.append(("aborted",))
        self._began_at = self._error = None

    def flush(self, timeout: float) -> int:
        if self._error is not None and self._error.fatal():
            raise KafkaException(self._error)
        return super().flush(timeout)

    def _go_on(self, timeout: float) -> None:
        self._reach(timeout)
        self._check_epoch()
        if self._began_at is None:
            raise KafkaException(kafka_error(KafkaError._STATE))
        if self._error is not None:
            raise KafkaException(self._error)

    def _check_epoch(self) -> None:
        now = self._broker.clock.monotonic()
        is_over = self._began_at is not None and now - self._began_at > TRANSACTION_TIMEOUT_S
        if is_over and self._transaction.epoch == self._epoch:
            self._broker.end_transaction(self._transaction, commit=False)
            self._transaction.epoch += 1
        if self._transaction.epoch != self._epoch:
            self._error = kafka_error(KafkaError._FENCED, fatal=True)
            raise KafkaException(self._error)

    def _reach(self, timeout: float) -> None:
        if self._broker.is_down:
            self._broker.clock.sleep(timeout)
            raise KafkaException(kafka_error(KafkaError._TIMED_OUT))

    def _batches(self) -> Iterator[tuple[Key, list[Queued]]]:
        for at, batch in super()._batches():
            if self.one_by_one:
                yield from ((at, [queued]) for queued in batch)
            else:
                yield at, batch

    def _refused(self, queued: Queued, error: KafkaError) -> None:
        super()._refused(queued, error)
        self._error = self._error or kafka_error(error.code(), ends_transaction=True)

    def _accepted(self, queued: Queued, partition: int) -> None:
        self._transaction.records.append((queued, partition))
        self._broker.journal.append(("delivered", queued.topic, queued.key))
