"""What must come out, as plainly as possible: everything is kept, sorted once, and cut at the end.

Written from the contract without the pipeline's code. Input values are JSON objects with fields of the right types, or
no JSON at all (dead letters).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from worker.pipeline.repartition import Reset, read
from worker.settings import Settings
from worker.testing import Record

NEVER = float("-inf")

Source = tuple[int, int]
Context = dict[str, Any]


class Routed(NamedTuple):
    """A payload and whose it is. Compares by the order that counts: event time, then source."""

    t: float
    source: Source
    s: float
    user: str
    session: tuple[str, str]
    conversation: str
    email: str
    lines: tuple[str, ...]


class Linked(NamedTuple):
    """A session as it stands after a payload. `held`: (stream time, payload)."""

    seen_at: float = NEVER
    user: str = ""
    confirmed_at: float = NEVER
    held: tuple[tuple[float, Routed], ...] = ()


def route(log: Iterable[Record], settings: Settings) -> list[Routed]:
    """The first stage: one partition of the input in offset order."""
    return link(log, settings)[0]


def link(log: Iterable[Record], settings: Settings) -> tuple[list[Routed], dict[tuple[str, str], Linked], float]:
    """What is routed, the sessions as they stand at the end, and the stream time there."""
    out: list[Routed] = []
    now = NEVER
    sessions: dict[tuple[str, str], Linked] = {}
    for record in log:
        payload = payload_of(record, settings)
        if payload is None:
            continue
        now = max(now, payload.s)
        session = sessions.get(payload.session, Linked())
        if now - session.seen_at > settings.retention_s:
            session = Linked()
        if now - session.confirmed_at > settings.link_retention_s:
            session = session._replace(user="")
        held = tuple(item for item in session.held if item[0] >= now - settings.retention_s)
        if payload.user:
            out += [item._replace(user=payload.user) for _, item in held] + [payload]
            sessions[payload.session] = Linked(now, payload.user, now)
        elif session.user:
            out.append(payload._replace(user=session.user))
            sessions[payload.session] = session._replace(seen_at=now)
        else:
            held = (*held, (now, payload))
            while len(held) > 1 and sum(max(1, len(item.lines)) for _, item in held) > settings.max_actions_per_session:
                held = held[1:]
            sessions[payload.session] = session._replace(seen_at=now, held=held)
    return out, sessions, now


def visitors(log: Iterable[Record], settings: Settings) -> dict[str, Context | None]:
    """By session id, what the records of one input partition say at its end. Of one that tells of nothing, no times."""
    _, sessions, now = link(log, settings)
    lookback = settings.lookback_seconds
    out: dict[str, Context | None] = {}
    for session_id in {key[1] for key in sessions}:
        mine = [
            each
            for key, each in sessions.items()
            if key[1] == session_id and now - each.seen_at <= settings.retention_s
        ]
        linked = [each for each in mine if each.user and now - each.confirmed_at <= settings.link_retention_s]
        user = linked[0].user if len({each.user for each in linked}) == 1 else None
        held = sorted(p for each in mine for at, p in each.held if now - at <= settings.retention_s)
        newest = max([NEVER, *(p.t for p in held)])
        window = [p for p in held if p.t >= newest - lookback and newest + lookback >= now]
        keys = {p.session for p in window}
        entries = {key: [p for p in window if p.session == key] for key in keys}
        order = sorted(keys, key=lambda key: (-entries[key][-1].t, key[0]))[: settings.max_sessions_per_user]
        record: Context = {
            "schema_version": 1,
            "session_id": session_id,
            "linked_user_id": user,
            "sessions": [session_of(key, entries[key], settings) for key in order],
        }
        if window:
            record |= {"updated_at": newest, "expires_at": newest + lookback}
        out[session_id] = record if user or window else None
    return out


def payload_of(record: Record, settings: Settings) -> Routed | None:
    try:
        document = json.loads(record.value or b"")
    except ValueError:
        return None
    if document.get("type", "actions") != "actions" or not document.get("session_id"):
        return None
    ceiling = record.timestamp
    assert ceiling is not None
    t = document.get("forwarded_at")
    if t is None or t <= 0 or t > ceiling + settings.max_clock_skew_s:
        t = ceiling
    return Routed(
        t,
        (record.partition, record.offset),
        min(t, ceiling),
        document.get("user_id", ""),
        (document.get("product_id", ""), document["session_id"]),
        document.get("conversation_id", ""),
        document.get("email", ""),
        tuple(
            f"[{action['index']}] {action['type']}: {action['description']} — {action['canonical_url']}"
            for action in document.get("actions", [])
        ),
    )


def marks(repartition: Iterable[Record]) -> list[tuple[str, int, float]]:
    """(user, offset, mark) of the resets: the time of each, or the newest event of the user that counted by then; what
    a replay wrote again carries its mark."""
    out: list[tuple[str, int, float]] = []
    newest: dict[str, float] = {}
    mark: dict[str, float] = {}
    for record in repartition:
        item = read(record.key, record.value, record.headers)
        if isinstance(item, Reset):
            user = item.user_id
            assert record.timestamp is not None
            at = max(record.timestamp, newest.get(user, NEVER)) if item.mark is None else item.mark
            mark[user] = max(mark.get(user, NEVER), at)
            out.append((user, record.offset, mark[user]))
            continue
        for payload in item:
            user = payload.user_id
            if payload.event_time > mark.get(user, NEVER):
                newest[user] = max(newest.get(user, NEVER), payload.event_time)
    return out


def render(user_id: str, payloads: Iterable[Routed], clock: float, settings: Settings) -> Context | None:
    """The second stage: the record of a user, all but its version. Repeats count once."""
    known = sorted(set(payloads))
    if not known or known[-1].t + settings.lookback_seconds < clock:
        return None
    newest = known[-1].t
    window = [payload for payload in known if payload.t >= newest - settings.lookback_seconds]
    sessions = {payload.session: [p for p in window if p.session == payload.session] for payload in window}
    order = sorted(sessions, key=lambda key: (-sessions[key][-1].t, key[1], key[0]))
    return {
        "schema_version": 1,
        "user_id": user_id,
        "email": last(payload.email for payload in window) if settings.include_email else None,
        "updated_at": newest,
        "expires_at": newest + settings.lookback_seconds,
        "sessions": [session_of(key, sessions[key], settings) for key in order[: settings.max_sessions_per_user]],
        "truncated": False,
    }


def session_of(key: tuple[str, str], payloads: list[Routed], settings: Settings) -> Context:
    lines = [line for payload in payloads for line in payload.lines][-settings.max_actions_per_session :]
    numbered = [f"{number}. {line}" for number, line in enumerate(lines, 1)]
    return {
        "session_id": key[1],
        "product_id": key[0] or None,
        "conversation_id": last(payload.conversation for payload in payloads),
        "last_seen_at": payloads[-1].t,
        "action_count": len(lines),
        "context": "\n".join(["Recent activity:", *numbered]) if lines else "",
    }


def last(texts: Iterable[str]) -> str | None:
    """The last that is not empty."""
    return ([None] + [text for text in texts if text])[-1]
