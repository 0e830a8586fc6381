"""The form of a record on the repartition topic: the one place that writes and reads it.

Form 2: one record carries many payloads of one partition: the byte 2, then a MessagePack array of
`RoutedPayload`: whose it is, the payload's lineage and what is remembered of it, its actions as lines of text. There
is no key: its users differ. Writing and reading a payload takes 0.5 us so, and 1.8 us in a record of its own, where
the client's work for the record comes on top; the input's JSON, parsed again, takes twice as long as the lines
(benchmarks/bench_form.py).

Form 1 is one payload: a MessagePack array (`PayloadInForm1`), its key the user. It is read as well, and written only
while a group is upgraded from a version that knows no other: readers of a new form come first, writers when all of the
group can read it (Kafka Streams' `upgrade.from`).

A null value resets the user in the key: everything up to the record's timestamp. A replay writes resets again, and
gives them the header `mark` (a form number and a time): those erase up to that time and no more.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec
import orjson

from worker.context.session_memory import NEVER, Seen, place_of, source_of
from worker.pipeline.record import Headers

FORM = 2
FORMER = 1
MARK = "mark"
MARK_FORM = 1
_MARK = struct.Struct(">Bd")


class UnknownForm(ValueError):
    """The record was written by a version that this one cannot read."""


class RoutedPayload(Seen[bytes], array_like=True, gc=False):
    """A payload on its way to its user. Times in Unix seconds. Its text is UTF-8 as it stands inside a JSON string."""

    user_id: str
    stream_time: float


class Reset(NamedTuple):
    """Forget the user: what happened up to `mark` (Unix seconds); None = up to the record's timestamp, and all that is
    known of the user then."""

    user_id: str
    mark: float | None


PUBLISH_AGAIN = NEVER  # the mark of a reset that erases nothing: the user's record is published as it stands


class PayloadInForm1(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A payload as form 1 has it: its lines are text, and not escaped."""

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


_encoder = msgspec.msgpack.Encoder()
_decoder_of_form_1 = msgspec.msgpack.Decoder(PayloadInForm1)
_HEAD_OF_FORM_1 = b"\x9a\x01"  # MessagePack: an array of ten, whose first is 1
_decoder = msgspec.msgpack.Decoder(list[RoutedPayload])
_FORM_BYTE = bytes([FORM])


def write(routed: list[RoutedPayload]) -> bytes:
    """The value of a record with these payloads."""
    return _FORM_BYTE + _encoder.encode(routed)


def write_in_form_1(routed: RoutedPayload) -> bytes:
    """The same of one payload for members that know no other form; its key has to be the user id."""
    lines = tuple([orjson.loads(b'"%b"' % line) for line in routed.text.split(b"\n")]) if routed.actions else ()
    return _encoder.encode(
        PayloadInForm1(
            FORMER,
            *place_of(routed.source),
            routed.event_time,
            routed.stream_time,
            routed.session_id,
            routed.product_id,
            routed.conversation_id,
            routed.email,
            lines,
        )
    )


def _from_form_1(user_id: str, payload: PayloadInForm1) -> RoutedPayload:
    return RoutedPayload(
        payload.product_id,
        payload.session_id,
        payload.event_time,
        source_of(payload.source_partition, payload.source_offset),
        b"\n".join([orjson.dumps(line)[1:-1] for line in payload.lines]),
        len(payload.lines),
        payload.conversation_id,
        payload.email,
        user_id,
        payload.stream_time,
    )


def read(key: bytes | None, value: bytes | None, headers: Headers | None) -> list[RoutedPayload] | Reset:
    """What a record means to its users. The key is only looked at where there is one user, headers where the value is
    null.

    Raises:
        UnknownForm: the record is of a form that this version does not know.
    """
    try:
        if value is None:
            return Reset((key or b"").decode(), _read_mark(headers))
        if value[:1] == _FORM_BYTE:
            return _decoder.decode(memoryview(value)[1:])
        if value[:2] == _HEAD_OF_FORM_1:
            return [_from_form_1((key or b"").decode(), _decoder_of_form_1.decode(value))]
        form = f"form {value[0]}" if value else "no form"
        raise UnknownForm(f"a record in {form}; this version reads forms {FORMER} and {FORM}")
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise UnknownForm(f"a record of {len(value or b'')} bytes that holds no payloads ({exc})") from exc


def reset_headers(mark: float | None) -> Headers:
    """The headers of a reset."""
    return [] if mark is None else [(MARK, _MARK.pack(MARK_FORM, mark))]


def _read_mark(headers: Headers | None) -> float | None:
    for name, packed in headers or ():
        if name == MARK:
            if packed is None or len(packed) != _MARK.size or packed[0] != MARK_FORM:
                raise UnknownForm(f"a reset with the mark {packed!r}; this version reads form {MARK_FORM}")
            return float(_MARK.unpack(packed)[1])
    return None
