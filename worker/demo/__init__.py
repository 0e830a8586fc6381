"""The demo: the main job on an embedded broker, with people to watch, a member that dies, and a check at the end.

`run_demo` is its only name for the rest of the project.
"""

from __future__ import annotations

from typing import TextIO

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
    keep_logs = True
    with open_screen(out) as screen:
        theatre = Theatre(screen)
        try:
            code = Story(theatre).tell()
            keep_logs = code is not ExitCode.OK
        except KeyboardInterrupt:
            code, keep_logs = ExitCode.INTERRUPTED, False
        finally:
            theatre.close(keep_logs=keep_logs)
    return code
