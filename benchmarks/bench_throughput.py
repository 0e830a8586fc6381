"""How much CPU does a payload cost end to end, in multiples of what Kafka's client costs alone?

A backlog is worked off by one member (both hops, one record per changed user) and, right before it, by a bare
pass-through of the same topic. The newest record of every user is then compared with a fold of the load.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks.backlog import Cost, work_off
from benchmarks.figures import Figure, Result
from benchmarks.fold import Fold, Record
from benchmarks.load import Payload, skewed_crowd
from benchmarks.progress import Steps
from benchmarks.subjects import Subject, member, passthrough, started
from benchmarks.topics import PARTITIONS, Broker
from worker.partitioner import partition_of

PASSTHROUGH = "pass-through"
COALESCED = "member, 1000 ms"
DEFAULTS = "member, defaults"
MEMBERS: Mapping[str, Mapping[str, object]] = {COALESCED: {"publish_interval_ms": 1000}, DEFAULTS: {}}
# The load is as old as it is long: to expire users by the wall clock is off, as for every back-fill of old topics.
BACKFILL = {"expire_idle_users": "false"}


@dataclass(frozen=True, slots=True)
class Backlog:
    """A filled topic and what has to come out of it."""

    topic: str
    count: int
    size_bytes: int
    fold: Fold


@dataclass(slots=True)
class Turn:
    """What one subject cost in one round, and what it wrote."""

    cost: Cost
    records_per_payload: float
    bytes_per_payload: float
    wrong: list[str]


def measure(broker: Broker, steps: Steps, *, payloads: int, users: int, rounds: int) -> Result:
    """Fill a topic once; in each round every member works it off, each after a pass-through."""
    with broker.topic(f"bench-{uuid.uuid4().hex[:8]}-in") as topic:
        backlog = _fill(broker, steps, topic, payloads, users)
        turns: dict[str, list[Turn]] = {PASSTHROUGH: [], **{name: [] for name in MEMBERS}}
        for number in range(rounds):
            for name in (name for of_member in MEMBERS for name in (PASSTHROUGH, of_member)):
                doing = f"throughput: round {number + 1} of {rounds}, {name}"
                turns[name].append(_turn(broker, steps, backlog, name, doing))
    return _result(backlog, users, turns)


def _fill(broker: Broker, steps: Steps, topic: str, payloads: int, users: int) -> Backlog:
    fold = Fold()

    def folded() -> Iterator[Payload]:
        for payload in skewed_crowd(payloads, users, end=time.time()):
            fold.add(payload)
            yield payload

    with steps.step(f"throughput: filling the input topic with {payloads} payloads", payloads) as note:
        size_bytes = broker.fill(topic, folded(), note)
    return Backlog(topic, payloads, size_bytes, fold)


def _turn(broker: Broker, steps: Steps, backlog: Backlog, name: str, doing: str) -> Turn:
    if name != PASSTHROUGH:
        return _work(
            broker,
            steps,
            backlog,
            member(name, broker.bootstrap_servers, backlog.topic, **BACKFILL, **MEMBERS[name]),
            doing,
        )
    with broker.topic(f"{backlog.topic}-out") as output:
        return _work(
            broker, steps, backlog, passthrough(name, broker.bootstrap_servers, (backlog.topic, output)), doing
        )


def _work(broker: Broker, steps: Steps, backlog: Backlog, subject: Subject, doing: str) -> Turn:
    try:
        with steps.step(doing, backlog.count) as note, started(subject) as running:
            cost = work_off(broker, running, backlog.count, note)
            running.stop()
        if subject.name == PASSTHROUGH:
            records = sum(broker.ends(subject.output))
            wrong = (
                [] if records == backlog.count else [f"{subject.name}: {records} records for {backlog.count} payloads"]
            )
            return Turn(cost, records / backlog.count, backlog.size_bytes / backlog.count, wrong)
        with steps.step(f"{doing}: checking its records"):
            return _checked(broker, backlog, subject, cost)
    finally:
        broker.delete(subject.own_topics, subject.group_id)


def _checked(broker: Broker, backlog: Backlog, subject: Subject, cost: Cost) -> Turn:
    newest: dict[str, bytes | None] = {}
    records = size_bytes = 0
    for message in broker.read(subject.output):
        value = message.value()
        newest[(message.key() or b"").decode()] = value
        records += 1
        size_bytes += len(value or b"")
    _, repartition = subject.hops
    wrong = mistakes(backlog.fold, newest)
    for topic, expected in ((repartition, backlog.count), (subject.own_topics[-1], 0)):
        held = sum(broker.ends(topic))
        if held != expected:
            wrong.append(f"{topic} holds {held} records, expected {expected}")
    wrong = [f"{subject.name}: {mistake}" for mistake in wrong]
    return Turn(cost, records / backlog.count, size_bytes / backlog.count, wrong)


def mistakes(fold: Fold, newest: Mapping[str, bytes | None]) -> list[str]:
    """Where the newest records are not what the fold says, all fields but `version`."""
    stream_times: dict[int, float] = {}
    for user_id in fold.users:
        partition = partition_of(user_id.encode(), PARTITIONS)
        stream_times[partition] = max(stream_times.get(partition, 0.0), fold.newest(user_id))
    wrong = []
    for user_id in fold.users:
        expected = fold.record(user_id, stream_times[partition_of(user_id.encode(), PARTITIONS)])
        published = _without_version(newest.get(user_id))
        if published != expected:
            wrong.append(f"{user_id}: expected {str(expected)[:300]}, got {str(published)[:300]}")
    strangers = set(newest) - set(fold.users)
    if strangers:
        wrong.append(f"records of {len(strangers)} users that nobody knows")
    return wrong if len(wrong) <= 1 else [f"{len(wrong)} of {len(fold.users)} users are wrong, the first: {wrong[0]}"]


def _without_version(value: bytes | None) -> Record | None:
    if value is None:
        return None
    record: Record = orjson.loads(value)
    del record["version"]
    return record


def _result(backlog: Backlog, users: int, turns: Mapping[str, list[Turn]]) -> Result:
    whole = {name: _figure(name, "whole run", [turn.cost.whole_us for turn in of]) for name, of in turns.items()}
    steady = {name: _figure(name, "steady", [turn.cost.steady_us for turn in of]) for name, of in turns.items()}
    ratios = [
        costs[name].over(costs[PASSTHROUGH].every(len(MEMBERS), place), f"{costs[name].name} / pass-through")
        for place, name in enumerate(MEMBERS)
        for costs in (whole, steady)
    ]
    rates = [
        Figure(figure.name, "payloads / CPU s", tuple([1e6 / cost for cost in figure.values]), digits=0)
        for name in turns
        for figure in (whole[name], steady[name])
    ]
    costs = [figure for name in turns for figure in (whole[name], steady[name])]
    rest = [figure for name, of in turns.items() for figure in _rest(name, of)]
    facts: dict[str, Any] = {
        "payloads": backlog.count,
        "payload_bytes": round(backlog.size_bytes / backlog.count),
        "users": users,
        "user_records_checked": len(backlog.fold.users) * sum(len(turns[name]) for name in MEMBERS),
    }
    wrong = tuple([mistake for of in turns.values() for turn in of for mistake in turn.wrong])
    title = "CPU per payload, end to end, from a backlog"
    return Result("throughput", title, tuple(ratios), (*rates, *costs, *rest), facts, wrong)


def _figure(name: str, which: str, values: list[float]) -> Figure:
    return Figure(f"{name}: {which}", "µs CPU", tuple(values))


def _rest(name: str, turns: list[Turn]) -> Iterator[Figure]:
    yield Figure(f"{name}: wall time", "s", tuple([turn.cost.wall_s for turn in turns]))
    yield Figure(f"{name}: peak memory", "MB", tuple([turn.cost.peak_rss_bytes / 1e6 for turn in turns]), digits=0)
    if name != PASSTHROUGH:
        yield Figure(f"{name}: published", "records / payload", tuple([t.records_per_payload for t in turns]), digits=2)
        yield Figure(f"{name}: published", "bytes / payload", tuple([t.bytes_per_payload for t in turns]), digits=0)
