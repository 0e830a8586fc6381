"""The outbox of exactly_once: what is sent is seen when the checkpoint commits it, together with the positions.

A transaction that fails, in whatever way, ends its producer (librdkafka cannot say what a request that timed out did):
the next one has the same transactional id, and making it ready settles the fate of the one before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from worker.errors import TaskCorrupted, TaskMigrated, WorkerError
from worker.kafka import KafkaError, KafkaException, Meaning, TopicPartition, error_of, meaning_of, translate
from worker.pipeline.record import Headers
from worker.runtime.bounded_call import NeverReturned, bounded_call
from worker.runtime.clients import Delivered, ProducerLike, TransactionalProducerLike
from worker.runtime.clock import Clock
from worker.runtime.outbox import BY_KEY, DEFAULT_MAX_MESSAGE_BYTES, Outbox, Outgoing, failure_of

READY_TIMEOUT_S = 5.0
ABORT_TIMEOUT_S = 1.0  # what does not answer by then is settled by the next producer, or by the broker in time
LEAST_TIMEOUT_S = 0.1
NOT_A_MEMBER = frozenset({KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_MEMBER_EPOCH})


class MakeTransactional(Protocol):
    """Makes a producer that has the same transactional id as all those before."""

    def __call__(self, on_delivery: Delivered, *, one_by_one: bool) -> TransactionalProducerLike: ...


class Transactions:
    """A transactional producer with the face of a plain one: a transaction begins with its first record."""

    def __init__(self, producer: TransactionalProducerLike) -> None:
        self.is_open = False
        self._is_ready = False
        self._is_stuck = False
        self._producer = producer

    def prepare(self) -> None:
        """Returns when the broker has ended every transaction of the producers before.

        Raises:
            Retriable, TaskCorrupted, Fatal: it has not; another producer must be made.
        """
        if self._is_ready:
            return
        try:
            self._bounded(lambda: self._producer.init_transactions(READY_TIMEOUT_S), READY_TIMEOUT_S)
        except KafkaException as exc:
            failure = translate(exc, "ending the last transaction", running=True)
            raise failure_of(exc, "ending the last transaction") if error_of(exc).fatal() else failure from exc
        self._is_ready = True

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int = BY_KEY,
        *,
        headers: Headers | None = None,
        on_delivery: Delivered | None = None,
    ) -> None:
        if not self.is_open:
            self._begin()
        if on_delivery is None:
            self._producer.produce(topic, value, key, partition, headers=headers)
        else:
            self._producer.produce(topic, value, key, partition, headers=headers, on_delivery=on_delivery)

    def _begin(self) -> None:
        self.prepare()
        self._producer.begin_transaction()
        self.is_open = True

    def poll(self, timeout: float) -> int:
        return self._producer.poll(timeout)

    def flush(self, timeout: float) -> int:
        return self._producer.flush(timeout)

    def purge(self) -> None:
        self._producer.purge()

    def __len__(self) -> int:
        return len(self._producer)

    def commit(self, positions: list[TopicPartition], group_metadata: object, timeout_s: Callable[[], float]) -> None:
        """Commit what was produced, and the positions with it. `timeout_s` gives the time that is left.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: it is not known to be committed.
        """
        try:
            if not self.is_open:
                self._begin()
            self._bounded(lambda: self._commit(positions, group_metadata, timeout_s), timeout_s())
        except KafkaException as exc:
            failure = failure_of(exc, "committing a transaction")
            raise TaskMigrated(str(failure)) if error_of(exc).code() in NOT_A_MEMBER else failure from exc

    def _commit(self, positions: list[TopicPartition], group_metadata: object, timeout_s: Callable[[], float]) -> None:
        self._producer.send_offsets_to_transaction(positions, group_metadata, timeout_s())
        self.is_open = False  # from here on only the broker knows: nothing to abort
        self._producer.commit_transaction(timeout_s())

    def _bounded(self, call: Callable[[], None], timeout_s: float) -> None:
        """Raises TaskCorrupted where the client does not come back: this producer must not be used any more."""
        try:
            bounded_call(call, timeout_s)
        except NeverReturned:
            self._is_stuck = True
            raise TaskCorrupted("the client does not come back from a transaction") from None

    def failure(self) -> KafkaError | None:
        """What the open transaction has failed for; None = it has not. Deliveries only tell that they were purged."""
        try:
            self._producer.begin_transaction()
        except KafkaException as exc:
            error = error_of(exc)
            return None if error.code() == KafkaError._STATE else error  # noqa: SLF001 - open, as it should be
        return None

    def abandon(self) -> None:
        """Take back what is open, as far as the broker answers at once, and drop what is queued."""
        with contextlib.suppress(KafkaException, TaskCorrupted):
            if self.is_open and not self._is_stuck:
                self._bounded(lambda: self._producer.abort_transaction(ABORT_TIMEOUT_S), ABORT_TIMEOUT_S)
        if self._is_stuck:
            return  # every call would wait; the next producer fences this one
        self.is_open = False
        self._producer.purge()
        with contextlib.suppress(KafkaException, SystemError):
            self._producer.flush(0)


class TransactionalOutbox(Outbox):
    """What `Outbox` does, in transactions. `make_producer` takes whether records may share a batch, too.

    A refused record ends the transaction, and nobody can tell it from its neighbours in the batch. So from then on each
    travels alone, and one that is refused again says by its size what its topic does not take: the tasks, which begin
    again, make dead letters of such.
    """

    def __init__(
        self,
        make_producer: MakeTransactional,
        may_produce: Callable[[], None],
        limits: dict[str, int],
        clock: Clock,
        patience_s: float,
    ) -> None:
        self._make_transactional = make_producer
        self._one_by_one = False
        self.discarded = 0  # how often
        super().__init__(self._make, may_produce, dict(limits), clock, patience_s)

    def _make(self, delivered: Delivered) -> ProducerLike:
        self._transactions = Transactions(self._make_transactional(delivered, one_by_one=self._one_by_one))
        return self._transactions

    @property
    def is_open(self) -> bool:
        return self._transactions.is_open

    def prepare(self) -> None:
        """The next commit, and what is read as committed, do not depend on a transaction of before.

        Raises:
            Retriable, TaskCorrupted, Fatal: nobody knows yet. `discard`, and ask again.
        """
        self._transactions.prepare()

    def commit(self, positions: list[TopicPartition], group_metadata: object, deadline: float) -> None:
        """Commit what was sent and these positions, or neither; not after `deadline` (monotonic). `flush` comes before.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: it is not known to be committed. `discard`, then read what is.
        """

        def left() -> float:
            return max(LEAST_TIMEOUT_S, deadline - self._clock.monotonic())

        self._transactions.commit(positions, group_metadata, left)

    def abandon(self) -> None:
        self._transactions.abandon()

    def discard(self) -> None:
        self.abandon()
        self._learn(self.take_refused())
        self.discarded += 1
        super().discard()

    def _learn(self, refused: list[Outgoing]) -> None:
        if self._one_by_one:
            for culprit in refused:
                limit = self._limits.get(culprit.topic, DEFAULT_MAX_MESSAGE_BYTES)
                self._limits[culprit.topic] = min(limit, self._size(culprit) - 1)
        elif refused:
            self._one_by_one = True

    def _raise_failure(self) -> None:
        if isinstance(self._failure, TaskCorrupted) and self.is_open:
            cause = self._transactions.failure()
            if cause is not None and meaning_of(cause) is Meaning.NOT_AUTHORIZED:  # no other producer would get through
                self._failure = translate(cause, "producing in a transaction")
        super()._raise_failure()

    def _report(self, error: KafkaError | None, outgoing: Outgoing) -> None:
        super()._report(error, outgoing)
        if self._refused and self._failure is None:
            self._failure = _redone(self._refused[0])


def _redone(refused: Outgoing) -> WorkerError:
    return TaskCorrupted(f"{refused.topic} refused a record, or the batch that it was in: the transaction is done anew")
