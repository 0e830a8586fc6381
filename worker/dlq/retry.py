"""Send dead letters again: each to the partition that it came from, byte for byte, with one more in its count.

Every second: flush, then commit what was delivered. A retry that is killed in between sends those letters twice when it
is run again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from schemas.dead_letter import retry_headers
from worker.dlq.letter import Letter, letter_of
from worker.dlq.plan import Plan
from worker.dlq.retry_group import RetryGroup
from worker.kafka import KafkaError, KafkaException, Message, refuses_record, translate
from worker.producing import QUEUE_FULL_WAIT_S, open_producer, require_delivery
from worker.settings import Settings
from worker.topic_policy import Topic
from worker.topic_reader import TopicReader

SETTLE_EVERY_S = 1.0
SHOWN_REFUSALS = 5
BY_KEY = -1  # the partitioner decides

Place = tuple[int, int]  # partition and offset on the dead-letter topic


@dataclass(slots=True)
class Sent:
    """What became of the letters. `refusals` holds the first few, `refused` counts all."""

    delivered: int = 0
    refused: int = 0
    gone: int = 0  # deleted while they were about to be sent
    refusals: list[str] = field(default_factory=list)


class Retry:
    """Does what a plan says."""

    def __init__(self, settings: Settings, dead_letters: Topic, source: Topic, plan: Plan, group: RetryGroup) -> None:
        self._settings = settings
        self._dead_letters = dead_letters
        self._source = source
        self._plan = plan
        self._group = group
        self._producer = open_producer(settings, source)
        self._sent = Sent()
        self._in_flight: list[Place] = []
        self._failed: set[Place] = set()
        self._error: KafkaError | None = None  # why deliveries failed that no letter is to blame for

    def run(self, progress: Callable[[int], None]) -> Sent:
        """Send all; `progress` gets how many are dealt with.

        Raises:
            WorkerError: the broker does not answer or refuses. What was delivered by then is kept as sent.
        """
        self._group.commit({number: self._plan.ledgers[number].mark() for number in self._plan.offsets})
        with TopicReader(self._settings, self._dead_letters.name) as reader:
            try:
                for partition, offsets in self._plan.offsets.items():
                    self._send_partition(reader, partition, deque(offsets), progress)
            finally:  # also when Ctrl-C ends it
                self._settle(progress)
        return self._sent

    def _send_partition(
        self, reader: TopicReader, partition: int, left: deque[int], progress: Callable[[int], None]
    ) -> None:
        settle_at = time.monotonic() + SETTLE_EVERY_S
        for message in reader.to_end({partition: left[0]}):
            while left and left[0] < (message.offset() or 0):
                left.popleft()
                self._sent.gone += 1
            if left and left[0] == message.offset():
                left.popleft()
                self._send(message)
            if not left:
                return
            if time.monotonic() > settle_at:
                self._settle(progress)
                settle_at = time.monotonic() + SETTLE_EVERY_S
        self._sent.gone += len(left)

    def _send(self, message: Message) -> None:
        letter = letter_of(message)
        assert letter is not None, "the plan holds dead letters only"
        place = letter.partition, letter.offset
        home = letter.why.source_partition
        headers: list[tuple[str, str | bytes | None]] = [*retry_headers(letter.headers)]
        while True:
            try:
                self._producer.produce(
                    self._source.name,
                    letter.value,
                    letter.key,
                    home if home < self._source.partitions else BY_KEY,
                    on_delivery=partial(self._report, place),
                    timestamp=_timestamp(letter),
                    headers=headers,
                )
            except BufferError:  # the queue is full: the broker is slower than the reading
                self._producer.poll(QUEUE_FULL_WAIT_S)
            except KafkaException as exc:
                raise translate(exc, f"writing to {self._source.name}") from exc
            else:
                self._in_flight.append(place)
                self._producer.poll(0)
                return

    def _report(self, place: Place, error: KafkaError | None, _message: Message) -> None:
        """Called for failures only (delivery.report.only.error), inside poll and flush."""
        if error is None:
            return
        self._failed.add(place)
        if not refuses_record(error):
            self._error = self._error or error
            return
        self._sent.refused += 1
        if len(self._sent.refusals) < SHOWN_REFUSALS:
            self._sent.refusals.append(f"partition {place[0]}, offset {place[1]}: {error.str()}")

    def _settle(self, progress: Callable[[int], None]) -> None:
        """Deliver what is queued, and keep it as sent.

        Raises:
            WorkerError: something was not delivered, and no letter is to blame.
        """
        left = self._producer.flush(self._settings.delivery_timeout_ms / 1000 + 1)
        delivered = [] if left else [place for place in self._in_flight if place not in self._failed]
        self._in_flight = []
        for partition, offset in delivered:
            self._plan.ledgers[partition].note_sent(offset)
        self._sent.delivered += len(delivered)
        touched = {partition for partition, _ in delivered}
        if touched:
            self._group.commit({partition: self._plan.ledgers[partition].mark() for partition in touched})
        progress(self._sent.delivered + self._sent.refused + self._sent.gone)
        doing = f"writing to {self._source.name} ({self._sent.delivered} letters were delivered)"
        require_delivery(self._error, left, doing)


def _timestamp(letter: Letter) -> int:
    """The record's own, so that a payload without an event time stays as old as it is; 0 = the time of sending."""
    return max(0, letter.why.source_timestamp_ms or 0)
