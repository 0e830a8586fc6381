"""A loop that is stuck ends the process: loudly, with the stacks of all threads, and never silently alive.

Where code in C does not let go of the interpreter (a regular expression that never ends), nothing in the process can
look; then /healthz does not answer either, and whoever asks it has to end the process.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Self

from worker.errors import ExitCode

log = logging.getLogger(__name__)

TELL_S = 5.0  # to write it down: whoever holds the log may be what is stuck


class LoopWatch:
    """While it is entered, a thread looks whether `last_turn` (monotonic) moves. When it has not for `stuck_after_s` of
    time in which this process ran, `end` is called."""

    def __init__(
        self, last_turn: Callable[[], float], stuck_after_s: float, end: Callable[[float], None] | None = None
    ) -> None:
        self._last_turn = last_turn
        self._stuck_after_s = stuck_after_s
        self._look_every_s = min(1.0, stuck_after_s / 10)
        self._end = end or end_stuck_process
        self._is_done = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="loop watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_done.set()

    def _watch(self) -> None:
        seen, stood_s, looked_at = self._last_turn(), 0.0, time.monotonic()
        while not self._is_done.wait(self._look_every_s):
            now, turn = time.monotonic(), self._last_turn()
            # A process that was suspended did not look either: what it slept does not count.
            stood_s = stood_s + min(now - looked_at, 2 * self._look_every_s) if turn == seen else 0.0
            seen, looked_at = turn, now
            if stood_s > self._stuck_after_s:
                self._end(stood_s)
                return


def end_stuck_process(stood_s: float) -> None:
    """Write all stacks to stderr, once, and end with STUCK. Nothing is lost: what is not committed is restored."""
    telling = threading.Thread(target=_tell, args=(stood_s,), name="telling", daemon=True)
    telling.start()
    telling.join(TELL_S)
    os._exit(ExitCode.STUCK)


def _tell(stood_s: float) -> None:
    log.critical("the loop has not come round for %.0f s: this process ends, the stacks of its threads follow", stood_s)
    faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
    logging.shutdown()
