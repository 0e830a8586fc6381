"""The one door to confluent_kafka: its names, and what its errors mean for us. Configurations come from next door."""

from __future__ import annotations

import re
from enum import Enum

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    TIMESTAMP_LOG_APPEND_TIME,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
    libversion,
    murmur2,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined] # the package re-exports them without saying so
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicMetadata,
)

from worker import kafka_properties
from worker.connection_hints import asks_in_vain, hint_of, refuses_certificate, without_secret
from worker.errors import ExitCode, Fatal, Retriable, TaskCorrupted, TaskMigrated, WorkerError
from worker.kafka_config import (
    ClientConfig,
    admin_config,
    consumer_config,
    producer_config,
    reader_config,
    transactional_config,
)
from worker.settings import Settings

__all__ = [  # the rest of the project imports these from here
    "OFFSET_BEGINNING",
    "OFFSET_END",
    "OFFSET_INVALID",
    "TIMESTAMP_LOG_APPEND_TIME",
    "TIMESTAMP_NOT_AVAILABLE",
    "AclOperation",
    "AdminClient",
    "AlterConfigOpType",
    "ClientConfig",
    "ClusterMetadata",
    "ConfigEntry",
    "ConfigResource",
    "ConfigSource",
    "Consumer",
    "ConsumerGroupTopicPartitions",
    "IsolationLevel",
    "KafkaError",
    "KafkaException",
    "Message",
    "NewPartitions",
    "NewTopic",
    "OffsetSpec",
    "Producer",
    "ResourceType",
    "TopicCollection",
    "TopicMetadata",
    "TopicPartition",
    "admin_config",
    "consumer_config",
    "libversion",
    "murmur2",
    "producer_config",
    "reader_config",
    "transactional_config",
]


class Meaning(Enum):
    """What an error of the client means for the step that met it."""

    UNREACHABLE = "unreachable"
    NOT_AUTHORIZED = "not_authorized"
    TOPIC_MISSING = "topic_missing"
    TOPIC_MISCONFIGURED = "topic_misconfigured"
    USAGE = "usage"
    CLIENT_FATAL = "client_fatal"
    MIGRATED = "migrated"
    CORRUPTED = "corrupted"
    RETRIABLE = "retriable"
    RECORD_REFUSED = "record_refused"


MEANINGS: dict[Meaning, tuple[str, ...]] = {
    Meaning.UNREACHABLE: (
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_RESOLVE",
        "_TIMED_OUT",
        "_FAIL",
        "_UNKNOWN_BROKER",
        "_NODE_UPDATE",
    ),
    Meaning.NOT_AUTHORIZED: (
        *("_AUTHENTICATION", "_SSL", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM", "ILLEGAL_SASL_STATE"),
        *("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"),
        *("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "SECURITY_DISABLED"),
        *("DELEGATION_TOKEN_AUTHORIZATION_FAILED", "DELEGATION_TOKEN_EXPIRED", "DELEGATION_TOKEN_NOT_FOUND"),
    ),
    Meaning.TOPIC_MISSING: ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID"),
    Meaning.TOPIC_MISCONFIGURED: (
        *("INVALID_CONFIG", "INVALID_PARTITIONS", "INVALID_REPLICATION_FACTOR", "INVALID_REPLICA_ASSIGNMENT"),
        "POLICY_VIOLATION",
    ),
    Meaning.USAGE: (
        *("_INVALID_ARG", "_NOT_CONFIGURED", "TOPIC_EXCEPTION", "INVALID_GROUP_ID", "INVALID_SESSION_TIMEOUT"),
        *("INCONSISTENT_GROUP_PROTOCOL", "UNSUPPORTED_ASSIGNOR", "UNSUPPORTED_VERSION", "_UNSUPPORTED_FEATURE"),
        *("UNSUPPORTED_COMPRESSION_TYPE", "INVALID_REQUIRED_ACKS", "UNSUPPORTED_FOR_MESSAGE_FORMAT"),
        "INVALID_TRANSACTION_TIMEOUT",
    ),
    Meaning.CLIENT_FATAL: (
        *(
            "_FATAL",
            "_FENCED",
            "FENCED_INSTANCE_ID",
            "UNRELEASED_INSTANCE_ID",
            "PRODUCER_FENCED",
            "INVALID_PRODUCER_EPOCH",
        ),
        *("INVALID_PRODUCER_ID_MAPPING", "_CRIT_SYS_RESOURCE", "_DESTROY", "_GAPLESS_GUARANTEE"),
    ),
    Meaning.MIGRATED: (
        *("UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "FENCED_MEMBER_EPOCH", "_ASSIGNMENT_LOST", "_MAX_POLL_EXCEEDED"),
        *("MEMBER_ID_REQUIRED", "_STATE"),
    ),
    Meaning.CORRUPTED: (  # whether a record got through is not known, or the position is not in the log
        *("_MSG_TIMED_OUT", "_TIMED_OUT_QUEUE", "_PURGE_QUEUE", "_PURGE_INFLIGHT", "_DESTROY_BROKER"),
        *("OFFSET_OUT_OF_RANGE", "_AUTO_OFFSET_RESET", "_LOG_TRUNCATION", "_NO_OFFSET", "_INCONSISTENT"),
        *(
            "OUT_OF_ORDER_SEQUENCE_NUMBER",
            "DUPLICATE_SEQUENCE_NUMBER",
            "UNKNOWN_PRODUCER_ID",
            "OFFSET_METADATA_TOO_LARGE",
        ),
        *("INVALID_TXN_STATE", "TRANSACTION_COORDINATOR_FENCED", "TRANSACTION_ABORTABLE"),
    ),
    Meaning.RETRIABLE: (
        *("BROKER_NOT_AVAILABLE", "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REPLICA_NOT_AVAILABLE"),
        *("COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "NOT_CONTROLLER"),
        *("NETWORK_EXCEPTION", "REQUEST_TIMED_OUT", "NOT_ENOUGH_REPLICAS", "NOT_ENOUGH_REPLICAS_AFTER_APPEND"),
        *("REBALANCE_IN_PROGRESS", "STALE_MEMBER_EPOCH", "UNSTABLE_OFFSET_COMMIT", "KAFKA_STORAGE_ERROR"),
        *("FENCED_LEADER_EPOCH", "UNKNOWN_LEADER_EPOCH", "OFFSET_NOT_AVAILABLE", "GROUP_MAX_SIZE_REACHED"),
        *("THROTTLING_QUOTA_EXCEEDED", "FETCH_SESSION_ID_NOT_FOUND", "INVALID_FETCH_SESSION_EPOCH"),
        *("REBOOTSTRAP_REQUIRED", "LISTENER_NOT_FOUND", "PREFERRED_LEADER_NOT_AVAILABLE", "STALE_BROKER_EPOCH"),
        *("CONCURRENT_TRANSACTIONS", "INCONSISTENT_TOPIC_ID", "_WAIT_COORD", "_WAIT_CACHE", "_IN_PROGRESS"),
        *(
            "_PREV_IN_PROGRESS",
            "_NOENT",  # list_offsets while a partition has no leader
            "_RETRY",
            "TOPIC_ALREADY_EXISTS",
            "_QUEUE_FULL",
            "_ISR_INSUFF",
            "_OUTDATED",
            "_INTR",
            "_CONFLICT",
        ),
    ),
    Meaning.RECORD_REFUSED: (  # the broker or the client does not take this record, or one in its batch
        *("MSG_SIZE_TOO_LARGE", "INVALID_MSG_SIZE", "INVALID_MSG", "INVALID_RECORD", "INVALID_TIMESTAMP"),
        *("RECORD_LIST_TOO_LARGE", "_INVALID_DIFFERENT_RECORD", "_BAD_MSG", "_BAD_COMPRESSION"),
    ),
}
_MEANING_OF = {getattr(KafkaError, name): meaning for meaning, names in MEANINGS.items() for name in names}

_EXITS = {
    Meaning.UNREACHABLE: (
        ExitCode.BROKER_UNREACHABLE,
        "check bootstrap_servers, the network, and security.protocol in [kafka]",
    ),
    Meaning.NOT_AUTHORIZED: (
        ExitCode.NOT_AUTHORIZED,
        "check the credentials ([kafka] sasl.*, ssl.*); `context-worker topics --acls` prints the rights",
    ),
    Meaning.TOPIC_MISSING: (ExitCode.TOPIC_MISSING, "create the topic, or check the topic names in the settings"),
    Meaning.TOPIC_MISCONFIGURED: (
        ExitCode.TOPIC_MISCONFIGURED,
        "create the topic by hand as `context-worker topics --help` says",
    ),
    Meaning.USAGE: (ExitCode.USAGE, "correct the setting or property that is named"),
    Meaning.CLIENT_FATAL: (
        ExitCode.CLIENT_FATAL,
        "start the member again; a second live one with the same id must stop",
    ),
    Meaning.RECORD_REFUSED: (ExitCode.FAILED, "the record itself is not accepted; see the topic's max.message.bytes"),
}


def error_of(exc: KafkaException | KafkaError) -> KafkaError:
    """The error inside an exception of the client."""
    if isinstance(exc, KafkaError):
        return exc
    inner = exc.args[0] if exc.args else None
    return inner if isinstance(inner, KafkaError) else KafkaError(KafkaError.UNKNOWN, str(exc))


def raised_inside(exc: KafkaException | SystemError) -> KafkaException:
    """What a call of the client raised. A fatal error comes up while delivery reports are served, and if another report
    follows, Python makes a SystemError of it (measured). Raises what is something else."""
    if isinstance(exc, KafkaException):
        return exc
    if isinstance(exc.__cause__, KafkaException):
        return exc.__cause__
    raise exc


def meaning_of(exc: KafkaException | KafkaError) -> Meaning | None:
    """What the error means; None = nobody foresaw it. What the client calls fatal is, whatever its code, but a
    right that is missing: that is what it is."""
    error = error_of(exc)
    found = _MEANING_OF.get(error.code())
    if found is Meaning.UNREACHABLE and refuses_certificate(error.str()):
        return Meaning.NOT_AUTHORIZED
    if found is Meaning.NOT_AUTHORIZED and asks_in_vain(error.str()):
        return Meaning.UNREACHABLE
    if error.fatal() and found is not Meaning.NOT_AUTHORIZED:  # no new client gets a right that this one has not
        return Meaning.CLIENT_FATAL
    return Meaning.RETRIABLE if found is None and error.retriable() else found


def refuses_record(error: KafkaError) -> bool:
    """Whether a delivery failed because of a record (this one, or another in its batch), not because of the broker."""
    return meaning_of(error) is Meaning.RECORD_REFUSED


def translate(exc: KafkaException | KafkaError, doing: str, *, running: bool = False) -> WorkerError:
    """The project's error for one of the client's; raise it `from exc`. `doing` completes "while …".

    A command gives up on a broker that cannot be reached (Fatal); with `running`, the service waits for it (Retriable),
    and its stall watch says when enough is enough.
    """
    error = error_of(exc)
    meaning = meaning_of(error)
    text = f"while {doing}: {_plain_text(error)} ({error.name()})"
    if meaning is Meaning.RETRIABLE or (meaning is Meaning.UNREACHABLE and running):
        return Retriable(text)
    if meaning is Meaning.MIGRATED:
        return TaskMigrated(text)
    if meaning is Meaning.CORRUPTED:
        return TaskCorrupted(text)
    code, hint = (ExitCode.FAILED, "") if meaning is None else _EXITS[meaning]
    return Fatal(code, text, hint=_nearest_property(error) or hint_of(error.str()) or hint)


_NO_SUCH_PROPERTY = re.compile(r'No such configuration property: "([^"]+)"')


def _plain_text(error: KafkaError) -> str:
    return without_secret(error.str()).removeprefix("Broker: ").removeprefix("Local: ")


def _nearest_property(error: KafkaError) -> str:
    found = _NO_SUCH_PROPERTY.search(error.str())
    nearest = kafka_properties.nearest(found.group(1)) if found else ""
    return f"did you mean {nearest}?" if nearest else ""


class Admin(AdminClient):
    """An admin client that remembers the last errors of its connections: why a broker cannot be reached."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._errors: list[KafkaError] = []
        config = admin_config(settings)
        config["error_cb"] = self._errors.append
        try:
            super().__init__(config)
        except KafkaException as exc:
            raise translate(exc, "setting up the Kafka client") from exc

    def why(self) -> KafkaError | None:
        """The most telling error so far: a refused credential before a refused connection; None when there was none."""
        self.poll(0)
        credentials = [error for error in self._errors if meaning_of(error) is Meaning.NOT_AUTHORIZED]
        telling = [error for error in self._errors if error.code() != KafkaError._ALL_BROKERS_DOWN]  # noqa: SLF001
        return next(iter(credentials or telling or self._errors), None)
