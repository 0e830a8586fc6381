"""Follows an output topic into its table: from the start, outside of any group, whatever the broker does meanwhile.

What cannot pass by itself (no right, a wrong credential) ends it with an error, but only until all was read once: after
that it waits for better times, and the status says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from worker.errors import ExitCode, Fatal
from worker.kafka import (
    OFFSET_BEGINNING,
    KafkaError,
    KafkaException,
    Meaning,
    Message,
    TopicPartition,
    error_of,
    meaning_of,
    translate,
)
from worker.view.liveness import liveness
from worker.view.record_table import RecordTable
from worker.view.status import PartitionFacts

log = logging.getLogger(__name__)

POLL_S = 0.1
BATCH = 500  # a few milliseconds of work: other threads get their turn in between
FIND_S = 1.0
WELL_S = 1.0  # a leader that answered within it is well: fetches are answered within 0.1 s
UNSERVED_S = 10.0  # the broker answers, but not for this partition: the topic is gone, or another one by now
SAME_TOPIC_S = 10.0  # so often it is made sure that it is the same topic: offsets of a new one look like the old one's
REREAD_AFTER_S = 6 * 3600.0  # a null record may be compacted away after a day (delete.retention.ms): long before that

_END_OF_PARTITION = KafkaError._PARTITION_EOF  # noqa: SLF001 - the client's name for it
_NOT_IN_THE_LOG = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001


class ConsumerLike(Protocol):
    """What of a consumer is used, all from one thread."""

    def list_topics(self, topic: str, timeout: float) -> Any: ...
    def topic_id(self, topic: str) -> str | None: ...  # which topic of this name it is; None = not to be known now
    def incremental_assign(self, partitions: list[TopicPartition]) -> None: ...
    def incremental_unassign(self, partitions: list[TopicPartition]) -> None: ...
    def poll(self, timeout: float) -> Message | None: ...
    def consume(self, num_messages: int, timeout: float) -> list[Message]: ...
    def close(self) -> None: ...


# Gets what is to be called with the client's statistics once a second, and with the errors of its connections.
MakeConsumer = Callable[[Callable[[str], None], Callable[[KafkaError], None]], ConsumerLike]


class Follower:
    """One step is one poll. Its methods belong to one thread; `partitions`, `count`, `trouble` may be read by any.

    `changed` gets the ids that a batch changed, once their partition was read. `share` names the partitions to read,
    None = all.
    """

    def __init__(
        self,
        make_consumer: MakeConsumer,
        topic: str,
        table: RecordTable,
        share: Collection[int] | None,
        changed: Callable[[list[str]], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.partitions: dict[int, PartitionFacts] = {}
        self.count = 0  # partitions that the topic has; 0 = not known yet
        self.trouble = ""  # what stands in the way, for people; "" when nothing does
        self._make_consumer = make_consumer
        self._topic = topic
        self._table = table
        self._share = share
        self._changed = changed
        self._monotonic = monotonic
        self._consumer: ConsumerLike | None = None
        self._found = False
        self._refused: KafkaError | None = None
        self._unserved_since: dict[int, float] = {}
        self._stale: set[int] = set()
        self._grown_to = 0
        self._topic_id: str | None = None
        self._ask_at = 0.0

    @property
    def is_loaded(self) -> bool:
        """Whether all was read once."""
        facts = list(self.partitions.values())
        return bool(facts) and all(one.loaded for one in facts)

    def step(self) -> None:
        """Find the topic, or take in what has come, or wait a moment for it.

        Raises:
            WorkerError: it will never work this way.
        """
        if self._consumer is None:
            self._consumer = self._make_consumer(self._on_statistics, self._note)
        if not self._found:
            self._find(self._consumer)
        else:
            first = self._consumer.poll(POLL_S)
            if first is not None:
                self._take([first, *self._consumer.consume(BATCH - 1, 0)])
            self._look_after()
        if self._refused is not None and not self.is_loaded:
            raise translate(self._refused, f"reading {self._topic}")

    def close(self) -> None:
        """Let go of the client. A step makes another one, and reads everything again."""
        consumer, self._consumer, self._found = self._consumer, None, False
        self._unserved_since = {}
        self._stale = set()
        if consumer is not None:
            consumer.close()

    # --- finding the topic ---

    def _find(self, consumer: ConsumerLike) -> None:
        consumer.poll(0)  # errors of the connection come this way
        try:
            topic = consumer.list_topics(self._topic, FIND_S).topics.get(self._topic)
        except KafkaException as exc:
            self._note(error_of(exc))
            return
        if topic is None or topic.error is not None or not topic.partitions:
            self._note(topic.error if topic is not None and topic.error is not None else _MISSING)
            consumer.poll(POLL_S)
            return
        count = len(topic.partitions)
        beyond = sorted(number for number in self._share or () if number >= count)
        if beyond and not self.is_loaded:
            hint = f"give numbers below {count}"
            text = f"{self._topic} has {count} partitions, none with the number {beyond[0]}"
            raise Fatal(ExitCode.USAGE, text, hint=hint)
        self._tell(self._table.drop_beyond(count))
        self.partitions = {number: facts for number, facts in self.partitions.items() if number < count}
        self._topic_id = consumer.topic_id(self._topic)
        self._ask_at = self._monotonic() + SAME_TOPIC_S
        self.count = self._grown_to = count
        self._found = True
        self.trouble = ""
        self._begin(range(count))

    def _begin(self, numbers: Iterable[int]) -> None:
        """Read these partitions, as far as they are in the share, from the start."""
        assert self._consumer is not None
        mine = [number for number in numbers if self._share is None or number in self._share]
        was_loaded, now = self.is_loaded, self._monotonic()
        for number in mine:
            if number in self.partitions:
                self._table.begin_anew(number)
            facts = PartitionFacts(loaded=was_loaded, reloading=was_loaded, behind_since=now, heard_at=now)
            self.partitions = {**self.partitions, number: facts}  # others may be reading it
        self._consumer.incremental_assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in mine])

    # --- taking in ---

    def _take(self, messages: list[Message]) -> None:
        now = self._monotonic()
        changed: dict[str, None] = {}
        for message in messages:
            number = -1 if (partition := message.partition()) is None else partition
            facts = self.partitions.get(number)
            error = message.error()
            if facts is None or error is not None:
                if error is not None:
                    changed |= dict.fromkeys(self._not_a_record(number, facts, error, now))
                continue
            user_id = self._table.apply(number, message.key(), message.value())
            if facts.at_end:
                facts.at_end, facts.behind_since = False, now
            facts.heard_at = now
            if user_id is not None and facts.loaded:
                changed[user_id] = None
        self._tell(list(changed))

    def _not_a_record(self, number: int, facts: PartitionFacts | None, error: KafkaError, now: float) -> list[str]:
        """Returns the users whom it changed: those of a partition that was read again."""
        if facts is not None and error.code() == _END_OF_PARTITION:
            changed, was_loaded = self._table.finish(number), facts.loaded
            facts.at_end, facts.loaded, facts.reloading, facts.heard_at = True, True, False, now
            if all(one.at_end for one in self.partitions.values()):
                self._refused = None
            return changed if was_loaded else []
        if facts is not None and error.code() in _NOT_IN_THE_LOG:
            self._stale.add(number)
        elif error.code() != _END_OF_PARTITION:
            self._note(error)
        return []

    def _tell(self, changed: list[str]) -> None:
        if changed:
            self._changed(changed)

    # --- what the client says of itself, inside its poll ---

    def _on_statistics(self, text: str) -> None:
        seen, now = liveness(text, self._topic), self._monotonic()
        self._grown_to = max(self._grown_to, seen.count)
        self._unserved_since = {
            number: self._unserved_since.get(number, now) for number in seen.unserved if number in self.partitions
        }
        all_seen = self._found and seen.idle_s.keys() >= self.partitions.keys()
        if all_seen and max(seen.idle_s.values(), default=0.0) < WELL_S:
            self.trouble = ""
        for number, idle_s in seen.idle_s.items():
            facts = self.partitions.get(number)
            if facts is None:
                continue
            if now - idle_s - facts.heard_at > REREAD_AFTER_S:
                self._stale.add(number)
            facts.heard_at = max(facts.heard_at, now - idle_s)

    def _note(self, error: KafkaError) -> None:
        """Something went wrong; many a second while a broker is away."""
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:  # a reader needs no group
            return
        meaning = meaning_of(error)
        self.trouble = f"there is no topic {self._topic}" if meaning is Meaning.TOPIC_MISSING else error.str()
        if meaning is Meaning.NOT_AUTHORIZED:
            self._refused = self._refused or error
        elif meaning is Meaning.CLIENT_FATAL:
            self._unserved_since = dict.fromkeys(self.partitions, float("-inf"))  # with this client it is over

    def _look_after(self) -> None:
        """Read what has grown, and again what may have changed unseen."""
        now = self._monotonic()
        unserved = any(now - since > UNSERVED_S for since in self._unserved_since.values())
        if unserved or (now > self._ask_at and not self._is_the_same_topic(now)):
            log.warning("%s is gone, or another one by now: opened again, and read from the start", self._topic)
            self.close()
            return
        if self._stale:
            numbers, self._stale = sorted(self._stale), set()
            log.warning("%s: partitions %s are read again from the start", self._topic, numbers)
            assert self._consumer is not None
            self._consumer.incremental_unassign([TopicPartition(self._topic, number) for number in numbers])
            self._begin(numbers)
        if self._grown_to > self.count:
            before, self.count = self.count, self._grown_to
            self._begin(range(before, self.count))

    def _is_the_same_topic(self, now: float) -> bool:
        assert self._consumer is not None
        self._ask_at = now + SAME_TOPIC_S
        if self.trouble:  # it would not answer
            return True
        topic_id = self._consumer.topic_id(self._topic)
        known, self._topic_id = self._topic_id, topic_id or self._topic_id
        return known is None or topic_id is None or topic_id == known


_MISSING = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
