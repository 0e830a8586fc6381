"""The chat side: how fast does a view load the topic, how much memory does a user take, what does a read cost, and how
long from a payload until the view tells of it?

Loading is compared with a reader that looks at nothing, and with one that keeps decoded models: each in a process of
its own, by turns. The latency is compared with that of the record on the topic, measured as `latency` does.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import orjson

from benchmarks.bench_latency import MEMBER, SHARES, USERS, Rate, Turn, forwarding, latency_of, send_all
from benchmarks.figures import Figure, Result
from benchmarks.line import Line, ready_line
from benchmarks.load import ACTIONS_ON_AVERAGE, SESSIONS_PER_USER, Clicker, Payload, skewed_crowd
from benchmarks.progress import Note, Steps
from benchmarks.subjects import CHECKOUT, SubjectFailed
from benchmarks.topics import Broker, Feed
from benchmarks.view_line import ViewLine
from worker.settings import Settings
from worker.testing import ManualClock, TopologyDriver

VIEW, BYTES, DECODED = "view", "bytes", "decoded"
KINDS = {VIEW: "the view", BYTES: "bytes alone", DECODED: "decoded models"}
ON_TOPIC, IN_VIEW = "record on the topic", "told by the view"
BATCH = 2000
LOOKBACK_S = 86_400.0  # nobody expires while they are measured


def measure(broker: Broker, steps: Steps, *, users: int, rate: Rate, rounds: int) -> Result:
    """Loading, memory and reads; then the latency."""
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    with broker.topic(f"bench-{uuid.uuid4().hex[:8]}-context") as topic:
        with steps.step(f"view: {users} records are made", users) as note:
            value_bytes = fill_with_records(broker, topic, users, note)
        for number in range(rounds):
            for kind, of_kind in runs.items():
                with steps.step(f"view: round {number + 1} of {rounds}, loading {KINDS[kind]}"):
                    of_kind.append(_read(broker, kind, topic, users))
    turns: dict[str, list[Turn]] = {ON_TOPIC: [], IN_VIEW: []}
    for number in range(rounds):
        for name, make_line in ((ON_TOPIC, Line), (IN_VIEW, ViewLine)):
            with steps.step(f"view: round {number + 1} of {rounds}, {name}", rate.payloads) as note:
                turns[name].append(_turn(broker, make_line, rate, note))
    return _result(users, value_bytes, runs, turns, rate)


def fill_with_records(broker: Broker, topic: str, users: int, note: Note) -> int:
    """The newest record of every user, as the stages make it. Returns the bytes of all values."""
    feed, size = Feed(broker.bootstrap_servers, topic, linger_ms=50), 0
    for number, (key, value) in enumerate(_records(users)):
        feed.send(key, value, 0.0)
        size += len(value)
        if number % BATCH == 0:
            note(number)
    feed.flush()
    return size


def _records(users: int) -> Iterator[tuple[bytes, bytes]]:
    """What an even crowd's users did, a few users at a time."""
    clicker = Clicker()
    for begin in range(0, users, BATCH):
        driver = TopologyDriver(Settings(lookback_seconds=LOOKBACK_S), clock=ManualClock(time.time()))
        for user in range(begin, min(begin + BATCH, users)):
            for number in range(2 * SESSIONS_PER_USER):
                session = number % SESSIONS_PER_USER
                payload = clicker.payload(user, session, ACTIONS_ON_AVERAGE, driver.clock.wall() - number)
                driver.pipe(payload.value, key=payload.key)
        driver.process()
        newest = {record.key: record.value for record in driver.output}
        yield from ((key, value) for key, value in newest.items() if key is not None and value is not None)


def _read(broker: Broker, kind: str, topic: str, users: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.view_reader", kind, broker.bootstrap_servers, topic, str(users)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False)
    if done.returncode:
        raise SubjectFailed(f"benchmarks.view_reader: {done.stderr.decode(errors='replace')}")
    measured: dict[str, float] = orjson.loads(done.stdout)
    if measured["users"] != users:
        raise SubjectFailed(f"{KINDS[kind]}: {measured['users']} of {users} users are held")
    return measured


def _turn(broker: Broker, make_line: type[Line], rate: Rate, note: Note) -> Turn:
    load: Iterator[Payload] = skewed_crowd(10**9, USERS, end=0.0)  # the times are made when they are sent
    make, telling = forwarding(broker, MEMBER)
    with ready_line(broker, make, telling, load, make_line=make_line) as (line, running):
        return send_all(line, running, load, rate, note)


def _result(
    users: int, value_bytes: int, runs: dict[str, list[dict[str, float]]], turns: dict[str, list[Turn]], rate: Rate
) -> Result:
    published = value_bytes / users

    def each(kind: str, key: str, name: str, unit: str, *, per: float, digits: int = 1) -> Figure:
        return Figure(f"{KINDS[kind]}: {name}", unit, tuple([run[key] / per for run in runs[kind]]), digits)

    cpu = {kind: each(kind, "cpu_s", "CPU for a record", "µs", per=users / 1e6) for kind in KINDS}
    memory = {kind: each(kind, "rss_bytes", "memory for a user", "bytes", per=users, digits=0) for kind in KINDS}
    rate_of = Figure("the view: loading", "records/s", tuple([users / run["wall_s"] for run in runs[VIEW]]), digits=0)
    reads = [each(VIEW, f"{name}_us", name, "µs CPU", per=1) for name in ("get", "enrich")]
    latency = {(name, which): latency_of(name, which, turns[name]) for name in turns for which in SHARES}
    ratios = [
        cpu[VIEW].over(cpu[BYTES], "CPU to load a record: view / bytes alone"),
        *(
            Figure(f"{figure.name} / bytes published", "x", tuple([v / published for v in figure.values]), digits=2)
            for figure in memory.values()
        ),
        *(
            latency[IN_VIEW, which].over(latency[ON_TOPIC, which], f"{which}: {IN_VIEW} / {ON_TOPIC}")
            for which in SHARES
        ),
    ]
    facts: dict[str, Any] = {"users": users, "record_bytes": round(published), "payloads_per_s": rate.per_s}
    figures = (rate_of, *cpu.values(), *memory.values(), *reads, *latency.values())
    return Result("view", "The chat side's view", tuple(ratios), figures, facts)
