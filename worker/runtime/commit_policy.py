"""When a checkpoint is due. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """A checkpoint every `interval_s` while there is something to commit.

    `burst`: after a quiet time so many may come at once, and the time that nothing was committed in counts as quiet.
    """

    interval_s: float
    burst: int = 1


ONCE_A_SECOND = CommitPolicy(1.0)
EXACTLY_ONCE_BURST = 2  # a payload is seen after two commits: of the hop between the stages, and of the output


class CommitTimer:
    """When the next checkpoint is due."""

    def __init__(self, policy: CommitPolicy, now: float) -> None:
        self._policy = policy
        self._due_at = now + policy.interval_s

    def is_due(self, now: float) -> bool:
        return now >= self._due_at

    def wait_s(self, now: float) -> float:
        """How long it takes until one is due."""
        return max(0.0, self._due_at - now)

    def done(self, now: float, *, committed: bool = True) -> None:
        """A checkpoint was made; whether there was anything to commit."""
        interval_s, burst = self._policy.interval_s, self._policy.burst
        if committed or burst == 1:
            self._due_at = max(self._due_at + interval_s, now + (2 - burst) * interval_s)
