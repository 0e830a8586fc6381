"""The configuration of every client.

Values follow from measurements with librdkafka 2.16 and Kafka 4.4 (worker/DESIGN.md). A property that the operator gave
wins over a default here; those that the promise depends on never come this far (`worker.kafka_properties`).
"""

from __future__ import annotations

import os
import socket
from typing import Any

from worker import kafka_properties
from worker.client_log import client_log, transactions_log
from worker.settings import Settings, reveal

DEFAULT_MAX_MESSAGE_BYTES = 1_000_000  # librdkafka's; below the broker's default of 1 048 588
QUEUE_KBYTES = 65_536
QUEUE_MESSAGES = 100_000


class ClientConfig(dict[str, Any]):
    """A client's configuration. It may hold secrets in the clear, so its text tells names only."""

    def __repr__(self) -> str:
        return f"ClientConfig({', '.join(sorted(self))})"


def consumer_config(settings: Settings, *, partition_eof: bool = False) -> ClientConfig:
    """The group consumer of the service. Start offsets are given explicitly, commits are the checkpoint's."""
    config: dict[str, Any] = {
        "group.id": settings.group_id,
        "group.protocol": settings.group_protocol,
        "max.poll.interval.ms": 300_000,
        "enable.partition.eof": partition_eof,
        **_READING,
    }
    if settings.group_protocol == "classic":  # with `consumer` these are the broker's, and librdkafka refuses them
        config |= {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": settings.session_timeout_ms,
            "heartbeat.interval.ms": settings.heartbeat_interval_ms,
        }
    if settings.instance_id:
        config["group.instance.id"] = settings.instance_id
    return _client(settings, config, without=kafka_properties.PRODUCER_ONLY)


def reader_config(settings: Settings) -> ClientConfig:
    """A consumer outside of any group: `assign` with explicit offsets, never `subscribe`, never `commit`."""
    config = {"group.id": f"{settings.group_id}-reader", "enable.partition.eof": True, **_READING}
    membership = {"group.remote.assignor", "group.protocol.type"}
    return _client(settings, config, without=kafka_properties.PRODUCER_ONLY | membership)


def producer_config(
    settings: Settings,
    *,
    linger_ms: float = 5,
    compression: str = "lz4",
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    batch_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
) -> ClientConfig:
    """The idempotent producer: nothing lost or reordered by a retry, nothing kept beyond the session.

    A batch above the topic's max.message.bytes fails every record in it, so `batch_bytes` stays below the smallest one.
    """
    config = {
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",  # Java's default: the chat layer may co-partition its join
        "compression.type": compression,
        "linger.ms": linger_ms,
        "delivery.timeout.ms": settings.delivery_timeout_ms,
        "queue.buffering.max.messages": QUEUE_MESSAGES,
        "queue.buffering.max.kbytes": max(QUEUE_KBYTES, 2 * max_message_bytes // 1024),
        "message.max.bytes": max_message_bytes,
        "batch.size": batch_bytes,
        "delivery.report.only.error": True,
    }
    return _client(settings, config, without=kafka_properties.CONSUMER_ONLY)


def transactional_config(settings: Settings, transactional_id: str, *, one_by_one: bool) -> ClientConfig:
    """What makes a transactional producer of an idempotent one. `one_by_one`: no two records travel in one batch."""
    config = ClientConfig(
        {"transactional.id": transactional_id, "transaction.timeout.ms": settings.transaction_timeout_ms}
    )
    if one_by_one:
        config["batch.num.messages"] = 1
    if "debug" not in settings.kafka:
        config["logger"] = transactions_log()
    return config


def admin_config(settings: Settings) -> ClientConfig:
    """A client for questions and topics."""
    return _client(settings, {}, without=kafka_properties.CONSUMER_ONLY | kafka_properties.PRODUCER_ONLY)


_READING = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 100,  # a new or resumed partition waits behind the running fetch for this long
    "fetch.queue.backoff.ms": 5,  # the default of 1 s stalls whenever the bounded queue is full
    "fetch.error.backoff.ms": 100,
    "queued.min.messages": 5_000,  # of each partition; with 10,000, 40 MB more for eight of 1.5 KB records (measured)
    "queued.max.messages.kbytes": 16_384,
}


def _client(settings: Settings, config: dict[str, Any], *, without: frozenset[str]) -> ClientConfig:
    given = {name: reveal(value) for name, value in settings.kafka.items() if name not in without}
    everywhere = {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": f"{settings.group_id}@{socket.gethostname()}-{os.getpid()}",
        "allow.auto.create.topics": False,
        "topic.metadata.refresh.interval.ms": 60_000,
        "log.connection.close": False,
        "socket.keepalive.enable": True,
    }
    result = ClientConfig(everywhere | config | given)
    if "debug" not in result:  # librdkafka's debug lines through a logger can keep poll() from ever returning
        result["logger"] = client_log()
    return result
