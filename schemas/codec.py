"""Bytes to payload: a total function. A value is a payload, skipped for a reason, or refused with reason and field.

orjson reads the whole document (UTF-8, surrogates, numbers, depth: also in fields nobody needs), msgspec checks the
types of the fields that count. Most values need less: where a value is ordinary text and not nested deep, msgspec alone
decides the same in two thirds of the time (`_read_ordinary`); what it does not take goes the strict way, which knows
why. One difference: a number beyond a float's range in a field that nobody needs is refused the strict way only.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated

import msgspec
import orjson

from schemas.actions import action_line, identifier

SCHEMA_REGISTRY_FRAME_BYTES = 5  # the magic byte and a four-byte schema id; a JSON text cannot begin with NUL

# orjson keeps whole numbers of up to 64 bits; what is larger is refused, whoever reads the value
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
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
    index: Whole | None = None
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


class OrdinaryPayload(WirePayload, gc=False):
    """The same without numbers that the strict way may refuse."""

    product_id: str | Whole | None = None
    session_id: str | Whole | None = None
    user_id: str | Whole | None = None
    email: str | Whole | None = None
    conversation_id: str | Whole | None = None
    count: Whole | None = None


class OrdinaryIds(msgspec.Struct, gc=False):
    """What decides whose a payload is, and when it happened."""

    type: str | None = None
    product_id: str | Whole | None = None
    session_id: str | Whole | None = None
    user_id: str | Whole | None = None
    forwarded_at: float | None = None


class Payload(msgspec.Struct, frozen=True, gc=False):
    """What the pipeline needs of one ActionsPayload. Ids are stripped; an absent one is ""; `session_id` never is.

    `forwarded_at` is in Unix seconds, None where the wire has none. `is_plain`: its texts are printable ASCII that JSON
    does not escape.
    """

    session_id: str
    product_id: str
    user_id: str
    email: str
    conversation_id: str
    actions: list[WireAction]
    forwarded_at: float | None
    is_plain: bool = False

    def text(self) -> bytes:
        """The actions, a line each, as it will stand inside a JSON string: UTF-8, escaped, without the quotes. The
        lines are joined by a newline, which stands in none of them."""
        if self.is_plain:  # what `_line` makes, where there is nothing to escape and nothing to replace
            lines = [
                f"[{a.index or 0}] {a.type or ''}: {a.description or ''} \x7f {a.canonical_url or ''}"
                for a in self.actions
            ]
            return "\n".join(lines).encode().replace(b"\x7f", _DASH)
        return b"\n".join([_line(action) for action in self.actions])


class PayloadIds(msgspec.Struct, frozen=True, gc=False):
    """A payload of which only this much was read. As in `Payload`."""

    session_id: str
    product_id: str
    user_id: str
    forwarded_at: float | None


def read_payload(value: bytes | None) -> Payload | Skip:
    """The payload in a record's value, or why it is skipped. Plain JSON, or JSON behind the schema-registry frame.

    Raises:
        InvalidPayload: the value is no JSON object of the right types (a dead letter).
    """
    if value is None:
        return Skip.NULL_VALUE
    if value[:1] == b"\0":
        value = value[SCHEMA_REGISTRY_FRAME_BYTES:]
    is_plain = value.isascii() and b"\\" not in value and b"\x7f" not in value
    wire = _read_ordinary(value, is_plain=is_plain) or _read_strictly(value)
    if wire.type is not None and wire.type != "actions":
        return Skip.OTHER_TYPE
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
        is_plain,
    )


def read_ids(value: bytes | None) -> PayloadIds | Skip:
    """The same of a value that is known to be no dead letter, in a third of the time: its actions are not looked at.

    Raises:
        InvalidPayload: it is one all the same. (Of one that is, anything may be said.)
    """
    if value is None:
        return Skip.NULL_VALUE
    if value[:1] == b"\0":
        value = value[SCHEMA_REGISTRY_FRAME_BYTES:]
    try:
        wire = _ids.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        payload = read_payload(value)
        if isinstance(payload, Skip):
            return payload
        return PayloadIds(payload.session_id, payload.product_id, payload.user_id, payload.forwarded_at)
    if wire.type is not None and wire.type != "actions":
        return Skip.OTHER_TYPE
    session_id = identifier(wire.session_id)
    if not session_id:
        return Skip.NO_SESSION_ID
    return PayloadIds(session_id, identifier(wire.product_id), identifier(wire.user_id), wire.forwarded_at)


_ordinary = msgspec.json.Decoder(OrdinaryPayload)
_ids = msgspec.json.Decoder(OrdinaryIds)
ORJSON_LEVELS = 1024  # what is nested deeper is refused


def _read_ordinary(value: bytes, *, is_plain: bool) -> WirePayload | None:
    """None where the value is not ordinary, or not as it should be."""
    may_be_deep = len(value) >= 2 * ORJSON_LEVELS and value.count(b"[") + value.count(b"{") >= ORJSON_LEVELS
    if may_be_deep:
        return None
    try:
        if not is_plain:
            if b"\\u" in value:  # lone surrogates in fields that nobody needs
                return None
            value.decode()
        return _ordinary.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _read_strictly(value: bytes) -> WirePayload:
    document = _parse(value)
    kind = document.get("type")
    if isinstance(kind, str) and kind != "actions":
        return WirePayload(type=kind)  # whatever else it holds
    return _check(document)


def _parse(value: bytes) -> dict[str, object]:
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


def _line(action: WireAction) -> bytes:
    line = action_line(action.index or 0, action.type or "", action.description or "", action.canonical_url or "")
    return orjson.dumps(line)[1:-1]


_DASH = "—".encode()  # makes a text of plain lines twice as wide: until then a DEL stands for it, which is in none
