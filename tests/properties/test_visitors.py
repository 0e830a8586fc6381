"""Records of sessions without a user: a batch fold of the input, whatever happens on the way; and nobody else's.

A record's key is the session id, so here a session id lives on one partition, as it does where producers use it as key.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import InvalidPayload, Skip
from tests.properties import batch_fold
from tests.properties.batch_fold import Context
from tests.properties.test_replay import Attempt, BrokenOff, Replayer
from tests.properties.traces import (
    PARTITIONS,
    TASKS,
    Checkpoint,
    Crash,
    Event,
    Pipe,
    Restart,
    World,
    cheap,
    configurations,
    context_of,
    crashes,
    crowded,
    flags,
    lists_of,
    live,
    pipes,
    resets,
    sources_in,
    steps,
    user_of,
)
from worker.pipeline.by_session import BySession
from worker.pipeline.reading import Reader
from worker.pipeline.restore_point import RestorePoint, decode, encode
from worker.pipeline.visitors import Visitors, VisitorStart
from worker.policies import link_policy, visitor_policy
from worker.settings import Settings
from worker.testing import Outgoing, Record, TaskId, Topic

HOMES = {"a": 0, "b": 1}
Table = dict[str, Context | None]


def with_visitors(settings: Settings) -> Settings:
    return settings.model_copy(update={"session_output_topic": "sessions"})


settings_with_visitors = configurations.map(with_visitors)


def at_home(pipe: Pipe) -> Pipe:
    return replace(pipe, partition=HOMES[pipe.session])


def shown(record: Record) -> Context | None:
    """What a record says; one that tells of no session says nothing of times either."""
    context = context_of(record)
    if context is not None and not context["sessions"]:
        del context["updated_at"], context["expires_at"]
    return context


def known(table: Table) -> Table:
    return {session: context for session, context in table.items() if context is not None}


# --- the stage --------------------------------------------------------------------------------------------------------


class Run:
    """A by_session task over one partition, and what a reader of its records has."""

    def __init__(self, settings: Settings, log: list[Record], point: RestorePoint, committed: int, end: int) -> None:
        policy = visitor_policy(settings)
        assert policy is not None
        self.stage = BySession(link_policy(settings), point, Visitors(policy, VisitorStart(committed, end, 0)))
        self.table: Table = {}
        self._log = log
        self._committed = committed
        self._reader = Reader(0, 3.0, point.sound_from)

    def read(self, end: int) -> None:
        for record in self._log[self.stage.next_offset : end]:
            try:
                read = self._reader.read_again if record.offset < self._committed else self._reader.read
                arrival = read(record.offset, record.value, record.timestamp, 1e12)
            except InvalidPayload:
                self.stage.refuse(record.offset)
                continue
            if isinstance(arrival, Skip):
                self.stage.skip(record.offset)
            else:
                self.stage.apply(record.offset, arrival, restoring=record.offset < self._committed)

    def publish(self) -> None:
        for session, value in self.stage.publish_visitors(0):
            self.table[session] = shown(Record(0, 0, None, None, value))


def log_of(settings: Settings, trace: list[Pipe]) -> list[Record]:
    world = World(settings)
    for pipe in trace:
        pipe(world)
    return world.driver.log(TaskId(Topic.INPUT, 0))


two_products = crowded.map(lambda pipe: replace(pipe, product="acme" if pipe.conversation == "k1" else pipe.product))
sizes = st.lists(st.integers(1, 4), min_size=40, max_size=40)


@cheap
@given(settings_with_visitors, lists_of(two_products, 40), sizes)
def test_after_each_batch_the_records_are_the_batch_fold(
    settings: Settings, trace: list[Pipe], batches: list[int]
) -> None:
    """So no line stands in a visitor's record any more once its session is linked."""
    log = log_of(settings, trace)
    run = Run(settings, log, RestorePoint(0), 0, 0)
    end = 0
    while end < len(log):
        end = min(len(log), end + batches.pop())
        run.read(end)
        run.publish()
        assert known(run.table) == known(batch_fold.visitors(log[:end], settings))
        assert not run.stage.visitors or run.stage.visitors._visitors.keys() <= {"a", "b"}


@cheap
@given(settings_with_visitors, lists_of(two_products, 40), st.integers(0, 40), st.integers(0, 40), sizes)
def test_a_restored_task_sets_right_what_the_one_before_it_left_behind(
    settings: Settings, trace: list[Pipe], committed: int, died_at: int, batches: list[int]
) -> None:
    log = log_of(settings, trace)
    committed, died_at = sorted((min(committed, len(log)), min(died_at, len(log))))
    run = Run(settings, log, RestorePoint(0), 0, 0)
    run.read(committed)
    run.publish()
    point = decode(encode(run.stage.restore_point()))
    assert point is not None
    run.read(died_at)
    run.publish()  # and dies

    restored = Run(settings, log, point, committed, died_at)
    restored.table = run.table
    while restored.stage.next_offset < died_at:
        restored.read(min(died_at, max(committed, restored.stage.next_offset + batches.pop())))
        restored.publish()
    restored.publish()
    assert known(restored.table) == known(batch_fold.visitors(log[:died_at], settings))
    restored.read(len(log))
    restored.publish()
    assert known(restored.table) == known(batch_fold.visitors(log, settings))


# --- both stages, and who dies ----------------------------------------------------------------------------------------

sessions_at_home = pipes.map(at_home)
tasks = st.sampled_from(TASKS)
clean: list[st.SearchStrategy[Event]] = [
    *[sessions_at_home] * 3,
    *[steps] * 2,
    *[st.builds(Checkpoint, tasks)],
    st.builds(Restart, tasks),
    st.builds(Crash, tasks, flags),
    *resets,
]
lives = lists_of(st.one_of(*clean), 100)
haunted_lives = lists_of(st.one_of(*clean, *crashes), 100)


def newest(world: World) -> Table:
    return {user_of(record): shown(record) for record in world.driver.session_output}


def expected(world: World) -> Table:
    found: Table = {}
    for partition in range(PARTITIONS):
        found |= batch_fold.visitors(world.driver.log(TaskId(Topic.INPUT, partition)), world.settings)
    return found


def assert_private(world: World) -> None:
    """A visitor's record tells of its own session only, of what names nobody; and of a user's record holds no address.
    Whoever is told of the same is the one user to whom it was routed."""
    logs = [world.driver.log(TaskId(Topic.INPUT, partition)) for partition in range(PARTITIONS)]
    payloads = {
        payload.source: payload
        for log in logs
        for payload in (batch_fold.payload_of(record, world.settings) for record in log)
        if payload is not None
    }
    told: set[batch_fold.Source] = set()
    for record in world.driver.session_output:
        context = context_of(record)
        if context is not None:
            assert b"example.com" not in (record.value or b"").replace(b"https://a.example/", b"")
            assert {entry["session_id"] for entry in context["sessions"]} <= {user_of(record)}
            for source in sources_in(context):
                assert (payloads[source].session[1], payloads[source].user) == (user_of(record), "")
                told.add(source)
    owners = {payload.source: payload.user for payload in world.routed()}
    for record in world.driver.output:
        context = context_of(record)
        if context is not None:
            assert {owners[source] for source in sources_in(context) if source in told} <= {user_of(record)}


@given(settings_with_visitors, lives)
def test_any_crash_gives_the_batch_fold(settings: Settings, trace: list[Event]) -> None:
    world = live(settings, trace)
    assert known(newest(world)) == known(expected(world))
    assert_private(world)


@given(settings_with_visitors, lives)
def test_a_restart_of_everything_changes_no_record(settings: Settings, trace: list[Event]) -> None:
    world = live(settings, trace)
    before = newest(world)
    world.driver.restart()
    world.settle()
    assert known(newest(world)) == known(before)


@given(settings_with_visitors, lives, st.booleans())
def test_a_replay_gives_the_records_that_were_there_and_no_others(
    settings: Settings, trace: list[Event], late: bool
) -> None:
    world = live(settings, trace)
    world.driver.checkpoint()
    before = newest(world)
    of_deleted_records = b'{"updated_at": 0, "expires_at": 1e12, "sessions": []}'
    world.driver._cluster.deliver(Outgoing(Topic.SESSIONS, b"gone", of_deleted_records, []))
    Replayer(world).run(Attempt(late=late, end=BrokenOff.NOWHERE, meanwhile=(), served=False))
    assert known(newest(world)) == known(before)


@given(settings_with_visitors, haunted_lives)
def test_also_a_member_that_was_counted_out_brings_nothing_together(settings: Settings, trace: list[Event]) -> None:
    assert_private(live(settings, trace))


@given(configurations, lives)
def test_users_have_the_same_records_with_visitors_and_without(settings: Settings, trace: list[Event]) -> None:
    assert live(settings, trace).newest() == live(with_visitors(settings), trace).newest()
