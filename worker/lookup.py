"""What the output topic says of one user, read as the chat layer reads it.

Reader's rule: of two records the one with the higher version is newer, a null record clears it. The user's home is the
partition that the Java default partitioner gives; only when nothing was ever written there are the others looked at.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator

from schemas.user_context import UserContext
from schemas.user_record import InvalidRecord, read_record
from worker.errors import ExitCode, Fatal
from worker.kafka import OFFSET_BEGINNING, Message, murmur2
from worker.settings import Settings
from worker.topic_policy import Topic
from worker.topic_reader import TopicReader


def user_id_of(text: str) -> str:
    """The id that a user has in the records: without the blanks around it.

    Raises:
        Fatal: USAGE, it is nobody's.
    """
    user_id = text.strip()
    try:
        user_id.encode()
    except UnicodeEncodeError as exc:
        raise Fatal(ExitCode.USAGE, f"{user_id!r} is not UTF-8", hint="a user id is text") from exc
    if not user_id:
        raise Fatal(ExitCode.USAGE, "the user id is empty", hint="give the user_id as it stands in the payloads")
    return user_id


class Lookup:
    """Follows one user's records. Close it."""

    def __init__(self, settings: Settings, topic: Topic, user_id: str) -> None:
        self.record: UserContext | None = None
        self.ever_seen = False  # a record or a tombstone
        self._key = user_id.encode()
        self._topic = topic
        self._home = murmur2(self._key, topic.partitions)
        self._reader = TopicReader(settings, topic.name)

    def close(self) -> None:
        self._reader.close()

    def read_to_end(self) -> UserContext | None:
        """The newest record as of now; None when nothing is known.

        Raises:
            Fatal: the broker does not answer, refuses, or the record is not one of ours.
        """
        self._read([self._home])
        if not self.ever_seen and self._topic.partitions > 1:
            self._read([number for number in range(self._topic.partitions) if number != self._home])
            self._reader.go_to(self._reader.ends)
        return self.record

    def follow(self, timeout_s: float = math.inf) -> Iterator[UserContext | None]:
        """What is known after each record of the user that comes, until the time is up. After `read_to_end`."""
        for message in self._reader.follow(time.monotonic() + timeout_s):
            if self._apply(message):
                yield self.record

    def changes(self) -> Iterator[UserContext | None]:
        """What follows, for ever: each new record, and None when the user is forgotten. After `read_to_end`."""
        known = self.record
        for record in self.follow():
            if record != known:
                known = record
                yield record

    def _read(self, numbers: Iterable[int]) -> None:
        for message in self._reader.to_end(dict.fromkeys(numbers, OFFSET_BEGINNING)):
            self._apply(message)

    def _apply(self, message: Message) -> bool:
        """Whether the record is of this user."""
        if message.key() != self._key:
            return False
        self.ever_seen = True
        value = message.value()
        if value is None:
            self.record = None
            return True
        try:
            record = read_record(value).context()
        except InvalidRecord as exc:
            where = f"{self._topic.name}, partition {message.partition()}, offset {message.offset()}"
            text = f"the record at {where} is no user context ({exc})"
            raise Fatal(ExitCode.FAILED, text, hint="is another program writing to this topic?") from exc
        if self.record is None or record.version >= self.record.version:
            self.record = record
        return True
