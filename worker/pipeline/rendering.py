"""What is remembered as records on the output topics: a user's, and a visitor's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from schemas.user_context import SCHEMA_VERSION
from worker.context.session_memory import Rendered, activity_text
from worker.context.user_memory import SessionKey, UserMemory


@dataclass(frozen=True, slots=True)
class RenderPolicy:
    """What a record may hold."""

    lookback_s: float = 300.0
    max_sessions: int = 20
    max_actions_per_session: int = 200
    max_record_bytes: int = 512 * 1024
    include_email: bool = True


def render(
    user_id: str,
    memory: UserMemory[bytes],
    version: int,
    policy: RenderPolicy,
    counts: Counter[str] | None = None,
    *,
    keeps: bool = False,
) -> bytes | None:
    """The `UserContext` of a user with at least one session, as JSON of at most `max_record_bytes`.

    None when the ids of the user alone are larger than that. `counts`: where a record that was made smaller is noted.
    `keeps`: texts stay with their sessions for the next record, the newest sessions' up to `max_record_bytes`; the
    record is the same.
    """
    since = memory.newest - policy.lookback_s
    record = {
        "schema_version": SCHEMA_VERSION,
        "user_id": user_id,
        "email": memory.email_since(since) or None if policy.include_email else None,
        "version": version,
        "updated_at": memory.newest,
        "expires_at": memory.newest + policy.lookback_s,
        "sessions": _sessions(memory, since, policy, keeps=keeps),
        "truncated": False,
    }
    return _encode(record, memory, since, policy, counts)


def render_visitor(
    session_id: str,
    linked_user_id: str,
    memory: UserMemory[bytes],
    updated_at: float,
    policy: RenderPolicy,
    counts: Counter[str],
) -> bytes | None:
    """The `VisitorContext` of a session id: whose it is ("" = nobody's), and what those of its sessions did that nobody
    is known of. It holds no e-mail address. None as in `render`.
    """
    since = memory.newest - policy.lookback_s
    record = {
        "schema_version": SCHEMA_VERSION,
        "session_id": session_id,
        "linked_user_id": linked_user_id or None,
        "updated_at": updated_at,
        "expires_at": updated_at + policy.lookback_s,
        "sessions": _sessions(memory, since, policy),
    }
    return _encode(record, memory, since, policy, counts)


def _sessions(
    memory: UserMemory[bytes], since: float, policy: RenderPolicy, *, keeps: bool = False
) -> list[dict[str, Any]]:
    """The sessions seen since a time, newest first."""
    sessions: list[dict[str, Any]] = []
    kept: dict[SessionKey, Rendered] = {}
    room = policy.max_record_bytes
    for key, session in memory.recent(since, policy.max_sessions):
        rendered = session.rendered
        if rendered is not None and rendered.since <= since <= rendered.oldest:
            count, text = rendered.count, rendered.text
        else:
            lines = session.lines_since(since, policy.max_actions_per_session)
            count, text = len(lines), _activity(lines)
            rendered = Rendered(since, session.oldest_since(since), count, text) if keeps else None
        room -= len(text)
        if rendered is not None and room >= 0:
            kept[key] = rendered
        conversation = session.conversation
        sessions.append(
            {
                "session_id": key[1],
                "product_id": key[0] or None,
                "conversation_id": conversation.value if conversation.event_time >= since else None,
                "last_seen_at": session.last_seen_at,
                "action_count": count,
                "context": orjson.Fragment(text),
            }
        )
    if keeps:
        memory.keep_rendered(kept)
    return sessions


def _activity(lines: list[bytes]) -> bytes:
    """The JSON of `activity_text` of lines that are JSON already: filling a form takes a third of encoding anew."""
    return _numbered(len(lines)) % tuple(lines)


@lru_cache(maxsize=512)
def _numbered(count: int) -> bytes:
    """The JSON of a text of so many lines, to be filled in."""
    return orjson.dumps(activity_text(["%b"] * count))


def _encode(
    record: dict[str, Any],
    memory: UserMemory[bytes],
    since: float,
    policy: RenderPolicy,
    counts: Counter[str] | None,
) -> bytes | None:
    encoded = orjson.dumps(record)
    excess = len(encoded) - policy.max_record_bytes
    if excess <= 0:
        return encoded
    if counts is not None:
        counts["records_truncated"] += 1
    if "truncated" in record:
        record["truncated"] = True
    newest = memory.recent(since, 1)
    lines = newest[0][1].lines_since(since, policy.max_actions_per_session) if newest else []
    return _truncate(record, lines, excess, policy.max_record_bytes)


# --- records that are too large: rare, and never a reason to lose the newest action -----------------------------------


def _truncate(record: dict[str, Any], lines: list[bytes], excess: int, max_bytes: int) -> bytes | None:
    """Oldest sessions' context goes first, then the oldest actions of the newest session (`lines` are all of them), at
    last whole sessions.

    Each session's text is encoded once: a record of many large sessions costs about two encodings.
    """
    sessions = record["sessions"]
    for session in reversed(sessions[1:]):
        if excess > 0:
            excess -= _encoded_length(session)
            _list(session, [])
            excess += _encoded_length(session)
    if excess > 0 and sessions:
        room = _encoded_length(sessions[0]) - excess
        _list(sessions[0], _newest_that_fit(sessions[0], lines, room))
    while len(encoded := orjson.dumps(record)) > max_bytes:
        if not sessions:
            return None
        sessions.pop()
    return encoded


def _list(session: dict[str, Any], lines: list[bytes]) -> None:
    session["action_count"] = len(lines)
    session["context"] = orjson.Fragment(_activity(lines))


def _encoded_length(session: dict[str, Any]) -> int:
    return len(orjson.dumps(session))


def _newest_that_fit(session: dict[str, Any], lines: list[bytes], room: int) -> list[bytes]:
    """The longest tail of a session's lines with which its entry has at most `room` bytes, by bisection."""
    fits, too_many = 0, len(lines) + 1
    while too_many - fits > 1:
        count = (fits + too_many) // 2
        _list(session, lines[-count:])
        if _encoded_length(session) <= room:
            fits = count
        else:
            too_many = count
    return lines[-fits:] if fits else []
