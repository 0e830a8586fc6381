"""The second stage alone: records in any order, in any batches, as often as anybody likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import batch_fold
from tests.properties.batch_fold import NEVER, Context, Routed
from tests.properties.traces import lists_of
from worker.pipeline.by_user import ByUser, UserStart
from worker.pipeline.repartition import FORM, Reset, RoutedPayload
from worker.pipeline.restore_point import RestorePoint
from worker.policies import user_policy
from worker.settings import Settings

USERS = ["alice", "bob"]
BEGIN = 1000.0
SETTINGS = Settings(
    lookback_seconds=10, max_actions_per_session=4, max_sessions_per_user=2, expire_idle_users=False, max_clock_skew_s=3
)


class Erasure(NamedTuple):
    """A reset at a time; `again`: as a replay writes it, which erases up to that time and no more."""

    user: str
    mark: float
    again: bool


Happening = Routed | Erasure


def payloads(spread: int) -> st.SearchStrategy[list[Routed]]:
    """Payloads at most `spread` seconds apart, many of them at a border, each with a source of its own."""
    borders = [at for at in (0, 1, 10, 11, 20, 21, 31, 60) if at <= spread]
    one = st.tuples(
        st.sampled_from(borders) | st.integers(0, spread),
        st.sampled_from([0.0, 0.0, 0.0, 0.125, 0.25]),
        st.sampled_from([0, 0, 0, 1, 3]),
        st.sampled_from(USERS),
        st.sampled_from([("", "a"), ("", "b"), ("acme", "a"), ("", "c")]),
        st.sampled_from(["", "", "k1", "k2"]),
        st.sampled_from(["", "", "", "x@example.com", "y@example.com"]),
        st.integers(0, 3),
        st.integers(0, 2),
    )

    def build(drawn: list[tuple[int, float, int, str, tuple[str, str], str, str, int, int]]) -> list[Routed]:
        built = []
        for offset, (at, fraction, skew, user, session, conversation, email, actions, partition) in enumerate(drawn):
            t = BEGIN + at + fraction
            source = (partition, offset)
            lines = tuple(f"[{index}] click: {source} {index} — " for index in range(actions))
            built.append(Routed(t, source, t - skew, user, session, conversation, email, lines))
        return built

    return lists_of(one, 40).map(build)


def orders(spread: int) -> st.SearchStrategy[list[Happening]]:
    """The payloads in any order, some of them again, and resets in between."""

    def shuffled(items: list[Routed]) -> st.SearchStrategy[list[Happening]]:
        repeats = st.lists(st.sampled_from(items), max_size=10)
        times = st.integers(-5, spread).map(lambda at: BEGIN + at)
        resets = st.lists(st.builds(Erasure, st.sampled_from(USERS), times, st.booleans()), max_size=2)
        return st.tuples(repeats, resets).flatmap(lambda more: st.permutations([*items, *more[0], *more[1]]))

    return payloads(spread).flatmap(shuffled)


def fresh() -> ByUser:
    return ByUser(user_policy(SETTINGS), UserStart(RestorePoint(0), 0, 0, BEGIN))


def apply(stage: ByUser, offset: int, item: Happening, wall: float = 0.0) -> None:
    if isinstance(item, Erasure):
        reset = Reset(item.mark) if item.again else Reset(None)
        return stage.apply(item.user, offset, wall if item.again else item.mark, reset)
    product, session = item.session
    routed = RoutedPayload(
        FORM, *item.source, item.t, item.s, session, product, item.conversation, item.email, item.lines
    )
    return stage.apply(item.user, offset, wall, routed)


class Arrived:
    """All that came so far, kept."""

    def __init__(self) -> None:
        self.payloads: list[Routed] = []
        self.marks = dict.fromkeys(USERS, NEVER)

    def add(self, item: Happening) -> bool:
        """Whether it changes its user: late and erased payloads do not."""
        if isinstance(item, Erasure):
            newest = [] if item.again else [p.t for p in self.of(item.user)]
            self.marks[item.user] = max([self.marks[item.user], item.mark, *newest])
            return True
        self.payloads.append(item)
        return item.t >= self.stream_time - SETTINGS.retention_s and item.t > self.marks[item.user]

    @property
    def stream_time(self) -> float:
        return max([NEVER, *(p.s for p in self.payloads)])

    def of(self, user: str) -> list[Routed]:
        return [p for p in self.payloads if p.user == user and p.t > self.marks[user]]

    def expected(self, user: str, wall: float = NEVER) -> Context | None:
        return batch_fold.render(user, self.of(user), max(wall, self.stream_time), SETTINGS)


def published(stage: ByUser, wall: float = BEGIN) -> dict[str, Context | None]:
    out: dict[str, Context | None] = {}
    for user, value in stage.publish(wall):
        assert user not in out
        out[user] = None if value is None else orjson.loads(value)
    return out


def without_version(context: Context | None) -> Context | None:
    return context and {name: item for name, item in context.items() if name != "version"}


@dataclass(frozen=True)
class Quiet:
    """Time goes by. `unread`: the broker says that so many records more are in the partition; `gap`: the process was
    stopped meanwhile."""

    seconds: float
    unread: int
    gap: bool


def run(order: list[Happening], ends_batch: Callable[[int], bool]) -> dict[str, Context | None]:
    """After each batch those who changed are published, and those who expired; each record is the fold of what arrived
    by then. The newest ones are returned."""
    stage, arrived = fresh(), Arrived()
    newest: dict[str, Context | None] = {}
    changed: set[str] = set()
    for offset, item in enumerate(order):
        apply(stage, offset, item)
        if arrived.add(item):
            changed.add(item.user)
        if ends_batch(offset) or offset == len(order) - 1:
            changed |= {user for user, context in newest.items() if context and not arrived.expected(user)}
            out = published(stage)
            assert set(out) == changed
            for user, context in out.items():
                newest[user] = without_version(context)
                assert newest[user] == arrived.expected(user)
            changed = set()
    for user in USERS:
        assert newest.get(user) == arrived.expected(user)
    return {user: context for user, context in newest.items() if context is not None}


@given(st.sampled_from([25, 60]).flatmap(orders), st.integers(0, 2**30))
def test_every_published_record_is_the_fold_of_what_has_arrived(order: list[Happening], batches: int) -> None:
    run(order, lambda offset: bool(batches >> offset % 30 & 1))


@given(payloads(20).flatmap(lambda items: st.tuples(st.permutations(items), st.permutations(items))))
def test_the_order_of_arrival_does_not_matter(orders: tuple[list[Happening], list[Happening]]) -> None:
    one, other = orders
    assert run(one, lambda _: True) == run(other, lambda offset: offset % 3 == 0)


@given(orders(60))
def test_the_version_is_the_highest_offset_of_any_record_of_the_user(order: list[Happening]) -> None:
    stage = fresh()
    highest: dict[str, int] = {}
    for offset, item in enumerate(order):
        apply(stage, offset, item)
        highest[item.user] = offset
        for user, context in published(stage).items():
            assert context is None or context["version"] == highest[user]


IDLE = SETTINGS.model_copy(update={"expire_idle_users": True, "idle_after_s": 2.0})
quiets = st.builds(Quiet, st.sampled_from([1.0, 2.0, 9.0, 15.0]), st.sampled_from([0, 0, 0, 2]), st.booleans())


@given(payloads(25), lists_of(st.none() | quiets, 40))
def test_users_expire_by_the_wall_clock_only_at_the_end_of_a_silent_partition(
    items: list[Routed], between: list[Quiet | None]
) -> None:
    """Before each payload something may happen, or nothing. The wall clock is ahead of all event times."""
    wall = BEGIN + 25
    stage = ByUser(user_policy(IDLE), UserStart(RestorePoint(0), 0, 0, wall))
    arrived = Arrived()
    newest: dict[str, Context | None] = {}
    silent_since, end = wall, 0

    def publish() -> None:
        clock = wall if stage.next_offset >= end and wall - silent_since >= IDLE.idle_after_s else NEVER
        for user, context in published(stage, wall).items():
            newest[user] = without_version(context)
            assert newest[user] == arrived.expected(user, clock)
        for user, known in newest.items():
            assert known is None or known == arrived.expected(user, clock)

    for offset, (item, quiet) in enumerate(zip(items, between * 40, strict=False)):
        if quiet is not None:
            wall += quiet.seconds
            end = max(end, offset + quiet.unread)
            stage.see_end(offset + quiet.unread)
            if quiet.gap:
                stage.stay_awake(wall)
                silent_since = wall
            publish()
        apply(stage, offset, item, wall)
        silent_since = wall
        arrived.add(item)
        publish()
