"""What is counted, and the names it has."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from worker.metrics import COUNTERS, GAUGES, HISTOGRAMS, CountName, Histogram, HistogramName, Metrics, metrics_table

UNITS = ("_seconds", "_bytes", "_records")
THINGS = {
    "tasks",
    "sessions",
    "held_sessions",
    "users",
    "ready",
    "build_info",
}  # counts of things, and facts


def test_every_name_is_described_and_every_description_has_a_name() -> None:
    assert set(COUNTERS) == set(get_args(CountName))
    assert set(HISTOGRAMS) == set(get_args(HistogramName))


def test_every_name_tells_its_unit() -> None:
    assert all(re.fullmatch(r"[a-z_]+_total", measure.name) for measure in COUNTERS.values())
    assert all(histogram.measure.name.endswith(UNITS) for histogram in HISTOGRAMS.values())
    assert {gauge.name for gauge in GAUGES if not gauge.name.endswith(UNITS)} == THINGS


def test_no_name_is_there_twice_and_all_are_in_the_table() -> None:
    measures = [*COUNTERS.values(), *GAUGES, *(histogram.measure for histogram in HISTOGRAMS.values())]
    names = [measure.name for measure in measures]
    assert len(set(names)) == len(names)
    assert all(f"`user_context_worker_{name}`" in metrics_table() for name in names)


@pytest.mark.parametrize("values", [[], [0.5], [1.0, 2.0, 2.5, 7.0], [0.0] * 5 + [100.0, 2.0]])
def test_many_observations_at_once_are_the_same_as_one_by_one(values: list[float]) -> None:
    one_by_one, at_once = Histogram((1.0, 2.0, 5.0)), Histogram((1.0, 2.0, 5.0))
    for value in values:
        one_by_one.observe(value)
    at_once.observe_all(list(values))
    assert at_once.cumulative() == one_by_one.cumulative()
    assert at_once.sum == pytest.approx(one_by_one.sum)


def test_a_bucket_holds_what_is_at_most_its_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    assert histogram.cumulative() == [1, 3, 4]


def test_what_failed_on_its_way_out_is_not_fresh() -> None:
    metrics = Metrics()
    metrics.note_leaving([10.0])
    metrics.forget_leaving()
    metrics.note_leaving([11.0])
    metrics.note_out(12.0)
    metrics.note_out(13.0)
    assert metrics.histograms()["freshness", ""].sum == 1.0
