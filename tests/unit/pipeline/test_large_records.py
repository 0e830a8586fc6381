"""Whose record is large."""

from __future__ import annotations

from worker.pipeline.large_records import MOST_USERS, LargeRecords


def test_who_has_a_large_record_is_known_until_it_is_not_large_any_more() -> None:
    large = LargeRecords()
    assert large.add("alice") is None
    assert "alice" in large
    assert large.discard("alice")
    assert "alice" not in large
    assert not large.discard("alice")


def test_beyond_the_bound_goes_who_was_published_longest_ago() -> None:
    large = LargeRecords()
    users = [f"user {number}" for number in range(MOST_USERS)]
    assert [large.add(user) for user in [*users, users[0]]] == [None] * (MOST_USERS + 1)
    assert large.add("bob") == users[1]
    assert users[1] not in large
    assert users[0] in large
