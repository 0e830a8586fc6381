"""Where a task begins to read when another one takes over: what a commit stores beside the offset."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from worker.context.session_memory import NEVER

VERSION = 1


class RestorePoint(NamedTuple):
    """The oldest record that a task's state rests on, and the stream time that the task goes on from.

    by_user: the stream time as it stands at the committed offset; by_session: as it stood before the record at
    `offset`. NEVER = unknown.
    """

    offset: int
    stream_time: float = NEVER


def encode(point: RestorePoint) -> str:
    """The commit metadata: under 100 characters, where the broker takes 4095 UTF-16 units."""
    stream_time = None if point.stream_time == NEVER else point.stream_time
    return orjson.dumps({"v": VERSION, "restore": point.offset, "stream_time": stream_time}).decode()


def decode(metadata: str | None) -> RestorePoint | None:
    """The restore point in commit metadata; None where another tool wrote the offset (no metadata, or not ours)."""
    try:
        document = orjson.loads(metadata or "")
        if document["v"] != VERSION:
            return None
        stream_time = document["stream_time"]
        return RestorePoint(int(document["restore"]), NEVER if stream_time is None else float(stream_time))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
