"""Does one user who does too much slow down the others?

Normal users send at a steady rate, through a member and through a bare pass-through of two hops, with and without one
who has 20 sessions of 200 actions (the most that a record shows: about 500 KB) and sends 50 payloads a second. Only the
others' latencies count.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.bench_latency import (
    ARRIVAL_TIMEOUT_S,
    MEMBER,
    PASSTHROUGH,
    SHARES,
    USERS,
    WARM_UP_S,
    Rate,
    Turn,
    cpu_of,
    forwarding,
    latency_of,
)
from benchmarks.figures import Result
from benchmarks.line import Due, Line, at_rate, ready_line, user_number
from benchmarks.load import Clicker, Payload, skewed_crowd
from benchmarks.progress import Note, Steps
from benchmarks.subjects import Running, SubjectFailed
from benchmarks.topics import Broker

HOT = 999_999  # the user's number
HOT_SESSIONS = 20
HOT_ACTIONS = 200  # in each session, and then 3 more with each payload
HOT_PER_S = 50.0
WITH, WITHOUT = "with the hot user", "without"


def measure(broker: Broker, steps: Steps, *, rate: Rate, rounds: int) -> Result:
    """By turns: each subject without, then with the hot user, in every round."""
    cases = [(name, which) for name in (PASSTHROUGH, MEMBER) for which in (WITHOUT, WITH)]
    turns: dict[tuple[str, str], list[Turn]] = {case: [] for case in cases}
    for number in range(rounds):
        for name, which in cases:
            doing = f"hot_user: round {number + 1} of {rounds}, {name}, {which}"
            with steps.step(doing, rate.payloads) as note:
                turns[name, which].append(_turn(broker, name, rate, note, is_hot=which == WITH))
    return _result(rate, turns)


def _turn(broker: Broker, name: str, rate: Rate, note: Note, *, is_hot: bool) -> Turn:
    load, hot = skewed_crowd(10**9, USERS, end=0.0), hot_user()
    make, telling = forwarding(broker, name)
    with ready_line(broker, make, telling, load, _is_normal) as (line, running):
        if is_hot:
            line.send(at_rate(itertools.islice(hot, HOT_SESSIONS), HOT_PER_S, "hot"))
        _send(line, load, hot if is_hot else None, Rate(int(WARM_UP_S * rate.per_s), rate.per_s), "warm up")
        before, began = running.usage.cpu_s, time.monotonic()
        _send(line, load, hot if is_hot else None, rate, "measured", note)
        cpu_share = (running.usage.cpu_s - before) / (time.monotonic() - began)
        _all_arrived(line, running)
        return Turn(line.arrivals.latencies_ms("measured"), cpu_share)


def _send(
    line: Line, load: Iterator[Payload], hot: Iterator[Payload] | None, rate: Rate, phase: str, note: Note | None = None
) -> None:
    normal: Iterator[Due] = at_rate(itertools.islice(load, rate.payloads), rate.per_s, phase)
    if hot is None:
        line.send(normal, note)
        return
    count = int(rate.payloads / rate.per_s * HOT_PER_S)
    line.send(
        heapq.merge(normal, at_rate(itertools.islice(hot, count), HOT_PER_S, "hot"), key=lambda due: due.at_s), note
    )


def _all_arrived(line: Line, running: Running) -> None:
    line.wait(ARRIVAL_TIMEOUT_S, running.check)
    if line.arrivals.waiting:
        raise SubjectFailed(f"{running.subject.name}: {line.arrivals.waiting} payloads did not arrive")


def _is_normal(key: bytes) -> bool:
    return user_number(key) != b"%06d" % HOT


def hot_user() -> Iterator[Payload]:
    """First each session with all its actions at once, then 3 actions by turns in each."""
    clicker = Clicker(seed=3)
    first = [clicker.payload(HOT, session, HOT_ACTIONS, 0.0) for session in range(HOT_SESSIONS)]
    then = (clicker.payload(HOT, number % HOT_SESSIONS, 3, 0.0) for number in itertools.count())
    for payload in itertools.chain(first, then):  # lines a little shorter than the others', or the record is cut
        yield payload._replace(value=payload.value.replace(b" of the workspace", b""))


def _result(rate: Rate, turns: Mapping[tuple[str, str], list[Turn]]) -> Result:
    figures = {
        (name, which, share): latency_of(f"{name}, {which}", share, of)
        for (name, which), of in turns.items()
        for share in SHARES
    }
    ratios = [
        figures[name, WITH, share].over(figures[name, WITHOUT, share], f"{share} of the others, {name}: with / without")
        for name in (MEMBER, PASSTHROUGH)
        for share in SHARES
    ]
    cpu = [cpu_of(f"{name}, {which}", of) for (name, which), of in turns.items()]
    facts: dict[str, Any] = {
        "payloads_per_s": rate.per_s,
        "payloads_per_round": rate.payloads,
        "hot_payloads_per_s": HOT_PER_S,
        "hot_sessions": HOT_SESSIONS,
        "hot_actions_per_session": HOT_ACTIONS,
    }
    title = "Latency of the others beside one user who does too much"
    return Result("hot_user", title, tuple(ratios), (*figures.values(), *cpu), facts)
