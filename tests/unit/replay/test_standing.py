"""Whom the output topic knows."""

from __future__ import annotations

from schemas.user_context import UserContext
from worker.replay.standing import Standing


def record(expires_at: float = 300.0) -> bytes:
    """The texts of strangers must not be taken for the field."""
    context = UserContext(user_id='u "expires_at": 1', updated_at=0.0, expires_at=expires_at)
    return context.model_dump_json().encode()


def test_who_has_a_newer_record_is_not_untouched_whatever_it_says() -> None:
    standing = Standing({b"alice", b"bob", b"carol"})
    standing.add(b"alice", record())
    standing.add(b"bob", None)
    assert standing.untouched == {b"carol"}
    assert standing.published.keys() == {b"alice"}


def test_the_newest_record_counts() -> None:
    standing = Standing()
    for value in (record(), None, record(), record()):
        standing.add(b"alice", value)
    standing.add(b"bob", record())
    standing.add(b"bob", None)
    standing.add(None, record())
    assert standing.published.keys() == {b"alice"}


def test_a_record_is_over_when_it_says_so() -> None:
    standing = Standing()
    standing.add(b"alice", record(300.0))
    standing.add(b"foreign", b"\xff")
    assert not standing.has_expired(300.0)
    assert standing.has_expired(300.1)
    standing.add(b"alice", record(400.0))
    assert not standing.has_expired(300.1)
