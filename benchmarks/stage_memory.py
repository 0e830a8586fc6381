"""What the stages alone take for users inside the window. `python -m benchmarks.stage_memory USERS`.

Prints one JSON object: users, bytes that the by_session stage takes for their links, that the by_user stage takes for
their memory, the bytes of their newest records and of the text in them; and when all of them have expired and were
forgotten: how many objects of the collector's are left beyond those of the empty stage, and how many bytes, before and
after the allocator was asked to give back what is free.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from collections.abc import Iterator

import orjson

from benchmarks.load import even_crowd, even_size
from benchmarks.process_meter import usage_of
from schemas.codec import Skip, read_payload
from worker.context.session_memory import NEVER
from worker.pipeline import repartition
from worker.pipeline.by_session import BySession, LinkPolicy
from worker.pipeline.by_user import ByUser, UserPolicy, UserStart
from worker.pipeline.reading import arrival_of
from worker.pipeline.rendering import RenderPolicy
from worker.pipeline.repartition import RoutedPayload
from worker.pipeline.restore_point import RestorePoint

WINDOW_S = 240.0  # all payloads lie within so long, below the lookback
BATCH = 2000
GONE_S = 100_000.0


def measure(users: int) -> dict[str, int]:
    """Two sweeps over the same values: one links the sessions, one remembers the users."""
    now = time.time()
    load = even_crowd(users, begin=now - WINDOW_S, interval_s=WINDOW_S / even_size(users))
    values = [payload.value for payload in load]  # stay until the end, so that they are in every reading
    start = RestorePoint(0, NEVER)
    by_session, by_user = (
        BySession(LinkPolicy(), start),
        ByUser(UserPolicy(RenderPolicy()), UserStart(start, 0, 0, now)),
    )
    base = _resident_bytes()
    for offset, arrival in _arrivals(values):
        by_session.apply(offset, arrival)
    linked, linked_objects = _resident_bytes(), _objects()
    for offset, arrival in _arrivals(values):
        routed = [routed for routed, _ in by_session.apply(offset, arrival)]  # it knows all sessions by now
        by_user.apply(offset, now, repartition.read(None, repartition.write(routed), None))
        if offset % BATCH == 0:
            by_user.publish(now)
    by_user.publish(now)
    remembered = _resident_bytes()
    for user in range(users):
        by_user.change_again(f"user_{user:06d}")
    records = [value or b"" for _, value in by_user.publish(now)]
    measured = {
        "users": by_user.user_count,
        "link_bytes": linked - base,
        "memory_bytes": remembered - linked,
        "published_bytes": sum(map(len, records)),
        "text_bytes": sum(map(_text_bytes, records)),
    }
    records.clear()
    _forget_all(by_user, len(values), now + GONE_S)
    measured |= {"objects_left": _objects() - linked_objects, "bytes_left": _resident_bytes() - linked}
    ctypes.CDLL(None).malloc_trim(0)
    return measured | {"bytes_left_after_trim": _resident_bytes() - linked}


def _forget_all(by_user: ByUser, next_offset: int, now: float) -> None:
    """Somebody else comes so much later that all others are older than the retention."""
    payload = next(iter(even_crowd(1, begin=now, interval_s=1.0)))
    ((_, arrival),) = _arrivals([payload.value])
    by_session = BySession(LinkPolicy(), RestorePoint(next_offset))
    arrival.user_id = "newcomer"
    by_user.apply(next_offset, now, [routed for routed, _ in by_session.apply(next_offset, arrival)])
    by_user.publish(now)
    if by_user.user_count != 1:
        raise AssertionError(f"{by_user.user_count - 1} users are remembered who are gone")


def _text_bytes(record: bytes) -> int:
    return sum(len(session["context"].encode()) for session in orjson.loads(record)["sessions"])


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def _arrivals(values: list[bytes]) -> Iterator[tuple[int, RoutedPayload]]:
    for offset, value in enumerate(values):
        payload = read_payload(value)
        assert not isinstance(payload, Skip)
        assert payload.forwarded_at is not None
        yield offset, arrival_of(payload, offset, payload.forwarded_at, payload.forwarded_at)


def _resident_bytes() -> int:
    gc.collect()
    return usage_of(os.getpid()).rss_bytes


if __name__ == "__main__":
    sys.stdout.write(orjson.dumps(measure(int(sys.argv[1]))).decode())
