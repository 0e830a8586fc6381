"""A member of a group over the broker of lists."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, Message, TopicPartition

from tests.fakes.broker import FakeBroker, Key, Stored, kafka_error, topic_partition
from worker.runtime.clients import Committed, Rebalanced

SESSION_TIMEOUT_S = 15.0


class FakeConsumer:
    """A member of the group. On `subscribe` it is given what is `wanted`; a test moves partitions on from there.

    `assign`, `revoke` and `lose` happen inside the next `poll`, as rebalances do.
    """

    def __init__(self, broker: FakeBroker, on_commit: Committed) -> None:
        self.broker = broker
        self.wanted: list[Key] | None = None  # what it is given when it subscribes; None = every partition
        self.is_closed = False
        self.has_forgotten_itself = False  # the client knows that it is counted out, and its callbacks do not yet
        self.keeps_quiet = False  # the next `unsubscribe` is undone by a `subscribe`, and nobody is told
        self.refuse_assign: deque[int] = deque()  # error codes for the next `incremental_assign`
        self._on_commit = on_commit
        self._callbacks: dict[str, Rebalanced] = {}
        self._events: deque[Callable[[], None]] = deque()
        self._next: dict[Key, int] = {}  # where each assigned partition is read next
        self._position: dict[Key, int] = {}
        self._broken: set[Key] = set()
        self._in_flight: deque[tuple[list[TopicPartition], KafkaError | None]] = deque()
        self._unsent: deque[list[TopicPartition]] = deque()
        self._settled = False  # whether the callback has assigned or unassigned by itself
        self._errors: deque[Message] = deque()

    # --- what a test does to it ----------------------------------------------------------------------------------

    def assign(self, *ids: Key) -> None:
        """Partitions arrive with the next poll."""
        self._events.append(lambda: self._rebalance("on_assign", ids))

    def revoke(self, *ids: Key) -> None:
        """Partitions are asked back with the next poll."""
        self._events.append(lambda: self._rebalance("on_revoke", ids))

    def lose(self, *ids: Key) -> None:
        """Partitions are someone else's, which the next poll tells."""
        self._events.append(lambda: self._rebalance("on_lost", ids))

    def send_error(self, code: int, topic: str | None = None) -> None:
        """An event instead of a record."""
        self._errors.append(Message(topic, 0, OFFSET_INVALID, error=kafka_error(code)))

    @property
    def held(self) -> set[Key]:
        return set(self._next)

    # --- the client's methods ------------------------------------------------------------------------------------

    def subscribe(
        self, topics: list[str], *, on_assign: Rebalanced, on_revoke: Rebalanced, on_lost: Rebalanced
    ) -> None:
        self._callbacks = {"on_assign": on_assign, "on_revoke": on_revoke, "on_lost": on_lost}
        self.broker.journal.append(("subscribed",))
        if self.keeps_quiet and self._next:
            self.keeps_quiet = False
            return

        def join() -> None:
            self.broker.expelled.discard(self)
            every = [at for at in sorted(self.broker.logs) if at[0] in topics]
            self._rebalance("on_assign", every if self.wanted is None else self.wanted)

        self._events.append(join)

    def unsubscribe(self) -> None:
        self.broker.journal.append(("unsubscribed",))
        if self.keeps_quiet:
            return
        kind = "on_lost" if self in self.broker.expelled else "on_revoke"
        self._events.append(lambda: self._rebalance(kind, list(self._next)) if self._next else None)

    def poll(self, timeout: float) -> Message | None:
        found = self.consume(1, timeout)
        return found[0] if found else None

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """Waits the whole timeout unless there are so many, as the real one does."""
        self._answer_commits()
        while self._events:
            self._events.popleft()()
        out: list[Message] = []
        while self._errors and len(out) < num_messages:
            out.append(self._errors.popleft())
        for at in list(self._next):
            while len(out) < num_messages and (message := self._fetch(at)) is not None:
                out.append(message)
        if len(out) < num_messages:
            self.broker.clock.sleep(timeout)
        return out

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(*at) for at in self._next]

    def unassign(self) -> None:
        self._next.clear()

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        if self.refuse_assign:
            raise KafkaException(kafka_error(self.refuse_assign.popleft()))
        self._settled = True
        for item in partitions:
            self._next[item.topic, item.partition] = item.offset
            self._position[item.topic, item.partition] = OFFSET_INVALID

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self._settled = True
        for item in partitions:
            if (item.topic, item.partition) not in self._next:
                raise KafkaException(kafka_error(KafkaError._INVALID_ARG))
            del self._next[item.topic, item.partition]
            self._broken.discard((item.topic, item.partition))

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._reach(timeout)
        if any(transaction.offsets for transaction in self.broker.transactions.values()):
            self.broker.clock.sleep(timeout)  # what they will be is open
            raise KafkaException(kafka_error(KafkaError._TIMED_OUT))
        if self.broker.refuse_reads:
            raise KafkaException(kafka_error(self.broker.refuse_reads.popleft()))
        out = []
        for item in partitions:
            stored = self.broker.commits.get((item.topic, item.partition), Stored(OFFSET_INVALID, None))
            out.append(topic_partition((item.topic, item.partition), stored.offset, stored.metadata))
        return out

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        self._unsent.append(offsets)
        if asynchronous:
            return None
        if self.broker.is_down:
            self._unsent.pop()
            self.broker.clock.sleep(SESSION_TIMEOUT_S)
            raise KafkaException(kafka_error(KafkaError._WAIT_COORD))
        self._send_commits()
        _, error = self._in_flight.pop()
        if error is not None:
            raise KafkaException(error)
        return offsets

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        return [
            topic_partition(at, self._position.get(at, OFFSET_INVALID) if at in self._next else OFFSET_INVALID)
            for at in ((item.topic, item.partition) for item in partitions)
        ]

    def seek(self, partition: TopicPartition) -> None:
        at = partition.topic, partition.partition
        if at not in self._next:
            raise KafkaException(kafka_error(KafkaError._UNKNOWN_PARTITION))
        self._next[at] = partition.offset
        self._position[at] = OFFSET_INVALID
        self._broken.discard(at)

    def get_watermark_offsets(self, partition: TopicPartition, *, cached: bool) -> tuple[int, int]:
        at = partition.topic, partition.partition
        if cached and at not in self._next:
            return OFFSET_INVALID, OFFSET_INVALID
        return self.broker.start(at), self.broker.end(at)

    def memberid(self) -> str | None:
        return f"member-{id(self)}" if self._is_somebody else None

    def consumer_group_metadata(self) -> object:
        """What the broker sees in it: the member, or nobody at all."""
        return self if self._is_somebody else None

    @property
    def _is_somebody(self) -> bool:
        return bool(self._callbacks) and not self.has_forgotten_itself

    def close(self) -> None:
        self.unsubscribe()
        self._answer_commits()
        while self._events:
            self._events.popleft()()
        self.is_closed = True

    # --- inside ----------------------------------------------------------------------------------------------------

    def _rebalance(self, kind: str, ids: Iterable[Key]) -> None:
        """As the binding does it: what the callback does not do itself, it does; an exception comes out of `poll`."""
        partitions = [TopicPartition(*at) for at in ids]
        self._settled = False
        try:
            self._callbacks[kind](self, partitions)
        finally:
            if not self._settled and kind == "on_assign":
                stored = [self.broker.commits.get(at, Stored(OFFSET_INVALID, None)).offset for at in ids]
                self.incremental_assign([topic_partition(at, offset) for at, offset in zip(ids, stored, strict=True)])
            elif not self._settled:
                self.incremental_unassign(partitions)

    def _fetch(self, at: Key) -> Message | None:
        if self.broker.is_down or at in self._broken or at not in self._next:
            return None
        offset = self._next[at]
        if not self.broker.start(at) <= offset <= self.broker.end(at):
            self._broken.add(at)
            return Message(*at, offset, error=kafka_error(KafkaError._AUTO_OFFSET_RESET))
        while offset < self.broker.end(at):
            message = self.broker.message(at, offset)
            offset += 1
            self._next[at] = self._position[at] = offset
            if message is not None:
                return message
        return None

    def _reach(self, timeout: float) -> None:
        if self.broker.is_down:
            self.broker.clock.sleep(timeout)
            raise KafkaException(kafka_error(KafkaError._TIMED_OUT))

    def _send_commits(self) -> None:
        while self._unsent:
            offsets = self._unsent.popleft()
            self._in_flight.append((offsets, self.broker.commit(self, offsets)))

    def _answer_commits(self) -> None:
        if not self.broker.is_down:
            self._send_commits()
        while self._in_flight:
            offsets, error = self._in_flight.popleft()
            self._on_commit(error, offsets)
