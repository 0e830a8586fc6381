"""The commands as a user has them, and looking at what they did to a real broker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.acceptance.members import environment
from tests.brokers import CHECKOUT
from worker.kafka import (
    OFFSET_BEGINNING,
    Admin,
    Consumer,
    KafkaError,
    Message,
    NewTopic,
    TopicPartition,
    reader_config,
)
from worker.settings import Settings

PARTITIONS = 4


@dataclass(frozen=True)
class Shell:
    """Runs `context-worker` in a process of its own, with settings from the environment."""

    settings: Settings

    def __call__(
        self, *arguments: str, stdin: bytes = b"", more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        return subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=CHECKOUT,
            env=clean | environment(self.given) | dict(more or {}),
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )

    @property
    def given(self) -> dict[str, object]:
        return {name: getattr(self.settings, name) for name in self.settings.model_fields_set}


def create(admin: Admin, name: str, **config: str) -> None:
    topic = NewTopic(name, num_partitions=PARTITIONS, config={k.replace("_", "."): v for k, v in config.items()})
    for future in admin.create_topics([topic], request_timeout=10).values():
        future.result()


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.2)


def messages(settings: Settings, topic: str) -> list[Message]:
    """Everything on a topic, partition by partition in order."""
    reader = Consumer(reader_config(settings))
    partitions = reader.list_topics(topic, 10).topics[topic].partitions
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    found: list[Message] = []
    ended: set[int | None] = set()
    while len(ended) < len(partitions):
        message = reader.poll(10.0)
        assert message is not None
        error = message.error()
        if error is None:
            found.append(message)
        else:
            assert error.code() == KafkaError._PARTITION_EOF
            ended.add(message.partition())
    reader.close()
    return sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))


def records(settings: Settings, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
    """Everything on a topic: partition, key, value."""
    return [(message.partition() or 0, message.key(), message.value()) for message in messages(settings, topic)]
