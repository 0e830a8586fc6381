"""Erase a user: a reset on the repartition topic, and the wait until it shows on the output topic.

The reset is an event like every other. Whoever owns the user forgets them and ignores what arrives later of the time up
to the reset; once it is on the topic, no crash, restart or replay undoes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from schemas.user_context import UserContext
from worker.kafka import Admin, KafkaError, KafkaException, Message, Producer, producer_config, translate
from worker.lookup import Lookup, user_id_of
from worker.pipeline.repartition import reset_headers
from worker.producing import require_delivery
from worker.settings import Settings
from worker.topic_policy import Role
from worker.topics import REQUEST_TIMEOUT_S, find_topic


class Effect(Enum):
    """What could be seen of a reset."""

    ERASED = "erased"  # the newest record is null
    SEEN_AGAIN = "seen again"  # the newest record tells only of what the user did since
    NO_MEMBER = "no member"  # nobody runs who could take it in
    NOT_YET = "not yet"


@dataclass(frozen=True, slots=True)
class WrittenReset:
    """A reset that is on the repartition topic. `at`: its time, Unix seconds: all up to then is erased."""

    topic: str
    partition: int
    offset: int
    at: float


class Erasure:
    """Erases one user: look, `write`, `wait`. Close it.

    Raises:
        Fatal: the broker does not answer or refuses, or a topic is missing.
    """

    def __init__(self, settings: Settings, user_id: str) -> None:
        self._settings = settings
        self._user_id = user_id
        self._admin = Admin(settings)
        self._repartition = find_topic(self._admin, settings, Role.REPARTITION)
        self._lookup = Lookup(settings, find_topic(self._admin, settings, Role.OUTPUT), user_id)

    def close(self) -> None:
        self._lookup.close()

    def known(self) -> UserContext | None:
        """What the output topic says of the user now. Before `write`, so that `wait` knows what comes after it."""
        return self._lookup.read_to_end()

    def write(self) -> WrittenReset:
        """Put the reset on the topic, acknowledged by every replica in sync. Its time is the broker's.

        Raises:
            WorkerError: it is not known to be there.
        """
        return _write(self._settings, self._repartition.name, self._user_id)

    def wait(self, reset: WrittenReset, timeout_s: float) -> Effect:
        """Until the output topic shows it, or the time is up. After `known` and `write`."""
        if not self._has_members():
            return Effect.NO_MEMBER
        for record in self._lookup.follow(timeout_s):
            if record is None:
                return Effect.ERASED
            if record.version > reset.offset:
                return Effect.SEEN_AGAIN
        return Effect.NOT_YET if self._has_members() else Effect.NO_MEMBER

    def _has_members(self) -> bool:
        group_id = self._settings.group_id
        try:
            described = self._admin.describe_consumer_groups([group_id], request_timeout=REQUEST_TIMEOUT_S)
            return bool(described[group_id].result().members)
        except KafkaException as exc:
            raise translate(exc, f"asking for the members of group {group_id}") from exc


def write_reset(settings: Settings, user_id: str) -> WrittenReset:
    """Erase a user, without looking at what is known of them.

    Raises:
        WorkerError: the reset is not known to be on its topic.
    """
    return _write(settings, find_topic(Admin(settings), settings, Role.REPARTITION).name, user_id_of(user_id))


def _write(settings: Settings, topic: str, user_id: str) -> WrittenReset:
    reports: list[tuple[KafkaError | None, Message]] = []
    config = producer_config(settings, linger_ms=0)
    config["delivery.report.only.error"] = False
    headers: list[tuple[str, str | bytes | None]] = [*reset_headers(None)]
    try:
        producer = Producer(config)
        producer.produce(
            topic,
            None,
            user_id.encode(),
            headers=headers,
            on_delivery=lambda error, message: reports.append((error, message)),
        )
        left = producer.flush(settings.delivery_timeout_ms / 1000 + 1)
    except KafkaException as exc:
        raise translate(exc, f"writing to {topic}") from exc
    require_delivery(next((error for error, _ in reports), None), left, f"writing the reset to {topic}")
    ((_, message),) = reports
    return WrittenReset(topic, message.partition() or 0, message.offset() or 0, message.timestamp()[1] / 1000)
