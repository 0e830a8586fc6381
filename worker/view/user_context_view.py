"""The chat side's table: what every user has just done, in memory, as the output topic says."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from schemas.user_context import UserContext
from worker.errors import Retriable, WorkerError
from worker.settings import Settings
from worker.view.consumer import consumers
from worker.view.follower import Follower, MakeConsumer
from worker.view.reads import ContextReads
from worker.view.record_table import RecordTable
from worker.view.status import PartitionFacts, ViewStatus, status_of
from worker.view.table import ContextTable
from worker.view.visitor_table import VisitorTable

log = logging.getLogger(__name__)

CLOSE_S = 10.0


Changed = Callable[[str, UserContext | None], object]
Listener = Callable[[list[str]], None]


class NotReady(Retriable):
    """The topic was not read to its end in time; the message says what stands in the way."""


@dataclass(frozen=True, slots=True)
class ViewStats:
    """What came in since the start, and what is held now."""

    users: int
    sessions: int  # of the session topic
    value_bytes: int  # of the records that are held
    partitions: int  # that are read
    records: int
    tombstones: int
    undecodable: int  # no record of ours, or of another one than the key says: the old value went
    unkeyed: int
    superseded: int  # older than what was known
    newer_schema: int  # of a newer schema_version: what is known here was read
    callback_errors: int
    heard_s: float | None  # how long ago the least recently heard leader answered
    trouble: str  # what stands in the way, for people; "" when nothing does


class UserContextView(ContextReads):
    """The newest record of every user on the output topic, to be read from any thread. Close it, or use it in a `with`.

        with UserContextView("localhost:9092") as view:
            view.wait_ready(30)
            prompt = view.enrich("user_456", "How do I add a seat?")

    *Consistency contract.* What a reader may rely on:

    - `wait_ready` returns when everything that was on the topic has been read. Before that an unknown user may only be
      one who was not read yet.
    - A user is read as they were before a record or after it, never in between, and never goes back: of two records
      the one with the higher `version` is newer (in log order); a null record clears the user; a record that cannot be
      read clears the user too and is counted, so nothing stale is served in its place.
    - What is expired is not there: each read leaves out, by this machine's clock, sessions last seen longer ago than
      the lookback, and users without any other.
    - What the worker keeps apart stays apart: a user's record never tells of what another user did, and with
      `product_id` nothing of another product is in the answer.
    - No read-your-own-writes: an action shows up some milliseconds after the worker has read it. `updated_at` says how
      new the newest one is. Two users, or two reads, are no snapshot.
    - A session has one owner (`get_session`, with a `session_topic`): its own record says who. While nobody is behind
      it, that record tells what happened in it; once it names a user, their record does. The two topics come in any
      order: where the user's record does not tell of the session yet, or another user's tells of it up to the same time
      or beyond, nothing is known of it until the record that lacks has come, some milliseconds as a rule.
    - The status says how much of this holds now: `caught_up`; `loading` until everything was read once; `degraded` when
      it was, but something newer may be missing (the broker has been silent for 5 s, reading is behind by 5 s, or the
      topic is being read again): reads go on with what is known; `failed` when reading has ended for good (no right, a
      wrong credential): reads then raise nothing and get ever older, so look at the status.

    It reads committed records, outside of any group: any number of views may read, and none needs rights on a group. A
    broker that restarts or is away is waited for. Should a part of the topic be gone from where it reads, or have been
    out of sight for hours, that part is read again from its start.

    `partitions` is the share to hold (default: all), for instances that are co-partitioned with the chat's own topic:
    users are placed by murmur2, as Kafka's Java clients do it; asking for a user of another partition raises
    `NotInShare`. Memory follows the topic: about 1.4 times the bytes of the records that are not null.

    `session_topic` is the topic of sessions without a user, where the worker has one (off by default); it is read on a
    thread of its own, and whole: it cannot be had with a share, because a session's user may be anywhere.

    `kafka` is any librdkafka property, e.g. `security.protocol`.

    Raises:
        pydantic.ValidationError: an argument is not what it has to be.
    """

    def __init__(
        self,
        bootstrap_servers: str = "localhost:9092",
        topic: str = "autoplay.user-context",
        *,
        session_topic: str | None = None,
        partitions: Collection[int] | None = None,
        kafka: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
        make_consumer: MakeConsumer | None = None,
    ) -> None:
        settings = Settings(
            bootstrap_servers=bootstrap_servers,
            output_topic=topic,
            session_output_topic=session_topic or "",
            kafka=dict(kafka or {}),
        )
        self._begin(make_consumer or consumers(settings), settings, partitions, clock)

    def _begin(
        self, make: MakeConsumer, settings: Settings, partitions: Collection[int] | None, clock: Callable[[], float]
    ) -> None:
        share = None if partitions is None else frozenset(partitions)
        if share is not None and (not share or min(share) < 0):
            raise ValueError(f"partitions must name at least one, none below 0, got {sorted(share)}")
        session_topic = settings.session_output_topic
        if share is not None and session_topic:
            raise ValueError("session_topic cannot be had with partitions: a session's user may be on any")
        table = ContextTable(finds_sessions=bool(session_topic))
        visitors = VisitorTable() if session_topic else None
        self._follower = Follower(make, settings.output_topic, table, share, self._tell)
        self._followers = [self._follower]
        self._tables: list[RecordTable] = [table]
        if visitors is not None:
            self._followers.append(Follower(make, session_topic, visitors, None, lambda _changed: None))
            self._tables.append(visitors)
        super().__init__(table, clock, share, lambda: self._follower.count, visitors)
        self._listeners: tuple[Listener, ...] = ()
        self._callback_errors = 0
        self._ready: Future[None] = Future()
        self._failed = False
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    # --- life ---

    def start(self) -> Self:
        """Begin to read, on a thread of the view's own. Returns at once; a second call does nothing."""
        with self._starting:
            if self._stop.is_set():
                raise RuntimeError("the view is closed")
            if not self._threads:
                for follower in self._followers:
                    name = "user-context-view" if follower is self._follower else "session-view"
                    self._threads.append(threading.Thread(target=self._run, args=(follower,), name=name, daemon=True))
                for thread in self._threads:
                    thread.start()
        return self

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until everything that was on the topic has been read, so many seconds at most.

        Raises:
            NotReady: not in time (it goes on all the same), or the view was closed.
            Fatal: it will never be: no right, a wrong credential or property.
        """
        try:
            self.ready.result(timeout)
        except FutureTimeout:
            raise self.not_ready(timeout) from None

    @property
    def ready(self) -> Future[None]:
        """Done when everything was read once; holds the error when that can never be."""
        if not self._threads:
            raise RuntimeError("the view is not started: call start(), or use it in a `with`")
        return self._ready

    def not_ready(self, timeout: float | None) -> NotReady:
        """Why it takes longer than this."""
        facts = self._facts()
        parts = f"{sum(one.loaded for one in facts)} of {len(facts)} partitions are read"
        return NotReady(f"not ready after {timeout} s: {self._trouble or parts}")

    def close(self) -> None:
        """Stop reading. What is known can still be read, and gets older. May be called twice."""
        self._stop.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(CLOSE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- now ---

    @property
    def status(self) -> ViewStatus:
        """How much of the contract holds now."""
        if not all(follower.partitions for follower in self._followers):
            return status_of([], 0.0, failed=self._failed)
        return status_of(self._facts(), time.monotonic(), failed=self._failed)

    def _facts(self) -> list[PartitionFacts]:
        return [one for follower in self._followers for one in follower.partitions.values()]

    @property
    def _trouble(self) -> str:
        return next((follower.trouble for follower in self._followers if follower.trouble), "")

    @property
    def stats(self) -> ViewStats:
        """The counters as they stand."""
        counts, facts = [table.counts for table in self._tables], self._facts()
        return ViewStats(
            users=len(self._table),
            sessions=0 if self._visitors is None else len(self._visitors),
            value_bytes=sum(table.value_bytes for table in self._tables),
            partitions=len(facts),
            records=sum(one.records for one in counts),
            tombstones=sum(one.tombstones for one in counts),
            undecodable=sum(one.undecodable for one in counts),
            unkeyed=sum(one.unkeyed for one in counts),
            superseded=sum(one.superseded for one in counts),
            newer_schema=sum(one.newer_schema for one in counts),
            callback_errors=self._callback_errors,
            heard_s=max((time.monotonic() - one.heard_at for one in facts), default=None),
            trouble=self._trouble,
        )

    # --- changes ---

    def on_change(self, callback: Changed) -> Callable[[], None]:
        """Call back with the user's id and what is known of them, after each change once all was read.

        Several changes of a user in one batch are one call. It runs on the thread that reads, so it must be short; an
        error in it is logged and counted. Expiry by the clock alone is no change (the worker's null record is one).
        Returns a function that ends it.
        """

        def tell(user_ids: list[str]) -> None:
            for user_id in user_ids:
                try:
                    callback(user_id, self._table.get(user_id, None, self._clock()))
                except Exception:
                    self._callback_errors += 1
                    log.exception("a callback of the view raised an error")

        return self.on_batch(tell)

    def on_batch(self, listener: Listener) -> Callable[[], None]:
        """As `on_change`, with the ids of all users whom a batch changed; the listener must not raise."""
        with self._starting:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._starting:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return end

    def _tell(self, user_ids: list[str]) -> None:
        for listener in self._listeners:
            listener(user_ids)

    # --- the threads, one for each topic ---

    def _run(self, follower: Follower) -> None:
        try:
            while not self._stop.is_set():
                follower.step()
                if not self._ready.done() and all(each.is_loaded for each in self._followers):
                    self._tell_ready()
        except WorkerError as exc:
            self._fail(exc)
        except Exception as exc:  # nothing else would tell
            log.exception("the view has ended")
            self._fail(exc)
        finally:
            follower.close()
            with suppress(InvalidStateError):
                self._ready.set_exception(NotReady("the view was closed"))

    def _tell_ready(self) -> None:
        with suppress(InvalidStateError):  # the other thread was faster
            self._ready.set_result(None)
            log.info("the view is ready: %d users", len(self._table))

    def _fail(self, error: Exception) -> None:
        self._failed = True
        was_ready = self._ready.done()
        with suppress(InvalidStateError):
            self._ready.set_exception(error)
        if was_ready:
            log.error("the view has ended: %s", error)


def view_of(settings: Settings) -> UserContextView:
    """The view of a process that has its settings from elsewhere."""
    view = UserContextView.__new__(UserContextView)
    view._begin(consumers(settings), settings, None, time.time)  # noqa: SLF001 - another way to make one
    return view
