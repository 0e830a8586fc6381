"""Transactions that a broker counts as ended and holds open all the same: nobody's records behind them are ever seen.

Seen with Kafka 4.4 when the only broker is killed and starts again under load: the coordinator's log says that the
transaction is complete, and a partition of it has no marker. No client can do anything about that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, TopicPartition

from tests.acceptance.records import Record
from tests.acceptance.topic_log import QUIET, REQUEST_TIMEOUT_S, read_topic

STATE_TOPIC = "__transaction_state"
STATUS = struct.Struct(">hqhib")  # version, producer id, epoch, timeout, status
UNDECIDED = frozenset({1, 2, 3, 7})  # ongoing, and the steps in which it is being ended


class HangingTransactionError(Exception):
    """The broker left one behind; the message says where."""


def find_hanging(bootstrap: str, topics: Iterable[str]) -> list[str]:
    """The partitions that are held open although the coordinator knows of no transaction that is; empty = none."""
    if undecided(read_topic(bootstrap, STATE_TOPIC)):
        return []
    ends = {level: _ends(bootstrap, topics, level) for level in ("read_committed", "read_uncommitted")}
    return [
        f"{topic}[{partition}] is readable up to {ends['read_committed'][topic, partition]} of {end}"
        for (topic, partition), end in ends["read_uncommitted"].items()
        if ends["read_committed"][topic, partition] < end
    ]


def undecided(log: Mapping[int, Iterable[Record]]) -> list[str]:
    """The transactional ids with a transaction that is not over, by the coordinator's log."""
    newest: dict[str, int] = {}
    for records in log.values():
        for record in records:
            if record.key is not None and record.value is not None:
                newest[record.key[4:].decode()] = STATUS.unpack_from(record.value)[4]
    return sorted(name for name, status in newest.items() if status in UNDECIDED)


def _ends(bootstrap: str, topics: Iterable[str], isolation: str) -> dict[tuple[str, int], int]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "looks-at-ends", "isolation.level": isolation, **QUIET}
    )
    try:
        return {
            (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=REQUEST_TIMEOUT_S)[1]
            for topic in topics
            for number in consumer.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic].partitions
        }
    finally:
        consumer.close()
