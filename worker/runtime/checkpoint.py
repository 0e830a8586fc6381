"""The one place that commits.

A checkpoint, in this order:
  1. publish everything that changed in the tasks that run
  2. flush
  3. every delivery seen and good; what was refused for itself is settled (sent again alone, or a dead letter)
  4. commit next offset and restore point of the partitions owned now
Any failure on the way: nothing is committed, and the caller drops the tasks and restores them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from worker.errors import Fatal, TaskCorrupted, TaskMigrated
from worker.kafka import KafkaError, KafkaException, TopicPartition, translate
from worker.metrics import Metrics
from worker.runtime.clients import ConsumerLike
from worker.runtime.clock import Clock
from worker.runtime.outbox import Outbox
from worker.runtime.task import Position, Task, TaskId

log = logging.getLogger(__name__)

COMMIT_POLL_S = 0.02


class Checkpoint:
    """Publishes, flushes and commits. Lives in the poll loop's thread; `on_commit` runs inside the consumer's poll."""

    def __init__(self, outbox: Outbox, settle: Callable[[], None], clock: Clock, metrics: Metrics) -> None:
        self._outbox = outbox
        self._settle = settle
        self._clock = clock
        self._metrics = metrics
        self._in_flight: dict[TaskId, Due] = {}  # the newest commit of each task that has no answer yet
        self._failure: Fatal | None = None

    def make(self, consumer: ConsumerLike, tasks: Iterable[Task], flush_timeout_s: float) -> bool:
        """A checkpoint whose commit is on its way when this returns; whether there was anything to commit.

        Raises:
            TaskCorrupted, TaskMigrated, Fatal: nothing was committed.
        """
        due = self._prepare(tasks, flush_timeout_s)
        self._commit(consumer, [item for item in due if self._in_flight.get(item.task.id) != item])
        return bool(due)

    def make_and_wait(self, consumer: ConsumerLike, tasks: Iterable[Task], flush_timeout_s: float) -> None:
        """A checkpoint that is known to be committed when this returns. Without a broker: after a session timeout.

        Raises:
            TaskCorrupted, TaskMigrated, Fatal: nothing was committed, or not everything.
        """
        self._commit_now(consumer, self._prepare(tasks, flush_timeout_s))

    def make_before(self, consumer: ConsumerLike, tasks: Collection[Task], deadline: float) -> None:
        """A checkpoint at the end of the process, known to be committed when this returns: not after `deadline`
        (monotonic). A commit that is refused (a group that rebalances does that) is made again. `tasks` are those that
        are owned at any time: rebalances go on meanwhile. Records are left to the next owner.

        Raises:
            TaskCorrupted, TaskMigrated, Fatal: nothing was committed, or it is not known.
        """
        while due := self._prepare(tasks, max(0.0, deadline - self._clock.monotonic())):
            self._commit(consumer, due)
            while self._in_flight:
                if self._clock.monotonic() > deadline:
                    raise TaskCorrupted("the last commit was not confirmed in time")
                consumer.poll(COMMIT_POLL_S)
            if any(task not in tasks and task.committed.next_offset < at.next_offset for task, at in due):
                raise TaskMigrated("partitions were lost before the last commit was confirmed")

    def confirm_ownership(self, consumer: ConsumerLike, tasks: Iterable[Task]) -> None:
        """Commit again what is committed or on its way: it succeeds only while the group still counts this member in.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: it does not, or nobody can say.
        """
        self._commit_now(consumer, [self._in_flight.get(task.id, Due(task, task.committed)) for task in tasks])

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """The answer to an asynchronous commit. A refusal is counted: while a group rebalances it is normal, and the
        next checkpoint commits again. One that will never be otherwise ends the process, with the next checkpoint."""
        if error is not None:
            self._note_refusal(error)
        for item in partitions:
            if error is None and item.error is not None:
                self._note_refusal(item.error)
            self._note(item, good=error is None and item.error is None)

    def forget(self, tasks: Iterable[Task]) -> None:
        """These tasks are gone: a late answer about them means nothing."""
        for task in tasks:
            self._in_flight.pop(task.id, None)

    # --- the steps -----------------------------------------------------------------------------------------------

    def _prepare(self, tasks: Iterable[Task], flush_timeout_s: float) -> list[Due]:
        """Steps 1 to 3, and what there is to commit after them."""
        return changed_of(self._deliver(tasks, flush_timeout_s))

    def _deliver(self, tasks: Iterable[Task], flush_timeout_s: float) -> list[Due]:
        """Steps 1 to 3, and the positions of all running tasks after them."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        running = [task for task in tasks if task.is_running]
        now = self._clock.wall()
        for task in running:
            if task.publishes:
                task.publish(now)
        self._outbox.flush(flush_timeout_s)
        self._settle()
        return [Due(task, task.position()) for task in running]

    def _commit(self, consumer: ConsumerLike, due: list[Due]) -> None:
        if not due:
            return
        self._in_flight.update((item.task.id, item) for item in due)
        try:
            consumer.commit(offsets=offsets_of(due), asynchronous=True)
        except KafkaException as exc:
            raise translate(exc, "committing", running=True) from exc

    def _commit_now(self, consumer: ConsumerLike, due: list[Due]) -> None:
        if not due:
            return
        self._in_flight.update((item.task.id, item) for item in due)
        try:
            result = consumer.commit(offsets=offsets_of(due), asynchronous=False) or []
        except KafkaException as exc:
            raise translate(exc, "committing", running=True) from exc
        failed = next((item.error for item in result if item.error is not None), None)
        if failed is not None:
            raise translate(failed, "committing", running=True)
        for item in result:
            self._note(item, good=True)

    def _note(self, answer: TopicPartition, *, good: bool) -> None:
        due = self._in_flight.get((answer.topic, answer.partition))
        if due is None or due.position.next_offset != answer.offset:
            return  # of a task that is gone, or a newer commit of this partition is on its way
        del self._in_flight[due.task.id]
        if good:
            due.task.committed = due.position
            due.task.is_committed = True

    def _note_refusal(self, error: KafkaError) -> None:
        self._metrics.add("commit_failures", error.name())
        failure = translate(error, "committing", running=True)
        if isinstance(failure, Fatal):
            self._failure = failure


class Due(NamedTuple):
    """What is to be committed of a task."""

    task: Task
    position: Position


def changed_of(positions: list[Due]) -> list[Due]:
    """Those that the group does not have yet."""
    return [due for due in positions if due.position != due.task.committed or not due.task.is_committed]


def offsets_of(due: list[Due]) -> list[TopicPartition]:
    """As the client takes them."""
    return [TopicPartition(*task.id, position.next_offset, position.metadata) for task, position in due]
