"""The demo: the main job on an embedded broker, with people to watch, a member that dies, and a check at the end.

`run_demo` is its only name for the rest of the project.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import TextIO

from worker.demo.embedded_broker import start_embedded_broker
from worker.demo.screen import open_screen
from worker.demo.story import Story
from worker.demo.theatre import Theatre
from worker.errors import ExitCode


def run_demo(out: TextIO | None = None) -> ExitCode:
    """Run it on stdout, or on `out`. OK when every record was right, BAD_INPUT when one was not.

    No process and no file of the demo is left behind, except the members' logs when something went wrong.

    Raises:
        Fatal: a member did not start, did not join or ended by itself.
    """
    with _stoppable():
        try:
            return _run(out)
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED


def _run(out: TextIO | None) -> ExitCode:
    """Opened in this order and closed in the other: clients that outlive their broker would complain."""
    keep_logs = True
    with closing(start_embedded_broker()) as broker, open_screen(out) as screen:
        theatre = Theatre(screen, broker)
        try:
            code = Story(theatre).tell()
            keep_logs = code is not ExitCode.OK
        except KeyboardInterrupt:
            keep_logs = False
            raise
        finally:
            theatre.close(keep_logs=keep_logs)
    return code


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
