"""The JSON Schema files are current, and say of a document what the reader says."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator

from schemas.codec import InvalidPayload, read_payload
from schemas.json_schema import FOLDER, documents, write


def validator(name: str) -> Draft202012Validator:
    schema = orjson.loads(documents()[name])
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_files_are_what_the_types_say() -> None:
    written = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert written == documents(), "run: python -m schemas.json_schema"


def test_writing_makes_the_files(tmp_path: Path) -> None:
    write(tmp_path / "json")
    assert {path.name: path.read_bytes() for path in (tmp_path / "json").iterdir()} == documents()


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": "actions", "session_id": "ps_1"},
        {"type": None, "session_id": 42, "user_id": 2**64 - 1, "email": None},
        {"session_id": "ps_1", "actions": [{}, {"title": "t", "index": 0, "timestamp_start": 1, "user_id": {}}]},
        {"session_id": "ps_1", "actions": None, "count": 3, "forwarded_at": 1712345678, "newer": [1]},
        {"session_id": {}},
        {"session_id": True},
        {"session_id": 1.5},
        {"user_id": 2**64},
        {"user_id": -(2**63) - 1},
        {"type": 1},
        {"actions": {}},
        {"actions": [1]},
        {"actions": [None]},
        {"actions": [{"title": 5}]},
        {"actions": [{"index": "0"}]},
        {"count": "1"},
        {"forwarded_at": "1712345678"},
        {"forwarded_at": False},
        [],
        42,
        None,
    ],
)
def test_what_validates_is_read_and_what_does_not_is_refused(document: object) -> None:
    value = json.dumps(document).encode()  # writes integers of any size, as other producers do
    try:
        read_payload(value)
        readable = True
    except InvalidPayload:
        readable = False
    assert validator("actions_payload.schema.json").is_valid(document) == readable


def test_other_types_are_no_actions() -> None:
    assert not validator("actions_payload.schema.json").is_valid({"type": "summary", "session_id": "ps_1"})


def test_the_record_of_a_user_validates_whole_and_only_whole() -> None:
    session = {
        "session_id": "ps_1",
        "product_id": None,
        "conversation_id": None,
        "last_seen_at": 1.0,
        "action_count": 0,
        "context": "",
    }
    record = {
        "schema_version": 1,
        "user_id": "user_456",
        "email": None,
        "version": 0,
        "updated_at": 1.0,
        "expires_at": 301.0,
        "sessions": [session],
        "truncated": False,
    }
    check = validator("user_context.schema.json")
    assert check.is_valid(record)
    assert check.is_valid({**record, "newer": 1})
    for name in record:
        assert not check.is_valid({key: value for key, value in record.items() if key != name})
    for name in session:
        partial = {key: value for key, value in session.items() if key != name}
        assert not check.is_valid({**record, "sessions": [partial]})


def test_the_record_of_a_visitor_validates() -> None:
    record = {
        "schema_version": 1,
        "session_id": "ps_1",
        "linked_user_id": "user_456",
        "updated_at": 1.0,
        "expires_at": 301.0,
        "sessions": [],
    }
    check = validator("visitor_context.schema.json")
    assert check.is_valid(record)
    assert not check.is_valid({**record, "linked_user_id": 5})
