"""What a topic holds, as plain values: shared by the traffic, the oracle and the topic readers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """One record to be produced; partition and timestamp (Unix milliseconds) are not left to the client."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record where it lies. The timestamp is Unix milliseconds, whichever clock the topic keeps."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    @property
    def position(self) -> tuple[int, int]:
        """Its place in the topic: (partition, offset)."""
        return self.partition, self.offset


def as_logged(sent: Iterable[Sent]) -> dict[int, list[Record]]:
    """The records of an empty topic after `sent` was produced to it in this order."""
    log: dict[int, list[Record]] = {}
    for each in sent:
        records = log.setdefault(each.partition, [])
        records.append(Record(each.partition, len(records), each.key, each.value, each.headers, each.timestamp_ms))
    return log
