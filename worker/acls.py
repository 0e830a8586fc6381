"""Which rights each user of the topics needs, and no more: pure, from the settings.

Reading and writing imply describing. An idempotent producer needs nothing beside its right to write (since Kafka 2.8).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import orjson

from worker.errors import ExitCode, Fatal
from worker.settings import Settings
from worker.topic_policy import Role, names


class Purpose(Enum):
    """Who works with the topics; each should log in under a name of its own."""

    RUN = "run"
    READ = "read"
    ERASE = "erase"
    PRODUCE = "produce"
    OPERATE = "operate"


TELLS: Mapping[Purpose, str] = {
    Purpose.RUN: "`run`: the members of the group",
    Purpose.READ: "whoever reads: `serve`, `user`, UserContextView, a join in Kafka Streams",
    Purpose.ERASE: "a `serve` that has a WORKER_ADMIN_TOKEN: it reads, and erases",
    Purpose.PRODUCE: "whoever sends payloads: `produce`, ActionsPublisher",
    Purpose.OPERATE: "people: `topics`, `status`, `replay`, `reset-user`, `user`, `dlq list`, `dlq retry`",
}


class Resource(Enum):
    """What a right is about; the value is the option of kafka-acls.sh."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


class Right(Enum):
    """What may be done; the value is the word of kafka-acls.sh."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    DESCRIBE_CONFIGS = "DescribeConfigs"


@dataclass(frozen=True, slots=True)
class Grant:
    """A right on one resource, or with `prefixed` on all whose names begin so."""

    right: Right
    resource: Resource
    name: str
    prefixed: bool = False


WORK: Mapping[Role, tuple[Right, ...]] = {  # what a member does with each topic
    Role.INPUT: (Right.READ,),
    Role.REPARTITION: (Right.READ, Right.WRITE),
    Role.OUTPUT: (Right.WRITE,),
    Role.DEAD_LETTERS: (Right.WRITE,),
    Role.SESSIONS: (Right.WRITE,),
}


def grants(purpose: Purpose, settings: Settings) -> list[Grant]:
    """What one purpose needs, each once."""
    return list(dict.fromkeys(_GRANTS[purpose](settings)))


def _run(settings: Settings) -> Iterator[Grant]:
    for role, name in names(settings).items():
        yield from (Grant(right, Resource.TOPIC, name) for right in WORK[role])
        yield Grant(Right.DESCRIBE_CONFIGS, Resource.TOPIC, name)  # to verify what the topic is like
        if role.ours and settings.create_topics:
            yield Grant(Right.CREATE, Resource.TOPIC, name)
    yield Grant(Right.READ, Resource.GROUP, settings.group_id)
    if settings.is_exactly_once:  # every member has an id of its own behind this
        yield Grant(Right.WRITE, Resource.TRANSACTIONAL_ID, f"{settings.group_id}-", prefixed=True)


def _read(settings: Settings) -> Iterator[Grant]:
    yield Grant(Right.READ, Resource.TOPIC, settings.output_topic)
    if settings.session_output_topic:
        yield Grant(Right.READ, Resource.TOPIC, settings.session_output_topic)


def _erase(settings: Settings) -> Iterator[Grant]:
    yield from _read(settings)  # one process, one login
    yield Grant(Right.WRITE, Resource.TOPIC, settings.repartition_topic)


def _produce(settings: Settings) -> Iterator[Grant]:
    yield Grant(Right.WRITE, Resource.TOPIC, settings.input_topic)


def _operate(settings: Settings) -> Iterator[Grant]:
    yield from _run(settings)  # a replay works as a member
    yield from _read(settings)
    yield Grant(Right.READ, Resource.TOPIC, settings.dlq_topic)
    yield from _produce(settings)  # `dlq retry` does it
    yield Grant(Right.READ, Resource.GROUP, f"{settings.group_id}-dlq-retry")  # where it keeps what it has sent


_GRANTS = {
    Purpose.RUN: _run,
    Purpose.READ: _read,
    Purpose.ERASE: _erase,
    Purpose.PRODUCE: _produce,
    Purpose.OPERATE: _operate,
}


def principal_of(purpose: Purpose, settings: Settings) -> str:
    """Whom the rights are for unless somebody says so."""
    return f"User:{settings.group_id}-{purpose.value}"


def commands(found: Iterable[Grant], principal: str, bootstrap_servers: str) -> Iterator[str]:
    """A line for a shell for each resource. admin.properties is how the one who grants logs in."""
    of: dict[tuple[Resource, str, bool], list[Right]] = {}
    for grant in found:
        of.setdefault((grant.resource, grant.name, grant.prefixed), []).append(grant.right)
    for (resource, name, prefixed), rights in of.items():
        words = ["kafka-acls.sh", "--bootstrap-server", bootstrap_servers, "--command-config", "admin.properties"]
        words += ["--add", "--allow-principal", principal]
        words += [word for right in rights for word in ("--operation", right.value)]
        words += [f"--{resource.value}", name]
        yield shlex.join([*words, *(["--resource-pattern-type", "prefixed"] if prefixed else [])])


class Asked(NamedTuple):
    """What the command line says: `topics --acls --for PURPOSE --principal NAME --json`."""

    acls: bool
    purpose: Purpose | None
    principal: str | None
    json: bool


def acls_text(settings: Settings, asked: Asked) -> str:
    """The rights as commands for a shell, with a word on each purpose; or as JSON, named as in Kafka's own protocol.

    Raises:
        Fatal: USAGE, the options do not fit together.
    """
    if not asked.acls:
        raise Fatal(ExitCode.USAGE, "--for, --principal and --json go with --acls", hint="add --acls")
    if asked.principal is not None and asked.purpose is None:
        hint = f"add --for, one of {', '.join(purpose.value for purpose in Purpose)}"
        raise Fatal(ExitCode.USAGE, "--principal goes with --for: each purpose has a principal of its own", hint=hint)
    if asked.principal is not None and not asked.principal.partition(":")[2]:
        raise Fatal(ExitCode.USAGE, f"--principal: expected User:NAME, got {asked.principal!r}", hint="e.g. User:alice")
    wanted = [asked.purpose] if asked.purpose else list(Purpose)
    whose = {purpose: asked.principal or principal_of(purpose, settings) for purpose in wanted}
    return _json(settings, whose) if asked.json else _script(settings, whose)


def _script(settings: Settings, whose: Mapping[Purpose, str]) -> str:
    blocks = []
    for purpose, principal in whose.items():
        lines = commands(grants(purpose, settings), principal, settings.bootstrap_servers)
        blocks.append("\n".join([f"# {TELLS[purpose]}", *lines]))
    return "\n\n".join(blocks) + "\n"


def _json(settings: Settings, whose: Mapping[Purpose, str]) -> str:
    found = [
        {
            "purpose": purpose.value,
            "principal": principal,
            "host": "*",
            "operation": grant.right.name,
            "permission_type": "ALLOW",
            "resource_type": grant.resource.name,
            "resource_name": grant.name,
            "pattern_type": "PREFIXED" if grant.prefixed else "LITERAL",
        }
        for purpose, principal in whose.items()
        for grant in grants(purpose, settings)
    ]
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n"
