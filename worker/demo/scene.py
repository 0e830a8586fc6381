"""What can be seen at one moment: the values that the story hands to the screen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """The parts of the demo, in order."""

    BROKER = "broker"
    MEMBERS = "members"
    TRAFFIC = "traffic"
    KILL = "kill"
    REBUILD = "rebuild"
    CARRY_ON = "carry on"
    CHECK = "check"
    CHAT = "chat"


class MemberState(Enum):
    STARTING = "starting"
    RUNNING = "running"
    KILLED = "killed"
    STOPPED = "stopped"


class PartitionState(Enum):
    """A partition in the eyes of its owner; ORPHANED: its owner is dead and nobody has taken over yet."""

    FREE = "free"
    RESTORING = "restoring"
    RUNNING = "running"
    ORPHANED = "orphaned"


class PersonState(Enum):
    """What is published of a person, compared with what should be."""

    AWAY = "away"  # nothing clicked yet
    HELD = "held"  # clicks are remembered, but nobody knows whose
    RIGHT = "right"
    BEHIND = "behind"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class MemberView:
    name: str
    pid: int
    state: MemberState


@dataclass(frozen=True, slots=True)
class PartitionView:
    owner: str  # a member's name, or ""
    state: PartitionState


@dataclass(frozen=True, slots=True)
class PersonView:
    name: str
    state: PersonState
    sessions: int = 0
    clicks: int = 0
    newest: str = ""  # the newest line of the published context
    just_changed: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture. `latency_ms` is from a click to its record, None before the first."""

    elapsed_s: float
    stage: Stage
    members: tuple[MemberView, ...]
    partitions: dict[str, tuple[PartitionView, ...]]  # by a short name of the topic
    people: tuple[PersonView, ...]
    sent: int = 0
    published: int = 0
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class PromptPair:
    """One question as a chat layer sends it, without and with context."""

    name: str
    without: str
    with_context: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end: what was found right, and what was not (then the logs are kept)."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]
    logs: tuple[str, ...] = ()
