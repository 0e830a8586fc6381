"""Payloads on their way to the partitions of their users: many travel in one record of the repartition topic.

A record costs its producer and its consumer more than a payload in it does, so what a batch of the loop yields for one
partition goes out together (`worker.pipeline.repartition`). A large payload travels alone, with what it was made of:
should the topic refuse it, it becomes a dead letter with its original bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from worker.context.session_memory import place_of
from worker.kafka import Message, murmur2
from worker.metrics import Metrics
from worker.pipeline.by_session import Emission
from worker.pipeline.record import SourceRecord
from worker.pipeline.repartition import FORM, RoutedPayload, read, write, write_in_form_1
from worker.runtime.dead_letters import TOO_LARGE, DeadLetters
from worker.runtime.outbox import MAX_RECORD_OVERHEAD_BYTES, Outbox, Outgoing, TooLarge
from worker.runtime.received import source_record
from worker.topic_policy import Topic

BUNDLE_BYTES = 16 * 1024
REST_BYTES = 256  # of a payload, beside its text: its ids and times usually take less
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
        self._record_bytes = min(BUNDLE_BYTES, topic.max_message_bytes - MAX_RECORD_OVERHEAD_BYTES)
        # What is not full has room for one that is not large; in form 1 each is.
        self._full_bytes = self._record_bytes // 2 if form == FORM else 0
        self._form = form
        self._homes: dict[str, int] = {}
        self._bundles: list[list[Emission]] = []  # of each partition
        self._sizes: list[int] = []  # of each bundle, in bytes, about
        self.spread_over(topic.partitions)

    def spread_over(self, partitions: int) -> None:
        """How many partitions the topic has by now. Nothing may be under way."""
        if partitions != len(self._bundles):
            self._bundles = [[] for _ in range(partitions)]
            self._sizes = [0] * partitions
            self._homes = {}

    def route(self, emissions: Iterable[Emission]) -> None:
        """Queue payloads for the partitions of their users; what fills a record is sent.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: something could not be sent.
        """
        homes, bundles, sizes, full_bytes = self._homes, self._bundles, self._sizes, self._full_bytes
        for emission in emissions:
            routed, source = emission
            home = homes.get(routed.user_id)
            if home is None:
                home = self._find_home(routed.user_id)
            size = REST_BYTES + len(routed.text)
            if size >= full_bytes:
                self._send_alone(routed, source, home)
                continue
            bundles[home].append(emission)
            sizes[home] += size
            if sizes[home] >= full_bytes:
                self._send(home)

    def flush(self) -> None:
        """Send what is queued.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: something could not be sent.
        """
        for partition, bundle in enumerate(self._bundles):
            if bundle:
                self._send(partition)

    def clear(self) -> None:
        """Forget what is queued: it failed, and is read again."""
        for partition in range(len(self._bundles)):
            self._take(partition)

    def _take(self, partition: int) -> list[Emission]:
        bundle, self._bundles[partition] = self._bundles[partition], []
        self._sizes[partition] = 0
        return bundle

    def _send(self, partition: int) -> None:
        bundle = self._take(partition)
        value = write([routed for routed, _ in bundle])
        if len(value) <= self._record_bytes and self._is_sent(Outgoing(self._topic, None, value, partition=partition)):
            self._metrics.add("routed", count=len(bundle))
            return
        for routed, source in bundle:  # ids are longer than most, or the topic takes less than at the start
            self._send_alone(routed, source, partition)

    def _send_alone(self, routed: RoutedPayload, source: object, partition: int) -> None:
        key, value = (None, write([routed])) if self._form == FORM else keyed_in_form_1(routed)
        if self._is_sent(Outgoing(self._topic, key, value, None, source, partition)):
            self._metrics.add("routed")
        else:
            self._dead_letters.write(origin_of(value, source), TOO_LARGE)

    def _is_sent(self, outgoing: Outgoing) -> bool:
        """False: it does not fit into the topic."""
        try:
            self._outbox.send(outgoing)
        except TooLarge:
            return False
        return True

    def _find_home(self, user_id: str) -> int:
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
