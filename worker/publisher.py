"""The way in: payloads from an event source, such as the SDK's client, onto the input topic.

A record is keyed by its session and partitioned by murmur2, as Kafka's Java clients do it; the producer is idempotent.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Literal, Protocol, Self, cast

from schemas.encoding import ActionsLike, Unencodable, encode_payload, session_key
from worker.connections import Connections
from worker.errors import WorkerError
from worker.kafka import KafkaError, KafkaException, Message, Producer, producer_config, refuses_record, translate
from worker.settings import Settings

log = logging.getLogger(__name__)

WhenFull = Literal["wait", "drop", "raise"]

DELIVERY_TIMEOUT_MS = 120_000  # Java's default: an outage of a minute loses nothing
LONGEST_SESSION_MS = 1_800_000  # a publisher is in no group: only the broker's bound is left for its delivery timeout
SERVE_S = 0.1
FULL_WAIT_S = 0.02
SAY_AGAIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that was not delivered. `refused`: because of itself, so that sending it again is no use."""

    subject: object  # what `add` or `publish` was given
    reason: str
    refused: bool
    error: KafkaError | None = field(default=None, repr=False)  # the client's, where it was the one to say so


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """Counts since the start, and what waits for delivery now. Of `added`, the rest was delivered."""

    added: int
    waiting: int
    failed: int
    dropped: int  # because the queue was full
    without_session: int  # nobody's: there is nothing to key them by


class NotDelivered(WorkerError):
    """`failed` payloads were lost since the last flush, and `waiting` have no answer yet."""

    def __init__(self, failed: int, waiting: int, reason: str) -> None:
        super().__init__(f"{failed} payloads were not delivered, {waiting} still wait: {reason or 'no answer in time'}")
        self.failed = failed
        self.waiting = waiting


class QueueIsFull(WorkerError):
    """The broker takes less than is added; the payload was not taken."""


class Outlet(Protocol):
    """What of a producer is used."""

    def produce(
        self, topic: str, value: bytes, key: bytes, *, on_delivery: Callable[[KafkaError | None, Message], None]
    ) -> None: ...
    def poll(self, timeout: float) -> int: ...
    def flush(self, timeout: float) -> int: ...
    def __len__(self) -> int: ...


class ActionsPublisher:
    """Publishes payloads: `client.on_actions(publisher.add)`. For any threads. Close it, or use it in a `with`.

    Payloads of one session arrive in the order in which they were added, each once, as long as this publisher lives;
    what was added before a crash and not flushed may be lost. Nothing is lost silently: what is not delivered within
    `delivery.timeout.ms` (two minutes) is counted in `stats`, told to `on_failure`, and raised by the next `flush`.

    The queue holds at most 100,000 payloads or 64 MiB. When it is full, `add` waits (`when_full="wait"`), counts the
    payload as dropped ("drop"), or raises `QueueIsFull` ("raise"). `on_failure` runs on a thread of the publisher, one
    call at a time: it may `add`, not `flush` or `close`. `kafka` is any librdkafka property, e.g. `security.protocol`.

    Raises:
        pydantic.ValidationError: a property is none, or is not the caller's to set.
        WorkerError: the properties make no client.
    """

    def __init__(
        self,
        bootstrap_servers: str = "localhost:9092",
        topic: str = "autoplay.actions",
        *,
        when_full: WhenFull = "wait",
        on_failure: Callable[[Failure], object] | None = None,
        kafka: Mapping[str, str] | None = None,
    ) -> None:
        self._begin(_producer(bootstrap_servers, topic, kafka or {}), topic, when_full, on_failure)

    @classmethod
    def over(
        cls,
        producer: Outlet,
        topic: str,
        *,
        when_full: WhenFull = "wait",
        on_failure: Callable[[Failure], object] | None = None,
    ) -> Self:
        """With a producer that is made already, and that reports failures only."""
        self = cls.__new__(cls)
        self._begin(producer, topic, when_full, on_failure)
        return self

    def _begin(
        self, producer: Outlet, topic: str, when_full: WhenFull, on_failure: Callable[[Failure], object] | None
    ) -> None:
        if when_full not in ("wait", "drop", "raise"):
            raise ValueError(f"when_full must be wait, drop or raise, got {when_full!r}")
        self._producer = producer
        self._topic = topic
        self._when_full = when_full
        self._on_failure = on_failure or Complaint()
        self._lock = threading.Lock()  # of the counters
        self._telling = threading.RLock()
        self._failures: deque[Failure] = deque()
        self._added = self._failed = self._dropped = self._without_session = 0
        self._unraised = 0  # failures since the last flush, and the first of them
        self._first: Failure | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="actions-publisher", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except NotDelivered:
            if error is None:
                raise

    @property
    def stats(self) -> PublisherStats:
        with self._lock:
            return PublisherStats(self._added, len(self._producer), self._failed, self._dropped, self._without_session)

    def add(self, payload: ActionsLike) -> None:
        """Publish a payload. Returns when the queue has taken it, not when it is delivered.

        Raises:
            QueueIsFull: the queue is full, and `when_full` is "raise".
            WorkerError: the client cannot go on.
            RuntimeError: the publisher is closed.
        """
        record = self.record_of(payload)
        if record is not None:
            self.publish(*record, payload)

    def publish(self, key: bytes, value: bytes, subject: object = None) -> None:
        """As `add`, of a payload that is JSON already; `key` is its session. A `Failure` names it by its `subject`."""
        while not self.offer(key, value, subject):
            self._closed.wait(FULL_WAIT_S)

    def record_of(self, payload: ActionsLike) -> tuple[bytes, bytes] | None:
        """Key and value of a payload's record; None, counted, where it has none."""
        try:
            key = session_key(payload)
            if key:
                return key, encode_payload(payload)
        except Unencodable as exc:
            self._refuse(Failure(payload, str(exc), refused=True))
            return None
        with self._lock:
            self._without_session += 1
        return None

    def offer(self, key: bytes, value: bytes, subject: object) -> bool:
        """Whether the payload is dealt with; False when the queue is full and the caller is to wait and try again."""
        if self._closed.is_set():
            raise RuntimeError("the publisher is closed")
        try:
            self._producer.produce(self._topic, value, key, on_delivery=partial(self._report, subject))
        except BufferError as exc:
            return self._no_room(exc)
        except KafkaException as exc:
            error = exc.args[0]
            if not isinstance(error, KafkaError) or not refuses_record(error):
                raise translate(exc, f"writing to {self._topic}") from exc
            self._refuse(_failure(subject, error))
            return True
        with self._lock:
            self._added += 1
        return True

    def flush(self, timeout_s: float = DELIVERY_TIMEOUT_MS / 1000 + 1) -> None:
        """Wait until everything that was added is delivered.

        Raises:
            NotDelivered: something was not, since the last flush; or has no answer when the time is up.
        """
        waiting = self.drain(timeout_s)
        with self._lock:
            failed, first = self._unraised, self._first
            self._unraised, self._first = 0, None
        if failed or waiting:
            raise NotDelivered(failed, waiting, first.reason if first else "")

    def drain(self, timeout_s: float) -> int:
        """Wait until everything is delivered or has failed, and `on_failure` was told; how many have no answer yet."""
        waiting = self._producer.flush(timeout_s)
        self._tell()
        return waiting

    def close(self, timeout_s: float = DELIVERY_TIMEOUT_MS / 1000 + 1) -> None:
        """`flush`, and take nothing any more. May be called twice.

        Raises:
            NotDelivered: as `flush`.
        """
        self._closed.set()
        try:
            self.flush(timeout_s)
        finally:
            if self._thread is not threading.current_thread():
                self._thread.join()

    def _serve(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(SERVE_S)
            self._tell()

    def _report(self, subject: object, error: KafkaError | None, _message: Message) -> None:
        """Inside poll and flush, where nothing may be produced: only note it."""
        if error is not None:
            self._failures.append(_failure(subject, error))

    def _tell(self) -> None:
        with self._telling:
            while self._failures:
                self._note(self._failures.popleft())

    def _refuse(self, failure: Failure) -> None:
        with self._lock:
            self._added += 1
        self._note(failure)

    def _note(self, failure: Failure) -> None:
        with self._lock:
            self._failed += 1
            self._unraised += 1
            self._first = self._first or failure
        with self._telling:
            try:
                self._on_failure(failure)
            except Exception:  # the caller's; the failure itself is counted
                log.exception("on_failure raised an error")

    def _no_room(self, exc: BufferError) -> bool:
        if self._when_full == "raise":
            raise QueueIsFull(f"{len(self._producer)} payloads wait for delivery to {self._topic}") from exc
        if self._when_full == "wait":
            return False
        with self._lock:
            self._dropped += 1
        return True


class AsyncActionsPublisher:
    """`ActionsPublisher` for asyncio, e.g. for the SDK's `AsyncConnectorClient`: nothing blocks the loop.

    Same arguments. `on_failure` runs on a thread of the publisher's, not on the loop.
    """

    def __init__(
        self,
        bootstrap_servers: str = "localhost:9092",
        topic: str = "autoplay.actions",
        *,
        when_full: WhenFull = "wait",
        on_failure: Callable[[Failure], object] | None = None,
        kafka: Mapping[str, str] | None = None,
    ) -> None:
        self._begin_over(
            ActionsPublisher(bootstrap_servers, topic, when_full=when_full, on_failure=on_failure, kafka=kafka)
        )

    @classmethod
    def over(cls, publisher: ActionsPublisher) -> Self:
        """The async face of a publisher."""
        self = cls.__new__(cls)
        self._begin_over(publisher)
        return self

    def _begin_over(self, publisher: ActionsPublisher) -> None:
        self._publisher = publisher
        self._turn = asyncio.Lock()  # fair: who waits for room keeps the order

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except NotDelivered:
            if error is None:
                raise

    @property
    def stats(self) -> PublisherStats:
        return self._publisher.stats

    async def add(self, payload: ActionsLike) -> None:
        """As `ActionsPublisher.add`: it waits where the queue is full, and who comes later waits behind it."""
        record = self._publisher.record_of(payload)
        if record is None:
            return
        async with self._turn:
            while not self._publisher.offer(*record, payload):
                await asyncio.sleep(FULL_WAIT_S)

    async def flush(self, timeout_s: float = DELIVERY_TIMEOUT_MS / 1000 + 1) -> None:
        """As `ActionsPublisher.flush`."""
        await asyncio.to_thread(self._publisher.flush, timeout_s)

    async def close(self, timeout_s: float = DELIVERY_TIMEOUT_MS / 1000 + 1) -> None:
        """As `ActionsPublisher.close`."""
        await asyncio.to_thread(self._publisher.close, timeout_s)


class Complaint:
    """What `on_failure` is unless it is given: a warning now and then, without anything of the payload."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._untold = 0
        self._said_at = float("-inf")

    def __call__(self, failure: Failure) -> None:
        self._untold += 1
        now = self._now()
        if now - self._said_at >= SAY_AGAIN_S:
            log.warning("%d payloads were not delivered: %s", self._untold, failure.reason)
            self._said_at, self._untold = now, 0


def _failure(subject: object, error: KafkaError) -> Failure:
    return Failure(subject, error.str(), refuses_record(error), error)


def _producer(bootstrap_servers: str, topic: str, kafka: Mapping[str, str]) -> Outlet:
    settings = Settings(
        bootstrap_servers=bootstrap_servers,
        input_topic=topic,
        session_timeout_ms=LONGEST_SESSION_MS,
        kafka={"delivery.timeout.ms": str(DELIVERY_TIMEOUT_MS), **kafka},
    )
    try:
        return cast(Outlet, Producer({**producer_config(settings), "error_cb": Connections()}))
    except KafkaException as exc:
        raise translate(exc, "setting up the producer") from exc
