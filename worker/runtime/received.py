"""A record as the client delivered it, as values."""

from __future__ import annotations

from worker.kafka import TIMESTAMP_NOT_AVAILABLE, Message
from worker.pipeline.record import SourceRecord
from worker.runtime.clients import headers_of


def timestamp_of(message: Message) -> float | None:
    """The record's timestamp in Unix seconds; None = it has none."""
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000


def offset_of(message: Message) -> int:
    """The record's offset."""
    offset = message.offset()
    assert offset is not None
    return offset


def source_record(message: Message) -> SourceRecord:
    """What the client delivered, as a value."""
    partition, offset = message.partition(), offset_of(message)
    assert partition is not None
    return SourceRecord(partition, offset, timestamp_of(message), message.key(), message.value(), headers_of(message))
