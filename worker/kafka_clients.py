"""The clients of one member on a real Kafka: what stands behind `worker.runtime.clients`."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import cast

from worker.client_statistics import STATISTICS_MS, ClientStatistics
from worker.kafka import (
    Admin,
    Consumer,
    KafkaError,
    KafkaException,
    Meaning,
    Producer,
    consumer_config,
    meaning_of,
    producer_config,
    reader_config,
    transactional_config,
    translate,
)
from worker.runtime.clients import (
    Committed,
    ConsumerLike,
    Delivered,
    ProducerLike,
    ReaderLike,
    TransactionalProducerLike,
)
from worker.settings import Settings
from worker.topics import TopicReport

log = logging.getLogger(__name__)

LARGEST_BATCH_BYTES = 1_000_000
SAY_AGAIN_S = 30.0


class KafkaClients:
    """Makes the clients. A wrong property shows when the first client is made: Fatal."""

    def __init__(
        self, settings: Settings, admin: Admin, report: TopicReport, statistics: ClientStatistics | None = None
    ) -> None:
        self.admin = admin
        self._statistics = statistics
        self._settings = settings
        limits = [topic.max_message_bytes for topic in report.topics.values()]
        self._largest_record_bytes = max(limits)
        self._batch_bytes = min(LARGEST_BATCH_BYTES, *limits)
        self._transactional_id = f"{settings.group_id}-{settings.instance_id or uuid.uuid4()}"

    def consumer(self, on_commit: Committed) -> ConsumerLike:
        """The group's consumer; it joins when it subscribes."""
        try:
            callbacks = {"on_commit": on_commit, "error_cb": Unreachable()}
            config = consumer_config(self._settings)
            return cast(ConsumerLike, Consumer({**self._watched("consumer"), **config, **callbacks}))
        except KafkaException as exc:
            raise translate(exc, "setting up the consumer") from exc

    def producer(self, on_delivery: Delivered) -> ProducerLike:
        """An idempotent producer for all topics."""
        return cast(ProducerLike, self._producer(on_delivery, {}))

    def transactional_producer(self, on_delivery: Delivered, *, one_by_one: bool) -> TransactionalProducerLike:
        """A producer for all topics, always with the same transactional id: the newest one fences those before it."""
        config = transactional_config(self._settings, self._transactional_id, one_by_one=one_by_one)
        return cast(TransactionalProducerLike, self._producer(on_delivery, config))

    def _producer(self, on_delivery: Delivered, more: Mapping[str, object]) -> Producer:
        config = producer_config(
            self._settings, max_message_bytes=self._largest_record_bytes, batch_bytes=self._batch_bytes
        )
        try:
            return Producer({**self._watched("producer"), **config, **more, "on_delivery": on_delivery})
        except KafkaException as exc:
            raise translate(exc, "setting up the producer") from exc

    def _watched(self, client: str) -> dict[str, object]:
        """What makes a client tell of itself, where anybody wants to know."""
        if self._statistics is None:
            return {}
        return {"statistics.interval.ms": STATISTICS_MS, "stats_cb": self._statistics.keeper(client)}

    def reader(self) -> ReaderLike:
        """A consumer outside of the group."""
        return cast(ReaderLike, Consumer(reader_config(self._settings)))


class Unreachable:
    """Says now and then that a broker does not answer: an outage is the client's to wait for, but not in silence."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said_at = float("-inf")

    def __call__(self, error: KafkaError) -> None:
        """An error of the client's connections: many a second while a broker is away. Runs inside its poll."""
        if meaning_of(error) in {Meaning.UNREACHABLE, Meaning.NOT_AUTHORIZED}:
            now = self._now()
            if now - self._said_at >= SAY_AGAIN_S:
                self._said_at = now
                log.warning("waiting for the broker: %s", error.str())
