"""Payload to bytes: what a producer writes to the input topic. The other direction is `schemas.codec`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Protocol

import orjson

from schemas.actions import SlimAction, identifier

_IDS = ("product_id", "session_id", "user_id", "email", "conversation_id")
_ACTION_FIELDS = tuple(field.name for field in fields(SlimAction))


class ActionsLike(Protocol):
    """A batch of actions of one session: the SDK's payload, ours, or anything with the attributes of either."""

    @property
    def session_id(self) -> str | int | None: ...
    @property
    def actions(self) -> Any: ...


class Unencodable(ValueError):
    """The payload has no form on the wire; the message says why."""


def session_key(payload: ActionsLike) -> bytes:
    """The key that a payload travels under: its session; empty when it has none.

    Raises:
        Unencodable: the id is not text that UTF-8 can hold.
    """
    return _utf8_id("session_id", payload.session_id)


def encode_payload(payload: ActionsLike) -> bytes:
    """The value that a payload travels as, `ActionsPayload` JSON: every field of the wire that it has.

    A text that is no UTF-8 (an emoji that was cut in half) gets a question mark in that place. An id does not: with
    another id it would be somebody else's.

    Raises:
        Unencodable: an id is not text that UTF-8 can hold, or a field holds what JSON cannot.
    """
    document: dict[str, Any] = {"type": "actions"}
    document |= {name: _utf8_id(name, getattr(payload, name, None)).decode() or None for name in _IDS}
    actions = payload.actions or ()
    document["actions"] = [{name: getattr(action, name, None) for name in _ACTION_FIELDS} for action in actions]
    document["count"] = len(document["actions"])
    document["forwarded_at"] = getattr(payload, "forwarded_at", None)
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        document["actions"] = [_mended(action) for action in document["actions"]]
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError as exc:
        raise Unencodable(f"the payload cannot be written as JSON: {exc}") from exc


def _utf8_id(name: str, value: str | int | None) -> bytes:
    try:
        return identifier(value).encode()
    except UnicodeEncodeError as exc:
        raise Unencodable(f"{name} is not text that UTF-8 can hold") from exc


def _mended(action: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in action.items()
    }
