"""/metrics of `run`: what the loop has counted is copied when somebody looks, so counting costs no more than before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.client_statistics import ClientStatistics
from worker.health import Health
from worker.metrics import COUNTERS, HISTOGRAMS, PREFIX, Gauges, Histogram, Measure, Metrics
from worker.runtime.assignment import Assignment
from worker.runtime.clock import Clock
from worker.runtime.task import SessionTask, Task, TaskState, UserTask

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Samples = Iterable[tuple[tuple[str, ...], float]]


class Observed(NamedTuple):
    """What is looked at; all of it may be read from any thread."""

    metrics: Metrics
    assignment: Assignment
    health: Health
    statistics: ClientStatistics
    clock: Clock
    build: tuple[str, ...]  # as Gauges.BUILD has its labels


class MetricsPage:
    """The registry of one member."""

    def __init__(self, observed: Observed) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(WorkerCollector(observed))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class WorkerCollector(Collector):
    """Looks when it is asked."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def describe(self) -> list[Metric]:
        """Nothing beforehand: the registry would collect to find out."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._counters()
        yield from self._histograms()
        tasks = list(self._observed.assignment.tasks.values())
        yield from self._partitions(tasks)
        yield from self._stages(tasks)
        yield from self._process()
        yield from self._clients()

    def _counters(self) -> Iterator[Metric]:
        counts = self._observed.metrics.counts()
        for name, measure in COUNTERS.items():
            family = CounterMetricFamily(_name(measure), measure.text, labels=measure.labels)
            values = {label: count for (each, label), count in counts.items() if each == name}
            if not measure.labels:
                values.setdefault("", 0)
            for label, count in values.items():
                family.add_metric([label] if measure.labels else [], count)
            yield family

    def _histograms(self) -> Iterator[Metric]:
        observed = self._observed.metrics.histograms()
        for name, (measure, bounds) in HISTOGRAMS.items():
            family = HistogramMetricFamily(_name(measure), measure.text, labels=measure.labels)
            found = {label: histogram for (each, label), histogram in observed.items() if each == name}
            if not measure.labels:
                found.setdefault("", Histogram(bounds))
            for label, histogram in found.items():
                names = [*map(str, histogram.bounds), "+Inf"]
                buckets = list(zip(names, histogram.cumulative(), strict=True))
                family.add_metric([label] if measure.labels else [], buckets, histogram.sum)
            yield family

    def _partitions(self, tasks: list[Task]) -> Iterator[Metric]:
        now = self._observed.clock.wall()
        yield _gauge(Gauges.LAG_RECORDS, ((_place(task), task.lag) for task in tasks))
        waited = ((_place(task), task.lag_s(now)) for task in tasks)
        yield _gauge(Gauges.LAG_SECONDS, ((place, seconds) for place, seconds in waited if seconds is not None))
        yield _gauge(Gauges.RESTORE_REMAINING, ((_place(task), task.to_restore) for task in tasks))
        states = Counter((task.id[0], task.state.value) for task in tasks)
        shown = (TaskState.RESTORING.value, TaskState.RUNNING.value)
        topics = sorted({task.id[0] for task in tasks})
        yield _gauge(Gauges.TASKS, (((topic, state), states[topic, state]) for topic in topics for state in shown))

    def _stages(self, tasks: list[Task]) -> Iterator[Metric]:
        sessions = [task for task in tasks if isinstance(task, SessionTask)]
        users = [task for task in tasks if isinstance(task, UserTask)]
        yield _gauge(Gauges.SESSIONS, ((_place(task), task.stage.session_count) for task in sessions))
        yield _gauge(Gauges.HELD_SESSIONS, ((_place(task), task.stage.held_sessions) for task in sessions))
        yield _gauge(Gauges.USERS, ((_place(task), task.stage.user_count) for task in users))

    def _process(self) -> Iterator[Metric]:
        health = self._observed.health
        yield _gauge(Gauges.HEARTBEAT_AGE, [((), health.heartbeat_age_s)])
        yield _gauge(Gauges.READY, [((), float(health.is_ready))])
        yield _gauge(Gauges.BUILD, [(self._observed.build, 1.0)])

    def _clients(self) -> Iterator[Metric]:
        statistics = self._observed.statistics
        round_trips = list(statistics.round_trips())
        yield _gauge(Gauges.ROUND_TRIP, ((each[:3], each.seconds) for each in round_trips))
        queues = list(statistics.queues())
        yield _gauge(Gauges.QUEUED_RECORDS, (((each.client,), each.records) for each in queues))
        yield _gauge(Gauges.QUEUED_BYTES, (((each.client,), each.size_bytes) for each in queues))


def _gauge(measure: Measure, samples: Samples) -> GaugeMetricFamily:
    family = GaugeMetricFamily(_name(measure), measure.text, labels=measure.labels)
    for labels, value in samples:
        family.add_metric(list(labels), value)
    return family


def _name(measure: Measure) -> str:
    return f"{PREFIX}_{measure.name}"


def _place(task: Task) -> tuple[str, str]:
    return task.id[0], str(task.id[1])
