"""Does a payload cost more the more users are active?

A crowd in which every user does the same is worked off with default settings, after a pass-through of the same topic.
Measured is from the moment on when every user has done what a window holds (18 actions in 3 sessions): what comes
before only builds up the memory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures import Figure, Result, Series
from benchmarks.fold import LOOKBACK_S
from benchmarks.load import even_crowd, even_size
from benchmarks.loaded_topic import loaded_topic
from benchmarks.progress import Steps
from benchmarks.topics import Broker
from benchmarks.turn import PASSTHROUGH, Plan, Turn, costs_of, take_turn, wrongs_of

MEMBER = "member, defaults"
BURST = 2  # so that a poll batch holds every user of a small crowd twice, too, and coalesces no more than a large one's


def measure(broker: Broker, steps: Steps, *, users: Sequence[int], payloads: int, rounds: int) -> Result:
    """For each number of users, `payloads` beyond those that fill their windows."""
    turns: dict[tuple[int, str], list[Turn]] = {(count, name): [] for count in users for name in (PASSTHROUGH, MEMBER)}
    for count in users:
        total = even_size(count) + payloads
        interval_s = LOOKBACK_S / even_size(count)
        begin = time.time() - total * interval_s
        load = even_crowd(count, begin=begin, interval_s=interval_s, count=total, burst=BURST)
        with loaded_topic(broker, steps, f"growth: {count} users", load, total) as loaded:
            for number in range(rounds):
                for name in (PASSTHROUGH, MEMBER):
                    doing = f"growth: {count} users, round {number + 1} of {rounds}, {name}"
                    plan = Plan(name, steady_from=even_size(count) / total)
                    turns[count, name].append(take_turn(broker, steps, loaded, plan, doing))
    return _result(turns, users, payloads)


def _result(turns: Mapping[tuple[int, str], list[Turn]], users: Sequence[int], payloads: int) -> Result:
    costs = {
        (count, name): costs_of(f"{name}, {count:,} users", "steady", of, lambda cost: cost.steady_us)
        for (count, name), of in turns.items()
    }
    ratios = [
        costs[count, MEMBER].over(costs[count, PASSTHROUGH], f"{count:,} users / pass-through") for count in users
    ]
    fewest = costs[users[0], MEMBER]
    ratios += [costs[count, MEMBER].over(fewest, f"{count:,} users / {users[0]:,} users") for count in users[1:]]
    rest = [figure for count in users for figure in _rest(count, turns[count, MEMBER])]
    facts: dict[str, Any] = {"payloads_measured": payloads, "actions_per_user": 18, "sessions_per_user": 3}
    wrong = wrongs_of({f"{count} users": of for (count, _), of in turns.items()})
    title = "CPU per payload by the number of active users"
    series = tuple(
        [
            Series(name, tuple([{"users": count, "us_cpu": costs[count, name].median} for count in users]))
            for name in (MEMBER, PASSTHROUGH)
        ]
    )
    return Result("growth", title, tuple(ratios), (*costs.values(), *rest), facts, wrong, series)


def _rest(count: int, turns: Sequence[Turn]) -> tuple[Figure, ...]:
    published = tuple([turn.records_per_payload for turn in turns])
    memory = tuple([turn.cost.peak_rss_bytes / 1e6 for turn in turns])
    return (
        Figure(f"{count:,} users: published", "records / payload", published, digits=2),
        Figure(f"{count:,} users: peak memory", "MB", memory, digits=0),
    )
