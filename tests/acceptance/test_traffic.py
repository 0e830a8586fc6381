"""The traffic holds what the acceptance tests are there for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.acceptance import bad_input
from tests.acceptance.oracle import Expected, OracleSettings, fold
from tests.acceptance.records import as_logged
from tests.acceptance.traffic import ANONYMOUS_PATTERN, Plan, generate

PLAN = Plan()


@pytest.fixture(scope="module")
def expected() -> Expected:
    settings = OracleSettings(
        lookback_seconds=PLAN.lookback_seconds,
        link_retention_s=PLAN.link_retention_s,
        anonymous_user_id_pattern=ANONYMOUS_PATTERN,
    )
    return fold(as_logged(generate(PLAN)), settings)


def live(expected: Expected) -> list[dict[str, Any]]:
    return [record for record in expected.users.values() if record is not None]


def test_the_same_seed_makes_the_same_traffic() -> None:
    plan = Plan(payloads=500, big_value_bytes=10)

    assert generate(plan) == generate(plan)
    assert generate(plan) != generate(Plan(seed=2, payloads=500, big_value_bytes=10))


def test_it_is_large_and_every_partition_has_a_share(expected: Expected) -> None:
    sent = generate(PLAN)

    assert len(sent) - len(expected.dead_letters) - expected.skipped.total() >= 10_000
    assert min(Counter(each.partition for each in sent).values()) > 1000
    assert len(live(expected)) >= 200
    assert sum(record is None for record in expected.users.values()) >= 50


def test_unreadable_values_are_what_was_made_unreadable(expected: Expected) -> None:
    kinds = bad_input.dead_letters("s", "u", 1.0)
    cut_big_value = 1

    assert len(expected.dead_letters) == len(kinds) + cut_big_value
    assert expected.skipped == {"null value": 5, "type": 25, "session_id": 25}
    assert not any(bad_input.NEVER_SEEN in str(record) for record in expected.users.values())


def test_sessions_are_linked_in_every_way(expected: Expected) -> None:
    seldom = {name: count for name, count in expected.counts.items() if count < 15}

    assert not seldom
    assert set(expected.counts) == {
        "held, then linked", "held, given up", "links forgotten", "users switched", "sessions", "clock corrected",
        "key differs",
    }  # fmt: skip


def test_sessions_end_as_visitors_linked_and_forgotten(expected: Expected) -> None:
    visitors = expected.visitors.values()
    assert sum(record is None for record in visitors) >= 100
    assert sum(record is not None and record["linked_user_id"] is not None for record in visitors) >= 100
    assert sum(record is not None and record["sessions"] != [] for record in visitors) >= 50


def test_records_reach_their_caps(expected: Expected) -> None:
    sessions = [session for record in live(expected) for session in record["sessions"]]

    assert sum(len(record["sessions"]) == 20 for record in live(expected)) >= 3
    assert sum(session["action_count"] == 200 for session in sessions) >= 10
    assert sum(session["action_count"] == 0 for session in sessions) >= 5


def test_ids_and_texts_are_of_all_kinds(expected: Expected) -> None:
    records = live(expected)
    sessions = [session for record in records for session in record["sessions"]]
    ids = [[session["session_id"] for session in record["sessions"]] for record in records]

    assert any(len(set(some)) < len(some) for some in ids), "one session id in two products of one user"
    assert any(record["email"] is None for record in records)
    assert any(session["conversation_id"] for session in sessions)
    assert {session["product_id"] for session in sessions} == {"acme", "acme-mobile", "globex", "77", None}
    assert {"18446744073709551615", "9223372036854775813", "-9223372036854775808"} <= set(expected.users)
    assert any("forged" in session["context"] for session in sessions)
