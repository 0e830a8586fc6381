"""The broker's side of a run: topics made, filled, read back and removed, and how far a group has come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined] # the package re-exports them without saying so
    AdminClient,
    NewTopic,
    OffsetSpec,
)

from benchmarks.load import Payload

PARTITIONS = 4
TIMEOUT_S = 30.0
KEEP_EVERYTHING = {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}  # the load carries its own times


class Broker:
    """What the benchmarks ask of a broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})

    @contextlib.contextmanager
    def topic(self, name: str) -> Iterator[str]:
        """A topic of ours, gone afterwards."""
        new = NewTopic(name, num_partitions=PARTITIONS, replication_factor=1, config=KEEP_EVERYTHING)
        self._admin.create_topics([new], operation_timeout=TIMEOUT_S)[name].result(TIMEOUT_S)
        try:
            yield name
        finally:
            self.delete([name])

    def delete(self, topics: Iterable[str], group_id: str | None = None) -> None:
        """Remove those of the topics that exist, and a group: a broker that is shared must not fill up."""
        present = sorted(set(topics) & self.topics())
        if present:
            for deleted in self._admin.delete_topics(present, operation_timeout=TIMEOUT_S).values():
                deleted.result(TIMEOUT_S)
        if group_id is not None:
            with contextlib.suppress(KafkaException):  # it never committed
                self._admin.delete_consumer_groups([group_id])[group_id].result(TIMEOUT_S)

    def topics(self) -> set[str]:
        """All that exist."""
        return set(self._admin.list_topics(timeout=TIMEOUT_S).topics)

    def ends(self, topic: str) -> list[int]:
        """Where each partition ends; nothing while there is no such topic."""
        found = self._admin.list_topics(timeout=TIMEOUT_S).topics.get(topic)
        if found is None:
            return []
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(topic, partition): latest for partition in sorted(found.partitions)}
        answers = self._admin.list_offsets(asked, request_timeout=TIMEOUT_S)
        return [answer.result(TIMEOUT_S).offset for answer in answers.values()]

    def fill(self, topic: str, payloads: Iterable[Payload], note: Callable[[int], None]) -> int:
        """Put the load into a topic; `note` is told how many are there. Returns the bytes of all values."""
        feed = Feed(self.bootstrap_servers, topic, linger_ms=50)
        size = 0
        for count, payload in enumerate(payloads, 1):
            feed.send(payload.key, payload.value, payload.time)
            size += len(payload.value)
            if count % 1000 == 0:
                note(count)
        feed.flush()
        return size

    def read(self, topic: str) -> Iterator[Message]:
        """Every record of a topic up to where it ends now, in the order of each partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "benchmarks-read-without-a-group",
                "enable.auto.commit": False,
                "fetch.queue.backoff.ms": 5,
                "log_level": 0,
            }
        )
        ends = self.ends(topic)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(len(ends))])
        left = {partition for partition, end in enumerate(ends) if end}
        try:
            while left:
                for message in consumer.consume(5000, 0.2):
                    error = message.error()
                    if error is not None:
                        raise KafkaException(error)
                    yield message
                    if (message.offset() or 0) + 1 >= ends[message.partition() or 0]:
                        left.discard(message.partition() or 0)
        finally:
            consumer.close()


class GroupPosition:
    """How far a group has come. Asks as a member that never joins would.

    The admin client is not asked: it crashes where a group's coordinator is new or moves (librdkafka 2.16.0, measured):
    it looks for the coordinator again by way of a group, and an admin client has none.
    """

    def __init__(self, broker: Broker, group_id: str, topics: Iterable[str]) -> None:
        self._partitions = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "group.id": group_id,
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )

    def close(self) -> None:
        """Let the connections go."""
        self._consumer.close()

    def committed(self) -> dict[str, int]:
        """Records that the group has done with, by topic. They begin at offset 0."""
        done = {partition.topic: 0 for partition in self._partitions}
        try:
            found = self._consumer.committed(self._partitions, timeout=TIMEOUT_S)
        except KafkaException:  # its coordinator is not there yet
            return done
        for partition in found:
            done[partition.topic] += max(0, partition.offset)
        return done


class Feed:
    """Sends payloads as a producer of the input topic does."""

    def __init__(self, bootstrap_servers: str, topic: str, *, linger_ms: float) -> None:
        self._topic = topic
        self._refused: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "partitioner": "murmur2_random",
                "linger.ms": linger_ms,
                "queue.buffering.max.messages": 500_000,
                "delivery.report.only.error": True,
                "on_delivery": self._delivered,
                "log_level": 0,
            }
        )

    def send(self, key: bytes, value: bytes, at: float) -> None:
        """Queue one payload, stamped with its time."""
        while True:
            try:
                self._producer.produce(self._topic, value, key, timestamp=int(at * 1000))
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until everything is there.

        Raises:
            KafkaException: something is not.
        """
        left = self._producer.flush(TIMEOUT_S)
        if self._refused:
            raise KafkaException(self._refused[0])
        if left:
            raise TimeoutError(f"{left} payloads were not taken within {TIMEOUT_S:.0f} s")

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused.append(error)


def wait_until(holds: Callable[[], bool], what: str, *, timeout_s: float, poll_s: float = 0.05) -> None:
    """Poll a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(poll_s)
