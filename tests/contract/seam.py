"""The seam's two sides: a topic, and clients for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import KafkaError, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # the package re-exports them without saying so
    OffsetSpec,
)

from tests.acceptance.topic_log import create_topic, delete_topics, read_topic
from tests.fakes.broker import FakeBroker, FakeClock
from tests.fakes.clients import FakeClients
from worker.kafka import Admin
from worker.kafka_clients import KafkaClients
from worker.partitioner import partition_of
from worker.runtime.clients import Clients, ConsumerLike
from worker.settings import Settings
from worker.topic_policy import Role, Topic
from worker.topics import TopicReport

PARTITIONS = 2
MAX_BYTES = 100_000
PATIENCE_S = 10.0


class Seam(Protocol):
    """One side: `topic` has two partitions, takes batches of 100 kB and stamps records itself."""

    topic: str
    clients: Clients

    def values(self, partition: int) -> list[bytes | None]: ...

    def all_values(self) -> list[bytes | None]: ...

    def close(self) -> None: ...


class FakeSeam:
    """The broker of lists."""

    def __init__(self) -> None:
        self.topic = "topic"
        self._broker = FakeBroker({self.topic: PARTITIONS}, FakeClock())
        self._broker.limits[self.topic] = MAX_BYTES
        self.clients: Clients = FakeClients(self._broker)

    def values(self, partition: int) -> list[bytes | None]:
        return [message.value() for message in self._broker.logs[self.topic, partition] if message is not None]

    def all_values(self) -> list[bytes | None]:
        return [message.value() for message in self._broker.records(self.topic)]

    def close(self) -> None:
        """Nothing is left behind."""


class RealSeam:
    """A real Kafka. The client is told of a larger limit than the topic has, so that the broker is who refuses."""

    def __init__(self, bootstrap: str, unique: Callable[[str], str]) -> None:
        self.topic = unique("topic")
        self._bootstrap = bootstrap
        config = {"max.message.bytes": str(MAX_BYTES), "message.timestamp.type": "LogAppendTime"}
        create_topic(bootstrap, self.topic, partitions=PARTITIONS, config=config)
        settings = Settings(
            bootstrap_servers=bootstrap, group_id=unique("group"), session_timeout_ms=6000, input_topic=self.topic
        )
        told = {"max.message.bytes": "5000000"}
        report = TopicReport({Role.INPUT: Topic(self.topic, Role.INPUT, PARTITIONS, told)}, ())
        self.clients: Clients = KafkaClients(settings, Admin(settings), report)

    def values(self, partition: int) -> list[bytes | None]:
        return [record.value for record in read_topic(self._bootstrap, self.topic)[partition]]

    def all_values(self) -> list[bytes | None]:
        return [record.value for records in read_topic(self._bootstrap, self.topic).values() for record in records]

    def close(self) -> None:
        delete_topics(self._bootstrap, [self.topic])


class Deliveries:
    """What a producer reported."""

    def __init__(self) -> None:
        self.failed: list[tuple[int, bytes | None]] = []

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed.append((error.code(), message.value()))


class Membership:
    """A consumer in the group, and what its callbacks were told. `starts` are the offsets it gives on assignment."""

    def __init__(self, seam: Seam, starts: dict[int, int] | None = None, *, waits: bool = True) -> None:
        self.committed: list[tuple[KafkaError | None, list[tuple[int, int, str | None]]]] = []
        self.assigned: list[int] = []
        self.revoked: list[int] = []
        self._came: list[Message] = []
        self._topic = seam.topic
        self._starts = starts or {}
        self.consumer: ConsumerLike = seam.clients.consumer(self._on_commit)
        self.consumer.subscribe(
            [seam.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        if waits:
            self.wait(lambda: len(self.assigned) == PARTITIONS)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self.committed.append((error, [(item.partition, item.offset, item.metadata) for item in partitions]))

    def _on_assign(self, consumer: ConsumerLike, partitions: list[TopicPartition]) -> None:
        assert {item.offset for item in partitions} <= {-1001}, "the client does not say where it would start"
        starts = [
            TopicPartition(self._topic, item.partition, self._starts.get(item.partition, 0)) for item in partitions
        ]
        consumer.incremental_assign(starts)
        self.assigned += [item.partition for item in partitions]

    def _on_revoke(self, consumer: ConsumerLike, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        self.revoked += [item.partition for item in partitions]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Poll until the condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            message = self.consumer.poll(0.05)
            if message is not None:
                self._came.append(message)

    def read(self, count: int) -> list[Message]:
        """The next messages or events, so many."""
        self.wait(lambda: len(self._came) >= count)
        read, self._came = self._came[:count], self._came[count:]
        return read

    def position(self, partition: int = 0) -> int:
        return self.consumer.position([TopicPartition(self._topic, partition)])[0].offset


def fill(seam: Seam, count: int, *, key: bytes = b"key") -> int:
    """Put values "0", "1", … under one key; the partition where they are."""
    producer = seam.clients.producer(Deliveries())
    for number in range(count):
        producer.produce(seam.topic, b"%d" % number, key)
    assert producer.flush(PATIENCE_S) == 0
    return partition_of(key, PARTITIONS)


def end_of(seam: Seam, partition: int) -> int:
    asked = {TopicPartition(seam.topic, partition): OffsetSpec.latest()}  # type: ignore[no-untyped-call]
    [answer] = seam.clients.admin.list_offsets(asked, request_timeout=PATIENCE_S).values()
    offset = answer.result().offset
    assert isinstance(offset, int)
    return offset
