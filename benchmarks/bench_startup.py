"""How long from the start of the process until a member runs, with nothing to restore?

The group has been here before: topics exist, offsets are committed at the end. A member runs when it has partitions and
nothing of them is to be restored; the pass-through, when it has partitions.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

from benchmarks.figures import Figure, Result
from benchmarks.progress import Steps
from benchmarks.subjects import Running, Subject, member, passthrough, started
from benchmarks.topics import Broker, wait_until

PASSTHROUGH, MEMBER = "pass-through", "member"
TIMEOUT_S = 60.0
POLL_S = 0.005
COMMITTED_S = 1.5  # the first checkpoint


def measure(broker: Broker, steps: Steps, *, rounds: int) -> Result:
    """By turns, a start of each in every round. What starts first only makes the topics and joins once."""
    walls: dict[str, list[float]] = {PASSTHROUGH: [], MEMBER: []}
    cpus: dict[str, list[float]] = {PASSTHROUGH: [], MEMBER: []}
    with ExitStack() as stack:
        run = f"bench-{uuid4().hex[:8]}"
        topic, output = (stack.enter_context(broker.topic(f"{run}-{which}")) for which in ("in", "out"))
        subjects = (
            passthrough(PASSTHROUGH, broker.bootstrap_servers, (topic, output)),
            member(MEMBER, broker.bootstrap_servers, topic),
        )
        for subject in subjects:
            stack.callback(broker.delete, subject.own_topics, subject.group_id)
            with steps.step(f"startup: the first start of {subject.name}"):
                _start(subject, idle_s=COMMITTED_S)
        with steps.step(f"startup: {rounds} starts of each", rounds) as note:
            for number in range(rounds):
                for subject in subjects:
                    wall_s, cpu_s = _start(subject)
                    walls[subject.name].append(wall_s)
                    cpus[subject.name].append(cpu_s)
                note(number + 1)
    seconds = {name: Figure(f"{name}: start to running", "s", tuple(of), digits=2) for name, of in walls.items()}
    cpu = [Figure(f"{name}: until then", "s CPU", tuple(of), digits=2) for name, of in cpus.items()]
    ratio = seconds[MEMBER].over(seconds[PASSTHROUGH], f"{MEMBER} / {PASSTHROUGH}")
    facts: dict[str, Any] = {"starts": rounds}
    return Result("startup", "Start to running with nothing to restore", (ratio,), (*seconds.values(), *cpu), facts)


def _start(subject: Subject, *, idle_s: float = 0.0) -> tuple[float, float]:
    """Start and stop it; seconds until it ran, and the CPU seconds until then."""
    began = time.monotonic()
    with started(subject) as running:
        wait_until(lambda: _runs(running), f"{subject.name} to run", timeout_s=TIMEOUT_S, poll_s=POLL_S)
        wall_s, cpu_s = time.monotonic() - began, running.usage.cpu_s
        time.sleep(idle_s)
        running.stop()
    return wall_s, cpu_s


def _runs(running: Running) -> bool:
    running.check()
    return "assigned" in running.log
