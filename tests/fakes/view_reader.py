"""The view's consumer over the broker of lists."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from tests.fakes.broker import FakeBroker, Key, kafka_error
from worker.kafka import OFFSET_BEGINNING

LEADER = 1


class FakeViewReader:
    """Gives what the logs hold from the start, then says once where each partition ends.

    Statistics come when a test calls `say_statistics`, in the next poll, as the client's do.
    """

    def __init__(
        self,
        broker: FakeBroker,
        on_statistics: Callable[[str], None] = lambda _text: None,
        on_error: Callable[[KafkaError], None] = lambda _error: None,
    ) -> None:
        self.broker = broker
        self.is_closed = False
        self.refuse_topic: int | None = None  # the error code that the topic's metadata comes with
        self.id: str | None = "first"
        self._on_statistics = on_statistics
        self._on_error = on_error
        self._next: dict[Key, int] = {}
        self._said_end: set[Key] = set()
        self._events: deque[Callable[[], None]] = deque()
        self._errors: deque[Message] = deque()

    def list_topics(self, topic: str, timeout: float) -> Any:
        if self.broker.is_down:
            self.broker.clock.sleep(timeout)
            raise KafkaException(kafka_error(KafkaError._TRANSPORT))
        count = self.broker.partitions(topic)
        error = None if count else kafka_error(KafkaError.UNKNOWN_TOPIC_OR_PART)
        if self.refuse_topic is not None:
            error = kafka_error(self.refuse_topic)
        return SimpleNamespace(topics={topic: SimpleNamespace(error=error, partitions=dict.fromkeys(range(count)))})

    def topic_id(self, topic: str) -> str | None:
        assert self.broker.partitions(topic)
        return self.id

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        for item in partitions:
            assert item.offset == OFFSET_BEGINNING
            at = item.topic, item.partition
            assert at not in self._next, "assigned twice"
            self._next[at] = self.broker.start(at)
            self._said_end.discard(at)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        for item in partitions:
            del self._next[item.topic, item.partition]

    def poll(self, timeout: float) -> Message | None:
        while self._events:
            self._events.popleft()()
        found = self.consume(1, 0)
        if not found:
            self.broker.clock.sleep(timeout)
        return found[0] if found else None

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        found: list[Message] = []
        while self._errors and len(found) < num_messages:
            found.append(self._errors.popleft())
        for at in self._next:
            while len(found) < num_messages and (message := self._fetch(at)) is not None:
                found.append(message)
        self.broker.clock.sleep(timeout)
        return found

    def close(self) -> None:
        self.is_closed = True
        self._next = {}

    # --- what a test makes happen ---

    def fail(self, code: int, at: Key | None = None) -> None:
        """An error comes in place of a record; without a partition, of a connection."""
        if at is None:
            self._events.append(lambda: self._on_error(kafka_error(code)))
        else:
            self._errors.append(Message(*at, 0, error=kafka_error(code)))

    def say_statistics(self, topic: str, *, idle_s: float = 0.1, served: bool = True, count: int | None = None) -> None:
        partition = {"leader": -1 if self.broker.is_down else LEADER, "hi_offset": 0 if served else -1}
        numbers = range(self.broker.partitions(topic) if count is None else count)
        document = {
            "brokers": {
                "coordinator": {"nodeid": -1, "state": "INIT", "rxidle": -1},
                "one": {"nodeid": LEADER, "state": "UP", "rxidle": int(idle_s * 1e6)},
            },
            "topics": {topic: {"partitions": {"-1": partition, **{str(number): partition for number in numbers}}}},
        }
        text = orjson.dumps(document).decode()
        self._events.append(lambda: self._on_statistics(text))

    def _fetch(self, at: Key) -> Message | None:
        if self.broker.is_down:
            return None
        offset = self._next[at]
        while (
            offset < self.broker.end(at) and self.broker.start(at) <= offset and self.broker.message(at, offset) is None
        ):
            offset = self._next[at] = offset + 1  # a marker
        if not self.broker.start(at) <= offset <= self.broker.end(at):
            self._next[at] = self.broker.end(at)
            return Message(*at, offset, error=kafka_error(KafkaError._AUTO_OFFSET_RESET))
        if offset < self.broker.end(at):
            self._next[at] = offset + 1
            self._said_end.discard(at)
            return self.broker.message(at, offset)
        if at in self._said_end:
            return None
        self._said_end.add(at)
        return Message(*at, offset, error=kafka_error(KafkaError._PARTITION_EOF))
