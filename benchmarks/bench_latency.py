"""How long from a payload to the record that holds it, at a steady rate and with default settings?

Payloads are sent one by one to a member, and by turns to a bare pass-through of two hops on the same broker. One thread
sends and receives, with one clock; a payload has arrived with the first record whose session was seen at its event time
or later.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Figure, Result, percentile
from benchmarks.line import Line, Telling, at_rate, ready_line, tells_of_payload, tells_of_record
from benchmarks.load import Payload, skewed_crowd
from benchmarks.progress import Note, Steps
from benchmarks.subjects import Running, Subject, SubjectFailed, member, passthrough
from benchmarks.topics import Broker

PASSTHROUGH = "pass-through"
MEMBER = "member, defaults"
USERS = 5000
ARRIVAL_TIMEOUT_S = 20.0
WARM_UP_S = 2.0
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """How many payloads are measured, and how many are sent in a second."""

    payloads: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One subject in one round."""

    latencies_ms: list[float]
    cpu_share: float


def measure(broker: Broker, steps: Steps, *, rate: Rate, rounds: int) -> Result:
    """Let every subject forward the same payloads in each round."""
    turns: dict[str, list[Turn]] = {PASSTHROUGH: [], MEMBER: []}
    for number in range(rounds):
        for name, of_subject in turns.items():
            with steps.step(f"latency: round {number + 1} of {rounds}, {name}", rate.payloads) as note:
                of_subject.append(_turn(broker, name, rate, note))
    return _result(rate, turns)


def _turn(broker: Broker, name: str, rate: Rate, note: Note) -> Turn:
    load = skewed_crowd(10**9, USERS, end=0.0)  # the times are made when they are sent
    make, telling = forwarding(broker, name)
    with ready_line(broker, make, telling, load) as (line, running):
        return send_all(line, running, load, rate, note)


def forwarding(broker: Broker, name: str) -> tuple[Callable[[str, str], Subject], Telling]:
    """How to make a subject that forwards to `<run>-out`, and what its records tell."""
    servers = broker.bootstrap_servers
    if name == PASSTHROUGH:
        return (
            lambda topic, run: passthrough(name, servers, (topic, f"{run}-between", f"{run}-out"), flush=True),
            tells_of_payload,
        )
    return lambda topic, _run: member(name, servers, topic), tells_of_record


def send_all(
    line: Line, running: Running, load: Iterator[Payload], rate: Rate, note: Note, warm_up_s: float = WARM_UP_S
) -> Turn:
    """Warm up, then measure.

    Raises:
        SubjectFailed: not everything arrived.
    """
    line.send(at_rate(itertools.islice(load, int(warm_up_s * rate.per_s)), rate.per_s, "warm up"))
    before, began = running.usage.cpu_s, time.monotonic()
    line.send(at_rate(itertools.islice(load, rate.payloads), rate.per_s, "measured"), note)
    cpu_share = (running.usage.cpu_s - before) / (time.monotonic() - began)
    line.wait(ARRIVAL_TIMEOUT_S, running.check)
    if line.arrivals.waiting:
        raise SubjectFailed(f"{running.subject.name}: {line.arrivals.waiting} payloads did not arrive")
    return Turn(line.arrivals.latencies_ms("measured"), cpu_share)


def _result(rate: Rate, turns: Mapping[str, list[Turn]]) -> Result:
    figures = {(name, which): latency_of(name, which, turns[name]) for name in turns for which in SHARES}
    ratios = [
        figures[MEMBER, which].over(figures[PASSTHROUGH, which], f"{which}: member / pass-through") for which in SHARES
    ]
    cpu = [cpu_of(name, of) for name, of in turns.items()]
    facts: dict[str, Any] = {"payloads_per_s": rate.per_s, "payloads_per_round": rate.payloads, "users": USERS}
    title = f"Latency from payload to record at {rate.per_s:g} payloads/s"
    return Result("latency", title, tuple(ratios), (*figures.values(), *cpu), facts)


def latency_of(name: str, which: str, turns: list[Turn]) -> Figure:
    """One percentile of every round."""
    values = tuple([percentile(turn.latencies_ms, SHARES[which]) for turn in turns])
    return Figure(f"{name}: {which}", "ms", values, digits=2)


def cpu_of(name: str, turns: list[Turn]) -> Figure:
    """How busy the subject was."""
    return Figure(f"{name}: CPU", "% of a core", tuple([100 * turn.cpu_share for turn in turns]))
