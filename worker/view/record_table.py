"""The newest record of every key of a compacted topic, as values: records in. No Kafka, no clock.

The bytes are kept and decoded again at each read: a third of the memory of decoded records, and most records are
replaced unread (`benchmarks/bench_view.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec


@dataclass(slots=True)
class Counts:
    """What came in since the start."""

    records: int = 0
    tombstones: int = 0
    undecodable: int = 0  # the value is no record of ours, or of another one than its key
    unkeyed: int = 0  # the key is no id
    superseded: int = 0  # older than what is known: a stopped member's, or repeated after a crash
    newer_schema: int = 0  # of a newer schema_version, read as far as it is known here


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is held of one key. `conversations` and `session_ids` are those under which it can be found."""

    version: int
    expires_at: float
    conversations: tuple[str, ...]
    session_ids: tuple[str, ...]
    value: bytes
    partition: int


MOST_KEYS = 100  # of one id: a read decodes the record of each, in 10 us; what more have is a placeholder for an id


class Index:
    """By some id, the keys whose records have it. A reader sees those of an id as before a move or after it."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, ...] | dict[str, None]] = {}  # a dict where there are more than MOST_KEYS

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, one: str) -> tuple[str, ...] | None:
        """The keys, those that came first before; None when there are more than `MOST_KEYS`."""
        keys = self._keys.get(one, ())
        return keys if isinstance(keys, tuple) else None

    def move(self, key: str, before: tuple[str, ...], now: tuple[str, ...]) -> None:
        """A record had these ids, and has those."""
        for one in before:
            if one not in now:
                self._remove(key, one)
        for one in now:
            self._add(key, one)

    def _add(self, key: str, one: str) -> None:
        keys = self._keys.get(one, ())
        if isinstance(keys, dict):
            keys[key] = None
        elif key not in keys:
            more = (*keys, key)
            self._keys[one] = more if len(more) <= MOST_KEYS else dict.fromkeys(more)

    def _remove(self, key: str, one: str) -> None:
        keys = self._keys[one]
        if isinstance(keys, dict):
            del keys[key]
            left = keys if len(keys) > MOST_KEYS else tuple(keys)
        else:
            left = tuple([other for other in keys if other != key])
        if left:
            self._keys[one] = left
        else:
            del self._keys[one]


class RecordTable:
    """One writer, any number of readers: a reader sees a key as it was before a record or after it.

    Of two records of a key the one with the higher version stays, and of two of the same the later one; a null record
    clears the key, and so does one that cannot be read: what it replaced is not served on. Kinds of tables know what a
    record is (`_decode`).
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.value_bytes = 0
        self._entries: dict[str, Entry] = {}
        self._conversations = Index()
        self._session_ids = Index()
        self._anew: dict[int, dict[str, Entry]] = {}  # of a partition that is read again, what came of it so far

    def __len__(self) -> int:
        return len(self._entries)

    def _decode(self, partition: int, key: str, value: bytes) -> Entry | None:
        """What is to be held of a record that is not null; None where it is none of this key."""
        raise NotImplementedError

    def apply(self, partition: int, key: bytes | None, value: bytes | None) -> str | None:
        """Take in a record of the topic; the id that it changed, None when it changed nothing."""
        counts = self.counts
        counts.records += 1
        name = _name(key)
        if name is None:
            counts.unkeyed += 1
            return None
        anew = self._anew.get(partition)
        entry = self._read(partition, name, value)
        known = (self._entries if anew is None else anew).get(name)
        if entry is not None and known is not None and entry.version < known.version:
            counts.superseded += 1
            return None
        if anew is None:
            return self._remove(name) if entry is None else self._replace(name, known, entry)
        if entry is None:
            anew.pop(name, None)
        else:
            anew[name] = entry
        return None

    def begin_anew(self, partition: int) -> None:
        """The partition will be read from its start: what is known is served until `finish`, and nothing goes back."""
        self._anew[partition] = {}

    def finish(self, partition: int) -> list[str]:
        """The partition is read again: what it holds takes the place of what was known of it. Whom that changed."""
        anew = self._anew.pop(partition, None)
        if anew is None:
            return []
        mine = [name for name, entry in self._entries.items() if entry.partition == partition]
        changed = self._drop([name for name in mine if name not in anew])
        for name, entry in anew.items():
            known = self._entries.get(name)
            moved = known is not None and known.partition != partition and known.partition not in self._anew
            if moved and known is not None and known.version > entry.version:
                continue
            self._replace(name, known, entry)
            if known is None or known.value != entry.value:
                changed.append(name)
        return changed

    def drop_beyond(self, partitions: int) -> list[str]:
        """The topic has only so many partitions: whoever was on another one goes. Who they were."""
        self._anew = {partition: anew for partition, anew in self._anew.items() if partition < partitions}
        return self._drop([name for name, entry in self._entries.items() if entry.partition >= partitions])

    def _read(self, partition: int, name: str, value: bytes | None) -> Entry | None:
        """What is to be held of a record; None where it clears the key."""
        if value is None:
            self.counts.tombstones += 1
            return None
        entry = self._decode(partition, name, value)
        if entry is None:
            self.counts.undecodable += 1
        return entry

    def _drop(self, names: list[str]) -> list[str]:
        for name in names:
            self._remove(name)
        return names

    def _remove(self, name: str) -> str | None:
        known = self._entries.pop(name, None)
        if known is None:
            return None
        self.value_bytes -= len(known.value)
        self._conversations.move(name, known.conversations, ())
        self._session_ids.move(name, known.session_ids, ())
        return name

    def _replace(self, name: str, known: Entry | None, entry: Entry) -> str:
        self._entries[name] = entry
        self.value_bytes += len(entry.value) - (len(known.value) if known is not None else 0)
        conversations, session_ids = (known.conversations, known.session_ids) if known is not None else ((), ())
        if conversations != entry.conversations:
            self._conversations.move(name, conversations, entry.conversations)
        if session_ids != entry.session_ids:
            self._session_ids.move(name, session_ids, entry.session_ids)
        return name


def _name(key: bytes | None) -> str | None:
    try:
        return (key or b"").decode() or None
    except UnicodeDecodeError:
        return None
