"""What is remembered of one session: its newest payloads, when it was last seen, and its conversation."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

NEVER = float("-inf")  # earlier than every event

PARTITION_SHIFT = 48  # a source offset stays below 2**48: at a million records a second, nine years of one partition


def source_of(partition: int, offset: int) -> int:
    """A record's place in the input as one number that sorts as (partition, offset) does."""
    return partition << PARTITION_SHIFT | offset


class Stamped(NamedTuple):
    """A value with the place of its payload in the order that counts everywhere: event time, then source."""

    event_time: float
    source: int
    value: str


NOTHING = Stamped(NEVER, -1, "")


class SessionMemory:
    """The payloads of one session in the order (event time, source), whatever the order they came in.

    Holds the newest `max_actions` actions, and no more of them than `max_characters` of text need: a payload goes as
    soon as as many newer ones are here. `last_seen_at` and the newest conversation id stand beside the payloads, so
    that dropping one never loses them. Not thread-safe.
    """

    __slots__ = (
        "_action_count",
        "_characters",
        "_highest_source",
        "_lines",
        "_sources",
        "_times",
        "conversation",
        "last_seen_at",
    )

    def __init__(self) -> None:
        self.last_seen_at = NEVER
        self.conversation = NOTHING
        self._action_count = 0
        self._characters = 0
        self._highest_source = -1
        self._times: list[float] = []  # three parallel lists, oldest first
        self._sources: list[int] = []
        self._lines: list[tuple[str, ...]] = []

    def add(
        self,
        event_time: float,
        source: int,
        lines: tuple[str, ...],
        max_actions: int | None = None,
        max_characters: int | None = None,
    ) -> bool:
        """Remember a payload; False when this very payload is here already and nothing changed.

        A payload without lines counts for `last_seen_at` only.
        """
        if lines:
            if source <= self._highest_source and source in self._sources:
                return False
            self._insert(event_time, source, lines)
            if max_actions is not None:
                while self._action_count - len(self._lines[0]) >= max_actions:
                    self._drop_first(1)
            if max_characters is not None and self._characters > max_characters:
                while self._characters - _length(self._lines[0]) >= max_characters:
                    self._drop_first(1)
        if event_time > self.last_seen_at:
            self.last_seen_at = event_time
        return True

    def name_conversation(self, event_time: float, source: int, conversation_id: str) -> None:
        """The newest conversation id that is not empty counts."""
        if conversation_id:
            self.conversation = max(self.conversation, Stamped(event_time, source, conversation_id))

    def _insert(self, event_time: float, source: int, lines: tuple[str, ...]) -> None:
        times = self._times
        if not times or (event_time, source) > (times[-1], self._sources[-1]):
            at = len(times)
        else:
            at = bisect_left(times, event_time)
            while at < len(times) and times[at] == event_time and self._sources[at] < source:
                at += 1
        times.insert(at, event_time)
        self._sources.insert(at, source)
        self._lines.insert(at, lines)
        self._action_count += len(lines)
        self._characters += _length(lines)
        if source > self._highest_source:
            self._highest_source = source

    def _drop_first(self, count: int) -> None:
        self._action_count -= sum(map(len, self._lines[:count]))
        self._characters -= sum(map(_length, self._lines[:count]))
        del self._times[:count], self._sources[:count], self._lines[:count]

    def forget_before(self, event_time: float) -> None:
        """Drop the payloads that are older; `last_seen_at` and the conversation stay."""
        if self._times and self._times[0] < event_time:
            self._drop_first(bisect_left(self._times, event_time))

    @property
    def is_empty(self) -> bool:
        return not self._times

    def lines_since(self, event_time: float, max_actions: int | None) -> list[str]:
        """The newest `max_actions` actions at or after a time, oldest first."""
        start = bisect_left(self._times, event_time) if self._times and self._times[0] < event_time else 0
        lines = [line for payload in self._lines[start:] for line in payload]
        return lines if max_actions is None else lines[-max_actions:]


def _length(lines: tuple[str, ...]) -> int:
    return sum(map(len, lines))


def activity_text(lines: list[str]) -> str:
    """The actions as the chat layer reads them: a heading and numbered lines; "" when there are none."""
    if not lines:
        return ""
    return "Recent activity:\n" + "\n".join([f"{number}. {line}" for number, line in enumerate(lines, 1)])
