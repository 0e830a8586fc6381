"""When a payload happened, and how far the stream has come: fixed once per record, by the by_session stage."""

from __future__ import annotations

import msgspec


class EventTime(msgspec.Struct, frozen=True, gc=False):
    """Unix seconds. `event_time` orders and ages a payload; `stream_time` may move the task's stream time on."""

    event_time: float
    stream_time: float
    clamped: bool  # forwarded_at was missing or not to be believed


def event_time(forwarded_at: float | None, timestamp: float | None, now: float, max_clock_skew_s: float) -> EventTime:
    """`forwarded_at`, unless it is missing, not positive, or further ahead of the record's timestamp or the wall clock
    than `max_clock_skew_s`: then the smaller of those two. A record without a timestamp has only the wall clock `now`.
    """
    ceiling = now if timestamp is None or timestamp > now else timestamp
    if forwarded_at is None or forwarded_at <= 0 or forwarded_at > ceiling + max_clock_skew_s:
        return EventTime(ceiling, ceiling, clamped=True)
    return EventTime(forwarded_at, min(forwarded_at, ceiling), clamped=False)
