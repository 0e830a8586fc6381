"""Where a task begins: decided from what is committed and what the log still holds. Pure."""

from __future__ import annotations

from typing import NamedTuple

from worker.context.session_memory import NEVER
from worker.pipeline.restore_point import RestorePoint


class Committed(NamedTuple):
    """What the group has committed for a partition. `next_offset` None: nothing; `point` None: no metadata of ours."""

    next_offset: int | None
    point: RestorePoint | None


class LogBounds(NamedTuple):
    """The offsets that can be read: from `start` up to and without `end`."""

    start: int
    end: int


class Start(NamedTuple):
    """Where a task begins to read (`point`), and from which offset on it works (`next_offset`); `end` as seen then."""

    point: RestorePoint
    next_offset: int
    end: int
    warning: str = ""


def start_of(committed: Committed, log: LogBounds, fallback: RestorePoint) -> Start:
    """The task's start. `fallback` is where to restore from when something is committed without metadata of ours.

    What lies outside the log is clamped to it, with a warning: what was deleted below its start cannot be remembered
    any more, and beyond its end nothing was ever written (the topic was made anew).
    """
    next_offset, point = committed
    if next_offset is None:
        return Start(RestorePoint(log.start, NEVER), log.start, log.end)
    if next_offset < log.start:
        text = f"the committed offset {next_offset} is below the log's start {log.start}: records were deleted unread"
        return Start(RestorePoint(log.start, point.stream_time if point else NEVER), log.start, log.end, text)
    if next_offset > log.end:
        text = f"the committed offset {next_offset} is beyond the log's end {log.end}: the topic was made anew"
        return Start(RestorePoint(log.end, NEVER), log.end, log.end, text)
    point = point or fallback
    if point.offset < log.start:
        text = f"the restore offset {point.offset} is below the log's start {log.start}: some context is gone"
        return Start(point._replace(offset=log.start), next_offset, log.end, text)
    return Start(point._replace(offset=min(point.offset, next_offset)), next_offset, log.end)
