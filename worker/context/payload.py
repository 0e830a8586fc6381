"""What the public stores ask of a payload: attributes only, so the SDK's own payloads do as well as ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from schemas.actions import action_line


class ActionLike(Protocol):
    """The attributes of an action that stand in the context."""

    @property
    def index(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def canonical_url(self) -> str: ...


class PayloadLike(Protocol):
    """The attributes of a payload that are remembered. An id is a string, an integer, or None or "" when absent."""

    @property
    def product_id(self) -> str | int | None: ...
    @property
    def session_id(self) -> str | int | None: ...
    @property
    def user_id(self) -> str | int | None: ...
    @property
    def email(self) -> str | None: ...
    @property
    def actions(self) -> Sequence[ActionLike]: ...
    @property
    def forwarded_at(self) -> float | None: ...


def event_time(payload: PayloadLike, now: float) -> float:
    """When it happened: `forwarded_at`, or `now` where that is missing, zero, negative or ahead of `now`."""
    forwarded_at = payload.forwarded_at
    return forwarded_at if forwarded_at and 0 < forwarded_at < now else now


def text_of(payload: PayloadLike) -> str:
    """The actions as one line of text each."""
    return "\n".join(
        [
            action_line(action.index or 0, action.type or "", action.description or "", action.canonical_url or "")
            for action in payload.actions
        ]
    )
