"""A user's memory as the record on the output topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from schemas.user_context import SCHEMA_VERSION
from worker.context.session_memory import activity_text
from worker.context.user_memory import UserMemory


@dataclass(frozen=True, slots=True)
class RenderPolicy:
    """What a record may hold."""

    lookback_s: float = 300.0
    max_sessions: int = 20
    max_actions_per_session: int = 200
    max_record_bytes: int = 512 * 1024
    include_email: bool = True


def render(user_id: str, memory: UserMemory, version: int, policy: RenderPolicy) -> bytes | None:
    """The `UserContext` of a user with at least one session, as JSON of at most `max_record_bytes`.

    None when the ids of the user alone are larger than that.
    """
    record, lines = _record(user_id, memory, version, policy)
    encoded = orjson.dumps(record)
    return encoded if len(encoded) <= policy.max_record_bytes else _truncate(record, lines, policy.max_record_bytes)


def _record(
    user_id: str, memory: UserMemory, version: int, policy: RenderPolicy
) -> tuple[dict[str, Any], list[list[str]]]:
    newest = memory.newest
    since = newest - policy.lookback_s
    sessions: list[dict[str, Any]] = []
    texts: list[list[str]] = []
    for key, session in memory.recent(since, policy.max_sessions):
        lines = session.lines_since(since, policy.max_actions_per_session)
        conversation = session.conversation
        texts.append(lines)
        sessions.append(
            {
                "session_id": key.session_id,
                "product_id": key.product_id or None,
                "conversation_id": conversation.value if conversation.event_time >= since else None,
                "last_seen_at": session.last_seen_at,
                "action_count": len(lines),
                "context": activity_text(lines),
            }
        )
    record = {
        "schema_version": SCHEMA_VERSION,
        "user_id": user_id,
        "email": memory.email_since(since) or None if policy.include_email else None,
        "version": version,
        "updated_at": newest,
        "expires_at": newest + policy.lookback_s,
        "sessions": sessions,
        "truncated": False,
    }
    return record, texts


# --- records that are too large: rare, and never a reason to lose the newest action -----------------------------------


def _truncate(record: dict[str, Any], lines: list[list[str]], max_bytes: int) -> bytes | None:
    """Oldest sessions' context goes first, then the oldest actions of the newest session, at last whole sessions."""
    record["truncated"] = True
    sessions = record["sessions"]
    for session in reversed(sessions[1:]):
        _list(session, [])
        if len(encoded := orjson.dumps(record)) <= max_bytes:
            return encoded
    _list(sessions[0], _newest_that_fit(record, lines[0], max_bytes))
    while len(encoded := orjson.dumps(record)) > max_bytes:
        if not sessions:
            return None
        sessions.pop()
    return encoded


def _list(session: dict[str, Any], lines: list[str]) -> None:
    session["action_count"] = len(lines)
    session["context"] = activity_text(lines)


def _newest_that_fit(record: dict[str, Any], lines: list[str], max_bytes: int) -> list[str]:
    """The longest tail of the newest session's lines with which the record fits, by bisection."""
    fits, too_many = 0, len(lines) + 1
    while too_many - fits > 1:
        count = (fits + too_many) // 2
        _list(record["sessions"][0], lines[-count:])
        if len(orjson.dumps(record)) <= max_bytes:
            fits = count
        else:
            too_many = count
    return lines[-fits:] if fits else []
