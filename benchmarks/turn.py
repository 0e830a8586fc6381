"""One subject works a loaded topic off once: a member or more of the worker, or the bare pass-through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.backlog import STEADY_FROM, Cost, work_off
from benchmarks.figures import Figure
from benchmarks.loaded_topic import LoadedTopic, mistakes, read_output
from benchmarks.progress import Note, Steps
from benchmarks.subjects import Running, Subject, Team, member, passthrough, started
from benchmarks.topics import Broker

PASSTHROUGH = "pass-through"
# The load is as old as it is long: to expire users by the wall clock is off, as for every back-fill of old topics.
BACKFILL: Mapping[str, object] = {"expire_idle_users": "false"}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one subject cost in one round, and what it wrote."""

    cost: Cost
    records_per_payload: float
    bytes_per_payload: float
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Who works, and from which share of the payloads on it counts as steady."""

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)
    members: int = 1
    steady_from: float = STEADY_FROM


def take_turn(broker: Broker, steps: Steps, loaded: LoadedTopic, plan: Plan, doing: str) -> Turn:
    """Work the topic off, and check what came out.

    Raises:
        SubjectFailed: somebody ended, or was not done in time.
    """
    if plan.name == PASSTHROUGH:
        return _through(broker, steps, loaded, plan, doing)
    subject = member(plan.name, broker.bootstrap_servers, loaded.name, **BACKFILL, **plan.settings)
    try:
        with steps.step(doing, loaded.count) as note:
            cost = cost_of_members(broker, loaded, subject, plan, note)
        with steps.step(f"{doing}: checking its records"):
            return checked(broker, loaded, subject, cost)
    finally:
        broker.delete(subject.own_topics, subject.group_id)


def _through(broker: Broker, steps: Steps, loaded: LoadedTopic, plan: Plan, doing: str) -> Turn:
    with broker.topic(f"{loaded.name}-out") as output:
        subject = passthrough(plan.name, broker.bootstrap_servers, (loaded.name, output))
        try:
            with steps.step(doing, loaded.count) as note, started(subject) as running:
                cost = work_off(broker, running, loaded.count, note, steady_from=plan.steady_from)
                running.stop()
            records = sum(broker.ends(output))
            is_right = records == loaded.count
            wrong = () if is_right else (f"{plan.name}: {records} records for {loaded.count} payloads",)
            return Turn(cost, records / loaded.count, loaded.size_bytes / loaded.count, wrong)
        finally:
            broker.delete((), subject.group_id)


def cost_of_members(broker: Broker, loaded: LoadedTopic, subject: Subject, plan: Plan, note: Note) -> Cost:
    """Start as many members as the plan says, let them work everything off, and stop them."""
    with ExitStack() as stack:
        team = [stack.enter_context(started(subject)) for _ in range(plan.members)]
        cost = work_off(
            broker,
            Team(team),
            loaded.count,
            note,
            steady_from=plan.steady_from,
            is_settled=lambda: all(owns_something(each) for each in team),
        )
        for each in team:
            each.stop()
        return cost


def owns_something(running: Running) -> bool:
    """Whether it has been given partitions."""
    return "assigned bench-" in running.log


def checked(broker: Broker, loaded: LoadedTopic, subject: Subject, cost: Cost) -> Turn:
    """Whether every user's newest record is right, and nothing was sent twice or buried."""
    output = read_output(broker, subject.output)
    wrong = mistakes(loaded.fold, output.newest)
    _, repartition = subject.hops
    for topic, most in ((repartition, loaded.count), (subject.own_topics[-1], 0)):
        held = sum(broker.ends(topic))
        if held > most:
            wrong.append(f"{topic} holds {held} records, expected {most} at most")
    wrong = [f"{subject.name}: {mistake}" for mistake in wrong]
    return Turn(cost, output.records / loaded.count, output.size_bytes / loaded.count, tuple(wrong))


def figures_of(name: str, turns: list[Turn]) -> Iterator[Figure]:
    """What is worth knowing of all rounds of a subject."""
    yield Figure(f"{name}: wall time", "s", tuple([turn.cost.wall_s for turn in turns]))
    yield Figure(f"{name}: peak memory", "MB", tuple([turn.cost.peak_rss_bytes / 1e6 for turn in turns]), digits=0)
    if name != PASSTHROUGH:
        yield Figure(f"{name}: published", "records / payload", tuple([t.records_per_payload for t in turns]), digits=2)
        yield Figure(f"{name}: published", "bytes / payload", tuple([t.bytes_per_payload for t in turns]), digits=0)


def rates_of(cost: Figure) -> Figure:
    """Microseconds of CPU per payload as payloads per CPU second."""
    return Figure(cost.name, "payloads / CPU s", tuple([1e6 / value for value in cost.values]), digits=0)


def costs_of(name: str, which: str, turns: list[Turn], cost: Callable[[Cost], float]) -> Figure:
    """One kind of cost of all rounds of a subject, in microseconds of CPU per payload."""
    return Figure(f"{name}: {which}", "µs CPU", tuple([cost(turn.cost) for turn in turns]))


def wrongs_of(turns: Mapping[str, list[Turn]]) -> tuple[str, ...]:
    """All that was wrong in any round."""
    return tuple([mistake for of in turns.values() for turn in of for mistake in turn.wrong])
