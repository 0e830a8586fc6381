"""When checkpoints come."""

from __future__ import annotations

from worker.runtime.commit_policy import CommitPolicy, CommitTimer


def test_they_come_at_the_cadence_whatever_there_is_to_commit() -> None:
    timer = CommitTimer(CommitPolicy(1.0), 0.0)
    assert not timer.is_due(0.9, has_output=True)
    assert timer.is_due(1.0, has_output=False)
    timer.done(1.5, committed=False)
    assert not timer.is_due(2.4, has_output=True)
    assert timer.is_due(2.5, has_output=False)
    assert timer.wait_s(2.0) == 0.5


def test_one_that_follows_up_comes_once_as_soon_as_there_is_output() -> None:
    timer = CommitTimer(CommitPolicy(1.0, follows_up=True), 0.0)
    assert not timer.is_due(0.5, has_output=True), "there was none to follow up"
    timer.done(1.0, committed=True)
    assert not timer.is_due(1.1, has_output=False)
    assert timer.is_due(1.1, has_output=True)
    timer.done(1.1, committed=True)
    assert not timer.is_due(1.2, has_output=True)
    assert timer.is_due(2.0, has_output=False), "it does not put off the next"


def test_after_a_quiet_time_nobody_waits() -> None:
    timer = CommitTimer(CommitPolicy(1.0, follows_up=True), 0.0)
    timer.done(1.0, committed=False)
    assert timer.is_due(1.1, has_output=False)
    timer.done(7.0, committed=True)
    assert not timer.is_due(7.9, has_output=False)
