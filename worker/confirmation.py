"""Ask before something is done that cannot be undone."""

from __future__ import annotations

import sys

import typer


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether to go on: `yes` was given, or nobody sits at a terminal to be asked, or who does says so."""
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # Ctrl-C, or the end of the input
        return False
