"""Results as tables: what was wrong, the ratios, then the absolute figures."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.figures import Figure, Result

WIDE = 10_000  # off a terminal nothing is broken or cut


def on_stdout() -> Console:
    """Where results go."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


def print_result(result: Result, console: Console) -> None:
    """One question."""
    console.print()
    console.print(Text(result.title, style="bold"))
    console.print(Text(_sentence(result.facts), style="dim"))
    for mistake in result.wrong:
        console.print(Text(f"WRONG: {mistake}", style="bold red"))
    console.print(_table("ratio", result.ratios))
    console.print(_table("figure", result.figures))


def print_facts(facts: Mapping[str, str], console: Console) -> None:
    """The machine and the versions."""
    for name, value in facts.items():
        console.print(Text(f"{name:10} {value}"))


def _sentence(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def _table(first: str, figures: Iterable[Figure]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for name in ("min", "median", "max"):
        table.add_column(name, justify="right")
    table.add_column("")
    for figure in figures:
        numbers = (min(figure.values), figure.median, max(figure.values))
        table.add_row(figure.name, *(f"{number:,.{figure.digits}f}" for number in numbers), figure.unit)
    return table
