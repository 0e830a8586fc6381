"""Payloads on their way to the partitions of their users: many travel in one record of the repartition topic.

A record costs its producer and its consumer more than a payload in it does, so what a batch of the loop yields for one
partition goes out together (`worker.pipeline.repartition`). A large payload travels alone, with what it was made of:
should the topic refuse it, it becomes a dead letter with its original bytes.
"""

from __future__ import annotations

from worker.context.session_memory import place_of
from worker.kafka import Message, murmur2
from worker.metrics import Metrics
from worker.pipeline.record import SourceRecord
from worker.pipeline.repartition import FORM, MOST_PAYLOADS, Bundle, RoutedPayload, read, write, write_in_form_1
from worker.runtime.dead_letters import TOO_LARGE, DeadLetters
from worker.runtime.outbox import MAX_RECORD_OVERHEAD_BYTES, Outbox, Outgoing, TooLarge
from worker.runtime.received import source_record
from worker.topic_policy import Topic

BUNDLE_BYTES = 16 * 1024
KNOWN_USERS = 20_000  # whose partition is remembered


class Router:
    """Puts payloads into bundles; `flush` sends what is in them. What the topic does not take is a dead letter. Not
    thread-safe. `topic` is the repartition topic as it was at the start. `form`: in form 1 every payload travels alone.
    """

    def __init__(
        self, outbox: Outbox, dead_letters: DeadLetters, metrics: Metrics, topic: Topic, form: int = FORM
    ) -> None:
        self._outbox = outbox
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._topic = topic.name
        record_bytes = min(BUNDLE_BYTES, topic.max_message_bytes - MAX_RECORD_OVERHEAD_BYTES)
        # What is not full has room for one that is not large; in form 1 each is.
        self._full_bytes = record_bytes // 2 if form == FORM else 0
        self._form = form
        self._homes: dict[str, int] = {}
        self._bundles: list[Bundle] = []
        self.spread_over(topic.partitions)

    def spread_over(self, partitions: int) -> None:
        """How many partitions the topic has by now. Nothing may be under way."""
        if partitions != len(self._bundles):
            self._bundles = [Bundle() for _ in range(partitions)]
            self._homes = {}

    def route(self, routed: RoutedPayload, source: object) -> None:
        """Queue a payload for the partition of its user; what fills a record is sent. `source` is what it was made of.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: something could not be sent.
        """
        partition = self._home(routed.user_id)
        bundle = self._bundles[partition]
        size = bundle.add(routed)
        if size >= self._full_bytes:
            bundle.drop_last(size)
            self._send_alone(routed, source, partition)
        elif bundle.size >= self._full_bytes or len(bundle) == MOST_PAYLOADS:
            self._send(bundle, partition)

    def flush(self) -> None:
        """Send what is queued.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: something could not be sent.
        """
        for partition, bundle in enumerate(self._bundles):
            if bundle:
                self._send(bundle, partition)

    def clear(self) -> None:
        """Forget what is queued: it failed, and is read again."""
        for bundle in self._bundles:
            bundle.clear()

    def _send(self, bundle: Bundle, partition: int) -> None:
        count, value = len(bundle), bundle.take()
        try:
            self._outbox.send(Outgoing(self._topic, None, value, None, None, partition))
        except TooLarge:  # the topic takes less than at the start
            for routed in payloads_in(value):
                self._send_alone(routed, None, partition)
        else:
            self._metrics.add("routed", count=count)

    def _send_alone(self, routed: RoutedPayload, source: object, partition: int) -> None:
        key, value = (None, write([routed])) if self._form == FORM else keyed_in_form_1(routed)
        try:
            self._outbox.send(Outgoing(self._topic, key, value, None, source, partition))
        except TooLarge:
            self._dead_letters.write(origin_of(value, source), TOO_LARGE)
        else:
            self._metrics.add("routed")

    def _home(self, user_id: str) -> int:
        home = self._homes.get(user_id)
        if home is None:
            if len(self._homes) >= KNOWN_USERS:
                self._homes.clear()
            home = self._homes[user_id] = murmur2(user_id.encode(), len(self._bundles))
        return home


def keyed_in_form_1(routed: RoutedPayload) -> tuple[bytes, bytes]:
    """Key and value of a payload's record in form 1."""
    return routed.user_id.encode(), write_in_form_1(routed)


def payloads_in(value: bytes | None) -> list[RoutedPayload]:
    """What a record of ours carries."""
    bundle = read(None, value, None)
    assert isinstance(bundle, list)
    return bundle


def origin_of(value: bytes | None, source: object) -> SourceRecord:
    """The input record that a record with one payload was made of; where it was not kept: where it lies."""
    if isinstance(source, Message):
        return source_record(source)
    (routed,) = payloads_in(value)
    return SourceRecord(*place_of(routed.source), None, None, None, None)
