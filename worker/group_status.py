"""How the group is doing, as far as it can be told from outside: members, partitions, lag.

Only the member itself knows whether it is restoring. But a restoring partition commits nothing, so one with lag is
looked at twice: when its committed offset moves it is running, when the offset stands it is restoring (or stuck).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum

import orjson

from worker.kafka import (
    Admin,
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    OffsetSpec,
    TopicPartition,
    reader_config,
    translate,
)
from worker.pipeline.restore_point import decode
from worker.settings import Settings

REQUEST_TIMEOUT_S = 10.0
TIMESTAMPS_TIMEOUT_S = 5.0
LONGEST_LOOK_S = 3.0

Key = tuple[str, int]  # topic and partition


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
    try:
        return _look(admin, settings, keys)
    except KafkaException as exc:
        raise translate(exc, f"asking for the state of group {settings.group_id}") from exc


def _look(admin: Admin, settings: Settings, keys: list[Key]) -> GroupStatus:
    state, members, owners = _members(admin, settings.group_id)
    starts = _offsets(admin, keys, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    ends = _offsets(admin, keys, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    before = _committed(admin, settings.group_id, keys)
    unread = _unread(before, starts, ends)
    ages = _ages(settings, unread)
    after = before
    if owners.keys() & unread.keys():
        time.sleep(min(LONGEST_LOOK_S, settings.commit_interval_s + 0.5))
        after = _committed(admin, settings.group_id, keys)
    return GroupStatus(
        settings.group_id,
        state,
        members,
        tuple(
            PartitionStatus(
                topic=key[0],
                partition=key[1],
                member=owners.get(key),
                committed=after[key].offset,
                restore_offset=after[key].restore_offset,
                log_start=starts[key],
                log_end=ends[key],
                lag_s=ages.get(key, 0.0),
                state=state_of(
                    owned=key in owners,
                    lag=lag_of(after[key].offset, starts[key], ends[key]),
                    moved=after[key].offset != before[key].offset,
                ),
            )
            for key in keys
        ),
    )


def _members(admin: Admin, group_id: str) -> tuple[str, tuple[MemberStatus, ...], dict[Key, str]]:
    """The group's state, its members, and who owns what."""
    group = admin.describe_consumer_groups([group_id], request_timeout=REQUEST_TIMEOUT_S)[group_id].result()
    members: list[MemberStatus] = []
    owners: dict[Key, str] = {}
    for member in group.members:
        owned = member.assignment.topic_partitions if member.assignment else []
        members.append(MemberStatus(member.client_id, member.host.lstrip("/"), len(owned)))
        owners |= {(one.topic, one.partition): member.client_id for one in owned}
    return group.state.name.lower().replace("_", " "), tuple(members), owners


@dataclass(frozen=True, slots=True)
class _Commit:
    offset: int | None
    restore_offset: int | None


def _committed(admin: Admin, group_id: str, keys: list[Key]) -> dict[Key, _Commit]:
    asked = ConsumerGroupTopicPartitions(group_id, [TopicPartition(*key) for key in keys])
    answer = admin.list_consumer_group_offsets([asked], request_timeout=REQUEST_TIMEOUT_S)[group_id].result()
    commits: dict[Key, _Commit] = {}
    for one in answer.topic_partitions or []:
        point = decode(one.metadata) if one.offset >= 0 else None
        restore_offset = None if point is None else point.offset
        commits[one.topic, one.partition] = _Commit(one.offset if one.offset >= 0 else None, restore_offset)
    return {key: commits.get(key, _Commit(None, None)) for key in keys}


def _offsets(admin: Admin, keys: Iterable[Key], spec: OffsetSpec) -> dict[Key, int]:
    asked = {TopicPartition(*key): spec for key in keys}
    futures = admin.list_offsets(
        asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_TIMEOUT_S
    )
    return {(one.topic, one.partition): future.result().offset for one, future in futures.items()}


def _unread(commits: Mapping[Key, _Commit], starts: Mapping[Key, int], ends: Mapping[Key, int]) -> dict[Key, int]:
    """The first offset that is not committed, where there is one."""
    first = {key: max(starts[key], commits[key].offset or 0) for key in ends}
    return {key: offset for key, offset in first.items() if offset < ends[key]}


def _ages(settings: Settings, unread: Mapping[Key, int]) -> dict[Key, float]:
    """Seconds since the timestamp of each partition's first unread record. What does not answer in time is left out."""
    ages: dict[Key, float] = {}
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
