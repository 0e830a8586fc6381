"""Dead letters: what could not be processed, byte for byte, with headers that say why and where from."""

from __future__ import annotations

from dataclasses import replace

from schemas.dead_letter import DeadLetter
from worker.metrics import Metrics
from worker.pipeline.record import SourceRecord
from worker.runtime.outbox import Outbox, Outgoing, TooLarge

TOO_LARGE = "too_large"  # the record cannot be produced to the next topic for itself


class DeadLetters:
    """Writes to the dead-letter topic. A dead letter counts as processed once it is delivered, like any other record."""

    def __init__(self, outbox: Outbox, topic: str, source_topic: str, metrics: Metrics, software_version: str) -> None:
        self._outbox = outbox
        self._topic = topic
        self._source_topic = source_topic
        self._metrics = metrics
        self._software_version = software_version

    def write(self, source: SourceRecord, reason: str, field: str = "") -> None:
        """Queue the record with its reason; without its value, and at last without its key, where that does not fit.

        Raises:
            TaskCorrupted, Fatal: the producer cannot take it.
        """
        self._metrics.add("dead_letters", reason)
        letter = DeadLetter(
            reason=reason,
            field=field,
            source_topic=self._source_topic,
            source_partition=source.partition,
            source_offset=source.offset,
            source_timestamp_ms=None if source.timestamp is None else round(source.timestamp * 1000),
            software_version=self._software_version,
        )
        omitted = replace(letter, value_omitted_bytes=len(source.value or b""))
        attempts = (
            Outgoing(self._topic, source.key, source.value, letter.to_headers(source.headers or ())),
            Outgoing(self._topic, source.key, None, omitted.to_headers(source.headers or ())),
            Outgoing(self._topic, None, None, omitted.to_headers()),
        )
        for outgoing in attempts:
            try:
                return self._outbox.send(outgoing)
            except TooLarge:
                continue
        raise AssertionError("headers alone always fit")
