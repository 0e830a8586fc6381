"""What `dlq` shows. Nothing of a dead letter reaches a terminal as it is: it comes from strangers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from worker.dlq.letter import Letter
from worker.dlq.overview import Overview
from worker.dlq.plan import Kept, Plan
from worker.dlq.retry import Sent
from worker.printing import ago, harmless, table_of, time_of

SHOWN_CHARACTERS = 60
_LONGEST_CHARACTER_BYTES = 4


def beginning_of(value: bytes | None) -> str:
    """The first characters of a value; bytes that are no UTF-8 are escaped."""
    if value is None:
        return ""
    head = value[: SHOWN_CHARACTERS * _LONGEST_CHARACTER_BYTES].decode(errors="backslashreplace")
    text = harmless(head[:SHOWN_CHARACTERS])
    return text + "…" if len(head) > SHOWN_CHARACTERS or len(value) > SHOWN_CHARACTERS * 4 else text


def letters_table() -> Table:
    """Without rows yet."""
    return table_of("written", "reason", "field", "source topic/partition/offset", "bytes", "retries", "again", "value")


def add_letter(table: Table, letter: Letter, *, sent_again: bool) -> None:
    """One row."""
    why = letter.why
    omitted = why.value_omitted_bytes is not None
    table.add_row(
        "" if letter.written_ms is None else time_of(letter.written_ms / 1000),
        Text(harmless(why.reason)),
        Text(harmless(why.field)),
        Text(f"{harmless(why.source_topic)}/{why.source_partition}/{why.source_offset}"),
        str(letter.size),
        str(why.retries or ""),
        "sent" if sent_again else "",
        Text("(left out)" if omitted else beginning_of(letter.value)),
    )


def print_overview(overview: Overview, topic: str, console: Console, *, shown: int | None) -> None:
    """How many there are, and a line for each reason."""
    more = "" if shown is None or shown == overview.chosen else f", the newest {shown} shown"
    console.print(Text(f"{topic}: {overview.letters} dead letters, {overview.chosen} chosen{more}"))
    if overview.others:
        console.print(Text(f"other records on it, no dead letters of this worker: {overview.others}"))
    if not overview.letters:
        return
    table = table_of("reason", "letters", "chosen", "sent again")
    for reason, tally in sorted(overview.by_reason.items(), key=lambda item: -item[1].letters):
        table.add_row(Text(harmless(reason)), str(tally.letters), str(tally.chosen), str(tally.sent_again))
    console.print(table)


def print_plan(plan: Plan, topic: str, retention_s: float, console: Console) -> None:
    """What would be sent, by reason, and what would not."""
    console.print(Text(f"{plan.to_send} of {plan.letters} dead letters to send again to {topic}"))
    if plan.to_send:
        table = table_of("reason", "to send", "late", "still unreadable")
        for reason, prospect in sorted(plan.prospects.items(), key=lambda item: -item[1].letters):
            counts = (prospect.letters, prospect.late, prospect.unreadable)
            table.add_row(Text(harmless(reason)), *map(str, counts))
        console.print(table)
    prospects = plan.prospects.values()
    if any(prospect.late for prospect in prospects):
        console.print(f"late: more than {ago(retention_s)} behind the newest record: counted, and not shown")
    if any(prospect.unreadable for prospect in prospects):
        console.print("still unreadable: this version would make a dead letter of it again")
    for kept in Kept:
        if plan.kept[kept]:
            hint = " (--again sends them all the same)" if kept is Kept.SENT_BEFORE else ""
            console.print(Text(f"not sent: {plan.kept[kept]} {kept.value}{hint}"))


def print_sent(sent: Sent, topic: str, seconds: float, console: Console) -> None:
    """What became of them."""
    console.print(Text(f"sent {sent.delivered} dead letters again to {topic} in {seconds:.1f} s"))
    if sent.gone:
        console.print(Text(f"deleted from the dead-letter topic before they could be sent: {sent.gone}"))
    if sent.refused:
        console.print(Text(f"not taken by the broker: {sent.refused}"))
        for refusal in sent.refusals:
            console.print(Text(f"  {refusal}"))


@contextmanager
def progress_over(total: int, doing: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, if that is a terminal. Call what it gives with how many are done."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda done: bar.update(task, completed=done)
