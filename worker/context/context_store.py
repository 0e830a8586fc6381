"""The public store of what happened in each session: a lock and a clock around `SessionTable`.

The names are the SDK's (`autoplay_sdk.context.context_store`).
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypedDict, Unpack

from schemas.actions import identifier
from schemas.user_context import enriched_query
from worker.context.payload import PayloadLike, event_time, text_of
from worker.context.session_memory import NEVER, activity_text
from worker.context.session_table import HeldSession, SessionTable


def wall_clock() -> float:
    """Unix seconds."""
    return time.time()


class Summarizer(Protocol):
    """Whatever calls its `on_summary(session_id, text)` with a new summary."""

    on_summary: Any


class ReadOverrides(TypedDict, total=False):
    """What one call of `get` or `enrich` may set otherwise than the store."""

    include_summary: bool
    include_actions: bool
    lookback_seconds: float | None
    max_actions: int | None


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """What of a session is read: None is no limit."""

    include_summary: bool
    include_actions: bool
    lookback_seconds: float | None
    max_actions: int | None

    def __post_init__(self) -> None:
        if self.lookback_seconds is not None and not self.lookback_seconds > 0:
            raise ValueError(
                f"lookback_seconds must be greater than 0 (or None for no limit), got {self.lookback_seconds}"
            )
        if self.max_actions is not None and self.max_actions < 1:
            raise ValueError(f"max_actions must be at least 1 (or None for no limit), got {self.max_actions}")


class _Store:
    """What both stores share: the memory and the reading of it."""

    def __init__(
        self,
        summarizer: Summarizer | None = None,
        *,
        include_summary: bool = True,
        include_actions: bool = True,
        lookback_seconds: float | None = None,
        max_actions: int | None = None,
        max_sessions: int | None = None,
        clock: Callable[[], float] = wall_clock,
    ) -> None:
        if max_sessions is not None and max_sessions < 1:
            raise ValueError(f"max_sessions must be at least 1 (or None for no limit), got {max_sessions}")
        self._policy = ReadPolicy(include_summary, include_actions, lookback_seconds, max_actions)
        self._table = SessionTable(lookback_seconds, max_sessions)
        self._clock = clock
        self._lock = threading.Lock()
        if summarizer is not None:
            self._listen_to(summarizer)

    def get(self, session_id: str, *, product_id: str | None = None, **overrides: Unpack[ReadOverrides]) -> str:
        """The context of a session: `Summary: …`, a blank line, `Recent activity:` and the actions, oldest first.

        "" when nothing is known. Without `product_id` the session without a product is meant; if there is none, that of
        the only product that has the session; if several have it, none. An override of `lookback_seconds` or
        `max_actions` applies to the actions; what is older than the store's own lookback is gone whatever it says.

        Raises:
            ValueError: an override is out of range.
        """
        policy = replace(self._policy, **overrides)
        with self._lock:
            now = self._clock()
            session = self._table.find(identifier(session_id), identifier(product_id), now)
            if session is None:
                return ""
            summary = session.summary if policy.include_summary else ""
            lines = self._lines(session, policy, now) if policy.include_actions else []
        parts = [f"Summary: {summary}" if summary else "", activity_text(lines)]
        return "\n\n".join([part for part in parts if part])

    def enrich(
        self, session_id: str, query: str, *, product_id: str | None = None, **overrides: Unpack[ReadOverrides]
    ) -> str:
        """The session's context and then the query, as a prompt; the bare query when nothing is known."""
        context = self.get(session_id, product_id=product_id, **overrides)
        return enriched_query(query, context)

    def reset(self, session_id: str, *, product_id: str | None = None) -> None:
        """Forget a session: the one that `get` would read."""
        with self._lock:
            self._table.remove(identifier(session_id), identifier(product_id), self._clock())

    @property
    def active_sessions(self) -> list[str]:
        """The ids of the sessions with an action or a summary, sorted; one that several products have stands once."""
        with self._lock:
            return self._table.session_ids(self._clock())

    def _lines(self, session: HeldSession, policy: ReadPolicy, now: float) -> list[str]:
        lookbacks = [s for s in (self._policy.lookback_seconds, policy.lookback_seconds) if s is not None]
        since = now - min(lookbacks) if lookbacks else NEVER
        return session.memory.lines_since(since, policy.max_actions)

    def _add(self, payload: PayloadLike) -> None:
        product_id, session_id = identifier(payload.product_id), identifier(payload.session_id)
        if not session_id:
            return
        text, actions = text_of(payload), len(payload.actions)
        with self._lock:
            now = self._clock()
            self._table.add((product_id, session_id), event_time(payload, now), text, actions, now)

    def _summarize(self, session_id: str, text: str, product_id: str | None) -> None:
        session = identifier(session_id)
        if not session:
            return
        with self._lock:
            self._table.summarize(session, identifier(product_id), text, self._clock())

    def _listen_to(self, summarizer: Summarizer) -> None:
        if getattr(summarizer, "on_summary", None) is not None:
            warnings.warn(
                "the summarizer's on_summary was set: the store takes its place, what was there is called no more",
                stacklevel=3,
            )
        summarizer.on_summary = self.on_summary  # type: ignore[attr-defined]  # both stores have one, of their own kind


class ContextStore(_Store):
    """What happened in each session, by product: for threads.

    `add` and `on_summary` fit as callbacks, `get` and `enrich` read at any time. A payload counts at its
    `forwarded_at`, or at its arrival where that is missing, zero, negative or ahead of the clock; actions are listed by
    that time, then arrival. A payload without a session id is nobody's and ignored. Texts are copied at `add`.

    `lookback_seconds` bounds what is held: older payloads go, and so does a session, with its summary, to which nothing
    was added for so long. `max_sessions` bounds the number of sessions: the one written to longest ago goes first.
    Without either the store grows with the sessions. `max_actions` bounds what is read, not what is held.
    """

    def add(self, payload: PayloadLike) -> None:
        """Remember a payload."""
        self._add(payload)

    def on_summary(self, session_id: str, text: str, *, product_id: str | None = None) -> None:
        """Remember the latest summary of a session, in place of the one before; the actions stay.

        Without `product_id` (a summarizer knows session ids only) it belongs to the one product that has the session;
        where none has it yet, to the first that comes; where several have it, to the session without a product, so that
        one product's summary never shows up in another.
        """
        self._summarize(session_id, text, product_id)


class AsyncContextStore(_Store):
    """`ContextStore` for asyncio: `add` and `on_summary` are coroutines, reading stays a plain call.

    The lock is a thread's and is held for microseconds, never across an await.
    """

    async def add(self, payload: PayloadLike) -> None:
        """As `ContextStore.add`."""
        self._add(payload)

    async def on_summary(self, session_id: str, text: str, *, product_id: str | None = None) -> None:
        """As `ContextStore.on_summary`."""
        self._summarize(session_id, text, product_id)
