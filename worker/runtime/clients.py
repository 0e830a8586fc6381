"""The few methods of Kafka's clients that the runtime uses: a seam small enough for a fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol, cast

from worker.kafka import KafkaError, Message, OffsetSpec, TopicPartition
from worker.pipeline.record import Headers

Rebalanced = Callable[[Any, list[TopicPartition]], None]
Committed = Callable[[KafkaError | None, list[TopicPartition]], None]
Delivered = Callable[[KafkaError | None, Message], None]


class ConsumerLike(Protocol):
    """The group's consumer. Every method is called from the thread that polls (measured: from another one it hangs)."""

    def subscribe(
        self, topics: list[str], *, on_assign: Rebalanced, on_revoke: Rebalanced, on_lost: Rebalanced
    ) -> None: ...

    def unsubscribe(self) -> None: ...

    def poll(self, timeout: float) -> Message | None: ...

    def consume(self, num_messages: int, timeout: float) -> list[Message]: ...

    def assignment(self) -> list[TopicPartition]: ...

    def incremental_assign(self, partitions: list[TopicPartition]) -> None: ...

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None: ...

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]: ...

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None: ...

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]: ...

    def seek(self, partition: TopicPartition) -> None: ...

    def get_watermark_offsets(self, partition: TopicPartition, *, cached: bool) -> tuple[int, int]: ...

    def memberid(self) -> str | None: ...

    def consumer_group_metadata(self) -> object: ...

    def close(self) -> None: ...


class ProducerLike(Protocol):
    """An idempotent producer; reports only the deliveries that failed."""

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int = -1,
        *,
        headers: Headers | None = None,
        on_delivery: Delivered | None = None,
    ) -> None: ...

    def poll(self, timeout: float) -> int: ...

    def flush(self, timeout: float) -> int: ...

    def purge(self) -> None: ...

    def __len__(self) -> int: ...


class TransactionalProducerLike(ProducerLike, Protocol):
    """A producer whose records are visible once their transaction is committed."""

    def init_transactions(self, timeout: float) -> None: ...

    def begin_transaction(self) -> None: ...

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: object, timeout: float
    ) -> None: ...

    def commit_transaction(self, timeout: float) -> None: ...

    def abort_transaction(self, timeout: float) -> None: ...


class ReaderLike(Protocol):
    """A consumer outside of the group; it says where a partition ends."""

    def assign(self, partitions: list[TopicPartition]) -> None: ...

    def poll(self, timeout: float) -> Message | None: ...

    def close(self) -> None: ...


class AdminLike(Protocol):
    """Answers questions about logs, over connections of its own."""

    def list_offsets(
        self, topic_partition_offsets: dict[TopicPartition, OffsetSpec], *, request_timeout: float
    ) -> Mapping[TopicPartition, Future[Any]]: ...

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any: ...


class Clients(Protocol):
    """Makes the clients of one member."""

    @property
    def admin(self) -> AdminLike: ...

    def consumer(self, on_commit: Committed) -> ConsumerLike: ...

    def producer(self, on_delivery: Delivered) -> ProducerLike: ...

    def transactional_producer(self, on_delivery: Delivered, *, one_by_one: bool) -> TransactionalProducerLike: ...

    def reader(self) -> ReaderLike: ...


def headers_of(message: Message) -> Headers | None:
    """The headers as a list: what the client gives for a record that it read, whatever its type says."""
    return cast("Headers | None", message.headers())
