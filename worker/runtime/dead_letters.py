"""Dead letters: what could not be processed, byte for byte, with headers that say why and where from."""

from __future__ import annotations

from dataclasses import replace

from schemas.dead_letter import DeadLetter, retries_of
from worker.errors import ExitCode, Fatal
from worker.metrics import Metrics
from worker.pipeline.record import SourceRecord
from worker.runtime.dead_letter_limit import DeadLetterRatio
from worker.runtime.outbox import Outbox, Outgoing, TooLarge

TOO_LARGE = "too_large"  # the record cannot be produced to the next topic for itself


class DeadLetters:
    """Writes to the dead-letter topic. A dead letter counts as processed once it is delivered, like every record."""

    def __init__(
        self,
        outbox: Outbox,
        topic: str,
        source_topic: str,
        metrics: Metrics,
        software_version: str,
        ratio: DeadLetterRatio,
    ) -> None:
        self._outbox = outbox
        self._ratio = ratio
        self._topic = topic
        self._source_topic = source_topic
        self._metrics = metrics
        self._software_version = software_version

    def note_good(self) -> None:
        """A record of the input was read without complaint."""
        self._ratio.note(dead=False)

    def write(self, source: SourceRecord, reason: str, field: str = "") -> None:
        """Queue the record with its reason; without its value, and at last without its key, where that does not fit.

        Raises:
            TaskCorrupted, Fatal: the producer cannot take it, or too many of the last records are dead letters.
        """
        self._metrics.add("dead_letters", reason)
        self._ratio.note(dead=True)
        if self._ratio.is_exceeded:
            raise Fatal(
                ExitCode.DEAD_LETTERS,
                f"{self._ratio.ratio:.0%} of the last records of {self._source_topic} are dead letters, "
                f"the newest for {reason} {field}".rstrip(),
                hint="find out what changed in the input or in this version, or raise WORKER_DLQ_MAX_RATIO",
            )
        letter = DeadLetter(
            reason=reason,
            field=field,
            source_topic=self._source_topic,
            source_partition=source.partition,
            source_offset=source.offset,
            source_timestamp_ms=None if source.timestamp is None else round(source.timestamp * 1000),
            software_version=self._software_version,
            retries=retries_of(source.headers or ()),
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
