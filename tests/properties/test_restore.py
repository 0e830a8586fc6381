"""A restored task equals the task that never stopped, wherever it was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import InvalidPayload, Skip
from tests.properties.batch_fold import NEVER, Context
from tests.properties.test_arrival_order import BEGIN, SETTINGS, Erasure, Happening, apply, orders, without_version
from tests.properties.traces import (
    Event,
    Pipe,
    World,
    cheap,
    configurations,
    context_of,
    crowded,
    lists_of,
    live,
    resets,
    traces,
    user_of,
)
from worker.pipeline.by_session import BySession, Emission
from worker.pipeline.by_user import SEGMENTS_PER_RETENTION, ByUser, UserStart
from worker.pipeline.reading import Reader
from worker.pipeline.restore_point import RestorePoint, decode, encode
from worker.policies import link_policy, user_policy
from worker.settings import Settings
from worker.testing import Record, TaskId, Topic

# --- by_session -------------------------------------------------------------------------------------------------------


def fold(stage: BySession, record: Record, wall: float, committed: int = 0, sound_from: int = 0) -> list[Emission]:
    """Below `committed` it is restored."""
    reader = Reader(0, 3.0, sound_from)
    read = reader.read_again if record.offset < committed else reader.read
    try:
        arrival = read(record.offset, record.value, record.timestamp, wall)
    except InvalidPayload:
        stage.refuse(record.offset)
        return []
    if isinstance(arrival, Skip):
        stage.skip(record.offset)
        return []
    return stage.apply(record.offset, arrival, restoring=record.offset < committed)


def committed(point: RestorePoint) -> RestorePoint:
    """What the next owner gets."""
    decoded = decode(encode(point))
    assert decoded is not None
    return decoded


@cheap
@given(configurations, lists_of(crowded, 40))
def test_a_restored_by_session_task_emits_and_restores_like_the_one_that_never_stopped(
    settings: Settings, trace: list[Pipe]
) -> None:
    world = World(settings)
    for pipe in trace:
        pipe(world)
    wall = world.driver.clock.wall()
    log = world.driver.log(TaskId(Topic.INPUT, 0))
    live_task = BySession(link_policy(settings), RestorePoint(0))
    points, emissions = [live_task.restore_point()], []
    for record in log:
        emissions.append(fold(live_task, record, wall))
        points.append(live_task.restore_point())
    for stopped_at, point in enumerate(points):
        restored = BySession(link_policy(settings), committed(point))
        for record in log[point.offset : stopped_at]:
            assert fold(restored, record, wall + 100, stopped_at, committed(point).sound_from) == []
        for record in log[stopped_at:]:
            assert fold(restored, record, wall + 100) == emissions[record.offset]
            assert restored.restore_point() == points[record.offset + 1]


@given(configurations, lists_of(crowded, 40))
def test_a_by_session_task_is_not_restored_from_further_back_than_its_links_and_what_it_holds(
    settings: Settings, trace: list[Pipe]
) -> None:
    world = World(settings)
    for pipe in trace:
        pipe(world)
    wall = world.driver.clock.wall()
    task = BySession(link_policy(settings), RestorePoint(0))
    times: list[float] = []
    for record in world.driver.log(TaskId(Topic.INPUT, 0)):
        fold(task, record, wall)
        times.append(task.stream_time)
        point = task.restore_point()
        if point.offset < task.next_offset:
            assert times[-1] - times[point.offset] <= settings.link_retention_s + settings.retention_s


# --- by_user ----------------------------------------------------------------------------------------------------------

RETENTION = SETTINGS.retention_s
Table = dict[str, Context | None]


def key_of(item: Happening) -> float:
    return item.mark if isinstance(item, Erasure) else item.t


class Run:
    """A by_user task over a log that is cut into batches, and what a reader of its output has after each."""

    def __init__(self, log: list[Happening], cuts: list[int], start: UserStart) -> None:
        self.task = ByUser(user_policy(SETTINGS), start)
        self.table: Table = {}
        self._log = log
        self._cuts = [cut for cut in cuts if cut >= start.committed]

    def restore(self) -> None:
        """Up to the committed offset nothing is published."""
        for offset in range(self.task.next_offset, self._cuts[0]):
            assert self.task.publish(BEGIN) == []
            apply(self.task, offset, self._log[offset])
        self.publish()

    def batches(self) -> Iterator[int]:
        """The offset after each batch, once it is published."""
        for begin, end in pairwise(self._cuts):
            for offset in range(begin, end):
                apply(self.task, offset, self._log[offset])
            self.publish()
            yield end

    def publish(self) -> None:
        for user, value in self.task.publish(BEGIN):
            self.table[user] = without_version(context_of(Record(0, 0, None, None, value)))


def cuts_of(log: list[Happening], sizes: list[int]) -> list[int]:
    cuts = [0]
    for size in sizes:
        cuts.append(min(len(log), cuts[-1] + size))
    return sorted({*cuts, len(log)})


def known(table: Table) -> Table:
    return {user: context for user, context in table.items() if context is not None}


def twice(items: list[Happening]) -> list[Happening]:
    """And a minute later the same again, from other records: what came first has left the retention."""
    later = [item for item in items if not isinstance(item, Erasure)]
    again = [item._replace(t=item.t + 60, s=item.s + 60, source=(3, item.source[1])) for item in later]
    return [*items, *again]


logs = orders(60).map(twice)
batch_sizes = st.lists(st.integers(1, 5), min_size=20, max_size=20)


@given(logs, batch_sizes, st.booleans())
def test_a_restored_by_user_task_publishes_like_the_one_that_never_stopped(
    log: list[Happening], sizes: list[int], with_metadata: bool
) -> None:
    cuts = cuts_of(log, sizes)
    live_run = Run(log, cuts, UserStart(RestorePoint(0), 0, 0, BEGIN))
    points, tables = {0: live_run.task.restore_point()}, {0: dict(live_run.table)}
    for end in live_run.batches():
        points[end], tables[end] = live_run.task.restore_point(), dict(live_run.table)
    for stopped_at, point in points.items():
        point = committed(point) if with_metadata else RestorePoint(0)
        run = Run(log, cuts, UserStart(point, stopped_at, stopped_at, BEGIN))
        run.table = dict(tables[stopped_at])
        run.restore()
        assert known(run.table) == known(tables[stopped_at])
        for end in run.batches():
            assert known(run.table) == known(tables[end])
            assert run.task.stream_time == points[end].stream_time


@given(logs, batch_sizes, st.integers(0, 20))
def test_a_by_user_task_is_restored_from_the_oldest_record_within_the_retention(
    log: list[Happening], sizes: list[int], stop: int
) -> None:
    cuts = cuts_of(log, sizes)
    run = Run(log, cuts, UserStart(RestorePoint(0), 0, 0, BEGIN))
    stopped_at, point = 0, run.task.restore_point()
    for number, end in enumerate(run.batches()):
        assert_oldest(run.task, log, 0)
        if number == stop:
            stopped_at, point = end, run.task.restore_point()
    again = Run(log, cuts, UserStart(committed(point), stopped_at, stopped_at, BEGIN))
    again.restore()
    for _ in again.batches():
        assert_oldest(again.task, log, point.offset)


def assert_oldest(task: ByUser, log: list[Happening], begin: int) -> None:
    """At most a segment too old, and never before the record that the task itself began with."""
    offset, stream_time, _ = task.restore_point()
    since = stream_time - RETENTION
    needed = [at for at in range(begin, task.next_offset) if since != NEVER and key_of(log[at]) >= since]
    assert begin <= offset <= min([*needed, task.next_offset])
    if offset < task.next_offset and stream_time != NEVER:
        assert key_of(log[offset]) >= since - RETENTION / SEGMENTS_PER_RETENTION


# --- both, with a broker's eye ----------------------------------------------------------------------------------------


@given(configurations, traces(resets))
def test_a_restart_of_everything_changes_no_record(settings: Settings, trace: list[Event]) -> None:
    world = live(settings, trace)
    before = world.newest()
    world.driver.restart()
    world.settle()
    assert world.newest() == before == world.expected()
    assert {user_of(record) for record in world.driver.output} <= set(before)
