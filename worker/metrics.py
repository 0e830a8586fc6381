"""Everything the service measures: each name, with its unit in it, and what it tells. Logic returns values; the shell
counts here, and `worker.metrics_page` shows it to Prometheus. No label ever holds what a stranger chose (an id, a
text): each has a handful of values, one for each partition, or one for each broker.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from typing import Literal, NamedTuple

PREFIX = "user_context_worker"

CountName = Literal[
    "payloads",
    "skipped",
    "dead_letters",
    "clamped_event_times",
    "key_mismatches",
    "stage",
    "routed",
    "published",
    "published_bytes",
    "commit_failures",
    "clamped_starts",
    "restores_after_failure",
]
HistogramName = Literal["freshness", "batch", "checkpoint", "rebalance", "restore"]


class Measure(NamedTuple):
    """A metric as Prometheus knows it: the name without our prefix, what it tells, and its labels."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


COUNTERS: dict[CountName, Measure] = {
    "payloads": Measure("payloads_total", "Payloads of the input topic that were folded in."),
    "skipped": Measure("skipped_records_total", "Records of the input topic that are nobody's context.", ("reason",)),
    "dead_letters": Measure("dead_letters_total", "Records that became dead letters.", ("reason",)),
    "clamped_event_times": Measure(
        "clamped_event_times_total", "Payloads whose `forwarded_at` was missing or not to be believed."
    ),
    "key_mismatches": Measure("key_mismatches_total", "Records whose key is not their session id (the value wins)."),
    "stage": Measure(
        "stage_events_total",
        "What a stage did beside its rule: payloads that were `held`, `late`, `erased` or `repeats`; caps that bit "
        "(`held_payloads_dropped`, `held_sessions_dropped`, `sessions_dropped`, `records_truncated`, "
        "`users_too_large`, `visitors_too_large`); `links_lapsed`, `users_switched`, `anonymous_user_id`.",
        ("kind",),
    ),
    "routed": Measure("routed_payloads_total", "Payloads sent to the repartition topic."),
    "published": Measure(
        "published_records_total",
        "Records of the output topic: `context` or `tombstone`; of the session topic: `visitor` or "
        "`visitor_tombstone`.",
        ("kind",),
    ),
    "published_bytes": Measure("published_bytes_total", "Bytes of the values of these records."),
    "commit_failures": Measure("commit_failures_total", "Offset commits that the broker refused.", ("error",)),
    "clamped_starts": Measure("clamped_starts_total", "Tasks whose committed or restore offset was not in the log."),
    "restores_after_failure": Measure(
        "restores_after_failure_total", "Times that the tasks were dropped and restored after a failure."
    ),
}

_SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_FRESHNESS_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_RESTORE_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
_RECORDS = (1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 2000.0)


class HistogramMeasure(NamedTuple):
    """A histogram's measure, and the upper bounds of its buckets."""

    measure: Measure
    bounds: tuple[float, ...]


HISTOGRAMS: dict[HistogramName, HistogramMeasure] = {
    "freshness": HistogramMeasure(
        Measure(
            "freshness_seconds",
            "From the event that changed a user's record last until that record is out: delivered where the worker has "
            "caught up, handed to the client under load, committed with `exactly_once`.",
        ),
        _FRESHNESS_S,
    ),
    "batch": HistogramMeasure(
        Measure("batch_records", "Records that one poll gave; empty polls do not count."), _RECORDS
    ),
    "checkpoint": HistogramMeasure(
        Measure("checkpoint_duration_seconds", "Publishing, flushing and committing: checkpoints that were made."),
        _SHORT_S,
    ),
    "rebalance": HistogramMeasure(
        Measure(
            "rebalance_duration_seconds", "The member's part in a rebalance: `assigned`, `revoked`, `lost`.", ("event",)
        ),
        _SHORT_S,
    ),
    "restore": HistogramMeasure(
        Measure("restore_duration_seconds", "From the assignment of a partition until its task runs."), _RESTORE_S
    ),
}

_PARTITION = ("topic", "partition")


class Gauges:
    """What is asked for when somebody looks."""

    LAG_RECORDS = Measure(
        "lag_records", "Records between the task's position and the end of its partition.", _PARTITION
    )
    LAG_SECONDS = Measure(
        "lag_seconds",
        "For how long the oldest record that is not read yet has waited, at most; 0 at the end of the partition.",
        _PARTITION,
    )
    RESTORE_REMAINING = Measure("restore_remaining_records", "Records to read before the task runs.", _PARTITION)
    TASKS = Measure("tasks", "Tasks of this member, by state.", ("topic", "state"))
    SESSIONS = Measure("sessions", "Sessions that a partition of the input remembers.", _PARTITION)
    HELD_SESSIONS = Measure("held_sessions", "Sessions of these that wait for their user.", _PARTITION)
    USERS = Measure("users", "Users that a partition of the repartition topic remembers.", _PARTITION)
    HEARTBEAT_AGE = Measure("heartbeat_age_seconds", "How long ago the poll loop came round.")
    READY = Measure("ready", "1 where the member has joined and all of its tasks run.")
    BUILD = Measure(
        "build_info", "1, with what runs here.", ("version", "python", "librdkafka", "guarantee", "protocol")
    )
    ROUND_TRIP = Measure(
        "broker_round_trip_seconds",
        "Requests of a client to a broker, over the last ten seconds.",
        ("client", "broker", "percentile"),
    )
    QUEUED_RECORDS = Measure(
        "client_queue_records", "Records in a client: not yet delivered, or not yet read.", ("client",)
    )
    QUEUED_BYTES = Measure("client_queue_bytes", "Bytes of these.", ("client",))


GAUGES: tuple[Measure, ...] = tuple(value for value in vars(Gauges).values() if isinstance(value, Measure))


class Histogram:
    """Observations by bucket. One thread writes; what another one reads may miss the newest."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_all(self, values: list[float]) -> None:
        """Sorts the list: for many values that is far less work than one by one."""
        values.sort()
        below = 0
        for at, bound in enumerate(self.bounds):
            up_to = bisect_right(values, bound)
            self._counts[at] += up_to - below
            below = up_to
        self._counts[-1] += len(values) - below
        self.sum += sum(values)

    def cumulative(self) -> list[int]:
        """How many were at most as large as each bound, and how many there were at all."""
        total, out = 0, []
        for count in list(self._counts):
            total += count
            out.append(total)
        return out


class Metrics:
    """Counters and histograms by name and label. Only the poll loop writes; anybody may read a copy."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[CountName, str]] = Counter()
        self._histograms: dict[tuple[HistogramName, str], Histogram] = {}
        self._leaving: list[float] = []

    def add(self, name: CountName, label: str = "", count: int = 1) -> None:
        self._counts[name, label] += count

    def observe(self, name: HistogramName, value: float, label: str = "") -> None:
        self._histogram(name, label).observe(value)

    def note_leaving(self, event_times: list[float]) -> None:
        """Records with these newest events are on their way out."""
        self._leaving += event_times

    def note_out(self, now: float) -> None:
        """They are out. `now` and event times are Unix seconds."""
        if self._leaving:
            self._histogram("freshness").observe_all([max(0.0, now - at) for at in self._leaving])
            self._leaving = []

    def forget_leaving(self) -> None:
        """They failed, and are made again."""
        self._leaving = []

    def get(self, name: CountName, label: str = "") -> int:
        return self._counts[name, label]

    def counts(self) -> dict[tuple[CountName, str], int]:
        """A copy of all counters. Copying a dict is one step to other threads."""
        return dict(self._counts)

    def histograms(self) -> dict[tuple[HistogramName, str], Histogram]:
        """All histograms that were observed."""
        return dict(self._histograms)

    def snapshot(self) -> dict[str, int]:
        """All counters that are not zero, as `name` or `name.label`."""
        return {
            f"{name}.{label}" if label else name: count
            for (name, label), count in sorted(self._counts.items())
            if count
        }

    def _histogram(self, name: HistogramName, label: str = "") -> Histogram:
        found = self._histograms.get((name, label))
        if found is None:
            found = self._histograms[name, label] = Histogram(HISTOGRAMS[name].bounds)
        return found


def metrics_table() -> str:
    """All metrics as the README shows them."""
    rows = ["| Metric | Labels | Meaning |", "|---|---|---|"]
    measures = [
        *((measure, "") for measure in COUNTERS.values()),
        *((histogram.measure, " (histogram)") for histogram in HISTOGRAMS.values()),
        *((measure, "") for measure in GAUGES),
    ]
    for measure, kind in measures:
        labels = ", ".join(f"`{label}`" for label in measure.labels)
        rows.append(f"| `{PREFIX}_{measure.name}`{kind} | {labels} | {measure.text} |")
    return "\n".join(rows)
