"""The form of a record between the stages."""

from __future__ import annotations

import struct

import msgspec
import pytest

from worker.pipeline.repartition import (
    FORM,
    MARK_FORM,
    Reset,
    RoutedPayload,
    UnknownForm,
    read,
    reset_headers,
    write,
    write_in_form_1,
)

ALICE = RoutedPayload(
    product_id="acme",
    session_id="ps_1",
    event_time=990.5,
    source=2**50 + 7,
    text="[3] click: Pay — now — /é".encode() + b'\n[0] : say \\"a\\"',
    actions=2,
    conversation_id="k1",
    email="alice@example.com",
    user_id="alice",
    stream_time=980.25,
)
BOB = RoutedPayload("", "ps_2", 991.0, 8, b"", 0, "", "", "bob", 991.0)
VALUE = write([ALICE])


def test_payloads_come_back_with_their_lineage_and_their_text() -> None:
    assert read(None, write([ALICE, BOB, ALICE]), None) == [ALICE, BOB, ALICE]


def test_many_payloads_fit_into_one_record() -> None:
    assert read(None, write([BOB] * 1000), None) == [BOB] * 1000


def test_neither_key_nor_headers_of_payloads_matter() -> None:
    assert read(b"carol", VALUE, [("traceparent", b"00-1"), ("mark", None)]) == [ALICE]


@pytest.mark.parametrize("routed", [ALICE, BOB])
def test_a_payload_in_form_1_is_read_as_its_key_s(routed: RoutedPayload) -> None:
    assert read(routed.user_id.encode(), write_in_form_1(routed), None) == [routed]


def test_form_1_has_lines_that_are_not_escaped() -> None:
    """As the versions wrote and read it that knew no other."""
    assert msgspec.msgpack.decode(write_in_form_1(ALICE)) == [
        1,
        4,
        7,
        990.5,
        980.25,
        "ps_1",
        "acme",
        "k1",
        "alice@example.com",
        ["[3] click: Pay — now — /é", '[0] : say "a"'],
    ]


@pytest.mark.parametrize("mark", [None, 990.5, 0.0])
def test_a_null_value_is_a_reset_up_to_its_mark(mark: float | None) -> None:
    assert read(b"alice", None, reset_headers(mark)) == Reset("alice", mark)


def test_a_reset_by_hand_has_no_headers_or_foreign_ones() -> None:
    assert read("zoë".encode(), None, None) == Reset("zoë", None)
    assert read(b"alice", None, [("traceparent", b"00-1")]) == Reset("alice", None)


def test_a_reset_of_nobody_that_can_be_named_is_refused() -> None:
    with pytest.raises(UnknownForm, match="holds no payloads"):
        read(b"\xff", None, None)


def test_another_form_is_refused_by_its_number() -> None:
    with pytest.raises(UnknownForm, match="form 3; this version reads forms 1 and 2"):
        read(None, b"\x03" + VALUE[1:], None)


@pytest.mark.parametrize("value", [b"", b"{}", b'{"session_id": "ps_1"}', b"\xff\xff"])
def test_a_value_of_no_form_is_refused(value: bytes) -> None:
    with pytest.raises(UnknownForm, match="this version reads forms 1 and 2"):
        read(None, value, None)


@pytest.mark.parametrize(
    "value",
    [
        bytes([FORM]),
        VALUE[:-1],
        VALUE.replace(b"alice@example.com", b"\xff" * 17),
        bytes([FORM]) + msgspec.msgpack.encode([[1, 2, 3]]),
        write_in_form_1(ALICE)[:-1],
    ],
)
def test_a_value_that_holds_no_payloads_is_refused(value: bytes) -> None:
    with pytest.raises(UnknownForm, match=f"a record of {len(value)} bytes that holds no payloads"):
        read(None, value, None)


@pytest.mark.parametrize("mark", [None, b"", struct.pack(">Bd", 2, 990.5), struct.pack(">Bf", MARK_FORM, 990.5)])
def test_a_mark_in_another_form_is_refused(mark: bytes | None) -> None:
    with pytest.raises(UnknownForm, match="a reset with the mark"):
        read(b"alice", None, [("mark", mark)])
