"""What a benchmark is doing now: a bar on a terminal, a line for each step elsewhere. On stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Note = Callable[[int], None]  # so much is done


class Steps:
    """Names the steps of a run."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, doing: str, total: int | None = None) -> Iterator[Note]:
        """One step; call what it gives with how much of `total` is done."""
        if not self._console.is_terminal:
            self._console.print(f"{doing} …")
            yield lambda _done: None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True, refresh_per_second=4) as bar:
            task = bar.add_task(doing, total=total)
            yield lambda done: bar.update(task, completed=done)


def on_stderr() -> Steps:
    """The steps as the command shows them."""
    return Steps(Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 10_000))
