"""The form of a record on the repartition topic: the one place that writes and reads it.

Form 1: key = user id, value = a MessagePack array (`RoutedPayload`): the payload's lineage and what is remembered of
it, its actions as lines of text. Carrying the input's JSON costs 1.7 times as much, because it is parsed
again (benchmarks/bench_form.py). A null value resets the user: everything up to the record's timestamp. A replay writes
resets again, and gives them the header `mark` (a form number and a time): those erase up to that time and no more.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from schemas.codec import Payload
from worker.context.session_memory import NEVER
from worker.pipeline.event_time import EventTime
from worker.pipeline.record import Headers

FORM = 1
MARK = "mark"
_MARK = struct.Struct(">Bd")


class UnknownForm(ValueError):
    """The record was written by a version that this one cannot read."""


class RoutedPayload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A payload on its way to its user. Times in Unix seconds; an absent id is ""."""

    form: int
    source_partition: int
    source_offset: int
    event_time: float
    stream_time: float
    session_id: str
    product_id: str
    conversation_id: str
    email: str
    lines: tuple[str, ...]


class Reset(NamedTuple):
    """Forget the user: what happened up to `mark` (Unix seconds); None = up to the record's timestamp, and all that is
    known of the user then."""

    mark: float | None


PUBLISH_AGAIN = NEVER  # the mark of a reset that erases nothing: the user's record is published as it stands


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RoutedPayload)


def write(payload: Payload, partition: int, offset: int, time: EventTime) -> bytes:
    """The value of a payload's record."""
    return _encoder.encode(
        RoutedPayload(
            FORM,
            partition,
            offset,
            time.event_time,
            time.stream_time,
            payload.session_id,
            payload.product_id,
            payload.conversation_id,
            payload.email,
            payload.lines(),
        )
    )


def read(value: bytes | None, headers: Headers | None) -> RoutedPayload | Reset:
    """What a record means to its user. Headers are only looked at where the value is null.

    Raises:
        UnknownForm: the record is of a form that this version does not know.
    """
    if value is None:
        return Reset(_read_mark(headers))
    try:
        routed = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise UnknownForm(f"a value of {len(value)} bytes that is no payload ({exc})") from exc
    if routed.form != FORM:
        raise UnknownForm(f"a payload in form {routed.form}; this version reads form {FORM}")
    return routed


def reset_headers(mark: float | None) -> Headers:
    """The headers of a reset."""
    return [] if mark is None else [(MARK, _MARK.pack(FORM, mark))]


def _read_mark(headers: Headers | None) -> float | None:
    for name, packed in headers or ():
        if name == MARK:
            if packed is None or len(packed) != _MARK.size or packed[0] != FORM:
                raise UnknownForm(f"a reset with the mark {packed!r}; this version reads form {FORM}")
            return float(_MARK.unpack(packed)[1])
    return None
