"""A subject works a backlog off: how far it was when, at what cost, and what that makes per payload."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

from benchmarks.subjects import Running, SubjectFailed
from benchmarks.topics import Broker, GroupPosition

SAMPLE_S = 0.05
TIMEOUT_S = 300.0
STEADY_FROM = 0.2  # the share of the payloads after which imports, joining and cold caches are behind it


class Sample(NamedTuple):
    """How far a subject was. `payloads` counts a payload as done by the share of its hops that are committed."""

    wall_s: float
    cpu_s: float
    payloads: float


class Cost(NamedTuple):
    """CPU per payload in microseconds, from the first instruction and from 20 % on; and the rest of the story."""

    whole_us: float
    steady_us: float
    wall_s: float
    peak_rss_bytes: int


def cost_of(samples: Sequence[Sample], peak_rss_bytes: int) -> Cost:
    """What the samples of one run say. The last one is the end; two at least."""
    end = samples[-1]
    begin = next(sample for sample in samples if sample.payloads >= end.payloads * STEADY_FROM)
    if begin is end:  # too short to tell
        begin = samples[0]
    steady_us = (end.cpu_s - begin.cpu_s) / (end.payloads - begin.payloads) * 1e6
    return Cost(end.cpu_s / end.payloads * 1e6, steady_us, end.wall_s, peak_rss_bytes)


def work_off(broker: Broker, running: Running, count: int, note: Callable[[int], None]) -> Cost:
    """Watch until `count` payloads are through all hops of the subject and committed.

    Raises:
        SubjectFailed: it ended, or did not get there in time.
    """
    subject, began = running.subject, time.monotonic()
    samples = [Sample(0.0, 0.0, 0.0)]
    peak_rss_bytes = 0
    with closing(GroupPosition(broker, subject.group_id, subject.hops)) as position:
        while samples[-1].payloads < count:
            time.sleep(SAMPLE_S)
            running.check()
            payloads = position.committed() / len(subject.hops)
            cpu_s, rss_bytes = running.usage
            wall_s = time.monotonic() - began
            peak_rss_bytes = max(peak_rss_bytes, rss_bytes)
            if payloads > samples[-1].payloads:  # between two commits nobody knows how far it is
                samples.append(Sample(wall_s, cpu_s, payloads))
                note(int(payloads))
            if wall_s > TIMEOUT_S:
                raise SubjectFailed(f"{subject.name} did {payloads:.0f} of {count} payloads in {wall_s:.0f} s")
    return cost_of(samples, peak_rss_bytes)
