"""What must come out: the newest record of every user, from the payloads alone and without any code of the pipeline."""

from __future__ import annotations

from collections import deque
from typing import Any

from benchmarks.load import Payload

LOOKBACK_S = 300.0  # the defaults of the settings
MAX_ACTIONS_PER_SESSION = 200
HEADING = "Recent activity:"

Record = dict[str, Any]


class Session:
    """What a session of a user did lately."""

    def __init__(self, product_id: str) -> None:
        self.product_id = product_id
        self.conversation_id: str | None = None
        self.last_seen_at = 0.0
        self.lines: deque[tuple[float, str]] = deque(maxlen=MAX_ACTIONS_PER_SESSION)


class Fold:
    """The whole load, by user. Takes payloads in the order of their times, which is more than the worker asks for."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, Session]] = {}
        self._newest: dict[str, float] = {}
        self._emails: dict[str, str] = {}

    @property
    def users(self) -> list[str]:
        return list(self._users)

    def add(self, payload: Payload) -> None:
        """One payload of the load."""
        sessions = self._users.setdefault(payload.user_id, {})
        session = sessions.setdefault(payload.session_id, Session(payload.product_id))
        session.last_seen_at = self._newest[payload.user_id] = payload.time
        session.conversation_id = payload.conversation_id or session.conversation_id
        session.lines.extend((payload.time, line) for line in payload.lines)
        self._emails[payload.user_id] = payload.email

    def newest(self, user_id: str) -> float:
        """The time of the user's last payload."""
        return self._newest[user_id]

    def record(self, user_id: str, stream_time: float) -> Record | None:
        """The user's record, but for `version`, when their partition has come to `stream_time`; None = expired."""
        newest = self._newest[user_id]
        if newest + LOOKBACK_S < stream_time:
            return None
        since = newest - LOOKBACK_S
        sessions = [item for item in self._users[user_id].items() if item[1].last_seen_at >= since]
        sessions.sort(key=lambda item: (-item[1].last_seen_at, item[0]))
        return {
            "schema_version": 1,
            "user_id": user_id,
            "email": self._emails[user_id],
            "updated_at": newest,
            "expires_at": newest + LOOKBACK_S,
            "sessions": [_session(session_id, session, since) for session_id, session in sessions],
            "truncated": False,
        }


def _session(session_id: str, session: Session, since: float) -> Record:
    lines = [line for time, line in session.lines if time >= since]
    numbered = [f"{number}. {line}" for number, line in enumerate(lines, 1)]
    return {
        "session_id": session_id,
        "product_id": session.product_id,
        "conversation_id": session.conversation_id,
        "last_seen_at": session.last_seen_at,
        "action_count": len(lines),
        "context": "\n".join([HEADING, *numbered]) if lines else "",
    }
