"""What the repartition topic tells before a replay: who was erased, up to when, and how far time has come. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from worker.context.session_memory import NEVER
from worker.pipeline.repartition import PUBLISH_AGAIN, Reset, RoutedPayload


class RepartitionLog:
    """A fold over the whole topic: the records of each partition in the order of their offsets."""

    def __init__(self) -> None:
        self.marks: dict[str, float] = {}  # user to the time up to which they are erased
        self.stream_times: dict[int, float] = {}  # partition to the largest stream time in it
        self.first_timestamps: dict[int, float] = {}  # partition to the timestamp of its first record
        self._marks: dict[tuple[int, str], float] = {}
        self._newest: dict[tuple[int, str], float] = {}

    def add(self, partition: int, timestamp: float, record: list[RoutedPayload] | Reset) -> None:
        """One record. `timestamp` is its own, Unix seconds."""
        self.first_timestamps.setdefault(partition, timestamp)
        if not isinstance(record, Reset):
            for routed in record:
                self._add(partition, routed)
            return
        user = (partition, record.user_id)  # a user's home changes when partitions are added
        if record.mark is None:
            self._erase(user, max(timestamp, self._newest.get(user, NEVER)))
        elif record.mark != PUBLISH_AGAIN:
            self._erase(user, record.mark)

    def _add(self, partition: int, record: RoutedPayload) -> None:
        user = (partition, record.user_id)
        self.stream_times[partition] = max(self.stream_times.get(partition, NEVER), record.stream_time)
        if record.event_time > max(self._newest.get(user, NEVER), self._marks.get(user, NEVER)):
            self._newest[user] = record.event_time

    def _erase(self, user: tuple[int, str], mark: float) -> None:
        """What counts is the reset's time, or the newest event of the user that counted by then; never less."""
        self._marks[user] = max(self._marks.get(user, NEVER), mark)
        self.marks[user[1]] = max(self.marks.get(user[1], NEVER), mark)


def resets_deleted_before(first_timestamps: Mapping[int, float], log_starts: Mapping[int, int], now: float) -> float:
    """The time (Unix seconds) before which resets may have been deleted from the topic; NEVER where nothing was."""
    return max((first_timestamps.get(number, now) for number, start in log_starts.items() if start > 0), default=NEVER)
