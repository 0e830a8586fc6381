"""A consumer group seen from outside: who is in it, what it has committed, what its logs hold; and moving it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from worker.errors import ExitCode, Fatal, TaskMigrated, WorkerError
from worker.group_offsets import committed_offsets
from worker.kafka import (
    Admin,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    Meaning,
    OffsetSpec,
    TopicPartition,
    error_of,
    meaning_of,
    translate,
)
from worker.pipeline.restore_point import RestorePoint, decode, encode
from worker.runtime.offsets import EARLIEST, LATEST, RETRY_S, look_for_leaders
from worker.runtime.restore import Committed, LogBounds
from worker.runtime.task import TaskId

REQUEST_TIMEOUT_S = 10.0
LEADER_TIMEOUT_S = 10.0  # how long a partition may be without a leader


class Owner(NamedTuple):
    """A member, by its client id, and the partitions that it owns."""

    name: str
    host: str
    tasks: tuple[TaskId, ...]


class Group:
    """Asks the broker, each time anew. With `patient` a broker that does not answer now is Retriable, else Fatal.

    Every method raises:
        Retriable, Fatal: the broker does not answer, or refuses.
    """

    def __init__(self, admin: Admin, group_id: str, *, patient: bool = False) -> None:
        self._admin = admin
        self._patient = patient
        self.group_id = group_id

    def members(self) -> tuple[str, tuple[Owner, ...]]:
        """The group's state, in the broker's words, and who is in it. A member that was killed is, until its session
        ends."""
        group_id = self.group_id
        try:
            answers = self._admin.describe_consumer_groups([group_id], request_timeout=REQUEST_TIMEOUT_S)
            found = answers[group_id].result()
        except KafkaException as exc:
            raise self._translate(exc, f"asking who is in group {group_id}") from exc
        owners = [
            Owner(
                member.client_id,
                member.host.lstrip("/"),
                tuple(
                    (each.topic, each.partition)
                    for each in (member.assignment.topic_partitions if member.assignment else [])
                ),
            )
            for member in found.members
        ]
        return found.state.name.lower().replace("_", " "), tuple(owners)

    def committed(self, ids: Iterable[TaskId]) -> dict[TaskId, Committed]:
        """What it has committed."""
        ids = list(ids)
        try:
            answer = committed_offsets(self._admin, self.group_id, [TopicPartition(*task_id) for task_id in ids])
        except KafkaException as exc:
            raise self._translate(exc, f"reading the offsets of group {self.group_id}") from exc
        found = {
            (one.topic, one.partition): Committed(one.offset, decode(one.metadata)) for one in answer if one.offset >= 0
        }
        return {task_id: found.get(task_id, Committed(None, None)) for task_id in ids}

    def bounds(self, ids: Iterable[TaskId]) -> dict[TaskId, LogBounds]:
        """What can be read of the logs, without what an open transaction may still take back."""
        ids = list(ids)
        starts, ends = self._look_up(ids, EARLIEST), self._look_up(ids, LATEST)
        return {task_id: LogBounds(starts[task_id], ends[task_id]) for task_id in ids}

    def first_at(self, task_id: TaskId, timestamp: float) -> int | None:
        """The first offset with a timestamp (Unix seconds) not below; None when there is none."""
        offset = self._look_up([task_id], OffsetSpec.for_timestamp(max(0, int(timestamp * 1000))))[task_id]
        return offset if offset >= 0 else None

    def move(self, positions: Mapping[TaskId, tuple[int, RestorePoint]]) -> None:
        """Commit next offsets and restore points for a group that nobody is in: all of them, in one request.

        Raises:
            Fatal: GROUP_IS_LIVE, somebody has joined.
        """
        offsets = [TopicPartition(*task_id, offset, encode(point)) for task_id, (offset, point) in positions.items()]
        asked = ConsumerGroupTopicPartitions(self.group_id, offsets)
        doing = f"moving group {self.group_id}"
        try:
            answers = self._admin.alter_consumer_group_offsets([asked], request_timeout=REQUEST_TIMEOUT_S)
            answer = answers[self.group_id].result()
        except KafkaException as exc:
            raise self._translate(exc, doing) from exc
        for one in answer.topic_partitions or []:
            if one.error is not None:
                failure = translate(one.error, doing)
                if isinstance(failure, TaskMigrated):  # the coordinator knows members by now
                    text = f"somebody has joined group {self.group_id}: nothing was moved"
                    raise Fatal(ExitCode.GROUP_IS_LIVE, text, hint="stop all members, then run this again")
                raise failure

    def _look_up(self, ids: list[TaskId], spec: OffsetSpec) -> dict[TaskId, int]:
        asked = {TopicPartition(*task_id): spec for task_id in ids}
        deadline = time.monotonic() + LEADER_TIMEOUT_S
        while True:
            try:
                answers = self._admin.list_offsets(
                    asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_TIMEOUT_S
                )
                return {(one.topic, one.partition): answer.result().offset for one, answer in answers.items()}
            except KafkaException as exc:
                if meaning_of(error_of(exc)) is not Meaning.RETRIABLE or time.monotonic() > deadline:
                    raise self._translate(exc, "reading where the logs begin and end") from exc
            time.sleep(RETRY_S)
            look_for_leaders(self._admin, {topic for topic, _ in ids}, REQUEST_TIMEOUT_S)

    def _translate(self, exc: KafkaException, doing: str) -> WorkerError:
        return translate(exc, doing, running=self._patient)
