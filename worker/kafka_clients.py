"""The clients of one member on a real Kafka: what stands behind `worker.runtime.clients`."""

from __future__ import annotations

from typing import cast

from worker.kafka import (
    Admin,
    Consumer,
    KafkaException,
    Producer,
    consumer_config,
    producer_config,
    reader_config,
    translate,
)
from worker.runtime.clients import Committed, ConsumerLike, Delivered, ProducerLike, ReaderLike
from worker.settings import Settings
from worker.topics import TopicReport

LARGEST_BATCH_BYTES = 1_000_000


class KafkaClients:
    """Makes the clients. A wrong property shows when the first client is made: Fatal."""

    def __init__(self, settings: Settings, admin: Admin, report: TopicReport) -> None:
        self.admin = admin
        self._settings = settings
        limits = [topic.max_message_bytes for topic in report.topics.values()]
        self._largest_record_bytes = max(limits)
        self._batch_bytes = min(LARGEST_BATCH_BYTES, *limits)

    def consumer(self, on_commit: Committed) -> ConsumerLike:
        """The group's consumer; it joins when it subscribes."""
        try:
            return cast(ConsumerLike, Consumer({**consumer_config(self._settings), "on_commit": on_commit}))
        except KafkaException as exc:
            raise translate(exc, "setting up the consumer") from exc

    def producer(self, on_delivery: Delivered) -> ProducerLike:
        """An idempotent producer for all topics."""
        config = producer_config(
            self._settings, max_message_bytes=self._largest_record_bytes, batch_bytes=self._batch_bytes
        )
        try:
            return cast(ProducerLike, Producer({**config, "on_delivery": on_delivery}))
        except KafkaException as exc:
            raise translate(exc, "setting up the producer") from exc

    def reader(self) -> ReaderLike:
        """A consumer outside of the group."""
        return cast(ReaderLike, Consumer(reader_config(self._settings)))
