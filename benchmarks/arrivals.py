"""Which payloads have arrived, and how long each took. Pure: times are arguments."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import NamedTuple


class Sent(NamedTuple):
    """A payload on its way: its event time (Unix seconds), when it was sent (monotonic seconds), and in which phase."""

    event_time: float
    sent_at: float
    phase: str


class Arrivals:
    """Payloads of a session arrive in order; a record that tells of a later one tells of those before it, too."""

    def __init__(self) -> None:
        self._pending: defaultdict[str, deque[Sent]] = defaultdict(deque)
        self._latencies_s: defaultdict[str, list[float]] = defaultdict(list)
        self.waiting = 0

    def sent(self, session_id: str, payload: Sent) -> None:
        """A payload was handed to the producer."""
        self._pending[session_id].append(payload)
        self.waiting += 1

    def seen(self, session_id: str, last_seen_at: float, now: float) -> None:
        """A record came that tells of a session up to an event time. `now` is monotonic."""
        pending = self._pending.get(session_id)
        while pending and pending[0].event_time <= last_seen_at:
            payload = pending.popleft()
            self._latencies_s[payload.phase].append(now - payload.sent_at)
            self.waiting -= 1

    def latencies_ms(self, phase: str) -> list[float]:
        """How long the payloads of a phase took, the fastest first."""
        return sorted(1000 * seconds for seconds in self._latencies_s[phase])
