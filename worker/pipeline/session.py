"""A session as the by_session stage keeps it: when it was seen, whose it is, and what waits for its user."""

from __future__ import annotations

from sys import intern
from typing import NamedTuple

import msgspec

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


NOT_CONFIRMED = -1  # or so long ago that it does not count any more
NOTHING_HELD: list[Held] = []  # of most sessions; nobody appends to it


def new_session(key: SessionKey) -> Session:
    """One that was never seen. Many have the same product, whose id is kept once."""
    return Session((intern(key[0]), key[1]), NOTHING_HELD)


class Session(msgspec.Struct, eq=False, gc=False):
    """One session: when it was seen, whose it is, and what it holds."""

    key: SessionKey
    held: list[Held]  # at most max_actions_per_session
    held_actions: int = 0
    seen_at: float = NEVER
    user: str = ""
    confirmed_at: float = NEVER  # stream time at the last record that named the user
    confirmed_before: float = NEVER  # stream time before that record
    confirmed_offset: int = NOT_CONFIRMED

    def hold(self, held: Held) -> None:
        """What came last."""
        if self.held:
            self.held.append(held)
        else:
            self.held = [held]
        self.held_actions += held.actions

    def drop_oldest_held(self) -> None:
        self.held_actions -= self.held.pop(0).actions

    def drop_held(self) -> None:
        self.held = NOTHING_HELD
        self.held_actions = 0
