"""From when to replay: what the operator says, and what live users need. Pure; times in Unix seconds."""

from __future__ import annotations

from collections.abc import Iterable

from worker.context.session_memory import NEVER
from worker.errors import ExitCode, Fatal
from worker.moment import moment
from worker.settings import Settings

BEGINNING = NEVER  # the start of the log, whatever its records' timestamps


def start_time(text: str, now: float) -> float:
    """`beginning`, or a moment.

    Raises:
        Fatal: USAGE, it is neither, or lies in the future.
    """
    if text.strip().lower() == "beginning":
        return BEGINNING
    at = moment(text, now)
    if at > now:
        raise Fatal(ExitCode.USAGE, f"{text!r} lies in the future", hint="give a time that is over, or beginning")
    return at


def latest_start(stream_times: Iterable[float], settings: Settings, now: float) -> float:
    """The latest start that still replays everything that the records of live users tell of.

    A user is live while their newest event is within the lookback behind the clock of their partition (`stream_times`,
    by partition; the wall clock where users expire by it), their record reaches back one lookback more, and an event
    may lie `max_clock_skew_s` ahead of its record's timestamp.
    """
    clocks = []
    for stream_time in stream_times:
        over = stream_time + settings.max_clock_skew_s + settings.lookback_seconds < now
        clocks.append(now if over and settings.expire_idle_users else stream_time)
    return min(clocks, default=now) - settings.retention_s - settings.max_clock_skew_s
