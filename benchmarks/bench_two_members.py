"""What does a second member add to the CPU per payload?

A backlog is worked off by one member, then by a group of two, each after a pass-through of the same topic. "Steady"
begins when both own partitions: that the second one joins a group at work, and restores what it takes over, is in
the whole run.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.figures import Result
from benchmarks.load import skewed_crowd
from benchmarks.loaded_topic import loaded_topic
from benchmarks.progress import Steps
from benchmarks.topics import Broker
from benchmarks.turn import PASSTHROUGH, Plan, Turn, costs_of, figures_of, take_turn, wrongs_of

COALESCED = {"publish_interval_ms": 1000}
ONE, TWO = Plan("one member", COALESCED), Plan("two members", COALESCED, members=2)


def measure(broker: Broker, steps: Steps, *, payloads: int, users: int, rounds: int) -> Result:
    """Fill a topic once; in each round one member works it off, then two."""
    load = skewed_crowd(payloads, users, end=time.time())
    turns: dict[str, list[Turn]] = {PASSTHROUGH: [], ONE.name: [], TWO.name: []}
    with loaded_topic(broker, steps, "two_members", load, payloads) as loaded:
        for number in range(rounds):
            for plan in (Plan(PASSTHROUGH), ONE, TWO):
                doing = f"two_members: round {number + 1} of {rounds}, {plan.name}"
                turns[plan.name].append(take_turn(broker, steps, loaded, plan, doing))
        facts: dict[str, Any] = dict(loaded.facts)
    whole = {name: costs_of(name, "whole run", of, lambda cost: cost.whole_us) for name, of in turns.items()}
    steady = {name: costs_of(name, "steady", of, lambda cost: cost.steady_us) for name, of in turns.items()}
    ratios = [
        costs[mine].over(costs[other], f"{costs[mine].name} / {other}")
        for mine, other in ((TWO.name, ONE.name), (ONE.name, PASSTHROUGH), (TWO.name, PASSTHROUGH))
        for costs in (whole, steady)
    ]
    figures = [figure for name in turns for figure in (whole[name], steady[name])]
    rest = [figure for name, of in turns.items() for figure in figures_of(name, of)]
    title = "CPU per payload, two members instead of one"
    return Result("two_members", title, tuple(ratios), (*figures, *rest), facts, wrongs_of(turns))
