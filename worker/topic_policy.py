"""What each topic must be like for the promise to hold: pure, from the settings and what the broker says of a topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from worker.settings import Settings

DAY_MS = 24 * 60 * 60 * 1000
LONGEST_OUTAGE_MS = 3 * DAY_MS  # what is not consumed for this long may be lost
SPARE_RETENTION_MS = DAY_MS  # a created topic stays right when the lookback is raised later
DEAD_LETTER_RETENTION_MS = 14 * DAY_MS
ERASURE_MS = DAY_MS  # an overwritten or erased record is compacted away after this long, also on a quiet topic
ROOM_FOR_HEADERS_BYTES = 4096  # lineage, or a dead letter's headers
BROKER_MAX_MESSAGE_BYTES = 1_048_588  # the broker's default

APPEND_TIME = "LogAppendTime"


class Role(Enum):
    """What a topic is for. The value is the name of its setting."""

    INPUT = "input_topic"
    REPARTITION = "repartition_topic"
    OUTPUT = "output_topic"
    DEAD_LETTERS = "dlq_topic"
    SESSIONS = "session_output_topic"

    @property
    def ours(self) -> bool:
        return self is not Role.INPUT

    @property
    def variable(self) -> str:
        return f"WORKER_{self.value.upper()}"


_CLEANUP = {
    Role.REPARTITION: "delete",
    Role.OUTPUT: "compact",
    Role.DEAD_LETTERS: "delete",
    Role.SESSIONS: "compact",
}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the broker describes it. `config` is None when the broker does not show it."""

    name: str
    role: Role
    partitions: int
    config: Mapping[str, str] | None = field(default=None, repr=False)
    created: bool = False

    @property
    def max_message_bytes(self) -> int:
        """The largest batch of records that the topic takes; the broker's default where the topic does not show it."""
        return int((self.config or {}).get("max.message.bytes", BROKER_MAX_MESSAGE_BYTES))

    @property
    def cleanup(self) -> frozenset[str]:
        return frozenset(filter(None, (self.config or {}).get("cleanup.policy", "").replace(" ", "").split(",")))

    @property
    def retention_ms(self) -> float:
        """Milliseconds; infinite when nothing is deleted by age."""
        value = int((self.config or {}).get("retention.ms", -1))
        return float("inf") if value < 0 or self.cleanup == {"compact"} else value

    @property
    def keeps_everything(self) -> bool:
        """Nothing is ever deleted: for a reader as good as compacted, only larger."""
        return self.retention_ms == float("inf") and int((self.config or {}).get("retention.bytes", -1)) < 0

    @property
    def append_time(self) -> bool:
        return (self.config or {}).get("message.timestamp.type") == APPEND_TIME


@dataclass(frozen=True, slots=True)
class Mistake:
    """A configuration that would break the promise."""

    topic: Topic
    name: str
    expected: str
    seen: str
    value: str  # what to set it to


def names(settings: Settings) -> dict[Role, str]:
    """The topics that these settings speak of."""
    every = {role: str(getattr(settings, role.value)) for role in Role}
    return {role: name for role, name in every.items() if name}


def required_retention_ms(settings: Settings) -> int:
    """How long the repartition topic must keep a record: what is remembered, and an outage on top."""
    return LONGEST_OUTAGE_MS + int(settings.retention_s * 1000)


def wanted_config(role: Role, settings: Settings, input_max_bytes: int) -> dict[str, str]:
    """How a topic of ours is created."""
    room = max(BROKER_MAX_MESSAGE_BYTES, input_max_bytes + ROOM_FOR_HEADERS_BYTES)
    if role in {Role.OUTPUT, Role.SESSIONS}:
        room = max(room, settings.max_record_bytes + ROOM_FOR_HEADERS_BYTES)
    config = {
        "cleanup.policy": _CLEANUP[role],
        "message.timestamp.type": APPEND_TIME,
        "max.message.bytes": str(room),
    }
    if role is Role.REPARTITION:
        config["retention.ms"] = str(required_retention_ms(settings) + SPARE_RETENTION_MS)
    elif role is Role.DEAD_LETTERS:
        config["retention.ms"] = str(DEAD_LETTER_RETENTION_MS)
    else:
        config["max.compaction.lag.ms"] = str(ERASURE_MS)
    return config


def mistakes(topic: Topic, settings: Settings) -> Iterator[Mistake]:
    """What is wrong with a topic of ours; nothing where the broker does not show its configuration."""
    if topic.config is None or not topic.role.ours:
        return
    wanted = _CLEANUP[topic.role]
    compacted = wanted == "compact" and ("compact" in topic.cleanup or topic.keeps_everything)
    if not compacted and topic.cleanup != {wanted}:
        yield Mistake(topic, "cleanup.policy", wanted, topic.config.get("cleanup.policy", ""), wanted)
    if topic.role is not Role.REPARTITION:
        return
    least = required_retention_ms(settings)
    if topic.retention_ms < least:
        expected = f"at least {least} (three days and twice the lookback)"
        yield Mistake(topic, "retention.ms", expected, topic.config.get("retention.ms", ""), str(least))
    if not topic.append_time:
        seen = topic.config.get("message.timestamp.type", "")
        yield Mistake(topic, "message.timestamp.type", APPEND_TIME, seen, APPEND_TIME)


def warnings(topics: Mapping[Role, Topic], settings: Settings) -> Iterator[str]:
    """What the operator should know, though the service can run."""
    source = topics[Role.INPUT]
    if source.config is not None:
        yield from _input_warnings(source, settings)
    repartition = topics.get(Role.REPARTITION)
    if repartition is not None and repartition.partitions != source.partitions:
        yield (
            f"{source.name} has {source.partitions} partitions, {repartition.name} has {repartition.partitions}: "
            "if the input has grown, a session that moved to another partition starts anew there"
        )
    for topic in topics.values():
        if topic.config is not None and topic.role.ours:
            yield from _own_warnings(topic, source, settings)


def _input_warnings(source: Topic, settings: Settings) -> Iterator[str]:
    if not source.append_time:
        yield (
            f"{source.name} is not {APPEND_TIME}: "
            "a replay or a restore trusts its producers' clocks as far as the broker let them in"
        )
    if "compact" in source.cleanup:
        yield f"{source.name} is compacted: all but a session's last payload may vanish before they are read"
    needed_ms = (settings.link_retention_s + settings.retention_s) * 1000
    if source.retention_ms < needed_ms:
        yield (
            f"{source.name} keeps its records for {source.retention_ms / 1000:.0f} s, "
            f"a restore may need {needed_ms / 1000:.0f} s (link_retention_s and twice the lookback)"
        )


def _own_warnings(topic: Topic, source: Topic, settings: Settings) -> Iterator[str]:
    if topic.role in {Role.REPARTITION, Role.DEAD_LETTERS} and topic.max_message_bytes < source.max_message_bytes:
        yield (
            f"{topic.name} takes {topic.max_message_bytes} bytes, {source.name} {source.max_message_bytes}: "
            "larger payloads become dead letters (raise its max.message.bytes)"
        )
    if topic.role in {Role.OUTPUT, Role.SESSIONS} and topic.max_message_bytes < settings.max_record_bytes:
        yield (
            f"{topic.name} takes {topic.max_message_bytes} bytes, a record may have {settings.max_record_bytes}: "
            "raise its max.message.bytes or lower max_record_bytes"
        )
    if topic.role in {Role.OUTPUT, Role.SESSIONS} and "compact" not in topic.cleanup:
        yield f"{topic.name} is not compacted: nothing is lost, but it grows for ever (set cleanup.policy=compact)"
    if topic.role is not Role.REPARTITION and not topic.append_time:
        yield f"{topic.name} is not {APPEND_TIME}: its timestamps are this service's clock"
    if topic.role is Role.REPARTITION and int((topic.config or {}).get("retention.bytes", -1)) >= 0:
        yield f"{topic.name} is bounded by retention.bytes: a burst may delete what a restore needs"
