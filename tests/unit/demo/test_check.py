"""The check has to see what is wrong; that it agrees with the worker is seen by running the demo."""

from __future__ import annotations

import json
from typing import Any

from worker.demo.check import Fold, Freshness, Record, differences, judge

LOOKBACK_S = 10.0
DELAY_S = 2.0


def click(time: float, session: str = "s", user: str | None = None, **fields: Any) -> bytes:
    action = {"index": 0, "type": "click", "description": f"at {time}", "canonical_url": "https://e.example"}
    return json.dumps(
        {"session_id": session, "user_id": user, "actions": [action], "forwarded_at": time, **fields}
    ).encode()


def folded(*values: bytes) -> Fold:
    fold = Fold(LOOKBACK_S)
    for offset, value in enumerate(values):
        fold.add(0, offset, value)
    return fold


def as_published(fold: Fold) -> dict[str, Record | None]:
    return {user: fold.record(user) for user in fold.users}


def contexts(fold: Fold, user: str) -> list[str]:
    return [session["context"] for session in fold.record(user)["sessions"]]


def test_a_login_claims_what_the_session_did_before() -> None:
    fold = folded(click(1), click(2, user="u"), click(3))

    assert [context.count("\n") for context in contexts(fold, "u")] == [3]
    assert (fold.joined, fold.held) == (1, 0)


def test_the_next_user_of_a_session_gets_only_what_follows() -> None:
    fold = folded(click(1, user="u"), click(2, user="v"), click(3))

    assert "at 1" in contexts(fold, "u")[0]
    assert "at 1" not in contexts(fold, "v")[0]
    assert "at 3" in contexts(fold, "v")[0]


def test_the_same_session_id_in_two_products_is_two_sessions() -> None:
    fold = folded(click(1, user="u", product_id="p"), click(2, product_id="q"))

    assert fold.held == 1
    assert len(contexts(fold, "u")) == 1


def test_sessions_are_newest_first_and_the_window_hangs_on_the_newest_click() -> None:
    fold = folded(click(1, "a", "u"), click(5, "b", "u"), click(12, "c", "u"))

    assert [session["session_id"] for session in fold.record("u")["sessions"]] == ["c", "b"]


def test_line_breaks_in_a_text_become_one_space() -> None:
    action = {"index": 3, "type": "input", "description": "a\r\n\u2028b", "canonical_url": "x"}
    fold = folded(click(1, user="u", actions=[action]))

    assert contexts(fold, "u") == ["Recent activity:\n1. [3] input: a b — x"]


def test_summaries_are_nobody_s_and_garbage_is_kept_aside() -> None:
    fold = folded(b'{"type": "summary", "session_id": "s"}', b"[]", b"{", click(1, user="u"))

    assert (fold.payloads, fold.unreadable) == (1, [b"[]", b"{"])


def test_equal_records_have_no_differences() -> None:
    fold = folded(click(1, user="u", email="u@e.example"), click(2, "t", "v"))

    assert differences(fold, as_published(fold), now=3, expiry_delay_s=DELAY_S) == []


def test_a_difference_is_named_by_user_and_field() -> None:
    fold = folded(click(1, user="u"))
    record = fold.record("u")
    record["sessions"][0]["context"] = "Recent activity:\n1. something else"

    (difference,) = differences(fold, {"u": record}, now=3, expiry_delay_s=DELAY_S)

    assert difference.startswith("u: sessions[0].context is 'Recent activity:\\n1. something else', expected")


def test_a_field_too_many_is_a_difference() -> None:
    fold = folded(click(1, user="u"))

    assert differences(fold, {"u": {**fold.record("u"), "extra": 1}}, now=3, expiry_delay_s=DELAY_S) == [
        "u: extra is 1, expected None"
    ]


def test_a_session_too_few_is_a_difference() -> None:
    fold = folded(click(1, user="u"))

    assert differences(fold, {"u": {**fold.record("u"), "sessions": []}}, now=3, expiry_delay_s=DELAY_S) != []


def test_a_missing_record_is_a_difference() -> None:
    fold = folded(click(1, user="u"))

    (difference,) = differences(fold, {}, now=3, expiry_delay_s=DELAY_S)

    assert difference.startswith("u: no record")


def test_a_record_of_a_stranger_is_a_difference() -> None:
    fold = folded(click(1))

    assert differences(fold, {"u": None}, now=3, expiry_delay_s=DELAY_S) == [
        "u: published, but nobody of that id did anything"
    ]


def test_a_record_may_be_null_once_it_expires_and_has_to_be_a_little_later() -> None:
    fold = folded(click(1, user="u"))  # expires at 11
    there, gone = as_published(fold), {"u": None}

    assert differences(fold, gone, now=10.9, expiry_delay_s=DELAY_S) != []
    assert differences(fold, gone, now=11.1, expiry_delay_s=DELAY_S) == []
    assert differences(fold, there, now=11.1, expiry_delay_s=DELAY_S) == []
    assert differences(fold, there, now=13.1, expiry_delay_s=DELAY_S) != []


def published_bytes(fold: Fold) -> dict[str, bytes | None]:
    return {user: json.dumps({**fold.record(user), "version": 7}).encode() for user in fold.users}


def test_the_version_is_not_compared() -> None:
    fold = folded(click(1, user="u"), b"{")

    right, wrong = judge(fold, published_bytes(fold), [b"{"], 3, DELAY_S)

    assert wrong == []
    assert right[0] == "1 records equal an independent fold of 1 payloads, text by text"


def test_a_dead_letter_that_is_missing_or_changed_is_wrong() -> None:
    fold = folded(click(1, user="u"), b"{")

    for dead_letters in ([], [b"{ "], [b"{", b"[]"]):
        assert judge(fold, published_bytes(fold), list(dead_letters), 3, DELAY_S)[1]


def test_a_user_is_behind_when_a_click_is_older_than_the_grace_and_not_in_the_record() -> None:
    fold = Fold(LOOKBACK_S)
    freshness = Freshness(fold, 0.5, DELAY_S)
    freshness.add(0, 0, click(100, user="u"), now=100)
    first = fold.record("u")
    freshness.add(0, 1, click(101), now=101)

    assert freshness.behind({"u": first}, now=101.4) == set()
    assert freshness.behind({"u": first}, now=101.6) == {"u"}
    assert freshness.behind({"u": fold.record("u")}, now=101.6) == set()


def test_a_user_without_a_record_is_behind_until_it_may_have_expired() -> None:
    freshness = Freshness(Fold(LOOKBACK_S), 0.5, DELAY_S)
    freshness.add(0, 0, click(100, user="u"), now=100)

    assert freshness.behind({}, now=100.4) == set()
    assert freshness.behind({}, now=100.6) == {"u"}
    assert freshness.behind({"u": None}, now=110.1) == set()


def test_a_user_is_behind_when_the_record_should_have_expired_long_ago() -> None:
    fold = Fold(LOOKBACK_S)
    freshness = Freshness(fold, 0.5, DELAY_S)
    freshness.add(0, 0, click(100, user="u"), now=100)

    assert freshness.behind(as_published(fold), now=110 + DELAY_S - 0.1) == set()
    assert freshness.behind(as_published(fold), now=110 + DELAY_S + 0.1) == {"u"}
