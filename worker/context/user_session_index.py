"""The public index of which recent sessions belong to whom: a lock and a clock around one `UserMemory` for each user.

The names are the SDK's (`autoplay_sdk.context.user_index`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from schemas.actions import identifier
from schemas.user_context import SessionRef, joined_activity
from worker.context.context_store import wall_clock
from worker.context.payload import PayloadLike, event_time
from worker.context.session_memory import Seen
from worker.context.user_memory import UserMemory

HELD_PER_LISTED = 10  # sessions held of a user for each one listed: a user id that stands for thousands costs no more


class ContextSource(Protocol):
    """Any store that knows the text of a session."""

    def get(self, session_id: str, *, product_id: str | None = None) -> str: ...


class UserSessionIndex:
    """Which sessions each user was seen in within the lookback, and their newest email. Thread-safe.

    A payload counts at its `forwarded_at`, or at its arrival where that is missing, zero, negative or ahead of the
    clock. One without a user or a session, or older than the lookback, changes nothing. Who was not seen within the
    lookback is unknown, and is dropped while payloads of others come in: memory follows the users of one lookback.

    Texts are the context store's, which knows sessions, not users: give both the same payloads.
    """

    def __init__(
        self,
        context_store: ContextSource,
        lookback_seconds: float = 300.0,
        max_sessions_per_user: int = 20,
        *,
        clock: Callable[[], float] = wall_clock,
    ) -> None:
        if not lookback_seconds > 0:
            raise ValueError(f"lookback_seconds must be greater than 0, got {lookback_seconds}")
        if max_sessions_per_user < 1:
            raise ValueError(f"max_sessions_per_user must be at least 1, got {max_sessions_per_user}")
        self._context_store = context_store
        self._lookback_seconds = lookback_seconds
        self._max_sessions = max_sessions_per_user
        self._clock = clock
        self._lock = threading.Lock()
        self._users: OrderedDict[str, UserMemory[str]] = OrderedDict()  # in the order of their last payloads
        self._arrivals = 0

    def add(self, payload: PayloadLike) -> None:
        """Note that the payload's user was seen in its session. A late one never moves `last_seen_at` back."""
        user_id = identifier(payload.user_id)
        product_id, session_id = identifier(payload.product_id), identifier(payload.session_id)
        if not user_id or not session_id:
            return
        email = identifier(payload.email)
        with self._lock:
            now = self._clock()
            since = now - self._lookback_seconds
            self._drop_unseen(since)
            seen_at = event_time(payload, now)
            if seen_at >= since:
                self._arrivals += 1
                seen: Seen[str] = Seen(product_id, session_id, seen_at, self._arrivals, "", 0, "", email)
                self._remember(user_id, seen, since)

    async def add_async(self, payload: PayloadLike) -> None:
        """`add` as a callback for asyncio."""
        self.add(payload)

    def get_recent_sessions(self, user_id: str) -> list[SessionRef]:
        """The user's sessions within the lookback, newest first, at most `max_sessions_per_user`."""
        with self._lock:
            memory = self._users.get(identifier(user_id))
            if memory is None:
                return []
            recent = memory.recent(self._clock() - self._lookback_seconds, self._max_sessions)
            return [SessionRef(key[1], key[0] or None, session.last_seen_at) for key, session in recent]

    def get_email(self, user_id: str) -> str | None:
        """The newest email known of a user who was seen within the lookback."""
        with self._lock:
            memory = self._users.get(identifier(user_id))
            if memory is None or memory.newest < self._clock() - self._lookback_seconds:
                return None
            return memory.email.value or None

    def get_user_activity(self, user_id: str, product_id: str | None = None) -> str:
        """The context of the recent sessions (of one product, if named) as one text; "" when there is none."""
        product = identifier(product_id)
        return joined_activity(
            (ref.session_id, ref.product_id, self._context_store.get(ref.session_id, product_id=ref.product_id))
            for ref in self.get_recent_sessions(user_id)
            if not product or ref.product_id == product
        )

    def reset_user(self, user_id: str) -> None:
        """Forget a user's sessions and email. The context store keeps what it has of the sessions."""
        with self._lock:
            self._users.pop(identifier(user_id), None)

    def _remember(self, user_id: str, seen: Seen[str], since: float) -> None:
        memory = self._users.get(user_id)
        if memory is None:
            memory = self._users[user_id] = UserMemory()
        self._users.move_to_end(user_id)
        memory.add(seen)
        memory.forget_before(since)
        memory.bound_sessions(self._max_sessions * HELD_PER_LISTED)

    def _drop_unseen(self, since: float) -> None:
        # Nobody is seen later than their last payload came in, so no one waits behind a first user for longer than a
        # lookback after that; and each user is dropped once.
        while self._users and next(iter(self._users.values())).newest < since:
            self._users.popitem(last=False)
