"""Payloads into one end of a subject, records out of the other: one thread and one clock for both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import NamedTuple, Self
from uuid import uuid4

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from benchmarks.arrivals import Arrivals, Sent
from benchmarks.load import Payload
from benchmarks.progress import Note
from benchmarks.subjects import Running, Subject, SubjectFailed, started
from benchmarks.topics import PARTITIONS, Broker, Feed, wait_until

READY_PAYLOADS = 64  # enough sessions for every partition
READY_TIMEOUT_S = 60.0
FORWARDED_AT = b'"forwarded_at":'
LEAST_WAIT_S = 0.001  # at a high rate some are sent together: waiting for each takes the CPU that the others need

Watched = Callable[[bytes], bool]
Telling = Callable[[bytes], Iterator[tuple[str, float]]]


class Due(NamedTuple):
    """A payload, when it is to be sent (seconds from the beginning), and the phase its latency counts for."""

    at_s: float
    payload: Payload
    phase: str


def user_number(key: bytes) -> bytes:
    """Whose a record is: its key names the user or the session of the load."""
    return key.split(b"_")[1]


def everybody(_key: bytes) -> bool:
    """Watches every user."""
    return True


def at_rate(payloads: Iterable[Payload], per_s: float, phase: str) -> Iterator[Due]:
    """One after the other, evenly. A rate of 0 is all at once."""
    interval_s = 1 / per_s if per_s else 0.0
    for number, payload in enumerate(payloads):
        yield Due(number * interval_s, payload, phase)


def tells_of_record(value: bytes) -> Iterator[tuple[str, float]]:
    """The sessions of a user's record, each with its last event time."""
    for session in orjson.loads(value)["sessions"]:
        yield session["session_id"], session["last_seen_at"]


def tells_of_payload(value: bytes) -> Iterator[tuple[str, float]]:
    """The session of a payload that came through as it was, with its event time."""
    document = orjson.loads(value)
    yield document["session_id"], document["forwarded_at"]


class Line:
    """Sends and receives. `is_watched` says of a key, a session's or a user's, whether latencies are taken: to look
    into a record takes longer than to receive it. `linger_ms`: the sender's; 0 sends each payload at once."""

    def __init__(
        self,
        broker: Broker,
        subject: Subject,
        telling: Telling,
        is_watched: Watched = everybody,
        *,
        linger_ms: float = 0,
    ) -> None:
        self.arrivals = Arrivals()
        self._telling = telling
        self.is_watched = is_watched
        self._feed = Feed(broker.bootstrap_servers, subject.hops[0], linger_ms=linger_ms)
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "group.id": "benchmarks-read-without-a-group",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "fetch.queue.backoff.ms": 1,
                "log_level": 0,
            }
        )
        self._consumer.assign(
            [TopicPartition(subject.output, number, OFFSET_BEGINNING) for number in range(PARTITIONS)]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Receive nothing any more."""
        self._consumer.close()

    def send(self, due: Iterable[Due], note: Note | None = None) -> float:
        """Send each payload when it is due; what comes out meanwhile is taken in. How late the last one was, seconds:
        more than a moment means that this process could not keep up."""
        began = time.monotonic()
        late_s = 0.0
        for number, (at_s, payload, phase) in enumerate(due):
            while (left := began + at_s - time.monotonic()) > 0:
                self._receive(max(left, LEAST_WAIT_S))
            late_s = -left
            if late_s and number % 20 == 0:
                self._receive(0)
            now = time.time()
            if self.is_watched(payload.key):
                self.arrivals.sent(payload.session_id, Sent(now, time.monotonic(), phase))
            self._feed.send(payload.key, happening_at(payload.value, now), now)
            if note is not None and number % 20 == 0:
                note(number)
        return late_s

    def wait(self, timeout_s: float, check: Callable[[], None]) -> None:
        """Take in what comes out until everything has arrived, or the time is up."""
        deadline = time.monotonic() + timeout_s
        while self.arrivals.waiting and time.monotonic() < deadline:
            check()
            self._receive(0.05)

    def _receive(self, timeout_s: float) -> None:
        message = self._consumer.poll(timeout_s)
        if message is None:
            return
        self._arrived(message, time.monotonic())
        for each in self._consumer.consume(500, 0):
            self._arrived(each, time.monotonic())

    def _arrived(self, message: Message, now: float) -> None:
        error, value = message.error(), message.value()
        if error is not None:
            raise KafkaException(error)
        if value and self.is_watched(message.key() or b""):
            for session_id, event_time in self._telling(value):
                self.arrivals.seen(session_id, event_time, now)


def happening_at(value: bytes, time_: float) -> bytes:
    """A payload with another event time: the last field of the load's payloads."""
    head, field, _ = value.rpartition(FORWARDED_AT)
    return head + field + orjson.dumps(time_) + b"}"


@contextmanager
def ready_line(
    broker: Broker,
    make_subject: Callable[[str, str], Subject],
    telling: Telling,
    ready: Iterator[Payload],
    is_watched: Watched = everybody,
    make_line: Callable[[Broker, Subject, Telling, Watched], Line] | None = None,
) -> Iterator[tuple[Line, Running]]:
    """A subject on topics of its own, through which `ready` payloads have come on every partition.

    `make_subject` gets the name of the input topic, and one of the output topic for those that do not make their own.

    Raises:
        SubjectFailed, TimeoutError: nothing comes through.
    """
    run = f"bench-{uuid4().hex[:8]}"
    with ExitStack() as stack:
        topic = stack.enter_context(broker.topic(f"{run}-in"))
        subject = make_subject(topic, run)
        for hop in (*subject.hops[1:], subject.output):
            if hop not in subject.own_topics:
                stack.enter_context(broker.topic(hop))
        stack.callback(broker.delete, subject.own_topics, subject.group_id)
        running = stack.enter_context(started(subject))
        wait_until(lambda: _has_output(broker, running), f"the output of {subject.name}", timeout_s=READY_TIMEOUT_S)
        with (make_line or Line)(broker, subject, telling, is_watched) as line:
            line.send(at_rate(_until_watched(ready, is_watched), 0, "ready"))
            line.wait(READY_TIMEOUT_S, running.check)
            if line.arrivals.waiting:
                raise SubjectFailed(f"{subject.name}: {line.arrivals.waiting} payloads did not come through")
            yield line, running
        running.stop()


def _until_watched(payloads: Iterator[Payload], is_watched: Watched) -> Iterator[Payload]:
    watched = 0
    while watched < READY_PAYLOADS:
        payload = next(payloads)
        watched += is_watched(payload.key)
        yield payload


def _has_output(broker: Broker, running: Running) -> bool:
    running.check()
    return running.subject.output in broker.topics()
