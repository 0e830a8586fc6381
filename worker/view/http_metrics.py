"""What `serve` counts, in Prometheus' text form. No label tells of a user."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.view.status import ViewStatus
from worker.view.user_context_view import ViewStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "user_context_view"

# Of a view's stats: what each tells.
GAUGES = {
    "users": "Users of whom something is held.",
    "sessions": "Session ids of which something is held.",
    "value_bytes": "Bytes of the records that are held.",
    "partitions": "Partitions that are read.",
}
COUNTERS = {
    "records": "Records that came in.",
    "tombstones": "Null records that came in.",
    "undecodable": "Records that are none of ours; the user (or session) was cleared.",
    "unkeyed": "Records whose key is no id.",
    "superseded": "Records older than what was known.",
    "newer_schema": "Records of a newer schema_version.",
}


class HttpMetrics:
    """The registry of one service."""

    def __init__(
        self, stats: Callable[[], ViewStats], status: Callable[[], ViewStatus], streams: Callable[[], int]
    ) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests", "Requests by route and status.", ["route", "status"], registry=self._registry
        )
        self._registry.register(_ViewCollector(stats, status, streams))

    def count(self, route: str, status: int) -> None:
        """A request was answered. `route` is the pattern, not the path: that may hold a user id."""
        self._requests.labels(route, str(status)).inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _ViewCollector(Collector):
    """Asks the view when it is asked."""

    def __init__(
        self, stats: Callable[[], ViewStats], status: Callable[[], ViewStatus], streams: Callable[[], int]
    ) -> None:
        self._stats = stats
        self._status = status
        self._streams = streams

    def collect(self) -> Iterator[Metric]:
        stats, now = self._stats(), self._status()
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=getattr(stats, name))
        for name, text in COUNTERS.items():
            family = Metric(f"{PREFIX}_{name}", text, "counter")
            family.add_sample(f"{PREFIX}_{name}_total", {}, float(getattr(stats, name)))
            yield family
        if stats.heard_s is not None:
            text = "Seconds since the least recently heard leader answered."
            yield GaugeMetricFamily(f"{PREFIX}_heard_seconds", text, value=stats.heard_s)
        state = GaugeMetricFamily(f"{PREFIX}_status", "1 for the status that it has.", labels=["status"])
        for one in ViewStatus:
            state.add_metric([one.value], float(one is now))
        yield state
        yield GaugeMetricFamily("http_streams", "Event streams that are open.", value=self._streams())
