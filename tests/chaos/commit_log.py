"""Every commit that a group ever made, read from the broker's own topic of them: no sampling can miss one."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tests.acceptance.records import Record

OFFSETS_TOPIC = "__consumer_offsets"
OFFSET_KEY_VERSIONS = (0, 1)  # other keys are those of group metadata
LEADER_EPOCH_SINCE = 3  # the version of the value that has one
COMPACT_SINCE = 4  # the version of the value whose texts have a variable-length length


class Commit(NamedTuple):
    """One commit of one partition. `at_ms`: when the coordinator took it, Unix milliseconds."""

    topic: str
    partition: int
    next_offset: int
    metadata: str
    at_ms: int


def commits_of(group_id: str, log: Mapping[int, Iterable[Record]]) -> list[Commit]:
    """The commits of a group in the order in which they were made; a group's lie on one partition of the topic."""
    found = []
    for records in log.values():
        for record in records:
            where = _partition_of(record.key or b"", group_id)
            if where is not None and record.value is not None:
                found.append(_read(where, record.value))
    return found


class _Bytes:
    """Kafka's primitive types, read one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        [value] = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def text(self, *, compact: bool = False) -> str:
        length = self._varint() - 1 if compact else self.number(">h")
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self.number(">B")) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift


def _partition_of(key: bytes, group_id: str) -> tuple[str, int] | None:
    data = _Bytes(key)
    if data.number(">h") not in OFFSET_KEY_VERSIONS or data.text() != group_id:
        return None
    return data.text(), data.number(">i")


def _read(where: tuple[str, int], value: bytes) -> Commit:
    data = _Bytes(value)
    version = data.number(">h")
    next_offset = data.number(">q")
    if version >= LEADER_EPOCH_SINCE:
        data.number(">i")
    metadata = data.text(compact=version >= COMPACT_SINCE).removesuffix("\0")  # the client's binding sends one more
    return Commit(*where, next_offset, metadata, at_ms=data.number(">q"))
