"""A subject works a backlog off: how far it was when, at what cost, and what that makes per payload."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from benchmarks.subjects import SubjectFailed, Working
from benchmarks.topics import Broker, GroupPosition

SAMPLE_S = 0.05
TIMEOUT_S = 900.0
STEADY_FROM = 0.2  # the share of the payloads after which imports, joining and cold caches are behind it


class Sample(NamedTuple):
    """How far a subject was. `payloads` counts a payload as done by the share of its hops that are committed."""

    wall_s: float
    cpu_s: float
    payloads: float


class Cost(NamedTuple):
    """CPU per payload in microseconds, from the first instruction and from the steady part on; and the rest."""

    whole_us: float
    steady_us: float
    wall_s: float
    peak_rss_bytes: int
    steady_wall_us: float = 0.0


def cost_of(samples: Sequence[Sample], peak_rss_bytes: int, steady_from: float = STEADY_FROM) -> Cost:
    """What the samples of one run say. The last one is the end; two at least."""
    end = samples[-1]
    begin = next(sample for sample in samples if sample.payloads >= end.payloads * steady_from)
    if begin.payloads == end.payloads or begin.cpu_s == end.cpu_s:  # too short to tell
        begin = samples[0]
    payloads = end.payloads - begin.payloads
    steady_us = (end.cpu_s - begin.cpu_s) / payloads * 1e6
    steady_wall_us = (end.wall_s - begin.wall_s) / payloads * 1e6
    return Cost(end.cpu_s / end.payloads * 1e6, steady_us, end.wall_s, peak_rss_bytes, steady_wall_us)


class Reading(NamedTuple):
    """What was seen at one moment: offsets that are committed, by topic."""

    wall_s: float
    cpu_s: float
    committed: Mapping[str, int]


def work_off(
    broker: Broker,
    working: Working,
    count: int,
    note: Callable[[int], None],
    *,
    steady_from: float = STEADY_FROM,
    is_settled: Callable[[], bool] = lambda: True,
) -> Cost:
    """Watch until `count` payloads are through all hops of the subject and committed. What happens before `is_settled`
    (nor before a share of `steady_from`) does not count as steady.

    Raises:
        SubjectFailed: it ended, or did not get there in time.
    """
    subject, began = working.subject, time.monotonic()
    first, *later = subject.hops
    readings = [Reading(0.0, 0.0, dict.fromkeys(subject.hops, 0))]
    peak_rss_bytes = settled_at = 0
    with closing(GroupPosition(broker, subject.group_id, subject.hops)) as position:
        while readings[-1].committed[first] < count or not _is_drained(broker, readings[-1], later):
            time.sleep(SAMPLE_S)
            working.check()
            committed = position.committed()
            cpu_s, rss_bytes = working.usage
            wall_s = time.monotonic() - began
            peak_rss_bytes = max(peak_rss_bytes, rss_bytes)
            if committed != readings[-1].committed:  # between two commits nobody knows how far it is
                readings.append(Reading(wall_s, cpu_s, committed))
                note(committed[first])
            if not settled_at and is_settled():
                settled_at = len(readings)
            if wall_s > TIMEOUT_S:
                raise SubjectFailed(f"{subject.name} did {committed[first]} of {count} payloads in {wall_s:.0f} s")
    samples = samples_of(readings, count)
    settled_share = samples[min(settled_at, len(samples) - 1)].payloads / count
    return cost_of(samples, peak_rss_bytes, max(steady_from, settled_share) if settled_share < 1 else steady_from)


def _is_drained(broker: Broker, reading: Reading, topics: Sequence[str]) -> bool:
    """Whether what the input's payloads became is done, too: all of it was written before they were committed."""
    return all(sum(broker.ends(topic)) <= reading.committed[topic] for topic in topics)


def samples_of(readings: Sequence[Reading], count: int) -> list[Sample]:
    """A payload may become less than one record of the next hop: every hop counts by its own end."""
    ends = {topic: end for topic, end in readings[-1].committed.items() if end}
    return [
        Sample(wall_s, cpu_s, count * sum(committed[topic] / ends[topic] for topic in ends) / len(ends))
        for wall_s, cpu_s, committed in readings
    ]
