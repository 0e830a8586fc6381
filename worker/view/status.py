"""What a reader may expect of the view now: computed from facts about each partition, never stored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

SILENT_S = 5.0  # a broker answers a fetch within 0.1 s, also when there is nothing new
BEHIND_S = 5.0


class ViewStatus(StrEnum):
    """The whole is as good as the least of its partitions."""

    FAILED = "failed"  # reading has ended for good, with an error; nothing new comes in
    LOADING = "loading"  # some partition has not been read to its end yet: who is unknown may still turn up
    DEGRADED = "degraded"  # all was read once, but something newer may be missing since
    CAUGHT_UP = "caught_up"  # everything that was on the topic a moment ago is in


@dataclass(slots=True)
class PartitionFacts:
    """What is known of a partition. Times are of the monotonic clock."""

    loaded: bool = False  # read to its end once since the start
    at_end: bool = False
    behind_since: float = 0.0  # when it was at its end last; while it is not
    heard_at: float = 0.0  # when its leader last answered
    reloading: bool = False

    def is_sound(self, now: float) -> bool:
        """Whether its newest records are in, as far as anybody can tell."""
        keeps_up = self.at_end or now - self.behind_since < BEHIND_S
        return keeps_up and not self.reloading and now - self.heard_at < SILENT_S


def status_of(partitions: Collection[PartitionFacts], now: float, *, failed: bool) -> ViewStatus:
    """The status of the view. Without partitions the topic is not found yet."""
    if failed:
        return ViewStatus.FAILED
    if not partitions or not all(one.loaded for one in partitions):
        return ViewStatus.LOADING
    return ViewStatus.CAUGHT_UP if all(one.is_sound(now) for one in partitions) else ViewStatus.DEGRADED
