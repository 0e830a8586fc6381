"""What a replay shows: the plan, how far it is, and what it came to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from worker.printing import ago, time_of
from worker.replay import catch_up
from worker.replay.catch_up import Outcome
from worker.replay.plan import Plan, warnings
from worker.replay.start_time import BEGINNING
from worker.settings import Settings

LINE_EVERY_S = 5.0  # off a terminal

Show = Callable[[catch_up.Progress], None]


def print_plan(plan: Plan, settings: Settings, more: Iterable[str], now: float, console: Console) -> None:
    """What will be done, partition by partition, then what to beware of (`more`: also of that)."""
    table = Table(box=None, pad_edge=False)
    for name in ("topic", "partition", "restored from", "runs from", "to", "records"):
        table.add_column(name, overflow="fold")
    for each in plan.inputs:
        cells = (each.partition, each.restore, each.start, each.end, each.records)
        table.add_row(settings.input_topic, *map(str, cells))
    for partition, end in sorted(plan.empty_from.items()):
        table.add_row(settings.repartition_topic, str(partition), "nothing", str(end), "", "")
    console.print(Text(f"group {settings.group_id}: {plan.records:,} records {_from(plan, now)}"))
    console.print(table)
    console.print(
        Text(f"{_count(len(plan.marks), 'reset')} found on {settings.repartition_topic}, to be written again")
    )
    console.print(
        Text(f"{_count(len(plan.standing), 'user')} known on {settings.output_topic}: who is not rebuilt is cleared")
    )
    if settings.session_output_topic:
        known = f"{_count(len(plan.sessions), 'session')} known on {settings.session_output_topic}"
        console.print(Text(f"{known}: cleared, and published again as they are rebuilt"))
    console.print(Text(f"dead letters among the records go to {settings.dlq_topic} once more"))
    for warning in (*warnings(plan), *more):
        console.print(Text(f"warning: {warning}"))


def _from(plan: Plan, now: float) -> str:
    if plan.since == BEGINNING:
        return "from the beginning of the input"
    text = f"from {time_of(plan.since)} on, {ago(now - plan.since)} ago"
    if plan.since < plan.asked:
        earlier = f"{ago(plan.asked - plan.since)} before {time_of(plan.asked)}"
        text += f" ({earlier}: the records of live users reach back so far)"
    return text


def print_outcome(outcome: Outcome, plan: Plan, console: Console) -> None:
    """What it came to, in numbers."""
    rate = f"{plan.records / max(outcome.seconds, 0.001):,.0f}/s"
    console.print(Text(f"replayed {plan.records:,} records in {outcome.seconds:.1f} s ({rate})"))
    parts = [
        f"{_count(outcome.published, 'user')} published",
        f"{_count(outcome.cleared, 'user')} of before cleared",
        f"{_count(len(plan.marks), 'reset')} written again",
    ]
    console.print(Text(", ".join(parts)))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


@contextmanager
def progress_shown() -> Iterator[Show]:
    """On stderr: a bar with the rate on a terminal, plain lines elsewhere. Any thread may call what it gives."""
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars).show


class _Rate:
    """Records a second since a wait began."""

    def __init__(self) -> None:
        self.doing = ""
        self._began = (0.0, 0)

    def note(self, progress: catch_up.Progress) -> bool:
        """Whether a new wait has begun."""
        if progress.doing == self.doing:
            return False
        self.doing = progress.doing
        self._began = (time.monotonic(), progress.done)
        return True

    def text(self, progress: catch_up.Progress) -> str:
        at, done = self._began
        seconds = time.monotonic() - at
        return f"{(progress.done - done) / seconds:,.0f}/s" if seconds > 0 and progress.done > done else ""


class _Lines:
    def __init__(self) -> None:
        self._rate = _Rate()
        self._told_at = 0.0

    def show(self, progress: catch_up.Progress) -> None:
        is_new = self._rate.note(progress)
        now = time.monotonic()
        is_over = 0 < progress.total <= progress.done
        if not is_new and not is_over and now - self._told_at < LINE_EVERY_S:
            return
        self._told_at = now
        rate = self._rate.text(progress)
        so_far = f": {progress.done:,} of {progress.total:,} records" if progress.total else ""
        sys.stderr.write(f"{progress.doing}{so_far}{', ' if rate else ''}{rate}\n")
        sys.stderr.flush()


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._rate = _Rate()
        self._task = TaskID(0)

    def show(self, progress: catch_up.Progress) -> None:
        if self._rate.note(progress):
            for done in self._bars.task_ids:
                self._bars.remove_task(done)
            self._task = self._bars.add_task(progress.doing, total=progress.total or None, count="")
        count = f"{progress.done:,}/{progress.total:,} {self._rate.text(progress)}" if progress.total else ""
        self._bars.update(self._task, completed=progress.done, count=count)
