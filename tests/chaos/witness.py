"""What is seen from outside while it happens: how far the topics reach, and what a reader of the output knows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from tests.acceptance.comparing import Users
from tests.acceptance.topic_log import QUIET, ROOM_BYTES

SAMPLE_S = 0.3
ANSWER_TIMEOUT_S = 1.0
PATIENCE_S = 60.0  # for the end of the output, when nobody writes any more
Partition = tuple[str, int]


class Ends(NamedTuple):
    """How far the logs reached at a moment (Unix seconds)."""

    at: float
    offsets: Mapping[Partition, int]


class Reader:
    """What a chat service knows that follows the output topic: of two records the higher version, null clears."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, Any]] = {}

    def take(self, key: bytes, value: bytes | None) -> None:
        """One record, in log order."""
        user_id = key.decode()
        if value is None:
            self._users.pop(user_id, None)
            return
        record = json.loads(value)
        before = self._users.get(user_id)
        if before is None or record["version"] >= before["version"]:
            self._users[user_id] = record

    @property
    def users(self) -> Users:
        return dict(self._users)


class Witness:
    """Watches from a thread of its own. `close` returns when everything that is on the output topic was read."""

    def __init__(self, bootstrap: str, topics: Sequence[str], output_topic: str, partitions: int) -> None:
        self.samples: list[Ends] = []
        self.reader = Reader()
        self._partitions = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
        self._output = [TopicPartition(output_topic, number, OFFSET_BEGINNING) for number in range(partitions)]
        self._asking = _consumer(bootstrap, "read_uncommitted")
        self._reading = _consumer(bootstrap, "read_committed")
        self._reading.assign(self._output)
        self._sampled = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Raises an AssertionError where a partition cannot be read to its end: a transaction is open there."""
        self._stopping.set()
        self._thread.join()
        try:
            deadline = time.monotonic() + patience_s
            for item in self._output:
                while (at := self._position(item)) < (end := self._end(item)):
                    where = f"{item.topic}[{item.partition}]"
                    assert time.monotonic() < deadline, f"{where} cannot be read beyond offset {at} of {end}"
                    self._read()
        finally:
            self._asking.close()
            self._reading.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._read()
            if time.monotonic() - self._sampled >= SAMPLE_S:
                self._sample()
                self._sampled = time.monotonic()

    def _read(self) -> None:
        messages: list[Message] = self._reading.consume(500, timeout=0.1)
        for message in messages:
            key, value = message.key(), message.value()
            if message.error() is None and isinstance(key, bytes):
                assert value is None or isinstance(value, bytes)
                self.reader.take(key, value)

    def _sample(self) -> None:
        """Nothing is noted while the brokers do not answer."""
        at = time.time()
        try:
            ends = {(item.topic, item.partition): self._end(item) for item in self._partitions}
        except KafkaException:
            return
        self.samples.append(Ends(at, ends))

    def _end(self, item: TopicPartition) -> int:
        return self._asking.get_watermark_offsets(item, timeout=ANSWER_TIMEOUT_S)[1]

    def _position(self, item: TopicPartition) -> int:
        return max(0, self._reading.position([TopicPartition(item.topic, item.partition)])[0].offset)


def _consumer(bootstrap: str, isolation: str) -> Consumer:
    return Consumer({
        "bootstrap.servers": bootstrap, "group.id": "a-witness-without-a-group", "enable.auto.commit": False,
        "isolation.level": isolation, "auto.offset.reset": "earliest", "fetch.message.max.bytes": ROOM_BYTES, **QUIET,
    })  # fmt: skip
