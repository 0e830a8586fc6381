"""Which sessions were confirmed when: the one confirmed longest ago decides where a restore begins."""

from __future__ import annotations

from collections import deque

from worker.pipeline.session import NOT_CONFIRMED, Session

LEAST_TO_TIDY = 64


class Confirmations:
    """A log of confirmations in offset order. An entry counts as long as no later one of its session is here, that is
    while it has the offset that the session has. The others are cleared away when the log has become twice as long as
    without them. A quarter of the memory that an ordered dict of the sessions takes (measured)."""

    def __init__(self) -> None:
        self._sessions: deque[Session] = deque()
        self._offsets: deque[int] = deque()
        self._tidy_at = LEAST_TO_TIDY

    def __len__(self) -> int:
        return len(self._sessions)

    def note(self, session: Session) -> None:
        """It was confirmed at its `confirmed_offset`."""
        self._sessions.append(session)
        self._offsets.append(session.confirmed_offset)
        if len(self._offsets) > self._tidy_at:
            self._tidy()

    def oldest(self, stream_time: float, span: float) -> Session | None:
        """The session that was confirmed longest ago, but no longer than `span` (seconds)."""
        while self._sessions:
            session = self._sessions[0]
            if session.confirmed_offset == self._offsets[0]:
                if stream_time - session.confirmed_at <= span:
                    return session
                session.confirmed_offset = NOT_CONFIRMED
            self._sessions.popleft()
            self._offsets.popleft()
        return None

    def _tidy(self) -> None:
        """In place: a copy of a long log would be the largest thing in the process."""
        sessions, offsets = self._sessions, self._offsets
        for _ in range(len(offsets)):
            session, offset = sessions.popleft(), offsets.popleft()
            if session.confirmed_offset == offset:
                sessions.append(session)
                offsets.append(offset)
        self._tidy_at = 2 * len(offsets) + LEAST_TO_TIDY
