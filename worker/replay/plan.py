"""What a replay will do, as a value; where each partition begins, and what the operator must know. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from worker.replay.start_time import BEGINNING
from worker.runtime.restore import Committed, LogBounds
from worker.runtime.task import TaskId


class InputTimes(Protocol):
    """Looks offsets of the input topic up by time (Unix seconds)."""

    def first_at(self, partition: int, timestamp: float, /) -> int:
        """The first offset with a timestamp not below; the end of the partition when there is none."""

    def timestamp_at(self, partition: int, offset: int, /) -> float | None:
        """The timestamp of the first record at or after an offset."""


@dataclass(frozen=True, slots=True)
class InputStart:
    """One input partition: sessions are restored from `restore` on, records run from `start` to `end`.

    `unread`: it begins before the start of the replay, where the group has not been yet. `is_cut`: what lay before
    `restore` is deleted, and might have been needed.
    """

    partition: int
    restore: int
    start: int
    end: int
    unread: bool = False
    is_cut: bool = False

    @property
    def records(self) -> int:
        return self.end - self.start


def input_start(
    partition: int, log: LogBounds, next_offset: int | None, since: float, reach_s: float, times: InputTimes
) -> InputStart:
    """Where an input partition begins. `next_offset` is the group's: what it has not read is never skipped.

    `reach_s`: how far before the first record that runs the state of a by_session task may rest.
    """
    start = log.start if since == BEGINNING else times.first_at(partition, since)
    unread = next_offset is not None and next_offset < start
    if next_offset is not None and unread:
        start = max(next_offset, log.start)
        stamp = times.timestamp_at(partition, start)
        since = since if stamp is None else min(since, stamp)
    restore = log.start if since == BEGINNING else min(start, times.first_at(partition, since - reach_s))
    return InputStart(
        partition, restore, start, log.end, unread=unread, is_cut=restore == log.start > 0 and log.end > log.start
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a replay does. `asked` and `since` are Unix seconds or BEGINNING: as wanted, and as it must be.

    `empty_from`: by repartition partition, the end that it had: by_user starts there with nothing. `marks`: user to the
    time up to which they are erased. `standing`: keys on the output topic whose newest record says something, as of
    `output_ends`; `sessions`: those on the session topic. `committed`: what the group had committed then.
    `resets_are_deleted`: it begins before what the repartition topic still holds; `topic_is_younger`: before the first
    record that the topic ever had.
    """

    asked: float
    since: float
    inputs: tuple[InputStart, ...]
    empty_from: Mapping[int, int]
    marks: Mapping[str, float] = field(repr=False)
    standing: frozenset[bytes] = field(repr=False)
    output_ends: Mapping[int, int]
    committed: Mapping[TaskId, Committed] = field(repr=False)
    resets_are_deleted: bool = False
    topic_is_younger: bool = False
    windows_are_whole: bool = True
    sessions: frozenset[bytes] = field(default=frozenset(), repr=False)

    @property
    def records(self) -> int:
        return sum(each.records for each in self.inputs)


def warnings(plan: Plan) -> Iterator[str]:
    """What the operator must know before agreeing."""
    if plan.resets_are_deleted:
        yield (
            "it begins before the first record that is left on the repartition topic: "
            "resets that are deleted there are unknown, so users who were erased may come back"
        )
    elif plan.topic_is_younger:
        yield (
            "it begins before the repartition topic's first record: if users were erased before that "
            "(under another group id, say, or before the topic was made anew), they may come back"
        )
    if not plan.windows_are_whole:
        yield "the input topic does not reach back far enough: the records of live users may lose what is deleted there"
    elif any(each.is_cut for each in plan.inputs):
        yield (
            "the input topic does not reach back far enough: "
            "sessions that were identified in what is deleted there are anonymous until they are identified again"
        )
    unread = [str(each.partition) for each in plan.inputs if each.unread]
    if unread:
        yield f"the group has not read input partition {', '.join(unread)} up to there: it begins where it stands"
