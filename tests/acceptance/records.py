"""What a topic holds, as plain values: shared by the traffic, the oracle and the topic readers."""

from __future__ import annotations

from dataclasses import dataclass

Headers = tuple[tuple[str, bytes | None], ...]


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
