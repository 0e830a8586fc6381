"""A member of the group, wired as the service is, over the broker of lists."""

from __future__ import annotations

from typing import Any

import orjson

from schemas.dead_letter import DeadLetter
from tests.fakes.broker import FakeBroker, FakeClock, Key
from tests.fakes.clients import FakeClients
from tests.fakes.consumer import FakeConsumer
from tests.fakes.producer import FakeProducer
from tests.routed import routed_in
from worker.app import Service
from worker.pipeline.repartition import RoutedPayload
from worker.runtime.assignment import Assignment
from worker.runtime.checkpoint import Checkpoint
from worker.runtime.task import Task
from worker.settings import Settings
from worker.topic_policy import Role, Topic
from worker.topics import TopicReport

INPUT, HOP, OUTPUT, DLQ, SESSIONS = "input", "hop", "output", "dlq", "sessions"
COMMIT_INTERVAL_S = 1.0
LIMIT = 1_000_000
SETTLED = 40  # turns of a tenth of a second in which whatever is due gets done


def new_broker(*, partitions: int = 1, clock: FakeClock | None = None) -> FakeBroker:
    """An empty broker with the topics."""
    topics = dict.fromkeys((INPUT, HOP, OUTPUT, DLQ, SESSIONS), partitions)
    return FakeBroker(topics, clock or FakeClock())


class FakeMember:
    """One member. `limits` are what it was told of the topics' max.message.bytes at its start. `visitors`: they have a
    topic."""

    def __init__(
        self,
        broker: FakeBroker,
        *,
        wanted: list[Key] | None = None,
        limits: dict[str, int] | None = None,
        visitors: bool = False,
        **settings: Any,
    ) -> None:
        names = {"input_topic": INPUT, "repartition_topic": HOP, "output_topic": OUTPUT, "dlq_topic": DLQ}
        if visitors:
            names["session_output_topic"] = SESSIONS
        self.broker = broker
        self.clients = FakeClients(broker)
        told = dict.fromkeys(names.values(), LIMIT) | (limits or {})
        report = TopicReport({role: _topic(role, names, told, broker) for role in Role if role.value in names}, ())
        self.service = Service(Settings(**(names | settings)), report, self.clients, broker.clock)
        self.loop = self.service.loop
        self.consumer.wanted = wanted
        self.loop.subscribe()

    @property
    def consumer(self) -> FakeConsumer:
        return self.clients.consumers[0]

    @property
    def producer(self) -> FakeProducer:
        """The one that is in use."""
        return self.clients.producers[-1]

    @property
    def assignment(self) -> Assignment:
        return self.loop._assignment

    @property
    def checkpoint(self) -> Checkpoint:
        return self.loop._checkpoint

    @property
    def tasks(self) -> dict[Key, Task]:
        return self.assignment.tasks

    def count(self, name: Any, label: str = "") -> int:
        return self.service.metrics.get(name, label)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.turn()

    def settle(self) -> None:
        """Until everything is read, published and committed."""
        self.turn(SETTLED)


def _topic(role: Role, names: dict[str, str], limits: dict[str, int], broker: FakeBroker) -> Topic:
    name = names[role.value]
    return Topic(name, role, broker.partitions(name), {"max.message.bytes": str(limits[name])})


def send(
    broker: FakeBroker,
    session: str = "ps_1",
    user: str | None = "amelie",
    text: str = "Pay",
    *,
    partition: int | None = None,
    at: float | None = None,
) -> None:
    """One payload with one action, put into the input topic; without a time its event happens now."""
    now = broker.clock.wall() if at is None else at
    action = {"type": "click", "description": text, "canonical_url": "/", "index": 0}
    document = {"session_id": session, "user_id": user, "forwarded_at": now, "actions": [action]}
    broker.append(INPUT, session.encode(), orjson.dumps(document), partition=partition)


def hops(broker: FakeBroker) -> list[RoutedPayload]:
    """The payloads on the repartition topic."""
    return routed_in(message.value() for message in broker.records(HOP))


def records(broker: FakeBroker, topic: str = OUTPUT) -> dict[str, dict[str, Any] | None]:
    """The newest record of every user, or of every session id."""
    return {
        (key or b"").decode(): None if value is None else orjson.loads(value)
        for key, value in broker.newest(topic).items()
    }


def texts(broker: FakeBroker, user: str = "amelie") -> list[str]:
    """The descriptions in a user's newest record."""
    record = records(broker)[user]
    assert record is not None
    lines = [line for session in record["sessions"] for line in session["context"].splitlines()[1:]]
    return [line.split(": ")[1].split(" — ")[0] for line in lines]


def dead_letters(broker: FakeBroker) -> list[tuple[DeadLetter, bytes | None, bytes | None]]:
    """What the dead-letter topic holds: headers, key and value."""
    found = []
    for message in broker.records(DLQ):
        headers = message.headers()
        assert isinstance(headers, list)
        letter = DeadLetter.from_headers([(name, _bytes(value)) for name, value in headers])
        assert letter is not None
        found.append((letter, message.key(), message.value()))
    return found


def committed(broker: FakeBroker, topic: str = INPUT, partition: int = 0) -> int | None:
    """The group's committed offset."""
    stored = broker.commits.get((topic, partition))
    return None if stored is None else stored.offset


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
