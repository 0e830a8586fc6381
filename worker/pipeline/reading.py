"""A record of the input topic as the by_session stage takes it: the one place that decides what a value is."""

from __future__ import annotations

from collections.abc import Callable

from schemas.codec import Payload, PayloadIds, Skip, read_ids, read_payload
from worker.pipeline.by_session import Arrival
from worker.pipeline.event_time import event_time

Read = Callable[[bytes | None], Payload | PayloadIds | Skip]


def reader_of(offset: int, committed: int, sound_from: int) -> Read:
    """How a value is read. Whose a session is, its ids tell: of what is restored, and of which the live task refused
    nothing, nothing else is looked at."""
    return read_ids if sound_from <= offset < committed else read_payload


def read_arrival(
    read: Read, offset: int, value: bytes | None, timestamp: float | None, now: float, max_clock_skew_s: float
) -> Arrival | Skip:
    """The payload with its times, or why the record is nobody's context. `read` makes one of a value; `timestamp` and
    the wall clock `now` in Unix seconds; None = the record has no timestamp.

    Raises:
        InvalidPayload: the record is a dead letter.
    """
    payload = read(value)
    if isinstance(payload, Skip):
        return payload
    return Arrival(offset, payload, event_time(payload.forwarded_at, timestamp, now, max_clock_skew_s))
