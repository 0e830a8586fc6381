"""What outlives every member, without a broker: the logs, what is committed, and a clock that is moved by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from worker.partitioner import partition_of
from worker.pipeline.record import Headers
from worker.pipeline.restore_point import RestorePoint, decode
from worker.runtime.restore import Committed, LogBounds, Start, start_of

NOON = 1_712_345_678.0  # where a clock begins that nobody set, Unix seconds


class ManualClock:
    """A clock that stands until it is moved: the `worker.runtime.clock.Clock` of tests."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def advance(self, seconds: float) -> None:
        """Move on; negative seconds set the wall clock back."""
        self.now += seconds


class Record(NamedTuple):
    """A record in a log. `timestamp` in Unix seconds; None = it has none."""

    partition: int
    offset: int
    timestamp: float | None
    key: bytes | None
    value: bytes | None
    headers: Headers = []  # noqa: RUF012 - never changed: a record is a value


class Topic(Enum):
    """The topics of the pipeline."""

    INPUT = "input"
    REPARTITION = "repartition"
    OUTPUT = "output"
    SESSIONS = "sessions"
    DEAD_LETTERS = "dead letters"


@dataclass(slots=True)
class Log:
    """One topic. `records` are in the order in which they came, over all partitions."""

    partitions: list[list[Record]]
    records: list[Record] = field(default_factory=list)

    def partition_of(self, key: bytes | None) -> int:
        """Where Kafka puts a record. Without a key that is anywhere; here it is the first partition."""
        return 0 if key is None else partition_of(key, len(self.partitions))

    def append(
        self, partition: int, timestamp: float | None, key: bytes | None, value: bytes | None, headers: Headers
    ) -> Record:
        """Add a record at the end of its partition."""
        log = self.partitions[partition]
        record = Record(partition, len(log), timestamp, key, value, headers)
        log.append(record)
        self.records.append(record)
        return record


class Outgoing(NamedTuple):
    """A record that is produced but not delivered yet."""

    topic: Topic
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None  # None: where the key belongs


class TaskId(NamedTuple):
    """The task of one partition of the topic that a stage reads (INPUT: by_session, REPARTITION: by_user)."""

    topic: Topic
    partition: int


class Cluster:
    """What outlives every member: the logs, what is committed, and the time."""

    def __init__(self, partitions: int, clock: ManualClock) -> None:
        self.clock = clock
        self.logs = {topic: Log([[] for _ in range(partitions)]) for topic in Topic}
        self.commits: dict[TaskId, tuple[int, str]] = {}  # next offset and metadata

    def start(self, task_id: TaskId) -> Start:
        """Where a task begins that takes the partition now."""
        next_offset, metadata = self.commits.get(task_id, (None, None))
        bounds = LogBounds(0, len(self.log_of(task_id)))
        return start_of(Committed(next_offset, decode(metadata)), bounds, RestorePoint(0))

    def log_of(self, task_id: TaskId) -> list[Record]:
        return self.logs[task_id.topic].partitions[task_id.partition]

    def home_of(self, user_id: str) -> int:
        return self.logs[Topic.REPARTITION].partition_of(user_id.encode())

    def deliver(self, outgoing: Outgoing) -> None:
        """Append to the topic with the time of now, at the partition that the key has in Kafka unless one is given."""
        log = self.logs[outgoing.topic]
        partition = log.partition_of(outgoing.key) if outgoing.partition is None else outgoing.partition
        log.append(partition, self.clock.wall(), outgoing.key, outgoing.value, outgoing.headers)
