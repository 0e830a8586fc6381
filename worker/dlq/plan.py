"""What a retry would do: which dead letters it would send again, which not and why, and what would become of them.

A dead letter that stands on the topic twice (a crash repeats what was not committed) counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from schemas.codec import InvalidPayload, Skip, read_payload
from worker.dlq.ledger import MAX_METADATA, Ledger, Mark
from worker.dlq.letter import Letter, Source
from worker.dlq.overview import is_sent_again
from worker.dlq.selection import Selection, age_key
from worker.errors import ExitCode, Fatal
from worker.pipeline.event_time import event_time


class Kept(Enum):
    """Why a dead letter that is meant is not sent."""

    SENT_BEFORE = "sent again before"
    REPEATED = "twice on the topic"
    NO_VALUE = "without the value, which did not fit"
    OTHER_TOPIC = "of another input topic"
    NO_SOURCE = "made of a record that is not known any more"


class Fate(NamedTuple):
    """What the worker would make of a letter that is sent again now."""

    late: bool  # counted, and not shown
    unreadable: bool  # a dead letter again


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges a letter as the worker would. Times in Unix seconds.

    `newest`: of the records of the input, None when there are none. `append_time`: the input gives its own timestamps.
    """

    input_topic: str
    newest: float | None
    now: float
    retention_s: float
    max_clock_skew_s: float
    append_time: bool

    def obstacle(self, letter: Letter) -> Kept | None:
        """Why it cannot be sent again, whatever is asked for."""
        if letter.why.source_topic != self.input_topic:
            return Kept.OTHER_TOPIC
        if letter.why.source_partition < 0:
            return Kept.NO_SOURCE
        return None if letter.why.value_omitted_bytes is None else Kept.NO_VALUE

    def fate(self, letter: Letter) -> Fate:
        forwarded_at: float | None = None
        unreadable = False
        try:
            payload = read_payload(letter.value)
            forwarded_at = None if isinstance(payload, Skip) else payload.forwarded_at
        except InvalidPayload:
            unreadable = True
        milliseconds = letter.why.source_timestamp_ms
        timestamp = self.now if self.append_time or milliseconds is None else milliseconds / 1000
        happened, _, _ = event_time(forwarded_at, timestamp, self.now, self.max_clock_skew_s)
        oldest = min(self.now, self.newest or self.now) - self.retention_s
        return Fate(late=self.newest is not None and happened < oldest, unreadable=unreadable)


class Candidate(NamedTuple):
    """A letter to send, without its bytes."""

    age: tuple[int, int, int]
    partition: int
    offset: int
    reason: str
    fate: Fate


@dataclass(slots=True)
class Prospect:
    """Letters of one reason that would be sent, and what would become of some of them."""

    letters: int = 0
    late: int = 0
    unreadable: int = 0


@dataclass(slots=True)
class Plan:
    """`offsets` by partition, ascending: what to send. `ledgers` know every letter that can be sent."""

    letters: int = 0
    prospects: dict[str, Prospect] = field(default_factory=dict)
    kept: Counter[Kept] = field(default_factory=Counter)
    offsets: dict[int, list[int]] = field(default_factory=dict)
    ledgers: dict[int, Ledger] = field(default_factory=dict)

    @property
    def to_send(self) -> int:
        return sum(map(len, self.offsets.values()))

    def take(self, candidates: Iterable[Candidate]) -> None:
        """Send these."""
        for one in candidates:
            self.offsets.setdefault(one.partition, []).append(one.offset)
            prospect = self.prospects.setdefault(one.reason, Prospect())
            prospect.letters += 1
            prospect.late += one.fate.late
            prospect.unreadable += one.fate.unreadable
        for offsets in self.offsets.values():
            offsets.sort()

    def require_marks_that_fit(self) -> None:
        """Half of the room: on the way from the marks as they are to those at the end both may be in one.

        Raises:
            Fatal: USAGE, the letters lie too scattered for it to be kept which were sent.
        """
        for partition, offsets in self.offsets.items():
            before = self.ledgers[partition]
            after = Ledger(before.offsets, bytearray(before.sent))
            for offset in offsets:
                after.note_sent(offset)
            if max(len(ledger.mark().metadata()) for ledger in (before, after)) > MAX_METADATA // 2:
                raise Fatal(
                    ExitCode.USAGE,
                    f"the chosen letters lie too scattered between others of partition {partition}: "
                    "it could not be kept which were sent",
                    hint="choose more of those between them (another --reason, an earlier --since, a larger --limit)",
                )


def plan_retry(
    letters: Iterable[Letter | None], selection: Selection, marks: Mapping[int, Mark], judge: Judge, *, again: bool
) -> Plan:
    """Read all letters once. `again`: also those that were sent again before."""
    plan = Plan()
    candidates: list[Candidate] = []
    seen: set[Source] = set()
    for letter in letters:
        if letter is None:
            continue
        plan.letters += 1
        meant = selection.takes(letter)
        kept = judge.obstacle(letter) or (Kept.REPEATED if letter.source in seen else None)
        if kept is None:
            seen.add(letter.source)
            sent = is_sent_again(letter, marks)
            plan.ledgers.setdefault(letter.partition, Ledger()).add(letter.offset, sent=sent)
            kept = Kept.SENT_BEFORE if sent and not again else None
        if meant and kept is not None:
            plan.kept[kept] += 1
        elif meant:
            place = letter.partition, letter.offset
            candidates.append(Candidate(age_key(letter), *place, letter.why.reason, judge.fate(letter)))
    plan.take(candidates if selection.limit is None else sorted(candidates)[-selection.limit :])
    return plan
