"""Put the group where a replay begins: every reset once more, then null for every session id that the session topic
knows, then the offsets, in this order.

Resets that are on the topic twice erase nothing that once would not, and whoever takes a partition of the input over
writes the records of its sessions again: those that it finds, so the others have to be cleared. So whoever is
interrupted before the offsets are committed has changed nothing that a member does not set right, and after that only a
member has to run.
"""

from __future__ import annotations

from collections.abc import Iterable

from worker.errors import ExitCode, Fatal
from worker.group import Group
from worker.kafka import KafkaError, KafkaException, Message, Producer, producer_config, translate
from worker.pipeline.record import Headers
from worker.pipeline.repartition import reset_headers
from worker.pipeline.restore_point import RestorePoint
from worker.replay.plan import Plan
from worker.runtime.task import TaskId
from worker.settings import Settings

FULL_QUEUE_WAIT_S = 0.1


def rewind(group: Group, settings: Settings, plan: Plan) -> None:
    """Write the resets, clear the sessions and move the group.

    Raises:
        Fatal: GROUP_IS_LIVE, somebody has joined or worked since the survey.
        WorkerError: the broker does not answer, or refuses.
    """
    if group.members()[1] or group.committed(plan.committed) != plan.committed:
        text = f"somebody has worked in group {group.group_id} since the plan was made"
        raise Fatal(ExitCode.GROUP_IS_LIVE, text, hint="stop all members, then run this again")
    write_resets(settings, plan.marks.items())
    if plan.sessions:
        _write_nulls(settings, settings.session_output_topic, ((key, []) for key in plan.sessions))
    group.move(positions(plan, settings))


def positions(plan: Plan, settings: Settings) -> dict[TaskId, tuple[int, RestorePoint]]:
    """Next offset and restore point of every partition. No stream time is known: it is found again while reading."""
    sessions = {
        (settings.input_topic, each.partition): (each.start, RestorePoint(each.restore)) for each in plan.inputs
    }
    users = {
        (settings.repartition_topic, partition): (end, RestorePoint(end)) for partition, end in plan.empty_from.items()
    }
    return sessions | users


def write_resets(settings: Settings, resets: Iterable[tuple[str, float]]) -> None:
    """Append resets with their marks to the repartition topic; all are acknowledged when this returns.

    Raises:
        WorkerError: at least one is not known to be there.
    """
    _write_nulls(settings, settings.repartition_topic, ((user.encode(), reset_headers(mark)) for user, mark in resets))


def _write_nulls(settings: Settings, topic: str, records: Iterable[tuple[bytes, Headers]]) -> None:
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error)

    try:
        producer = Producer({**producer_config(settings), "on_delivery": delivered})
        for key, headers in records:
            _send(producer, topic, key, headers)
        left = producer.flush(settings.delivery_timeout_ms / 1000 + 1)
    except KafkaException as exc:
        raise translate(exc, f"writing to {topic}") from exc
    if failures:
        raise translate(failures[0], f"writing {len(failures)} null records to {topic}")
    if left:
        text = f"no answer while writing to {topic}: {left} null records are not known to be there"
        raise Fatal(ExitCode.BROKER_UNREACHABLE, text, hint="look at the broker's health, then run this again")


def _send(producer: Producer, topic: str, key: bytes, headers: Headers) -> None:
    while True:
        try:
            producer.produce(topic, None, key, headers=[*headers])
        except BufferError:
            producer.poll(FULL_QUEUE_WAIT_S)
        else:
            producer.poll(0)
            return
