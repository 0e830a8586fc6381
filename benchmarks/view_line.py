"""A line whose far end is a chat service's view: a payload has arrived when the view's callback tells of it."""

from __future__ import annotations

import queue
import time

from benchmarks.line import Line, Telling, Watched, everybody
from benchmarks.subjects import Subject
from benchmarks.topics import Broker
from schemas.user_context import UserContext
from worker.view import UserContextView

READY_S = 60.0


class ViewLine(Line):
    """The time of an arrival is taken in the callback, on the view's thread, with the clock that the sender reads."""

    def __init__(self, broker: Broker, subject: Subject, telling: Telling, is_watched: Watched = everybody) -> None:
        super().__init__(broker, subject, telling, is_watched)
        self._told: queue.SimpleQueue[tuple[float, UserContext]] = queue.SimpleQueue()
        self._view = UserContextView(broker.bootstrap_servers, subject.output).start()
        self._view.wait_ready(READY_S)
        self._view.on_change(self._note)

    def close(self) -> None:
        self._view.close()
        super().close()

    def _note(self, _user_id: str, context: UserContext | None) -> None:
        if context is not None:
            self._told.put((time.monotonic(), context))

    def _receive(self, timeout_s: float) -> None:
        try:
            told = self._told.get(timeout=timeout_s) if timeout_s else self._told.get_nowait()
        except queue.Empty:
            return
        while True:
            at, context = told
            for session in context.sessions:
                self.arrivals.seen(session.session_id, session.last_seen_at, at)
            if self._told.empty():
                return
            told = self._told.get_nowait()
