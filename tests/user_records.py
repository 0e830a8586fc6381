"""Records of the output topics, short to write in a test."""

from __future__ import annotations

from schemas import SessionContext, UserContext, VisitorContext
from tests.payloads import NOW, activity

LOOKBACK_S = 300.0


def session(
    session_id: str = "ps_1",
    *texts: str,
    product: str | None = "acme",
    conversation: str | None = None,
    at: float = NOW,
) -> SessionContext:
    return SessionContext(
        session_id=session_id,
        product_id=product,
        conversation_id=conversation,
        last_seen_at=at,
        action_count=len(texts),
        context=activity(*texts) if texts else "",
    )


def record(
    user: str = "u", version: int = 1, *sessions: SessionContext, email: str | None = None, at: float = NOW
) -> bytes:
    """The value of a user's record; without sessions, with one."""
    context = UserContext(
        user_id=user,
        email=email,
        version=version,
        updated_at=at,
        expires_at=at + LOOKBACK_S,
        sessions=sessions or (session("ps_1", f"did {version}", at=at),),
    )
    return context.model_dump_json().encode()


def visitor(session_id: str = "ps_1", *sessions: SessionContext, linked: str | None = None, at: float = NOW) -> bytes:
    """The value of a session's record: of a visitor's sessions, of one whose user is `linked`, or of both."""
    context = VisitorContext(
        session_id=session_id, linked_user_id=linked, updated_at=at, expires_at=at + LOOKBACK_S, sessions=sessions
    )
    return context.model_dump_json().encode()
