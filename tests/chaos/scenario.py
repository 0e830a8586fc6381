"""A run: a world, a schedule drawn from the seed, then quiet, then the checks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException

from tests.chaos.checks import all_wrong, recoveries
from tests.chaos.evidence import Disturbance, Evidence
from tests.chaos.nemeses import NEMESES, Nemesis
from tests.chaos.schedule import Deck, Span, Step, draw, length_s
from tests.chaos.world import Mode, Size, World

MOMENT, SHORT, LONG = Span(0.2, 0.5), Span(1.0, 4.0), Span(8.0, 11.0)  # LONG is beyond a session of six seconds
STAY = Span(5.0, 8.0)  # long enough to get partitions
OUTAGE = Span(12.0, 15.0)  # beyond the session and the delivery timeout
AFTERWARDS_S = 3.0  # traffic goes on for this long after the last nemesis


@dataclass(frozen=True, slots=True)
class Scenario:
    """What may happen, in which world."""

    name: str
    size: Size
    deck: Deck


SCENARIOS: Mapping[str, Scenario] = {
    each.name: each
    for each in (
        Scenario(
            "short",
            Size(members=2, payloads=5000),
            Deck({"kill": SHORT, "pause": LONG, "broker kill": MOMENT, "ahead": MOMENT, "reset": MOMENT}),
        ),
        Scenario(
            "members",
            Size(),
            Deck(
                {"kill": SHORT, "pause": LONG, "leave": SHORT, "join": STAY, "ahead": MOMENT, "reset": MOMENT},
                {"kill": 2, "reset": 2},
            ),
        ),
        Scenario(
            "network",
            Size(lanes=2, members=3),
            Deck({"cut": SHORT, "slow": LONG, "swallow": LONG, "kill": SHORT, "reset": MOMENT, "ahead": MOMENT}),
        ),
        Scenario(
            "broker",
            Size(),
            Deck({"broker kill": SHORT, "broker pause": LONG, "outage": OUTAGE, "leave": SHORT, "reset": MOMENT}),
        ),
        Scenario(
            "disk",
            Size(small_disk=True, members=2),
            Deck({"disk full": LONG, "kill": SHORT, "reset": MOMENT}),
        ),
        Scenario(
            "cluster",
            Size(nodes=3, members=2),
            Deck({"broker kill": LONG, "kill": SHORT, "pause": LONG, "reset": MOMENT}, {"broker kill": 2}),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    title: str
    steps: Sequence[Step]
    diary: Sequence[str]
    wrong: Mapping[str, Sequence[str]]
    measured: str = ""
    unmarked: Sequence[str] = ()  # transactions that a broker spoilt: then what is wrong may not be ours

    def __str__(self) -> str:
        schedule = "\n".join(f"  {step}" for step in self.steps)
        diary = "\n".join(f"  {line}" for line in self.diary)
        found = {**self.wrong, "transactions that a broker ended without telling their partitions": self.unmarked}
        told = "\n".join(f"{name}:\n  " + "\n  ".join(lines) for name, lines in found.items() if lines)
        return f"{self.title}\nschedule:\n{schedule}\ntimeline:\n{diary}\n{self.measured}\n{told}".rstrip()


def run(scenario: Scenario, mode: Mode, seed: str, log_dir: Path) -> Outcome:
    """One run. What breaks the run itself is an outcome, too: the timeline must be seen.

    Raises:
        CannotMountError, NoBrokerError: there is nothing to be judged.
    """
    seed_here = f"{seed}/{scenario.name}/{mode}"
    steps = draw(seed_here, scenario.deck)
    title = f"{scenario.name} ({mode}), seed {seed}"
    world, told = World(seed_here, mode, scenario.size, log_dir), ""
    wrong: Mapping[str, Sequence[str]]
    try:
        with world:
            world.begin_traffic(length_s(steps) + AFTERWARDS_S)
            torment(world, steps)
            with stacks_told(world):
                world.wait_until_quiet()
            evidence = world.evidence()
            wrong, told = all_wrong(evidence), measured(evidence)
            world.keeps = bool(wrong)
    except (AssertionError, RuntimeError, OSError, KafkaException) as exc:
        world.note(f"broken off: {type(exc).__name__}")
        wrong = {"the run": [str(exc)]}
    return Outcome(title, steps, world.diary, wrong, told, world.unmarked)


@contextlib.contextmanager
def stacks_told(world: World) -> Iterator[None]:
    """Whoever hangs says where, in its log."""
    try:
        yield
    except AssertionError:
        for member in world.group.present:
            member.abort()
        raise


def torment(world: World, steps: Sequence[Step]) -> None:
    """Every step at its time; one that takes longer to begin delays the next."""
    began = time.monotonic()
    due: list[tuple[float, int, str]] = []
    for number, step in enumerate(steps):
        due += [(step.at_s, number, "begin"), (step.until_s, number, "heal")]
    at_work: dict[int, tuple[Nemesis, float]] = {}
    for at_s, number, what in sorted(due):
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        world.supervise()
        if what == "begin":
            nemesis = NEMESES[steps[number].name](world, steps[number].choice)
            at_work[number] = nemesis, time.time()
            world.note(nemesis.begin())
            world.at_work += 1
        else:
            nemesis, since = at_work.pop(number)
            if told := nemesis.heal():
                world.note(told)
            world.at_work -= 1
            world.disturbances.append(Disturbance(steps[number].name, since, time.time(), nemesis.crashes))


def measured(evidence: Evidence) -> str:
    """The times, for people."""
    recovered = ", ".join(
        f"{name} {'overtaken' if seconds is None else f'{seconds:.1f} s'}" for name, seconds in recoveries(evidence)
    )
    ended = ", ".join(f"{shutdown.seconds:.1f} s" for shutdown in evidence.shutdowns)
    return f"recovered after: {recovered}\nmembers ended after: {ended}"
