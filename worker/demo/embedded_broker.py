"""A broker inside this process: librdkafka's mock cluster, good for a demo and for nothing that must last.

It listens on a free port of 127.0.0.1, keeps the newest 5 MiB of a partition in memory, and goes with the process. It
knows neither transactions nor retention nor topic configurations. Close the clients before it, or they complain.

There are two ways in. The library that the Kafka client loads exports the whole mock interface, so that topics get the
partitions we want and a dead member is noticed in seconds. Where that library is not found, the client's own setting
`test.mock.num.brokers` starts the same cluster with its defaults: four partitions, and a dead member is noticed late.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from pathlib import Path
from typing import Protocol

from worker.kafka import Producer

# How soon a group sees that a member is gone, and how soon members hear of it: short, because somebody is watching.
SESSION_TIMEOUT_MS = 2000
HEARTBEAT_INTERVAL_MS = 200
DEFAULT_SESSION_TIMEOUT_S = 30.0  # the mock cluster's own
CONFIGURED_PARTITIONS = 4  # what the configuration route gives to every topic
_TIMEOUT_S = 10.0


class EmbeddedBroker(Protocol):
    """What the demo needs of a broker."""

    bootstrap_servers: str
    session_timeout_s: float  # the longest that a dead member keeps its partitions

    def create_topic(self, name: str, partitions: int) -> None: ...

    def close(self) -> None: ...


def start_embedded_broker() -> EmbeddedBroker:
    """A running broker, by the client's library where it can be found, by the client's settings otherwise."""
    try:
        return LibraryBroker(find_client_library())
    except (OSError, AttributeError):  # no such library, or one that exports no mock cluster
        return ConfiguredBroker()


def find_client_library() -> str:
    """The path of the librdkafka that the Kafka client ships or was linked with.

    Raises:
        OSError: there is none to be found.
    """
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        for folder in (package.parent / "confluent_kafka.libs", package / ".dylibs"):
            for library in sorted(folder.glob("librdkafka*")):
                return str(library)
    found = ctypes.util.find_library("rdkafka")
    if found is None:
        raise OSError("no librdkafka beside the confluent_kafka package, and none on the system")
    return found


class LibraryBroker:
    """The mock cluster through the C interface."""

    def __init__(self, library: str) -> None:
        """Raises OSError when the library cannot be loaded, AttributeError when it has no mock cluster."""
        self._lib = _declare(ctypes.CDLL(library))
        self._client = self._lib.rd_kafka_new(_PRODUCER, self._quiet_settings(), None, 0)
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            raise OSError("librdkafka could not start its mock cluster")
        self._lib.rd_kafka_mock_set_group_consumer_session_timeout_ms(self._cluster, SESSION_TIMEOUT_MS)
        self._lib.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(self._cluster, HEARTBEAT_INTERVAL_MS)
        self.bootstrap_servers: str = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self.session_timeout_s = SESSION_TIMEOUT_MS / 1000

    def _quiet_settings(self) -> ctypes.c_void_p:
        settings: ctypes.c_void_p = self._lib.rd_kafka_conf_new()
        self._lib.rd_kafka_conf_set(settings, b"log_level", b"0", None, 0)
        return settings

    def create_topic(self, name: str, partitions: int) -> None:
        error = self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if error:
            raise RuntimeError(f"the embedded broker refused the topic {name}: librdkafka error {error}")

    def close(self) -> None:
        """Stop listening and forget everything. A second call does nothing."""
        if self._cluster:
            self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
            self._lib.rd_kafka_destroy(self._client)
            self._cluster = None


class ConfiguredBroker:
    """The mock cluster through the client's settings."""

    def __init__(self) -> None:
        self._client: Producer | None = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._client.list_topics(timeout=_TIMEOUT_S).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        self.session_timeout_s = DEFAULT_SESSION_TIMEOUT_S

    def create_topic(self, name: str, partitions: int) -> None:
        if partitions != CONFIGURED_PARTITIONS:
            raise ValueError(f"this broker gives every topic {CONFIGURED_PARTITIONS} partitions, not {partitions}")
        assert self._client is not None, "the broker is closed"
        self._client.list_topics(name, timeout=_TIMEOUT_S)  # asking for a topic creates it

    def close(self) -> None:
        """The broker ends with its client."""
        self._client = None


_PRODUCER = 0  # rd_kafka_type_t
_POINTER, _TEXT, _INT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_FUNCTIONS: dict[str, tuple[type | None, list[type]]] = {
    "rd_kafka_conf_new": (_POINTER, []),
    "rd_kafka_conf_set": (_INT, [_POINTER, _TEXT, _TEXT, _TEXT, _SIZE]),
    "rd_kafka_new": (_POINTER, [_INT, _POINTER, _TEXT, _SIZE]),
    "rd_kafka_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_new": (_POINTER, [_POINTER, _INT]),
    "rd_kafka_mock_cluster_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, [_POINTER]),
    "rd_kafka_mock_topic_create": (_INT, [_POINTER, _TEXT, _INT, _INT]),
    "rd_kafka_mock_set_group_consumer_session_timeout_ms": (_INT, [_POINTER, _INT]),
    "rd_kafka_mock_set_group_consumer_heartbeat_interval_ms": (_INT, [_POINTER, _INT]),
}


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library
