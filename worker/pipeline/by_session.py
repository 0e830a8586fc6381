"""The first stage: link a session to its user, hold what came before anybody knew whose it is, emit by user.

A fold in offset order over one input partition. Every age is a difference of the task's stream time as it stood at two
records, never a sweep and never a wall clock, so that a restored task decides as the live one did.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from sys import intern, maxsize

from worker.context.session_memory import NEVER
from worker.context.user_memory import SessionKey
from worker.pipeline.confirmations import Confirmations
from worker.pipeline.reading import Arrival, Unread
from worker.pipeline.repartition import RoutedPayload
from worker.pipeline.restore_point import RestorePoint
from worker.pipeline.session import NOT_CONFIRMED, Held, Session, new_session
from worker.pipeline.visitors import Visitors

KEEP_SOURCE_SIZE = 2 * 1024  # of text and ids; less is 8 KiB at most and fits every topic: its source is not held, too


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """What the by_session stage goes by. Times in seconds."""

    retention_s: float = 600.0
    link_retention_s: float = 3600.0
    max_actions_per_session: int = 200
    max_held_sessions: int = 10_000
    anonymous_user_id: re.Pattern[str] | None = None
    include_email: bool = True  # False: e-mail addresses go no further than the payload that they came in


# A payload for the repartition topic, and the `source` given with the arrival that it comes from (None: it was held and
# is small). A plain tuple: one with names costs a third of a microsecond, and there is one for each payload.
Emission = tuple[RoutedPayload, object]


class BySession:
    """The state of one input partition. `apply` takes its readable records in offset order."""

    def __init__(self, policy: LinkPolicy, start: RestorePoint, visitors: Visitors | None = None) -> None:
        self.counts: Counter[str] = Counter() if visitors is None else visitors.counts
        self.visitors = visitors  # None: nobody wants to know of them
        self.stream_time = start.stream_time
        self.next_offset = start.offset
        self._sound_from = min(start.sound_from, start.offset)  # what was refused before that is read again
        self._policy = policy
        self._anonymous_user_id = policy.anonymous_user_id
        self._include_email = policy.include_email
        self._oldest_seen_at = NEVER  # no session was seen before that
        self._sessions: OrderedDict[SessionKey, Session] = OrderedDict()  # least recently seen first
        self._confirmations = Confirmations()
        self._holding: set[SessionKey] = set()
        self._held_order: deque[tuple[int, float, float, Session]] = deque()  # (offset, at, before, session), some gone
        self._held_payloads = 0

    @property
    def session_count(self) -> int:
        return len(self._sessions)

    @property
    def held_sessions(self) -> int:
        return len(self._holding)

    @property
    def held_payloads(self) -> int:
        return self._held_payloads

    def apply(self, offset: int, arrival: Arrival, source: object = None, *, restoring: bool = False) -> list[Emission]:
        """Fold one record in; what goes to which user because of it. While restoring nothing is emitted, and the ids
        are enough. The arrival is the stage's from here on. `source` is whatever the caller wants back with what the
        record yields."""
        before = self.stream_time
        self.next_offset = offset + 1
        if arrival.stream_time > before:
            self.stream_time = arrival.stream_time
        session = self._see((arrival.product_id, arrival.session_id))
        user = arrival.user_id
        if user and self._anonymous_user_id is not None and self._anonymous_user_id.search(user):
            self.counts["anonymous_user_id"] += 1
            user = ""
        emissions: list[Emission] = []
        if user:
            if session.held:
                if not restoring:
                    emissions = [(self._addressed(held.routed, user), held.source) for held in session.held]
                self._release(session)
            self._link(session, user, before, offset)
        if self.visitors is not None:
            self.visitors.see(session, arrival.event_time, restoring=restoring)
        if not session.user:
            self._hold(session, self._held(offset, arrival, before, source))
        elif not restoring:
            emissions.append((self._addressed(arrival, session.user), source))
        return emissions

    def publish_visitors(self, now: float, most: int = maxsize) -> list[tuple[str, bytes | None]]:
        """The records of at most `most` sessions that changed, by session id. `now` is the wall clock."""
        if self.visitors is None:
            return []
        return self.visitors.publish(self.stream_time, self.next_offset, now, most)

    def _addressed(self, routed: RoutedPayload, user_id: str) -> RoutedPayload:
        """Itself, to this user ("" = nobody yet), and without an e-mail address where those go no further."""
        routed.user_id = user_id
        if not self._include_email:
            routed.email = ""
        return routed

    def _held(self, offset: int, arrival: Arrival, before: float, source: object) -> Held:
        routed = self._addressed(arrival.whole() if isinstance(arrival, Unread) else arrival, "")
        texts = (routed.text, routed.session_id, routed.product_id, routed.conversation_id, routed.email)
        kept = source if sum(map(len, texts)) >= KEEP_SOURCE_SIZE else None
        return Held(self.stream_time, before, offset, max(1, routed.actions), routed, kept)

    def skip(self, offset: int) -> None:
        """A record that is nobody's context: it only moves the position."""
        self.next_offset = offset + 1

    def refuse(self, offset: int) -> None:
        """A dead letter: it moves the position, and a restore has to find it again."""
        self.next_offset = self._sound_from = offset + 1

    def advance_to(self, next_offset: int) -> None:
        """The position moved over offsets that hold no record (transaction markers, a deleted range)."""
        self.next_offset = max(self.next_offset, next_offset)

    def _see(self, key: SessionKey) -> Session:
        """The session as it is at this record: begun anew after the retention, unlinked after the link retention."""
        now = self.stream_time
        oldest = now - self._policy.retention_s
        if self._oldest_seen_at < oldest:
            self.forget()
        session = self._sessions.get(key)
        if session is None:
            session = new_session(key)
            self._sessions[session.key] = session
        else:
            self._sessions.move_to_end(key)
        if session.user and now - session.confirmed_at > self._policy.link_retention_s:
            session.user = ""
            self.counts["links_lapsed"] += 1
        session.seen_at = now
        while session.held and session.held[0].at < oldest:
            self._drop_oldest_held(session)
        return session

    def _link(self, session: Session, user: str, before: float, offset: int) -> None:
        if session.user != user:
            if session.user:
                self.counts["users_switched"] += 1
            session.user = intern(user)  # users have several sessions
        session.confirmed_at = self.stream_time
        session.confirmed_before = before
        session.confirmed_offset = offset
        self._confirmations.note(session)

    # --- holding -------------------------------------------------------------------------------------------------

    def _hold(self, session: Session, held: Held) -> None:
        session.hold(held)
        self._held_payloads += 1
        self.counts["held"] += 1
        self._held_order.append((held.offset, held.at, held.before, session))
        self._holding.add(session.key)
        while len(session.held) > 1 and session.held_actions > self._policy.max_actions_per_session:
            self._drop_oldest_held(session)
            self.counts["held_payloads_dropped"] += 1
        self._bound_holding()

    def _bound_holding(self) -> None:
        """At most `max_held_sessions` hold something; beyond that the one that holds the oldest lets go."""
        if len(self._holding) > self._policy.max_held_sessions:
            session = self._oldest_held()[3]
            self._release(session)
            if self.visitors is not None:
                self.visitors.forget(session)
            if session.confirmed_offset == NOT_CONFIRMED:
                del self._sessions[session.key]  # nothing is left that a session seen for the first time would not have
            self.counts["held_sessions_dropped"] += 1
        if len(self._held_order) > 2 * self._held_payloads + 64:
            self._held_order = deque(item for item in self._held_order if _is_held(item))

    def _drop_oldest_held(self, session: Session) -> None:
        session.drop_oldest_held()
        self._held_payloads -= 1

    def _release(self, session: Session) -> None:
        self._held_payloads -= len(session.held)
        session.drop_held()
        self._holding.discard(session.key)

    def _oldest_held(self) -> tuple[int, float, float, Session]:
        """The oldest held payload that still counts; only asked when there is one."""
        order, oldest = self._held_order, self.stream_time - self._policy.retention_s
        while not _is_held(order[0]) or order[0][1] < oldest:
            order.popleft()
        return order[0]

    # --- forgetting and the restore point ------------------------------------------------------------------------

    def forget(self) -> None:
        """Let go of the sessions that were not seen within the retention. No decision hangs on when this is done."""
        oldest = self.stream_time - self._policy.retention_s
        self._oldest_seen_at = self.stream_time  # of those that are to come
        while self._sessions:
            session = next(iter(self._sessions.values()))
            if session.seen_at >= oldest:
                self._oldest_seen_at = session.seen_at
                break
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._release(session)
        session.confirmed_offset = NOT_CONFIRMED
        del self._sessions[session.key]
        if self.visitors is not None:
            self.visitors.forget(session)

    def restore_point(self) -> RestorePoint:
        """The oldest record that the state rests on: a confirmation, a held payload, or the next one to read."""
        self.forget()
        point = RestorePoint(self.next_offset, self.stream_time)
        if self._holding:
            offset, _, before, _ = self._oldest_held()
            point = min(point, RestorePoint(offset, before))
        span = self._policy.link_retention_s + self._policy.retention_s
        confirmed = self._confirmations.oldest(self.stream_time, span)
        if confirmed is not None:
            point = min(point, RestorePoint(confirmed.confirmed_offset, confirmed.confirmed_before))
        return point._replace(sound_from=self._sound_from)


def _is_held(item: tuple[int, float, float, Session]) -> bool:
    """Held payloads of a session leave in offset order, so one is held if the session's oldest is not newer."""
    held = item[3].held
    return bool(held) and held[0].offset <= item[0]
