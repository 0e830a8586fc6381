"""The loop: poll, fold, publish, checkpoint; and what happens when one of them fails.

One thread does everything. The same consumer reads both topics, and its callbacks run inside its poll.
"""

from __future__ import annotations

import logging

from worker.errors import ExitCode, Fatal, Retriable, TaskCorrupted, TaskMigrated, WorkerError
from worker.kafka import KafkaError, KafkaException, Message, TopicPartition, translate
from worker.metrics import Metrics
from worker.runtime.assignment import Assignment, names_of
from worker.runtime.checkpoint import Checkpoint
from worker.runtime.clients import ConsumerLike
from worker.runtime.clock import Clock
from worker.runtime.commit_policy import CommitTimer
from worker.runtime.loop_policy import LoopPolicy
from worker.runtime.orphan_watch import OrphanWatch
from worker.runtime.outbox import Outbox
from worker.runtime.ownership import Ownership
from worker.runtime.received import offset_of
from worker.runtime.restore_progress import RestoreProgress, restoring
from worker.runtime.router import Router
from worker.runtime.stall_watch import StallPolicy, StallWatch
from worker.runtime.task import SessionTask, Task, TaskId, UserTask

log = logging.getLogger(__name__)

POLL_S = 0.1  # the longest wait for a record; also how often users may expire
LEAST_WAIT_S = 0.01  # for a checkpoint that is due and had to wait
LONGEST_BACKOFF_S = 5.0
LET_GO_POLL_S, LET_GO_POLLS = 0.02, 100
ORPHANED_S = 5.0  # how long a partition may be assigned without a task
LONGEST_READ_S = 1.0  # then a batch is full: large records take long, and a transaction has to end within 10 s
CALM_S = 60.0  # without a failure for this long, the next one is waited for as if it were the first


class PollLoop:
    """Runs until `stop` is called (from a signal handler: it only sets a flag) or something fatal happens."""

    def __init__(
        self,
        policy: LoopPolicy,
        consumer: ConsumerLike,
        assignment: Assignment,
        ownership: Ownership,
        checkpoint: Checkpoint,
        outbox: Outbox,
        router: Router,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._policy = policy
        self._consumer = consumer
        self._assignment = assignment
        self._ownership = ownership
        self._checkpoint = checkpoint
        self._outbox = outbox
        self._router = router
        self._clock = clock
        self._metrics = metrics
        self._stopping = False
        self._commit_timer = CommitTimer(policy.commit, clock.monotonic())
        self._stalls = StallWatch(StallPolicy(policy.stall_timeout_s))
        self._orphans = OrphanWatch(ORPHANED_S)
        self._restores = RestoreProgress()
        self._last_turn = clock.monotonic()
        self._last_tick = clock.monotonic()
        self._has_output = False  # whether users were published since the last checkpoint
        self._failure: WorkerError | None = None  # what the tasks have not recovered from yet
        self._failed_at = float("-inf")
        self._backoff_s = 0.0

    def stop(self) -> None:
        """Finish the batch, checkpoint, leave."""
        self._stopping = True

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    @property
    def last_turn(self) -> float:
        """When the loop last came round (monotonic)."""
        return self._last_turn

    def run(self) -> None:
        """Work until asked to stop.

        Raises:
            Fatal: the process has to end; nothing that was not delivered is committed.
        """
        self.subscribe()
        self.work()

    def work(self) -> None:
        """Turns until asked to stop, and the last checkpoint."""
        try:
            while not self._stopping:
                self.turn()
            self._leave()
        finally:
            self._assignment.drop_all()  # closing the consumer must not commit what did not get out

    def turn(self) -> None:
        """One round; what fails is dropped and restored.

        Raises:
            Fatal: the process has to end.
        """
        try:
            self._turn()
        except TaskMigrated as exc:
            self._rejoin(exc)
        except (TaskCorrupted, Retriable) as exc:
            self._restart(exc)
        except KafkaException as exc:
            self._rejoin(_survivable(exc))

    def _turn(self) -> None:
        count = self._read()
        self._publish()
        self._deliver(count)
        if self._commit_timer.is_due(self._clock.monotonic(), has_output=self._has_output):
            self._commit()
        if not self._outbox.is_open:
            self._metrics.note_out(self._clock.wall())

    def _commit(self) -> None:
        tasks = self._assignment.tasks.values()
        began = self._clock.monotonic()
        for task in tasks:
            self._catch_up(task)
        committed = self._checkpoint.make(self._consumer, tasks, self._policy.flush_timeout_s)
        now = self._clock.monotonic()
        self._commit_timer.done(now, committed=committed)
        if committed:
            self._metrics.observe("checkpoint", now - began)
        self._has_output = False
        if self._assignment.is_running:
            self._failure = None

    # --- the steps of a round ------------------------------------------------------------------------------------

    def subscribe(self) -> None:
        """Join the group."""
        assignment = self._assignment
        self._consumer.subscribe(
            list(self._policy.topics),
            on_assign=assignment.assigned,
            on_revoke=assignment.revoked,
            on_lost=assignment.lost,
        )

    def _read(self) -> int:
        """Fold a batch in; of how many records. It is topped up as long as the client has many ready, within limits:
        where there are fewer, what changed does not wait for more."""
        count = came = self._read_once(self._wait_s(), self._policy.read_size)
        full_at = self._last_turn + LONGEST_READ_S
        while came >= self._policy.many and count < self._policy.batch_size and self._clock.monotonic() < full_at:
            came = self._read_once(0.0, min(self._policy.read_size, self._policy.batch_size - count))
            count += came
        return count

    def _read_once(self, wait_s: float, most: int) -> int:
        messages = self._poll(wait_s, most)
        self._last_turn = self._clock.monotonic()
        self._assignment.raise_failure()
        self._ownership.check()
        self._process(messages)
        return len(messages)

    def _poll(self, wait_s: float, most: int) -> list[Message]:
        """What the client has ready. `consume` alone would wait its whole timeout unless it had as many (measured)."""
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        task = self._task_of(first)
        rest = self._consumer.consume(most - 1, 0)
        left_and_came_back = self._task_of(first) is not task  # then it is read again, from the restore point on
        return rest if left_and_came_back else [first, *rest]

    def _task_of(self, message: Message) -> Task | None:
        return self._assignment.tasks.get((message.topic() or "", message.partition() or 0))

    def _wait_s(self) -> float:
        waiting = [task.changed_since for task in self._assignment.tasks.values() if task.changed_since is not None]
        now = self._clock.monotonic()
        longest = POLL_S
        if self._outbox.is_open:
            longest = min(longest, max(LEAST_WAIT_S, self._commit_timer.wait_s(now)))
        if not waiting:
            return longest
        return max(0.0, min(longest, min(waiting) + self._policy.publish_interval_s - now))

    def _process(self, messages: list[Message]) -> None:
        by_task: dict[TaskId, list[Message]] = {}
        if messages:
            self._metrics.observe("batch", len(messages))
        for message in messages:
            error = message.error()
            if error is not None:
                self._handle(error, message)
                continue
            task_id = (message.topic() or "", message.partition() or 0)
            by_task.setdefault(task_id, []).append(message)
        try:
            for task_id, batch in by_task.items():
                task = self._assignment.tasks.get(task_id)
                if task is not None:  # else the partition went away while its records were in the client's queue
                    self._fold(task, batch)
            self._router.flush()
        finally:
            self._router.clear()

    def _fold(self, task: Task, batch: list[Message]) -> None:
        """A task that restores becomes one that runs at the very record from which on it emits."""
        if not task.is_running:
            emits_from = task.start.next_offset
            restored = [message for message in batch if offset_of(message) < emits_from]
            self._process_batch(task, restored)
            batch = batch[len(restored) :]
            if batch:
                task.advance_to(emits_from)
            self._assignment.note_restored(task)
        self._process_batch(task, batch)

    def _process_batch(self, task: Task, batch: list[Message]) -> None:
        if isinstance(task, UserTask):
            task.process(batch, self._clock.monotonic())
        elif isinstance(task, SessionTask):
            task.process(batch, self._clock.wall(), self._clock.monotonic())
        if batch:
            task.read_up_to = max(task.read_up_to, batch[-1].timestamp()[1] / 1000)

    def _publish(self) -> None:
        """Publish the users of every task whose interval is over, or whose users may have expired."""
        now = self._clock.monotonic()
        ticks = now - self._last_tick >= POLL_S
        if ticks:
            self._last_tick = now
            self._watch(now)
            self._tell_of_restores(now)
        wall = self._clock.wall()
        for task in list(self._assignment.tasks.values()):
            if ticks:
                self._catch_up(task)
                self._count(task)
            if not task.publishes or not task.is_running:
                continue
            since = task.changed_since
            if (ticks and since is None) or (since is not None and now - since >= self._policy.publish_interval_s):
                self._has_output |= task.publish(wall) > 0

    def _watch(self, now: float) -> None:
        """A partition that has lag and does not move is a fault that nobody sees: end loudly. So is one without a task.

        Raises:
            Fatal: it stood still for too long.
            TaskMigrated: it is held, and nobody works on it.
        """
        tasks, wall = self._assignment.tasks, self._clock.wall()
        held = {(item.topic, item.partition) for item in self._consumer.assignment()}
        if orphans := self._orphans.look(held, set(tasks), now):
            raise TaskMigrated(f"{names_of(orphans)} is assigned and nobody works on it")
        self._stalls.look(set(tasks), now)
        for task_id, task in tasks.items():
            end = self._consumer.get_watermark_offsets(TopicPartition(*task_id), cached=True)[1]
            task.see_end(end, wall)
            stood = self._stalls.see(task_id, task.next_offset, end, now)
            if stood is not None:
                raise Fatal(
                    ExitCode.STALLED,
                    f"{task_id[0]}[{task_id[1]}] has stood at offset {task.next_offset} of {end} for {stood:.0f} s "
                    f"({task.state.value})",
                    hint="the log says what the client met; a restart goes on from the last checkpoint",
                )

    def _tell_of_restores(self, now: float) -> None:
        line = self._restores.look(restoring(self._assignment.tasks.values()), now)
        if line is not None:
            log.info(line)

    def _deliver(self, count: int) -> None:
        """A small batch means that the loop has caught up: what it yielded goes out at once. A large one fills the
        producer's batches better by waiting for linger.ms: half of the CPU of sending each record alone (measured)."""
        if 0 < count <= self._policy.small_batch and self._outbox.queued:
            self._outbox.flush(self._policy.flush_timeout_s)
        else:
            self._outbox.serve()

    def _catch_up(self, task: Task) -> None:
        """What was read is folded in by now: if the position is further, it moved over markers."""
        topic_partition = TopicPartition(*task.id)
        position = self._consumer.position([topic_partition])[0].offset
        if position > task.next_offset:
            task.advance_to(position)
            self._assignment.note_restored(task)
        if task.idle_clock is not None:
            task.idle_clock.see_end(self._consumer.get_watermark_offsets(topic_partition, cached=True)[1])

    def _count(self, task: Task) -> None:
        """What the stage noted goes to the metrics."""
        if task.is_running:
            for kind, count in task.stage.counts.items():
                self._metrics.add("stage", kind, count)
            task.stage.counts.clear()

    def _handle(self, error: KafkaError, message: Message) -> None:
        """An event instead of a record. What librdkafka goes on with by itself is left to it."""
        where = (
            " and ".join(self._policy.topics)
            if message.topic() is None
            else f"{message.topic()}[{message.partition()}]"
        )
        failure = translate(error, f"reading {where}", running=True)
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's own codes carry an underscore
            raise TaskMigrated(f"{where}: the position is not in the log any more")
        if isinstance(failure, Fatal) and failure.exit_code is not ExitCode.TOPIC_MISSING:
            raise failure
        log.warning("%s", failure)

    # --- failures ------------------------------------------------------------------------------------------------

    def _restart(self, error: WorkerError) -> None:
        """Memory and topics may differ: begin again from what is committed, with a fresh producer."""
        self._outbox.discard()
        self._back_off(error)
        try:
            self._assignment.restart_all(self._consumer)
        except KafkaException as exc:
            self._rejoin(_survivable(exc))
        except (TaskMigrated, TaskCorrupted, Retriable) as exc:
            self._rejoin(exc)

    def _rejoin(self, error: WorkerError) -> None:
        """The group may count us out: drop everything and ask for partitions anew."""
        self._assignment.drop_all()
        self._outbox.discard()
        self._back_off(error)
        self._consumer.unsubscribe()
        self._let_go()
        self.subscribe()
        self._ownership.joined()
        self._orphans.forget()

    def _let_go(self) -> None:
        """Until the client has no partition any more. If it is subscribed again before, it may keep some, and tell
        nobody (measured, in the middle of a rebalance over a slow connection). What it hands out is read again."""
        for _ in range(LET_GO_POLLS):
            if not self._consumer.assignment():
                return
            self._consumer.consume(self._policy.read_size, LET_GO_POLL_S)

    def _back_off(self, error: WorkerError) -> None:
        now = self._clock.monotonic()
        calm = now - self._failed_at > CALM_S
        self._backoff_s = 0.1 if calm else min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        self._failure, self._failed_at = error, now
        self._metrics.add("restores_after_failure")
        self._metrics.forget_leaving()
        log.warning("restoring from what is committed, in %.1f s: %s", self._backoff_s, error)
        self._clock.sleep(self._backoff_s)

    def _leave(self) -> None:
        """The last checkpoint, within one deadline. What has failed is restored first, if there is time.

        Raises:
            Fatal: it could not be made; a successor restores from the one before.
        """
        deadline = self._clock.monotonic() + self._policy.stop_timeout_s
        while self._is_behind and self._clock.monotonic() < deadline:
            self.turn()
        try:
            self._checkpoint.make_before(self._consumer, self._assignment.tasks.values(), deadline)
            if self._failure is not None and self._is_behind:
                raise self._failure
        except WorkerError as exc:
            raise Fatal(
                ExitCode.UNCLEAN_STOP,
                f"stopped without a last checkpoint: {exc}",
                hint="nothing is lost: the next owner restores from the checkpoint before",
            ) from exc

    @property
    def _is_behind(self) -> bool:
        """Whether something failed and the tasks are not yet where they were."""
        return self._failure is not None and not self._assignment.is_running


def _survivable(exc: KafkaException) -> WorkerError:
    """An error of the client's in a place where none is expected. Raises it when joining anew cannot help."""
    failure = translate(exc, "working on the partitions", running=True)
    if isinstance(failure, Fatal) and failure.exit_code is not ExitCode.TOPIC_MISSING:  # or not ours any more
        raise failure from exc
    return failure
