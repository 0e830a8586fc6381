"""The newest record of every user, as values: records in, records out. No Kafka, no clock.

The bytes are kept and decoded again at each read: a third of the memory of decoded records, and most records are
replaced unread (`benchmarks/bench_view.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from schemas.user_context import SCHEMA_VERSION, UserContext
from schemas.user_record import InvalidRecord, SessionRecord, UserRecord, read_record


@dataclass(slots=True)
class Counts:
    """What came in since the start."""

    records: int = 0
    tombstones: int = 0
    undecodable: int = 0  # the value is no record of ours, or of another user than its key
    unkeyed: int = 0  # the key is no user id
    superseded: int = 0  # older than what is known: a stopped member's, or repeated after a crash
    newer_schema: int = 0  # of a newer schema_version, read as far as it is known here


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is held of one user."""

    version: int
    expires_at: float
    conversations: tuple[str, ...]
    value: bytes
    partition: int


class ContextTable:
    """One writer, any number of readers: a reader sees a user as they were before a record or after it.

    Of two records of a user the one with the higher version stays, and of two of the same the later one; a null record
    clears the user, and so does one that cannot be read: what it replaced is not served on.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.value_bytes = 0
        self._entries: dict[str, Entry] = {}
        self._conversations: dict[str, tuple[str, ...]] = {}  # conversation id to the users who have it
        self._anew: dict[int, dict[str, Entry]] = {}  # of a partition that is read again, what came of it so far

    def __len__(self) -> int:
        return len(self._entries)

    # --- reading ---

    def get(self, user_id: str, product_id: str | None, now: float) -> UserContext | None:
        """What is known of a user at `now`, of one product if named; None when that is nothing."""
        entry = self._entries.get(user_id)
        if entry is None or entry.expires_at < now:
            return None
        return _as_of(read_record(entry.value), product_id, now)

    def by_conversation(self, conversation_id: str, product_id: str | None, now: float) -> UserContext | None:
        """The one user who is in this conversation; None when nobody is, or several are."""
        found = [
            context
            for user_id in self._conversations.get(conversation_id, ())
            if (context := self.get(user_id, product_id, now)) is not None
            and any(session.conversation_id == conversation_id for session in context.sessions)
        ]
        return found[0] if len(found) == 1 else None

    # --- writing ---

    def apply(self, partition: int, key: bytes | None, value: bytes | None) -> str | None:
        """Take in a record of the topic; the user whom it changed, None when it changed nobody."""
        counts = self.counts
        counts.records += 1
        user_id = _user_id(key)
        if user_id is None:
            counts.unkeyed += 1
            return None
        anew = self._anew.get(partition)
        entry = self._read(partition, user_id, value)
        known = (self._entries if anew is None else anew).get(user_id)
        if entry is not None and known is not None and entry.version < known.version:
            counts.superseded += 1
            return None
        if anew is None:
            return self._remove(user_id) if entry is None else self._replace(user_id, known, entry)
        if entry is None:
            anew.pop(user_id, None)
        else:
            anew[user_id] = entry
        return None

    def begin_anew(self, partition: int) -> None:
        """The partition will be read from its start: what is known is served until `finish`, and nobody goes back."""
        self._anew[partition] = {}

    def finish(self, partition: int) -> list[str]:
        """The partition is read again: what it holds takes the place of what was known of it. Whom that changed."""
        anew = self._anew.pop(partition, None)
        if anew is None:
            return []
        mine = [user_id for user_id, entry in self._entries.items() if entry.partition == partition]
        changed = self._drop([user_id for user_id in mine if user_id not in anew])
        for user_id, entry in anew.items():
            known = self._entries.get(user_id)
            moved = known is not None and known.partition != partition and known.partition not in self._anew
            if moved and known is not None and known.version > entry.version:
                continue
            self._replace(user_id, known, entry)
            if known is None or known.value != entry.value:
                changed.append(user_id)
        return changed

    def drop_beyond(self, partitions: int) -> list[str]:
        """The topic has only so many partitions: whoever was on another one goes. Who they were."""
        self._anew = {partition: anew for partition, anew in self._anew.items() if partition < partitions}
        return self._drop([user_id for user_id, entry in self._entries.items() if entry.partition >= partitions])

    def _read(self, partition: int, user_id: str, value: bytes | None) -> Entry | None:
        """What is to be held of a record; None where it clears the user."""
        if value is None:
            self.counts.tombstones += 1
            return None
        try:
            record = read_record(value)
        except InvalidRecord:
            record = None
        if record is None or record.user_id != user_id:
            self.counts.undecodable += 1
            return None
        if record.schema_version > SCHEMA_VERSION:
            self.counts.newer_schema += 1
        conversations = tuple({one.conversation_id: None for one in record.sessions if one.conversation_id})
        return Entry(record.version, record.expires_at, conversations, value, partition)

    def _drop(self, user_ids: list[str]) -> list[str]:
        for user_id in user_ids:
            self._remove(user_id)
        return user_ids

    def _remove(self, user_id: str) -> str | None:
        known = self._entries.pop(user_id, None)
        if known is None:
            return None
        self.value_bytes -= len(known.value)
        self._leave(user_id, known.conversations)
        return user_id

    def _replace(self, user_id: str, known: Entry | None, entry: Entry) -> str:
        self._entries[user_id] = entry
        self.value_bytes += len(entry.value) - (len(known.value) if known is not None else 0)
        before = known.conversations if known is not None else ()
        if before != entry.conversations:
            self._leave(user_id, tuple(one for one in before if one not in entry.conversations))
            for one in entry.conversations:
                users = self._conversations.get(one, ())
                if user_id not in users:
                    self._conversations[one] = (*users, user_id)
        return user_id

    def _leave(self, user_id: str, conversations: tuple[str, ...]) -> None:
        for one in conversations:
            users = tuple(user for user in self._conversations[one] if user != user_id)
            if users:
                self._conversations[one] = users
            else:
                del self._conversations[one]


def _user_id(key: bytes | None) -> str | None:
    try:
        return (key or b"").decode() or None
    except UnicodeDecodeError:
        return None


def _as_of(record: UserRecord, product_id: str | None, now: float) -> UserContext | None:
    """Without the sessions that were last seen longer ago than the lookback; None when that leaves nothing."""
    since = now - (record.expires_at - record.updated_at)

    def counts(session: SessionRecord) -> bool:
        return session.last_seen_at >= since and (product_id is None or session.product_id == product_id)

    sessions = tuple([session for session in record.sessions if counts(session)])
    return record.context(sessions) if sessions else None
