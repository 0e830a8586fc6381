"""What a run left behind, as values: the checks look at nothing else, so a test can forge all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import msgspec

from schemas.dead_letter import DeadLetter
from tests.acceptance.comparing import Users
from tests.acceptance.oracle import Expected, OracleSettings, Position, fold
from tests.acceptance.records import Record
from tests.chaos.commit_log import Commit
from tests.chaos.feeder import MARK_FORM, MARK_HEADER
from tests.chaos.witness import Ends

Log = Mapping[int, Sequence[Record]]
NEVER = float("-inf")


class Disturbance(NamedTuple):
    """A nemesis at work, Unix seconds. `crashes`: what a member had not committed may be done again because of it."""

    name: str
    begin: float
    end: float
    crashes: bool


class Shutdown(NamedTuple):
    """A member that was asked to end. `in_peace`: the brokers were there for it."""

    member: str
    seconds: float
    exit_code: int
    in_peace: bool


class Routed(NamedTuple):
    """A payload or a reset on the repartition topic. `source` None: a reset, with the time up to which it erases."""

    offset: int
    user_id: str
    at: float
    source: Position | None
    t: float
    s: float


@dataclass
class Evidence:
    """Everything that the checks need to know of a run."""

    settings: OracleSettings
    input_topic: str
    repartition_topic: str
    exactly_once: bool
    session_timeout_s: float
    input: Log
    repartition: Log
    output: Log
    dead_letters: Log
    sessions: Log
    commits: Sequence[Commit] = ()
    ends: Sequence[Ends] = ()
    followed: Users = field(default_factory=dict)  # by a reader that was there all the time
    disturbances: Sequence[Disturbance] = ()
    shutdowns: Sequence[Shutdown] = ()

    @cached_property
    def expected(self) -> Expected:
        """What the oracle makes of the input and the resets."""
        return fold(self.input, self.settings, self.marks)

    @cached_property
    def marks(self) -> dict[str, float]:
        """Up to when each user was erased."""
        marks: dict[str, float] = {}
        for routed in self.routed.values():
            for record in routed:
                if record.source is None:
                    marks[record.user_id] = max(record.t, marks.get(record.user_id, NEVER))
        return marks

    @cached_property
    def routed(self) -> dict[int, list[Routed]]:
        """The repartition topic, read without the worker's code."""
        return {partition: list(routed_records(records)) for partition, records in self.repartition.items()}

    @cached_property
    def letters(self) -> list[tuple[Position, float]]:
        """Where each dead letter came from, and when it was written."""
        found = []
        for records in self.dead_letters.values():
            for record in records:
                letter = DeadLetter.from_headers(record.headers)
                assert letter is not None, f"no dead letter: {record}"
                found.append(((letter.source_partition, letter.source_offset), record.timestamp_ms / 1000))
        return found

    def published(self) -> Iterator[tuple[str, Record, int | None]]:
        """The output topic in log order: user, record, version; None = a tombstone."""
        for records in self.output.values():
            for record in records:
                version = None if record.value is None else int(json.loads(record.value)["version"])
                yield (record.key or b"").decode(), record, version


def routed_records(records: Iterable[Record]) -> Iterator[Routed]:
    """What records of the repartition topic say."""
    return chain.from_iterable(map(_routed, records))


def _routed(record: Record) -> Iterator[Routed]:
    """Form 2: the byte 2 and a MessagePack array of payloads, each an array: product, session, event time, source (the
    partition from bit 48 on, the offset below), text, actions, conversation, email, user,
    stream time."""
    at = record.timestamp_ms / 1000
    if record.value is None:
        marks = [value for name, value in record.headers if name == MARK_HEADER and value is not None]
        mark = float(MARK_FORM.unpack(marks[0])[1]) if marks else at
        yield Routed(record.offset, (record.key or b"").decode(), at, None, mark, NEVER)
        return
    assert record.value[0] == 2, f"a form that the checks cannot read: {record.value[0]}"
    for _, _, t, source, _, _, _, _, user_id, s in msgspec.msgpack.decode(record.value[1:]):
        yield Routed(record.offset, user_id, at, (source >> 48, source & (1 << 48) - 1), t, s)
