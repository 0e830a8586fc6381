"""The checkpoint of exactly_once: output, dead letters and the positions that they stand for, all or nothing.

In this order:
  1. publish everything that changed in the tasks that run
  2. flush
  3. every delivery seen and good; what was refused for itself ends the transaction
  4. ask the group whether this member still counts: commit again, outside of the transaction, what is committed
  5. into the transaction: next offset and restore point of all tasks that run, under the membership as it is now
  6. commit the transaction
A transaction speaks for all tasks, whoever asks for the checkpoint. Any failure on the way, and also where it is not
known whether the transaction was committed: the caller discards the producer, and restores from what the broker says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from worker.errors import Retriable, TaskCorrupted, TaskMigrated, WorkerError
from worker.kafka import KafkaError, KafkaException, error_of, translate
from worker.metrics import Metrics
from worker.runtime.checkpoint import COMMIT_POLL_S, Checkpoint, Due, changed_of, offsets_of
from worker.runtime.clients import ConsumerLike
from worker.runtime.clock import Clock
from worker.runtime.task import Task
from worker.runtime.transactional_outbox import TransactionalOutbox

# The group is between two generations: this member counts, and its next commit will be taken.
REBALANCES = frozenset({KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.STALE_MEMBER_EPOCH})


class TransactionalCheckpoint(Checkpoint):
    """Every commit is a transaction, and is known to be committed when the call returns."""

    def __init__(self, outbox: TransactionalOutbox, clock: Clock, metrics: Metrics) -> None:
        super().__init__(outbox, lambda: None, clock, metrics)
        self._transactions = outbox

    def make(self, consumer: ConsumerLike, tasks: Iterable[Task], flush_timeout_s: float) -> bool:
        """A checkpoint, or none as long as the group rebalances: its records wait for the next one.

        Raises:
            TaskCorrupted, TaskMigrated, Fatal: it is not known to be committed.
        """
        try:
            return self._transact(consumer, tasks, self._clock.monotonic() + flush_timeout_s)
        except Retriable:
            return False

    def make_and_wait(self, consumer: ConsumerLike, tasks: Iterable[Task], flush_timeout_s: float) -> None:
        """A checkpoint.

        Raises:
            Retriable, TaskCorrupted, TaskMigrated, Fatal: it is not known to be committed.
        """
        self._transact(consumer, tasks, self._clock.monotonic() + flush_timeout_s)

    def make_before(self, consumer: ConsumerLike, tasks: Collection[Task], deadline: float) -> None:
        """A checkpoint at the end of the process, not after `deadline` (monotonic).

        Raises:
            TaskCorrupted, TaskMigrated, Fatal: it is not known to be committed.
        """
        discarded = self._transactions.discarded
        while True:
            try:
                self._transact(consumer, tasks, deadline)
            except Retriable as exc:
                if self._clock.monotonic() > deadline:
                    raise TaskCorrupted("the group did not come to rest for the last commit") from exc
                consumer.poll(COMMIT_POLL_S)
                if self._transactions.discarded != discarded:  # the positions of all tasks stand for what was in it
                    raise TaskCorrupted("a rebalance took the last transaction with it") from exc
            else:
                return

    def _transact(self, consumer: ConsumerLike, tasks: Iterable[Task], deadline: float) -> bool:
        """All steps; whether there was anything to commit. Retriable: the group rebalances, and nothing has failed."""
        positions = self._deliver(tasks, max(0.0, deadline - self._clock.monotonic()))
        if not positions or not (changed_of(positions) or self._transactions.is_open):
            return False
        member = consumer.memberid()
        self._ask_the_group(consumer, positions[0].task)
        metadata = consumer.consumer_group_metadata()
        if not member or consumer.memberid() != member:
            # A client that was counted out gives metadata without a member, and those the broker does not check
            # (measured: accepted, while others were in the group).
            raise TaskMigrated("the membership was lost while its work was being committed")
        self._transactions.commit(offsets_of(positions), metadata, deadline)
        for task, position in positions:
            task.committed, task.is_committed = position, True
        return True

    def _ask_the_group(self, consumer: ConsumerLike, task: Task) -> None:
        """A refusal inside of the transaction would end it, and a rebalance is no reason to work everything anew."""
        try:
            answers = consumer.commit(offsets=offsets_of([Due(task, task.committed)]), asynchronous=False) or []
        except KafkaException as exc:
            raise self._refusal(error_of(exc)) from exc
        for answer in answers:
            if answer.error is not None:
                raise self._refusal(answer.error)

    def _refusal(self, error: KafkaError) -> WorkerError:
        self._metrics.add("commit_failures", error.name())
        if error.code() in REBALANCES:
            return Retriable("the group rebalances")
        return translate(error, "asking the group", running=True)
