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

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from schemas.codec import InvalidPayload, Skip
from worker.context.session_memory import NEVER
from worker.errors import ExitCode, Fatal
from worker.kafka import Message
from worker.metrics import Metrics
from worker.pipeline import repartition
from worker.pipeline.by_session import BySession, Emission, LinkPolicy
from worker.pipeline.by_user import ByUser, UserPolicy, UserStart
from worker.pipeline.idle_clock import IdleClock
from worker.pipeline.reading import Reader
from worker.pipeline.record import SourceRecord
from worker.pipeline.restore_point import RestorePoint, decode, encode
from worker.pipeline.visitors import VisitorPolicy, Visitors, VisitorStart
from worker.runtime.clients import headers_of
from worker.runtime.dead_letters import TOO_LARGE, DeadLetters
from worker.runtime.outbox import Outbox, Outgoing, TooLarge
from worker.runtime.received import offset_of, source_record, timestamp_of
from worker.runtime.restore import Start
from worker.runtime.router import Router

PORTION = 1000  # records that are rendered before they are sent: of 3 KB each, all of a batch are up to 100 MB

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
        self.began_at = 0.0  # monotonic
        self.end = start.end  # of the partition, as it was when it was last looked at
        self.read_up_to = NEVER  # Unix seconds: what was written to the partition before that is read
        self.changed_since: float | None = None  # monotonic; since when something waits to be published
        self.idle_clock: IdleClock | None = None  # what its records on an output topic expire by; None: it has none

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
    def publishes(self) -> bool:
        """Whether it has records of an output topic."""
        return self.idle_clock is not None

    @property
    def to_restore(self) -> int:
        """Offsets still to be read before the task runs."""
        return max(0, self.start.next_offset - self.stage.next_offset)

    @property
    def lag(self) -> int:
        """Offsets to the end of the partition."""
        return max(0, self.end - self.stage.next_offset)

    def lag_s(self, now: float) -> float | None:
        """For how long what is not read yet has waited, at most; None = nothing was read yet. `now` in Unix seconds."""
        if not self.lag:
            return 0.0
        return None if self.read_up_to == NEVER else max(0.0, now - self.read_up_to)

    def see_end(self, end: int, now: float) -> None:
        """Where the partition ends now (negative: the client does not know). `now` in Unix seconds."""
        if end >= 0:
            self.end = end
            if self.stage.next_offset >= end:
                self.read_up_to = now

    def advance_to(self, next_offset: int) -> None:
        """The consumer's position: it moves over offsets that hold no record for us."""
        self.stage.advance_to(next_offset)

    def publish(self, now: float) -> int:
        """Send every record that changed or expired; how many. `now` is the wall clock.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: something could not be sent.
        """
        self.changed_since = None
        count = 0
        while True:
            published = self._publish_some(now)
            count += published
            if published < PORTION:
                return count

    def _publish_some(self, now: float) -> int:
        """At most `PORTION` of them."""
        raise NotImplementedError

    def publish_again(self, outgoing: Outgoing, now: float) -> bool:
        """Send the record that stands in the place of a refused one now; False = nobody here knows of it."""
        raise NotImplementedError

    def position(self) -> Position:
        return Position(self.stage.next_offset, encode(self.stage.restore_point()))

    def restart(self) -> Start:
        """The start of the task that takes this one's place after a failure: from what is known to be committed."""
        next_offset, metadata = self.committed
        point = decode(metadata) or RestorePoint(next_offset)
        return Start(point, next_offset, max(self.start.end, self.stage.next_offset))


class SessionPolicy(NamedTuple):
    """What a task of the input topic goes by. `visitors` None: their topic is off."""

    link: LinkPolicy
    max_clock_skew_s: float
    visitors: VisitorPolicy | None = None


class SessionTask(Task):
    """One partition of the input topic."""

    stage: BySession

    def __init__(self, task_id: TaskId, start: Start, policy: SessionPolicy, channels: Channels, now: float) -> None:
        super().__init__(task_id, start)
        visitors = None
        if policy.visitors is not None:
            visitors = Visitors(policy.visitors, VisitorStart(start.next_offset, start.end, now))
            self.idle_clock = visitors.idle_clock
        self.stage = BySession(policy.link, start.point, visitors)
        self._reader = Reader(task_id[1], policy.max_clock_skew_s, start.point.sound_from)
        self._channels = channels

    def process(self, messages: Sequence[Message], now: float, monotonic: float) -> None:
        """Fold records in, in offset order, and send what they yield: nothing while it restores. `now` is the wall
        clock.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: something could not be sent.
        """
        if self.is_running:
            self._process(messages, now)
        else:
            self._restore(messages, now)
        visitors = self.stage.visitors
        if visitors is not None and messages:
            timestamp = timestamp_of(messages[-1])
            visitors.idle_clock.hear(now if timestamp is None else min(timestamp, now))
            if self.changed_since is None and self.is_running and visitors.has_changes:
                self.changed_since = monotonic

    def _restore(self, messages: Sequence[Message], now: float) -> None:
        stage, read = self.stage, self._reader.read_again
        for message in messages:
            offset = offset_of(message)
            try:
                arrival = read(offset, message.value(), timestamp_of(message), now)
            except InvalidPayload:
                stage.refuse(offset)
                continue
            if isinstance(arrival, Skip):
                stage.skip(offset)
            else:
                stage.apply(offset, arrival, message, restoring=True)

    def _process(self, messages: Sequence[Message], now: float) -> None:
        """One loop for all of them, and what it yields and counts goes on at its end: calls are most of its cost."""
        stage, read, metrics, clamped = self.stage, self._reader.read, self._channels.metrics, self._reader.clamped
        emissions: list[Emission] = []
        good = 0
        for message in messages:
            offset = offset_of(message)
            try:
                arrival = read(offset, message.value(), timestamp_of(message), now)
            except InvalidPayload as exc:
                stage.refuse(offset)
                self._note_good(good)
                good = 0
                self._channels.dead_letters.write(source_record(message), exc.reason, exc.field)
                continue
            if isinstance(arrival, Skip):
                stage.skip(offset)
                metrics.add("skipped", arrival.value)
                continue
            good += 1
            if message.key() != arrival.session_id.encode():
                metrics.add("key_mismatches")
            emissions += stage.apply(offset, arrival, message)
        self._note_good(good)
        if self._reader.clamped > clamped:
            metrics.add("clamped_event_times", count=self._reader.clamped - clamped)
        self._channels.router.route(emissions)

    def _note_good(self, payloads: int) -> None:
        self._channels.metrics.add("payloads", count=payloads)
        self._channels.dead_letters.note_good(payloads)

    def _publish_some(self, now: float) -> int:
        records = self.stage.publish_visitors(now, PORTION)
        self._channels.publish(self._channels.session_output_topic, records, _VISITOR)
        return len(records)

    def publish_again(self, outgoing: Outgoing, now: float) -> bool:
        visitors, channels = self.stage.visitors, self._channels
        if visitors is None or outgoing.topic != channels.session_output_topic:
            return False
        return visitors.change_again((outgoing.key or b"").decode()) and self.publish(now) > 0


class UserTask(Task):
    """One partition of the repartition topic."""

    stage: ByUser

    def __init__(self, task_id: TaskId, start: Start, policy: UserPolicy, channels: Channels, now: float) -> None:
        super().__init__(task_id, start)
        self.stage = ByUser(policy, UserStart(start.point, start.next_offset, start.end, now))
        self.idle_clock = self.stage.idle_clock
        self._channels = channels

    def process(self, messages: Sequence[Message], monotonic: float) -> None:
        """Fold records in.

        Raises:
            Fatal: a record has a form that this version does not know.
        """
        for message in messages:
            self._process(message)
        if self.changed_since is None and self.stage.has_changes:
            self.changed_since = monotonic

    def _process(self, message: Message) -> None:
        offset, value = offset_of(message), message.value()
        try:
            record = repartition.read(message.key(), value, headers_of(message) if value is None else None)
        except repartition.UnknownForm as exc:
            raise Fatal(
                ExitCode.UNKNOWN_FORM,
                f"{self.id[0]}[{self.id[1]}] offset {offset} holds {exc}",
                hint="run a version of user-context-worker that is at least as new as the one that wrote it, "
                "and let nothing else write to this topic",
            ) from exc
        self.stage.apply(offset, message.timestamp()[1] / 1000, record)

    def _publish_some(self, now: float) -> int:
        records = self.stage.publish(now, PORTION)
        self._channels.publish(self._channels.output_topic, records, _USER)
        self._channels.metrics.note_leaving(self.stage.published_events)
        return len(records)

    def publish_again(self, outgoing: Outgoing, now: float) -> bool:
        if outgoing.topic != self._channels.output_topic:
            return False
        return self.stage.change_again((outgoing.key or b"").decode()) and self.publish(now) > 0


class Channels(NamedTuple):
    """Where a task sends things."""

    outbox: Outbox
    router: Router
    dead_letters: DeadLetters
    metrics: Metrics
    repartition_topic: TopicName
    output_topic: TopicName
    dead_letter_topic: TopicName
    session_output_topic: TopicName = ""  # "" = off

    def publish(self, topic: TopicName, records: list[tuple[str, bytes | None]], kinds: tuple[str, str]) -> None:
        """Records to an output topic, by key; to the dead letters what is refused for itself. `kinds` is how they are
        counted: with a value, without.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: something could not be sent.
        """
        for key, value in records:
            outgoing = Outgoing(topic, key.encode(), value)
            try:
                self.outbox.send(outgoing)
            except TooLarge:
                self.dead_letters.write(without_origin(outgoing), TOO_LARGE)
        if records:
            values = [value for _, value in records if value is not None]
            self.metrics.add("published", kinds[0], len(values))
            self.metrics.add("published", kinds[1], len(records) - len(values))
            self.metrics.add("published_bytes", count=sum(map(len, values)))


_USER = ("context", "tombstone")
_VISITOR = ("visitor", "visitor_tombstone")


def without_origin(outgoing: Outgoing) -> SourceRecord:
    """A record of ours that was made of many, or of none: it is its own source, and lies nowhere in the input."""
    return SourceRecord(-1, -1, None, outgoing.key, outgoing.value, outgoing.headers)
