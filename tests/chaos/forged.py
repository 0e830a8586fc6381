"""A small run in which everything is right, made by hand, for tests to break."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from schemas.dead_letter import DeadLetter
from tests.acceptance.oracle import OracleSettings
from tests.acceptance.records import Headers, Record
from tests.chaos.commit_log import Commit
from tests.chaos.evidence import Evidence
from tests.chaos.feeder import MARK_FORM, MARK_HEADER
from tests.chaos.witness import Ends

START = 1_750_000_000.0  # when the traffic says that it is
NOW = 1_800_000_000.0  # when the run was made
SETTINGS = OracleSettings(repartition_partitions=1)

# (seconds after START, session, user, text); None in place of a text: not JSON
INPUT: tuple[tuple[float, str, str | None, str | None], ...] = (
    (0.0, "s1", "amelie", "zero"),
    (1.0, "s2", None, "one, held"),
    (2.0, "s1", None, "two"),
    (3.0, "s3", None, None),
    (4.0, "s2", "bruno", "four"),
    (5.0, "s4", None, "five, of nobody"),
)
# (input offset or None for a reset, user), in log order
ROUTED: tuple[tuple[int | None, str], ...] = ((0, "amelie"), (2, "amelie"), (1, "bruno"), (4, "bruno"))


def record(offset: int, key: str, value: bytes | None, at: float, headers: Headers = ()) -> Record:
    """On partition 0."""
    return Record(0, offset, key.encode(), value, headers, round(at * 1000))


def input_record(offset: int, after_s: float, session: str, user: str | None, text: str | None) -> Record:
    at = START + after_s
    actions = [{"type": "click", "description": text, "canonical_url": "/", "index": 0}]
    document = {"session_id": session, "user_id": user, "forwarded_at": at, "actions": actions}
    return record(offset, session, b"no json" if text is None else json.dumps(document).encode(), at)


def routed(offset: int, source: int, user: str, at: float) -> Record:
    """A payload on the repartition topic."""
    t = START + INPUT[source][0]
    value = b"\x02" + msgspec.msgpack.encode([["", INPUT[source][1], t, source, b"", 0, "", "", user, t]])
    return record(offset, user, value, at)


def reset(offset: int, user: str, at: float, mark: float) -> Record:
    """One that erases up to a time."""
    return record(offset, user, None, at, ((MARK_HEADER, MARK_FORM.pack(1, mark)),))


def published(offset: int, user: str, version: int, at: float, said: dict[str, Any] | None) -> Record:
    """A record on the output topic; `said` None: a tombstone."""
    return record(offset, user, None if said is None else json.dumps({**said, "version": version}).encode(), at)


def told_of(offset: int, session: str, said: dict[str, Any] | None) -> Record:
    """A record on the session topic."""
    times = {"updated_at": START, "expires_at": START}
    return record(offset, session, None if said is None else json.dumps({**times, **said}).encode(), NOW + 2)


def dead_letter(offset: int, source: int, at: float) -> Record:
    letter = DeadLetter("invalid_json", "", "input", 0, source, None, "1")
    return record(offset, "s3", b"no json", at, tuple(letter.to_headers()))


def commit(topic: str, next_offset: int, restore: int, at: float) -> Commit:
    return Commit(topic, 0, next_offset, json.dumps({"v": 1, "restore": restore}), round(at * 1000))


def evidence() -> Evidence:
    """Routed at NOW + 1, published at NOW + 2, committed at NOW + 3."""
    empty = Evidence(SETTINGS, "input", "hop", False, 6.0, {}, {}, {}, {}, {})
    empty.input = {0: [input_record(offset, *each) for offset, each in enumerate(INPUT)]}
    users = empty.expected.users
    empty.repartition = {0: [routed(at, source or 0, user, NOW + 1) for at, (source, user) in enumerate(ROUTED)]}
    empty.output = {
        0: [
            published(0, "amelie", 1, NOW + 2, users["amelie"]),
            published(1, "bruno", 3, NOW + 2, users["bruno"]),
        ]
    }
    empty.dead_letters = {0: [dead_letter(0, 3, NOW + 1)]}
    visitors = sorted(empty.expected.visitors.items())
    empty.sessions = {0: [told_of(at, session, said) for at, (session, said) in enumerate(visitors)]}
    empty.commits = [commit("input", 6, 0, NOW + 3), commit("hop", 4, 0, NOW + 3)]
    empty.ends = [Ends(NOW + second, {("input", 0): 6, ("hop", 0): 4}) for second in range(60)]
    empty.followed = {
        "amelie": {**(users["amelie"] or {}), "version": 1},
        "bruno": {**(users["bruno"] or {}), "version": 3},
    }
    again = Evidence(**{name: getattr(empty, name) for name in Evidence.__dataclass_fields__})
    assert "expected" not in vars(again), "what was worked out is worked out anew"
    return again
