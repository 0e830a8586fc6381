"""The form of a record between the stages."""

from __future__ import annotations

import struct

import msgspec
import pytest

from schemas.codec import Payload, WireAction
from worker.pipeline.event_time import EventTime
from worker.pipeline.repartition import FORM, Reset, RoutedPayload, UnknownForm, read, reset_headers, write

PAYLOAD = Payload(
    session_id="ps_1",
    product_id="acme",
    user_id="alice",
    email="alice@example.com",
    conversation_id="k1",
    actions=[
        WireAction(description="Pay — now", canonical_url="/é", index=3, type="click"),
        WireAction(description="a\nb"),
    ],
    forwarded_at=990.5,
)
TIME = EventTime(990.5, 980.25, clamped=False)


def test_a_payload_comes_back_with_its_lineage_and_its_lines() -> None:
    assert read(write(PAYLOAD, 2, 2**40, TIME), None) == RoutedPayload(
        form=FORM,
        source_partition=2,
        source_offset=2**40,
        event_time=990.5,
        stream_time=980.25,
        session_id="ps_1",
        product_id="acme",
        conversation_id="k1",
        email="alice@example.com",
        lines=("[3] click: Pay — now — /é", "[0] : a b — "),
    )


def test_headers_that_others_add_to_a_payload_do_not_matter() -> None:
    value = write(PAYLOAD, 0, 0, TIME)
    assert read(value, [("traceparent", b"00-1"), ("mark", None)]) == read(value, None)


@pytest.mark.parametrize("mark", [None, 990.5, 0.0])
def test_a_null_value_is_a_reset_up_to_its_mark(mark: float | None) -> None:
    assert read(None, reset_headers(mark)) == Reset(mark)


def test_a_reset_by_hand_has_no_headers_or_foreign_ones() -> None:
    assert read(None, None) == Reset(None)
    assert read(None, [("traceparent", b"00-1")]) == Reset(None)


def form(number: int, *more: object) -> bytes:
    fields = msgspec.msgpack.decode(write(PAYLOAD, 0, 0, TIME))
    return msgspec.msgpack.encode([number, *fields[1:], *more])


def test_a_later_form_is_refused_by_its_number_whatever_it_adds() -> None:
    with pytest.raises(UnknownForm, match="form 2; this version reads form 1"):
        read(form(2), None)
    with pytest.raises(UnknownForm, match="form 7"):
        read(form(7, {"new": True}), None)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b'{"session_id": "ps_1"}',
        b"\xff\xff",
        write(PAYLOAD, 0, 0, TIME)[:-1],
        write(PAYLOAD, 0, 0, TIME).replace(b"alice@example.com", b"\xff" * 17),
        msgspec.msgpack.encode([FORM]),
    ],
)
def test_a_value_that_is_no_payload_is_refused(value: bytes) -> None:
    with pytest.raises(UnknownForm, match=f"a value of {len(value)} bytes that is no payload"):
        read(value, None)


@pytest.mark.parametrize("mark", [None, b"", struct.pack(">Bd", 2, 990.5), struct.pack(">Bf", FORM, 990.5)])
def test_a_mark_in_another_form_is_refused(mark: bytes | None) -> None:
    with pytest.raises(UnknownForm, match="a reset with the mark"):
        read(None, [("mark", mark)])
