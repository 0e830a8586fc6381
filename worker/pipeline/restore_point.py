"""Where a task begins to read when another one takes over: what a commit stores beside the offset."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from worker.context.session_memory import NEVER

VERSION = 1


UNKNOWN = 1 << 63  # beyond every offset


class RestorePoint(NamedTuple):
    """The oldest record that a task's state rests on, and the stream time that the task goes on from.

    by_user: the stream time as it stands at the committed offset; by_session: as it stood before the record at
    `offset`. NEVER = unknown. `sound_from` (by_session): no record from here up to the committed offset was refused.
    """

    offset: int
    stream_time: float = NEVER
    sound_from: int = UNKNOWN


def encode(point: RestorePoint) -> str:
    """The commit metadata: under 150 characters, where the broker takes 4095 UTF-16 units."""
    stream_time = None if point.stream_time == NEVER else point.stream_time
    document = {"v": VERSION, "restore": point.offset, "stream_time": stream_time}
    if point.sound_from != UNKNOWN:
        document["sound_from"] = point.sound_from
    return orjson.dumps(document).decode()


def decode(metadata: str | None) -> RestorePoint | None:
    """The restore point in commit metadata; None where another tool wrote the offset (no metadata, or not ours)."""
    try:
        document = orjson.loads(metadata or "")
        if document["v"] != VERSION:
            return None
        stream_time = document["stream_time"]
        return RestorePoint(
            int(document["restore"]),
            NEVER if stream_time is None else float(stream_time),
            int(document.get("sound_from", UNKNOWN)),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
