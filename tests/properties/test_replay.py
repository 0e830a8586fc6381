"""A replay, broken off anywhere and run again, from any time on, gives every user the record that was there before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from hypothesis import given
from hypothesis import strategies as st

from tests.properties.traces import (
    PARTITIONS,
    TASKS,
    Checkpoint,
    Event,
    Pipe,
    World,
    configurations,
    context_of,
    crashes,
    handovers,
    live,
    pipes,
    resets,
    sources_in,
    traces,
    user_of,
)
from worker.pipeline.repartition import PUBLISH_AGAIN, read
from worker.pipeline.restore_point import decode, encode
from worker.replay.plan import InputStart, Plan, input_start
from worker.replay.repartition_log import RepartitionLog
from worker.replay.rewind import positions
from worker.replay.standing import Standing
from worker.replay.start_time import BEGINNING, latest_start
from worker.runtime.restore import Committed, LogBounds
from worker.settings import Settings
from worker.testing import Outgoing, TaskId, Topic, TopologyDriver


class BrokenOff(Enum):
    """Where the replay ends that is run again."""

    WRITING_RESETS = "after half of the resets"
    BEFORE_MOVING = "after all of the resets"
    WORKING = "somewhere on the way"
    CLEARING = "before the last users are cleared"
    NOWHERE = "it is done"


@dataclass(frozen=True)
class Attempt:
    """`late`: as late as it may begin. `meanwhile`: what the members go through. `served`: a member runs after it."""

    late: bool
    end: BrokenOff
    meanwhile: tuple[Event, ...]
    served: bool


attempts = st.builds(
    Attempt,
    st.booleans(),
    st.sampled_from(BrokenOff),
    st.lists(st.one_of(crashes[0], *handovers, st.builds(Checkpoint, st.sampled_from(TASKS))), max_size=6).map(tuple),
    st.booleans(),
)


class Replayer:
    """The steps of `worker.replay`, on the driver's logs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.driver: TopologyDriver = world.driver
        self.settings: Settings = world.settings

    # the same as worker.replay.plan.InputTimes asks of a broker
    def first_at(self, partition: int, timestamp: float) -> int:
        log = self.driver.log(TaskId(Topic.INPUT, partition))
        return next((r.offset for r in log if r.timestamp is not None and r.timestamp >= timestamp), len(log))

    def timestamp_at(self, partition: int, offset: int) -> float | None:
        return self.driver.log(TaskId(Topic.INPUT, partition))[offset].timestamp

    def run(self, attempt: Attempt) -> None:
        plan = self.plan(late=attempt.late)
        output_before = len(self.driver.output)
        marks = list(plan.marks.items())
        half = len(marks) // 2 if attempt.end is BrokenOff.WRITING_RESETS else len(marks)
        for user, mark in marks[:half]:
            self.driver.reset_user(user, mark=mark)
        if attempt.end in {BrokenOff.WRITING_RESETS, BrokenOff.BEFORE_MOVING}:
            return
        for (topic, partition), (offset, point) in positions(plan, self.settings).items():
            kind = Topic.INPUT if topic == self.settings.input_topic else Topic.REPARTITION
            self.driver._cluster.commits[TaskId(kind, partition)] = (offset, encode(point))
        for key in plan.sessions:
            self.driver._cluster.deliver(Outgoing(Topic.SESSIONS, key, None, []))
        self.driver.crash()
        for event in attempt.meanwhile:
            for task in TASKS:
                self.driver.step(task, 2)
            event(self.world)
        if attempt.end is BrokenOff.WORKING:
            return
        self.driver.process()
        self.driver.checkpoint()
        if attempt.end is BrokenOff.CLEARING:
            return
        standing = Standing(plan.standing)
        for record in self.driver.output[output_before:]:
            standing.add(record.key, record.value)
        for key in standing.untouched:
            self.driver.reset_user(key.decode(), mark=PUBLISH_AGAIN)
        self.driver.process()
        self.driver.checkpoint()

    def plan(self, *, late: bool) -> Plan:
        """As `worker.replay.survey` makes it."""
        seen, standing, sessions = RepartitionLog(), Standing(), Standing()
        for partition in range(PARTITIONS):
            for record in self.driver.log(TaskId(Topic.REPARTITION, partition)):
                assert record.timestamp is not None
                seen.add(partition, record.timestamp, read(record.key, record.value, record.headers))
        for record in self.driver.output:
            standing.add(record.key, record.value)
        for record in self.driver.session_output:
            sessions.add(record.key, record.value)
        floor = latest_start(seen.stream_times.values(), self.settings, self.driver.clock.wall())
        since = floor if late else BEGINNING
        return Plan(
            asked=since,
            since=since,
            inputs=tuple(self.input_start(partition, since) for partition in range(PARTITIONS)),
            empty_from={n: len(self.driver.log(TaskId(Topic.REPARTITION, n))) for n in range(PARTITIONS)},
            marks=seen.marks,
            standing=frozenset(standing.published),
            sessions=frozenset(sessions.published),
            output_ends={},
            committed={},
        )

    def input_start(self, partition: int, since: float) -> InputStart:
        task = TaskId(Topic.INPUT, partition)
        next_offset, metadata = self.driver._cluster.commits.get(task, (None, None))
        committed = Committed(next_offset, decode(metadata))
        reach_s = self.settings.link_retention_s + self.settings.retention_s
        bounds = LogBounds(0, len(self.driver.log(task)))
        return input_start(partition, bounds, committed.next_offset, since, reach_s, self)


busy = st.lists(st.one_of(pipes, pipes, pipes, pipes, st.builds(Checkpoint, st.sampled_from(TASKS))), min_size=40)


@given(configurations, traces(crashes, handovers, resets), st.lists(attempts, max_size=3), st.booleans())
def test_a_replay_gives_the_records_that_were_there(
    settings: Settings, trace: list[Event], broken_off: list[Attempt], late: bool
) -> None:
    world = live(settings, trace)
    world.driver.checkpoint()
    replay_and_compare(world, broken_off, late=late)


@given(configurations, busy, st.lists(attempts, max_size=1))
def test_a_replay_of_the_last_records_only_gives_the_records_that_were_there(
    settings: Settings, trace: list[Event], broken_off: list[Attempt]
) -> None:
    world = live(settings, trace)
    replay_and_compare(world, broken_off, late=True)


def replay_and_compare(world: World, broken_off: list[Attempt], *, late: bool) -> None:
    before, begins = world.newest(), len(world.driver.output)
    erased_at = {user: max(mark for _, mark in marks) for user, marks in world.marks().items()}
    replayer = Replayer(world)
    for attempt in broken_off:
        replayer.run(attempt)
        if attempt.served:  # by a member, instead of by another replay
            world.driver.process()
            world.driver.checkpoint()
            if attempt.end in {BrokenOff.WRITING_RESETS, BrokenOff.BEFORE_MOVING, BrokenOff.NOWHERE}:
                assert world.newest() == before
        world.driver.crash()
    replayer.run(Attempt(late=late, end=BrokenOff.NOWHERE, meanwhile=(), served=False))
    assert world.newest() == before
    times = {(payload.source, payload.user): payload.t for payload in world.routed()}
    for record in world.driver.output[begins:]:
        user, context = user_of(record), context_of(record)
        if context is not None and user in erased_at:
            assert all(times[source, user] > erased_at[user] for source in sources_in(context))


def test_a_session_that_was_identified_before_the_start_is_still_its_users() -> None:
    settings = Settings(lookback_seconds=10, link_retention_s=40, max_clock_skew_s=3, expire_idle_users=False)
    named = Pipe(
        after=5, partition=0, session="a", product="", user="alice", ahead=0, created=0, actions=1,
        conversation="", email="", kind="actions",
    )  # fmt: skip
    world = live(settings, [named, *[replace(named, user="")] * 7])
    world.driver.checkpoint()
    start = Replayer(world).plan(late=True).inputs[0]
    assert (start.restore, start.start) == (0, 3)
    replay_and_compare(world, [], late=True)
    assert world.newest()["alice"] is not None
