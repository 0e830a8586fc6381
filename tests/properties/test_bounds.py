"""What a task remembers stays within what its settings and the traffic of one retention give; queues inside as well."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Payload, WireAction
from tests.properties.batch_fold import NEVER, Routed
from tests.properties.test_arrival_order import BEGIN, Erasure, Happening, apply, orders
from tests.properties.test_restore import fold
from tests.properties.traces import (
    Event,
    Pipe,
    World,
    configurations,
    crashes,
    crowded,
    handovers,
    lists_of,
    pipes,
    resets,
    traces,
    waits,
)
from worker.pipeline.by_session import BySession, LinkPolicy
from worker.pipeline.by_user import SEGMENTS_PER_RETENTION, ByUser, UserPolicy, UserStart
from worker.pipeline.reading import arrival_of
from worker.pipeline.rendering import RenderPolicy
from worker.pipeline.repartition import RoutedPayload
from worker.pipeline.restore_point import RestorePoint
from worker.policies import link_policy
from worker.settings import Settings
from worker.testing import TaskId, Topic

SLACK = 65  # a queue is tidied when it is twice as long as what it queued then, and not for less than this


def assert_within_bounds(stage: BySession, policy: LinkPolicy, *, largest: int) -> None:
    """`largest`: the actions of the largest payload."""
    since = stage.stream_time - policy.retention_s
    assert stage.held_sessions <= policy.max_held_sessions
    assert stage.held_payloads == sum(len(session.held) for session in stage._sessions.values())
    for session in stage._sessions.values():
        actions = sum(held.actions for held in session.held)
        assert session.held_actions == actions <= max(policy.max_actions_per_session, largest)
        assert len(session.held) <= policy.max_actions_per_session
    assert len(stage._held_order) <= 2 * policy.max_held_sessions * policy.max_actions_per_session + SLACK
    stage.restore_point()
    assert all(session.seen_at >= since for session in stage._sessions.values())
    assert stage._holding == {session.key for session in stage._sessions.values() if session.held}


def assert_user_bounds(stage: ByUser, policy: UserPolicy, *, largest: int, skew: float) -> None:
    """After publishing."""
    since = stage.stream_time - policy.retention_s
    for user in stage._users.values():
        assert len(user.sessions) <= policy.hard_sessions
        for memory in user.sessions.values():
            actions = sum(payload.actions for payload in memory._payloads)
            assert memory._actions == actions < policy.render.max_actions_per_session + largest
            assert len(memory._payloads) <= max(1, actions)
        assert user.expiry_due + user.fading_due >= 1
        assert user.is_out or max(user.newest, user.mark) >= since or user.expiry_due
    assert len(stage._expiry) == sum(user.expiry_due for user in stage._users.values())
    assert len(stage._fading) == sum(user.fading_due for user in stage._users.values())
    assert set(stage._changed) | set(stage._restored) <= set(stage._users)
    segments = stage._segments
    assert [s.newest for s in segments] == sorted({s.newest for s in segments})
    assert len(segments) <= SEGMENTS_PER_RETENTION * (1 + skew / policy.retention_s) + 3


@given(configurations, st.integers(1, 3), lists_of(crowded | pipes, 80))
def test_a_by_session_task_holds_no_more_than_its_policy(settings: Settings, most: int, trace: list[Pipe]) -> None:
    settings = settings.model_copy(update={"max_held_sessions": most})
    policy = link_policy(settings)
    world = World(settings)
    stage = BySession(policy, RestorePoint(0))
    for pipe in trace:
        pipe(world)
    for record in world.driver.log(TaskId(Topic.INPUT, 0)):
        fold(stage, record, world.driver.clock.wall())
        assert_within_bounds(stage, policy, largest=3)


@given(configurations, traces(resets, handovers, crashes, waits))
def test_tasks_stay_within_their_bounds_whatever_happens(settings: Settings, trace: list[Event]) -> None:
    world = World(settings)
    for event in trace:
        event(world)
        for task in world.driver.tasks.values():
            if isinstance(task.stage, ByUser) and not task.is_restoring:
                task.publish()
                assert_user_bounds(task.stage, task.stage._policy, largest=3, skew=3)
            elif isinstance(task.stage, BySession):
                assert_within_bounds(task.stage, task.stage._policy, largest=3)


@given(orders(15), st.integers(1, 2))
def test_a_user_never_has_more_sessions_than_ten_times_those_shown(order: list[Happening], shown: int) -> None:
    policy = UserPolicy(RenderPolicy(lookback_s=10, max_sessions=shown, max_actions_per_session=4))
    stage = ByUser(policy, UserStart(RestorePoint(0), 0, 0, BEGIN))
    for offset, item in enumerate(order):
        if isinstance(item, Routed):
            item = item._replace(session=("", str(offset)))
        apply(stage, offset, item)
        stage.publish(BEGIN)
        assert_user_bounds(stage, policy, largest=3, skew=3)
        for user in stage._users.values():
            assert user.newest == max([NEVER, *(memory.last_seen_at for memory in user.sessions.values())])


# --- long runs --------------------------------------------------------------------------------------------------------

LINKS = LinkPolicy(retention_s=20, link_retention_s=40, max_actions_per_session=4, max_held_sessions=50)
USERS = UserPolicy(RenderPolicy(lookback_s=10, max_sessions=3, max_actions_per_session=4), expire_idle_users=False)


def arrival(offset: int, at: float, session: str, user: str = "") -> tuple[int, RoutedPayload]:
    return offset, arrival_of(Payload(session, "", user, "", "", [WireAction()], at), offset, at, at)


def routed(offset: int, at: float, user: str, session: str = "a") -> Routed:
    return Routed(at, (0, offset), at, user, ("", session), "k1", "x@example.com", ("[0] click: pay — ",))


def test_sessions_that_come_and_go_leave_nothing_behind_one_that_holds_for_long() -> None:
    stage = BySession(LINKS, RestorePoint(0))
    stage.apply(*arrival(0, BEGIN, "first"))
    for offset in range(1, 5001):
        stage.apply(*arrival(offset, BEGIN + offset / 500, f"s{offset // 2}", user="alice" if offset % 2 else ""))
        assert stage.held_payloads <= 2
        assert len(stage._held_order) <= 2 * 2 + SLACK
    assert stage.restore_point().offset == 0


def test_sessions_are_forgotten_without_a_checkpoint() -> None:
    stage = BySession(LINKS, RestorePoint(0))
    for offset in range(5000):
        stage.apply(*arrival(offset, BEGIN + offset, f"s{offset}", user="alice"))
        assert stage.session_count <= LINKS.retention_s + 1
        assert len(stage._confirmations) <= 2 * (LINKS.retention_s + 1) + SLACK


def test_a_mark_far_ahead_blocks_the_restore_offset_and_collects_nothing_behind_it() -> None:
    stage = ByUser(USERS, UserStart(RestorePoint(0), 0, 0, BEGIN))
    apply(stage, 0, Erasure("alice", BEGIN + 1e9, again=False))
    for offset in range(1, 5001):
        apply(stage, offset, routed(offset, BEGIN + offset, "bob"))
        stage.publish(BEGIN)
        assert_user_bounds(stage, USERS, largest=1, skew=0)
    assert stage.restore_point().offset == 0
    assert stage.user_count == 2


def test_users_that_come_and_go_leave_nothing_behind_one_that_stays() -> None:
    stage = ByUser(USERS, UserStart(RestorePoint(0), 0, 0, BEGIN))
    for number in range(3000):
        apply(stage, 2 * number, routed(2 * number, BEGIN + number, "alice", f"s{number}"))
        apply(stage, 2 * number + 1, routed(2 * number + 1, BEGIN + number, f"u{number}"))
        stage.publish(BEGIN)
        assert stage.user_count <= USERS.retention_s + 2
        assert len(stage._expiry) + len(stage._fading) <= 2 * stage.user_count
        assert len(stage._users["alice"].sessions) <= USERS.retention_s + 1


def test_a_restore_of_a_whole_log_remembers_payloads_of_one_retention_only() -> None:
    """Where somebody else's tool set the offsets, the whole log is read back."""
    stage = ByUser(USERS, UserStart(RestorePoint(0, NEVER), 3000, 3000, BEGIN))
    for offset in range(3000):
        apply(stage, offset, routed(offset, BEGIN + offset, f"u{offset}"))
        assert sum(bool(user.sessions) for user in stage._users.values()) <= USERS.retention_s + 2
        assert len(stage._segments) <= SEGMENTS_PER_RETENTION + 2
    published = dict(stage.publish(BEGIN))
    assert [user for user, value in published.items() if value] == [f"u{number}" for number in range(2989, 3000)]
    assert len(published) == 3000
    assert stage.user_count <= USERS.retention_s + 1
    assert stage.restore_point().offset == 3000 - USERS.retention_s - 1
