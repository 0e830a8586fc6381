"""The headers of a dead letter: why it is one, and where it came from. Key and value stay as they were received.

The record's own headers come first, as they were; ours follow. A dead letter that is sent again has its own headers and
a count of how often that was; if it fails again, it carries that count and the headers of its last failure only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

REASON = (
    "dlq.reason"  # a word of a fixed set (`schemas.codec.InvalidPayload.reason`, or why the broker refused the record)
)
FIELD = "dlq.field"  # the path of the culprit, as actions[0].title; empty when the whole value is wrong
SOURCE_TOPIC = "dlq.source.topic"
SOURCE_PARTITION = "dlq.source.partition"
SOURCE_OFFSET = "dlq.source.offset"
SOURCE_TIMESTAMP = "dlq.source.timestamp"  # of the record, in Unix milliseconds; left out when it had none
SOFTWARE_VERSION = "dlq.software.version"
# the value was left out because even the dead letter did not fit: its size; 0: it was not kept
VALUE_OMITTED_BYTES = "dlq.value_omitted_bytes"
RETRIES = "dlq.retries"  # how often the record was sent again; left out when never

NAMES = frozenset(
    {
        REASON,
        FIELD,
        SOURCE_TOPIC,
        SOURCE_PARTITION,
        SOURCE_OFFSET,
        SOURCE_TIMESTAMP,
        SOFTWARE_VERSION,
        VALUE_OMITTED_BYTES,
        RETRIES,
    }
)

MAX_DIGITS = 10  # of a count; a header comes from anybody

Header = tuple[str, bytes | None]  # as Kafka has it: a name may repeat, a value may be null


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What the headers of one dead letter say. All are text in UTF-8; numbers are decimal digits."""

    reason: str
    field: str
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp_ms: int | None
    software_version: str
    value_omitted_bytes: int | None = None
    retries: int = 0

    def to_headers(self, received: Iterable[Header] = ()) -> list[Header]:
        """The record's own headers as `received`, then ours."""
        texts = {
            REASON: self.reason,
            FIELD: self.field,
            SOURCE_TOPIC: self.source_topic,
            SOURCE_PARTITION: str(self.source_partition),
            SOURCE_OFFSET: str(self.source_offset),
            SOURCE_TIMESTAMP: _digits(self.source_timestamp_ms),
            SOFTWARE_VERSION: self.software_version,
            VALUE_OMITTED_BYTES: _digits(self.value_omitted_bytes),
            RETRIES: _digits(self.retries or None),
        }
        ours = [(name, text.encode(errors="backslashreplace")) for name, text in texts.items() if text is not None]
        return [*own_headers(received), *ours]

    @classmethod
    def from_headers(cls, headers: Sequence[Header]) -> DeadLetter | None:
        """What the headers say; None when they are not those of a dead letter."""
        texts = {name: (value or b"").decode(errors="replace") for name, value in headers if name in NAMES}
        try:
            return cls(
                reason=texts[REASON],
                field=texts.get(FIELD, ""),
                source_topic=texts[SOURCE_TOPIC],
                source_partition=int(texts[SOURCE_PARTITION]),
                source_offset=int(texts[SOURCE_OFFSET]),
                source_timestamp_ms=_number(texts.get(SOURCE_TIMESTAMP)),
                software_version=texts.get(SOFTWARE_VERSION, ""),
                value_omitted_bytes=_number(texts.get(VALUE_OMITTED_BYTES)),
                retries=retries_of(headers),
            )
        except (KeyError, ValueError):
            return None


def own_headers(headers: Iterable[Header]) -> list[Header]:
    """The headers that a record had before it became a dead letter."""
    return [header for header in headers if header[0] not in NAMES]


def retry_headers(headers: Sequence[Header]) -> list[Header]:
    """The headers of a dead letter that is sent again: its own, and one more in the count."""
    return [*own_headers(headers), (RETRIES, str(retries_of(headers) + 1).encode())]


def retries_of(headers: Iterable[Header]) -> int:
    """How often a record was sent again, by its headers; what is no count of ours counts as never."""
    texts = [value for name, value in headers if name == RETRIES and value is not None]
    return int(texts[-1]) if texts and texts[-1].isdigit() and len(texts[-1]) < MAX_DIGITS else 0


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)
