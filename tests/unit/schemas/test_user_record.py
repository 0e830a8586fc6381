"""Reading the output topic: what is a record, and what is none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from schemas.user_context import UserContext
from schemas.user_record import InvalidRecord, read_record
from tests.payloads import NOW
from tests.user_records import record, session

FULL: dict[str, Any] = orjson.loads(
    record("u", 7, session("ps_1", "a", conversation="c"), session("ps_2", product=None), email="a@example.com")
)


def test_it_reads_what_the_model_reads() -> None:
    value = orjson.dumps(FULL)
    assert read_record(value).context() == UserContext.model_validate_json(value)
    least = b'{"user_id":"u","updated_at":1,"expires_at":2.5}'
    assert read_record(least).context() == UserContext.model_validate_json(least)


def test_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    newer = {**FULL, "schema_version": 9, "mood": {"deep": [1]}, "sessions": [{**FULL["sessions"][0], "mood": 1}]}
    found = read_record(orjson.dumps(newer)).context()
    assert found.schema_version == 9
    assert found == UserContext.model_validate_json(orjson.dumps(newer))


WRONG: list[dict[str, Any]] = [
    {"user_id": None},
    {"user_id": 5},
    {"version": -1},
    {"version": "7"},
    {"schema_version": 0},
    {"updated_at": None},
    {"expires_at": "soon"},
    {"sessions": None},
    {"sessions": [{"session_id": "s"}]},
    {"sessions": [{"last_seen_at": 1.0}]},
    {"sessions": [{"session_id": "s", "last_seen_at": 1.0, "action_count": -1}]},
    {"truncated": "no"},
    {"email": 1},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_field_of_another_type_is_no_record(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord):
        read_record(orjson.dumps({**FULL, **wrong}))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"nope",
        b'{"user_id":"u"}',
        b'{"user_id":"\xff","updated_at":1,"expires_at":2}',
        b'{"user_id":"\\ud800","updated_at":1,"expires_at":2}',
        b'{"user_id":"u","updated_at":NaN,"expires_at":2}',
        b'{"user_id":"u","updated_at":1e999,"expires_at":2}',
        b'{"user_id":"u","updated_at":1,"expires_at":2,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda value: value[:40],
)
def test_what_is_no_json_of_ours_is_no_record(value: bytes) -> None:
    with pytest.raises(InvalidRecord):
        read_record(value)
    with pytest.raises(ValidationError):
        UserContext.model_validate_json(value)


def test_times_are_kept_exactly() -> None:
    assert read_record(record(at=NOW + 0.123)).updated_at == NOW + 0.123
