"""The second stage alone: records in any order, in any batches, as often as anybody likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, TypeVar

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import batch_fold
from tests.properties.batch_fold import NEVER, Context, Routed
from tests.properties.traces import cheap, lists_of, one_of_each
from tests.routed import routed
from worker.context.session_memory import source_of
from worker.pipeline.by_user import ByUser, UserStart
from worker.pipeline.repartition import Reset
from worker.pipeline.restore_point import RestorePoint
from worker.policies import user_policy
from worker.settings import Settings

T = TypeVar("T")

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
    when = one_of_each(
        at=[*borders * (1 + spread // len(borders)), *range(spread)],
        fraction=[0.0, 0.0, 0.0, 0.125, 0.25],
        ahead=[0, 0, 0, 1, 3],
        user=USERS,
        session=[("", "a"), ("", "b"), ("acme", "a"), ("", "c")],
    )
    what = one_of_each(
        conversation=["", "", "k1", "k2"],
        email=["", "", "", "x@example.com", "y@example.com"],
        actions=[1, 0, 2, 3],
        partition=[0, 1, 2],
    )

    def build(drawn: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[Routed]:
        built = []
        for offset, (when, what) in enumerate(drawn):
            t = BEGIN + when["at"] + when["fraction"]
            source = (what["partition"], offset)
            lines = tuple(f"[{index}] click: {source} {index} — " for index in range(what["actions"]))
            user, session = when["user"], when["session"]
            built.append(
                Routed(t, source, t - when["ahead"], user, session, what["conversation"], what["email"], lines)
            )
        return built

    return lists_of(st.tuples(when, what), 40).map(build)


def shuffled(items: Sequence[T], seed: int) -> list[T]:
    """In another order for each seed; 0 is as they are."""
    out = list(items)
    if seed:
        Random(seed).shuffle(out)
    return out


seeds = st.integers(0, 2**24 - 1)


def orders(spread: int) -> st.SearchStrategy[list[Happening]]:
    """The payloads in any order, some of them again, and resets in between, most of them at a payload's very time."""
    again = one_of_each(repeats=[0, 3, 10], resets=[0, 1, 1, 2, 3], seed=list(range(50_000)))
    reset = one_of_each(of=list(range(40)), user=USERS, after=[0.0, 0.0, 0.0, -1.0, 0.5, 7.0], again=[False, True])

    def build(items: list[Routed], drawn: dict[str, Any], drawn_resets: list[dict[str, Any]]) -> list[Happening]:
        repeats = shuffled(items, drawn["seed"])[: drawn["repeats"]]
        resets = [
            Erasure(at["user"], items[at["of"] % len(items)].t + at["after"], at["again"])
            for at in drawn_resets[: drawn["resets"]]
        ]
        return shuffled([*items, *repeats, *resets], drawn["seed"])

    return st.builds(build, payloads(spread), again, st.lists(reset, min_size=3, max_size=3))


def fresh() -> ByUser:
    return ByUser(user_policy(SETTINGS), UserStart(RestorePoint(0), 0, 0, BEGIN))


def apply(stage: ByUser, offset: int, item: Happening, wall: float = 0.0) -> None:
    if isinstance(item, Erasure):
        reset = Reset(item.user, item.mark if item.again else None)
        return stage.apply(offset, wall if item.again else item.mark, reset)
    product, session = item.session
    payload = routed(
        item.user,
        item.t,
        source_of(*item.source),
        *item.lines,
        stream_time=item.s,
        session_id=session,
        product_id=product,
        conversation_id=item.conversation,
        email=item.email,
    )
    return stage.apply(offset, wall, [payload])


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


def run(order: Sequence[Happening], ends_batch: Callable[[int], bool]) -> dict[str, Context | None]:
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


@cheap
@given(st.sampled_from([25, 60]).flatmap(orders), st.integers(0, 2**30))
def test_every_published_record_is_the_fold_of_what_has_arrived(order: list[Happening], batches: int) -> None:
    run(order, lambda offset: bool(batches >> offset % 30 & 1))


@cheap
@given(payloads(20), seeds)
def test_the_order_of_arrival_does_not_matter(items: list[Routed], seed: int) -> None:
    assert run(items, lambda _: True) == run(shuffled(items, seed), lambda offset: offset % 3 == 0)


@cheap
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
quiets = one_of_each(seconds=[1.0, 2.0, 9.0, 15.0], unread=[0, 0, 0, 2], gap=[False, True]).map(lambda it: Quiet(**it))


@cheap
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
            stage.idle_clock.see_end(offset + quiet.unread)
            if quiet.gap:
                stage.idle_clock.stay_awake(wall)
                silent_since = wall
            publish()
        apply(stage, offset, item, wall)
        silent_since = wall
        arrived.add(item)
        publish()
