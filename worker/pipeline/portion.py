"""Some of what waits to be published."""

from __future__ import annotations

from typing import TypeVar

V = TypeVar("V")


def take(waiting: dict[str, V], most: int) -> dict[str, V]:
    """Take out at most `most` entries, those that came last."""
    if len(waiting) > most:
        return dict([waiting.popitem() for _ in range(most)])
    taken = dict(waiting)
    waiting.clear()
    return taken
