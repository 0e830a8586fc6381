"""Which dead letters were sent again: exact for each letter, and small enough for the metadata of a committed offset.

The committed offset says that every letter below it was sent (or cannot be). The metadata lists the runs above it:
`1:2,5,1,1` are two letters' worth of offsets not sent, five sent, one not, one sent; what follows was not sent.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

FORM = "1:"
MAX_METADATA = 4000  # the broker takes 4096 bytes (offset.metadata.max.bytes)


@dataclass(frozen=True, slots=True)
class Mark:
    """The offsets of one partition that were sent again: below `next_offset`, and in the `runs` [first, next)."""

    next_offset: int = 0
    runs: tuple[tuple[int, int], ...] = ()

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self.runs, offset, key=lambda run: run[0]) - 1
        return offset < self.next_offset or (at >= 0 and offset < self.runs[at][1])

    def metadata(self) -> str:
        """The runs as a text, each border as its distance from the one before."""
        borders = [self.next_offset, *(border for run in self.runs for border in run)]
        return FORM + ",".join(str(right - left) for left, right in pairwise(borders))

    @classmethod
    def read(cls, next_offset: int | None, metadata: str | None) -> Mark:
        """From what is committed. A text that is none of ours lists no runs."""
        if next_offset is None:
            return cls()
        distances = (metadata or "").removeprefix(FORM).split(",")
        if not (metadata or "").startswith(FORM) or not all(text.isdecimal() for text in distances):
            return cls(next_offset)
        borders: list[int] = []
        for text in distances:
            borders.append((borders[-1] if borders else next_offset) + int(text))
        return cls(next_offset, tuple(zip(borders[::2], borders[1::2], strict=False)))


@dataclass(slots=True)
class Ledger:
    """The letters of one partition that can be sent, in offset order, and which of them were."""

    offsets: array[int] = field(default_factory=lambda: array("q"))
    sent: bytearray = field(default_factory=bytearray)

    def add(self, offset: int, *, sent: bool) -> None:
        """The next letter; offsets rise."""
        self.offsets.append(offset)
        self.sent.append(sent)

    def note_sent(self, offset: int) -> None:
        """A letter that was added was sent again and delivered."""
        self.sent[bisect_left(self.offsets, offset)] = True

    def mark(self) -> Mark:
        """What to commit: offsets between two letters belong to the run on both sides of them."""
        runs = list(self._runs())
        if self.sent[:1] == b"\x01":
            return Mark(runs[0][1], tuple(runs[1:]))
        return Mark(self.offsets[0] if self.offsets else 0, tuple(runs))

    def _runs(self) -> Iterator[tuple[int, int]]:
        first: int | None = None
        last = 0
        for offset, sent in zip(self.offsets, self.sent, strict=True):
            if sent:
                first = offset if first is None else first
                last = offset
            elif first is not None:
                yield first, last + 1
                first = None
        if first is not None:
            yield first, last + 1
