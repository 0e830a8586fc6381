"""The truth about a run: a batch fold of the whole input topic into the newest record of every user.

Written from the words of the contract alone and without the worker's code, as plainly as possible: it keeps everything,
reads each partition once, then sorts. That is enough, because no record depends on how partitions interleave: stage one
folds each input partition in offset order, which is fixed, and stage two forgets as late only what lies more than two
lookbacks behind stream time, where a record whose window reaches that far back has expired.

Resets do not lie on the input topic: what they erase is an argument (`marks`). Not folded: records that hit a bound at
which the promise ends. Such input raises BeyondTheOracleError.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.acceptance.oracle_json import SkippedError, UndecodableError, decode
from tests.acceptance.records import Record

CONTROL_RUN = re.compile("[\u0000-\u001f\u007f-\u009f\u2028\u2029]+")

TEXT_FIELDS = ("title", "description", "canonical_url", "type", "raw_url")
TIME_FIELDS = ("timestamp_start", "timestamp_end")
ID_FIELDS = ("product_id", "session_id", "user_id", "email", "conversation_id")


@dataclass(frozen=True, slots=True)
class OracleSettings:
    """The settings that the records depend on. `wall_clock` is when the run is looked at, in Unix seconds."""

    lookback_seconds: float = 300.0
    max_sessions_per_user: int = 20
    max_actions_per_session: int = 200
    max_held_sessions: int = 10_000
    max_record_bytes: int = 524_288
    max_clock_skew_s: float = 60.0
    link_retention_s: float = 3600.0
    anonymous_user_id_pattern: str = ""
    include_email: bool = True
    repartition_partitions: int = 4
    expire_idle_users: bool = False
    wall_clock: float = math.inf

    @property
    def retention_s(self) -> float:
        """How far behind stream time anything is remembered."""
        return 2 * self.lookback_seconds


class Payload(NamedTuple):
    """An ActionsPayload as read, with where it came from and its time. `t` is event time, `s` its stream time."""

    t: float
    partition: int
    offset: int
    s: float
    product_id: str | None
    session_id: str
    user_id: str | None
    email: str | None
    conversation_id: str | None
    lines: tuple[str, ...]


Position = tuple[int, int]  # partition and offset on the input topic


SessionKey = tuple[str | None, str]  # product, session


class Route(NamedTuple):
    """Who a payload belongs to, and the offset of the record that settled it: its own, unless it was held."""

    user_id: str
    by_offset: int


@dataclass(frozen=True, slots=True)
class Expected:
    """What the topics must hold in the end. `users` has every user that was ever named or erased; None = no context.

    Every position of the input is in one of `routed`, `unclaimed`, `dead_letters` and `skipped_at`. `visitors` has all
    session ids but those on several partitions, whose records overwrite each other. A record that tells of nothing has
    no times here: it keeps those of the moment at which it was written.
    """

    users: dict[str, dict[str, Any] | None]
    dead_letters: dict[Position, str]
    skipped: Counter[str]
    counts: Counter[str]
    routed: dict[Position, Route]
    unclaimed: frozenset[Position]
    skipped_at: frozenset[Position]
    visitors: dict[str, dict[str, Any] | None] = field(default_factory=dict)


class BeyondTheOracleError(Exception):
    """The input reaches a bound where the contract promises nothing that could be compared."""


def fold(
    records_by_partition: Mapping[int, Iterable[Record]],
    settings: OracleSettings,
    marks: Mapping[str, float] | None = None,
) -> Expected:
    """Everything that the output and the dead-letter topic must hold once all of the input is worked off.

    `marks`: what happened up to then was erased of a user, Unix seconds.
    """
    dead_letters: dict[Position, str] = {}
    skipped: dict[Position, str] = {}
    unclaimed: set[Position] = set()
    counts: Counter[str] = Counter()
    routed: dict[Position, Route] = {}
    by_user: dict[str, list[Payload]] = defaultdict(list)
    visitors: dict[str, list[dict[str, Any] | None]] = defaultdict(list)
    for records in records_by_partition.values():
        payloads = []
        for record in records:
            try:
                payloads.append(read(record, settings, counts))
            except UndecodableError as error:
                dead_letters[record.position] = str(error)
            except SkippedError as reason:
                skipped[record.position] = str(reason)
        unclaimed |= {(payload.partition, payload.offset) for payload in payloads}
        emitted, sessions = link(payloads, settings, counts)
        for route, payload in emitted:
            by_user[route.user_id].append(payload)
            routed[payload.partition, payload.offset] = route
        for session_id in {session_id for _, session_id in sessions}:
            stream_time = max(payload.s for payload in payloads)
            mine = [session for key, session in sessions.items() if key[1] == session_id]
            visitors[session_id].append(render_visitor(session_id, mine, stream_time, settings))
    clocks = stream_times(by_user, settings)
    marks = marks or {}
    users: dict[str, dict[str, Any] | None] = dict.fromkeys(marks)
    for user_id, payloads in by_user.items():
        left = after(payloads, marks.get(user_id))
        users[user_id] = render(user_id, left, clocks[partition_of(user_id, settings)], settings)
    unclaimed -= routed.keys()
    return Expected(
        users,
        dead_letters,
        Counter(skipped.values()),
        counts,
        routed,
        frozenset(unclaimed),
        frozenset(skipped),
        {session_id: found[0] for session_id, found in visitors.items() if len(found) == 1},
    )


def after(payloads: Sequence[Payload], mark: float | None) -> Sequence[Payload]:
    """What a reset leaves of a user, whatever arrived before it and whatever later."""
    return payloads if mark is None else [payload for payload in payloads if payload.t > mark]


# --- Reading a record -------------------------------------------------------------------------------------------------


def read(record: Record, settings: OracleSettings, counts: Counter[str]) -> Payload:
    """The payload of a record. Raises SkippedError or UndecodableError."""
    document = decode(record.value)
    kind = document.get("type")
    if kind is not None and not isinstance(kind, str):
        raise UndecodableError("type")
    if kind not in (None, "actions"):
        raise SkippedError("type")
    ids = {name: read_id(name, document.get(name)) for name in ID_FIELDS}
    actions = read_actions(document.get("actions"))
    whole_number("count", document.get("count"))
    forwarded_at = number("forwarded_at", document.get("forwarded_at"))
    if ids["session_id"] is None:
        raise SkippedError("session_id")
    if settings.anonymous_user_id_pattern and re.search(settings.anonymous_user_id_pattern, ids["user_id"] or ""):
        ids["user_id"] = None
    if (record.key or b"").decode("utf-8", "replace") != ids["session_id"]:
        counts["key differs"] += 1
    t, s = event_time(forwarded_at, record.timestamp_ms / 1000, settings, counts)
    session_id = ids.pop("session_id")
    assert session_id is not None
    return Payload(t, record.partition, record.offset, s, session_id=session_id, lines=tuple(actions), **ids)


def read_id(name: str, value: object) -> str | None:
    """An id as stripped text; a JSON integer of 64 bits as its decimal digits."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64:
        return str(value)
    if not isinstance(value, str):
        raise UndecodableError(name)
    return value.strip() or None


def read_actions(value: object) -> list[str]:
    """The lines that the actions make, without their numbers."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise UndecodableError("actions")
    return [action_line(action) for action in value]


def action_line(action: object) -> str:
    """`[index] type: description — canonical_url` on one line, whatever the texts hold."""
    if not isinstance(action, dict):
        raise UndecodableError("actions")
    texts = {name: text("actions." + name, action.get(name)) for name in TEXT_FIELDS}
    for name in TIME_FIELDS:
        number("actions." + name, action.get(name))
    index = whole_number("actions.index", action.get("index"))
    shown = {name: CONTROL_RUN.sub(" ", value) for name, value in texts.items()}
    return f"[{index or 0}] {shown['type']}: {shown['description']} — {shown['canonical_url']}"


def text(name: str, value: object) -> str:
    """A text; a missing one is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UndecodableError(name)
    return value


def number(name: str, value: object) -> float | None:
    """A number of either kind; a boolean is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UndecodableError(name)
    return value


def whole_number(name: str, value: object) -> int | None:
    """A JSON integer."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise UndecodableError(name)
    return value


def event_time(
    forwarded_at: float | None, timestamp: float, settings: OracleSettings, counts: Counter[str]
) -> tuple[float, float]:
    """Event time and stream time of a payload: its own clock is believed up to the skew, and never for stream time."""
    limit = min(timestamp, settings.wall_clock)
    if forwarded_at is None or forwarded_at <= 0 or forwarded_at > limit + settings.max_clock_skew_s:
        counts["clock corrected"] += 1
        return limit, limit
    return float(forwarded_at), min(float(forwarded_at), limit)


# --- Stage one: whose payload is it -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Session:
    """What one input partition knows of one session. All times are the partition's stream time."""

    seen_at: float
    user_id: str | None = None
    linked_at: float = -math.inf
    held: list[tuple[float, Payload]] = field(default_factory=list)


def link(
    payloads: Sequence[Payload], settings: OracleSettings, counts: Counter[str]
) -> tuple[list[tuple[Route, Payload]], dict[SessionKey, Session]]:
    """The payloads of one input partition, in offset order, with their users; what nobody claimed is left out. And the
    sessions as they stand at the end."""
    stream_time = -math.inf
    sessions: dict[SessionKey, Session] = {}
    emitted: list[tuple[Route, Payload]] = []
    for payload in payloads:
        stream_time = max(stream_time, payload.s)
        key = (payload.product_id, payload.session_id)
        session = sessions.get(key)
        if session is None or stream_time - session.seen_at > settings.retention_s:
            counts["sessions"] += 1
            session = sessions[key] = Session(stream_time)
        session.seen_at = stream_time
        if session.user_id is not None and stream_time - session.linked_at > settings.link_retention_s:
            counts["links forgotten"] += 1
            session.user_id = None
        session.held = [(at, held) for at, held in session.held if stream_time - at <= settings.retention_s]
        if payload.user_id is not None:
            counts["users switched"] += session.user_id not in (None, payload.user_id)
            counts["held, then linked"] += len(session.held)
            emitted.extend((Route(payload.user_id, payload.offset), held) for _, held in session.held)
            session.held = []
            session.user_id, session.linked_at = payload.user_id, stream_time
        if session.user_id is not None:
            emitted.append((Route(session.user_id, payload.offset), payload))
        else:
            hold(session, stream_time, payload, settings, counts)
    waiting = sum(bool(session.held) for session in sessions.values())
    if waiting > settings.max_held_sessions:
        raise BeyondTheOracleError(f"{waiting} anonymous sessions on one partition")
    return emitted, sessions


def hold(
    session: Session, stream_time: float, payload: Payload, settings: OracleSettings, counts: Counter[str]
) -> None:
    """Keep an anonymous payload; the oldest give way when there are too many actions, but never the newest."""
    session.held.append((stream_time, payload))
    while (
        len(session.held) > 1
        and sum(max(1, len(held.lines)) for _, held in session.held) > settings.max_actions_per_session
    ):
        counts["held, given up"] += 1
        session.held.pop(0)


# --- Stage two: what is known of a user -------------------------------------------------------------------------------


def stream_times(by_user: Mapping[str, Sequence[Payload]], settings: OracleSettings) -> dict[int, float]:
    """The clock of expiry of every repartition partition, at the end of the run."""
    clocks = dict.fromkeys(range(settings.repartition_partitions), -math.inf)
    for user_id, payloads in by_user.items():
        partition = partition_of(user_id, settings)
        clocks[partition] = max(clocks[partition], *(payload.s for payload in payloads))
    if settings.expire_idle_users:
        return dict.fromkeys(clocks, settings.wall_clock)
    return clocks


def partition_of(user_id: str, settings: OracleSettings) -> int:
    """Where the Java client's default partitioner sends the user."""
    return (murmur2(user_id.encode()) & 0x7FFFFFFF) % settings.repartition_partitions


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit hash of a key, as an unsigned number."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) - len(data) % 4
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        k = (k ^ k >> 24) * multiplier & mask
        h = h * multiplier & mask ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * multiplier & mask
    h = (h ^ h >> 13) * multiplier & mask
    return h ^ h >> 15


def render(user_id: str, payloads: Sequence[Payload], clock: float, settings: OracleSettings) -> dict[str, Any] | None:
    """The record of a user, all but its version; None when nothing is known any more."""
    if not payloads:
        return None
    ordered = sorted(payloads, key=lambda payload: (payload.t, payload.partition, payload.offset))
    if len({(payload.product_id, payload.session_id) for payload in payloads}) > 10 * settings.max_sessions_per_user:
        raise BeyondTheOracleError(f"{user_id!r} has more sessions than are remembered")
    newest = ordered[-1].t
    if newest + settings.lookback_seconds < clock:
        return None
    window = [payload for payload in ordered if payload.t >= newest - settings.lookback_seconds]
    by_session: dict[tuple[str | None, str], list[Payload]] = defaultdict(list)
    for payload in window:
        by_session[payload.product_id, payload.session_id].append(payload)
    sessions = [render_session(session, settings) for session in by_session.values()]
    sessions.sort(key=lambda session: (-session["last_seen_at"], session["session_id"], session["product_id"] or ""))
    record = {
        "schema_version": 1,
        "user_id": user_id,
        "email": last_given(payload.email for payload in window) if settings.include_email else None,
        "updated_at": newest,
        "expires_at": newest + settings.lookback_seconds,
        "sessions": sessions[: settings.max_sessions_per_user],
        "truncated": False,
    }
    size = len(json.dumps(record, ensure_ascii=False).encode())
    if size > settings.max_record_bytes:
        raise BeyondTheOracleError(f"the record of {user_id!r} has {size} bytes and would be cut")
    return record


def render_visitor(
    session_id: str, sessions: Sequence[Session], now: float, settings: OracleSettings
) -> dict[str, Any] | None:
    """The record of a session id, from its sessions in all products; None when nothing is known any more."""
    alive = [session for session in sessions if now - session.seen_at <= settings.retention_s]
    linked = [session for session in alive if session.user_id and now - session.linked_at <= settings.link_retention_s]
    held = [payload for session in alive for at, payload in session.held if now - at <= settings.retention_s]
    held.sort(key=lambda payload: (payload.t, payload.offset))
    newest = held[-1].t if held else -math.inf
    by_product: dict[str | None, list[Payload]] = defaultdict(list)
    for payload in held:
        if payload.t >= newest - settings.lookback_seconds and newest + settings.lookback_seconds >= now:
            by_product[payload.product_id].append(payload)
    user_id = linked[0].user_id if len({session.user_id for session in linked}) == 1 else None
    if not (user_id or by_product):
        return None
    entries = [render_session(payloads, settings) for payloads in by_product.values()]
    entries.sort(key=lambda entry: (-entry["last_seen_at"], entry["product_id"] or ""))
    record: dict[str, Any] = {
        "schema_version": 1,
        "session_id": session_id,
        "linked_user_id": user_id,
        "sessions": entries[: settings.max_sessions_per_user],
    }
    if entries:
        record |= {"updated_at": newest, "expires_at": newest + settings.lookback_seconds}
    return record


def render_session(payloads: Sequence[Payload], settings: OracleSettings) -> dict[str, Any]:
    """The entry of one session; its payloads come in order."""
    lines = [line for payload in payloads for line in payload.lines][-settings.max_actions_per_session :]
    numbered = [f"{position}. {line}" for position, line in enumerate(lines, start=1)]
    return {
        "session_id": payloads[0].session_id,
        "product_id": payloads[0].product_id,
        "conversation_id": last_given(payload.conversation_id for payload in payloads),
        "last_seen_at": payloads[-1].t,
        "action_count": len(lines),
        "context": "\n".join(["Recent activity:", *numbered]) if lines else "",
    }


def last_given(values: Iterable[str | None]) -> str | None:
    """The last one that is there."""
    return next((value for value in reversed(list(values)) if value is not None), None)
