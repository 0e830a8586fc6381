"""The promise: whatever happens on the way, the newest record of every user is a batch fold of the input."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.properties.batch_fold import NEVER
from tests.properties.traces import (
    IDLE_AFTER,
    Event,
    World,
    configurations,
    context_of,
    crashes,
    handovers,
    live,
    resets,
    sources_in,
    traces,
    user_of,
    waits,
)
from worker.settings import Settings


def assert_private(world: World) -> None:
    """No record that was ever published tells of what another user did, or of what was erased by then."""
    owner = {payload.source: payload for payload in world.routed()}
    marks = world.marks()
    for record in world.driver.output:
        context = context_of(record)
        if context is None:
            continue
        user = user_of(record)
        told = [owner[source] for source in sources_in(context)]
        assert [payload for payload in told if payload.user != user] == []
        erased = max([NEVER, *(mark for at, mark in marks.get(user, []) if at <= context["version"])])
        assert [payload for payload in told if payload.t <= erased] == []


def assert_versions_do_not_fall(world: World) -> None:
    highest: dict[str, int] = {}
    for record in world.driver.output:
        context = context_of(record)
        version = -1 if context is None else context["version"]
        if context is not None:
            assert version >= highest.get(user_of(record), -1)
        highest[user_of(record)] = version


@given(configurations, traces(resets, handovers))
def test_any_interleaving_of_the_partitions_gives_the_batch_fold(settings: Settings, trace: list[Event]) -> None:
    world = live(settings, trace)
    assert world.newest() == world.expected()
    assert_private(world)
    assert_versions_do_not_fall(world)


@given(configurations, traces(resets, handovers, crashes))
def test_any_crash_and_any_zombie_gives_the_batch_fold(settings: Settings, trace: list[Event]) -> None:
    world = live(settings, trace)
    assert world.newest() == world.expected()
    assert_private(world)


@given(configurations, traces(resets, handovers, crashes, waits), st.booleans())
def test_idle_users_end_as_null_and_no_ghost_comes_back(settings: Settings, trace: list[Event], clean: bool) -> None:
    settings = settings.model_copy(update={"expire_idle_users": True})
    world = live(settings, trace)
    driver = world.driver
    driver.advance(IDLE_AFTER)
    assert world.newest() == world.expected(wall=driver.clock.wall())
    assert_private(world)

    driver.checkpoint()
    driver.advance(5)
    published = len(driver.output)
    if clean:
        driver.restart()
    else:
        driver.crash()
    driver.process()
    since = driver.clock.wall() - settings.lookback_seconds
    for record in driver.output[published:]:
        context = context_of(record)
        assert context is None or context["updated_at"] >= since


@given(configurations, traces(handovers, crashes, waits), st.sampled_from(["alice", "bob"]))
def test_a_reset_ends_in_null_until_something_new_happens(settings: Settings, trace: list[Event], user: str) -> None:
    world = live(settings, trace)
    world.driver.clock.advance(settings.max_clock_skew_s + 1)
    world.driver.reset_user(user)
    world.settle()
    assert world.newest()[user] is None

    driver = world.driver
    driver.pipe({"session_id": "after", "user_id": user, "forwarded_at": driver.clock.wall() + 0.5})
    driver.process()
    context = driver.context(user)
    assert context is not None
    assert [session.session_id for session in context.sessions] == ["after"]
    assert world.newest() == world.expected()
