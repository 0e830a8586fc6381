"""A chat service's views over the broker of lists."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.fakes.broker import FakeBroker, FakeClock
from tests.fakes.view_reader import FakeViewReader
from tests.payloads import NOW, ManualClock
from worker.kafka import KafkaError
from worker.view import UserContextView

TOPIC, SESSIONS = "context", "sessions"
PARTITIONS = 4


class LiveClock(FakeClock):
    """A broker's clock for a reader on a thread of its own: a pause is a short real one."""

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.002))


class Chat:
    """Views over a broker of lists, and a clock."""

    def __init__(self) -> None:
        self.broker = FakeBroker({TOPIC: PARTITIONS, SESSIONS: PARTITIONS}, LiveClock(NOW))
        self.clock = ManualClock(NOW)
        self.views: list[UserContextView] = []
        self.readers: list[FakeViewReader] = []

    def view(self, **more: Any) -> UserContextView:
        def make(on_statistics: Callable[[str], None], on_error: Callable[[KafkaError], None]) -> FakeViewReader:
            self.readers.append(FakeViewReader(self.broker, on_statistics, on_error))
            return self.readers[-1]

        self.views.append(UserContextView("nowhere:1", TOPIC, clock=self.clock, make_consumer=make, **more))
        return self.views[-1]

    def ready(self, **more: Any) -> UserContextView:
        view = self.view(**more).start()
        view.wait_ready(10)
        return view

    def write(self, user: str, value: bytes | None) -> None:
        self.broker.append(TOPIC, user.encode(), value)

    def write_session(self, session_id: str, value: bytes | None) -> None:
        self.broker.append(SESSIONS, session_id.encode(), value)


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)
