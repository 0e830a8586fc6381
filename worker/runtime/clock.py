"""The one clock of the process."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """`wall` is Unix seconds and may jump; `monotonic` only measures durations."""

    def wall(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clocks. On Linux the monotonic one also counts the time in which the machine sleeps: that is a gap,
    too, in which the group may have given the partitions away."""

    _MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.clock_gettime(self._MONOTONIC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
