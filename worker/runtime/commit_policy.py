"""When a checkpoint is due. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """A checkpoint every `interval_s` while there is something to commit."""

    interval_s: float


class CommitTimer:
    """When the last checkpoint was."""

    def __init__(self, policy: CommitPolicy, now: float) -> None:
        self._policy = policy
        self._last = now

    def is_due(self, now: float) -> bool:
        return now - self._last >= self._policy.interval_s

    def done(self, now: float) -> None:
        self._last = now
