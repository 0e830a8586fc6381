"""The form of a record on the repartition topic: the one place that writes and reads it.

Form 1: key = user id, value = the input record's value byte for byte, header `lineage` = one byte of form number, then
source partition, source offset, event time, stream time. A null value resets the user; header `mark` may carry the time
up to which (a form number and the time), else the record's own timestamp counts.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from worker.pipeline.record import Headers, SourceRecord

FORM = 1
LINEAGE = "lineage"
MARK = "mark"
_LINEAGE = struct.Struct(">Biqdd")
_MARK = struct.Struct(">Bd")
_LINEAGE_BYTES = _LINEAGE.size


class UnknownForm(ValueError):
    """The record was written by a version that this one cannot read."""


class Lineage(NamedTuple):
    """Where a payload came from and when it happened (Unix seconds)."""

    source_partition: int
    source_offset: int
    event_time: float
    stream_time: float


class Emission(NamedTuple):
    """A payload on its way to its user: the record it came in, and when it happened (Unix seconds)."""

    user_id: str
    source: SourceRecord
    event_time: float
    stream_time: float


class Routed(NamedTuple):
    """A payload that arrived for a user."""

    user_id: str
    lineage: Lineage
    value: bytes


class Reset(NamedTuple):
    """Forget this user up to `mark`; None = up to the record's timestamp."""

    user_id: str
    mark: float | None


def lineage_headers(emission: Emission) -> Headers:
    """The headers of a payload's record; its key is the user id, its value the source's."""
    source = emission.source
    packed = _LINEAGE.pack(FORM, source.partition, source.offset, emission.event_time, emission.stream_time)
    return [(LINEAGE, packed)]


def reset_headers(mark: float | None) -> Headers:
    """The headers of a reset."""
    return [] if mark is None else [(MARK, _MARK.pack(FORM, mark))]


def read(key: bytes | None, value: bytes | None, headers: Headers | None) -> Routed | Reset:
    """The record's meaning.

    Raises:
        UnknownForm: the record is of a form that this version does not know.
    """
    if not key:
        raise UnknownForm("a record without a key")
    user_id = key.decode()
    if value is None:
        return Reset(user_id, _read_mark(headers))
    for name, packed in headers or ():
        if name == LINEAGE and packed is not None and len(packed) == _LINEAGE_BYTES and packed[0] == FORM:
            return Routed(user_id, Lineage(*_LINEAGE.unpack(packed)[1:]), value)
    raise UnknownForm(f"a record with the headers {headers!r}; this version reads form {FORM}")


def _read_mark(headers: Headers | None) -> float | None:
    for name, packed in headers or ():
        if name == MARK:
            if packed is None or len(packed) != _MARK.size or packed[0] != FORM:
                raise UnknownForm(f"a reset with the mark {packed!r}; this version reads form {FORM}")
            return float(_MARK.unpack(packed)[1])
    return None
