"""What the poll loop goes by."""

from __future__ import annotations

from dataclasses import dataclass

from worker.runtime.commit_policy import ONCE_A_SECOND, CommitPolicy


@dataclass(frozen=True, slots=True)
class LoopPolicy:
    """How the loop goes about it."""

    topics: tuple[str, ...]
    read_size: int = 10_000  # records that are asked for at once
    batch_size: int = 30_000  # the larger, the fewer records for each payload when there is much to do
    many: int = 1000  # records ready at once: the loop is behind, and a batch is topped up
    small_batch: int = 100
    publish_interval_s: float = 0.0
    commit: CommitPolicy = ONCE_A_SECOND
    flush_timeout_s: float = 15.0
    session_timeout_s: float = 15.0
    stop_timeout_s: float = 8.0
    stall_timeout_s: float = 120.0
