"""Which tasks this member has: assigned, revoked and lost are three methods with three meanings.

They run inside the consumer's poll. They never raise (what escapes a rebalance callback loses records or restores
nothing); what went wrong is kept, and the poll loop raises it before it touches a record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from worker.errors import Fatal, TaskCorrupted, TaskMigrated, WorkerError
from worker.kafka import KafkaException, TopicPartition
from worker.metrics import Metrics
from worker.pipeline.restore_point import RestorePoint
from worker.runtime.checkpoint import Checkpoint
from worker.runtime.clients import ConsumerLike
from worker.runtime.clock import Clock
from worker.runtime.offsets import Offsets
from worker.runtime.outbox import Outbox
from worker.runtime.restore import Committed, LogBounds, Start, start_of
from worker.runtime.task import Task, TaskId, TaskState

log = logging.getLogger(__name__)

MakeTask = Callable[[TaskId, Start], Task]


class Assignment:
    """The tasks of the partitions that this member owns now.

    `before_assign` is called with each assignment: partitions may have been added. `restore_s` says for a topic how far
    before the committed offset a restore begins where no restore point was committed; None = at the start of the log.
    `asks_broker`: after a failure only the broker knows what is committed, because a commit that failed here may have
    got through.
    """

    def __init__(
        self,
        make_task: MakeTask,
        offsets: Offsets,
        checkpoint: Checkpoint,
        outbox: Outbox,
        clock: Clock,
        metrics: Metrics,
        *,
        before_assign: Callable[[], None],
        restore_s: dict[str, float | None],
        close_timeout_s: float,
        asks_broker: bool = False,
    ) -> None:
        self.tasks: dict[TaskId, Task] = {}
        self.has_joined = False
        self._make_task = make_task
        self._offsets = offsets
        self._checkpoint = checkpoint
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._before_assign = before_assign
        self._restore_s = restore_s
        self._close_timeout_s = close_timeout_s
        self._asks_broker = asks_broker
        self._failure: BaseException | None = None

    @property
    def is_running(self) -> bool:
        """Whether there are tasks and all of them run."""
        return bool(self.tasks) and all(task.is_running for task in self.tasks.values())

    def raise_failure(self) -> None:
        """Raise what went wrong in a callback."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    # --- the three callbacks -------------------------------------------------------------------------------------

    def assigned(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Make a task for each partition; it starts at its restore point. Where that fails the client hands the records
        out all the same, so the partitions must be asked for anew."""
        self.has_joined = True
        ids = [(item.topic, item.partition) for item in partitions]
        began = self._clock.monotonic()
        try:
            starts = self._starts(consumer, ids)
            self._before_assign()
            for task_id, start in starts.items():
                self.tasks[task_id] = self._new_task(task_id, start)
            consumer.incremental_assign([TopicPartition(*task_id, starts[task_id].point.offset) for task_id in ids])
        except BaseException as exc:  # noqa: BLE001 - nothing may escape into the client
            again = isinstance(exc, (WorkerError, KafkaException)) and not isinstance(exc, Fatal)
            self._keep(TaskMigrated(f"{names_of(ids)} could not be taken over: {exc}") if again else exc)
            self._drop(self._owned(partitions))
            return
        if ids:
            self._tell("assigned", ids, began)

    def revoked(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Close clean: one checkpoint within the deadline, then let go."""
        tasks = self._owned(partitions)
        began = self._clock.monotonic()
        try:
            if tasks:
                self._commit(consumer)
        except BaseException as exc:  # noqa: BLE001 - nothing may escape into the client
            log.warning("closing %s without a checkpoint, its next owner restores it: %s", names_of(partitions), exc)
            self._discard_output()
            passes = isinstance(exc, (Fatal, TaskMigrated)) or not isinstance(exc, WorkerError)
            self._keep(exc if passes else TaskCorrupted("a checkpoint failed while partitions were revoked"))
        self._drop(tasks)
        self._let_go(consumer, partitions)
        if partitions:
            self._tell("revoked", [(item.topic, item.partition) for item in partitions], began)

    def _commit(self, consumer: Any) -> None:
        if self._failure is not None:
            raise TaskCorrupted("a callback failed before, and what is remembered may not be on the topics")
        self._checkpoint.make_and_wait(consumer, self.tasks.values(), self._close_timeout_s)

    def lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Close dirty: others own the partitions by now, so nothing more of them may go out."""
        began = self._clock.monotonic()
        self._drop(self._owned(partitions))
        self._discard_output()
        if self.tasks:
            self._keep(TaskCorrupted("partitions were lost while others were worked on"))
        self._let_go(consumer, partitions)
        self._tell("lost", [(item.topic, item.partition) for item in partitions], began)

    def _tell(self, event: str, ids: list[TaskId], began: float) -> None:
        took_s = self._clock.monotonic() - began
        self._metrics.observe("rebalance", took_s, event)
        fields = event_fields(event, ids, took_s)
        if event == "lost":
            log.warning("lost %s: their next owner restores them", names_of(ids), extra=fields)
        else:
            log.info("%s %s in %.0f ms", event, names_of(ids), took_s * 1000, extra=fields)

    def _keep(self, failure: BaseException) -> None:
        """For the poll loop to raise: the first failure, but what ends the process goes before what does not."""
        lighter = isinstance(failure, WorkerError) and not isinstance(failure, Fatal)
        if self._failure is None or not lighter:
            self._failure = failure

    def _discard_output(self) -> None:
        try:
            self._outbox.discard()
        except WorkerError as exc:
            self._keep(exc)

    def _let_go(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        try:
            consumer.incremental_unassign(partitions)
        except KafkaException as exc:
            self._keep(TaskMigrated(f"{names_of(partitions)} could not be let go of: {exc}"))

    # --- tasks ---------------------------------------------------------------------------------------------------

    def restart_all(self, consumer: ConsumerLike) -> None:
        """Replace every task by one that starts from what is committed, and read again from there.

        Raises:
            KafkaException: a partition cannot be rewound.
            Retriable, TaskMigrated, TaskCorrupted, Fatal: it is not known what is committed.
        """
        tasks = list(self.tasks.values())
        self._drop(tasks)
        asked = self._starts(consumer, [task.id for task in tasks]) if self._asks_broker else {}
        for task in tasks:
            start = asked.get(task.id) or task.restart()
            self.tasks[task.id] = self._new_task(task.id, start)
            consumer.seek(TopicPartition(*task.id, start.point.offset))

    def drop_all(self) -> None:
        """Close everything dirty."""
        self._drop(list(self.tasks.values()))

    def _new_task(self, task_id: TaskId, start: Start) -> Task:
        if start.warning:
            log.warning(
                "%s[%d]: %s; `context-worker replay` rebuilds what the input topic still holds", *task_id, start.warning
            )
        task = self._make_task(task_id, start)
        task.began_at = self._clock.monotonic()
        self.note_restored(task)
        return task

    def note_restored(self, task: Task) -> None:
        """A task that has read up to its committed offset runs."""
        if task.state is TaskState.RESTORING and not task.to_restore:
            task.move(TaskState.RUNNING)
            task.stage.counts.clear()  # of records that were counted when they were read first
            restored = task.start.next_offset - task.start.point.offset
            if restored:
                took_s = self._clock.monotonic() - task.began_at
                self._metrics.observe("restore", took_s)
                fields = event_fields("restored", [task.id], took_s)
                log.info("restored %s[%d] from %d records in %.1f s", *task.id, restored, took_s, extra=fields)

    def _starts(self, consumer: ConsumerLike, ids: list[TaskId]) -> dict[TaskId, Start]:
        if not ids:
            return {}
        self._outbox.prepare()
        committed = self._offsets.committed(consumer, ids)
        bounds = self._offsets.bounds(ids)
        return {task_id: self._start(task_id, committed[task_id], bounds[task_id]) for task_id in ids}

    def _start(self, task_id: TaskId, committed: Committed, log_bounds: LogBounds) -> Start:
        start = start_of(committed, log_bounds, RestorePoint(log_bounds.start))
        before_s = self._restore_s[task_id[0]]
        if committed.next_offset is None or committed.point is not None or before_s is None or start.warning:
            return start
        point = self._offsets.restore_point_by_time(task_id, committed.next_offset, before_s)
        return start_of(Committed(committed.next_offset, point), log_bounds, point)

    def _owned(self, partitions: Iterable[TopicPartition]) -> list[Task]:
        found = [self.tasks.get((item.topic, item.partition)) for item in partitions]
        return [task for task in found if task is not None]

    def _drop(self, tasks: list[Task]) -> None:
        self._checkpoint.forget(tasks)
        for task in tasks:
            task.move(TaskState.CLOSED)
            del self.tasks[task.id]
            if task.is_committed:
                self._offsets.note_committed(task.id, task.committed.next_offset)


def event_fields(event: str, ids: Iterable[TaskId], took_s: float) -> dict[str, object]:
    """An event of the life cycle for a log of JSON lines: `log(…, extra=event_fields(…))`."""
    partitions = [{"topic": topic, "partition": partition} for topic, partition in sorted(ids)]
    return {"fields": {"event": event, "partitions": partitions, "duration_s": round(took_s, 3)}}


def names_of(partitions: Iterable[TopicPartition | TaskId]) -> str:
    """`topic[0,2] other[1]`."""
    by_topic: dict[str, list[int]] = {}
    for item in partitions:
        topic, partition = item if isinstance(item, tuple) else (item.topic, item.partition)
        by_topic.setdefault(topic, []).append(partition)
    return " ".join(f"{topic}[{','.join(map(str, sorted(numbers)))}]" for topic, numbers in sorted(by_topic.items()))
