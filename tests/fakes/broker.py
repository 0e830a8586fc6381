"""A broker of lists, and clocks that a test moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, TopicPartition

from worker.kafka import TIMESTAMP_LOG_APPEND_TIME
from worker.partitioner import partition_of
from worker.pipeline.record import Headers
from worker.runtime.clients import Delivered

NOON = 1_712_345_678.0

Key = tuple[str, int]  # topic, partition


class FakeClock:
    """Wall and monotonic time; both stand until they are moved, and the wall clock may jump."""

    def __init__(self, now: float = NOON) -> None:
        self._wall = now
        self._monotonic = 1000.0

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self._wall += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, forwards or backwards."""
        self._wall += seconds


class Stored(NamedTuple):
    """What the group has committed for a partition."""

    offset: int
    metadata: str | None


def kafka_error(code: int, *, fatal: bool = False, ends_transaction: bool = False) -> KafkaError:
    return KafkaError(code, None, fatal, False, ends_transaction)


class FakeBroker:
    """Logs, committed offsets, who is a member, and transactions. `journal` tells what happened, in order.

    Records of a transaction come into the log when it is committed, with a marker behind them (None): what a reader
    sees that reads what is committed.
    """

    def __init__(self, topics: Mapping[str, int], clock: FakeClock) -> None:
        self.clock = clock
        self.logs: dict[Key, list[Message | None]] = {
            (topic, partition): [] for topic, partitions in topics.items() for partition in range(partitions)
        }
        self.starts: dict[Key, int] = dict.fromkeys(self.logs, 0)
        self.commits: dict[Key, Stored] = {}
        self.limits: dict[str, int] = {}  # max.message.bytes by topic
        self.refuse_commits: deque[int] = deque()  # error codes for the commits to come, one each; 0 = accept it
        self.refuse_reads: deque[int] = deque()  # error codes for the next questions after committed offsets
        self.refuse_deliveries: dict[str, int] = {}  # error code by topic
        self.is_down = False
        self.expelled: set[object] = set()
        self.journal: list[tuple[object, ...]] = []
        self.transactions: dict[str, Transaction] = {}  # by transactional id
        self.refuse_transactions: deque[int] = deque()  # error codes for the next commits of transactions; 0 = accept
        self.is_silent = False  # transactions are committed, and nobody hears of it

    def partitions(self, topic: str) -> int:
        return sum(name == topic for name, _ in self.logs)

    def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
        partition: int | None = None,
        timestamp: float | None = None,
    ) -> Message:
        """Add a record; without a partition it goes where its key belongs."""
        if partition is None:
            partition = 0 if key is None else partition_of(key, self.partitions(topic))
        log = self.logs[topic, partition]
        at = (TIMESTAMP_LOG_APPEND_TIME, int((self.clock.wall() if timestamp is None else timestamp) * 1000))
        offset = self.end((topic, partition))
        message: Message = Message(topic, partition, offset, key, value, _headers(headers), None, at)
        log.append(message)
        return message

    def start(self, at: Key) -> int:
        return self.starts[at]

    def end(self, at: Key) -> int:
        return self.starts[at] + len(self.logs[at])

    def message(self, at: Key, offset: int) -> Message | None:
        """The record there; None = a marker."""
        return self.logs[at][offset - self.starts[at]]

    def delete_before(self, at: Key, offset: int) -> None:
        """What retention does."""
        del self.logs[at][: offset - self.starts[at]]
        self.starts[at] = offset

    def records(self, topic: str) -> list[Message]:
        """All records of a topic, partition by partition."""
        logs = [log for (name, _), log in sorted(self.logs.items(), key=lambda item: item[0]) if name == topic]
        return [message for log in logs for message in log if message is not None]

    def newest(self, topic: str) -> dict[bytes | None, bytes | None]:
        """What compaction would leave."""
        return {message.key(): message.value() for message in self.records(topic)}

    def commit(self, consumer: object, offsets: Iterable[TopicPartition]) -> KafkaError | None:
        code = self.refuse_commits.popleft() if self.refuse_commits else 0
        if consumer in self.expelled:
            code = KafkaError.UNKNOWN_MEMBER_ID
        if code:
            return kafka_error(code)
        for item in offsets:
            self.commits[item.topic, item.partition] = Stored(item.offset, item.metadata)
            self.journal.append(("committed", (item.topic, item.partition), item.offset))
        return None

    def end_transaction(self, transaction: Transaction, *, commit: bool) -> None:
        """Its records become visible and its offsets count, or neither."""
        touched = dict.fromkeys((queued.topic, partition) for queued, partition in transaction.records)
        if commit:
            for queued, partition in transaction.records:
                self.append(queued.topic, queued.key, queued.value, headers=queued.headers, partition=partition)
                self.journal.append(("visible", queued.topic, queued.key))
            for at, stored in transaction.offsets.items():
                self.commits[at] = stored
                self.journal.append(("committed", at, stored.offset))
        for at in touched:
            self.logs[at].append(None)
        transaction.records, transaction.offsets = [], {}

    def verdict(self, topic: str, batch: Iterable[Queued]) -> KafkaError | None:
        """One bad record fails the whole batch."""
        if topic in self.refuse_deliveries:
            return kafka_error(self.refuse_deliveries[topic])
        if not self.partitions(topic):
            return kafka_error(KafkaError.UNKNOWN_TOPIC_OR_PART)
        limit = self.limits.get(topic)
        if limit is not None and any(queued.size > limit for queued in batch):
            return kafka_error(KafkaError.MSG_SIZE_TOO_LARGE)
        return None


@dataclass
class Transaction:
    """What a transactional id has open. The producer with the newest epoch is the only one that may go on."""

    epoch: int = 0
    records: list[tuple[Queued, int]] = field(default_factory=list)  # and their partition
    offsets: dict[Key, Stored] = field(default_factory=dict)


class Queued(NamedTuple):
    """A record in the producer's queue."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers | None
    on_delivery: Delivered | None
    since: float
    partition: int  # -1: where the key belongs

    @property
    def size(self) -> int:
        headers = sum(len(name) + len(value or b"") for name, value in self.headers or ())
        return 68 + len(self.key or b"") + len(self.value or b"") + headers

    def message(self, error: KafkaError | None) -> Message:
        """What a delivery report shows of it: no headers."""
        return Message(self.topic, max(0, self.partition), 0, self.key, self.value, None, error)


def _headers(headers: Headers | None) -> list[tuple[str, str | bytes | None]] | None:
    """As the client gives them: None where there are none."""
    return [*headers] if headers else None


def topic_partition(at: Key, offset: int, metadata: str | None = None) -> TopicPartition:
    return TopicPartition(*at, offset) if metadata is None else TopicPartition(*at, offset, metadata)
