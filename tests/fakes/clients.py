"""All the clients of one member over the broker of lists."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined] # re-exported without saying so

from tests.fakes.broker import FakeBroker, Key, kafka_error
from tests.fakes.consumer import FakeConsumer
from tests.fakes.producer import FakeProducer
from tests.fakes.transactional_producer import FakeTransactionalProducer
from worker.runtime.clients import Committed, Delivered


class FakeReader:
    """A consumer outside of the group, which says where a partition ends."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._at: dict[Key, int] = {}
        self._said_end: set[Key] = set()

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._at = {(item.topic, item.partition): item.offset for item in partitions}

    def poll(self, timeout: float) -> Message | None:
        for at, offset in self._at.items():
            if self._broker.is_down:
                break
            while offset < self._broker.end(at):
                message = self._broker.message(at, offset)
                offset += 1
                self._at[at] = offset
                if message is not None:
                    return message
            if at not in self._said_end:
                self._said_end.add(at)
                return Message(*at, offset, error=kafka_error(KafkaError._PARTITION_EOF))
        self._broker.clock.sleep(timeout)
        return None

    def close(self) -> None:
        self._at = {}


class Offset(NamedTuple):
    """An answer of `list_offsets`."""

    offset: int
    timestamp: int


class TopicOf(NamedTuple):
    """What is known of a topic."""

    partitions: dict[int, None]
    error: KafkaError | None = None


class Metadata(NamedTuple):
    """An answer of `list_topics`."""

    topics: dict[str, TopicOf]


class FakeAdmin:
    """Answers questions about logs. A `stale` one asks with an old leader epoch until it looks who leads."""

    def __init__(self, broker: FakeBroker) -> None:
        self.is_stale = False
        self.unknown_topics: deque[int] = deque()  # error codes for the next questions about topics
        self._broker = broker

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> object:
        if self._broker.is_down:
            self._broker.clock.sleep(timeout)
            raise KafkaException(kafka_error(KafkaError._TRANSPORT))
        self.is_stale = False
        names = {name for name, _ in self._broker.logs} if topic is None else {topic}
        if self.unknown_topics:
            error = kafka_error(self.unknown_topics.popleft())
            return Metadata({name: TopicOf({}, error) for name in names})
        return Metadata({name: TopicOf(dict.fromkeys(range(self._broker.partitions(name)))) for name in names})

    def list_offsets(
        self, topic_partition_offsets: dict[TopicPartition, OffsetSpec], *, request_timeout: float
    ) -> dict[TopicPartition, Future[Offset]]:
        out = {}
        if self._broker.is_down:
            self._broker.clock.sleep(request_timeout)
        for item, spec in topic_partition_offsets.items():
            future: Future[Offset] = Future()
            if self._broker.is_down:
                future.set_exception(KafkaException(kafka_error(KafkaError._TIMED_OUT)))
            elif self.is_stale:
                future.set_exception(KafkaException(kafka_error(KafkaError.FENCED_LEADER_EPOCH)))
            else:
                future.set_result(self._find((item.topic, item.partition), spec))
            out[item] = future
        return out

    def _find(self, at: Key, spec: OffsetSpec) -> Offset:
        if spec is OffsetSpec.earliest():  # type: ignore[no-untyped-call]
            return Offset(self._broker.start(at), -1)
        if spec is OffsetSpec.latest():  # type: ignore[no-untyped-call]
            return Offset(self._broker.end(at), -1)
        for offset in range(self._broker.start(at), self._broker.end(at)):
            message = self._broker.message(at, offset)
            if message is not None and message.timestamp()[1] >= spec._value:
                return Offset(offset, message.timestamp()[1])
        return Offset(-1, -1)


class FakeClients:
    """The clients of one member: `worker.runtime.clients.Clients`. `members` and `producers` are all it has made."""

    def __init__(self, broker: FakeBroker, *, max_bytes: int = 10_000_000) -> None:
        self.admin = FakeAdmin(broker)
        self.consumers: list[FakeConsumer] = []
        self.producers: list[FakeProducer] = []
        self._broker = broker
        self._max_bytes = max_bytes
        self.transactional_id = f"id-{id(self)}"

    def consumer(self, on_commit: Committed) -> FakeConsumer:
        self.consumers.append(FakeConsumer(self._broker, on_commit))
        return self.consumers[-1]

    def producer(self, on_delivery: Delivered) -> FakeProducer:
        self.producers.append(FakeProducer(self._broker, on_delivery, max_bytes=self._max_bytes))
        return self.producers[-1]

    def transactional_producer(self, on_delivery: Delivered, *, one_by_one: bool) -> FakeTransactionalProducer:
        producer = FakeTransactionalProducer(
            self._broker, on_delivery, self.transactional_id, max_bytes=self._max_bytes, one_by_one=one_by_one
        )
        self.producers.append(producer)
        return producer

    def reader(self) -> FakeReader:
        return FakeReader(self._broker)
