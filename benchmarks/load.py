"""What goes in: payloads as a product sends them, about 1.5 KB each, the same for the same seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

SESSIONS_PER_USER = 3
PRODUCTS = 5
SKEW = 1.3  # the busiest tenth of the users sends a sixth of the payloads
ACTIONS = (1, 2, 3, 3, 4, 5)
ACTIONS_ON_AVERAGE = 3

_PLACES = (
    *("billing", "invoice", "settings", "members", "export", "dashboard", "report", "project", "board", "filter"),
    *("search", "upload", "avatar", "profile", "team", "plan", "audit", "calendar", "webhook", "template"),
)
_DEEDS = (
    ("pageview", "User landed on the {0} page after leaving the {1} section of the workspace"),
    ("click", "User clicked the {0} button in the toolbar above the {1} list of the workspace"),
    ("input", "User typed into the {0} field of the form that belongs to the {1} dialog"),
)


class Payload(NamedTuple):
    """One record of the input topic, and what of it matters for the user's record. `time` in Unix seconds."""

    key: bytes
    value: bytes
    time: float
    user_id: str
    session_id: str
    product_id: str
    conversation_id: str | None
    email: str
    lines: tuple[str, ...]


class Clicker:
    """Makes the payloads of one crowd of users. Indexes count up within a session, as the browser's do."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._clicks: Counter[tuple[int, int]] = Counter()

    def payload(self, user: int, session: int, actions: int, time: float) -> Payload:
        """The next `actions` actions of a user in one of their sessions."""
        user_id, session_id, product_id = f"user_{user:06d}", f"ps_{user:06d}_{session}", f"prod_{user % PRODUCTS}"
        email = f"{user_id}@example.com"
        conversation_id = f"conv_{user:06d}" if session == 0 else None
        ids = {"session_id": session_id, "user_id": user_id, "email": email, "conversation_id": conversation_id}
        first = self._clicks[user, session]
        self._clicks[user, session] += actions
        done = [self._action(first + number, time + number / 10, ids) for number in range(actions)]
        document = {
            "type": "actions",
            "product_id": product_id,
            **ids,
            "actions": done,
            "count": actions,
            "forwarded_at": time,
        }
        lines = tuple([f"[{a['index']}] {a['type']}: {a['description']} — {a['canonical_url']}" for a in done])
        key, value = session_id.encode(), orjson.dumps(document)
        return Payload(key, value, time, user_id, session_id, product_id, conversation_id, email, lines)

    def _action(self, index: int, time: float, ids: dict[str, str | None]) -> dict[str, Any]:
        number = self._random.getrandbits(
            40
        )  # one draw for all of it: making the load must not take longer than using it
        place = _PLACES[number % len(_PLACES)]
        other = _PLACES[(number >> 8) % len(_PLACES)]
        kind, text = _DEEDS[(number >> 16) % len(_DEEDS)]
        url = f"https://app.example.com/{place}/{(number >> 24) % 1000}"
        return {
            "title": f"{kind} {place}",
            "description": text.format(place, other),
            "canonical_url": url,
            "type": kind,
            "index": index,
            "timestamp_start": time,
            "timestamp_end": time + 0.05,
            "raw_url": f"{url}?tab={other}&ref={place}",
            **ids,
        }


def skewed_crowd(count: int, users: int, *, end: float, interval_s: float = 0.01) -> Iterator[Payload]:
    """`count` payloads, one every `interval_s` up to `end`: some users are busy, most are not, as in life.

    300,000 of 5,000 users span 50 minutes; a user's last 5 minutes hold about 18 actions in 3 sessions.
    """
    clicker, chance = Clicker(), random.Random(2)
    begin = end - (count - 1) * interval_s
    for number in range(count):
        user = int(users * chance.random() ** SKEW)
        session, actions = chance.randrange(SESSIONS_PER_USER), chance.choice(ACTIONS)
        yield clicker.payload(user, session, actions, begin + number * interval_s)


def even_crowd(
    users: int, *, begin: float, interval_s: float, count: int | None = None, burst: int = 1
) -> Iterator[Payload]:
    """Every user does the same: 18 actions in 6 payloads over 3 sessions, or as many as `count` payloads hold. They
    take turns, with `burst` payloads of one session each."""
    clicker = Clicker()
    for number in range(even_size(users) if count is None else count):
        turn, user = divmod(number // burst, users)
        yield clicker.payload(user, turn % SESSIONS_PER_USER, ACTIONS_ON_AVERAGE, begin + number * interval_s)


def even_size(users: int) -> int:
    """How many payloads an even crowd sends."""
    return users * 2 * SESSIONS_PER_USER
