"""The README's tables, from the code. `python -m tests.readme_tables` writes them; a test finds them stale."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

from worker.errors import ExitCode
from worker.metrics import metrics_table
from worker.settings import settings_table

README = Path(__file__).parents[1] / "README.md"


def exit_codes_table() -> str:
    """Every exit code with the comment that stands beside it."""
    rows = ["| Code | Name | Meaning |", "|---|---|---|"]
    source = inspect.getsource(ExitCode)
    for code in ExitCode:
        found = re.search(rf"^\s+{code.name} = {code.value}(?:  # (.*))?$", source, re.MULTILINE)
        rows.append(f"| {code.value} | `{code.name}` | {(found and found.group(1)) or ''} |")
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "exit codes": exit_codes_table,
    "metrics": metrics_table,
}


def fill_in(text: str) -> str:
    """The text with every table between its two markers made anew."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}\n{table().rstrip()}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(fill_in(README.read_text()))
