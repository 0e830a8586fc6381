"""A consumer group seen from outside: what the broker says of it, and what is asked again."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from tests.fakes.broker import kafka_error
from worker import group as module
from worker.errors import ExitCode, Fatal, WorkerError
from worker.group import Group
from worker.kafka import KafkaError, KafkaException, TopicPartition
from worker.runtime.restore import LogBounds


class Result:
    def __init__(self, offset: int) -> None:
        self.offset = offset


class FakeAdmin:
    """Refuses the first questions; then logs begin at 0 and end there."""

    def __init__(self, *refusals: int) -> None:
        self.refusals = list(refusals)
        self.looked_at: list[str] = []

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: Any) -> dict[TopicPartition, Future[Result]]:
        answers: dict[TopicPartition, Future[Result]] = {}
        for each in asked:
            answers[each] = Future()
            if self.refusals:
                answers[each].set_exception(KafkaException(kafka_error(self.refusals.pop(0))))
            else:
                answers[each].set_result(Result(0))
        return answers

    def list_topics(self, topic: str, **_: Any) -> None:
        self.looked_at.append(topic)


def test_a_partition_that_has_no_leader_yet_is_asked_about_again() -> None:
    admin = FakeAdmin(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
    assert Group(admin, "g").bounds([("hop", 0)]) == {("hop", 0): LogBounds(0, 0)}  # type: ignore[arg-type]
    assert admin.looked_at == ["hop", "hop"]


def test_one_that_gets_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEADER_TIMEOUT_S", 0.0)
    admin = FakeAdmin(*[KafkaError.NOT_LEADER_FOR_PARTITION] * 9)
    with pytest.raises(WorkerError, match="reading where the logs begin and end"):
        Group(admin, "g").bounds([("hop", 0)])  # type: ignore[arg-type]


def test_what_is_missing_is_told_at_once() -> None:
    admin = FakeAdmin(KafkaError.UNKNOWN_TOPIC_OR_PART)
    with pytest.raises(Fatal) as told:
        Group(admin, "g").bounds([("hop", 0)])  # type: ignore[arg-type]
    assert told.value.exit_code is ExitCode.TOPIC_MISSING
    assert admin.looked_at == []
