"""The oracle on cases that are small enough to be worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import confluent_kafka
import pytest

from tests.acceptance.oracle import Expected, OracleSettings, fold, murmur2
from tests.acceptance.records import Record

NOW = 1_700_000_000.0
SETTINGS = OracleSettings(lookback_seconds=300.0, link_retention_s=3600.0, repartition_partitions=1)


class Log:
    """One input partition under construction. `at` is seconds after NOW, both as record timestamp and event time."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.records: list[Record] = []

    def raw(self, value: bytes | None, *, at: float = 0.0, key: bytes | None = b"s") -> None:
        timestamp_ms = round((NOW + at) * 1000)
        self.records.append(Record(self.partition, len(self.records), key, value, (), timestamp_ms))

    def payload(self, at: float = 0.0, **fields: Any) -> None:
        document = {"session_id": "s", "forwarded_at": NOW + at, "actions": [click("x")], **fields}
        self.raw(json.dumps(document).encode(), at=at)


def click(description: str, **fields: Any) -> dict[str, Any]:
    return {"type": "click", "description": description, "canonical_url": "u", **fields}


def run(*logs: Log, settings: OracleSettings = SETTINGS) -> Expected:
    return fold({log.partition: log.records for log in logs}, settings)


def record_of(user_id: str, *logs: Log, settings: OracleSettings = SETTINGS) -> dict[str, Any]:
    record = run(*logs, settings=settings).users[user_id]
    assert record is not None
    return record


def lines_of(session: dict[str, Any]) -> list[str]:
    """The descriptions that a session's context lists."""
    return [line.split(": ", 1)[1].split(" — ")[0] for line in session["context"].splitlines()[1:]]


def test_one_payload_makes_the_whole_record() -> None:
    log = Log()
    log.payload(
        at=1.5, user_id="u1", email="a@b.c", product_id="acme", conversation_id="c1",
        actions=[click("one"), click("two\r\n\u2028three", index=7, type="page\x00view")],
    )  # fmt: skip

    assert record_of("u1", log) == {
        "schema_version": 1,
        "user_id": "u1",
        "email": "a@b.c",
        "updated_at": NOW + 1.5,
        "expires_at": NOW + 301.5,
        "sessions": [
            {
                "session_id": "s",
                "product_id": "acme",
                "conversation_id": "c1",
                "last_seen_at": NOW + 1.5,
                "action_count": 2,
                "context": "Recent activity:\n1. [0] click: one — u\n2. [7] page view: two three — u",
            }
        ],
        "truncated": False,
    }


def test_a_payload_without_actions_is_a_session_without_context() -> None:
    log = Log()
    log.payload(user_id="u", actions=None)

    [session] = record_of("u", log)["sessions"]
    assert (session["action_count"], session["context"], session["product_id"]) == (0, "", None)


def test_an_anonymous_prefix_goes_to_the_user_who_identifies() -> None:
    log = Log()
    log.payload(at=0, actions=[click("before")])
    log.payload(at=1, actions=[click("login")], user_id="u")
    log.payload(at=2, actions=[click("after")])

    assert lines_of(record_of("u", log)["sessions"][0]) == ["before", "login", "after"]


def test_after_a_switch_the_new_user_gets_what_follows_and_only_that() -> None:
    log = Log()
    log.payload(at=0, actions=[click("first")], user_id="a")
    log.payload(at=1, actions=[click("second")], user_id="b")
    log.payload(at=2, actions=[click("third")])

    assert lines_of(record_of("a", log)["sessions"][0]) == ["first"]
    assert lines_of(record_of("b", log)["sessions"][0]) == ["second", "third"]


def test_a_user_id_that_matches_the_anonymous_pattern_is_none() -> None:
    log = Log()
    log.payload(actions=[click("early")], user_id="anon-1")
    log.payload(actions=[click("late")], user_id="u")

    expected = run(log, settings=OracleSettings(repartition_partitions=1, anonymous_user_id_pattern="^anon-"))
    assert list(expected.users) == ["u"]


def test_a_session_that_was_silent_for_longer_than_the_retention_starts_anew() -> None:
    log = Log()
    log.payload(at=0, user_id="u")
    log.payload(at=601, actions=[click("whose?")])
    log.payload(at=602, user_id="w")

    expected = run(log)
    assert expected.users["u"] is None
    assert lines_of(record_of("w", log)["sessions"][0]) == ["whose?", "x"]


def test_a_session_stays_linked_up_to_the_retention() -> None:
    log = Log()
    log.payload(at=0, user_id="u")
    log.payload(at=600, actions=[click("mine")])

    assert lines_of(record_of("u", log)["sessions"][0]) == ["mine"]


def test_a_link_that_nobody_confirms_is_forgotten() -> None:
    log = Log()
    for at in range(0, 4201, 300):
        log.payload(at=at, user_id="u" if at == 0 else None)

    assert record_of("u", log)["updated_at"] == NOW + 3600
    assert run(log).counts["links forgotten"] == 1


def test_held_payloads_are_bounded_by_age_and_by_actions() -> None:
    log = Log()
    log.payload(at=0, actions=[click("too old")])
    log.payload(at=400, actions=[click("pushed out")] * 150)
    log.payload(at=500, actions=[click("kept")] * 100)
    log.payload(at=601, actions=[], user_id="u")

    assert lines_of(record_of("u", log)["sessions"][0]) == ["kept"] * 100


def test_one_held_payload_may_have_more_actions_than_are_held() -> None:
    log = Log()
    log.payload(at=0, actions=[click("pushed out")])
    log.payload(at=1, actions=[click("kept")] * 250)
    log.payload(at=2, actions=[], user_id="u")

    assert lines_of(record_of("u", log)["sessions"][0]) == ["kept"] * 200


def test_ages_in_a_session_are_stream_time_not_event_time() -> None:
    log = Log()
    log.payload(at=0, forwarded_at=NOW - 5000, actions=[click("said to be old")])
    log.payload(at=0, user_id="u", forwarded_at=NOW - 5000)

    assert lines_of(record_of("u", log)["sessions"][0]) == ["said to be old", "x"]


def test_the_window_hangs_on_the_users_own_newest_event() -> None:
    log = Log()
    log.payload(at=0, user_id="u", session_id="old")
    log.payload(at=100, user_id="u", session_id="kept")
    log.payload(at=400, user_id="u", session_id="new")
    log.payload(at=690, user_id="other", session_id="z")

    assert [session["session_id"] for session in record_of("u", log)["sessions"]] == ["new", "kept"]


def test_a_user_expires_by_the_stream_time_of_the_own_partition() -> None:
    log = Log()
    log.payload(at=0, user_id="u")
    log.payload(at=301, user_id="other", session_id="z")

    assert run(log).users["u"] is None
    # With four partitions these two are apart: nothing moves the clock of u.
    apart = OracleSettings(repartition_partitions=4)
    assert murmur2(b"u") % 4 != murmur2(b"other") % 4
    assert run(log, settings=apart).users["u"] is not None


def test_idle_users_expire_by_the_wall_clock() -> None:
    log = Log()
    log.payload(at=0, user_id="u")
    log.payload(at=50, user_id="w", session_id="z")

    idle = OracleSettings(repartition_partitions=1, expire_idle_users=True, wall_clock=NOW + 320)
    assert [user for user, record in run(log, settings=idle).users.items() if record] == ["w"]


def test_order_is_event_time_then_partition_then_offset() -> None:
    first, second = Log(0), Log(1)
    second.payload(at=10, user_id="u", actions=[click("d")])
    second.payload(at=5, user_id="u", actions=[click("b")])
    first.payload(at=10, user_id="u", actions=[click("c")])
    first.payload(at=1, user_id="u", actions=[click("a")])

    assert lines_of(record_of("u", first, second)["sessions"][0]) == ["a", "b", "c", "d"]


def test_only_the_newest_actions_are_listed() -> None:
    log = Log()
    log.payload(at=0, user_id="u", actions=[click(str(number)) for number in range(150)])
    log.payload(at=1, user_id="u", actions=[click(str(number)) for number in range(150, 250)])

    [session] = record_of("u", log)["sessions"]
    assert lines_of(session) == [str(number) for number in range(50, 250)]
    assert session["context"].splitlines()[1].startswith("1. [0] click: 50")


def test_sessions_come_newest_first_and_are_capped() -> None:
    log = Log()
    for number in range(25):
        log.payload(at=number // 2, user_id="u", session_id=f"s{number:02}")

    sessions = record_of("u", log)["sessions"]
    assert [session["session_id"] for session in sessions[:5]] == ["s24", "s22", "s23", "s20", "s21"]
    assert len(sessions) == 20


def test_the_same_session_id_in_two_products_is_two_sessions() -> None:
    log = Log()
    log.payload(at=0, user_id="u", product_id="b")
    log.payload(at=0, user_id="u", product_id="a")
    log.payload(at=0, product_id="c")

    assert [session["product_id"] for session in record_of("u", log)["sessions"]] == ["a", "b"]


def test_email_is_the_windows_newest_and_conversation_the_sessions_newest() -> None:
    log = Log()
    log.payload(at=0, user_id="u", email="gone@x", conversation_id="gone")
    log.payload(at=301, user_id="u", email="new@x", conversation_id=" c2 ", session_id="s2")
    log.payload(at=302, user_id="u", email="old@x", forwarded_at=NOW + 300.5)
    log.payload(at=303, user_id="u", email="")

    record = record_of("u", log)
    assert record["email"] == "new@x"
    assert [session["conversation_id"] for session in record["sessions"]] == [None, "c2"]


@pytest.mark.parametrize("forwarded_at", [None, 0, -1, NOW + 60.5, NOW * 1000, 10**30])
def test_a_bad_clock_is_replaced_by_the_record_timestamp(forwarded_at: float | None) -> None:
    log = Log()
    log.payload(user_id="u", forwarded_at=forwarded_at)

    assert record_of("u", log)["updated_at"] == NOW


def test_a_clock_slightly_ahead_is_believed_but_does_not_move_stream_time() -> None:
    log = Log()
    log.payload(user_id="u", at=0)
    log.payload(user_id="w", at=290, forwarded_at=NOW + 350, session_id="z")

    expected = run(log)
    assert expected.users["u"] is not None
    assert record_of("w", log)["updated_at"] == NOW + 350


def test_integer_ids_are_their_digits() -> None:
    log = Log()
    log.payload(user_id=42, session_id=-7, product_id=2**64 - 1)
    log.payload(user_id=" 42 ", session_id="-7", product_id=str(2**64 - 1))

    [session] = record_of("42", log)["sessions"]
    assert (session["session_id"], session["product_id"], session["action_count"]) == ("-7", "18446744073709551615", 2)


def test_a_framed_value_is_read_like_a_plain_one() -> None:
    log = Log()
    log.raw(b'\x00\x00\x00\x00\x07{"session_id":"s","user_id":"u"}')

    assert run(log).users["u"] is not None


BAD_VALUES = {
    "invalid UTF-8": b'{"session_id":"s","x":"\xff"}',
    "UTF-8 of a surrogate": b'{"session_id":"s","x":"\xed\xa0\x80"}',
    "lone surrogate": b'{"session_id":"s","x":"\\ud800"}',
    "lone surrogate in a key": b'{"session_id":"s","\\udfff":1}',
    "truncated": b'{"session_id":"s","use',
    "list": b"[]",
    "number": b"42",
    "null": b"null",
    "empty": b"",
    "frame without a value": b"\x00\x00\x00\x00\x07",
    "short frame": b"\x00\x00",
    "deep": b'{"session_id":"s","x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "actions an object": b'{"session_id":"s","actions":{}}',
    "actions of numbers": b'{"session_id":"s","actions":[1]}',
    "forwarded_at as text": b'{"session_id":"s","forwarded_at":"2026-01-01T00:00:00Z"}',
    "forwarded_at a boolean": b'{"session_id":"s","forwarded_at":true}',
    "NaN": b'{"session_id":"s","forwarded_at":NaN}',
    "infinite": b'{"session_id":"s","forwarded_at":1e999}',
    "id an object": b'{"session_id":"s","user_id":{"id":1}}',
    "id a boolean": b'{"session_id":"s","user_id":true}',
    "id a double": b'{"session_id":"s","user_id":1.0}',
    "id of 65 bits": b'{"session_id":18446744073709551616}',
    "index a double": b'{"session_id":"s","actions":[{"index":1.0}]}',
    "title a number": b'{"session_id":"s","actions":[{"title":1}]}',
    "count a text": b'{"session_id":"s","count":"1"}',
    "type a number": b'{"session_id":"s","type":1}',
    "wrong type without session": b'{"count":"1"}',
}


@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_what_cannot_be_read_is_a_dead_letter(value: bytes) -> None:
    log = Log()
    log.raw(value)

    expected = run(log)
    assert (list(expected.dead_letters), expected.users) == ([(0, 0)], {})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null value"),
        (b'{"user_id":"u"}', "session_id"),
        (b'{"user_id":"u","session_id":"  "}', "session_id"),
        (b'{"session_id":"s","type":"summary","count":"looked at after the type"}', "type"),
        (b'{"session_id":"s","type":""}', "type"),
    ],
)
def test_what_is_not_for_the_worker_is_skipped(value: bytes | None, reason: str) -> None:
    log = Log()
    log.raw(value)

    expected = run(log)
    assert (expected.skipped, expected.dead_letters, expected.users) == ({reason: 1}, {}, {})


def test_ids_inside_actions_are_ignored_whatever_they_are() -> None:
    log = Log()
    log.payload(user_id="u", actions=[click("x", session_id={}, user_id=[], email=1.5)])

    assert lines_of(record_of("u", log)["sessions"][0]) == ["x"]


def test_murmur2_is_the_hash_of_the_java_client() -> None:
    keys = [b"", b"a", b"ab", b"abc", b"abcd", "Zoë-17".encode(), *(f"user_{number}".encode() for number in range(500))]

    assert [(murmur2(key) & 0x7FFFFFFF) % 60 for key in keys] == [confluent_kafka.murmur2(key, 60) for key in keys]


# --- what becomes of every offset, and what was erased ---


def test_every_offset_of_the_input_is_routed_unclaimed_skipped_or_dead() -> None:
    log = Log()
    log.payload(at=0, session_id="held")
    log.payload(at=1, session_id="nobody")
    log.raw(b"no json", at=2)
    log.raw(None, at=3)
    log.payload(at=4, session_id="held", user_id="u1")
    log.payload(at=5, session_id="held")

    expected = run(log)

    assert expected.routed == {(0, 0): ("u1", 4), (0, 4): ("u1", 4), (0, 5): ("u1", 5)}
    assert expected.unclaimed == {(0, 1)}
    assert expected.dead_letters.keys() == {(0, 2)}
    assert expected.skipped_at == {(0, 3)}


@pytest.mark.parametrize(("mark", "left"), [(0.0, ["two", "three"]), (1.0, ["three"]), (2.0, None)])
def test_what_was_erased_is_not_in_the_record(mark: float, left: list[str] | None) -> None:
    log = Log()
    for at, text in enumerate(("one", "two", "three")):
        log.payload(at=at, user_id="u1", email=f"{text}@x", actions=[click(text)])

    users = fold({0: log.records}, SETTINGS, {"u1": NOW + mark, "unknown": NOW + 99}).users
    assert users["unknown"] is None
    record = users["u1"]

    assert (record and lines_of(record["sessions"][0])) == left
    assert record is None or record["email"] == "three@x"


# --- visitors ---------------------------------------------------------------------------------------------------------


def visitor_of(*logs: Log, session_id: str = "s") -> dict[str, Any] | None:
    return run(*logs).visitors[session_id]


def test_a_visitor_is_told_of_until_they_sign_in() -> None:
    log = Log()
    log.payload(at=1, product_id="acme")
    log.payload(at=2, product_id="beta")
    record = visitor_of(log)
    assert record is not None
    assert (record["linked_user_id"], record["updated_at"]) == (None, NOW + 2)
    assert [entry["product_id"] for entry in record["sessions"]] == ["beta", "acme"]
    log.payload(at=3, product_id="acme", user_id="u1")
    record = visitor_of(log)
    assert record is not None
    assert (record["linked_user_id"], record["updated_at"]) == ("u1", NOW + 2)
    assert [entry["product_id"] for entry in record["sessions"]] == ["beta"]
    log.payload(at=4, product_id="beta", user_id="u2")
    assert visitor_of(log) is None, "two products, two users"
    log.payload(at=5, product_id="beta", user_id="u1")
    assert visitor_of(log) == {"schema_version": 1, "session_id": "s", "linked_user_id": "u1", "sessions": []}


def test_a_visitor_is_forgotten_after_the_lookback_and_a_link_after_the_retention() -> None:
    log = Log()
    log.payload(at=0)
    log.payload(at=0, session_id="linked", user_id="u1")
    log.payload(at=300, session_id="other")
    assert visitor_of(log) is not None
    log.payload(at=301, session_id="other")
    assert visitor_of(log) is None
    log.payload(at=600, session_id="other")
    assert visitor_of(log, session_id="linked") is not None
    log.payload(at=601, session_id="other")
    assert visitor_of(log, session_id="linked") is None
