"""Everything the process produces goes through here: bounded, and no delivery unseen.

A record that the broker refuses for itself (its size) fails the whole batch it travels in, innocent neighbours included
(measured), so what was refused is handed back to be sent again alone. Any other failed delivery means that memory and
topics may differ: TaskCorrupted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from worker.errors import ExitCode, Fatal, TaskCorrupted, WorkerError
from worker.kafka import KafkaError, KafkaException, Message, error_of, raised_inside, refuses_record, translate
from worker.pipeline.record import Headers
from worker.runtime.clients import Delivered, ProducerLike
from worker.runtime.clock import Clock

MAX_RECORD_OVERHEAD_BYTES = (
    128  # batch header (61), record header (at most 21), and room for the lengths of two headers
)
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588  # the broker's default, where it may not be asked
FULL_QUEUE_WAIT_S = 0.05
BY_KEY = -1  # the client's own word for it
LARGE_BYTES = 16 * 1024  # a smaller record is not refused for its size by any topic of ours, only for its neighbours'

MakeProducer = Callable[[Delivered], ProducerLike]


class Outgoing(NamedTuple):
    """A record to produce. `source`: what it was made of. Without a partition that follows from the key (murmur2)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers | None = None
    source: object = None
    partition: int = BY_KEY


class TooLarge(WorkerError):
    """The record does not fit into its topic; nothing was sent."""


class Outbox:
    """A producer with a bounded queue. Not thread-safe: it lives in the poll loop's thread.

    `may_produce` is asked before every record and raises where nothing may go out any more; `limits` are the topics'
    max.message.bytes; `patience_s` is how long a full queue is waited for.
    """

    def __init__(
        self,
        make_producer: MakeProducer,
        may_produce: Callable[[], None],
        limits: dict[str, int],
        clock: Clock,
        patience_s: float,
    ) -> None:
        self._make_producer = make_producer
        self._may_produce = may_produce
        self._limits = limits
        self._clock = clock
        self._patience_s = patience_s
        self._failure: WorkerError | None = None
        self._refused: list[Outgoing] = []
        self._producer = make_producer(self._delivered)

    def send(self, outgoing: Outgoing) -> None:
        """Queue a record; waits while the queue is full.

        Raises:
            TooLarge: the record cannot be produced for itself.
            TaskMigrated: the partitions may be someone else's by now.
            TaskCorrupted: the queue stayed full for `patience_s`, or the producer cannot go on.
        """
        self._may_produce()
        if self._size(outgoing) > self._limits.get(outgoing.topic, DEFAULT_MAX_MESSAGE_BYTES):
            raise TooLarge(f"{self._size(outgoing)} bytes are too many for {outgoing.topic}")
        deadline: float | None = None
        while True:
            try:
                self._produce(outgoing)
            except BufferError:
                now = self._clock.monotonic()
                deadline = deadline or now + self._patience_s
                if now > deadline:
                    raise TaskCorrupted(f"the producer's queue stayed full for {self._patience_s:.0f} s") from None
                self._reported(lambda: self._producer.poll(FULL_QUEUE_WAIT_S))
            except KafkaException as exc:
                if refuses_record(error_of(exc)):
                    raise TooLarge(f"refused for {outgoing.topic}: {exc}") from exc
                raise failure_of(exc, f"producing to {outgoing.topic}") from exc
            else:
                return

    def _produce(self, outgoing: Outgoing) -> None:
        topic, key, value, headers, source, partition = outgoing
        is_kept = headers is not None or (source is not None and len(value or b"") + len(key or b"") >= LARGE_BYTES)
        if not is_kept:  # a delivery report tells key and value, but no headers (measured)
            self._producer.produce(topic, value, key, partition)
            return

        def delivered(error: KafkaError | None, _message: Message) -> None:
            self._report(error, outgoing)

        self._producer.produce(topic, value, key, partition, headers=headers, on_delivery=delivered)

    @staticmethod
    def _size(outgoing: Outgoing) -> int:
        size = MAX_RECORD_OVERHEAD_BYTES + len(outgoing.key or b"") + len(outgoing.value or b"")
        if outgoing.headers:
            size += sum(len(name) + len(value or b"") + 10 for name, value in outgoing.headers)
        return size

    def serve(self) -> None:
        """Let delivery reports in.

        Raises:
            TaskCorrupted, Fatal: a delivery failed.
        """
        self._reported(lambda: self._producer.poll(0))
        self._raise_failure()

    def flush(self, timeout_s: float) -> None:
        """Every record sent so far is delivered, or known to be refused, when this returns.

        Raises:
            TaskCorrupted, Fatal: a delivery failed, or the time was up.
        """
        left = self._reported(lambda: self._producer.flush(timeout_s))
        self._raise_failure()
        if left:
            raise TaskCorrupted(f"{left} records were not delivered within {timeout_s:.1f} s")

    def take_refused(self) -> list[Outgoing]:
        """The records that the broker refused since the last call: each may be a victim of its neighbour."""
        refused, self._refused = self._refused, []
        return refused

    @property
    def queued(self) -> int:
        """Records that are not known to be delivered yet."""
        return len(self._producer)

    def prepare(self) -> None:
        """To be called before offsets are read that a task begins with: nothing of before changes them any more."""

    @property
    def is_open(self) -> bool:
        """Whether records wait for a checkpoint to be seen."""
        return False

    def abandon(self) -> None:
        """Drop what is queued: nothing more may reach the broker. The outbox cannot be used any more."""
        self._producer.purge()
        with contextlib.suppress(KafkaException, SystemError):  # it is dropped all the same
            self._producer.flush(0)

    def discard(self) -> None:
        """Drop what is queued and begin with a fresh producer: nothing of the old one may reach the broker any more."""
        self.abandon()
        self._failure = None
        self._refused = []
        self._producer = self._make_producer(self._delivered)

    def _reported(self, call: Callable[[], int]) -> int:
        """A call in which delivery reports come in, and what the client has to say of itself."""
        try:
            return call()
        except (KafkaException, SystemError) as exc:
            raise failure_of(raised_inside(exc), "delivering records") from exc

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        key, partition = message.key(), message.partition()
        home = BY_KEY if key is not None or partition is None else partition
        self._report(error, Outgoing(message.topic() or "", key, message.value(), partition=home))

    def _report(self, error: KafkaError | None, outgoing: Outgoing) -> None:
        """A delivery report; runs inside poll and flush, and only records."""
        if error is None:
            return
        if refuses_record(error):
            self._refused.append(outgoing)
            return
        failure = failure_of(error, f"delivering to {outgoing.topic}")
        if self._failure is None or isinstance(failure, Fatal):
            self._failure = failure


def failure_of(exc: KafkaException | KafkaError, doing: str) -> WorkerError:
    """What a record that did not get through means: a fresh producer and a restore, unless no producer can help."""
    failure = translate(exc, doing, running=True)
    is_new = error_of(exc).code() == KafkaError._UNKNOWN_PARTITION  # noqa: SLF001 - added since this one last looked
    if isinstance(failure, Fatal) and failure.exit_code is not ExitCode.CLIENT_FATAL and not is_new:
        return failure
    return TaskCorrupted(str(failure))
