"""Endless traffic in which everybody leaves for good after a while: what is remembered must go with them."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from tests.acceptance.records import Sent
from tests.acceptance.topic_log import Feed
from worker.partitioner import partition_of

TICK_S = 0.05
AT_ONCE = 300  # sessions that are on at any time
STAYS = 40  # payloads of a session
NOT_JSON = 0.005  # share of the records


class Crowd:
    """Sessions that come, are anonymous at first, act, and never come again. Each has a user of its own."""

    def __init__(self, partitions: int, seed: int = 1) -> None:
        self._partitions = partitions
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        self._here = [next(self._numbers) for _ in range(AT_ONCE)]
        self._left = [self._rng.randint(1, STAYS) for _ in range(AT_ONCE)]

    def records(self, count: int, now: float) -> Iterator[Sent]:
        """What they do now."""
        for _ in range(count):
            place = self._rng.randrange(AT_ONCE)
            if not self._left[place]:
                self._here[place], self._left[place] = next(self._numbers), STAYS
            self._left[place] -= 1
            yield self._record(self._here[place], self._left[place], now)

    def _record(self, number: int, left: int, now: float) -> Sent:
        key = f"session-{number}".encode()
        action = {"type": "click", "description": f"User clicked {left}", "canonical_url": "https://x/", "index": left}
        document = {
            "session_id": key.decode(),
            "product_id": "acme",
            "user_id": f"user-{number}" if left < STAYS - 5 else None,
            "forwarded_at": now,
            "actions": [action] * 3,
        }
        value = b"no json" if self._rng.random() < NOT_JSON else json.dumps(document).encode()
        return Sent(partition_of(key, self._partitions), key, value, (), round(now * 1000))


class Traffic(Protocol):
    """Somebody who does something."""

    def records(self, count: int, now: float) -> Iterator[Sent]:
        """What is done now."""


class Steady:
    """Sends so many records a second from a thread of its own, until `stop`."""

    def __init__(self, feed: Feed, crowd: Traffic, per_s: float) -> None:
        self._feed = feed
        self._crowd = crowd
        self._per_s = per_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.sent = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._feed.flush()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stopping.wait(TICK_S):
            due = int((time.monotonic() - began) * self._per_s) - self.sent
            self._feed.send(self._crowd.records(due, time.time()))
            self.sent += due
