"""The records on the output topics, as a reader sees them. The worker writes them in `worker/pipeline/rendering.py`.

A reader ignores fields that it does not know, so a newer version may add some. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from schemas.actions import one_line

SCHEMA_VERSION = 1


def joined_activity(sessions: Iterable[tuple[str, str | None, str]]) -> str:
    """Several sessions as one text. Each is (session id, product id, context); those without context are left out.

    Ids come from strangers as texts do: in the heading, each run of control characters in them is one space.
    """
    return "\n\n".join(
        one_line(f"Session {session_id} ({product_id or 'no-product-id'}):") + f"\n{context}"
        for session_id, product_id, context in sessions
        if context
    )


def enriched_query(query: str, context: str) -> str:
    """A query behind the context that it is asked in, as a prompt; the bare query when nothing is known."""
    return f"[Session context]\n{context}\n\n[Query]\n{query}" if context else query


@dataclass(frozen=True, slots=True)
class SessionRef:
    """A session of a user. `last_seen_at` is the time of its newest payload, in Unix seconds."""

    session_id: str
    product_id: str | None
    last_seen_at: float


class _Record(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )


class SessionContext(_Record):
    """What is known of one session, ready for a prompt."""

    session_id: str
    product_id: str | None = None
    conversation_id: str | None = Field(default=None, description="The newest one known.")
    last_seen_at: float = Field(description="Unix seconds of the session's newest event.")
    action_count: int = Field(default=0, ge=0, description="How many actions `context` lists.")
    context: str = Field(
        default="",
        description="`Recent activity:` and one line for each action, oldest first:"
        " `N. [index] type: description — canonical_url`. Empty without actions.",
    )


class KnownSession(SessionContext):
    """What a reader is told of one session, and whose it is."""

    user_id: str | None = Field(default=None, description="Who is behind the session; null while nobody knows.")

    @classmethod
    def of(cls, session: SessionContext, user_id: str | None) -> KnownSession:
        """A session, and whose it is."""
        known = {name: getattr(session, name) for name in SessionContext.model_fields}
        return cls.model_construct(**known, user_id=user_id)


class UserContext(_Record):
    """Everything that one user did in the lookback up to their newest event. Key of the record: `user_id`."""

    schema_version: int = Field(default=SCHEMA_VERSION, ge=1)
    user_id: str
    email: str | None = None
    version: int = Field(
        default=0,
        ge=0,
        description="Of two records of a user, the one with the higher version is newer; a null record clears it.",
    )
    updated_at: float = Field(description="Unix seconds of the user's newest event.")
    expires_at: float = Field(description="`updated_at` plus the lookback: after that nothing here is recent.")
    sessions: tuple[SessionContext, ...] = Field(default=(), description="Newest first.")
    truncated: bool = Field(default=False, description="The oldest context was left out to keep the record's size.")

    def without_expired(self, now: float) -> UserContext:
        """The record as it reads at `now`: without the sessions that were last seen longer ago than the lookback."""
        since = now - (self.expires_at - self.updated_at)
        return self.model_copy(update={"sessions": tuple(s for s in self.sessions if s.last_seen_at >= since)})

    def get_user_activity(self, product_id: str | None = None) -> str:
        """The context of all sessions (of one product, if named), newest session first; "" when there is none."""
        return joined_activity(
            (session.session_id, session.product_id, session.context)
            for session in self.sessions
            if product_id is None or session.product_id == product_id
        )


class VisitorContext(_Record):
    """What is known of a session that has no user yet. Key of the record: `session_id`.

    Once it is known who is behind it, `linked_user_id` says so, `sessions` is empty, and the user's record goes on: for
    as long as this record stands, whatever its times. Where several products share the session id, `sessions` are those
    that have no user, and `linked_user_id` names the user of the others; nobody where those have different ones.
    """

    schema_version: int = Field(default=SCHEMA_VERSION, ge=1)
    session_id: str
    linked_user_id: str | None = None
    updated_at: float = Field(description="Unix seconds of the session's newest event.")
    expires_at: float = Field(description="`updated_at` plus the lookback: after that nothing here is recent.")
    sessions: tuple[SessionContext, ...] = Field(default=(), description="One for each product.")
