"""What is remembered of one user: the sessions, and the newest email."""

from __future__ import annotations

from sys import intern
from typing import AnyStr, Generic

import msgspec

from worker.context.session_memory import NEVER, NOTHING, Rendered, Seen, SessionMemory, Stamped

SessionKey = tuple[str, str]  # (product id, session id): a session is a session id within a product; "" is no product


class UserMemory(msgspec.Struct, Generic[AnyStr], eq=False, gc=False):
    """The sessions of one user and the newest email. What it says depends on which payloads came, never on their order.

    Not thread-safe.
    """

    sessions: dict[SessionKey, SessionMemory[AnyStr]] = {}
    email: Stamped = NOTHING
    newest: float = NEVER  # the largest event time of all sessions

    def add(self, seen: Seen[AnyStr], max_actions: int | None = None, max_size: int | None = None) -> bool:
        """Remember a payload; False: it is a repeat and changes nothing. The bounds are each session's
        (`SessionMemory`)."""
        key = (seen.product_id, seen.session_id)
        memory = self.sessions.get(key)
        if memory is None:
            key = (intern(seen.product_id), seen.session_id)  # many sessions have the same product
            memory = self.sessions[key] = SessionMemory()
        if not memory.add(seen, max_actions, max_size):
            return False
        if seen.event_time > self.newest:
            self.newest = seen.event_time
        if seen.email and self.email.is_before(seen.event_time, seen.source):
            self.email = Stamped(seen.event_time, seen.source, seen.email)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self.sessions = {}
        self.email = NOTHING
        self.newest = NEVER

    def bound_sessions(self, max_sessions: int) -> int:
        """Drop the sessions that were seen least recently beyond `max_sessions`; how many went."""
        excess = len(self.sessions) - max_sessions
        for _ in range(excess):
            del self.sessions[min(self.sessions, key=lambda key: (self.sessions[key].last_seen_at, key))]
        return max(0, excess)

    def forget_before(self, event_time: float) -> None:
        """Drop the sessions that were not seen since, and the older payloads of the others."""
        for key in [key for key, memory in self.sessions.items() if memory.last_seen_at < event_time]:
            del self.sessions[key]
        for memory in self.sessions.values():
            memory.forget_before(event_time)
        if not self.sessions:
            self.newest = NEVER

    def keep_rendered(self, kept: dict[SessionKey, Rendered]) -> None:
        """These texts are kept with their sessions, and no others."""
        for key, memory in self.sessions.items():
            memory.rendered = kept.get(key)

    def recent(self, since: float, max_sessions: int) -> list[tuple[SessionKey, SessionMemory[AnyStr]]]:
        """The sessions seen at or after a time: newest first, ties by session id, then product id."""
        found = [item for item in self.sessions.items() if item[1].last_seen_at >= since]
        if len(found) > 1:
            found.sort(key=lambda item: (-item[1].last_seen_at, item[0][1], item[0][0]))
        return found[:max_sessions]

    def email_since(self, since: float) -> str:
        """The newest email, if its payload is not older than a time; else ""."""
        return self.email.value if self.email.event_time >= since else ""
