"""Values that the input topic should not hold, each built from a sound payload so that taking it for one would show."""

from __future__ import annotations

import json
from typing import Any

MARK = "@@"
NEVER_SEEN = "must never be seen"
TEXT_FIELDS = ("title", "description", "canonical_url", "type", "raw_url")
ID_FIELDS = ("product_id", "session_id", "user_id", "email", "conversation_id")
NOT_UTF8 = {"byte ff": b"\xff", "cut sequence": b"\xc3(", "encoded surrogate": b"\xed\xa0\x80", "overlong": b"\xc0\xaf"}

Document = dict[str, Any]


def sound(session_id: str, user_id: str, forwarded_at: float) -> Document:
    """A payload with every known field."""
    action = {
        "title": "t", "description": NEVER_SEEN, "canonical_url": "https://x", "index": 0, "type": "click",
        "timestamp_start": forwarded_at, "timestamp_end": forwarded_at, "raw_url": "https://x?q",
    }  # fmt: skip
    return {
        "type": "actions", "product_id": "acme", "session_id": session_id, "user_id": user_id, "email": "bad@x.example",
        "conversation_id": "bad", "actions": [action], "count": 1, "forwarded_at": forwarded_at,
    }  # fmt: skip


def dead_letters(session_id: str, user_id: str, forwarded_at: float) -> dict[str, bytes]:
    """What cannot be read, by what is wrong with it."""
    document = sound(session_id, user_id, forwarded_at)
    return _not_json(document) | _not_utf8(document) | _wrong_payload_fields(document) | _wrong_action_fields(document)


def skipped(session_id: str, user_id: str, forwarded_at: float) -> dict[str, bytes | None]:
    """What can be read and is not for the worker."""
    document = sound(session_id, user_id, forwarded_at)
    summary = {"type": "summary", "product_id": "acme", "session_id": session_id, "replaces": 3}
    without = {name: value for name, value in document.items() if name != "session_id"}
    return {
        "null value": None,
        "summary": _encode({**summary, "summary": NEVER_SEEN, "forwarded_at": forwarded_at}),
        "summary with anything in it": _encode({**document, "type": "summary", "actions": 5, "user_id": {}}),
        "unknown type": _encode({**document, "type": "heartbeat"}),
        "empty type": _encode({**document, "type": ""}),
        "type in capitals": _encode({**document, "type": "ACTIONS"}),
        "no session id": _encode(without),
        "null session id": _encode({**document, "session_id": None}),
        "empty session id": _encode({**document, "session_id": ""}),
        "blank session id": _encode({**document, "session_id": " \t"}),
        "nothing": b"{}",
    }


def _encode(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def _not_json(document: Document) -> dict[str, bytes]:
    whole = _encode(document)
    deep = b"[" * 2000 + b"]" * 2000
    return {
        "truncated": whole[: len(whole) // 2],
        "truncated by one": whole[:-1],
        "two values": whole + whole,
        "list": b"[]",
        "list of payloads": b"[" + whole + b"]",
        "number": b"42",
        "null as text": b"null",
        "text": b'"actions"',
        "empty": b"",
        "frame without a value": b"\x00\x00\x00\x00\x07",
        "short frame": b"\x00\x00",
        "other frame": b"\x01\x00\x00\x00\x07" + whole,
        "not JSON": b"<html>busy</html>",
        "deep": whole[:-1] + b', "extra": ' + deep + b"}",
        "deep from the top": deep,
        "NaN": whole[:-1] + b', "extra": NaN}',
        "lone high surrogate": whole[:-1] + b', "extra": "\\ud83d"}',
        "lone low surrogate": whole.replace(NEVER_SEEN.encode(), b"\\udc00"),
        "lone surrogate in a name": whole[:-1] + b', "\\ud800": 1}',
        "raw line break in a text": whole.replace(NEVER_SEEN.encode(), b"a\nb"),
    }


def _not_utf8(document: Document) -> dict[str, bytes]:
    places: dict[str, Document] = {name: {**document, name: MARK} for name in (*ID_FIELDS, "type", "unknown")}
    places |= {
        f"actions.{name}": {**document, "actions": [{**document["actions"][0], name: MARK}]}
        for name in (*TEXT_FIELDS, "user_id")
    }
    places["a name"] = {**document, MARK: 1}
    return {
        f"{kind} in {place}": _encode(marked).replace(MARK.encode(), wrong)
        for place, marked in places.items()
        for kind, wrong in NOT_UTF8.items()
    }


def _wrong_payload_fields(document: Document) -> dict[str, bytes]:
    wrong: dict[str, list[object]] = {
        name: [{"id": 1}, ["1"], True, 1.5, 1.0, 2**64, -(2**63) - 1, 10**30] for name in ID_FIELDS
    }
    wrong |= {
        "actions": [{}, "x", 1, False, [1], [1.5], ["x"], [[]], [True]],
        "forwarded_at": ["2026-01-01T00:00:00Z", "1700000000", True, {}, [], float("nan"), float("inf")],
        "count": ["1", {}, []],
        "type": [1, True, {}, ["actions"]],
    }
    return {
        f"{name} = {value!r}": _encode({**document, name: value}) for name, values in wrong.items() for value in values
    }


def _wrong_action_fields(document: Document) -> dict[str, bytes]:
    [action] = document["actions"]
    wrong: dict[str, list[object]] = {name: [1, True, {}, ["x"]] for name in TEXT_FIELDS}
    wrong |= {name: ["1", True, {}, float("nan")] for name in ("timestamp_start", "timestamp_end")}
    wrong["index"] = ["0", 1.0, True, {}]
    return {
        f"actions.{name} = {value!r}": _encode({**document, "actions": [action, {**action, name: value}]})
        for name, values in wrong.items()
        for value in values
    }
