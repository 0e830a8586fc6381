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
    """The machine's clocks."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
