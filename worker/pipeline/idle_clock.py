"""What the records of a partition expire by: stream time, or the wall clock where nothing comes any more."""

from __future__ import annotations

from worker.context.session_memory import NEVER


class IdleClock:
    """The wall clock counts while the partition is at its end and silent for `idle_after_s`; None: it never does.

    `end` is the end of the partition as far as it is known, `now` the wall clock.
    """

    def __init__(self, idle_after_s: float | None, end: int, now: float) -> None:
        self._idle_after_s = idle_after_s
        self._seen_end = end
        self._quiet_since = now
        self._awake_since = NEVER

    def hear(self, timestamp: float) -> None:
        """The timestamp of the newest record that was read, Unix seconds."""
        self._quiet_since = timestamp

    def see_end(self, end: int) -> None:
        """The partition reaches at least to here by now: the wall clock does not count before that is read."""
        self._seen_end = max(self._seen_end, end)

    def stay_awake(self, now: float) -> None:
        """What came before `now` may not have been seen yet (the process was stopped): the silence begins here."""
        self._awake_since = now

    def time(self, stream_time: float, next_offset: int, now: float) -> float:
        """What counts now."""
        if self._idle_after_s is None or next_offset < self._seen_end:
            return stream_time
        is_idle = now - max(self._quiet_since, self._awake_since) >= self._idle_after_s
        return max(stream_time, now) if is_idle else stream_time
