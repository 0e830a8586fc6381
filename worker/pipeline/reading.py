"""A record of the input topic as the by_session stage takes it: the one place that decides what a value is."""

from __future__ import annotations

from schemas.codec import Payload, Skip, read_ids, read_payload
from worker.context.session_memory import source_of
from worker.pipeline.event_time import event_time
from worker.pipeline.repartition import RoutedPayload

NOT_READ = b""


class Unread(RoutedPayload, gc=False):
    """One of which only the ids are here: its text, conversation and email are still in the `value`."""

    value: bytes

    def whole(self) -> RoutedPayload:
        """Read the rest, too."""
        payload = read_payload(self.value)
        assert isinstance(payload, Payload)  # it has a session id
        return arrival_of(payload, self.source, self.event_time, self.stream_time)


Arrival = RoutedPayload  # read, or `Unread`; its user is who the payload names, "" = nobody


class Reader:
    """The records of one input partition. `clamped`: of how many the time was not believed. `sound_from`: what a task
    read before, from this offset on, it did not refuse."""

    def __init__(self, partition: int, max_clock_skew_s: float, sound_from: int) -> None:
        self.clamped = 0
        self._first_source = source_of(partition, 0)
        self._max_clock_skew_s = max_clock_skew_s
        self._sound_from = sound_from

    def read(self, offset: int, value: bytes | None, timestamp: float | None, now: float) -> RoutedPayload | Skip:
        """The payload with its times, or why the record is nobody's context. `timestamp` and the wall clock `now` in
        Unix seconds; None = the record has no timestamp.

        Raises:
            InvalidPayload: the record is a dead letter.
        """
        payload = read_payload(value)
        if isinstance(payload, Skip):
            return payload
        at, stream_time, clamped = event_time(payload.forwarded_at, timestamp, now, self._max_clock_skew_s)
        if clamped:
            self.clamped += 1
        return arrival_of(payload, self._first_source + offset, at, stream_time)

    def read_again(self, offset: int, value: bytes | None, timestamp: float | None, now: float) -> Unread | Skip:
        """The same of a record that is restored: whose a session is its ids tell, so no text is made, and of what was
        sound no more is read.

        Raises:
            InvalidPayload: the record is a dead letter.
        """
        ids = read_ids(value) if offset >= self._sound_from else read_payload(value)
        if isinstance(ids, Skip):
            return ids
        assert value is not None  # that would be skipped
        at, stream_time, _ = event_time(ids.forwarded_at, timestamp, now, self._max_clock_skew_s)
        source = self._first_source + offset
        return Unread(ids.product_id, ids.session_id, at, source, NOT_READ, 0, "", "", ids.user_id, stream_time, value)


def arrival_of(payload: Payload, source: int, at: float, stream_time: float) -> RoutedPayload:
    """A payload with its place and times."""
    return RoutedPayload(
        payload.product_id,
        payload.session_id,
        at,
        source,
        payload.text(),
        len(payload.actions),
        payload.conversation_id,
        payload.email,
        payload.user_id,
        stream_time,
    )
