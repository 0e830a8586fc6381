"""Read a topic outside of any group: from given offsets to the end, and on from there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from worker.errors import ExitCode, Fatal
from worker.kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Meaning,
    Message,
    TopicPartition,
    meaning_of,
    reader_config,
    translate,
)
from worker.settings import Settings

BATCH = 5000
POLL_S = 0.25
NO_PROGRESS_S = 15.0
_END_OF_PARTITION = KafkaError._PARTITION_EOF  # noqa: SLF001 - the client's name for it


class TopicReader:
    """A reader of one topic, for one thread. Committed records only. Close it, or use it in a `with`."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.ends: dict[int, int] = {}  # where the partitions ended that `to_end` has read
        self._topic = topic
        try:
            self._consumer = Consumer(reader_config(settings))
        except KafkaException as exc:
            raise translate(exc, "setting up the reader") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def go_to(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from there on, and no others."""
        self._consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in offsets.items()])

    def to_end(self, offsets: Mapping[int, int]) -> Iterator[Message]:
        """Every record from these offsets to the end of each partition, as it is when it is reached (`ends`).

        Raises:
            Fatal: the broker does not answer, or refuses.
        """
        self.go_to(offsets)
        left = set(offsets)
        deadline = time.monotonic() + NO_PROGRESS_S
        while left:
            for message in self._poll():
                deadline = time.monotonic() + NO_PROGRESS_S
                if message.error() is None:
                    yield message
                else:
                    number = message.partition() or 0
                    self.ends[number] = message.offset() or 0
                    left.discard(number)
            if time.monotonic() > deadline:
                text = f"no answer while reading {self._topic}, {len(left)} partitions are left"
                raise Fatal(ExitCode.BROKER_UNREACHABLE, text, hint="look at the broker's health and try again")

    def follow(self, until: float) -> Iterator[Message]:
        """The records that come, until the monotonic clock says so.

        Raises:
            WorkerError: the broker refuses.
        """
        while time.monotonic() < until:
            yield from (message for message in self._poll() if message.error() is None)

    def _poll(self) -> Iterator[Message]:
        """Records and ends of partitions; anything else is an error."""
        first = self._consumer.poll(POLL_S)
        if first is None:
            return
        for message in [first, *self._consumer.consume(BATCH, 0)]:
            error = message.error()
            if error is None or error.code() == _END_OF_PARTITION:
                yield message
            elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED or _may_pass(error):
                continue  # a reader needs no group, and a connection may come back
            else:
                raise translate(error, f"reading {self._topic}")


def _may_pass(error: KafkaError) -> bool:
    return meaning_of(error) in {Meaning.UNREACHABLE, Meaning.RETRIABLE}
