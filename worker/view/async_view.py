"""The view for asyncio: what waits is a coroutine, and nothing blocks the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from schemas.actions import identifier
from schemas.user_context import UserContext
from worker.view.reads import ContextReads
from worker.view.status import ViewStatus
from worker.view.user_context_view import UserContextView, ViewStats


class AsyncUserContextView(ContextReads):
    """`UserContextView` for asyncio, with the same contract, arguments and reads: those never wait, so they are plain
    calls.

        async with AsyncUserContextView("localhost:9092") as view:
            await view.wait_ready(30)
            prompt = view.enrich("user_456", "How do I add a seat?")
            async for record in view.changes("user_456"): ...

    The reading is done by a thread, which takes turns with the loop as Python's threads do (every 5 ms). For one loop.
    """

    def __init__(
        self,
        bootstrap_servers: str = "localhost:9092",
        topic: str = "autoplay.user-context",
        *,
        session_topic: str | None = None,
        partitions: Collection[int] | None = None,
        kafka: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        view = UserContextView(
            bootstrap_servers, topic, session_topic=session_topic, partitions=partitions, kafka=kafka, clock=clock
        )
        self._begin(view)

    @classmethod
    def over(cls, view: UserContextView) -> Self:
        """The async face of a view."""
        self = cls.__new__(cls)
        self._begin(view)
        return self

    def _begin(self, view: UserContextView) -> None:
        super().__init__(view._table, view._clock, view._share, view._count, view._visitors)  # noqa: SLF001 - one thing
        self._view = view
        self._waiting: dict[str, set[asyncio.Event]] = {}  # by the user whose changes they wait for
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: Callable[[], None] | None = None

    async def start(self) -> Self:
        """Begin to read. Returns at once."""
        self._view.start()
        return self

    async def wait_ready(self, timeout: float | None = None) -> None:
        """As `UserContextView.wait_ready`."""
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._view.ready)), timeout)
        except TimeoutError:
            raise self._view.not_ready(timeout) from None

    async def close(self) -> None:
        """As `UserContextView.close`."""
        if self._end is not None:
            self._end()
        await asyncio.to_thread(self._view.close)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def status(self) -> ViewStatus:
        return self._view.status

    @property
    def stats(self) -> ViewStats:
        return self._view.stats

    async def changes(self, user_id: str, product_id: str | None = None) -> AsyncGenerator[UserContext | None, None]:
        """What is known of a user now, and again after each change; None when that is nothing. Endless.

        Who is slower than the changes gets the newest one: none is queued.

        Raises:
            NotInShare: another instance holds the user.
        """
        with self.watching(user_id) as changed:
            while True:
                changed.clear()
                yield self.get(user_id, product_id)
                await changed.wait()

    @contextmanager
    def watching(self, user_id: str) -> Iterator[asyncio.Event]:
        """An event that every change of the user sets; whoever waits for it clears it."""
        if self._end is None:
            self._loop = asyncio.get_running_loop()
            self._end = self._view.on_batch(self._tell)
        user_id, changed = identifier(user_id), asyncio.Event()
        waiting = self._waiting.setdefault(user_id, set())
        waiting.add(changed)
        try:
            yield changed
        finally:
            waiting.discard(changed)
            if not waiting and self._waiting.get(user_id) is waiting:
                del self._waiting[user_id]

    @property
    def ready(self) -> Future[None]:
        """As `UserContextView.ready`."""
        return self._view.ready

    def _tell(self, user_ids: list[str]) -> None:
        """On the view's thread: one call to the loop for a batch, and none where nobody waits."""
        waited_for = [user_id for user_id in user_ids if user_id in self._waiting]
        if waited_for and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, waited_for)

    def _wake(self, user_ids: list[str]) -> None:
        for user_id in user_ids:
            for changed in self._waiting.get(user_id, ()):
                changed.set()
