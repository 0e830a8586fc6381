"""The payloads on the input topic, as values to build, read and hand on. Field names, order and defaults are the SDK's.

Mutable dataclasses, so that the SDK's own stores take them too. The worker itself reads records with `schemas.codec`,
which accepts the same (and never looks at the ids inside an action) and is faster.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

# Texts come from strangers and end up in a prompt: nothing in them may begin a new line.
_CONTROL_RUN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def action_line(index: int, kind: str, description: str, canonical_url: str) -> str:
    """One action as one line: `[index] type: description — canonical_url`, each run of control characters one space."""
    return one_line(f"[{index}] {kind}: {description} — {canonical_url}")


def one_line(text: str) -> str:
    """The text with each run of control characters and line separators as one space."""
    return text if text.isprintable() else _CONTROL_RUN.sub(" ", text)


def identifier(value: str | int | None) -> str:
    """An id as it counts everywhere: no blanks around it, an integer as its exact decimal digits, "" when absent."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else str(value)


@dataclass
class SlimAction:
    """One UI action. Times are Unix seconds; `index` is its place in the session, from 0."""

    title: str
    description: str
    canonical_url: str
    index: int = 0
    type: str = ""
    timestamp_start: float = 0.0
    timestamp_end: float = 0.0
    raw_url: str = ""
    session_id: str | None = None
    user_id: str | None = None
    email: str | None = None
    conversation_id: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, object], *, path: str = "") -> Self:
        """Read a decoded JSON object: null counts as missing, unknown fields do not count, ids as in `identifier`.

        `path` leads the field's name in an error.

        Raises:
            TypeError: a field, or the whole, is of another type; the message begins with the field's name.
            ValueError: a number is not finite.
        """
        fields = _Fields(data, path)
        return cls(
            title=fields.text("title"),
            description=fields.text("description"),
            canonical_url=fields.text("canonical_url"),
            index=fields.integer("index"),
            type=fields.text("type"),
            timestamp_start=fields.number("timestamp_start"),
            timestamp_end=fields.number("timestamp_end"),
            raw_url=fields.text("raw_url"),
            session_id=fields.identifier("session_id"),
            user_id=fields.identifier("user_id"),
            email=fields.identifier("email"),
            conversation_id=fields.identifier("conversation_id"),
        )

    def to_text(self) -> str:
        """The action as one line: `[index] type: description — canonical_url`."""
        return action_line(self.index, self.type, self.description, self.canonical_url)


@dataclass
class ActionsPayload:
    """What somebody did in one session since the payload before. `forwarded_at` is in Unix seconds, 0 when unknown.

    `count` always says how many actions there are: a number that differs is corrected.
    """

    product_id: str
    session_id: str | None
    user_id: str | None
    email: str | None
    actions: list[SlimAction]
    count: int
    forwarded_at: float
    conversation_id: str | None = None

    def __post_init__(self) -> None:
        self.count = len(self.actions)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Read a decoded JSON object: null counts as missing, unknown fields do not count, ids as in `identifier`.

        Raises:
            TypeError: a field, or the whole, is of another type; the message begins with its path (`actions[2].title`).
            ValueError: a number is not finite.
        """
        fields = _Fields(data)
        fields.integer("count")  # of the right type, or refused; its value follows from the actions
        actions = [
            SlimAction.from_dict(action, path=f"actions[{at}]") for at, action in enumerate(fields.objects("actions"))
        ]
        return cls(
            product_id=fields.identifier("product_id") or "",
            session_id=fields.identifier("session_id"),
            user_id=fields.identifier("user_id"),
            email=fields.identifier("email"),
            actions=actions,
            count=len(actions),
            forwarded_at=fields.number("forwarded_at"),
            conversation_id=fields.identifier("conversation_id"),
        )

    @classmethod
    def merge(cls, payloads: Sequence[ActionsPayload]) -> Self:
        """Payloads of one session as one: all actions, numbered anew from 0; the first known user, email and
        conversation; the latest `forwarded_at`. The payloads given stay as they are.

        Raises:
            ValueError: there is none, or they are of different sessions or products.
        """
        if not payloads:
            raise ValueError("merge needs at least one payload")
        sessions = {(payload.product_id, payload.session_id) for payload in payloads}
        if len(sessions) > 1:
            raise ValueError(
                f"merge takes payloads of one session, got {len(sessions)} different (product_id, session_id)"
            )
        actions = [action for payload in payloads for action in payload.actions]
        return cls(
            product_id=payloads[0].product_id,
            session_id=payloads[0].session_id,
            user_id=_first(payload.user_id for payload in payloads),
            email=_first(payload.email for payload in payloads),
            actions=[replace(action, index=index) for index, action in enumerate(actions)],
            count=len(actions),
            forwarded_at=max(payload.forwarded_at for payload in payloads),
            conversation_id=_first(payload.conversation_id for payload in payloads),
        )

    def to_text(self) -> str:
        """A heading, `Session ID — N actions` ("unknown" without an id), and one line for each action."""
        heading = f"Session {self.session_id or 'unknown'} — {len(self.actions)} actions"
        return "\n".join([heading, *[action.to_text() for action in self.actions]])


@dataclass
class SummaryPayload:
    """What happened in a session, in prose that stands for `replaces` actions. `forwarded_at` is in Unix seconds."""

    product_id: str
    session_id: str | None
    summary: str
    replaces: int
    forwarded_at: float

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Read a decoded JSON object: null counts as missing, unknown fields do not count, ids as in `identifier`.

        Raises:
            TypeError: a field, or the whole, is of another type; the message begins with the field's name.
            ValueError: a number is not finite.
        """
        fields = _Fields(data)
        return cls(
            product_id=fields.identifier("product_id") or "",
            session_id=fields.identifier("session_id"),
            summary=fields.text("summary"),
            replaces=fields.integer("replaces"),
            forwarded_at=fields.number("forwarded_at"),
        )

    def to_text(self) -> str:
        """The summary itself."""
        return self.summary


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)


class _Fields:
    """The fields of a decoded JSON object, each read as one type; an error names the field."""

    def __init__(self, data: object, path: str = "") -> None:
        if not isinstance(data, Mapping):
            raise TypeError(f"{path or 'payload'}: expected an object, got {type(data).__name__}")
        self._data: Mapping[str, object] = data
        self._prefix = f"{path}." if path else ""

    def text(self, name: str) -> str:
        value = self._data.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(name, "a string", value)
        return value

    def integer(self, name: str) -> int:
        value = self._data.get(name)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "an integer", value)
        return value

    def number(self, name: str) -> float:
        value = self._data.get(name)
        if value is None:
            return 0.0
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(name, "a number", value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ValueError(f"{self._prefix}{name}: expected a finite number")
        return number

    def identifier(self, name: str) -> str | None:
        value = self._data.get(name)
        if value is None:
            return None
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise self._wrong(name, "a string or an integer", value)
        return identifier(value) or None

    def objects(self, name: str) -> Sequence[Mapping[str, object]]:
        value = self._data.get(name)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            raise self._wrong(name, "a list", value)
        return value

    def _wrong(self, name: str, expected: str, value: object) -> TypeError:
        return TypeError(f"{self._prefix}{name}: expected {expected}, got {type(value).__name__}")
