"""The same job on other engines: CPU per payload from a backlog, and latency at a steady rate, on the same topic.

By turns: the bare pass-through, a member of the worker, then each peer that is installed. Every user's newest record is
compared with a fold of the load, for the peers in what they all write: the sessions. benchmarks/peers/README.md.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from benchmarks.backlog import work_off
from benchmarks.bench_latency import (
    MEMBER,
    PASSTHROUGH,
    SHARES,
    USERS,
    Rate,
    cpu_of,
    forwarding,
    latency_of,
    send_all,
)
from benchmarks.bench_latency import Turn as LatencyTurn
from benchmarks.figures import Result
from benchmarks.fold import Fold
from benchmarks.line import ready_line, tells_of_record
from benchmarks.load import skewed_crowd
from benchmarks.loaded_topic import LoadedTopic, loaded_topic, read_output
from benchmarks.peers.installed import PEERS, Peer
from benchmarks.progress import Note, Steps
from benchmarks.subjects import Subject, started
from benchmarks.topics import Broker
from benchmarks.turn import Plan, Turn, costs_of, figures_of, rates_of, take_turn, wrongs_of

COALESCED = Plan("member, 1000 ms", {"publish_interval_ms": 1000})
WARM_UP_S = 10.0  # a JVM compiles meanwhile
SHOWN = ("session_id", "product_id", "last_seen_at", "action_count", "context")  # of a session, by all of them


def installed() -> tuple[list[Peer], list[str]]:
    """The peers that can run here, and the names of those that cannot."""
    here = [peer for peer in PEERS if peer.is_installed()]
    return here, [peer.name for peer in PEERS if peer not in here]


def throughput(broker: Broker, steps: Steps, *, payloads: int, users: int, rounds: int) -> Result:
    """Fill a topic once; in each round everybody works it off."""
    peers, missing = installed()
    turns: dict[str, list[Turn]] = {name: [] for name in (PASSTHROUGH, COALESCED.name, *(peer.name for peer in peers))}
    load = skewed_crowd(payloads, users, end=time.time())
    with loaded_topic(broker, steps, "peers", load, payloads) as loaded:
        for number in range(rounds):
            doing = f"peers: round {number + 1} of {rounds}"
            for plan in (Plan(PASSTHROUGH), COALESCED):
                turns[plan.name].append(take_turn(broker, steps, loaded, plan, f"{doing}, {plan.name}"))
            for peer in peers:
                turns[peer.name].append(_turn(broker, steps, loaded, peer, f"{doing}, {peer.name}"))
        facts: dict[str, Any] = {**loaded.facts, "not_installed_here": ", ".join(missing) or "none"}
    return _throughput_result(turns, peers, facts)


def _turn(broker: Broker, steps: Steps, loaded: LoadedTopic, peer: Peer, doing: str) -> Turn:
    with broker.topic(f"{loaded.name}-out") as output_topic:
        subject = peer.subject(broker.bootstrap_servers, loaded.name, output_topic)
        try:
            with steps.step(doing, loaded.count) as note, started(subject) as running:
                cost = work_off(broker, running, loaded.count, note)
                running.stop()
            with steps.step(f"{doing}: checking its records"):
                output = read_output(broker, output_topic)
            wrong = tuple([f"{peer.name}: {mistake}" for mistake in session_mistakes(loaded.fold, output.newest)])
            return Turn(cost, output.records / loaded.count, output.size_bytes / loaded.count, wrong)
        finally:
            broker.delete(subject.own_topics, subject.group_id)


def session_mistakes(fold: Fold, newest: Mapping[str, bytes | None]) -> list[str]:
    """Where the sessions in the newest records are not what the fold says. Peers do not expire users."""
    wrong = []
    for user_id in fold.users:
        record = fold.record(user_id, fold.newest(user_id))
        assert record is not None
        expected = [{name: session[name] for name in SHOWN} for session in record["sessions"]]
        value = newest.get(user_id)
        sessions = [] if value is None else orjson.loads(value)["sessions"]
        if [{name: session.get(name) for name in SHOWN} for session in sessions] != expected:
            wrong.append(f"{user_id}: expected {str(expected)[:300]}, got {str(sessions)[:300]}")
    return wrong if len(wrong) <= 1 else [f"{len(wrong)} of {len(fold.users)} users are wrong, the first: {wrong[0]}"]


def _throughput_result(turns: Mapping[str, list[Turn]], peers: Sequence[Peer], facts: dict[str, Any]) -> Result:
    whole = {name: costs_of(name, "whole run", of, lambda cost: cost.whole_us) for name, of in turns.items()}
    steady = {name: costs_of(name, "steady", of, lambda cost: cost.steady_us) for name, of in turns.items()}
    ours = COALESCED.name
    ratios = [
        costs[peer.name].over(costs[ours], f"{costs[peer.name].name} / {ours}")
        for peer in peers
        for costs in (whole, steady)
    ]
    ratios += [costs[ours].over(costs[PASSTHROUGH], f"{costs[ours].name} / {PASSTHROUGH}") for costs in (whole, steady)]
    rates = [rates_of(costs[name]) for name in turns for costs in (whole, steady)]
    rest = [figure for name, of in turns.items() for figure in figures_of(name, of)]
    title = "CPU per payload, end to end, from a backlog, beside other engines"
    return Result("peers", title, tuple(ratios), (*rates, *rest), facts, wrongs_of(turns))


def latency(broker: Broker, steps: Steps, *, rate: Rate, rounds: int) -> Result:
    """At a steady rate; those that can be are tuned for latency."""
    peers, missing = installed()
    names = (PASSTHROUGH, MEMBER, *(peer.name for peer in peers))
    turns: dict[str, list[LatencyTurn]] = {name: [] for name in names}
    for number in range(rounds):
        for name, of_subject in turns.items():
            peer = next((peer for peer in peers if peer.name == name), None)
            with steps.step(f"peers: latency, round {number + 1} of {rounds}, {name}", rate.payloads) as note:
                of_subject.append(_latency_turn(broker, name, peer, rate, note))
    figures = {(name, which): latency_of(name, which, turns[name]) for name in names for which in SHARES}
    ratios = [
        figures[MEMBER, which].over(figures[name, which], f"{which}: {MEMBER} / {name}")
        for name in names
        for which in SHARES
        if name != MEMBER
    ]
    facts: dict[str, Any] = {
        "payloads_per_s": rate.per_s,
        "payloads_per_round": rate.payloads,
        "users": USERS,
        "not_installed_here": ", ".join(missing) or "none",
    }
    cpu = [cpu_of(name, of) for name, of in turns.items()]
    title = f"Latency from payload to record at {rate.per_s:g} payloads/s, beside other engines"
    return Result("peers_latency", title, tuple(ratios), (*figures.values(), *cpu), facts)


def _latency_turn(broker: Broker, name: str, peer: Peer | None, rate: Rate, note: Note) -> LatencyTurn:
    load = skewed_crowd(10**9, USERS, end=0.0)
    make, telling = forwarding(broker, name)
    if peer is not None:

        def make_peer(topic: str, run: str) -> Subject:
            return peer.subject(broker.bootstrap_servers, topic, f"{run}-out", is_for_latency=True)

        make, telling = make_peer, tells_of_record
    with ready_line(broker, make, telling, load) as (line, running):
        return send_all(line, running, load, rate, note, WARM_UP_S)
