"""Every counter the service keeps, with its unit and meaning. Logic returns values; the shell counts."""

from __future__ import annotations

from collections import Counter
from typing import Literal

MetricName = Literal[
    # records of the input topic that were folded in
    "payloads",
    # records of the input topic that are nobody's context, by reason
    "skipped",
    # records of the input topic that became dead letters, by reason
    "dead_letters",
    # payloads whose forwarded_at was missing or not to be believed
    "clamped_event_times",
    # records whose key is not their session id (the value wins)
    "key_mismatches",
    # what a stage did beside its rule: late and erased payloads, caps that bit, lapsed links; by kind
    "stage",
    # records sent to the repartition topic
    "routed",
    # records published on the output topic, by kind: context, tombstone
    "published",
    # offset commits that the broker refused, by error
    "commit_failures",
    # tasks whose committed or restore offset was not in the log any more
    "clamped_starts",
    # times that tasks were dropped and restored after a failure
    "restores_after_failure",
]


class Metrics:
    """Counters by name and label. Not thread-safe: only the poll loop counts."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[MetricName, str]] = Counter()

    def add(self, name: MetricName, label: str = "", count: int = 1) -> None:
        self._counts[name, label] += count

    def get(self, name: MetricName, label: str = "") -> int:
        return self._counts[name, label]

    def snapshot(self) -> dict[str, int]:
        """All counters that are not zero, as `name` or `name.label`."""
        return {
            f"{name}.{label}" if label else name: count
            for (name, label), count in sorted(self._counts.items())
            if count
        }
