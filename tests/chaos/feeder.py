"""Steady traffic: the records of a plan, spread over real time, whatever happens to the brokers meanwhile."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence

from tests.acceptance.oracle import OracleSettings, partition_of
from tests.acceptance.records import Headers, Sent
from tests.acceptance.topic_log import Feed

TICK_S = 0.05
MARK_HEADER = "mark"  # of a reset that erases up to a time and no more, as a replay writes it: form 1, Unix seconds
MARK_FORM = struct.Struct(">Bd")


class Feeder:
    """Sends from a thread of its own, in order within a partition. `close` sends what is left and waits for it."""

    def __init__(self, feed: Feed, records: Sequence[Sent], duration_s: float) -> None:
        self._feed = feed
        self._records = records
        self._duration_s = duration_s
        self._sent = bytearray(len(records))
        self._position = 0
        self._began = 0.0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def start(self) -> None:
        """From now on."""
        self._began = time.monotonic()
        self._thread.start()

    @property
    def traffic_time(self) -> float:
        """The time in the traffic's own terms, Unix seconds."""
        at = min(self._position, len(self._records) - 1)
        return self._records[at].timestamp_ms / 1000

    def run_ahead(self, partition: int) -> int:
        """Send half of what is left of one partition at once; how many records."""
        with self._lock:
            until = self._position + (len(self._records) - self._position) // 2
            return self._send(range(self._position, until), only=partition)

    def close(self) -> None:
        """All of it is on the topic when this returns; fails when something was refused."""
        self._stopping.set()
        self._thread.join()
        self._advance(len(self._records))
        self._feed.flush()

    def _run(self) -> None:
        while not self._stopping.wait(TICK_S):
            passed = (time.monotonic() - self._began) / self._duration_s
            self._advance(min(len(self._records), int(passed * len(self._records))))

    def _advance(self, until: int) -> None:
        with self._lock:
            if until > self._position:
                self._send(range(self._position, until))
                self._position = until

    def _send(self, places: range, only: int | None = None) -> int:
        due = [at for at in places if not self._sent[at] and only in (None, self._records[at].partition)]
        self._feed.send(self._records[at] for at in due)
        for at in due:
            self._sent[at] = True
        return len(due)


class Resets:
    """Writes resets to the repartition topic, as `reset-user` and a replay do."""

    def __init__(self, feed: Feed, partitions: int) -> None:
        self._feed = feed
        self._settings = OracleSettings(repartition_partitions=partitions)

    def write(self, user_id: str, mark: float | None) -> None:
        """Erase a user up to `mark`; None = up to now, and all that is known."""
        headers: Headers = () if mark is None else ((MARK_HEADER, MARK_FORM.pack(1, mark)),)
        self._feed.send([Sent(partition_of(user_id, self._settings), user_id.encode(), None, headers, 0)])

    def close(self) -> None:
        """All of them are on the topic when this returns."""
        self._feed.flush()
