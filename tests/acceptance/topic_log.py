"""Topics as plain values: make one, fill one, read one from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # the package re-exports them without saying so
    AdminClient,
    NewTopic,
    OffsetSpec,
)

from tests.acceptance.records import Headers, Record, Sent

QUIET = {"log_level": 0}
ROOM_BYTES = 5_000_000
REQUEST_TIMEOUT_S = 30.0


def create_topic(bootstrap: str, name: str, *, partitions: int, config: Mapping[str, str]) -> None:
    """Create a topic and wait until the broker has it."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    topic = NewTopic(name, num_partitions=partitions, config=dict(config))
    admin.create_topics([topic], operation_timeout=REQUEST_TIMEOUT_S)[name].result(REQUEST_TIMEOUT_S)


def create_input_topic(bootstrap: str, name: str, *, partitions: int = 4) -> None:
    """A topic that keeps records as they were stamped, however old, and takes values of some megabytes."""
    config = {"message.timestamp.type": "CreateTime", "retention.ms": "-1", "max.message.bytes": str(ROOM_BYTES)}
    create_topic(bootstrap, name, partitions=partitions, config=config)


def delete_topics(bootstrap: str, names: Iterable[str]) -> None:
    """Remove those of the topics that exist; a shared broker should not fill up with what tests leave."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    present = sorted(set(names) & set(admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics))
    if present:
        for deleted in admin.delete_topics(present, operation_timeout=REQUEST_TIMEOUT_S).values():
            deleted.result(REQUEST_TIMEOUT_S)


class Feed:
    """Puts records into a topic exactly as told. Leaving the context waits until all of them are there."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._failures: list[KafkaError] = []
        config = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "message.max.bytes": ROOM_BYTES, **QUIET}
        self._producer = Producer(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def send(self, records: Iterable[Sent]) -> None:
        """Queue the records in this order."""
        for record in records:
            while True:
                try:
                    self._producer.produce(
                        self._topic, record.value, record.key, record.partition,
                        on_delivery=self._delivered, timestamp=record.timestamp_ms, headers=list(record.headers),
                    )  # fmt: skip
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until everything is there; fails when something was refused."""
        left = self._producer.flush(REQUEST_TIMEOUT_S)
        assert (left, self._failures) == (0, [])

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failures.append(error)


def read_topic(bootstrap: str, topic: str, *, uncommitted: bool = False) -> dict[int, list[Record]]:
    """What a topic holds now, by partition, in the order of its log; `uncommitted`: also what was taken back."""
    log: dict[int, list[Record]] = {}
    for partition, record in _read(bootstrap, topic, uncommitted=uncommitted):
        log.setdefault(partition, []).extend([] if record is None else [record])
    return log


def newest_of(bootstrap: str, topic: str) -> dict[bytes, bytes | None]:
    """The newest value of every key, of a topic that is too large to be held."""
    newest: dict[bytes, bytes | None] = {}
    for _, record in _read(bootstrap, topic):
        if record is not None:
            newest[record.key or b""] = record.value
    return newest


def _read(bootstrap: str, topic: str, *, uncommitted: bool = False) -> Iterator[tuple[int, Record | None]]:
    """Each record with its partition, and None at the end of each partition."""
    consumer = Consumer({
        "isolation.level": "read_uncommitted" if uncommitted else "read_committed",
        "bootstrap.servers": bootstrap, "group.id": "reads-without-a-group", "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "error", "fetch.message.max.bytes": ROOM_BYTES, **QUIET,
    })  # fmt: skip
    try:
        partitions = sorted(consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        unfinished = set(partitions)
        while unfinished:
            for message in consumer.consume(1000, timeout=0.2):
                partition, record = _number(message.partition()), _record(message)
                if record is None:
                    unfinished.discard(partition)
                yield partition, record
    finally:
        consumer.close()


def _record(message: Message) -> Record | None:
    """The record of a message; None for the event that says that the partition ends here."""
    error = message.error()
    if error is not None:
        assert error.code() == KafkaError._PARTITION_EOF, error
        return None
    return Record(
        _number(message.partition()),
        _number(message.offset()),
        _bytes(message.key()),
        _bytes(message.value()),
        _headers(message),
        message.timestamp()[1],
    )


def _headers(message: Message) -> Headers:
    received = message.headers()
    if received is None:
        return ()
    assert isinstance(received, list)
    return tuple((name, _bytes(value)) for name, value in received)


def _number(value: int | None) -> int:
    assert value is not None
    return value


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def newest_by_key(log: Mapping[int, Iterable[Record]]) -> dict[bytes | None, Record]:
    """What compaction would leave: the last record of every key. A key lies on one partition only."""
    newest: dict[bytes | None, Record] = {}
    for records in log.values():
        for record in records:
            before = newest.get(record.key)
            assert before is None or before.partition == record.partition, f"{record.key!r} is on two partitions"
            newest[record.key] = record
    return newest


def end_offsets(admin: AdminClient, topic: str) -> dict[tuple[str, int], int]:
    """The end of every partition of a topic; nothing when the topic does not exist."""
    found = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics.get(topic)
    if found is None:
        return {}
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic, partition): latest for partition in found.partitions}
    answers = admin.list_offsets(asked, request_timeout=REQUEST_TIMEOUT_S)
    return {(topic, each.partition): answer.result(REQUEST_TIMEOUT_S).offset for each, answer in answers.items()}
