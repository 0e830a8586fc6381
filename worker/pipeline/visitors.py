"""Records of sessions that have no user yet: which of them changed, and what their records say.

A part of the by_session stage: it looks at the stage's sessions and remembers nothing beside them. So what they drop
leaves the record, and a restored stage gives the records that the live one gave. The key of a record is the session id
alone; sessions of several products may share it. A session with a user has a record that names them and tells nothing;
where the products' sessions have different users it names nobody, because a reader would look for the wrong one. A
record is null when nothing is known of its sessions any more and no link holds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf
from sys import maxsize

from worker.context.session_memory import NEVER
from worker.context.user_memory import UserMemory
from worker.pipeline.idle_clock import IdleClock
from worker.pipeline.portion import take
from worker.pipeline.rendering import RenderPolicy, render_visitor
from worker.pipeline.session import Held, Session


@dataclass(frozen=True, slots=True)
class VisitorPolicy:
    """What records of visitors go by. Times in seconds. `idle_after_s`: see `IdleClock`."""

    render: RenderPolicy
    retention_s: float = 600.0
    link_retention_s: float = 3600.0
    idle_after_s: float | None = 10.0


@dataclass(frozen=True, slots=True)
class VisitorStart:
    """What is known at the beginning.

    `committed`: below it nothing is published. `end`: the end of the partition as it was then; what was restored is
    published once it is reached. `now`: wall clock, Unix seconds.
    """

    committed: int
    end: int
    now: float


class Visitor:
    """The sessions of one session id, and what its newest record says of them."""

    __slots__ = ("due", "is_out", "linked", "listed", "listed_until", "newest", "sessions")

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}  # by product
        self.newest = NEVER  # the largest event time of all
        self.is_out = False  # a record that is not null may stand on the topic
        self.linked: tuple[tuple[Session, str], ...] = ()  # whose user was known for the record, and that user
        self.listed: tuple[str, ...] = ()  # products of which it tells something
        self.listed_until = inf  # when some of that is no longer to be told
        self.due = inf  # when the queue has a look at it


class Visitors:
    """The records of one input partition. The stage tells which sessions it sees and forgets; then `publish`."""

    def __init__(self, policy: VisitorPolicy, start: VisitorStart) -> None:
        self.counts: Counter[str] = Counter()
        self.idle_clock = IdleClock(policy.idle_after_s, start.end, start.now)
        self._policy = policy
        self._committed = start.committed
        self._end = start.end
        self._visitors: dict[str, Visitor] = {}
        self._changed: dict[str, None] = {}
        self._restored: dict[str, None] = {}
        self._queue: list[tuple[float, str]] = []  # (not before this time, session id)

    @property
    def has_changes(self) -> bool:
        return bool(self._changed)

    # --- what the stage tells ------------------------------------------------------------------------------------

    def see(self, session: Session, event_time: float, *, restoring: bool) -> None:
        """A payload of the session has come."""
        product_id, session_id = session.key
        visitor = self._visitors.get(session_id)
        if visitor is None:
            visitor = self._visitors[session_id] = Visitor()
        visitor.sessions[product_id] = session
        if event_time > visitor.newest:
            visitor.newest = event_time
        if restoring:
            visitor.is_out = True
            self._restored[session_id] = None
            self._changed.pop(session_id, None)
        elif not session.user or (session, session.user) not in visitor.linked or product_id in visitor.listed:
            self._changed[session_id] = None

    def forget(self, session: Session) -> None:
        """Nothing that the session held counts any more."""
        product_id, session_id = session.key
        visitor = self._visitors.get(session_id)
        if visitor is None:
            return
        visitor.sessions.pop(product_id, None)
        if visitor.is_out:
            self._restored.pop(session_id, None)
            self._changed[session_id] = None
        elif not visitor.sessions and session_id not in self._changed:
            del self._visitors[session_id]

    # --- publishing ----------------------------------------------------------------------------------------------

    def publish(
        self, stream_time: float, next_offset: int, now: float, most: int = maxsize
    ) -> list[tuple[str, bytes | None]]:
        """The records of the session ids that changed or expired, null where there is nothing to say any more. If there
        are more than `most`, the others stay changed.

        What was restored, and has not changed since, waits until the task is where the one before it may have been.
        """
        if next_offset < self._committed:
            return []
        clock = self.idle_clock.time(stream_time, next_offset, now)
        self._expire(clock)
        if self._restored:
            if next_offset >= self._end:
                self._changed.update(self._restored)
            for session_id in self._changed:
                self._restored.pop(session_id, None)
        return [(session_id, self._render(session_id, clock)) for session_id in take(self._changed, most)]

    def change_again(self, session_id: str) -> bool:
        """This record did not get out: it is rendered again. False = nothing is known of such a session."""
        if session_id not in self._visitors:
            return False
        self._changed[session_id] = None
        return True

    def _render(self, session_id: str, clock: float) -> bytes | None:
        visitor = self._visitors[session_id]
        linked = tuple([(one, one.user) for one in visitor.sessions.values() if self._linked_until(one) >= clock])
        held = self._to_tell(visitor, clock)
        memory = self._remembered(held)
        visitor.linked = linked
        user_id = linked[0][1] if len({user for _, user in linked}) == 1 else ""
        visitor.listed = tuple([product_id for product_id, _ in memory.sessions])
        visitor.listed_until = self._told_until(held)
        visitor.is_out = bool(user_id or held)
        if linked or held:
            self._await(session_id, visitor, self._until(visitor))
        if not visitor.is_out:
            if not visitor.sessions:
                del self._visitors[session_id]
            return None
        updated_at = memory.newest if held else visitor.newest
        record = render_visitor(session_id, user_id, memory, updated_at, self._policy.render, self.counts)
        if record is None:
            self.counts["visitors_too_large"] += 1
        return record

    def _to_tell(self, visitor: Visitor, clock: float) -> list[Held]:
        """What is held in the lookback up to the newest of it; nothing if that is over."""
        retention, lookback = self._policy.retention_s, self._policy.render.lookback_s
        held = [one for session in visitor.sessions.values() for one in session.held if one.at + retention >= clock]
        newest = max((one.routed.event_time for one in held), default=NEVER)
        if newest + lookback < clock:
            return []
        return [one for one in held if one.routed.event_time >= newest - lookback]

    def _remembered(self, held: list[Held]) -> UserMemory[bytes]:
        memory: UserMemory[bytes] = UserMemory()
        bounds = self._policy.render
        for one in held:
            memory.add(one.routed, bounds.max_actions_per_session, bounds.max_record_bytes)
        return memory

    # --- what the clock does -------------------------------------------------------------------------------------

    def _told_until(self, held: list[Held]) -> float:
        if not held:
            return inf
        newest, oldest = max(one.routed.event_time for one in held), min(one.at for one in held)
        return min(newest + self._policy.render.lookback_s, oldest + self._policy.retention_s)

    def _linked_until(self, session: Session) -> float:
        if not session.user:
            return NEVER
        policy = self._policy
        return min(session.confirmed_at + policy.link_retention_s, session.seen_at + policy.retention_s)

    def _until(self, visitor: Visitor) -> float:
        """How long the record may stand as it is."""
        return min([visitor.listed_until, *[self._linked_until(session) for session, _ in visitor.linked]])

    def _await(self, session_id: str, visitor: Visitor, until: float) -> None:
        if until < visitor.due:
            visitor.due = until
            heappush(self._queue, (until, session_id))
            if len(self._queue) > 2 * len(self._visitors) + 64:  # most are of sessions that are gone
                self._queue[:] = [(each.due, key) for key, each in self._visitors.items() if each.due < inf]
                heapify(self._queue)

    def _expire(self, clock: float) -> None:
        queue = self._queue
        while queue and queue[0][0] < clock:
            due, session_id = heappop(queue)
            visitor = self._visitors.get(session_id)
            if visitor is None or visitor.due != due:
                continue  # it was looked at before
            visitor.due = inf
            until = self._until(visitor)
            if until < clock:
                self._changed[session_id] = None
            else:
                self._await(session_id, visitor, until)
