"""The whole pipeline without a broker: pipe input, move the clock, process, crash on purpose, look at the output.

>>> driver = TopologyDriver()
>>> _ = driver.pipe({"session_id": "ps_1", "actions": [{"type": "click", "description": "Pay", "canonical_url": "/"}]})
>>> _ = driver.pipe({"session_id": "ps_1", "user_id": "alice"})
>>> driver.process()
>>> print(driver.context("alice").sessions[0].context)
Recent activity:
1. [0] click: Pay — /
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import orjson

from schemas.actions import ActionsPayload
from schemas.codec import InvalidPayload, Skip
from schemas.dead_letter import DeadLetter, retries_of
from schemas.user_context import UserContext, VisitorContext
from worker.pipeline import repartition
from worker.pipeline.by_session import BySession
from worker.pipeline.by_user import ByUser, UserPolicy, UserStart
from worker.pipeline.reading import Reader
from worker.pipeline.restore_point import encode
from worker.pipeline.visitors import Visitors, VisitorStart
from worker.policies import link_policy, user_policy, visitor_policy
from worker.runtime.restore import Start
from worker.settings import Settings
from worker.testing.cluster import NOON, Cluster, Log, ManualClock, Outgoing, Record, TaskId, Topic

__all__ = ["NOON", "Cluster", "Log", "ManualClock", "Outgoing", "Record", "Task", "TaskId", "Topic", "TopologyDriver"]

BATCH = 500  # records of one partition in one step


class Task:
    """What both kinds have: a position, and output that is not delivered yet (`unflushed`)."""

    stage: BySession | ByUser

    def __init__(self, task_id: TaskId, cluster: Cluster, start: Start) -> None:
        self.id = task_id
        self.unflushed: list[Outgoing] = []
        self.counts: Counter[str] = Counter()
        self._cluster = cluster
        self._start = start

    @property
    def is_restoring(self) -> bool:
        """Whether it still reads what is below the committed offset, and emits nothing."""
        return self.stage.next_offset < self._start.next_offset

    @property
    def lag(self) -> int:
        """Records of its partition that it has not read."""
        return len(self._cluster.log_of(self.id)) - self.stage.next_offset

    def step(self, records: int = BATCH, *, publish: bool = True, deliver: bool = True) -> int:
        """One poll batch of at most `records`; how many there were. Without `publish` changed users wait for more."""
        position = self.stage.next_offset
        batch = self._cluster.log_of(self.id)[position : position + records]
        for record in batch:
            self._process(record)
        if publish:
            self.publish()
        if deliver:
            self.deliver()
        return len(batch)

    def deliver(self, delivered: Iterable[bool] | None = None) -> None:
        """Flush. With `delivered`, a flag for each of `unflushed` (missing ones are false), the rest never arrives."""
        unflushed, self.unflushed = self.unflushed, []
        flags = [True] * len(unflushed) if delivered is None else delivered
        for outgoing, arrives in zip(unflushed, flags, strict=False):
            if arrives:
                self._cluster.deliver(outgoing)

    def publish(self) -> None:
        """Produce every record that changed or expired."""
        raise NotImplementedError

    def checkpoint(self) -> None:
        """Publish, flush, commit; a task that restores has nothing to commit."""
        if self.is_restoring:
            return
        self.publish()
        self.deliver()
        self._cluster.commits[self.id] = (self.stage.next_offset, encode(self.stage.restore_point()))

    def _process(self, record: Record) -> None:
        raise NotImplementedError


class SessionTask(Task):
    """A partition of the input topic."""

    stage: BySession

    def __init__(self, task_id: TaskId, cluster: Cluster, start: Start, settings: Settings) -> None:
        super().__init__(task_id, cluster, start)
        policy, visitors = visitor_policy(settings), None
        if policy is not None:
            visitors = Visitors(policy, VisitorStart(start.next_offset, start.end, cluster.clock.wall()))
        self.stage = BySession(link_policy(settings), start.point, visitors)
        self._reader = Reader(task_id.partition, settings.max_clock_skew_s, start.point.sound_from)
        self._settings = settings

    def publish(self) -> None:
        now = self._cluster.clock.wall()
        if self.stage.visitors is not None:
            self.stage.visitors.idle_clock.see_end(len(self._cluster.log_of(self.id)))
        for session_id, value in self.stage.publish_visitors(now):
            self.unflushed.append(Outgoing(Topic.SESSIONS, session_id.encode(), value, []))

    def _process(self, record: Record) -> None:
        running = record.offset >= self._start.next_offset
        now = self._cluster.clock.wall()
        if self.stage.visitors is not None:
            self.stage.visitors.idle_clock.hear(now if record.timestamp is None else min(record.timestamp, now))
        read = self._reader.read if running else self._reader.read_again
        try:
            arrival = read(record.offset, record.value, record.timestamp, now)
        except InvalidPayload as exc:
            self.stage.refuse(record.offset)
            if running:
                self._bury(record, exc)
            return
        if isinstance(arrival, Skip):
            self.stage.skip(record.offset)
            self.counts[arrival.value] += running
            return
        routed = [payload for payload, _ in self.stage.apply(record.offset, arrival, restoring=not running)]
        if routed:  # of one user
            home = self._cluster.home_of(routed[0].user_id)
            self.unflushed.append(Outgoing(Topic.REPARTITION, None, repartition.write(routed), [], home))

    def _bury(self, record: Record, why: InvalidPayload) -> None:
        letter = DeadLetter(
            reason=why.reason,
            field=why.field,
            source_topic=self._settings.input_topic,
            source_partition=record.partition,
            source_offset=record.offset,
            source_timestamp_ms=None if record.timestamp is None else round(record.timestamp * 1000),
            software_version="testing",
            retries=retries_of(record.headers),
        )
        headers = letter.to_headers(record.headers)
        self.unflushed.append(Outgoing(Topic.DEAD_LETTERS, record.key, record.value, headers))


class UserTask(Task):
    """A partition of the repartition topic."""

    stage: ByUser

    def __init__(self, task_id: TaskId, cluster: Cluster, start: Start, policy: UserPolicy) -> None:
        super().__init__(task_id, cluster, start)
        self.stage = ByUser(policy, UserStart(start.point, start.next_offset, start.end, cluster.clock.wall()))

    def publish(self) -> None:
        self.stage.idle_clock.see_end(len(self._cluster.log_of(self.id)))
        for user_id, value in self.stage.publish(self._cluster.clock.wall()):
            self.unflushed.append(Outgoing(Topic.OUTPUT, user_id.encode(), value, []))

    def _process(self, record: Record) -> None:
        assert record.timestamp is not None
        content = repartition.read(record.key, record.value, record.headers)
        self.stage.apply(record.offset, record.timestamp, content)


class TopologyDriver:
    """The pipeline with a task for every partition, and every decision of the shell in the hands of a test.

    `process` works like a healthy member. `step` moves one partition on, `checkpoint` commits, `crash` drops tasks with
    what they remember and any part of their undelivered output; new ones restore from what is committed. Not modelled:
    the limits of a topic's record size, retention and compaction, and the intervals of commits and of publishing (both
    happen when the test says so). Logs are lists; the state is in each task's `stage`.
    """

    def __init__(
        self, settings: Settings | None = None, *, partitions: int = 4, clock: ManualClock | None = None
    ) -> None:
        self.settings = settings or Settings()
        self.clock = clock or ManualClock()
        self._cluster = Cluster(partitions, self.clock)
        self._user_policy = user_policy(self.settings)
        ids = [TaskId(topic, number) for topic in (Topic.INPUT, Topic.REPARTITION) for number in range(partitions)]
        self.tasks: dict[TaskId, Task] = {task_id: self._new_task(task_id) for task_id in ids}

    # --- in ------------------------------------------------------------------------------------------------------

    def pipe(
        self,
        value: bytes | Mapping[str, object] | ActionsPayload | None,
        *,
        key: bytes | None = None,
        timestamp: float | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> Record:
        """Append to the input topic. What is not bytes is sent as JSON, by default keyed by its `session_id`.

        `timestamp` in Unix seconds: by default now, and a negative one is none at all, as in Kafka. The partition
        follows from the key unless it is given; a record without either goes to the first.
        """
        if isinstance(value, ActionsPayload | Mapping):
            session_id = value["session_id"] if isinstance(value, Mapping) else value.session_id
            key = key if key is not None or session_id is None else str(session_id).encode()
            value = orjson.dumps(value)
        log = self._cluster.logs[Topic.INPUT]
        partition = log.partition_of(key) if partition is None else partition
        stamp = self.clock.wall() if timestamp is None else timestamp
        return log.append(partition, stamp if stamp >= 0 else None, key, value, list(headers))

    def reset_user(self, user_id: str, *, mark: float | None = None) -> None:
        """Erase a user, as `context-worker reset-user` does: up to now, or up to `mark` (Unix seconds)."""
        headers = repartition.reset_headers(mark)
        self._cluster.deliver(Outgoing(Topic.REPARTITION, user_id.encode(), None, headers))

    # --- on ------------------------------------------------------------------------------------------------------

    def process(self, records: int = BATCH) -> None:
        """Read, publish and deliver until nothing is left to read, in batches of at most `records`."""
        while sum([task.step(records) for task in self.tasks.values()]):
            pass

    def step(self, task_id: TaskId, records: int = BATCH, *, publish: bool = True, deliver: bool = True) -> int:
        """One poll batch of one partition, as `Task.step`."""
        return self.tasks[task_id].step(records, publish=publish, deliver=deliver)

    def advance(self, seconds: float) -> None:
        """Move the clock on, and let users expire."""
        self.clock.advance(seconds)
        for task in self.tasks.values():
            task.publish()
            task.deliver()

    def checkpoint(self, *task_ids: TaskId) -> None:
        """Publish, flush and commit these tasks; without any, all."""
        for task_id in task_ids or self.tasks:
            self.tasks[task_id].checkpoint()

    def crash(self, *task_ids: TaskId, delivered: Iterable[bool] = ()) -> None:
        """These tasks die (without any, all), and their successors start from what is committed.

        `delivered` has a flag for each of their `unflushed` records, one task after the other: does it arrive?
        """
        flags = iter(delivered)
        for task_id in task_ids or list(self.tasks):
            task = self.lose(task_id)
            task.deliver([next(flags, False) for _ in task.unflushed])

    def lose(self, task_id: TaskId) -> Task:
        """Another member takes the partition and starts from what is committed. The task that is returned knows nothing
        of it and can go on (`step`, `deliver`): a zombie. It must not commit."""
        lost = self.tasks[task_id]
        self.tasks[task_id] = self._new_task(task_id)
        return lost

    def restart(self) -> None:
        """Stop clean and start again: a checkpoint of all tasks, then new ones."""
        self.checkpoint()
        self.crash()

    # --- out -----------------------------------------------------------------------------------------------------
    def log(self, task_id: TaskId) -> list[Record]:
        """The partition that a task reads."""
        return self._cluster.log_of(task_id)

    def home(self, user_id: str) -> TaskId:
        """The by_user task that a user belongs to."""
        return TaskId(Topic.REPARTITION, self._cluster.home_of(user_id))

    @property
    def repartition(self) -> list[Record]:
        """The repartition topic, all partitions, in log order."""
        return self._cluster.logs[Topic.REPARTITION].records

    @property
    def output(self) -> list[Record]:
        """The output topic, all partitions, in log order."""
        return self._cluster.logs[Topic.OUTPUT].records

    @property
    def dead_letters(self) -> list[Record]:
        """The dead-letter topic, all partitions, in log order."""
        return self._cluster.logs[Topic.DEAD_LETTERS].records

    def contexts(self) -> dict[str, UserContext | None]:
        """The newest record of every user, as a reader of the whole topic has it; None = a null record."""
        newest = {(record.key or b"").decode(): record.value for record in self.output}
        return {user_id: UserContext.model_validate_json(value) if value else None for user_id, value in newest.items()}

    def context(self, user_id: str) -> UserContext | None:
        """The newest record of a user; None when there is none, or a null one."""
        return self.contexts().get(user_id)

    @property
    def session_output(self) -> list[Record]:
        """The session topic, all partitions, in log order; empty unless the settings name one."""
        return self._cluster.logs[Topic.SESSIONS].records

    def visitors(self) -> dict[str, VisitorContext | None]:
        """The newest record of every session id; None = a null record."""
        newest = {(record.key or b"").decode(): record.value for record in self.session_output}
        return {key: VisitorContext.model_validate_json(value) if value else None for key, value in newest.items()}

    def _new_task(self, task_id: TaskId) -> Task:
        start = self._cluster.start(task_id)
        if task_id.topic is Topic.INPUT:
            return SessionTask(task_id, self._cluster, start, self.settings)
        return UserTask(task_id, self._cluster, start, self._user_policy)
