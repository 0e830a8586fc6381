"""What the output topic says of one user, read as the chat layer reads it.

Reader's rule: of two records the one with the higher version is newer, a null record clears it. The user's home is the
partition that the Java default partitioner gives; only when nothing was ever written there are the others looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from pydantic import ValidationError

from schemas.user_context import UserContext
from worker.errors import ExitCode, Fatal
from worker.kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Meaning,
    Message,
    TopicPartition,
    meaning_of,
    murmur2,
    reader_config,
    translate,
)
from worker.settings import Settings
from worker.topic_policy import Topic

BATCH = 5000
POLL_S = 0.25
NO_PROGRESS_S = 15.0
_END_OF_PARTITION = KafkaError._PARTITION_EOF  # noqa: SLF001 - the client's name for it


class Lookup:
    """Follows one user's records. Close it."""

    def __init__(self, settings: Settings, topic: Topic, user_id: str) -> None:
        self.record: UserContext | None = None
        self.ever_seen = False  # a record or a tombstone
        self._key = user_id.encode()
        self._topic = topic
        self._home = murmur2(self._key, topic.partitions)
        try:
            self._reader = Consumer(reader_config(settings))
        except KafkaException as exc:
            raise translate(exc, "setting up the reader") from exc

    def close(self) -> None:
        self._reader.close()

    def read_to_end(self) -> UserContext | None:
        """The newest record as of now; None when nothing is known.

        Raises:
            Fatal: the broker does not answer, refuses, or the record is not one of ours.
        """
        ends = self._read([self._home])
        if not self.ever_seen and self._topic.partitions > 1:
            self._read([number for number in range(self._topic.partitions) if number != self._home])
            if not self.ever_seen:
                self._assign(ends)
        return self.record

    def changes(self) -> Iterator[UserContext | None]:
        """What follows, for ever: each new record, and None when the user is forgotten. After `read_to_end`."""
        while True:
            for message in self._poll():
                if message.error() is None and self._apply(message):
                    yield self.record

    def _read(self, numbers: list[int]) -> dict[int, int]:
        """Everything that these partitions hold now. Returns where they end."""
        self._assign(dict.fromkeys(numbers, OFFSET_BEGINNING))
        ends: dict[int, int] = {}
        deadline = time.monotonic() + NO_PROGRESS_S
        while len(ends) < len(numbers):
            for message in self._poll():
                deadline = time.monotonic() + NO_PROGRESS_S
                if message.error() is None:
                    self._apply(message)
                else:
                    ends[message.partition() or 0] = message.offset() or 0
            if time.monotonic() > deadline:
                text = f"no answer while reading {self._topic.name}, {len(numbers) - len(ends)} partitions are left"
                raise Fatal(ExitCode.BROKER_UNREACHABLE, text, hint="look at the broker's health and try again")
        return ends

    def _assign(self, offsets: dict[int, int]) -> None:
        self._reader.assign([TopicPartition(self._topic.name, number, offset) for number, offset in offsets.items()])

    def _poll(self) -> Iterator[Message]:
        """Records and ends of partitions; anything else is an error."""
        first = self._reader.poll(POLL_S)
        if first is None:
            return
        for message in [first, *self._reader.consume(BATCH, 0)]:
            error = message.error()
            if error is None or error.code() == _END_OF_PARTITION:
                yield message
            elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED or _may_pass(error):
                continue  # a reader needs no group, and a connection may come back
            else:
                raise translate(error, f"reading {self._topic.name}")

    def _apply(self, message: Message) -> bool:
        """Whether the record is of this user and changes what is known."""
        if message.key() != self._key:
            return False
        self.ever_seen = True
        value = message.value()
        if value is None:
            changed, self.record = self.record is not None, None
            return changed
        try:
            record = UserContext.model_validate_json(value)
        except ValidationError as exc:
            where = f"{self._topic.name}, partition {message.partition()}, offset {message.offset()}"
            text = f"the record at {where} is no user context ({exc.error_count()} errors)"
            raise Fatal(ExitCode.FAILED, text, hint="is another program writing to this topic?") from exc
        if self.record is not None and record.version < self.record.version:
            return False
        changed, self.record = record != self.record, record
        return changed


def _may_pass(error: KafkaError) -> bool:
    return meaning_of(error) in {Meaning.UNREACHABLE, Meaning.RETRIABLE}
