"""Which rate can be sustained, and how long does a payload take at half of it?

With default settings. The rate is doubled until payloads pile up, then narrowed down. It is sustained when all of them
are through half a second after the last was sent. Payloads are encoded beforehand, and of every tenth user only is
looked at when it comes back, so that one thread can send and receive. It sends with the client's default linger.ms: a
request for each of thousands of payloads is more than the broker has time for. The pass-through of two hops is then
sent the same rates.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.bench_latency import MEMBER, PASSTHROUGH, forwarding
from benchmarks.figures import Figure, Result, Series, percentile
from benchmarks.line import Line, at_rate, ready_line, user_number
from benchmarks.load import Payload, skewed_crowd
from benchmarks.progress import Steps
from benchmarks.subjects import Running, SubjectFailed
from benchmarks.topics import Broker

USERS = 50_000
FILLING = 6  # payloads for each user before half of the rate is measured: their windows hold about 18 actions then
FILLING_SHARE, LONGEST_FILLING_S = 0.75, 60.0  # at this share of the sustained rate
ENCODED = 100_000
FIRST_RATE = 1000.0
LAST_RATE = 128_000.0
NARROWING = 2  # steps between the last rate that held and the first that did not
HALF_S = 10.0
DRAIN_TIMEOUT_S = 60.0
REST_S = 0.5  # what may be left when the last is sent: a tenth too much for 5 s piles up so much
LINGER_MS = 5.0  # the default of librdkafka, and of Kafka's own client since 4.0
LATE_S = 0.25  # a sender that is later than this did not send at that rate


@dataclass(frozen=True, slots=True)
class Step:
    """One rate, and what came of it."""

    rate: float
    arrived_per_s: float
    p50_ms: float
    p99_ms: float
    is_sustained: bool

    @property
    def point(self) -> dict[str, float]:
        return {"rate": self.rate, "arrived_per_s": self.arrived_per_s, "p50_ms": self.p50_ms, "p99_ms": self.p99_ms}


@dataclass(frozen=True, slots=True)
class Round:
    """What was sustained, every step of either, and the two at half of the sustained rate."""

    sustained: float
    steps: dict[str, list[Step]]
    half: dict[str, Step]


def measure(broker: Broker, steps: Steps, *, step_s: float, rounds: int) -> Result:
    """The same in each round, with members on topics of their own."""
    with steps.step(f"load: encoding {ENCODED} payloads"):
        encoded = list(skewed_crowd(ENCODED, USERS, end=0.0))
    done = [_round(broker, steps, encoded, step_s, f"load: round {number + 1} of {rounds}") for number in range(rounds)]
    return _result(done)


def _round(broker: Broker, steps: Steps, encoded: Sequence[Payload], step_s: float, doing: str) -> Round:
    taken: dict[str, list[Step]] = {}
    half: dict[str, Step] = {}
    with _driver(broker, MEMBER, encoded, steps, doing) as driver:
        taken[MEMBER] = _search(driver, step_s)
        sustained = max((step.rate for step in taken[MEMBER] if step.is_sustained), default=0.0)
        if not sustained:
            raise SubjectFailed(f"{MEMBER} did not sustain {FIRST_RATE:.0f} payloads/s")
    with _driver(broker, MEMBER, encoded, steps, doing) as driver:  # the search filled the windows with what it sent
        rate = FILLING_SHARE * sustained
        driver.take(rate, min(LONGEST_FILLING_S, USERS * FILLING / rate))
        half[MEMBER] = driver.take(sustained / 2, HALF_S)
    with _driver(broker, PASSTHROUGH, encoded, steps, doing) as driver:
        rates = sorted(step.rate for step in taken[MEMBER] if step.is_sustained)
        taken[PASSTHROUGH] = [driver.take(rate, step_s) for rate in rates]
        half[PASSTHROUGH] = driver.take(sustained / 2, HALF_S)
    return Round(sustained, taken, half)


def _search(driver: Driver, step_s: float) -> list[Step]:
    taken: list[Step] = []

    def holds(rate: float) -> bool:
        taken.append(driver.take(rate, step_s))
        if not taken[-1].is_sustained:  # or was something else in the way?
            taken[-1] = driver.take(rate, step_s)
        return taken[-1].is_sustained

    rate, held = FIRST_RATE, 0.0
    while rate <= LAST_RATE and holds(rate):
        held, rate = rate, 2 * rate
    for _ in range(NARROWING if held else 0):
        between = (held + rate) / 2
        held, rate = (between, rate) if holds(between) else (held, between)
    return taken


class Driver:
    """Sends at one rate after the other through the same line."""

    def __init__(self, line: Line, running: Running, payloads: Iterator[Payload], steps: Steps, doing: str) -> None:
        self._line = line
        self._running = running
        self._payloads = payloads
        self._steps = steps
        self._doing = doing
        self._taken = 0

    def take(self, rate: float, seconds: float) -> Step:
        """Send for so long, then wait until everything has arrived."""
        self._taken += 1
        phase, count = str(self._taken), int(rate * seconds)
        payloads = itertools.islice(self._payloads, count)
        began = time.monotonic()
        with self._steps.step(f"{self._doing}, {rate:.0f}/s", count) as note:
            late_s = self._line.send(at_rate(payloads, rate, phase), note)
            sent_at = time.monotonic()
            self._line.wait(DRAIN_TIMEOUT_S, self._running.check)
        if self._line.arrivals.waiting:
            raise SubjectFailed(f"{self._running.subject.name}: {self._line.arrivals.waiting} payloads did not arrive")
        now = time.monotonic()
        latencies = self._line.arrivals.latencies_ms(phase)
        is_sustained = late_s < LATE_S and now - sent_at < REST_S
        return Step(rate, count / (now - began), percentile(latencies, 0.5), percentile(latencies, 0.99), is_sustained)


def is_every_tenth(key: bytes) -> bool:
    """Watches every tenth user."""
    return user_number(key).endswith(b"0")


@contextmanager
def _driver(broker: Broker, name: str, encoded: Sequence[Payload], steps: Steps, doing: str) -> Iterator[Driver]:
    payloads = itertools.cycle(encoded)
    make, telling = forwarding(broker, name)
    make_line = partial(Line, linger_ms=LINGER_MS)
    with ready_line(broker, make, telling, payloads, is_every_tenth, make_line) as (line, running):
        yield Driver(line, running, payloads, steps, f"{doing}, {name}")


def _result(done: list[Round]) -> Result:
    names = (MEMBER, PASSTHROUGH)
    p50 = {name: Figure(f"{name}: p50", "ms", tuple([each.half[name].p50_ms for each in done]), 2) for name in names}
    p99 = {name: Figure(f"{name}: p99", "ms", tuple([each.half[name].p99_ms for each in done]), 2) for name in names}
    sustained = Figure(f"{MEMBER}: sustained", "payloads / s", tuple([each.sustained for each in done]), digits=0)
    ratios = (
        p50[MEMBER].over(p50[PASSTHROUGH], f"p50: member / {PASSTHROUGH}"),
        p99[MEMBER].over(p99[PASSTHROUGH], f"p99: member / {PASSTHROUGH}"),
    )
    facts: dict[str, Any] = {"users": USERS, "seconds_at_half_of_the_sustained_rate": HALF_S}
    series = [
        Series(f"{name}, round {number + 1}", tuple([step.point for step in sorted(taken, key=lambda step: step.rate)]))
        for number, each in enumerate(done)
        for name, taken in each.steps.items()
    ]
    title = "Latency at half of the sustained rate"
    figures = (sustained, *p50.values(), *p99.values())
    return Result("load", title, ratios, figures, facts, series=tuple(series))
