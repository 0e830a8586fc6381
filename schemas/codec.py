"""Bytes to payload: a total function. A value is a payload, skipped for a reason, or refused with reason and field.

orjson reads the whole document (UTF-8, surrogates, numbers, depth: also in fields nobody needs), msgspec checks the
types of the fields that count. pydantic takes 1.8 times as long (benchmarks/bench_decode.py).
"""

from __future__ import annotations

import re
from enum import Enum

import msgspec
import orjson

from schemas.actions import action_line, identifier

SCHEMA_REGISTRY_FRAME_BYTES = 5  # the magic byte and a four-byte schema id; a JSON text cannot begin with NUL

Id = str | int | None


class InvalidPayload(ValueError):
    """The value cannot be read. `reason` is one of a fixed set of words, `field` the path of the culprit or ""."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class Skip(Enum):
    """Why a readable value is nobody's context."""

    NULL_VALUE = "null_value"
    OTHER_TYPE = "other_type"
    NO_SESSION_ID = "no_session_id"


class WireAction(msgspec.Struct, gc=False):
    """The fields of an action that have a type to keep; the ids inside an action are ignored, whatever they hold."""

    title: str | None = None
    description: str | None = None
    canonical_url: str | None = None
    index: int | None = None
    type: str | None = None
    timestamp_start: float | None = None
    timestamp_end: float | None = None
    raw_url: str | None = None


class WirePayload(msgspec.Struct, gc=False):
    """An `ActionsPayload` as it stands on the wire: any field may be missing or null."""

    type: str | None = None
    product_id: Id = None
    session_id: Id = None
    user_id: Id = None
    email: Id = None
    conversation_id: Id = None
    actions: list[WireAction] | None = None
    count: int | None = None
    forwarded_at: float | None = None


class Payload(msgspec.Struct, frozen=True, gc=False):
    """What the pipeline needs of one ActionsPayload. Ids are stripped; an absent one is ""; `session_id` never is.

    `forwarded_at` is in Unix seconds, None where the wire has none.
    """

    session_id: str
    product_id: str
    user_id: str
    email: str
    conversation_id: str
    actions: list[WireAction]
    forwarded_at: float | None

    def lines(self) -> tuple[str, ...]:
        """The actions as one line of text each."""
        return tuple([_line(action) for action in self.actions])


def read_payload(value: bytes | None) -> Payload | Skip:
    """The payload in a record's value, or why it is skipped. Plain JSON, or JSON behind the schema-registry frame.

    Raises:
        InvalidPayload: the value is no JSON object of the right types (a dead letter).
    """
    if value is None:
        return Skip.NULL_VALUE
    document = _parse(value)
    kind = document.get("type")
    if isinstance(kind, str) and kind != "actions":
        return Skip.OTHER_TYPE
    wire = _check(document)
    session_id = identifier(wire.session_id)
    if not session_id:
        return Skip.NO_SESSION_ID
    return Payload(
        session_id,
        identifier(wire.product_id),
        identifier(wire.user_id),
        identifier(wire.email),
        identifier(wire.conversation_id),
        wire.actions or [],
        wire.forwarded_at,
    )


def _parse(value: bytes) -> dict[str, object]:
    if value[:1] == b"\0":
        value = value[SCHEMA_REGISTRY_FRAME_BYTES:]
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as exc:
        raise InvalidPayload("not_json", "", f"not valid JSON in UTF-8: {exc}") from exc
    if not isinstance(document, dict):
        raise InvalidPayload("not_an_object", "", f"expected a JSON object, got {type(document).__name__}")
    return document


def _check(document: dict[str, object]) -> WirePayload:
    try:
        return msgspec.convert(document, WirePayload)
    except msgspec.ValidationError as exc:
        message = str(exc)
        field = _culprit(message)
        if field in _IDS and isinstance(document[field], float):  # what orjson makes of an integer beyond 64 bits
            expected = "expected text, or a whole number of at most 64 bits"
            message = f"the number cannot be kept exactly: {expected} - at `$.{field}`"
        raise InvalidPayload("wrong_type", field, message) from exc


_IDS = frozenset({"product_id", "session_id", "user_id", "email", "conversation_id"})
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


def _culprit(message: str) -> str:
    found = _PATH.search(message)
    return found.group(1) if found else ""


def _line(action: WireAction) -> str:
    return action_line(action.index or 0, action.type or "", action.description or "", action.canonical_url or "")
