"""The clients of a member: whose transactions they are."""

from __future__ import annotations

import pytest

from worker import kafka_clients
from worker.kafka import Admin
from worker.kafka_clients import KafkaClients
from worker.settings import Settings
from worker.topic_policy import Role, Topic
from worker.topics import TopicReport


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The configurations of the producers that are made."""
    made: list[dict[str, object]] = []
    monkeypatch.setattr(kafka_clients, "Producer", made.append)
    return made


def new_clients(**settings: object) -> KafkaClients:
    given = Settings.model_validate({"bootstrap_servers": "127.0.0.1:1", "group_id": "g", **settings})
    report = TopicReport({Role.INPUT: Topic("input", Role.INPUT, 1, {"max.message.bytes": "2000000"})}, ())
    return KafkaClients(given, Admin(given), report)


def test_a_member_with_a_name_has_the_same_transactional_id_after_a_restart(made: list[dict[str, object]]) -> None:
    for _ in range(2):
        new_clients(instance_id="one").transactional_producer(lambda *_: None, one_by_one=False)
    assert [config["transactional.id"] for config in made] == ["g-one", "g-one"]


def test_a_member_without_one_has_the_same_as_long_as_it_lives(made: list[dict[str, object]]) -> None:
    for _ in range(2):
        clients = new_clients()
        for one_by_one in (False, True):
            clients.transactional_producer(lambda *_: None, one_by_one=one_by_one)
    first, again, other, _ = (config["transactional.id"] for config in made)
    assert first == again != other
    assert [config.get("batch.num.messages") for config in made] == [None, 1, None, 1]
    assert {config["transaction.timeout.ms"] for config in made} == {10_000}


def test_at_least_once_knows_no_transactions(made: list[dict[str, object]]) -> None:
    new_clients(instance_id="one").producer(lambda *_: None)
    assert "transactional.id" not in made[0]
