"""The unit of work for one partition.

                       assigned
                          │
                      ┌───▼─────┐  restored   ┌─────────┐
                      │RESTORING├────────────▶│ RUNNING │
                      └───┬─────┘             └────┬────┘
        revoked, lost     │                        │  revoked, lost, failed
                          └────────┐      ┌────────┘
                                 ┌─▼──────▼─┐
                                 │  CLOSED  │
                                 └──────────┘

RESTORING rebuilds memory from records below the committed offset and emits nothing. A task that failed is closed and a
new one takes its place, from what is committed.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from schemas.codec import InvalidPayload, Skip
from worker.errors import ExitCode, Fatal
from worker.kafka import TIMESTAMP_NOT_AVAILABLE, Message
from worker.metrics import Metrics
from worker.pipeline import repartition
from worker.pipeline.by_session import Arrival, BySession, Emission, LinkPolicy
from worker.pipeline.by_user import ByUser, UserPolicy, UserStart
from worker.pipeline.reading import read_arrival
from worker.pipeline.record import SourceRecord
from worker.pipeline.restore_point import RestorePoint, encode
from worker.runtime.clients import headers_of
from worker.runtime.dead_letters import TOO_LARGE, DeadLetters
from worker.runtime.outbox import Outbox, Outgoing, TooLarge
from worker.runtime.restore import Committed, Start

TopicName = str
TaskId = tuple[TopicName, int]


class TaskState(Enum):
    RESTORING = "restoring"
    RUNNING = "running"
    CLOSED = "closed"


LEGAL_MOVES = {
    TaskState.RESTORING: {TaskState.RUNNING, TaskState.CLOSED},
    TaskState.RUNNING: {TaskState.CLOSED},
    TaskState.CLOSED: set(),
}


class Position(NamedTuple):
    """What a commit stores for a partition."""

    next_offset: int
    metadata: str


class Task:
    """What both kinds of task have: a partition, a life cycle, and a position to commit."""

    stage: BySession | ByUser

    def __init__(self, task_id: TaskId, start: Start) -> None:
        self.id = task_id
        self.state = TaskState.RESTORING
        self.start = start
        self.committed = Position(start.next_offset, encode(start.point))  # what is known to be committed
        self.is_committed = False  # whether the group has it, too

    def move(self, state: TaskState) -> None:
        """The only way to change the state."""
        if state not in LEGAL_MOVES[self.state]:
            raise AssertionError(f"task {self.id} cannot go from {self.state} to {state}")
        self.state = state

    @property
    def next_offset(self) -> int:
        return self.stage.next_offset

    @property
    def is_running(self) -> bool:
        return self.state is TaskState.RUNNING

    @property
    def to_restore(self) -> int:
        """Offsets still to be read before the task runs."""
        return max(0, self.start.next_offset - self.stage.next_offset)

    def advance_to(self, next_offset: int) -> None:
        """The consumer's position: it moves over offsets that hold no record for us."""
        self.stage.advance_to(next_offset)

    def position(self) -> Position:
        return Position(self.stage.next_offset, encode(self.stage.restore_point()))

    def restart(self, committed: Committed) -> Start:
        """The start of the task that takes this one's place after a failure."""
        next_offset = committed.next_offset
        assert next_offset is not None
        point = committed.point or RestorePoint(next_offset)
        return Start(point, next_offset, max(self.start.end, self.stage.next_offset))


class SessionTask(Task):
    """One partition of the input topic."""

    stage: BySession

    def __init__(
        self, task_id: TaskId, start: Start, policy: LinkPolicy, max_clock_skew_s: float, channels: Channels
    ) -> None:
        super().__init__(task_id, start)
        self.stage = BySession(policy, task_id[1], start.point)
        self._max_clock_skew_s = max_clock_skew_s
        self._channels = channels

    def process(self, message: Message, now: float) -> None:
        """Fold one record in and send what it yields. `now` is the wall clock.

        Raises:
            TaskCorrupted, Fatal: something could not be sent.
        """
        offset = message.offset()
        assert offset is not None
        running = offset >= self.start.next_offset
        try:
            arrival = read_arrival(offset, message.value(), timestamp_of(message), now, self._max_clock_skew_s)
        except InvalidPayload as exc:
            self.stage.skip(offset)
            if running:
                self._channels.dead_letters.write(source_record(message), exc.reason, exc.field)
            return
        if isinstance(arrival, Skip):
            self.stage.skip(offset)
            if running:
                self._channels.metrics.add("skipped", arrival.value)
            return
        emissions = self.stage.apply(arrival, message, restoring=not running)
        if running:
            self._count(message, arrival)
            for emission in emissions:
                self._send(emission)

    def _count(self, message: Message, arrival: Arrival) -> None:
        metrics = self._channels.metrics
        metrics.add("payloads")
        self._channels.dead_letters.note_good()
        if arrival.time.clamped:
            metrics.add("clamped_event_times")
        if message.key() != arrival.payload.session_id.encode():
            metrics.add("key_mismatches")

    def _send(self, emission: Emission) -> None:
        channels = self._channels
        user_id, value, source = emission
        try:
            channels.outbox.send(Outgoing(channels.repartition_topic, user_id.encode(), value, None, source))
        except TooLarge:
            channels.dead_letters.write(origin_of(value, source), TOO_LARGE)
        else:
            channels.metrics.add("routed")


class UserTask(Task):
    """One partition of the repartition topic."""

    stage: ByUser

    def __init__(self, task_id: TaskId, start: Start, policy: UserPolicy, channels: Channels, now: float) -> None:
        super().__init__(task_id, start)
        self.stage = ByUser(policy, UserStart(start.point, start.next_offset, start.end, now))
        self._channels = channels
        self.changed_since: float | None = None  # monotonic; since when a changed user waits

    def process(self, message: Message, monotonic: float) -> None:
        """Fold one record in.

        Raises:
            Fatal: the record has a form that this version does not know.
        """
        offset = message.offset()
        assert offset is not None
        try:
            value = message.value()
            record = repartition.read(value, headers_of(message) if value is None else None)
            user_id = (message.key() or b"").decode()
        except (repartition.UnknownForm, UnicodeDecodeError) as exc:
            raise Fatal(
                ExitCode.UNKNOWN_FORM,
                f"{self.id[0]}[{self.id[1]}] offset {offset} holds {exc}",
                hint="run a version of user-context-worker that is at least as new as the one that wrote it, "
                "and let nothing else write to this topic",
            ) from exc
        self.stage.apply(user_id, offset, message.timestamp()[1] / 1000, record)
        if self.changed_since is None and self.stage.has_changes:
            self.changed_since = monotonic

    def publish(self, now: float) -> int:
        """Send the record of every changed or expired user; how many. `now` is the wall clock.

        Raises:
            TaskCorrupted, Fatal: something could not be sent.
        """
        self.changed_since = None
        channels = self._channels
        records = self.stage.publish(now)
        for user_id, value in records:
            self.send(user_id, value)
        if records:
            tombstones = sum(value is None for _, value in records)
            channels.metrics.add("published", "context", len(records) - tombstones)
            channels.metrics.add("published", "tombstone", tombstones)
        return len(records)

    def send(self, user_id: str, value: bytes | None) -> None:
        """A user's record to the output topic; to the dead letters when it is refused for itself."""
        channels = self._channels
        outgoing = Outgoing(channels.output_topic, user_id.encode(), value)
        try:
            channels.outbox.send(outgoing)
        except TooLarge:
            channels.dead_letters.write(without_origin(outgoing), TOO_LARGE)


class Channels(NamedTuple):
    """Where a task sends things."""

    outbox: Outbox
    dead_letters: DeadLetters
    metrics: Metrics
    repartition_topic: TopicName
    output_topic: TopicName
    dead_letter_topic: TopicName


def origin_of(value: bytes | None, source: object) -> SourceRecord:
    """The input record that a record of the repartition topic was made of; where it was not kept: where it lies."""
    if isinstance(source, Message):
        return source_record(source)
    routed = repartition.read(value, None)
    assert isinstance(routed, repartition.RoutedPayload)
    return SourceRecord(routed.source_partition, routed.source_offset, None, None, None, None)


def without_origin(outgoing: Outgoing) -> SourceRecord:
    """A record of ours that was made of many, or of none: it is its own source, and lies nowhere in the input."""
    return SourceRecord(-1, -1, None, outgoing.key, outgoing.value, outgoing.headers)


def timestamp_of(message: Message) -> float | None:
    """The record's timestamp in Unix seconds; None = it has none."""
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000


def source_record(message: Message) -> SourceRecord:
    """What the client delivered, as a value."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return SourceRecord(partition, offset, timestamp_of(message), message.key(), message.value(), headers_of(message))
