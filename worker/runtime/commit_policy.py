"""When a checkpoint is due. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """A checkpoint every `interval_s` while there is something to commit.

    `follows_up`: what is produced is seen only once it is committed. Then a quiet time is no reason to wait, and of two
    checkpoints one more may come between as soon as there is output: a payload's way leads through two commits, that of
    the hop between the stages and that of the user's record.
    """

    interval_s: float
    follows_up: bool = False


ONCE_A_SECOND = CommitPolicy(1.0)


class CommitTimer:
    """When the last checkpoint was."""

    def __init__(self, policy: CommitPolicy, now: float) -> None:
        self._policy = policy
        self._last = now
        self._may_follow_up = False

    def is_due(self, now: float, *, has_output: bool) -> bool:
        return self.wait_s(now) == 0 or (has_output and self._may_follow_up)

    def wait_s(self, now: float) -> float:
        """How long until one is due, whatever there is to commit."""
        return max(0.0, self._last + self._policy.interval_s - now)

    def done(self, now: float, *, committed: bool) -> None:
        """A checkpoint was made; whether there was anything to commit."""
        if self.wait_s(now) > 0:
            self._may_follow_up = False
        elif committed or not self._policy.follows_up:
            self._last = now
            self._may_follow_up = self._policy.follows_up
