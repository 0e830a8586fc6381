"""What stands on the dead-letter topic, counted by reason while it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from worker.dlq.ledger import Mark
from worker.dlq.letter import Letter
from worker.dlq.selection import Selection


@dataclass(slots=True)
class Tally:
    """The dead letters of one reason: all, those that the selection takes, and those of them that were sent again."""

    letters: int = 0
    chosen: int = 0
    sent_again: int = 0


@dataclass(slots=True)
class Overview:
    """Counts; `others` are records that are no dead letters of this worker."""

    by_reason: dict[str, Tally] = field(default_factory=dict)
    others: int = 0

    @property
    def letters(self) -> int:
        return sum(tally.letters for tally in self.by_reason.values())

    @property
    def chosen(self) -> int:
        return sum(tally.chosen for tally in self.by_reason.values())

    def watch(
        self, letters: Iterable[Letter | None], selection: Selection, marks: Mapping[int, Mark]
    ) -> Iterator[Letter]:
        """Count all, and hand on those that the selection takes."""
        for letter in letters:
            if letter is None:
                self.others += 1
                continue
            tally = self.by_reason.setdefault(letter.why.reason, Tally())
            tally.letters += 1
            if selection.takes(letter):
                tally.chosen += 1
                tally.sent_again += is_sent_again(letter, marks)
                yield letter


def is_sent_again(letter: Letter, marks: Mapping[int, Mark]) -> bool:
    """Whether `dlq retry` has sent this letter."""
    return letter.offset in marks.get(letter.partition, Mark())
