"""`python -m tests.soak.load`: two members at 80 % of what one sustains, and a restart of the broker in the middle.

Exit code 0 when the lag returned to zero and every payload is in the newest record of its user. What one sustains is
measured first, with the same traffic from the same process: it takes its share of the machine in both.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson

from tests.acceptance.members import Group
from tests.acceptance.records import Sent
from tests.acceptance.topic_log import Feed, create_input_topic, newest_of
from tests.brokers import MavenKafka, NoBrokerError, free_port
from tests.http_get import http_get
from tests.soak.traffic import Steady
from worker.partitioner import partition_of

PARTITIONS = 8
SHARE = 0.8
STAYS = 20  # payloads of a user, all of which their record shows
AT_ONCE = 2000  # users who act at any time
LOOKBACK_S = 3600.0  # longer than a run: nothing of it expires
PROBE_PAYLOADS = 150_000
CHUNK = 1000
MOST_AHEAD = 20_000
SAMPLE_S = 5.0
CATCH_UP_S = 120.0
PADDING = "x" * 300

VALUE = (
    '{"session_id":"s-%d","product_id":"acme","user_id":"u-%d","forwarded_at":%.3f,"actions":[{"index":%d,'
    '"type":"click","title":"' + PADDING + '","description":"%d","canonical_url":"https://app.example.com/billing"}]}'
)
BUCKET = re.compile(r'freshness_seconds_bucket\{le="([^"]+)"\} (\S+)')
PAYLOADS = re.compile(r"^user_context_worker_payloads_total (\S+)", re.MULTILINE)


class Numbered:
    """Users who do STAYS numbered things and never come again; who did how many is known."""

    def __init__(self) -> None:
        self.sent: Counter[int] = Counter()
        self._here = list(range(AT_ONCE))
        self._next = AT_ONCE
        self._turn = 0

    def records(self, count: int, now: float) -> Iterator[Sent]:
        """The next so many payloads: everybody in turn."""
        for _ in range(count):
            place, self._turn = self._turn, (self._turn + 1) % AT_ONCE
            if self.sent[self._here[place]] == STAYS:
                self._here[place], self._next = self._next, self._next + 1
            user = self._here[place]
            number, self.sent[user] = self.sent[user], self.sent[user] + 1
            key = b"s-%d" % user
            value = (VALUE % (user, user, now, number, number)).encode()
            yield Sent(partition_of(key, PARTITIONS), key, value, (), round(now * 1000))

    def missing(self, records: dict[bytes, bytes | None]) -> list[str]:
        """Users whose newest record does not say all that they did, in order."""
        return [
            f"u-{user}" for user, count in self.sent.items()
            if _numbers(records.get(b"u-%d" % user)) != list(range(count))
        ]  # fmt: skip


def _numbers(record: bytes | None) -> list[int]:
    """What a record says that its user did."""
    lines = orjson.loads(record)["sessions"][0]["context"].splitlines()[1:] if record else []
    return [int(line.split(": ", 1)[1].split(" ", 1)[0]) for line in lines]


class Run:
    """A group on topics of its own."""

    def __init__(self, bootstrap: str, members: int) -> None:
        run = uuid.uuid4().hex[:8]
        names = ("group_id", "input_topic", "output_topic", "dlq_topic")
        settings = {name: f"load-{run}-{name}" for name in names}
        self.group = Group(
            {"bootstrap_servers": bootstrap, **settings, "lookback_seconds": LOOKBACK_S},
            Path(tempfile.mkdtemp(prefix="load-")),
        )
        create_input_topic(bootstrap, self.group.input_topic, partitions=PARTITIONS)
        self.feed = Feed(bootstrap, self.group.input_topic)
        self.traffic = Numbered()
        self._ports = [free_port() for _ in range(members)]
        for number, port in enumerate(self._ports):
            self.group.start(f"member-{number}", http_address=f"127.0.0.1:{port}")
        self.group.wait_for_owners(members)

    def payloads(self) -> float:
        """How many were read."""
        return sum(float(found) for page in self._pages() for found in PAYLOADS.findall(page))

    def freshness(self) -> Counter[float]:
        """How many records were at most as old as each bound, so far."""
        buckets: Counter[float] = Counter()
        for page in self._pages():
            buckets.update({float(bound): int(float(count)) for bound, count in BUCKET.findall(page)})
        return buckets

    def _pages(self) -> list[str]:
        return [http_get(port, "/metrics")[1] for port in self._ports]

    def catch_up(self) -> float:
        """Seconds until nothing is left to do."""
        began = time.monotonic()
        self.feed.flush()
        self.group.wait_for(lambda: not self.group.lag(), "lag zero", timeout_s=CATCH_UP_S)
        return time.monotonic() - began

    def everything_is_there(self, bootstrap: str) -> bool:
        """Whether each user's newest record tells all of it; says so."""
        missing = self.traffic.missing(newest_of(bootstrap, self.group.output_topic))
        print(f"{self.traffic.sent.total()} payloads of {len(self.traffic.sent)} users: {len(missing)} users lack some")
        print("\n".join(missing[:5]))
        return not missing


def quantile(share: float, buckets: Counter[float]) -> float:
    """By interpolation within the bucket, as Prometheus does it; seconds."""
    wanted, below, least = share * max(buckets.values()), 0, 0.0
    for bound in sorted(buckets):
        if buckets[bound] >= wanted:
            inside = buckets[bound] - below
            return least if bound == float("inf") else least + (bound - least) * (wanted - below) / max(1, inside)
        below, least = buckets[bound], bound
    return least


def sustained(bootstrap: str) -> float:
    """Payloads a second that one member works off, both stages, while as many more are sent."""
    run = Run(bootstrap, 1)
    try:
        began, sent = time.monotonic(), 0
        while sent < PROBE_PAYLOADS:
            if sent - run.payloads() > MOST_AHEAD:
                time.sleep(0.05)
                continue
            run.feed.send(run.traffic.records(CHUNK, time.time()))
            sent += CHUNK
        run.catch_up()
        return sent / (time.monotonic() - began)
    finally:
        run.group.close()


def load(kafka: MavenKafka, minutes: float, per_s: float) -> bool:
    """Whether the lag returned to zero and nothing is lost."""
    run = Run(kafka.bootstrap_servers, 2)
    steady = Steady(run.feed, run.traffic, per_s)
    try:
        steady.start()
        before = _watch(run, steady, minutes * 30)
        began = time.monotonic()
        kafka.restart()
        print(f"the broker was restarted within {time.monotonic() - began:.1f} s", flush=True)
        run.group.reconnect()
        after = _watch(run, steady, minutes * 30)
        steady.stop()
        left = run.catch_up()
        print(f"lag zero {left:.1f} s after the last payload")
        for name, buckets in (("before the restart", before), ("from the restart on", after - before)):
            print(f"freshness {name}: " + ", ".join(f"p{share * 100:g} {quantile(share, buckets):.3f} s"
                                                    for share in (0.5, 0.9, 0.99)))  # fmt: skip
        return run.everything_is_there(kafka.bootstrap_servers)
    finally:
        run.group.close()


def _watch(run: Run, steady: Steady, seconds: float) -> Counter[float]:
    """Says how it goes; the freshness in the end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(SAMPLE_S)
        gone = [member.tail() for member in run.group.members if member.exit_code is not None]
        assert not gone, gone
        print(f"sent {steady.sent}, read {run.payloads():.0f}", flush=True)
    return run.freshness()


def main() -> int:
    """Exit code 0 = all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.load", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    asked = parser.parse_args()
    try:
        with MavenKafka() as kafka:
            bootstrap = kafka.start()
            per_s = sustained(bootstrap)
            print(f"one member sustains {per_s:.0f} payloads/s; two get {SHARE * per_s:.0f}", flush=True)
            return int(not load(kafka, asked.minutes, SHARE * per_s))
    except NoBrokerError as missing:
        sys.exit(f"no Kafka of its own, which it could restart: {missing}")


if __name__ == "__main__":
    sys.exit(main())
