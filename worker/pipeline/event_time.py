"""When a payload happened, and how far the stream has come: fixed once per record, by the by_session stage."""

from __future__ import annotations


def event_time(
    forwarded_at: float | None, timestamp: float | None, now: float, max_clock_skew_s: float
) -> tuple[float, float, bool]:
    """What orders and ages a payload, how far it may move the task's stream time on, and whether `forwarded_at` was
    missing or not to be believed. In Unix seconds.

    That is `forwarded_at`, unless it is missing, not positive, or further ahead of the record's timestamp or the wall
    clock than `max_clock_skew_s`: then the smaller of those two. A record without a timestamp has only the wall clock
    `now`. (A tuple: an object of a class takes 0.1 us more, with every payload.)
    """
    ceiling = now if timestamp is None or timestamp > now else timestamp
    if forwarded_at is None or forwarded_at <= 0 or forwarded_at > ceiling + max_clock_skew_s:
        return ceiling, ceiling, True
    return forwarded_at, min(forwarded_at, ceiling), False
