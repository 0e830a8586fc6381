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

    def note_good(self, count: int) -> None:
        """Records of the input were read without complaint."""
        self._ratio.note_good(count)

    def write(self, source: SourceRecord, reason: str, field: str = "") -> None:
        """Queue the record with its reason; without its value, and at last without its key, where that does not fit.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: it cannot be written, or too many of the last records are dead letters.
        """
        self._metrics.add("dead_letters", reason)
        self._ratio.note_dead()
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
            value_omitted_bytes=0 if source.value is None and source.partition >= 0 else None,  # it was not kept
        )
        self._send(Outgoing(self._topic, source.key, source.value, letter.to_headers(source.headers or ())))

    def write_smaller(self, refused: Outgoing) -> None:
        """A dead letter that the topic did not take for its size, again with less in it.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: it cannot be written.
        """
        self._send(self._smaller(refused))

    def _send(self, outgoing: Outgoing) -> None:
        while True:
            try:
                return self._outbox.send(outgoing)
            except TooLarge:
                outgoing = self._smaller(outgoing)

    @staticmethod
    def _smaller(outgoing: Outgoing) -> Outgoing:
        topic, key, value, headers = outgoing[:4]
        letter = DeadLetter.from_headers(headers or [])
        assert letter is not None
        if value is not None:
            return Outgoing(topic, key, None, replace(letter, value_omitted_bytes=len(value)).to_headers(headers or ()))
        bare = Outgoing(topic, None, None, letter.to_headers())
        if bare != outgoing:
            return bare
        raise Fatal(
            ExitCode.DEAD_LETTERS,
            f"{topic} refuses a dead letter of {letter.source_topic}[{letter.source_partition}] offset "
            f"{letter.source_offset} even without key and value",
            hint=f"raise max.message.bytes of {topic}",
        )
