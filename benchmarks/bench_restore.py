"""What does restoring a payload cost, beside processing it live?

A member with default settings works a topic off, stops, and is started again: both stages read again what their memory
rests on, and every restored user is published once. All payloads lie within the retention, so nearly everything is read
again. CPU is that of the whole process, less that of a start with nothing to read; a payload whose record is read again
on one of the two hops counts half.

Live is twofold: the topic that is worked off, in large batches, and the same payloads sent one by one, as they arrive
when nothing lies behind. There all of the member's CPU counts while they are sent.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from benchmarks.bench_latency import MEMBER, forwarding
from benchmarks.bench_load import is_every_tenth
from benchmarks.figures import Figure, Result
from benchmarks.line import READY_PAYLOADS, at_rate, ready_line
from benchmarks.load import skewed_crowd
from benchmarks.loaded_topic import LoadedTopic, loaded_topic
from benchmarks.progress import Steps
from benchmarks.subjects import Running, Subject, SubjectFailed, member, started
from benchmarks.topics import PARTITIONS, Broker, wait_until
from benchmarks.turn import BACKFILL, PASSTHROUGH, Plan, Turn, checked, cost_of_members, owns_something, take_turn

SPAN_S = 500.0  # of event time: within the retention, which is twice the lookback
PAYLOADS_PER_USER = 10  # so that 5 minutes of a user hold 18 actions
CATCHING_UP = Plan("catching up")
ARRIVING_PER_S = 2000.0  # a tenth of what a member can work off
ARRIVING_S = 15.0
ENOUGH_TO_WARM_UP = 100 * READY_PAYLOADS
TIMEOUT_S = 120.0
QUIET_S = 2.0  # without output, a member that restored is done; one that only started idles as long
RESTORED = re.compile(r"restored (\S+)\[\d+\] from (\d+) records")


@dataclass(frozen=True, slots=True)
class Round:
    """CPU seconds, but for the two turns."""

    through: Turn
    catching_up: Turn
    arriving_s: float  # for each payload
    start_s: float
    restart_s: float
    restored: float  # payloads
    wall_s: float


def measure(broker: Broker, steps: Steps, *, payloads: int, rounds: int) -> Result:
    """Fill a topic once; in each round a pass-through, a member live in both ways, a start with nothing to do, and a
    restart."""
    users = max(1, payloads // PAYLOADS_PER_USER)
    load = skewed_crowd(payloads, users, end=time.time(), interval_s=SPAN_S / payloads)
    with loaded_topic(broker, steps, "restore", load, payloads) as loaded:
        done = [_round(broker, steps, loaded, f"restore: round {number + 1} of {rounds}") for number in range(rounds)]
    return _result(loaded, done)


def _round(broker: Broker, steps: Steps, loaded: LoadedTopic, doing: str) -> Round:
    through = take_turn(broker, steps, loaded, Plan(PASSTHROUGH), f"{doing}, {PASSTHROUGH}")
    with steps.step(f"{doing}, a start with nothing to read"):
        start_s = _start_s(broker)
    arriving_s = _arriving_s(broker, steps, f"{doing}, arriving")
    subject = member(CATCHING_UP.name, broker.bootstrap_servers, loaded.name, **BACKFILL)
    try:
        with steps.step(f"{doing}, catching up", loaded.count) as note:
            cost = cost_of_members(broker, loaded, subject, CATCHING_UP, note)
        with steps.step(f"{doing}, restoring"), _quiet(broker, subject) as (running, wall_s):
            restart_s, restored = running.usage.cpu_s, _restored(broker, loaded, subject, running.log)
            running.stop()
        return Round(through, checked(broker, loaded, subject, cost), arriving_s, start_s, restart_s, restored, wall_s)
    finally:
        broker.delete(subject.own_topics, subject.group_id)


def _arriving_s(broker: Broker, steps: Steps, doing: str) -> float:
    """CPU for each payload of a load that comes at a steady rate."""
    count = int(ARRIVING_PER_S * ARRIVING_S)
    load = list(skewed_crowd(count + ENOUGH_TO_WARM_UP, count // PAYLOADS_PER_USER, end=0.0))
    make, telling = forwarding(broker, MEMBER)
    payloads = iter(load)
    with ready_line(broker, make, telling, payloads, is_every_tenth) as (line, running):
        before = running.usage.cpu_s
        with steps.step(doing, count) as note:
            line.send(at_rate(itertools.islice(payloads, count), ARRIVING_PER_S, doing), note)
            line.wait(TIMEOUT_S, running.check)
        if line.arrivals.waiting:
            raise SubjectFailed(f"{running.subject.name}: {line.arrivals.waiting} payloads did not arrive")
        return (running.usage.cpu_s - before) / count


def _start_s(broker: Broker) -> float:
    with broker.topic(f"bench-{uuid4().hex[:8]}-in") as topic:
        subject = member("start", broker.bootstrap_servers, topic, **BACKFILL)
        try:
            with started(subject) as running:
                wait_until(lambda: owns_something(running), "partitions", timeout_s=TIMEOUT_S)
                time.sleep(QUIET_S)
                cpu_s = running.usage.cpu_s
                running.stop()
                return cpu_s
        finally:
            broker.delete(subject.own_topics, subject.group_id)


@contextmanager
def _quiet(broker: Broker, subject: Subject) -> Iterator[tuple[Running, float]]:
    """The member, started again, when it has restored everything and nothing more comes out; and how long the restore
    took, from the start of the process."""
    began, before = time.monotonic(), sum(broker.ends(subject.output))
    with started(subject) as running:
        wait_until(lambda: _has_restored(running), "the restore", timeout_s=TIMEOUT_S)
        wall_s = time.monotonic() - began
        seen = before, time.monotonic()

        def is_quiet() -> bool:
            nonlocal seen
            running.check()
            written = sum(broker.ends(subject.output))
            if written != seen[0]:
                seen = written, time.monotonic()
            return written > before and time.monotonic() - seen[1] > QUIET_S

        wait_until(is_quiet, "the restored users' records", timeout_s=TIMEOUT_S, poll_s=0.2)
        yield running, wall_s


def _has_restored(running: Running) -> bool:
    running.check()
    return len(RESTORED.findall(running.log)) == 2 * PARTITIONS


def _restored(broker: Broker, loaded: LoadedTopic, subject: Subject, log: str) -> float:
    """Payloads that were read again: of each hop the share of its records."""
    offsets: Counter[str] = Counter()
    for topic, records in RESTORED.findall(log):
        offsets[topic] += int(records)
    shares = [offsets[topic] / sum(broker.ends(topic)) for topic in subject.hops]
    return loaded.count * sum(shares) / len(shares)


def _result(loaded: LoadedTopic, done: list[Round]) -> Result:
    arriving = Figure("live, arriving", "µs CPU", tuple([each.arriving_s * 1e6 for each in done]))
    catching_up = Figure(
        "live, catching up",
        "µs CPU",
        tuple([each.catching_up.cost.whole_us - each.start_s / loaded.count * 1e6 for each in done]),
    )
    restoring = Figure(
        "restoring", "µs CPU", tuple([(each.restart_s - each.start_s) / each.restored * 1e6 for each in done])
    )
    through = Figure(PASSTHROUGH, "µs CPU", tuple([each.through.cost.whole_us for each in done]))
    ratios = (
        restoring.over(arriving, "restoring / live, arriving"),
        restoring.over(catching_up, "restoring / live, catching up"),
        restoring.over(through, f"restoring / {PASSTHROUGH}"),
    )
    rest = (
        Figure("a start with nothing to read", "s CPU", tuple([each.start_s for each in done]), digits=2),
        Figure("payloads restored", "", tuple([each.restored for each in done]), digits=0),
        Figure("a restart, until all is restored", "s", tuple([each.wall_s for each in done]), digits=2),
    )
    wrong = tuple([mistake for each in done for mistake in (*each.through.wrong, *each.catching_up.wrong)])
    title = "CPU per payload, restoring beside live"
    facts: dict[str, Any] = dict(loaded.facts)
    return Result("restore", title, ratios, (arriving, catching_up, restoring, through, *rest), facts, wrong)
