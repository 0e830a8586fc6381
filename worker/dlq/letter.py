"""A dead letter as it stands on its topic, as a value."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from schemas.dead_letter import DeadLetter, own_headers
from worker.kafka import TIMESTAMP_NOT_AVAILABLE, Message
from worker.pipeline.record import Headers
from worker.runtime.clients import headers_of


class Source(NamedTuple):
    """The record that became a dead letter. With its time: an offset comes again when a topic is made anew."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None


@dataclass(frozen=True, slots=True)
class Letter:
    """`partition`, `offset` and `written_ms` are its own on the dead-letter topic; `why` is what its headers say."""

    partition: int
    offset: int
    written_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers
    why: DeadLetter

    @property
    def source(self) -> Source:
        why = self.why
        return Source(why.source_topic, why.source_partition, why.source_offset, why.source_timestamp_ms)

    @property
    def size(self) -> int:
        """Bytes of the value, also of one that was left out."""
        return len(self.value or b"") if self.why.value_omitted_bytes is None else self.why.value_omitted_bytes

    def to_json(self, *, sent_again: bool) -> bytes:
        """One line: key, value and the values of its own headers in base64; times in Unix seconds."""
        document = {
            "partition": self.partition,
            "offset": self.offset,
            "written_at": _seconds(self.written_ms),
            "reason": self.why.reason,
            "field": self.why.field,
            "source_topic": self.why.source_topic,
            "source_partition": self.why.source_partition,
            "source_offset": self.why.source_offset,
            "source_timestamp": _seconds(self.why.source_timestamp_ms),
            "software_version": self.why.software_version,
            "retries": self.why.retries,
            "sent_again": sent_again,
            "size": self.size,
            "value_omitted": self.why.value_omitted_bytes is not None,
            "key": _base64(self.key),
            "value": _base64(self.value),
            "headers": [[name, _base64(value)] for name, value in own_headers(self.headers)],
        }
        return orjson.dumps(document)


def letter_of(message: Message) -> Letter | None:
    """None: the record is no dead letter of this worker."""
    headers = headers_of(message) or []
    why = DeadLetter.from_headers(headers)
    if why is None:
        return None
    kind, milliseconds = message.timestamp()
    written_ms = None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds
    place = message.partition() or 0, message.offset() or 0
    return Letter(*place, written_ms, message.key(), message.value(), headers, why)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
