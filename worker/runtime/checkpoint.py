"""The one place that commits.

A checkpoint, in this order:
  1. publish every changed user of the tasks that run
  2. flush
  3. every delivery seen and good; what was refused for itself is settled (sent again alone, or a dead letter)
  4. commit next offset and restore point of the partitions owned now
Any failure on the way: nothing is committed, and the caller drops the tasks and restores them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from worker.errors import TaskCorrupted
from worker.kafka import KafkaError, KafkaException, TopicPartition, translate
from worker.metrics import Metrics
from worker.runtime.clients import ConsumerLike
from worker.runtime.clock import Clock
from worker.runtime.outbox import Outbox
from worker.runtime.task import Position, Task, TaskId, UserTask

log = logging.getLogger(__name__)

COMMIT_POLL_S = 0.02


class Checkpoint:
    """Publishes, flushes and commits. Lives in the poll loop's thread; `on_commit` runs inside the consumer's poll."""

    def __init__(self, outbox: Outbox, settle: Callable[[], None], clock: Clock, metrics: Metrics) -> None:
        self._outbox = outbox
        self._settle = settle
        self._clock = clock
        self._metrics = metrics
        self._pending: dict[TaskId, tuple[Task, Position]] = {}

    def make(self, consumer: ConsumerLike, tasks: Iterable[Task], flush_timeout_s: float) -> None:
        """A checkpoint whose commit is on its way when this returns.

        Raises:
            TaskCorrupted, TaskMigrated, Fatal: nothing was committed.
        """
        offsets = self._prepare(tasks, flush_timeout_s)
        if not offsets:
            return
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exc:
            raise translate(exc, "committing", running=True) from exc

    def make_and_wait(self, consumer: ConsumerLike, tasks: Iterable[Task], flush_timeout_s: float) -> None:
        """A checkpoint that is known to be committed when this returns. Without a broker: after a session timeout.

        Raises:
            TaskCorrupted, TaskMigrated, Fatal: nothing was committed, or not everything.
        """
        offsets = self._prepare(tasks, flush_timeout_s)
        if offsets:
            self.commit_now(consumer, offsets)

    def make_before(self, consumer: ConsumerLike, tasks: Iterable[Task], deadline: float) -> None:
        """A checkpoint at the end of the process: never blocks beyond `deadline` (monotonic). Records still come out of
        the consumer's poll meanwhile; they are left to the next owner.

        Raises:
            TaskCorrupted, TaskMigrated, Fatal: nothing was committed, or it is not known.
        """
        self.make(consumer, tasks, max(0.0, deadline - self._clock.monotonic()))
        while self._pending:
            if self._clock.monotonic() > deadline:
                raise TaskCorrupted("the last commit was not confirmed in time")
            consumer.poll(COMMIT_POLL_S)

    def confirm_ownership(self, consumer: ConsumerLike, tasks: Iterable[Task]) -> None:
        """Commit again what is committed already: it succeeds only while the group still counts this member in.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: it does not, or nobody can say.
        """
        offsets = [_offset(task.id, task.committed) for task in tasks]
        if offsets:
            self.commit_now(consumer, offsets)

    def commit_now(self, consumer: ConsumerLike, offsets: list[TopicPartition]) -> None:
        """A synchronous commit.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: it failed for at least one partition.
        """
        try:
            result = consumer.commit(offsets=offsets, asynchronous=False) or []
        except KafkaException as exc:
            raise translate(exc, "committing", running=True) from exc
        failed = next((item.error for item in result if item.error is not None), None)
        if failed is not None:
            raise translate(failed, "committing", running=True)
        self._note(result)

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """The result of an asynchronous commit. A refusal is counted: while a group rebalances it is normal, and the
        next checkpoint commits again."""
        for item in partitions:
            failure = item.error or error
            if failure is not None:
                self._metrics.add("commit_failures", failure.name())
                self._pending.pop((item.topic, item.partition), None)
        self._note([item for item in partitions if error is None and item.error is None])

    def forget(self, tasks: Iterable[Task]) -> None:
        """These tasks are gone: a late answer about them means nothing."""
        for task in tasks:
            self._pending.pop(task.id, None)

    def _prepare(self, tasks: Iterable[Task], flush_timeout_s: float) -> list[TopicPartition]:
        running = [task for task in tasks if task.is_running]
        now = self._clock.wall()
        for task in running:
            if isinstance(task, UserTask):
                task.publish(now)
        self._outbox.flush(flush_timeout_s)
        self._settle()
        offsets = []
        for task in running:
            position = task.position()
            if position != task.committed or not task.is_committed:
                self._pending[task.id] = (task, position)
                offsets.append(_offset(task.id, position))
        return offsets

    def _note(self, committed: list[TopicPartition]) -> None:
        for item in committed:
            task_id = (item.topic, item.partition)
            task, position = self._pending.get(task_id, (None, None))
            if task is None or position is None or position.next_offset != item.offset:
                continue  # a newer commit of this partition is on its way
            task.committed = position
            task.is_committed = True
            del self._pending[task_id]


def _offset(task_id: TaskId, position: Position) -> TopicPartition:
    return TopicPartition(task_id[0], task_id[1], position.next_offset, position.metadata)
