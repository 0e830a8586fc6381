"""A session as the by_session stage keeps it: when it was seen, whose it is, and what waits for its user."""

from __future__ import annotations

from typing import NamedTuple

from worker.context.session_memory import NEVER
from worker.context.user_memory import SessionKey
from worker.pipeline.repartition import RoutedPayload


class Held(NamedTuple):
    """A payload whose user is not known yet. `at`: the stream time when it came; `before`: the one before that."""

    at: float
    before: float
    offset: int
    actions: int
    routed: RoutedPayload
    source: object


class Session:
    """One session: when it was seen, whose it is, and what it holds."""

    __slots__ = (
        "confirmed_at",
        "confirmed_before",
        "confirmed_offset",
        "held",
        "held_actions",
        "key",
        "seen_at",
        "user",
    )

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self.seen_at = NEVER
        self.user = ""
        self.confirmed_at = NEVER  # stream time at the last record that named the user
        self.confirmed_before = NEVER  # stream time before that record
        self.confirmed_offset = -1
        self.held: list[Held] = []  # at most max_actions_per_session, and none of most sessions
        self.held_actions = 0

    def drop_oldest_held(self) -> None:
        self.held_actions -= self.held.pop(0).actions

    def drop_held(self) -> None:
        self.held.clear()
        self.held_actions = 0
