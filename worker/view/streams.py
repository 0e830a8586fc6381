"""Server-sent events: what is known of a user, now and after every change, for as long as somebody listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from worker.view.answers import ContextAnswer, answer_id
from worker.view.async_view import AsyncUserContextView
from worker.view.status import ViewStatus

HEARTBEAT = b": still here\n\n"
BEGIN = b"retry: 2000\n\n"


@dataclass(frozen=True, slots=True)
class Question:
    """What a stream is about."""

    user_id: str
    product_id: str | None = None
    query: str | None = None


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """`longest_s`: a listener has to ask again now and then, so that a token that was taken back ends a stream."""

    heartbeat_s: float = 15.0
    longest_s: float = 3600.0
    limit: int = 10_000


class Streams:
    """All streams of one service. Whoever is slower than the changes gets the newest one: nothing is queued."""

    def __init__(self, view: AsyncUserContextView, policy: StreamPolicy) -> None:
        self.open = 0
        self._view = view
        self._policy = policy
        self._waiting: set[asyncio.Event] = set()
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        return self.open >= self._policy.limit

    async def events(self, question: Question, last_id: str | None) -> AsyncGenerator[bytes, None]:
        """Events until the listener goes, its time is over, the service closes, or the view has failed.

        The first tells what is known now, unless it is what the listener has seen last. A heartbeat comes after each
        silence, and what has expired meanwhile is told then.
        """
        self.open += 1
        ends_at = time.monotonic() + self._policy.longest_s
        try:
            with self._view.watching(question.user_id) as changed:
                self._waiting.add(changed)
                try:
                    yield BEGIN
                    while True:
                        changed.clear()
                        now_id, event = self._event(question)
                        yield HEARTBEAT if now_id == last_id else event
                        last_id = now_id
                        with suppress(TimeoutError):
                            async with asyncio.timeout(self._policy.heartbeat_s):
                                await changed.wait()
                        if self._is_over(ends_at):
                            return
                finally:
                    self._waiting.discard(changed)
        finally:
            self.open -= 1

    def close(self) -> None:
        """End all of them."""
        self._is_closed = True
        for changed in self._waiting:
            changed.set()

    def _is_over(self, ends_at: float) -> bool:
        return self._is_closed or time.monotonic() >= ends_at or self._view.status is ViewStatus.FAILED

    def _event(self, question: Question) -> tuple[str, bytes]:
        record = self._view.get(question.user_id, question.product_id)
        now_id = answer_id(record)
        data = b"null"
        if record is not None:
            data = ContextAnswer.of(record, question.query, self._view.status).to_json()
        return now_id, b"id: " + now_id.encode() + b"\nevent: context\ndata: " + data + b"\n\n"
