"""The first stage alone: what goes to whom, and in which order, is the plain fold of one partition."""

from __future__ import annotations

from hypothesis import given

from tests.properties import batch_fold
from tests.properties.batch_fold import Source
from tests.properties.test_restore import fold
from tests.properties.traces import Pipe, World, cheap, configurations, crowded, lists_of
from tests.routed import as_lines
from worker.context.session_memory import place_of
from worker.pipeline.by_session import BySession
from worker.pipeline.repartition import read, write
from worker.pipeline.restore_point import RestorePoint
from worker.policies import link_policy
from worker.settings import Settings
from worker.testing import TaskId, Topic


@cheap
@given(configurations, lists_of(crowded, 60))
def test_payloads_go_where_the_fold_of_their_partition_says(settings: Settings, trace: list[Pipe]) -> None:
    world = World(settings)
    for pipe in trace:
        pipe(world)
    log = world.driver.log(TaskId(Topic.INPUT, 0))
    stage = BySession(link_policy(settings), RestorePoint(0))
    emitted: list[tuple[str, Source, float, float, tuple[str, ...]]] = []
    for record in log:
        for emitted_payload, _ in fold(stage, record, world.driver.clock.wall()):
            travelled = read(None, write([emitted_payload]), None)
            assert isinstance(travelled, list)
            (routed,) = travelled
            source = place_of(routed.source)
            emitted.append((routed.user_id, source, routed.event_time, routed.stream_time, as_lines(routed.text)))
    expected = batch_fold.route(log, settings)
    assert emitted == [(payload.user, payload.source, payload.t, payload.s, payload.lines) for payload in expected]
