"""What the broker says of partitions at assignment: what is committed, what the log holds."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from worker.context.session_memory import NEVER
from worker.errors import ExitCode, Fatal, Retriable, WorkerError
from worker.kafka import (
    OFFSET_INVALID,
    TIMESTAMP_NOT_AVAILABLE,
    KafkaError,
    KafkaException,
    OffsetSpec,
    TopicPartition,
    translate,
)
from worker.pipeline.restore_point import RestorePoint, decode
from worker.runtime.clients import AdminLike, ConsumerLike, ReaderLike
from worker.runtime.clock import Clock
from worker.runtime.restore import Committed, LogBounds
from worker.runtime.task import TaskId

T = TypeVar("T")
log = logging.getLogger(__name__)

EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
ANSWER_TIMEOUT_S = 5.0  # one question
PATIENCE_S = 10.0  # all attempts of one question; then the partitions are asked for anew
# Offsets in a dead member's transaction are known once it is over: its timeout, and the broker looks every 10 s.
PATIENCE_WITH_TRANSACTIONS_S = 30.0
RETRY_S = 0.1
NO_RECORD = frozenset({KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET})  # noqa: SLF001


class Offsets:
    """Questions to the broker, over connections of their own: the group's consumer may have a fetch parked.

    `make_reader` gives a consumer outside of the group; it is made only when a record has to be looked at.
    `patience_s` is for all attempts of one question.
    """

    def __init__(
        self,
        admin: AdminLike,
        make_reader: Callable[[], ReaderLike],
        clock: Clock,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._admin = admin
        self._make_reader = make_reader
        self._clock = clock
        self._known: dict[TaskId, int] = {}  # what was committed when it was last heard of

    def note_committed(self, task_id: TaskId, next_offset: int) -> None:
        """The group has taken it: from now on it does not say less, unless somebody sets it back."""
        self._known[task_id] = next_offset

    def committed(self, consumer: ConsumerLike, ids: Iterable[TaskId]) -> dict[TaskId, Committed]:
        """What the group has committed. A coordinator that just came up may answer before it has read all of its log
        (measured), so less than what is known is asked for again; in the end it is taken, with a warning.

        Raises:
            Retriable, TaskMigrated, Fatal: nobody answers, or not to this member.
        """
        ids = list(ids)
        found = self._committed_now(consumer, ids)
        deadline = self._clock.monotonic() + PATIENCE_S  # from the first answer on: it may have taken long to come
        while (fallen := self._fallen(found)) and self._clock.monotonic() < deadline:
            self._clock.sleep(RETRY_S)
            found = self._committed_now(consumer, ids)
        for task_id in fallen:
            known, now = self._known[task_id], found[task_id].next_offset
            log.warning("%s[%d] was committed up to %d, now the group says %s: taken", *task_id, known, now)
        self._known.update({task_id: at.next_offset or 0 for task_id, at in found.items()})
        return found

    def _fallen(self, found: dict[TaskId, Committed]) -> list[TaskId]:
        return [task_id for task_id, at in found.items() if (at.next_offset or 0) < self._known.get(task_id, 0)]

    def _committed_now(self, consumer: ConsumerLike, ids: list[TaskId]) -> dict[TaskId, Committed]:
        asked = [TopicPartition(*task_id) for task_id in ids]
        answers = self._ask("reading committed offsets", lambda: consumer.committed(asked, timeout=ANSWER_TIMEOUT_S))
        result = {}
        for answer in answers:
            if answer.error is not None:
                raise translate(answer.error, "reading committed offsets", running=True)
            nothing = answer.offset == OFFSET_INVALID or answer.offset < 0
            metadata = None if nothing else decode(answer.metadata)
            result[answer.topic, answer.partition] = Committed(None if nothing else answer.offset, metadata)
        return result

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has by now.

        Raises:
            Retriable, Fatal: nobody answers.
        """
        return self._ask("counting partitions", lambda: self._count_partitions(topic))

    def _count_partitions(self, topic: str) -> int:
        found = self._admin.list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics[topic]
        if found.error is not None:  # it comes with no partitions at all, however many there are
            raise KafkaException(found.error)
        return len(found.partitions)

    def bounds(self, ids: Iterable[TaskId]) -> dict[TaskId, LogBounds]:
        """What the logs hold. The end is the high watermark, also where a transaction is open.

        Raises:
            Retriable, Fatal: nobody answers.
        """
        ids = list(ids)
        starts = self._ask("reading log starts", lambda: self._list_offsets(ids, EARLIEST))
        ends = self._ask("reading log ends", lambda: self._list_offsets(ids, LATEST))
        return {task_id: LogBounds(starts[task_id], ends[task_id]) for task_id in ids}

    def first_at_or_after(self, task_id: TaskId, timestamp: float) -> int | None:
        """The first offset with a timestamp (Unix seconds) not below; None when there is none.

        Raises:
            Retriable, Fatal: nobody answers.
        """
        spec = OffsetSpec.for_timestamp(max(0, int(timestamp * 1000)))
        offset = self._ask("looking an offset up by time", lambda: self._list_offsets([task_id], spec))[task_id]
        return offset if offset >= 0 else None

    def timestamp_at(self, task_id: TaskId, offset: int) -> float | None:
        """The timestamp of the first record at or after an offset, Unix seconds; None when there is none.

        Raises:
            Retriable: nobody answers.
        """
        reader = self._make_reader()
        try:
            reader.assign([TopicPartition(*task_id, offset)])
            deadline = self._clock.monotonic() + PATIENCE_S
            while self._clock.monotonic() < deadline:
                message = reader.poll(RETRY_S)
                error = None if message is None else message.error()
                if message is None or (error is not None and error.code() not in NO_RECORD):
                    continue
                kind, milliseconds = message.timestamp()
                return None if error is not None or kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000
            raise Retriable(f"reading {task_id[0]}[{task_id[1]}] at offset {offset}: no answer in {PATIENCE_S:.0f} s")
        finally:
            reader.close()

    def restore_point_by_time(self, task_id: TaskId, committed: int, before_s: float) -> RestorePoint:
        """Where to restore from when another tool moved the offset: `before_s` before the record at the new one, or
        before the last one in front of it.

        Raises:
            Retriable, Fatal: nobody answers.
        """
        timestamp = self.timestamp_at(task_id, committed)
        if timestamp is None:
            timestamp = self.timestamp_at(task_id, max(0, committed - 1))
        offset = None if timestamp is None else self.first_at_or_after(task_id, timestamp - before_s)
        return RestorePoint(committed if offset is None else min(offset, committed), NEVER)

    def _list_offsets(self, ids: list[TaskId], spec: OffsetSpec) -> dict[TaskId, int]:
        asked = {TopicPartition(*task_id): spec for task_id in ids}
        answers = self._admin.list_offsets(asked, request_timeout=ANSWER_TIMEOUT_S)
        try:
            return {(item.topic, item.partition): future.result().offset for item, future in answers.items()}
        except KafkaException:
            look_for_leaders(self._admin, {topic for topic, _ in ids}, ANSWER_TIMEOUT_S)
            raise

    def _ask(self, doing: str, question: Callable[[], T]) -> T:
        deadline = self._clock.monotonic() + self._patience_s
        while True:
            try:
                return question()
            except KafkaException as exc:
                failure = translate(exc, doing, running=True)
                if self._clock.monotonic() > deadline or not _may_pass(failure):
                    raise failure from exc
                self._clock.sleep(RETRY_S)


def look_for_leaders(admin: AdminLike, topics: Iterable[str], timeout_s: float) -> None:
    """To be called before a question is asked again. The client asks with the leader epochs that it knows, and does not
    learn new ones by a refusal (measured)."""
    for topic in topics:
        with contextlib.suppress(KafkaException):  # the question is asked again all the same
            admin.list_topics(topic, timeout=timeout_s)


def _may_pass(failure: WorkerError) -> bool:
    """Also a topic that is missing: a broker that has just come up, or a topic that has, may be a moment behind."""
    return isinstance(failure, Retriable) or (
        isinstance(failure, Fatal) and failure.exit_code is ExitCode.TOPIC_MISSING
    )
