"""What is remembered of one session: its newest payloads, when it was last seen, and its conversation."""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import attrgetter
from typing import AnyStr, Generic

import msgspec

NEVER = float("-inf")  # earlier than every event

PARTITION_SHIFT = 48  # a source offset stays below 2**48: at a million records a second, nine years of one partition


def source_of(partition: int, offset: int) -> int:
    """A record's place in the input as one number that sorts as (partition, offset) does."""
    return partition << PARTITION_SHIFT | offset


def place_of(source: int) -> tuple[int, int]:
    """The partition and the offset of a source."""
    return source >> PARTITION_SHIFT, source & (1 << PARTITION_SHIFT) - 1


class Stamped(msgspec.Struct, frozen=True, gc=False):
    """A value with the place of its payload in the order that counts everywhere: event time, then source."""

    event_time: float
    source: int
    value: str

    def is_before(self, event_time: float, source: int) -> bool:
        """Whether a payload comes after this one's."""
        return self.event_time < event_time or (self.event_time == event_time and self.source < source)


NOTHING = Stamped(NEVER, -1, "")


class Seen(msgspec.Struct, Generic[AnyStr], array_like=True, gc=False):
    """One payload, as far as it is remembered. Event time in Unix seconds; `source` from `source_of`; no id is "".

    `text`: its actions, a line each, joined by newlines, which stand in none of them. A `str`, or `bytes` where it is
    kept as it will be written.
    """

    product_id: str
    session_id: str
    event_time: float
    source: int
    text: AnyStr
    actions: int
    conversation_id: str
    email: str


class Remembered(msgspec.Struct, Generic[AnyStr], frozen=True, order=True, gc=False):
    """What stays of a payload with actions, in 40 bytes less than a tuple takes. No two have the same source, so texts
    are never compared."""

    event_time: float
    source: int
    text: AnyStr
    actions: int


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """The text made of a session's payloads since a time. It holds for every `since` from its own to `oldest`, the
    event time of the first payload in it: no payload lies between."""

    since: float
    oldest: float
    count: int
    text: bytes


_EVENT_TIME = attrgetter("event_time")
MANY = 200  # a payload smaller than this part of the bound is not looked at when it comes; every 200th is


class SessionMemory(msgspec.Struct, Generic[AnyStr], eq=False, gc=False):
    """The payloads of one session in the order (event time, source), whatever the order they came in.

    Holds the newest `max_actions` actions: a payload goes as soon as as many newer ones are here. So it does beyond
    `max_size` (characters or bytes) of newer text; twice as much and the largest payload may be held for a while.
    `last_seen_at` and the newest conversation id stand beside the payloads, so that dropping one never loses them.
    `rendered` is the text made of them, if it is kept, until they change. Not thread-safe.
    """

    last_seen_at: float = NEVER
    conversation: Stamped = NOTHING
    _actions: int = 0
    _highest_source: int = -1
    _payloads: list[Remembered[AnyStr]] = []  # oldest first
    rendered: Rendered | None = None

    def add(self, seen: Seen[AnyStr], max_actions: int | None = None, max_size: int | None = None) -> bool:
        """Remember a payload; False when this very payload is here already and nothing changed.

        A payload without actions counts for `last_seen_at` and the conversation only.
        """
        event_time, source, actions = seen.event_time, seen.source, seen.actions
        if actions:
            if source > self._highest_source:
                self._highest_source = source
            elif any(payload.source == source for payload in self._payloads):
                return False
            payloads, payload = self._payloads, Remembered(event_time, source, seen.text, actions)
            before = len(payloads)
            if not payloads or event_time > payloads[-1].event_time:
                payloads.append(payload)
            else:
                insort(payloads, payload)
            self._actions += actions
            self.rendered = None
            if max_actions is not None:
                while self._actions - payloads[0].actions >= max_actions:
                    self._drop_first(1)
            if max_size is not None:
                count = len(payloads)
                is_one_of_many = count > before and count % MANY == 0
                if is_one_of_many or len(seen.text) * max(MANY, count) > max_size:
                    self._bound_size(max_size)
        if event_time > self.last_seen_at:
            self.last_seen_at = event_time
        if seen.conversation_id and self.conversation.is_before(event_time, source):
            self.conversation = Stamped(event_time, source, seen.conversation_id)
        return True

    def _bound_size(self, max_size: int) -> None:
        """Drop what so much newer text is here for. Looked at where a large payload came, and with every so many small
        ones: those in between are no more than as much again."""
        payloads, size = self._payloads, 0
        for at in range(len(payloads) - 1, 0, -1):
            size += len(payloads[at].text)
            if size >= max_size:
                self._drop_first(at)
                return

    def _drop_first(self, count: int) -> None:
        for payload in self._payloads[:count]:
            self._actions -= payload.actions
        del self._payloads[:count]
        self.rendered = None

    def _first_at(self, event_time: float) -> int:
        """How many payloads are older."""
        return bisect_left(self._payloads, event_time, key=_EVENT_TIME)

    def forget_before(self, event_time: float) -> None:
        """Drop the payloads that are older; `last_seen_at` and the conversation stay."""
        if self._payloads and self._payloads[0].event_time < event_time:
            self._drop_first(self._first_at(event_time))

    @property
    def is_empty(self) -> bool:
        return not self._payloads

    def oldest_since(self, event_time: float) -> float:
        """The event time of the first payload at or after a time; NEVER when there is none."""
        at = self._first_at(event_time)
        return self._payloads[at].event_time if at < len(self._payloads) else NEVER

    def lines_since(self, event_time: float, max_actions: int | None) -> list[AnyStr]:
        """The newest `max_actions` actions at or after a time, oldest first."""
        payloads = self._payloads
        if payloads and payloads[0].event_time < event_time:
            payloads = payloads[self._first_at(event_time) :]
        if not payloads:
            return []
        newline = "\n" if isinstance(payloads[0].text, str) else b"\n"
        lines = newline.join([payload.text for payload in payloads]).split(newline)
        return lines if max_actions is None else lines[-max_actions:]


def activity_text(lines: list[str]) -> str:
    """The actions as the chat layer reads them: a heading and numbered lines; "" when there are none."""
    if not lines:
        return ""
    return "Recent activity:\n" + "\n".join([f"{number}. {line}" for number, line in enumerate(lines, 1)])
