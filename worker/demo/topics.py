"""The demo's side of the topics: what it sends, what it reads back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from worker.kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from worker.pipeline.restore_point import decode

INPUT, REPARTITION, OUTPUT, DEAD_LETTERS = "demo.actions", "demo.by-user", "demo.user-context", "demo.dead-letters"
PARTITIONS = 4
SHORT_NAMES = {INPUT: "clicks", REPARTITION: "users"}  # the topics that the members share out among themselves
_TIMEOUT_S = 10.0
_MOST_AT_ONCE = 500


class Read(NamedTuple):
    """A record as it stands in a topic."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None


class Sender:
    """Sends values keyed by session; `delivered` is called from `poll` for each that the broker has."""

    def __init__(self, bootstrap_servers: str, delivered: Callable[[Read], None]) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random", "linger.ms": 0, "log_level": 0}
        )
        self._delivered = delivered

    def send(self, key: str, value: bytes) -> None:
        self._producer.produce(INPUT, value, key.encode(), on_delivery=self._on_delivery)

    def poll(self) -> None:
        self._producer.poll(0)

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(_TIMEOUT_S)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._delivered(_read(message))


class Follower:
    """Reads a topic from its beginning and goes on with it. Belongs to no group."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "demo-follower",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 5,  # this broker lets an empty fetch wait to the end, also when records arrive
                "log_level": 0,
            }
        )
        self._places = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)]
        self._consumer.assign(self._places)

    def read(self, wait_s: float) -> Iterator[Read]:
        """The records that are here by now; waits for the first."""
        first = self._consumer.poll(wait_s)
        if first is None:
            return
        for message in (first, *self._consumer.consume(_MOST_AT_ONCE, 0)):
            if message.error() is None:
                yield _read(message)

    def read_to_end(self) -> list[Read]:
        """Everything up to the end as it stands now. On a follower that has not read yet.

        Raises:
            TimeoutError: the broker did not hand it over in time.
        """
        ends = {place.partition: self._consumer.get_watermark_offsets(place, _TIMEOUT_S)[1] for place in self._places}
        to_come = {partition for partition, end in ends.items() if end > 0}
        records: list[Read] = []
        deadline = time.monotonic() + _TIMEOUT_S
        while to_come:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._places[0].topic}: partitions {to_come} could not be read to their end")
            for record in self.read(0.1):
                records.append(record)
                if record.offset == ends[record.partition] - 1:
                    to_come.discard(record.partition)
        return records

    def close(self) -> None:
        self._consumer.close()


def records_to_restore(
    bootstrap_servers: str, group_id: str, partitions: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """How many records before the committed position the next owner of each partition has to read again."""
    asker = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group_id, "log_level": 0})
    try:
        answers = asker.committed([TopicPartition(*partition) for partition in partitions], timeout=_TIMEOUT_S)
    finally:
        asker.close()
    counts = {}
    for answer in answers:
        point = decode(answer.metadata)
        counts[answer.topic, answer.partition] = max(0, answer.offset - point.offset) if point is not None else 0
    return counts


def _read(message: Message) -> Read:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return Read(partition, offset, message.key() or b"", message.value())
