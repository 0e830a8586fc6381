"""A producer over the broker of lists."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException

from tests.fakes.broker import FakeBroker, Key, Queued, kafka_error
from worker.partitioner import partition_of
from worker.pipeline.record import Headers
from worker.runtime.clients import Delivered

DELIVERY_TIMEOUT_S = 12.0


class FakeProducer:
    """Delivers what is queued when it is polled or flushed. Reports only what failed."""

    def __init__(self, broker: FakeBroker, on_delivery: Delivered, *, max_bytes: int = 10_000_000) -> None:
        self.max_queued = 100_000
        self._broker = broker
        self._on_delivery = on_delivery
        self._max_bytes = max_bytes
        self._queue: list[Queued] = []
        self._reports: list[tuple[Queued, KafkaError]] = []

    def __len__(self) -> int:
        return len(self._queue) + len(self._reports)

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
        queued = Queued(topic, key, value, headers, on_delivery, self._broker.clock.monotonic(), partition)
        if queued.size > self._max_bytes:
            raise KafkaException(kafka_error(KafkaError.MSG_SIZE_TOO_LARGE))
        if len(self._queue) >= self.max_queued:
            raise BufferError("Local: Queue full")
        self._broker.journal.append(("produced", topic, key))
        self._queue.append(queued)

    def poll(self, timeout: float) -> int:
        self._deliver()
        if not self._reports:
            self._broker.clock.sleep(timeout)
        return self._serve()

    def flush(self, timeout: float) -> int:
        self._deliver()
        if self._queue:
            self._broker.clock.sleep(timeout)
            self._deliver()
        self._serve()
        self._broker.journal.append(("flushed",))
        return len(self)

    def purge(self) -> None:
        for queued in self._queue:
            self._reports.append((queued, kafka_error(KafkaError._PURGE_QUEUE)))
        self._queue = []

    def _home(self, queued: Queued) -> int:
        if queued.partition >= 0:
            return queued.partition
        return 0 if queued.key is None else partition_of(queued.key, self._broker.partitions(queued.topic) or 1)

    def _deliver(self) -> None:
        now = self._broker.clock.monotonic()
        late = [queued for queued in self._queue if now - queued.since > DELIVERY_TIMEOUT_S]
        for queued in late:
            self._queue.remove(queued)
            self._reports.append((queued, kafka_error(KafkaError._MSG_TIMED_OUT)))
        if self._broker.is_down:
            return
        for (topic, partition), batch in self._batches():
            error = self._broker.verdict(topic, batch)
            for queued in batch:
                if error is not None:
                    self._refused(queued, error)
                else:
                    self._accepted(queued, partition)

    def _batches(self) -> Iterator[tuple[Key, list[Queued]]]:
        """What travels together."""
        batches: dict[Key, list[Queued]] = {}
        for queued in self._queue:
            at = queued.topic, self._home(queued)
            batches.setdefault(at, []).append(queued)
        self._queue = []
        yield from batches.items()

    def _refused(self, queued: Queued, error: KafkaError) -> None:
        self._reports.append((queued, error))

    def _accepted(self, queued: Queued, partition: int) -> None:
        self._broker.append(queued.topic, queued.key, queued.value, headers=queued.headers, partition=partition)
        self._broker.journal.append(("delivered", queued.topic, queued.key))

    def _serve(self) -> int:
        reports, self._reports = self._reports, []
        for queued, error in reports:
            (queued.on_delivery or self._on_delivery)(error, queued.message(error))
        return len(reports)
