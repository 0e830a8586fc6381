"""SIGTERM and SIGINT: a flag for the loop, and a deadline that holds also where the loop cannot look.

Python runs a handler between two of its own steps, and a call into the Kafka client (a flush, a commit without a
coordinator) may take many seconds when the broker is gone. So the signal goes down a pipe, too, and a thread that waits
there ends the process if nothing else did. Nothing is lost by that: what is not committed is restored.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

from worker.errors import ExitCode

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """While it is entered, a signal calls `stop`, which may only set a flag; a second one has its default effect.

    To be entered from the main thread. What is not done `deadline_s` after the first signal ends with UNCLEAN_STOP.
    """

    def __init__(self, stop: Callable[[], None], deadline_s: float) -> None:
        self._stop = stop
        self._deadline_s = deadline_s
        self._is_done = threading.Event()

    def __enter__(self) -> Self:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}
        self._wakeup_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="stop deadline", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_done.set()
        signal.set_wakeup_fd(self._wakeup_before)
        self._put_back()
        os.close(self._write_end)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._stop()
        self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _watch(self) -> None:
        signalled = os.read(self._read_end, 1)  # nothing: the other end was closed
        os.close(self._read_end)
        if signalled and not self._is_done.wait(self._deadline_s):
            log.critical(
                "did not stop within %.0f s (is the broker gone?); the next owner restores from the last checkpoint",
                self._deadline_s,
            )
            logging.shutdown()
            os._exit(ExitCode.UNCLEAN_STOP)
