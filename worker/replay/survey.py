"""Look at the group and its topics, and say what a replay will do. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from worker.context.session_memory import NEVER
from worker.errors import ExitCode, Fatal
from worker.group import Group
from worker.kafka import OFFSET_BEGINNING, Message
from worker.pipeline import repartition
from worker.replay.plan import InputStart, Plan, input_start
from worker.replay.repartition_log import RepartitionLog, resets_deleted_before
from worker.replay.standing import Standing
from worker.replay.start_time import latest_start
from worker.runtime.clients import headers_of
from worker.runtime.offsets import Offsets
from worker.runtime.restore import Committed, LogBounds
from worker.runtime.task import TaskId
from worker.settings import Settings
from worker.topic_reader import TopicReader


class Sources(NamedTuple):
    """What a survey asks. `partitions`: the topics' partition counts, by name; `look_into` makes readers of topics."""

    group: Group
    offsets: Offsets
    look_into: Callable[[str], TopicReader]
    partitions: Mapping[str, int]

    def tasks(self, topic: str) -> list[TaskId]:
        return [(topic, number) for number in range(self.partitions[topic])]


class _InputTimes:
    """Looks up in what the input topic held when the survey began."""

    def __init__(self, sources: Sources, topic: str, logs: Mapping[TaskId, LogBounds]) -> None:
        self._sources = sources
        self._topic = topic
        self._logs = logs

    def first_at(self, partition: int, timestamp: float) -> int:
        task_id = (self._topic, partition)
        log = self._logs[task_id]
        found = self._sources.group.first_at(task_id, timestamp)
        return log.end if found is None else min(max(found, log.start), log.end)

    def timestamp_at(self, partition: int, offset: int) -> float | None:
        return self._sources.offsets.timestamp_at((self._topic, partition), offset)


def survey(sources: Sources, settings: Settings, asked: float, now: float) -> Plan:
    """The plan of a replay from `asked` on (Unix seconds or BEGINNING).

    Raises:
        WorkerError: the broker does not answer, or refuses; the repartition topic holds what this version cannot read.
    """
    inputs, users = sources.tasks(settings.input_topic), sources.tasks(settings.repartition_topic)
    committed = sources.group.committed([*inputs, *users])
    logs = sources.group.bounds([*inputs, *users])
    standing, output_ends = _read_output(sources, settings.output_topic)
    sessions = frozenset[bytes]()
    if settings.session_output_topic:
        sessions = frozenset(_read_output(sources, settings.session_output_topic)[0].published)
    seen, empty_from = _read_repartition(sources, settings.repartition_topic)
    floor = latest_start(_stream_times(users, committed, seen), settings, now)
    since = min(asked, floor)
    times = _InputTimes(sources, settings.input_topic, logs)
    reach_s = settings.link_retention_s + settings.retention_s
    starts = [
        input_start(task_id[1], logs[task_id], committed[task_id].next_offset, since, reach_s, times)
        for task_id in inputs
    ]
    log_starts = {task_id[1]: logs[task_id].start for task_id in users}
    deleted_before = resets_deleted_before(seen.first_timestamps, log_starts, now)
    # a topic is older than its first record, in doubt by as long as anything is remembered
    topic_began = min(seen.first_timestamps.values(), default=now) - settings.retention_s
    return Plan(
        asked=asked,
        since=since,
        inputs=tuple(starts),
        empty_from=empty_from,
        marks=seen.marks,
        standing=frozenset(standing.published),
        sessions=sessions,
        output_ends=output_ends,
        committed=committed,
        resets_are_deleted=_reach_before(deleted_before, starts, times),
        topic_is_younger=_reach_before(topic_began, starts, times),
        windows_are_whole=all(
            _reaches_back(task_id, logs[task_id], committed[task_id], floor, times) for task_id in inputs
        ),
    )


def _reach_before(timestamp: float, starts: list[InputStart], times: _InputTimes) -> bool:
    """Whether records that are older than that will run."""
    return timestamp != NEVER and any(each.start < times.first_at(each.partition, timestamp) for each in starts)


def _reaches_back(task_id: TaskId, log: LogBounds, committed: Committed, floor: float, times: _InputTimes) -> bool:
    """Whether the partition holds records from before `floor`, or all that there ever were. Where it holds none, the
    group may know how old the last one was."""
    if log.start == log.end > 0:
        return committed.point is not None and NEVER < committed.point.stream_time < floor
    return log.start == 0 or times.first_at(task_id[1], floor) > log.start


def _stream_times(users: list[TaskId], committed: Mapping[TaskId, Committed], seen: RepartitionLog) -> list[float]:
    """How far each repartition partition has come, as far as anybody knows."""
    found = []
    for task_id in users:
        point = committed[task_id].point
        found.append(max(NEVER if point is None else point.stream_time, seen.stream_times.get(task_id[1], NEVER)))
    return [stream_time for stream_time in found if stream_time != NEVER]


def _read_output(sources: Sources, topic: str) -> tuple[Standing, dict[int, int]]:
    standing = Standing()
    with sources.look_into(topic) as reader:
        for message in reader.to_end(dict.fromkeys(range(sources.partitions[topic]), OFFSET_BEGINNING)):
            standing.add(message.key(), message.value())
        return standing, reader.ends


def _read_repartition(sources: Sources, topic: str) -> tuple[RepartitionLog, dict[int, int]]:
    seen = RepartitionLog()
    with sources.look_into(topic) as reader:
        for message in reader.to_end(dict.fromkeys(range(sources.partitions[topic]), OFFSET_BEGINNING)):
            _note(seen, message)
        return seen, reader.ends


def _note(seen: RepartitionLog, message: Message) -> None:
    value = message.value()
    try:
        record = repartition.read(message.key(), value, headers_of(message) if value is None else None)
    except repartition.UnknownForm as exc:
        where = f"{message.topic()}[{message.partition()}] offset {message.offset()}"
        hint = "run a version of user-context-worker that is at least as new as the one that wrote it"
        raise Fatal(ExitCode.UNKNOWN_FORM, f"{where} holds {exc}", hint=hint) from exc
    seen.add(message.partition() or 0, message.timestamp()[1] / 1000, record)
