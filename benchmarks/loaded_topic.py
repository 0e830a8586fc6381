"""An input topic with a load in it, and whether what came out of it is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import orjson

from benchmarks.fold import Fold, Record
from benchmarks.load import Payload
from benchmarks.progress import Steps
from benchmarks.topics import PARTITIONS, Broker
from worker.partitioner import partition_of


@dataclass(frozen=True, slots=True)
class LoadedTopic:
    """A filled topic and what has to come out of it."""

    name: str
    count: int
    size_bytes: int
    fold: Fold

    @property
    def facts(self) -> dict[str, int]:
        """For a result."""
        size_bytes = round(self.size_bytes / self.count)
        return {"payloads": self.count, "payload_bytes": size_bytes, "users": len(self.fold.users)}


@contextmanager
def loaded_topic(
    broker: Broker, steps: Steps, question: str, payloads: Iterable[Payload], count: int
) -> Iterator[LoadedTopic]:
    """Fill a topic with `count` payloads; it is gone afterwards."""
    fold = Fold()

    def folded() -> Iterator[Payload]:
        for payload in payloads:
            fold.add(payload)
            yield payload

    with broker.topic(f"bench-{uuid4().hex[:8]}-in") as topic:
        with steps.step(f"{question}: filling the input topic with {count} payloads", count) as note:
            size_bytes = broker.fill(topic, folded(), note)
        yield LoadedTopic(topic, count, size_bytes, fold)


@dataclass(frozen=True, slots=True)
class Output:
    """What a subject wrote: the newest record of every user, and how much it was in all."""

    newest: Mapping[str, bytes | None]
    records: int
    size_bytes: int


def read_output(broker: Broker, topic: str) -> Output:
    """Everything that lies in an output topic."""
    newest: dict[str, bytes | None] = {}
    records = size_bytes = 0
    for message in broker.read(topic):
        value = message.value()
        newest[(message.key() or b"").decode()] = value
        records += 1
        size_bytes += len(value or b"")
    return Output(newest, records, size_bytes)


def mistakes(fold: Fold, newest: Mapping[str, bytes | None]) -> list[str]:
    """Where the newest records are not what the fold says, all fields but `version`."""
    stream_times: dict[int, float] = {}
    for user_id in fold.users:
        partition = partition_of(user_id.encode(), PARTITIONS)
        stream_times[partition] = max(stream_times.get(partition, 0.0), fold.newest(user_id))
    wrong = []
    for user_id in fold.users:
        expected = fold.record(user_id, stream_times[partition_of(user_id.encode(), PARTITIONS)])
        published = _without_version(newest.get(user_id))
        if published != expected:
            wrong.append(f"{user_id}: expected {str(expected)[:300]}, got {str(published)[:300]}")
    strangers = set(newest) - set(fold.users)
    if strangers:
        wrong.append(f"records of {len(strangers)} users that nobody knows")
    return wrong if len(wrong) <= 1 else [f"{len(wrong)} of {len(fold.users)} users are wrong, the first: {wrong[0]}"]


def _without_version(value: bytes | None) -> Record | None:
    if value is None:
        return None
    record: Record = orjson.loads(value)
    del record["version"]
    return record
