"""Random lives of the pipeline: what is piped in, which partition goes on, who dies, who goes on as a zombie.

Small numbers on purpose (a lookback of 10 s, three users, two partitions), so that borders are hit again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeVar

import orjson
from hypothesis import settings
from hypothesis import strategies as st

from tests.properties import batch_fold
from tests.properties.batch_fold import NEVER, Context, Routed, Source
from worker.settings import Settings
from worker.testing import Record, Task, TaskId, Topic, TopologyDriver

T = TypeVar("T")
Options = dict[str, list[Any]]

cheap = settings(max_examples=3 * settings().max_examples)  # for what takes a millisecond

PARTITIONS = 2
USERS = ["alice", "bob", "carol"]  # alice and bob live on different partitions, carol with bob
TASKS = [TaskId(topic, number) for topic in (Topic.INPUT, Topic.REPARTITION) for number in range(PARTITIONS)]
IDLE_AFTER = 2.0

configurations = st.builds(
    Settings,
    lookback_seconds=st.just(10.0),
    link_retention_s=st.sampled_from([40.0, 8.0, 15.0]),
    max_actions_per_session=st.sampled_from([4, 2, 9]),
    max_sessions_per_user=st.sampled_from([3, 2]),
    max_clock_skew_s=st.just(3.0),
    idle_after_s=st.just(IDLE_AFTER),
    expire_idle_users=st.just(False),
    include_email=st.sampled_from([True, True, False]),
)


@dataclass
class World:
    """A pipeline, those who were left behind by a rebalance, and what the input must become."""

    settings: Settings
    driver: TopologyDriver = field(init=False)
    zombies: list[Task] = field(default_factory=list)
    crashed: bool = False

    def __post_init__(self) -> None:
        self.driver = TopologyDriver(self.settings, partitions=PARTITIONS)

    def settle(self) -> None:
        """Everything goes on until nothing is left, the zombies too."""
        self.driver.process()
        while self.zombies:
            zombie = self.zombies.pop()
            zombie.step()
            self.driver.process()

    def routed(self) -> list[Routed]:
        logs = [self.driver.log(task_id) for task_id in TASKS if task_id.topic is Topic.INPUT]
        return [payload for log in logs for payload in batch_fold.route(log, self.settings)]

    def marks(self) -> dict[str, list[tuple[int, float]]]:
        """Of each user the resets, as (offset, mark)."""
        found: dict[str, list[tuple[int, float]]] = {}
        for user, offset, mark in batch_fold.marks(self.driver.repartition):
            found.setdefault(user, []).append((offset, mark))
        return found

    def expected(self, wall: float = NEVER) -> dict[str, Context | None]:
        """The record of every user by a batch fold of the whole input; None = nothing known. Without versions."""
        routed, marks = self.routed(), self.marks()
        out: dict[str, Context | None] = {}
        for user in USERS:
            home = [p for p in routed if self.driver.home(p.user) == self.driver.home(user)]
            clock = max([wall, *(p.s for p in home)])
            mark = max([NEVER, *(mark for _, mark in marks.get(user, []))])
            mine = [p for p in routed if p.user == user and p.t > mark]
            out[user] = batch_fold.render(user, mine, clock, self.settings)
        return out

    def newest(self) -> dict[str, Context | None]:
        """The newest record of every user, without its version."""
        found: dict[str, Context | None] = dict.fromkeys(USERS)
        for record in self.driver.output:
            found[user_of(record)] = context_of(record)
        for context in found.values():
            if context is not None:
                del context["version"]
        return found


def user_of(record: Record) -> str:
    return (record.key or b"").decode()


def context_of(record: Record) -> Context | None:
    context: Context | None = None if record.value is None else orjson.loads(record.value)
    return context


def sources_in(context: Context) -> Iterator[Source]:
    """Which payloads a record tells of: each action's description names its own."""
    for session in context["sessions"]:
        for line in session["context"].split("\n")[1:]:
            partition, offset, _ = line.split("source ")[1].split(" — ")[0].split("/")
            yield int(partition), int(offset)


def lists_of(item: st.SearchStrategy[T], longest: int) -> st.SearchStrategy[list[T]]:
    """Lists of every length alike: by itself Hypothesis prefers short ones, in which little happens."""
    return st.integers(1, longest).flatmap(lambda length: st.lists(item, min_size=length, max_size=length))


def one_of_each(**options: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One of the options for each name, in a single draw: drawing costs more than all that is tested with it. At most
    2**24 combinations, or Hypothesis prefers some."""
    combinations = prod(map(len, options.values()))
    assert combinations < 2**24

    def pick(number: int) -> dict[str, Any]:
        picked = {}
        for name, values in options.items():
            number, at = divmod(number, len(values))
            picked[name] = values[at]
        return picked

    return st.integers(0, combinations - 1).map(pick)


# --- what can happen --------------------------------------------------------------------------------------------------

Event = Callable[[World], None]


@dataclass(frozen=True)
class Pipe:
    """`ahead`: how far the event time lies ahead of the record's timestamp; None = missing. `created`: seconds ago."""

    after: float
    partition: int
    session: str
    product: str
    user: str
    ahead: float | None
    created: float
    actions: int
    conversation: str
    email: str
    kind: str

    def __call__(self, world: World) -> None:
        driver = world.driver
        driver.clock.advance(self.after)
        offset = len(driver.log(TaskId(Topic.INPUT, self.partition)))
        timestamp = driver.clock.wall() - self.created
        document: dict[str, Any] = {
            "type": self.kind,
            "session_id": self.session,
            "product_id": self.product,
            "user_id": self.user,
            "conversation_id": self.conversation,
            "email": self.email,
            "actions": [
                {
                    "index": index,
                    "type": "click",
                    "description": f"source {self.partition}/{offset}/{index}",
                    "canonical_url": "https://a.example/",
                }
                for index in range(self.actions)
            ],
        }
        document = {name: item for name, item in document.items() if item != ""}
        if self.ahead is not None:
            document["forwarded_at"] = timestamp + self.ahead
        value = orjson.dumps({**document, "actions": 1} if self.kind == "broken" else document)
        driver.pipe(value, key=self.session.encode(), timestamp=timestamp, partition=self.partition)


def pipes_of(*options: Options) -> st.SearchStrategy[Pipe]:
    drawn = st.tuples(*(one_of_each(**part) for part in options))
    return drawn.map(lambda parts: Pipe(**{name: value for part in parts for name, value in part.items()}))


@dataclass(frozen=True)
class Step:
    task: TaskId
    records: int
    publish: bool
    deliver: bool

    def __call__(self, world: World) -> None:
        world.driver.step(self.task, self.records, publish=self.publish, deliver=self.deliver)


@dataclass(frozen=True)
class Checkpoint:
    task: TaskId

    def __call__(self, world: World) -> None:
        world.driver.checkpoint(self.task)


@dataclass(frozen=True)
class Restart:
    """One task is handed on, clean."""

    task: TaskId

    def __call__(self, world: World) -> None:
        if not world.driver.tasks[self.task].is_restoring:  # what is committed is all there is then
            world.driver.checkpoint(self.task)
            world.driver.crash(self.task)


@dataclass(frozen=True)
class Erase:
    """`ago`: a reset that a replay writes again, for what happened up to so many seconds ago."""

    user: str
    ago: float | None

    def __call__(self, world: World) -> None:
        now = world.driver.clock.wall()
        world.driver.reset_user(self.user, mark=None if self.ago is None else now - self.ago)


@dataclass(frozen=True)
class Crash:
    task: TaskId
    delivered: tuple[bool, ...]

    def __call__(self, world: World) -> None:
        world.crashed = True
        world.driver.crash(self.task, delivered=self.delivered)


@dataclass(frozen=True)
class Lose:
    """A member is counted out and does not know it yet."""

    partition: int

    def __call__(self, world: World) -> None:
        world.crashed = True
        zombie = world.driver.lose(TaskId(Topic.INPUT, self.partition))
        if not zombie.is_restoring:
            world.zombies.append(zombie)


@dataclass(frozen=True)
class Haunt:
    """A zombie goes on for a while; part of what it does arrives. Then it is gone, or not."""

    records: int
    delivered: tuple[bool, ...]
    leaves: bool

    def __call__(self, world: World) -> None:
        if world.zombies:
            zombie = world.zombies[0]
            zombie.step(self.records, deliver=False)
            zombie.deliver(self.delivered)
            if self.leaves:
                del world.zombies[0]


@dataclass(frozen=True)
class Wait:
    seconds: float

    def __call__(self, world: World) -> None:
        world.driver.advance(self.seconds)


who_and_when: Options = {
    "after": [0, 0, 1, 1, 2, 4, 0, 1, 9, 21, 45],
    "partition": list(range(PARTITIONS)),
    "session": ["a", "a", "b"],
    "product": ["", "", "", "", "acme"],
    "user": ["", "", "", *USERS],
}
what: Options = {
    "ahead": [0, 0, 0, -1, -3, 2, 3, -7, -12, None, 50, -2e9],
    "created": [0, 0, 0, 0, 0, 5],
    "actions": [1, 1, 0, 2, 3],
}
more: Options = {
    "conversation": ["", "", "k1", "k2"],
    "email": ["", "", "x@example.com", "y@example.com"],
    "kind": ["actions"] * 20 + ["summary", "broken"],
}
pipes = pipes_of(who_and_when, what, more)

# Two sessions and few users, so that links lapse and payloads are held over all the borders.
crowded = pipes_of(
    who_and_when
    | {
        "after": [0, 0, 1, 1, 2, 2, 3, 5, 6, 7, 8, 10, 15, 19, 20, 21],
        "partition": [0],
        "session": ["a", "a", "a", "b"],
        "product": [""],
        "user": ["", "", "", "", "alice", "alice", "bob"],
    },
    what | {"ahead": [0, 0, 0, 3, -7, 4], "actions": [0, 0, 1, 1, 3]},
    more,
)
tasks = st.sampled_from(TASKS)
flags = st.lists(st.booleans(), max_size=8).map(tuple)
steps = st.builds(
    lambda drawn: Step(**drawn),
    one_of_each(task=TASKS, records=[1, 2, 5], publish=[True, False], deliver=[True, False]),
)
calm: list[st.SearchStrategy[Event]] = [pipes, pipes, pipes, steps, steps, st.builds(Checkpoint, tasks)]
handovers: list[st.SearchStrategy[Event]] = [st.builds(Restart, tasks)]
resets: list[st.SearchStrategy[Event]] = [
    st.builds(Erase, st.sampled_from(USERS), st.sampled_from([None, None, 0, 3, 15, -2]))
]
waits: list[st.SearchStrategy[Event]] = [st.builds(Wait, st.sampled_from([1.0, 2.0, 15.0]))]
crashes: list[st.SearchStrategy[Event]] = [
    st.builds(Crash, tasks, flags),
    st.builds(Lose, st.integers(0, PARTITIONS - 1)),
    st.builds(Haunt, st.integers(0, 3), flags, st.booleans()),
]


def traces(*more: list[st.SearchStrategy[Event]], longest: int = 100) -> st.SearchStrategy[list[Event]]:
    """Lives of up to `longest` events; calm ones unless `more` can happen."""
    return lists_of(st.one_of(*calm, *(event for events in more for event in events)), longest)


def live(settings: Settings, trace: list[Event]) -> World:
    """A world after all that, settled."""
    world = World(settings)
    for event in trace:
        event(world)
    world.settle()
    return world
