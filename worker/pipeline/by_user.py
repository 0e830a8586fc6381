"""The second stage: remember what each user did, say who changed, and render the record of each.

A fold in any order over one repartition partition: what it says of a user depends on which payloads arrived, never on
how they interleave. Lateness and forgetting go by the task's stream time; the wall clock only lets users of a silent
partition expire, and never enters what is stored.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf, nextafter
from sys import intern, maxsize

from worker.context.session_memory import NEVER, NOTHING
from worker.context.user_memory import UserMemory
from worker.pipeline.deadlines import Deadlines
from worker.pipeline.idle_clock import IdleClock
from worker.pipeline.large_records import LARGE_RECORD_BYTES, LargeRecords
from worker.pipeline.portion import take
from worker.pipeline.rendering import RenderPolicy, render
from worker.pipeline.repartition import Reset, RoutedPayload
from worker.pipeline.restore_point import RestorePoint

HARD_SESSIONS_FACTOR = 10  # sessions kept per user, in multiples of those a record shows
SEGMENTS_PER_RETENTION = 64  # the restore offset and what is remembered are at most a 64th of the retention too old


@dataclass(frozen=True, slots=True)
class UserPolicy:
    """What the by_user stage goes by. Times in seconds."""

    render: RenderPolicy
    idle_after_s: float = 10.0
    expire_idle_users: bool = True

    @property
    def retention_s(self) -> float:
        return 2 * self.render.lookback_s

    @property
    def hard_sessions(self) -> int:
        return HARD_SESSIONS_FACTOR * self.render.max_sessions


class User(UserMemory[bytes], eq=False, gc=False):
    """A user's memory, and where their record stands."""

    mark: float = NEVER  # a reset: what happened up to here is ignored
    version: int = -1  # the highest offset of any record of this user
    is_out: bool = False  # a record that is not null may stand on the output topic
    forgotten_before: float = NEVER  # payloads older than that were dropped
    expiry_due: bool = False  # is in the queue of those that may expire
    fading_due: bool = False  # is in the queue of those that may be forgotten

    def reset(self, mark: float) -> None:
        """Forget everything."""
        self.mark = max(self.mark, mark)
        self.clear()

    def erase(self, mark: float) -> None:
        """Forget what happened up to here, and nothing else."""
        self.mark = max(self.mark, mark)
        self.forget_before(nextafter(mark, inf))
        if self.email.event_time <= mark:
            self.email = NOTHING
        for memory in self.sessions.values():
            if memory.conversation.event_time <= mark:
                memory.conversation = NOTHING


@dataclass(slots=True)
class Segment:
    """A run of records: the restore offset is the first offset of the oldest segment that still counts."""

    first_offset: int
    opened_with: float  # event time or mark of its first record
    newest: float  # the largest in it


@dataclass(frozen=True, slots=True)
class UserStart:
    """What a by_user task knows when it begins.

    `committed`: below it records rebuild state and nothing is published. `end`: the end of the partition as it was
    then; restored users are published once it is reached. `now`: wall clock, Unix seconds.
    """

    point: RestorePoint
    committed: int
    end: int
    now: float


class ByUser:
    """The state of one repartition partition. Feed it a poll batch, then `publish`."""

    def __init__(self, policy: UserPolicy, start: UserStart) -> None:
        self.counts: Counter[str] = Counter()
        self.stream_time = start.point.stream_time
        self.next_offset = start.point.offset
        self._policy = policy
        self._hard_sessions = policy.hard_sessions
        self._committed = start.committed
        self._end = start.end
        self.idle_clock = IdleClock(policy.idle_after_s if policy.expire_idle_users else None, start.end, start.now)
        self._users: dict[str, User] = {}
        self.published_events: list[float] = []  # of the last `publish`: the events that changed the users it told of
        self._changed: dict[str, float] = {}  # the event that did it; NEVER: none did
        self._restored: dict[str, float] = {}
        self._segments: list[Segment] = []  # each newer than the one before
        self._expiry = Deadlines()  # users; not before their deadline
        self._fading = Deadlines()
        self._large = LargeRecords()

    @property
    def is_restoring(self) -> bool:
        return self.next_offset < self._committed

    @property
    def user_count(self) -> int:
        return len(self._users)

    @property
    def has_changes(self) -> bool:
        return bool(self._changed)

    def advance_to(self, next_offset: int) -> None:
        """The position moved over offsets that hold no record (transaction markers, a deleted tail)."""
        self.next_offset = max(self.next_offset, next_offset)

    # --- folding in ----------------------------------------------------------------------------------------------

    def apply(self, offset: int, timestamp: float, record: list[RoutedPayload] | Reset) -> None:
        """Fold one record in. `timestamp` is the record's own, Unix seconds."""
        restoring = offset < self._committed
        self.next_offset = offset + 1
        self.idle_clock.hear(timestamp)
        if isinstance(record, Reset):
            self._reset(offset, record.user_id, timestamp, record.mark, restoring=restoring)
            return
        self._add(offset, record, restoring=restoring)

    def _reset(self, offset: int, user_id: str, timestamp: float, mark: float | None, *, restoring: bool) -> None:
        user = self._user(user_id, offset)
        if mark is None:
            mark = max(timestamp, user.newest)
            user.reset(mark)
        else:  # written again by a replay: what the user did since is not erased
            user.erase(mark)
        self._note(offset, mark)
        self._change(user_id, user, NEVER, restoring=restoring)

    def _add(self, offset: int, bundle: list[RoutedPayload], *, restoring: bool) -> None:
        users, retention, hard_sessions, newest = self._users, self._policy.retention_s, self._hard_sessions, NEVER
        # A session's text beyond the largest record can never be shown, whatever else is remembered of the user.
        bounds = self._policy.render
        max_actions, max_size = bounds.max_actions_per_session, bounds.max_record_bytes
        for routed in bundle:
            user_id, event_time, stream_time = routed.user_id, routed.event_time, routed.stream_time
            if event_time > newest:
                newest = event_time
            if stream_time > self.stream_time:
                self.stream_time = stream_time
            oldest = self.stream_time - retention
            user = users.get(user_id)
            if user is not None:
                if offset > user.version:
                    user.version = offset
                if NEVER < user.mark < oldest:
                    user.mark = NEVER
            if event_time < oldest:
                self.counts["late"] += 1
                continue
            if user is None:
                user = self._user(user_id, offset)
            elif event_time <= user.mark:
                self.counts["erased"] += 1
                continue
            if not user.add(routed, max_actions, max_size):
                self.counts["repeats"] += 1
            if len(user.sessions) > hard_sessions:
                self.counts["sessions_dropped"] += user.bound_sessions(hard_sessions)
            self._change(user_id, user, event_time, restoring=restoring)
        self._note(offset, newest)

    def _user(self, user_id: str, offset: int) -> User:
        user = self._users.get(user_id)
        if user is None:
            user = self._users[intern(user_id)] = User()  # the links of their sessions name them, too
        user.version = max(user.version, offset)
        return user

    def _change(self, user_id: str, user: User, event_time: float, *, restoring: bool) -> None:
        if not restoring:
            self._changed[user_id] = event_time
            return
        if user.expiry_due:
            return  # all of this was done with an earlier payload
        self._restored[user_id] = NEVER
        self._changed.pop(user_id, None)
        user.is_out = True
        self._await_expiry(user_id, user)

    def _note(self, offset: int, newest: float) -> None:
        """What is not newer than the last segment lives no longer, so it is covered by it."""
        last = self._segments[-1] if self._segments else None
        if last is None or newest - last.opened_with >= self._policy.retention_s / SEGMENTS_PER_RETENTION:
            self._segments.append(Segment(offset, newest, newest))
            if offset < self._committed:
                self._shed()
        elif newest > last.newest:
            last.newest = newest

    def _shed(self) -> None:
        """While a long log is read back: of users beyond the retention only stays that their null is due."""
        lookback = self._policy.render.lookback_s
        for user_id in self._expiry.pop(self.stream_time - lookback):
            user = self._users[user_id]
            user.expiry_due = False
            user.forget_before(self.stream_time - self._policy.retention_s)
            if user.newest + lookback + lookback < self.stream_time:
                self._changed[user_id] = NEVER
            else:
                self._await_expiry(user_id, user)
        self._drop_old_segments()

    # --- publishing ----------------------------------------------------------------------------------------------

    def clock(self, now: float) -> float:
        """What users expire by."""
        return self.idle_clock.time(self.stream_time, self.next_offset, now)

    def publish(self, now: float, most: int = maxsize) -> list[tuple[str, bytes | None]]:
        """The records of the users that changed or expired, null for those of whom nothing is known any more. If there
        are more than `most`, the others stay changed."""
        if self.is_restoring:
            self.published_events = []
            return []
        clock = self.clock(now)
        self._expire(clock)
        if self._restored and self.next_offset >= self._end:
            self._changed.update(self._restored)
            self._restored = {}
        changed = take(self._changed, most)
        self.published_events = [event_time for event_time in changed.values() if event_time != NEVER]
        oldest = self.stream_time - self._policy.retention_s
        out = [(user_id, self._render(user_id, clock, oldest)) for user_id in changed]
        if not self._changed:
            self._forget()
        return out

    def change_again(self, user_id: str) -> bool:
        """The record of this user did not get out: it is rendered again. False = not a user of ours."""
        if user_id not in self._users:
            return False
        self._changed[user_id] = NEVER
        return True

    def _render(self, user_id: str, clock: float, oldest: float) -> bytes | None:
        user = self._users[user_id]
        if oldest - user.forgotten_before > self._policy.retention_s / SEGMENTS_PER_RETENTION:  # not with every record
            user.forget_before(oldest)
            user.forgotten_before = oldest
        user.is_out = user.newest != NEVER and user.newest + self._policy.render.lookback_s >= clock
        record = None
        if user.is_out:
            self._await_expiry(user_id, user)
            keeps = user_id in self._large
            record = render(user_id, user, user.version, self._policy.render, self.counts, keeps=keeps)
            if record is None:
                self.counts["users_too_large"] += 1
        else:
            self._await_fading(user_id, user)
        self._note_size(user_id, 0 if record is None else len(record))
        return record

    def _note_size(self, user_id: str, size: int) -> None:
        """Who has a large record keeps texts, and nobody else."""
        gone = None
        if size >= LARGE_RECORD_BYTES:
            gone = self._large.add(user_id)
        elif self._large.discard(user_id):
            gone = user_id
        if gone in self._users:
            self._users[gone].keep_rendered({})

    def _await_expiry(self, user_id: str, user: User) -> None:
        if not user.expiry_due:
            user.expiry_due = True
            self._expiry.add(user.newest + self._policy.render.lookback_s, user_id)

    def _await_fading(self, user_id: str, user: User) -> None:
        if not user.fading_due:
            user.fading_due = True
            self._fading.add(max(user.newest, user.mark) + self._policy.retention_s, user_id)

    def _expire(self, clock: float) -> None:
        """Who is out and older than the lookback has changed. A queued deadline may be too early, never late."""
        lookback = self._policy.render.lookback_s
        for user_id in self._expiry.pop(clock):
            user = self._users[user_id]
            user.expiry_due = False
            if not user.is_out:
                self._await_fading(user_id, user)
            elif user.newest + lookback < clock:
                self._changed[user_id] = NEVER
            else:
                self._await_expiry(user_id, user)

    def _forget(self) -> None:
        """Let go of users whose null is out and of whom nothing within the retention is known, and of old segments."""
        retention = self._policy.retention_s
        for user_id in self._fading.pop(self.stream_time):
            user = self._users[user_id]
            user.fading_due = False
            if user.expiry_due:
                continue  # it comes back from that queue
            if max(user.newest, user.mark) + retention >= self.stream_time:
                self._await_fading(user_id, user)
            else:
                del self._users[user_id]
                self._restored.pop(user_id, None)
        self._drop_old_segments()

    def _drop_old_segments(self) -> None:
        oldest = self.stream_time - self._policy.retention_s
        while self._segments and self._segments[0].newest < oldest:
            del self._segments[0]

    def restore_point(self) -> RestorePoint:
        """The oldest record inside the retention, and the stream time as it stands."""
        offset = self._segments[0].first_offset if self._segments else self.next_offset
        return RestorePoint(offset, self.stream_time)
