"""A record of the input topic as the by_session stage takes it: the one place that decides what a value is."""

from __future__ import annotations

from schemas.codec import Skip, read_payload
from worker.pipeline.by_session import Arrival
from worker.pipeline.event_time import event_time


def read_arrival(
    offset: int, value: bytes | None, timestamp: float | None, now: float, max_clock_skew_s: float
) -> Arrival | Skip:
    """The payload with its times, or why the record is nobody's context. `timestamp` and the wall clock `now` in Unix
    seconds; None = the record has no timestamp.

    Raises:
        InvalidPayload: the record is a dead letter.
    """
    payload = read_payload(value)
    if isinstance(payload, Skip):
        return payload
    return Arrival(offset, payload, event_time(payload.forwarded_at, timestamp, now, max_clock_skew_s))
