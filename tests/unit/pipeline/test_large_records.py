"""Whose record is large."""

from __future__ import annotations

from worker.pipeline.large_records import LARGE_RECORD_BYTES, MOST_USERS, LargeRecords


def test_who_has_a_large_record_is_known_until_it_is_smaller() -> None:
    large = LargeRecords()
    assert large.note("alice", LARGE_RECORD_BYTES) == ""
    assert "alice" in large
    assert large.note("alice", LARGE_RECORD_BYTES - 1) == "alice"
    assert "alice" not in large
    assert large.note("bob", 1) == "bob"
    assert "bob" not in large


def test_beyond_the_bound_goes_who_was_published_longest_ago() -> None:
    large = LargeRecords()
    users = [f"user {number}" for number in range(MOST_USERS)]
    assert [large.note(user, LARGE_RECORD_BYTES) for user in [*users, users[0]]] == [""] * (MOST_USERS + 1)
    assert large.note("bob", LARGE_RECORD_BYTES) == users[1]
    assert users[1] not in large
    assert users[0] in large
