"""How the group is doing, as far as it can be told from outside: members, partitions, lag.

Only the member itself knows whether it is restoring. But a restoring partition commits nothing, so one with lag is
looked at twice: when its committed offset moves it is running, when the offset stands it is restoring (or stuck).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum

import orjson

from worker.group import Group
from worker.kafka import Admin, Consumer, TopicPartition, reader_config
from worker.runtime.restore import Committed, LogBounds
from worker.runtime.task import TaskId
from worker.settings import Settings

TIMESTAMPS_TIMEOUT_S = 5.0
LONGEST_LOOK_S = 3.0


class PartitionState(Enum):
    """What can be told of a partition from outside."""

    NO_OWNER = "no owner"
    RESTORING = "restoring"  # lag, and the committed offset stands: restoring, or stuck
    RUNNING = "running"  # lag, and the committed offset moves
    CAUGHT_UP = "caught up"


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """A member of the group. `name` is its client id."""

    name: str
    host: str
    partitions: int


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """Offsets are those of the next record to read. `lag_s` is the age of the first record that is not committed."""

    topic: str
    partition: int
    member: str | None
    committed: int | None
    restore_offset: int | None
    log_start: int
    log_end: int
    lag_s: float
    state: PartitionState

    @property
    def lag(self) -> int:
        return lag_of(self.committed, self.log_start, self.log_end)


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """The whole: its state in the broker's words, and the sum and the worst of its parts."""

    group_id: str
    state: str
    members: tuple[MemberStatus, ...]
    partitions: tuple[PartitionStatus, ...]

    @property
    def lag(self) -> int:
        return sum(partition.lag for partition in self.partitions)

    @property
    def lag_s(self) -> float:
        return max((partition.lag_s for partition in self.partitions), default=0.0)

    def to_json(self) -> str:
        """One object; the parts as they are called here, and each partition's lag and state."""
        document = asdict(self) | {"lag": self.lag, "lag_s": round(self.lag_s, 3)}
        document["partitions"] = [
            asdict(one) | {"lag": one.lag, "lag_s": round(one.lag_s, 3), "state": one.state.value}
            for one in self.partitions
        ]
        return orjson.dumps(document).decode()


def lag_of(committed: int | None, log_start: int, log_end: int) -> int:
    """Records that are not committed yet; what was deleted unread does not count."""
    return max(0, log_end - max(log_start, committed or 0))


def state_of(*, owned: bool, lag: int, moved: bool) -> PartitionState:
    """From two looks at the committed offset."""
    if not owned:
        return PartitionState.NO_OWNER
    if lag == 0:
        return PartitionState.CAUGHT_UP
    return PartitionState.RUNNING if moved else PartitionState.RESTORING


def group_status(admin: Admin, settings: Settings, partitions: Mapping[str, int]) -> GroupStatus:
    """Ask the broker. `partitions`: the topics that the group reads, with their partition counts.

    Raises:
        WorkerError: the broker does not answer, or refuses.
    """
    keys = [(topic, number) for topic, count in partitions.items() for number in range(count)]
    group = Group(admin, settings.group_id)
    state, members = group.members()
    owners = {key: member.name for member in members for key in member.tasks}
    logs = group.bounds(keys)
    before = group.committed(keys)
    unread = _unread(before, logs)
    ages = _ages(settings, unread)
    after = before
    if owners.keys() & unread.keys():
        time.sleep(min(LONGEST_LOOK_S, settings.effective_commit_interval_s + 0.5))
        after = group.committed(keys)
    return GroupStatus(
        settings.group_id,
        state,
        tuple(MemberStatus(member.name, member.host, len(member.tasks)) for member in members),
        tuple(_partition_status(key, logs[key], (before[key], after[key]), owners, ages) for key in keys),
    )


def _partition_status(
    key: TaskId,
    log: LogBounds,
    looks: tuple[Committed, Committed],
    owners: Mapping[TaskId, str],
    ages: Mapping[TaskId, float],
) -> PartitionStatus:
    before, after = looks
    return PartitionStatus(
        topic=key[0],
        partition=key[1],
        member=owners.get(key),
        committed=after.next_offset,
        restore_offset=None if after.point is None else after.point.offset,
        log_start=log.start,
        log_end=log.end,
        lag_s=ages.get(key, 0.0),
        state=state_of(
            owned=key in owners,
            lag=lag_of(after.next_offset, log.start, log.end),
            moved=after.next_offset != before.next_offset,
        ),
    )


def _unread(commits: Mapping[TaskId, Committed], logs: Mapping[TaskId, LogBounds]) -> dict[TaskId, int]:
    """The first offset that is not committed, where there is one."""
    first = {key: max(log.start, commits[key].next_offset or 0) for key, log in logs.items()}
    return {key: offset for key, offset in first.items() if offset < logs[key].end}


def _ages(settings: Settings, unread: Mapping[TaskId, int]) -> dict[TaskId, float]:
    """Seconds since the timestamp of each partition's first unread record. What does not answer in time is left out."""
    ages: dict[TaskId, float] = {}
    if not unread:
        return ages
    reader = Consumer(reader_config(settings))
    try:
        reader.assign([TopicPartition(*key, offset) for key, offset in unread.items()])
        deadline = time.monotonic() + TIMESTAMPS_TIMEOUT_S
        while len(ages) < len(unread) and time.monotonic() < deadline:
            message = reader.poll(0.1)
            if message is None or message.error() is not None:
                continue
            key = (message.topic() or "", message.partition() or 0)
            ages.setdefault(key, max(0.0, time.time() - message.timestamp()[1] / 1000))
            reader.pause([TopicPartition(*key)])  # one record is enough
    finally:
        reader.close()
    return ages
