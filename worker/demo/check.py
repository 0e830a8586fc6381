"""Were the records right? A batch fold of the input topic in the plainest words, and what differs from it.

It shares no code with the pipeline, so that a mistake there is not repeated here. It leaves out every rule that a demo
is too short to reach (sessions that lapse, bounds on what is held, clocks that are wrong).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

Record = dict[str, Any]  # a record of the output topic as JSON, without its version

_LINE_BREAKERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class _Clicked(NamedTuple):
    """One payload of a user, in the order that counts."""

    time: float
    partition: int
    offset: int
    payload: Record


class Fold:
    """What every user's record has to say after the input records that were added, in offset order per partition."""

    def __init__(self, lookback_s: float) -> None:
        self.unreadable: list[bytes] = []
        self.payloads = 0
        self.joined = 0  # payloads of sessions nobody had logged in to, which a log-in gave to a user
        self._lookback_s = lookback_s
        self._user_of: dict[tuple[str, str], str] = {}
        self._held: dict[tuple[str, str], list[_Clicked]] = defaultdict(list)
        self._clicked: dict[str, list[_Clicked]] = defaultdict(list)

    def add(self, partition: int, offset: int, value: bytes) -> str | None:
        """Take in one record; the user whose record it changes, if it changes any."""
        payload = _read(value)
        if payload is None:
            self.unreadable.append(value)
            return None
        if payload.get("type", "actions") != "actions":
            return None
        self.payloads += 1
        session = (str(payload.get("product_id") or ""), str(payload["session_id"]))
        clicked = _Clicked(float(payload["forwarded_at"]), partition, offset, payload)
        user = str(payload.get("user_id") or "")
        if user:
            self._user_of[session] = user
            held = self._held.pop(session, [])
            self.joined += len(held)
            self._clicked[user] += held
        else:
            user = self._user_of.get(session, "")
        if not user:
            self._held[session].append(clicked)
            return None
        self._clicked[user].append(clicked)
        return user

    @property
    def users(self) -> list[str]:
        return sorted(self._clicked)

    @property
    def held(self) -> int:
        """Payloads that still are nobody's."""
        return sum(map(len, self._held.values()))

    def record(self, user: str) -> Record:
        """The record of a user, as long as it has not expired."""
        newest = max(clicked.time for clicked in self._clicked[user])
        window = sorted(clicked for clicked in self._clicked[user] if clicked.time >= newest - self._lookback_s)
        by_session: dict[tuple[str, str], list[_Clicked]] = defaultdict(list)
        for clicked in window:
            by_session[str(clicked.payload["session_id"]), str(clicked.payload.get("product_id") or "")].append(clicked)
        sessions = [_session(name, product, clicks) for (name, product), clicks in sorted(by_session.items())]
        return {
            "schema_version": 1,
            "user_id": user,
            "email": _newest(window, "email"),
            "updated_at": newest,
            "expires_at": newest + self._lookback_s,
            "sessions": sorted(sessions, key=lambda session: -session["last_seen_at"]),
            "truncated": False,
        }


def _read(value: bytes) -> Record | None:
    try:
        payload = json.loads(value)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None


def _session(session_id: str, product_id: str, clicks: list[_Clicked]) -> Record:
    actions = [action for clicked in clicks for action in clicked.payload["actions"]]
    lines = [f"{number}. {_line(action)}" for number, action in enumerate(actions, 1)]
    return {
        "session_id": session_id,
        "product_id": product_id or None,
        "conversation_id": _newest(clicks, "conversation_id"),
        "last_seen_at": clicks[-1].time,
        "action_count": len(lines),
        "context": "\n".join(["Recent activity:", *lines]) if lines else "",
    }


def _line(action: Record) -> str:
    line = f"[{action['index']}] {action['type']}: {action['description']} — {action['canonical_url']}"
    return _LINE_BREAKERS.sub(" ", line)


def _newest(clicks: list[_Clicked], field: str) -> str | None:
    return next((str(clicked.payload[field]) for clicked in reversed(clicks) if clicked.payload.get(field)), None)


def without_version(value: bytes | None) -> Record | None:
    """A record of the output topic, as the fold would write it. The version is a position in an internal topic."""
    if value is None:
        return None
    record: Record = json.loads(value)
    record.pop("version")
    return record


def judge(
    fold: Fold, published: dict[str, bytes | None], dead_letters: list[bytes | None], now: float, expiry_delay_s: float
) -> tuple[list[str], list[str]]:
    """What is right and what is wrong with the newest records and the dead letters, in sentences.

    A record may be null from `expires_at` on, and has to be `expiry_delay_s` later.
    """
    records = {user: without_version(value) for user, value in published.items()}
    wrong = differences(fold, records, now, expiry_delay_s)
    right = []
    if not wrong:
        expired = sum(record is None for record in records.values())
        right = [
            f"{len(records) - expired} records equal an independent fold of {fold.payloads} payloads, text by text",
            f"{fold.joined} clicks made before a log-in are their user's; {fold.held} of a visitor are nobody's",
            f"{expired} record{' has' if expired == 1 else 's have'} expired to null",
        ]
    if set(dead_letters) == set(fold.unreadable):
        right.append(f"{len(fold.unreadable)} unreadable record is in the dead-letter topic, byte for byte")
    else:
        wrong.append(f"the dead-letter topic holds {dead_letters}, expected {fold.unreadable}")
    return right, wrong


def differences(fold: Fold, published: Mapping[str, Record | None], now: float, expiry_delay_s: float) -> list[str]:
    """What is wrong with the newest records, one line each; none when all are right."""
    wrong = [f"{user}: published, but nobody of that id did anything" for user in published if user not in fold.users]
    for user in fold.users:
        expected = fold.record(user)
        actual = published.get(user)
        if actual is None:
            if user not in published or now < expected["expires_at"]:
                wrong.append(f"{user}: no record, expected {expected}")
        elif now > expected["expires_at"] + expiry_delay_s:
            wrong.append(f"{user}: expired {now - expected['expires_at']:.1f} s ago, but its record is still there")
        else:
            wrong += [f"{user}: {difference}" for difference in _compare(expected, actual, "")]
    return wrong


def _compare(expected: Any, actual: Any, path: str) -> list[str]:
    """Where two JSON values differ, in words."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        fields = [*expected, *(field for field in actual if field not in expected)]
        pairs = [(f"{path}.{field}".lstrip("."), expected.get(field), actual.get(field)) for field in fields]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [(f"{path}[{at}]", one, other) for at, (one, other) in enumerate(zip(expected, actual, strict=True))]
    else:
        return [] if expected == actual else [f"{path} is {actual!r}, expected {expected!r}"]
    return [difference for name, one, other in pairs for difference in _compare(one, other, name)]


class Freshness:
    """Which users' records are right at this moment, while traffic flows.

    A record is right when it is what the fold says now, or said after any payload within the last `grace_s`. It may be
    null from `expires_at` on, and has to be `expiry_delay_s` later.
    """

    def __init__(self, fold: Fold, grace_s: float, expiry_delay_s: float) -> None:
        self._fold = fold
        self._grace_s = grace_s
        self._expiry_delay_s = expiry_delay_s
        self._said: dict[str, list[tuple[float, Record]]] = defaultdict(list)

    def add(self, partition: int, offset: int, value: bytes, now: float) -> None:
        """Take in one input record that the broker has since `now`."""
        user = self._fold.add(partition, offset, value)
        if user is not None:
            self._said[user].append((now, self._fold.record(user)))

    def behind(self, published: Mapping[str, Record | None], now: float) -> set[str]:
        """The users whose records are not right."""
        return {user for user in self._said if not self._is_right(user, published.get(user), now)}

    def _is_right(self, user: str, actual: Record | None, now: float) -> bool:
        said = self._said[user]
        while len(said) > 1 and said[1][0] < now - self._grace_s:
            said.pop(0)  # what came after it is old enough to be out
        if actual is None:
            return said[0][0] >= now - self._grace_s or said[-1][1]["expires_at"] <= now
        if now > said[-1][1]["expires_at"] + self._expiry_delay_s:
            return False
        return any(actual == record for _, record in said)
