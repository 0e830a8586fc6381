"""A record as Kafka delivers it, as a value."""

from __future__ import annotations

from typing import NamedTuple

Headers = list[tuple[str, bytes | None]]


class SourceRecord(NamedTuple):
    """A record of the input topic, kept until it is known where it goes. `timestamp`: Unix seconds, None = none."""

    partition: int
    offset: int
    timestamp: float | None
    key: bytes | None
    value: bytes | None
    headers: Headers | None
