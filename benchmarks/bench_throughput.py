"""How much CPU does a payload cost end to end, in multiples of what Kafka's client costs alone?

A backlog is worked off by one member (both hops, one record per changed user) and, right before it, by a bare
pass-through of the same topic. The newest record of every user is then compared with a fold of the load.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.figures import Result
from benchmarks.load import skewed_crowd
from benchmarks.loaded_topic import LoadedTopic, loaded_topic
from benchmarks.progress import Steps
from benchmarks.topics import Broker
from benchmarks.turn import PASSTHROUGH, Plan, Turn, costs_of, figures_of, rates_of, take_turn, wrongs_of

MEMBERS = (Plan("member, 1000 ms", {"publish_interval_ms": 1000}), Plan("member, defaults"))


def measure(broker: Broker, steps: Steps, *, payloads: int, users: int, rounds: int) -> Result:
    """Fill a topic once; in each round every member works it off, each after a pass-through."""
    load = skewed_crowd(payloads, users, end=time.time())
    with loaded_topic(broker, steps, "throughput", load, payloads) as loaded:
        turns: dict[str, list[Turn]] = {PASSTHROUGH: [], **{plan.name: [] for plan in MEMBERS}}
        for number in range(rounds):
            for plan in (plan for of_member in MEMBERS for plan in (Plan(PASSTHROUGH), of_member)):
                doing = f"throughput: round {number + 1} of {rounds}, {plan.name}"
                turns[plan.name].append(take_turn(broker, steps, loaded, plan, doing))
    return _result(loaded, turns)


def _result(loaded: LoadedTopic, turns: Mapping[str, list[Turn]]) -> Result:
    whole = {name: costs_of(name, "whole run", of, lambda cost: cost.whole_us) for name, of in turns.items()}
    steady = {name: costs_of(name, "steady", of, lambda cost: cost.steady_us) for name, of in turns.items()}
    ratios = [
        costs[plan.name].over(costs[PASSTHROUGH].every(len(MEMBERS), place), f"{costs[plan.name].name} / pass-through")
        for place, plan in enumerate(MEMBERS)
        for costs in (whole, steady)
    ]
    costs = [figure for name in turns for figure in (whole[name], steady[name])]
    rates = [rates_of(figure) for figure in costs]
    rest = [figure for name, of in turns.items() for figure in figures_of(name, of)]
    checked = len(loaded.fold.users) * sum(len(turns[plan.name]) for plan in MEMBERS)
    facts: dict[str, Any] = {**loaded.facts, "user_records_checked": checked}
    title = "CPU per payload, end to end, from a backlog"
    return Result("throughput", title, tuple(ratios), (*rates, *costs, *rest), facts, wrongs_of(turns))
