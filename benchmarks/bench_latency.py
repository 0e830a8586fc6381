"""How long from a payload to the record that holds it, at a steady rate and with default settings?

Payloads are sent one by one to a member, and by turns to a bare pass-through of two hops on the same broker. One thread
sends and receives, with one clock; a payload has arrived with the first record whose session was seen at its event time
or later.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from benchmarks.arrivals import Arrivals, Sent
from benchmarks.figures import Figure, Result, percentile
from benchmarks.load import Payload, skewed_crowd
from benchmarks.progress import Note, Steps
from benchmarks.subjects import Running, Subject, SubjectFailed, member, passthrough, started
from benchmarks.topics import PARTITIONS, Broker, Feed, wait_until

PASSTHROUGH = "pass-through"
MEMBER = "member, defaults"
USERS = 5000
READY_PAYLOADS = 64  # enough sessions for every partition
READY_TIMEOUT_S = 60.0
ARRIVAL_TIMEOUT_S = 20.0
WARM_UP_S = 2.0
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
FORWARDED_AT = b'"forwarded_at":'


@dataclass(frozen=True, slots=True)
class Rate:
    """How many payloads are measured, and how many are sent in a second."""

    payloads: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One subject in one round."""

    latencies_ms: list[float]
    cpu_share: float


def measure(broker: Broker, steps: Steps, *, rate: Rate, rounds: int) -> Result:
    """Let every subject forward the same payloads in each round."""
    turns: dict[str, list[Turn]] = {PASSTHROUGH: [], MEMBER: []}
    for number in range(rounds):
        for name, of_subject in turns.items():
            with steps.step(f"latency: round {number + 1} of {rounds}, {name}", rate.payloads) as note:
                of_subject.append(_turn(broker, name, rate, note))
    return _result(rate, turns)


def _turn(broker: Broker, name: str, rate: Rate, note: Note) -> Turn:
    run = f"bench-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        topic = stack.enter_context(broker.topic(f"{run}-in"))
        if name == MEMBER:
            subject = member(name, broker.bootstrap_servers, topic)
        else:
            others = [stack.enter_context(broker.topic(f"{run}-{hop}")) for hop in ("between", "out")]
            subject = passthrough(name, broker.bootstrap_servers, (topic, *others), flush=True)
        stack.callback(broker.delete, subject.own_topics, subject.group_id)
        running = stack.enter_context(started(subject))
        wait_until(lambda: _has_output(broker, running), f"the output topic of {name}", timeout_s=READY_TIMEOUT_S)
        with Line(broker, subject, tells_of_record if name == MEMBER else tells_of_payload) as line:
            turn = _send_all(line, running, rate, note)
        running.stop()
        return turn


def _has_output(broker: Broker, running: Running) -> bool:
    running.check()
    return running.subject.output in broker.topics()


def _send_all(line: Line, running: Running, rate: Rate, note: Note) -> Turn:
    load = skewed_crowd(10**9, USERS, end=0.0)  # the times are made when they are sent
    line.send(itertools.islice(load, READY_PAYLOADS), "ready", 0.0)
    line.wait(READY_TIMEOUT_S, running.check)
    line.send(itertools.islice(load, int(WARM_UP_S * rate.per_s)), "warm up", 1 / rate.per_s)
    before, began = running.usage.cpu_s, time.monotonic()
    line.send(itertools.islice(load, rate.payloads), "measured", 1 / rate.per_s, note)
    cpu_share = (running.usage.cpu_s - before) / (time.monotonic() - began)
    line.wait(ARRIVAL_TIMEOUT_S, running.check)
    if line.arrivals.waiting:
        raise SubjectFailed(f"{running.subject.name}: {line.arrivals.waiting} payloads did not arrive")
    return Turn(line.arrivals.latencies_ms("measured"), cpu_share)


Telling = Callable[[bytes], Iterator[tuple[str, float]]]


def tells_of_record(value: bytes) -> Iterator[tuple[str, float]]:
    """The sessions of a user's record, each with its last event time."""
    for session in orjson.loads(value)["sessions"]:
        yield session["session_id"], session["last_seen_at"]


def tells_of_payload(value: bytes) -> Iterator[tuple[str, float]]:
    """The session of a payload that came through as it was, with its event time."""
    document = orjson.loads(value)
    yield document["session_id"], document["forwarded_at"]


class Line:
    """Sends payloads into one end of a subject and reads what comes out of the other. One thread, one clock."""

    def __init__(self, broker: Broker, subject: Subject, telling: Telling) -> None:
        self.arrivals = Arrivals()
        self._telling = telling
        self._feed = Feed(broker.bootstrap_servers, subject.hops[0], linger_ms=0)
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "group.id": "benchmarks-read-without-a-group",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "log_level": 0,
            }
        )
        self._consumer.assign(
            [TopicPartition(subject.output, number, OFFSET_BEGINNING) for number in range(PARTITIONS)]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._consumer.close()

    def send(self, payloads: Iterator[Payload], phase: str, interval_s: float, note: Note | None = None) -> None:
        """Send one payload every `interval_s`; what comes out meanwhile is taken in."""
        began = time.monotonic()
        for number, payload in enumerate(payloads):
            due = began + number * interval_s
            while (left := due - time.monotonic()) > 0:
                self._receive(left)
            now = time.time()
            self.arrivals.sent(payload.session_id, Sent(now, time.monotonic(), phase))
            self._feed.send(payload.key, happening_at(payload.value, now), now)
            if note is not None and number % 20 == 0:
                note(number)

    def wait(self, timeout_s: float, check: Callable[[], None]) -> None:
        """Take in what comes out until everything has arrived, or the time is up."""
        deadline = time.monotonic() + timeout_s
        while self.arrivals.waiting and time.monotonic() < deadline:
            check()
            self._receive(0.05)

    def _receive(self, timeout_s: float) -> None:
        message = self._consumer.poll(timeout_s)
        if message is not None:
            self._arrived(message, time.monotonic())

    def _arrived(self, message: Message, now: float) -> None:
        error, value = message.error(), message.value()
        if error is not None:
            raise KafkaException(error)
        for session_id, event_time in self._telling(value) if value else ():
            self.arrivals.seen(session_id, event_time, now)


def happening_at(value: bytes, time_: float) -> bytes:
    """A payload with another event time: the last field of the load's payloads."""
    head, field, _ = value.rpartition(FORWARDED_AT)
    return head + field + orjson.dumps(time_) + b"}"


def _result(rate: Rate, turns: dict[str, list[Turn]]) -> Result:
    figures = {
        (name, which): Figure(
            f"{name}: {which}", "ms", tuple([percentile(turn.latencies_ms, share) for turn in of]), digits=2
        )
        for name, of in turns.items()
        for which, share in SHARES.items()
    }
    ratios = [
        figures[MEMBER, which].over(figures[PASSTHROUGH, which], f"{which}: member / pass-through") for which in SHARES
    ]
    cpu = [
        Figure(f"{name}: CPU", "% of a core", tuple([100 * turn.cpu_share for turn in of]))
        for name, of in turns.items()
    ]
    facts: dict[str, Any] = {"payloads_per_s": rate.per_s, "payloads_per_round": rate.payloads, "users": USERS}
    title = f"Latency from payload to record at {rate.per_s:g} payloads/s"
    return Result("latency", title, tuple(ratios), (*figures.values(), *cpu), facts)
