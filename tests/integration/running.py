"""Members as processes on topics of their own, fed by hand, and what came out of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # the package re-exports them without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from schemas.dead_letter import DeadLetter
from tests.acceptance.members import Group, Member, environment
from tests.acceptance.records import Headers, Record, Sent
from tests.acceptance.topic_log import (
    Feed,
    create_input_topic,
    create_topic,
    delete_topics,
    end_offsets,
    newest_by_key,
    read_topic,
)
from tests.brokers import CHECKOUT
from tests.routed import routed_in
from worker.partitioner import partition_of
from worker.pipeline.repartition import RoutedPayload

SESSION_TIMEOUT_MS = 3000
REQUEST_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0
USERS = 50
SHOWN = 200  # actions of a session in a record
OURS = {"message.timestamp.type": "LogAppendTime"}
HOP = {**OURS, "cleanup.policy": "delete", "retention.ms": "-1"}


class Bench:
    """An input topic, a group without members yet, and a pen to write payloads with."""

    def __init__(
        self, bootstrap: str, unique: Callable[[str], str], log_dir: Path, *, partitions: int, **settings: object
    ) -> None:
        self.bootstrap = bootstrap
        self.partitions = partitions
        self.settings: dict[str, object] = {
            "bootstrap_servers": bootstrap,
            "group_id": unique("group"),
            "input_topic": unique("input"),
            "output_topic": unique("output"),
            "dlq_topic": unique("dlq"),
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": 300,
            **settings,
        }
        self.group = Group(self.settings, log_dir)
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        create_input_topic(bootstrap, self.group.input_topic, partitions=partitions)
        self.feed = Feed(bootstrap, self.group.input_topic)

    def delete_topics(self) -> None:
        """A shared broker should not fill up with what tests leave."""
        group = self.group
        topics = [group.input_topic, group.repartition_topic, group.output_topic, group.dlq_topic]
        if sessions := self.settings.get("session_output_topic"):
            topics.append(str(sessions))
        delete_topics(self.bootstrap, topics)

    # --- topics --------------------------------------------------------------------------------------------------

    def create(self, topic: str, config: dict[str, str], *, max_bytes: int) -> None:
        """One of ours, made beforehand."""
        config = {**config, "max.message.bytes": str(max_bytes)}
        create_topic(self.bootstrap, topic, partitions=self.partitions, config=config)

    def set_max_bytes(self, topic: str, max_bytes: int) -> None:
        """What an operator may do while the service runs."""
        self.set_config(topic, {"max.message.bytes": str(max_bytes)})

    def set_config(self, topic: str, config: Mapping[str, str]) -> None:
        """Some of a topic's settings; the others stay."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result(REQUEST_TIMEOUT_S)

    def delete_records(self, before: Mapping[tuple[str, int], int]) -> None:
        """What retention does: everything below these offsets goes."""
        asked = [TopicPartition(*at, offset) for at, offset in before.items()]
        for deleted in self.admin.delete_records(asked, operation_timeout=REQUEST_TIMEOUT_S).values():
            deleted.result(REQUEST_TIMEOUT_S)

    def set_offsets(self, offsets: dict[tuple[str, int], int]) -> None:
        """What another tool does to a group without members: offsets without metadata of ours."""
        items = [TopicPartition(*at, offset) for at, offset in offsets.items()]
        asked = ConsumerGroupTopicPartitions(str(self.settings["group_id"]), items)
        [answer] = self.admin.alter_consumer_group_offsets([asked]).values()
        assert all(item.error is None for item in answer.result(REQUEST_TIMEOUT_S).topic_partitions)

    def forget_offsets(self) -> None:
        """What the broker does to a group that was away for too long."""
        group_id = str(self.settings["group_id"])
        self.admin.delete_consumer_groups([group_id])[group_id].result(REQUEST_TIMEOUT_S)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of the commands, with the group's settings."""
        given = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        return subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=CHECKOUT,
            env=given | environment(self.group.settings),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    # --- writing -------------------------------------------------------------------------------------------------

    def send(self, session: str, user: str | None, *texts: str, at: float | None = None, headers: Headers = ()) -> None:
        """One payload for each text."""
        for text in texts:
            now = time.time() if at is None else at
            action = {"type": "click", "description": text, "canonical_url": "/", "index": 0}
            document = {"session_id": session, "user_id": user, "forwarded_at": now, "actions": [action]}
            self.send_raw(session.encode(), json.dumps(document).encode(), headers=headers)

    def send_raw(self, key: bytes, value: bytes | None, *, headers: Headers = ()) -> None:
        """A record as it is."""
        partition = partition_of(key, self.partitions)
        self.feed.send([Sent(partition, key, value, headers, int(time.time() * 1000))])

    def partition_of(self, session: str) -> int:
        """Where a session's payloads go."""
        return partition_of(session.encode(), self.partitions)

    # --- waiting and reading -------------------------------------------------------------------------------------

    def start(self, name: str, *, code: Path = CHECKOUT, **settings: object) -> Member:
        """A member that has its partitions."""
        member = self.group.start(name, code=code, **settings)
        self.group.wait_for(lambda: "assigned" in member.log, f"{name} has partitions", timeout_s=40)
        return member

    def look_again(self) -> None:
        """After a change of the input topic: the old producer would learn of it in minutes."""
        self.feed = Feed(self.bootstrap, self.group.input_topic)

    def wait_routed(self, count: int) -> None:
        """Until at least so many records went on to the second stage."""
        self.feed.flush()
        self.group.wait_for(lambda: len(self.routed()) >= count, f"{count} payloads routed", timeout_s=60)

    def routed(self) -> list[RoutedPayload]:
        """The payloads on the repartition topic."""
        topic = read_topic(self.bootstrap, self.group.repartition_topic)
        return routed_in(record.value for records in topic.values() for record in records)

    def stop(self, member: Member, number: int, expected: int = 0, *, within_s: float) -> None:
        """Ask a member to end by a signal: with this exit code, in time."""
        self.group.dismiss(member, number=number)
        member.wait_exit(expected, timeout_s=within_s)

    def wait_committed(self) -> None:
        """Until nothing that was sent is left to do."""
        self.feed.flush()
        self.group.wait_for(lambda: not self.group.lag(), "everything committed", timeout_s=60)

    def ends(self, *topics: str) -> Counter[str]:
        """How many records were ever written to each topic."""
        ends: Counter[str] = Counter()
        for topic in topics:
            ends[topic] += sum(end_offsets(self.admin, topic).values())
        return ends

    def input(self) -> dict[int, list[Record]]:
        return read_topic(self.bootstrap, self.group.input_topic)

    def records(self) -> dict[str, dict[str, Any] | None]:
        """The newest record of every user."""
        newest = newest_by_key(read_topic(self.bootstrap, self.group.output_topic))
        return {
            (key or b"").decode(): None if record.value is None else json.loads(record.value)
            for key, record in newest.items()
        }

    def texts(self) -> dict[str, list[str]]:
        """The descriptions in the newest record of every user, oldest first."""
        return {user: _texts(record) for user, record in self.records().items() if record is not None}

    def wait_for_texts(self, expected: dict[str, list[str]], *, timeout_s: float = 60.0) -> None:
        """Until the newest record of every user says exactly this."""
        self.group.wait_for(lambda: self.texts() == expected, f"records {_short(expected)}", timeout_s=timeout_s)

    def dead_letters(self) -> list[tuple[DeadLetter, Record]]:
        """What the dead-letter topic holds."""
        found = []
        for records in read_topic(self.bootstrap, self.group.dlq_topic).values():
            for record in records:
                letter = DeadLetter.from_headers(record.headers)
                assert letter is not None
                found.append((letter, record))
        return found


class Load:
    """Numbered payloads of many users, one session each, and what their records must say in the end."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._began = time.time() - 60
        self._sent = 0

    def send(self, payloads: int) -> None:
        for _ in range(payloads):
            user = self._sent % USERS
            self._bench.send(f"ps_{user}", f"user_{user}", str(self._sent), at=self._began + self._sent / 1000)
            self._sent += 1

    @property
    def texts(self) -> dict[str, list[str]]:
        return {
            f"user_{user}": [str(number) for number in range(user, self._sent, USERS)][-SHOWN:]
            for user in range(min(USERS, self._sent))
        }


MakeBench = Callable[..., Bench]


def _texts(record: dict[str, Any]) -> list[str]:
    lines: Iterable[str] = (line for each in record["sessions"] for line in each["context"].splitlines()[1:])
    return [line.split(": ", 1)[1].rsplit(" — ", 1)[0] for line in lines]


def _short(expected: dict[str, list[str]]) -> str:
    text = str(expected)
    return text if len(text) < 300 else f"{text[:300]}… ({len(expected)} users)"
