"""What the demo knows while it runs: which clicks the broker has, which records are out, and who is behind."""

from __future__ import annotations

import statistics
from collections import deque

from worker.demo.cast import Person
from worker.demo.check import Fold, Freshness, Record, without_version
from worker.demo.scene import PersonState, PersonView
from worker.demo.topics import Read
from worker.demo.traffic import Step

GRACE_S = 0.5  # a click that old has to be in its user's record; a healthy worker needs a hundredth of it
_LATENCIES = 30
_JUST_S = 0.4


class Observer:
    """Compares the input with the output, click by click. Times are Unix seconds."""

    def __init__(self, lookback_s: float, expiry_delay_s: float) -> None:
        self._fold = Fold(lookback_s)
        self._freshness = Freshness(self._fold, GRACE_S, expiry_delay_s)
        self._published: dict[str, Record | None] = {}
        self._changed_at: dict[str, float] = {}
        self._clicks: dict[Person, int] = {}
        self._partitions: dict[str, int] = {}
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.sent = 0
        self.records = 0

    def clicked(self, step: Step) -> None:
        """A record was sent."""
        self.sent += 1
        if step.person is not None:
            self._clicks[step.person] = self._clicks.get(step.person, 0) + 1

    def delivered(self, record: Read, now: float) -> None:
        """The broker has it."""
        self._partitions[record.key.decode()] = record.partition
        self._freshness.add(record.partition, record.offset, record.value or b"", now)

    def published(self, user: str, value: bytes | None, now: float) -> None:
        """A record came out."""
        self.records += 1
        record, before = without_version(value), self._published.get(user)
        if record is not None and (before is None or record["updated_at"] > before["updated_at"]):
            self._latencies.append(now - record["updated_at"])
        if record != before:
            self._changed_at[user] = now
        self._published[user] = record

    @property
    def latency_ms(self) -> float | None:
        """From a click to its record, the median of the last ones."""
        return statistics.median(self._latencies) * 1000 if self._latencies else None

    def partition_of(self, session_id: str) -> int:
        """Where the records of a session go. One of them has to be delivered."""
        return self._partitions[session_id]

    def behind(self, now: float) -> set[str]:
        return self._freshness.behind(self._published, now)

    def has_expired(self, person: Person) -> bool:
        user = str(person.user_id)
        return user in self._published and self._published[user] is None

    def views(self, people: tuple[Person, ...], now: float) -> tuple[PersonView, ...]:
        behind = self.behind(now)
        return tuple(self._view(person, behind, now) for person in people)

    def _view(self, person: Person, behind: set[str], now: float) -> PersonView:
        user, clicks = str(person.user_id), self._clicks.get(person, 0)
        record = self._published.get(user)
        if user in behind:
            state = PersonState.BEHIND
        elif record is not None:
            state = PersonState.RIGHT
        elif user in self._published:
            state = PersonState.EXPIRED
        else:
            state = PersonState.HELD if clicks else PersonState.AWAY
        if record is None:
            return PersonView(person.name, state, clicks=clicks)
        return PersonView(
            person.name,
            state,
            sessions=len(record["sessions"]),
            clicks=sum(session["action_count"] for session in record["sessions"]),
            newest=newest_line(record),
            just_changed=now - self._changed_at[user] < _JUST_S,
        )


def newest_line(record: Record) -> str:
    """The last action of the newest session, without its numbers and its address."""
    last = str(record["sessions"][0]["context"]).rpartition("\n")[2]
    return last.partition("] ")[2].rpartition(" — ")[0]
