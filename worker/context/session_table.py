"""The sessions that one store holds, each within its product, and which of them a session id alone means."""

from __future__ import annotations

from collections import OrderedDict

from worker.context.session_memory import NEVER, Seen, SessionMemory
from worker.context.user_memory import SessionKey

NO_PRODUCT = ""


class HeldSession:
    """What a store holds of one session: its payloads, and the latest summary ("" for none)."""

    __slots__ = ("memory", "summary")

    def __init__(self) -> None:
        self.memory: SessionMemory[str] = SessionMemory()
        self.summary = ""

    def says_something(self, since: float) -> bool:
        return bool(self.summary) or bool(self.memory.lines_since(since, 1))


class SessionTable:
    """Sessions in the order in which they were last written to. Not thread-safe; event times are never ahead of `now`.

    With a lookback, a session that nothing was written to for so long is gone, with its summary; each write drops what
    is gone by then, so the work is constant on average. Beyond `max_sessions` the one written to longest ago goes.
    """

    def __init__(self, lookback_seconds: float | None, max_sessions: int | None) -> None:
        self._lookback_seconds = lookback_seconds
        self._max_sessions = max_sessions
        self._sessions: OrderedDict[SessionKey, HeldSession] = OrderedDict()
        self._products: dict[str, set[str]] = {}  # session id to the products that have it, of all sessions held
        self._arrivals = 0

    def add(self, key: SessionKey, event_time: float, text: str, actions: int, now: float) -> None:
        """Remember a payload; one that is older than the lookback changes nothing."""
        since = self._since(now)
        self._drop_gone(since)
        if event_time < since:
            return
        memory = self._written(key, since).memory
        self._arrivals += 1
        memory.add(Seen(*key, event_time, self._arrivals, text, actions, "", ""))
        memory.forget_before(since)

    def summarize(self, session_id: str, product_id: str, summary: str, now: float) -> None:
        """Remember the latest summary of a session.

        Without a product it belongs to the one product that has the session; where none has it yet, to the first that
        comes; where several have it, to the session without a product.
        """
        since = self._since(now)
        self._drop_gone(since)
        key = self._meant(session_id, product_id, since) or (product_id, session_id)
        session = self._written(key, since)
        session.summary = summary
        session.memory.last_seen_at = max(session.memory.last_seen_at, now)

    def find(self, session_id: str, product_id: str, now: float) -> HeldSession | None:
        """The session of that product. Without a product: the one that has none, else that of the only product that has
        it, else (several have it) None.
        """
        key = self._meant(session_id, product_id, self._since(now))
        return None if key is None else self._sessions[key]

    def remove(self, session_id: str, product_id: str, now: float) -> None:
        """Forget what `find` finds."""
        key = self._meant(session_id, product_id, self._since(now))
        if key is not None:
            self._drop(key)

    def session_ids(self, now: float) -> list[str]:
        """The ids of the sessions with an action or a summary, sorted."""
        since = self._since(now)
        return sorted(
            {
                session_id
                for (_, session_id), session in self._sessions.items()
                if session.memory.last_seen_at >= since and session.says_something(since)
            }
        )

    def _since(self, now: float) -> float:
        return NEVER if self._lookback_seconds is None else now - self._lookback_seconds

    def _meant(self, session_id: str, product_id: str, since: float) -> SessionKey | None:
        having = [
            product
            for product in self._products.get(session_id, ())
            if self._sessions[(product, session_id)].memory.last_seen_at >= since
        ]
        if product_id in having:
            return (product_id, session_id)
        if product_id == NO_PRODUCT and len(having) == 1:
            return (having[0], session_id)
        return None

    def _written(self, key: SessionKey, since: float) -> HeldSession:
        session = self._sessions.get(key)
        if session is not None:
            self._sessions.move_to_end(key)
            return session
        session = HeldSession()
        product_id, session_id = key
        session.summary = self._waiting_summary(session_id, since)
        self._sessions[key] = session
        self._products.setdefault(session_id, set()).add(product_id)
        if self._max_sessions is not None and len(self._sessions) > self._max_sessions:
            self._drop(next(iter(self._sessions)))
        return session

    def _waiting_summary(self, session_id: str, since: float) -> str:
        """Take the summary that came without a product before any product had the session."""
        if self._products.get(session_id) != {NO_PRODUCT}:
            return ""
        key = (NO_PRODUCT, session_id)
        session = self._sessions[key]
        if not session.memory.is_empty:
            return ""
        self._drop(key)
        return session.summary if session.memory.last_seen_at >= since else ""

    def _drop_gone(self, since: float) -> None:
        while self._sessions:
            key, session = next(iter(self._sessions.items()))
            if session.memory.last_seen_at >= since:
                return
            self._drop(key)

    def _drop(self, key: SessionKey) -> None:
        del self._sessions[key]
        product_id, session_id = key
        products = self._products[session_id]
        products.remove(product_id)
        if not products:
            del self._products[session_id]
