"""Bytes of the output topics to records: total functions, and cheap enough to check every record of a topic with.

msgspec checks the types of the known fields and leaves unknown ones alone: less than half of pydantic's time.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from schemas.user_context import SessionContext, UserContext

_Count = Annotated[int, msgspec.Meta(ge=0)]


class InvalidRecord(ValueError):
    """The value is no record that this version can read."""


class SessionRecord(msgspec.Struct, frozen=True, gc=False):
    """A `SessionContext` as it stands on the wire."""

    session_id: str
    last_seen_at: float
    product_id: str | None = None
    conversation_id: str | None = None
    action_count: _Count = 0
    context: str = ""

    def session(self) -> SessionContext:
        """The same for readers. The types are checked already."""
        return SessionContext.model_construct(
            session_id=self.session_id,
            product_id=self.product_id,
            conversation_id=self.conversation_id,
            last_seen_at=self.last_seen_at,
            action_count=self.action_count,
            context=self.context,
        )


class UserRecord(msgspec.Struct, frozen=True, gc=False):
    """A `UserContext` as it stands on the wire. Of a newer `schema_version` the fields that are known here count."""

    user_id: str
    updated_at: float
    expires_at: float
    schema_version: Annotated[int, msgspec.Meta(ge=1)] = 1
    email: str | None = None
    version: _Count = 0
    sessions: tuple[SessionRecord, ...] = ()
    truncated: bool = False

    def context(self, sessions: tuple[SessionRecord, ...] | None = None) -> UserContext:
        """The record for readers; with these sessions only, if given. The types are checked already."""
        return UserContext.model_construct(
            schema_version=self.schema_version,
            user_id=self.user_id,
            email=self.email,
            version=self.version,
            updated_at=self.updated_at,
            expires_at=self.expires_at,
            sessions=tuple([one.session() for one in (self.sessions if sessions is None else sessions)]),
            truncated=self.truncated,
        )


class VisitorRecord(msgspec.Struct, frozen=True, gc=False):
    """A `VisitorContext` as it stands on the wire, as `UserRecord`."""

    session_id: str
    updated_at: float
    expires_at: float
    schema_version: Annotated[int, msgspec.Meta(ge=1)] = 1
    linked_user_id: str | None = None
    sessions: tuple[SessionRecord, ...] = ()


T = TypeVar("T")
_user_decoder = msgspec.json.Decoder(UserRecord)
_visitor_decoder = msgspec.json.Decoder(VisitorRecord)


def read_record(value: bytes) -> UserRecord:
    """The record in a value that is not null.

    Raises:
        InvalidRecord: it is none.
    """
    return _read(_user_decoder, value)


def read_visitor(value: bytes) -> VisitorRecord:
    """The same for the session topic.

    Raises:
        InvalidRecord: it is none.
    """
    return _read(_visitor_decoder, value)


def _read(decoder: msgspec.json.Decoder[T], value: bytes) -> T:
    try:
        return decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidRecord(str(exc)) from exc
