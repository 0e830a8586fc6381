"""`python -m tests.soak`: members under steady traffic. Exit code 0 when memory, descriptors and lag stayed flat.

A verdict begins after the warm-up, in which everything that is remembered for a time is remembered for the first time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from pathlib import Path

from tests.acceptance.members import Group, Member
from tests.acceptance.topic_log import Feed, create_input_topic, delete_topics
from tests.brokers import HOW_TO_GET_ONE, NoBrokerError, find_broker
from tests.soak.flatness import Criterion, Sample
from tests.soak.traffic import Crowd, Steady

PARTITIONS = 4
LOOKBACK_S, LINK_S = 10.0, 20.0  # short, so that everybody is forgotten many times within the run
WARM_UP_S = 60.0
SAMPLE_S = 3.0
SHOWN_EVERY = 10

MEMORY = Criterion("memory", "MB", share=0.02, least=2.0)
DESCRIPTORS = Criterion("file descriptors", "", share=0.0, least=2.0)


def lag(per_s: float) -> Criterion:
    """It goes up and down with every commit, between nothing and a second of traffic on both topics."""
    return Criterion("lag", "records", share=0.5, least=2 * per_s)


def resident_mb(pid: int) -> float:
    """What a process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors(pid: int) -> int:
    """How many files and connections a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Soak:
    """The samples of a run."""

    def __init__(self, group: Group, members: list[Member]) -> None:
        self.series: dict[str, list[Sample]] = defaultdict(list)
        self._group = group
        self._members = members
        self._began = time.monotonic()

    @property
    def passed_s(self) -> float:
        return time.monotonic() - self._began

    def sample(self) -> None:
        """Fails when a member is gone."""
        for member in self._members:
            assert member.exit_code is None, member.tail()
            self._note(f"memory of {member.name}", resident_mb(member.process.pid))
            self._note(f"file descriptors of {member.name}", descriptors(member.process.pid))
        self._note("lag", sum(self._group.lag().values()))

    def _note(self, name: str, value: float) -> None:
        self.series[name].append(Sample(self.passed_s, value))

    def now(self) -> str:
        return ", ".join(f"{name} {samples[-1].value:.0f}" for name, samples in self.series.items())

    def verdicts(self, per_s: float) -> dict[str, bool]:
        """What is flat, and what is not, with the line that says so."""
        found = {}
        for name, samples in self.series.items():
            kinds = {"memory": MEMORY, "file": DESCRIPTORS, "lag": lag(per_s)}
            criterion = kinds[name.split()[0]]
            warm = [sample for sample in samples if sample.at >= WARM_UP_S]
            found[criterion.verdict(warm).replace(criterion.what, name, 1)] = criterion.is_flat(warm)
        return found


def soak(bootstrap: str, minutes: float, members: int, per_s: float) -> bool:
    """Whether everything stayed flat."""
    run = uuid.uuid4().hex[:8]
    settings: dict[str, object] = {
        "bootstrap_servers": bootstrap,
        **{name: f"soak-{run}-{name}" for name in ("group_id", "input_topic", "output_topic", "dlq_topic")},
        "lookback_seconds": LOOKBACK_S,
        "link_retention_s": LINK_S,
    }
    group = Group(settings, Path(tempfile.mkdtemp(prefix="soak-")))
    create_input_topic(bootstrap, group.input_topic, partitions=PARTITIONS)
    steady = Steady(Feed(bootstrap, group.input_topic), Crowd(PARTITIONS), per_s)
    try:
        started = [group.start(f"member-{number}") for number in range(members)]
        group.wait_for_owners(members)
        steady.start()
        watched = Soak(group, started)
        while watched.passed_s < minutes * 60:
            time.sleep(SAMPLE_S)
            watched.sample()
            if len(watched.series["lag"]) % SHOWN_EVERY == 0:
                print(f"{watched.passed_s:6.0f} s  {watched.now()}", flush=True)
        steady.stop()
        verdicts = watched.verdicts(per_s)
        print(f"{steady.sent} records in {watched.passed_s:.0f} s, the first {WARM_UP_S:.0f} s are the warm-up")
        print("\n".join(verdicts))
        return all(verdicts.values())
    finally:
        group.close()
        topics = (group.input_topic, group.repartition_topic, group.output_topic, group.dlq_topic)
        with contextlib.suppress(Exception):
            delete_topics(bootstrap, topics)


def main() -> int:
    """Exit code 0 = flat."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--rate", type=float, default=500.0, help="records a second")
    asked = parser.parse_args()
    if asked.minutes * 60 <= WARM_UP_S:
        parser.error(f"the warm-up alone takes {WARM_UP_S:.0f} s")
    try:
        with find_broker() as broker:
            print(f"Kafka at {broker.bootstrap_servers} ({broker.origin})", flush=True)
            return int(not soak(broker.bootstrap_servers, asked.minutes, asked.members, asked.rate))
    except NoBrokerError as missing:
        sys.exit(f"no Kafka: {missing}; {HOW_TO_GET_ONE}")


if __name__ == "__main__":
    sys.exit(main())
