"""The clients of one member on a real Kafka: what stands behind `worker.runtime.clients`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import cast

from worker.client_statistics import STATISTICS_MS, ClientStatistics
from worker.connections import Connections, ask_anew
from worker.kafka import (
    Admin,
    Consumer,
    KafkaException,
    Message,
    Producer,
    consumer_config,
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

LARGEST_BATCH_BYTES = 1_000_000


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
            config = {**self._watched("consumer"), **consumer_config(self._settings), "on_commit": on_commit}
            return cast(ConsumerLike, GroupConsumer(config, Connections(lambda: ask_anew(self._settings))))
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


class GroupConsumer(Consumer):
    """The group's consumer. `poll` raises a WorkerError where the broker has taken to refusing the credentials."""

    def __init__(self, config: Mapping[str, object], connections: Connections) -> None:
        super().__init__({**config, "error_cb": connections})
        self._connections = connections

    def poll(self, timeout: float = -1) -> Message | None:
        message = super().poll(timeout)
        self._connections.look()
        return message
