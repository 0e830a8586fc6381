"""Reading a record's value: a payload, a skip, or a refusal that names the field."""

from __future__ import annotations

import json

import orjson
import pytest

from schemas.codec import InvalidPayload, Payload, PayloadIds, Skip, _culprit, read_ids, read_payload
from tests.routed import as_lines


def read(**fields: object) -> Payload:
    payload = read_payload(orjson.dumps({"session_id": "ps_1", **fields}))
    assert isinstance(payload, Payload)
    return payload


def refusal(value: bytes) -> tuple[str, str]:
    with pytest.raises(InvalidPayload) as caught:
        read_payload(value)
    assert str(caught.value)
    return caught.value.reason, caught.value.field


def test_a_payload_is_read_with_all_that_counts() -> None:
    value = orjson.dumps(
        {
            "type": "actions",
            "product_id": "acme",
            "session_id": "ps_1",
            "user_id": "user_456",
            "email": "alice@example.com",
            "conversation_id": "c_1",
            "count": 1,
            "forwarded_at": 1712345678.9,
            "actions": [
                {
                    "title": "Billing",
                    "description": "User landed on Billing",
                    "canonical_url": "https://app.example.com/billing",
                    "index": 3,
                    "type": "pageview",
                    "timestamp_start": 1,
                    "timestamp_end": 2.5,
                    "raw_url": "https://app.example.com/billing?x=1",
                }
            ],
        }
    )
    payload = read_payload(value)
    assert isinstance(payload, Payload)
    assert payload.session_id == "ps_1"
    assert payload.product_id == "acme"
    assert payload.user_id == "user_456"
    assert payload.email == "alice@example.com"
    assert payload.conversation_id == "c_1"
    assert payload.forwarded_at == 1712345678.9
    assert as_lines(payload.text()) == ("[3] pageview: User landed on Billing — https://app.example.com/billing",)


def test_missing_and_null_fields_are_the_defaults() -> None:
    absent = read()
    null = read(
        type=None,
        product_id=None,
        user_id=None,
        email=None,
        conversation_id=None,
        actions=None,
        count=None,
        forwarded_at=None,
    )
    assert absent == null == Payload("ps_1", "", "", "", "", [], None, is_plain=True)


def test_an_action_without_fields_is_a_line_all_the_same() -> None:
    assert as_lines(read(actions=[{}, {"index": None, "description": None}]).text()) == ("[0] :  — ", "[0] :  — ")


def test_unknown_fields_are_ignored() -> None:
    assert as_lines(read(newer={"a": [1]}, actions=[{"newer": 1}]).text()) == ("[0] :  — ",)


def test_ids_inside_actions_are_ignored_whatever_they_hold() -> None:
    payload = read(actions=[{"session_id": {}, "user_id": [], "email": 1.5, "conversation_id": True}])
    assert (payload.session_id, payload.user_id) == ("ps_1", "")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" user_456\n", "user_456"),
        ("", ""),
        ("  ", ""),
        (0, "0"),
        (-7, "-7"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
    ],
)
def test_an_id_is_stripped_and_an_integer_is_its_exact_digits(given: object, kept: str) -> None:
    assert read(user_id=given).user_id == kept


@pytest.mark.parametrize("field", ["session_id", "product_id", "user_id", "email", "conversation_id"])
@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40, 1.5])
def test_an_id_that_cannot_be_kept_exactly_is_refused_and_says_so(field: str, number: float) -> None:
    with pytest.raises(InvalidPayload, match=f"cannot be kept exactly.*{field}") as caught:
        read_payload(json.dumps({"session_id": "s", field: number}).encode())
    assert (caught.value.reason, caught.value.field) == ("wrong_type", field)


def test_an_integer_session_id_counts() -> None:
    assert read(session_id=42).session_id == "42"


def test_event_time_may_be_an_integer() -> None:
    assert read(forwarded_at=1712345678).forwarded_at == 1712345678.0


def test_a_value_behind_the_schema_registry_frame_is_read() -> None:
    payload = read_payload(b"\0\0\0\0\7" + b'{"session_id": "ps_1"}')
    assert isinstance(payload, Payload)
    assert payload.session_id == "ps_1"


@pytest.mark.parametrize(
    ("value", "skip"),
    [
        (None, Skip.NULL_VALUE),
        (b"{}", Skip.NO_SESSION_ID),
        (b'{"session_id": null}', Skip.NO_SESSION_ID),
        (b'{"session_id": " "}', Skip.NO_SESSION_ID),
        (b'{"type": "summary", "session_id": "ps_1", "summary": "s"}', Skip.OTHER_TYPE),
        (b'{"type": "heartbeat"}', Skip.OTHER_TYPE),
        (b'{"type": "", "session_id": "ps_1"}', Skip.OTHER_TYPE),
        (b'{"type": "heartbeat", "session_id": {}}', Skip.OTHER_TYPE),
    ],
)
def test_what_is_nobodys_context_is_skipped_for_a_reason(value: bytes | None, skip: Skip) -> None:
    assert read_payload(value) is skip


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0",
        b"\0\0\0\0\1",
        b"not json",
        b'{"session_id": "ps_1"',
        b'{"session_id": "ps_1"} x',
        b'\xef\xbb\xbf{"session_id": "ps_1"}',
        b'{"session_id": "\xff"}',
        b'{"session_id": "ps_1", "nobody needs this": "\xff"}',
        b'{"session_id": "ps_1", "\xff": 1}',
        b'{"session_id": "ps_1", "actions": [{"title": "\xc3("}]}',
        b'{"session_id": "ps_1", "email": "\\ud800"}',
        b'{"session_id": "ps_1", "nobody needs this": "\\udc00x"}',
        b'{"session_id": "ps_1", "forwarded_at": NaN}',
        b'{"session_id": "ps_1", "forwarded_at": Infinity}',
        b'{"session_id": "ps_1", "forwarded_at": 1e999}',
        b'{"session_id": "ps_1", "a": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
    ],
)
def test_what_is_no_json_is_refused_as_a_whole(value: bytes) -> None:
    assert refusal(value) == ("not_json", "")


@pytest.mark.parametrize("value", [b"[]", b"42", b"null", b'"text"', b"true", b"\0\0\0\0\1[]"])
def test_what_is_no_object_is_refused_as_a_whole(value: bytes) -> None:
    assert refusal(value) == ("not_an_object", "")


@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        ('"session_id": {}', "session_id"),
        ('"session_id": []', "session_id"),
        ('"session_id": true', "session_id"),
        ('"session_id": 1.5', "session_id"),
        ('"session_id": 1.0', "session_id"),
        ('"user_id": 18446744073709551616', "user_id"),
        ('"user_id": -9223372036854775809', "user_id"),
        ('"user_id": 1e3', "user_id"),
        ('"product_id": {"a": 1}', "product_id"),
        ('"email": ["a@example.com"]', "email"),
        ('"conversation_id": false', "conversation_id"),
        ('"actions": {}', "actions"),
        ('"actions": "none"', "actions"),
        ('"actions": [1, 2]', "actions[0]"),
        ('"actions": [{}, null]', "actions[1]"),
        ('"actions": [{"title": 5}]', "actions[0].title"),
        ('"actions": [{}, {}, {"index": "0"}]', "actions[2].index"),
        ('"actions": [{"timestamp_start": "1"}]', "actions[0].timestamp_start"),
        ('"count": "1"', "count"),
        ('"count": 1.5', "count"),
        ('"forwarded_at": "1712345678"', "forwarded_at"),
        ('"forwarded_at": true', "forwarded_at"),
        ('"type": 1', "type"),
        ('"type": {}', "type"),
    ],
)
def test_a_wrong_type_is_refused_and_the_field_is_named(fields: str, culprit: str) -> None:
    assert refusal(b'{"session_id": "ps_1", %b}' % fields.encode()) == ("wrong_type", culprit)


def test_a_wrong_type_is_refused_also_where_no_session_is_named() -> None:
    assert refusal(b'{"actions": 1}') == ("wrong_type", "actions")


def test_a_refusal_without_a_path_names_no_field() -> None:
    assert _culprit("Expected `object`, got `int`") == ""


@pytest.mark.parametrize(
    "separator", ["\n", "\r\n", "\t", "\0", "\x1b", "\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\n \n"]
)
def test_one_action_is_one_line(separator: str) -> None:
    text = f"first{separator}second"
    (line,) = as_lines(read(actions=[{"type": text, "description": text, "canonical_url": text}]).text())
    assert line == line.replace("\n", " ")
    assert len(line.splitlines()) == 1
    assert not any(character in line for character in "\n\r\t\0\x1b\x7f\x85\x9f\u2028\u2029")


def test_a_run_of_control_characters_becomes_one_space() -> None:
    action = {"type": "click", "description": "a\r\n\r\n\tb\u2028c", "canonical_url": "/x"}
    (line,) = as_lines(read(actions=[action]).text())
    assert line == "[0] click: a b c — /x"


def test_other_characters_stay_as_they_are() -> None:
    text = "naïve\u00a0\u200b日本語 🎉 \u202e \u3000x"
    (line,) = as_lines(read(actions=[{"description": text}]).text())
    assert line == f"[0] : {text} — "


# --- the ids alone ----------------------------------------------------------------------------------------------------


def test_the_ids_of_a_payload_are_read_without_its_actions() -> None:
    value = (
        b'{"session_id": " ps_1 ", "product_id": 7, "user_id": "alice", "forwarded_at": 5, "actions": [{"title": "x"}]}'
    )
    ids = read_ids(value)
    assert isinstance(ids, PayloadIds)
    assert (ids.session_id, ids.product_id, ids.user_id, ids.forwarded_at) == ("ps_1", "7", "alice", 5.0)


@pytest.mark.parametrize(
    ("value", "skip"),
    [
        (None, Skip.NULL_VALUE),
        (b'{"type": "summary", "session_id": "ps_1"}', Skip.OTHER_TYPE),
        (b'{"type": "summary", "session_id": []}', Skip.OTHER_TYPE),
        (b'{"user_id": "alice"}', Skip.NO_SESSION_ID),
    ],
)
def test_by_its_ids_alone_it_is_skipped_for_the_same_reason(value: bytes | None, skip: Skip) -> None:
    assert read_ids(value) is skip
    assert read_payload(value) is skip


def test_ids_that_are_out_of_the_ordinary_are_read_with_the_whole() -> None:
    value = b'{"session_id": 18446744073709551615, "user_id": "alice"}'
    ids = read_ids(value)
    assert isinstance(ids, PayloadIds)
    assert (ids.session_id, ids.user_id) == ("18446744073709551615", "alice")
