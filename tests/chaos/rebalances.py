"""`python -m tests.chaos.rebalances`: how long partitions stand still when members come and go, by group protocol.

Two members under steady traffic on a broker of their own, first with the timeouts that each protocol has by default
(`classic`: ours; `consumer`: the broker's), then with the same for both. Told is, for the input partitions that moved
and for those that stayed, the longest pause between two of their records on the repartition topic.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median

from tests.acceptance.members import Group, Member
from tests.acceptance.topic_log import Feed, create_input_topic, read_topic
from tests.brokers import NoBrokerError
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import routed_records
from tests.soak.traffic import Crowd, Steady

PARTITIONS = 8
PER_S = 400.0
BEFORE_S = 1.0  # also looked at: the pauses of every day
AFTER_S = 2.0
ALIKE: dict[str, object] = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 1000}  # as test brokers have it
BROKER_DEFAULTS = {
    "group.consumer.session.timeout.ms": "45000",
    "group.consumer.min.session.timeout.ms": "45000",
    "group.consumer.heartbeat.interval.ms": "5000",
    "group.consumer.min.heartbeat.interval.ms": "5000",
}
TIMEOUT_S = 120.0


class Trial:
    """A group with two members, and what happens to its input partitions."""

    def __init__(self, bootstrap: str, protocol: str, timeouts: dict[str, object]) -> None:
        run = f"{protocol}-{time.time_ns()}"
        settings: dict[str, object] = {
            "bootstrap_servers": bootstrap,
            **{name: f"{run}-{name}" for name in ("group_id", "input_topic", "output_topic", "dlq_topic")},
            "group_protocol": protocol,
            **timeouts,
        }
        self._bootstrap = bootstrap
        self.group = Group(settings, Path(tempfile.mkdtemp(prefix="rebalances-")))
        create_input_topic(bootstrap, self.group.input_topic, partitions=PARTITIONS)
        self._started = 0
        self.members = [self.start(), self.start()]
        self.group.wait_for_owners(2)
        self.traffic = Steady(Feed(bootstrap, self.group.input_topic), Crowd(PARTITIONS), PER_S)
        self.traffic.start()

    def start(self) -> Member:
        self._started += 1
        return self.group.start(f"member-{self._started}")

    def owners(self) -> dict[int, str]:
        """Who has each input partition."""
        return {
            number: member
            for member, share in self.group.owned_by().items()
            for topic, number in share
            if topic == self.group.input_topic
        }

    def pauses(self, happens: Callable[[], int]) -> tuple[float, float]:
        """The longest pause of those that moved, and of those that stayed. `happens` says how many members are left."""
        before, everything = self.owners(), self.group.owned_by()
        time.sleep(BEFORE_S)
        since = time.time() - BEFORE_S
        count = happens()
        self.group.wait_for(lambda: self.group.owned_by() not in ({}, everything), "a change", timeout_s=TIMEOUT_S)
        self.group.wait_for_owners(count, timeout_s=TIMEOUT_S)
        time.sleep(AFTER_S)
        after, longest = self.owners(), self._longest(since, time.time())
        moved = [longest[number] for number in before if before[number] != after[number]]
        stayed = [longest[number] for number in before if before[number] == after[number]]
        return max(moved, default=0.0), max(stayed, default=0.0)

    def _longest(self, since: float, until: float) -> dict[int, float]:
        times: dict[int, list[float]] = defaultdict(list)
        for records in read_topic(self._bootstrap, self.group.repartition_topic).values():
            for record in routed_records(records):
                if record.source is not None and since <= record.at <= until:
                    times[record.source[0]].append(record.at)
        return {
            number: max(b - a for a, b in zip([since, *sorted(at)], [*sorted(at), until], strict=True))
            for number, at in times.items()
        }

    def close(self) -> None:
        self.traffic.stop()
        self.group.close()


def trial(bootstrap: str, protocol: str, timeouts: dict[str, object]) -> dict[str, tuple[float, float]]:
    """One of each."""
    run = Trial(bootstrap, protocol, timeouts)
    found = {}
    try:

        def join() -> int:
            run.members.append(run.start())
            return 3

        def leave() -> int:
            run.group.stop(run.members.pop(0))
            return len(run.members)

        def kill() -> int:
            run.group.crash(run.members.pop(0))
            return len(run.members)

        def restart_the_last() -> int:
            run.group.crash(run.members.pop(0))
            run.members.append(run.start())
            return 1

        for name, happens in (
            ("joins", join),
            ("leaves", leave),
            ("killed", kill),
            ("last one killed", restart_the_last),
        ):
            found[name] = run.pauses(happens)
    finally:
        run.close()
    return found


def main() -> int:
    """Prints medians of some rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for name, settings, timeouts in (("by default", BROKER_DEFAULTS, {}), ("alike", {}, ALIKE)):
        print(f"--- timeouts {name} ---", flush=True)
        measured: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        with Cluster(settings=settings) as cluster:
            for _, protocol in product(range(rounds), ("classic", "consumer")):
                for what, pauses in trial(cluster.bootstrap_servers, protocol, timeouts).items():
                    measured[protocol, what].append(pauses)
        for (protocol, what), found in measured.items():
            moved, stayed = ([each[at] for each in found] for at in (0, 1))
            print(f"{protocol:9} {what:16} moved {_told(moved)}  stayed {_told(stayed)}", flush=True)
    return 0


def _told(seconds: list[float]) -> str:
    return f"{median(seconds):5.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoBrokerError as missing:
        sys.exit(f"this needs a broker of its own, by Java and Maven: {missing}")
