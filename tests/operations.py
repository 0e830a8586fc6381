"""What our code does, in numbers that do not depend on the machine: calls, by what is called."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
OURS = tuple([f"{ROOT / folder}/" for folder in ("worker", "schemas")])


class Operations:
    """Calls of our functions, and calls that they make into C, by qualified name."""

    def __init__(self) -> None:
        self.by_name: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self.by_name.total()

    def of(self, *endings: str) -> int:
        """Calls of what has one of these names, with as much of the module and the class as is given."""
        return sum(
            count for name, count in self.by_name.items() if f".{name}".endswith(tuple(f".{e}" for e in endings))
        )

    def note(self, frame: FrameType, event: str, called: Any) -> None:
        """For `sys.setprofile`."""
        if not frame.f_code.co_filename.startswith(OURS):
            return
        if event == "call":
            self.by_name[f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            self.by_name[f"{called.__module__ or ''}.{called.__qualname__}"] += 1


@contextmanager
def counted() -> Iterator[Operations]:
    """Count what happens inside, in this thread."""
    operations = Operations()
    before = sys.getprofile()
    sys.setprofile(operations.note)
    try:
        yield operations
    finally:
        sys.setprofile(before)
