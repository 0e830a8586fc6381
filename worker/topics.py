"""Find the broker, create the topics that are missing, verify all of them: at every start, before a record is read.

A topic that would break the promise is refused. What cannot be seen (no right to describe) is a warning.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from worker import topic_policy
from worker.acls import WORK
from worker.errors import ExitCode, Fatal
from worker.kafka import (
    AclOperation,
    Admin,
    ClusterMetadata,
    ConfigResource,
    KafkaError,
    KafkaException,
    Meaning,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicCollection,
    TopicPartition,
    error_of,
    meaning_of,
    translate,
)
from worker.settings import Settings
from worker.topic_policy import Role, Topic

BROKER_TIMEOUT_S = 10.0
ATTEMPT_S = 2.5  # a refused credential is told after one attempt, an unreachable broker after all
REQUEST_TIMEOUT_S = 10.0
CREATION_TIMEOUT_S = 10.0  # until every broker knows a new topic


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What was found or made: a topic for each role that the settings use, and what the operator should know."""

    topics: Mapping[Role, Topic]
    warnings: tuple[str, ...]

    @property
    def partitions(self) -> dict[str, int]:
        """The partition count of every topic, by name."""
        return {topic.name: topic.partitions for topic in self.topics.values()}


def ensure_topics(admin: Admin, settings: Settings, input_partitions: int | None = None) -> TopicReport:
    """Verify what is there, then create what is missing of ours (if `create_topics`). Two members may do so at once.

    With `input_partitions` the input is created too, when it is missing: for a trial, in earnest it belongs to whoever
    writes to it. Nothing is created beside a topic that is refused.

    Raises:
        Fatal: BROKER_UNREACHABLE, TOPIC_MISSING, TOPIC_MISCONFIGURED or NOT_AUTHORIZED.
    """
    wanted = topic_policy.names(settings)
    cluster = find_broker(admin)
    manageable = cluster.controller_id in cluster.brokers  # an embedded broker has none, and cannot be asked
    if manageable:
        _check_rights(admin, wanted, cluster)
    if not input_partitions:
        require_input(admin, settings, cluster)
    missing = {role: name for role, name in wanted.items() if name not in cluster.topics}
    present = {role: name for role, name in wanted.items() if role not in missing}
    configs, unseen = _describe(admin, present.values()) if manageable else ({}, [_UNMANAGEABLE])
    topics = {role: _topic(role, name, cluster, configs) for role, name in present.items()}
    _refuse_mistakes(topics, settings)
    if missing:
        if not settings.create_topics:
            _refuse_hidden(admin, {name: _work(role) for role, name in missing.items()}, cluster)
        source = topics.get(Role.INPUT) or Topic(settings.input_topic, Role.INPUT, input_partitions or -1)
        cluster = _create_missing(admin, missing, settings, source)
        if manageable:
            _check_rights(admin, missing, cluster)
        configs, more_unseen = _describe(admin, missing.values()) if manageable else ({}, [])
        made = {role: _topic(role, name, cluster, configs, created=True) for role, name in missing.items()}
        _refuse_mistakes(made, settings)  # another member, or a program, may have been faster
        topics = {role: (topics | made)[role] for role in wanted}
        unseen = [*unseen, *more_unseen]
    return TopicReport(topics, (*unseen, *topic_policy.warnings(topics, settings)))


_UNMANAGEABLE = "the cluster has no controller that answers: the topics' configurations were not verified"


def find_topic(admin: Admin, settings: Settings, role: Role) -> Topic:
    """A topic that a command reads or writes, with what the broker shows of it.

    Raises:
        Fatal: BROKER_UNREACHABLE, TOPIC_MISSING or NOT_AUTHORIZED.
    """
    cluster = find_broker(admin)
    name = topic_policy.names(settings)[role]
    if role is Role.INPUT:
        require_input(admin, settings, cluster, "to write payloads to")
    elif name not in cluster.topics:
        _refuse_hidden(admin, {name: "see"}, cluster)
        hint = f"create it with `context-worker topics`, or name another with {role.variable}"
        raise Fatal(ExitCode.TOPIC_MISSING, f"there is no topic {name}", hint=hint)
    configs = _describe(admin, [name])[0] if cluster.controller_id in cluster.brokers else {}
    return _topic(role, name, cluster, configs)


def find_broker(admin: Admin) -> ClusterMetadata:
    """The cluster's topics and brokers. Raises Fatal (BROKER_UNREACHABLE, NOT_AUTHORIZED) within about ten seconds."""
    deadline = time.monotonic() + BROKER_TIMEOUT_S
    while True:
        try:
            return admin.list_topics(timeout=ATTEMPT_S)
        except KafkaException as exc:
            why = admin.why()
            refused = why is not None and meaning_of(why) is Meaning.NOT_AUTHORIZED
            if refused or meaning_of(exc) is not Meaning.UNREACHABLE or time.monotonic() >= deadline:
                raise translate(why or exc, f"connecting to {admin.settings.bootstrap_servers}") from exc


def newest_timestamp(admin: Admin, topic: Topic) -> float | None:
    """Of all records of a topic, in Unix seconds; None when there is none with a timestamp.

    Raises:
        WorkerError: the broker does not answer, or refuses.
    """
    spec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic.name, number): spec for number in range(topic.partitions)}
    try:
        futures = admin.list_offsets(asked, request_timeout=REQUEST_TIMEOUT_S)
        newest = max((future.result().timestamp for future in futures.values()), default=-1)
    except KafkaException as exc:
        raise translate(exc, f"asking for the newest record of {topic.name}") from exc
    return newest / 1000 if newest >= 0 else None


def _topic(
    role: Role, name: str, cluster: ClusterMetadata, configs: Mapping[str, Mapping[str, str]], *, created: bool = False
) -> Topic:
    return Topic(name, role, len(cluster.topics[name].partitions), configs.get(name), created)


def require_input(
    admin: Admin, settings: Settings, cluster: ClusterMetadata, purpose: str = "to read payloads from"
) -> None:
    """Raises Fatal (TOPIC_MISSING, NOT_AUTHORIZED) when there is no input topic, or none to be seen, with the cure."""
    name = settings.input_topic
    if name in cluster.topics and cluster.topics[name].partitions:
        return
    _refuse_hidden(admin, {name: purpose.split()[1]}, cluster)
    others = [topic for topic in cluster.topics if topic not in topic_policy.names(settings).values()]
    alike = difflib.get_close_matches(name, others, n=3, cutoff=0.6)
    near = f" (there is {', '.join(alike)})" if alike else ""
    raise Fatal(
        ExitCode.TOPIC_MISSING,
        f"there is no topic {name} {purpose}",
        hint="create it with `context-worker topics --input-partitions 4`, "
        f"or name another with WORKER_INPUT_TOPIC{near}",
    )


# --- rights ---


def _check_rights(admin: Admin, wanted: Mapping[Role, str], cluster: ClusterMetadata) -> None:
    """Refuse at once what reading or writing would be refused later. Brokers that do not tell are believed."""
    futures = admin.describe_topics(
        TopicCollection(list(wanted.values())), include_authorized_operations=True, request_timeout=REQUEST_TIMEOUT_S
    )
    for role, name in wanted.items():
        try:
            description = futures[name].result()
        except KafkaException as exc:
            if meaning_of(exc) is Meaning.NOT_AUTHORIZED and (role is Role.INPUT or name in cluster.topics):
                raise _not_authorized(name, _work(role)) from exc
            continue  # missing: created or refused below
        allowed = description.authorized_operations
        lacking = [right for right in WORK[role] if allowed and AclOperation[right.name] not in allowed]
        if lacking:
            raise _not_authorized(name, " and ".join(right.name.lower() for right in lacking))


def _work(role: Role) -> str:
    return " and ".join(right.name.lower() for right in WORK[role])


def _refuse_hidden(admin: Admin, rights: Mapping[str, str], cluster: ClusterMetadata) -> None:
    """A list of all topics leaves out those that we may not see; who asks for one by name is told so. `rights` is what
    we want to do with each."""
    if cluster.controller_id not in cluster.brokers:  # an embedded broker would create it
        return
    for name, right in rights.items():
        try:
            error = admin.list_topics(name, timeout=REQUEST_TIMEOUT_S).topics[name].error
        except KafkaException as exc:
            raise translate(exc, f"asking for topic {name}") from exc
        if error is not None and meaning_of(error) is Meaning.NOT_AUTHORIZED:
            raise _not_authorized(name, right)


def _not_authorized(name: str, right: str) -> Fatal:
    return Fatal(
        ExitCode.NOT_AUTHORIZED,
        f"no right to {right} topic {name}",
        hint="`context-worker topics --acls` prints what has to be granted; or check the credentials in [kafka]",
    )


# --- creating ---


def _create_missing(admin: Admin, missing: Collection[Role], settings: Settings, source: Topic) -> ClusterMetadata:
    """Returns the cluster as it is when it shows the new topics."""
    wanted = [_new_topic(role, settings, source) for role in missing]
    names = [topic.topic for topic in wanted]
    if not settings.create_topics and set(missing) != {Role.INPUT}:
        by_hand = [_recipe(topic, admin) for topic in wanted]
        raise Fatal(
            ExitCode.TOPIC_MISSING,
            f"missing, and not to be created (create_topics is false): {', '.join(names)}",
            hint="\n     ".join(["allow it with WORKER_CREATE_TOPICS=true, or create by hand:", *by_hand]),
        )
    _create(admin, wanted)
    return _wait_for(admin, {topic_policy.names(settings)[role]: _work(role) for role in missing})


def _new_topic(role: Role, settings: Settings, source: Topic) -> NewTopic:
    """Keyed topics get the input's partition count, dead letters the broker's default; replication is the broker's."""
    trial = {"message.timestamp.type": topic_policy.APPEND_TIME}  # the input, where its owner left that to us
    return NewTopic(
        topic_policy.names(settings)[role],
        num_partitions=-1 if role is Role.DEAD_LETTERS else source.partitions,
        replication_factor=-1,
        config=topic_policy.wanted_config(role, settings, source.max_message_bytes) if role.ours else trial,
    )


def _create(admin: Admin, topics: list[NewTopic]) -> None:
    by_name = {topic.topic: topic for topic in topics}
    for name, future in admin.create_topics(topics, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            future.result()
        except KafkaException as exc:
            error = error_of(exc)
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another member was faster
                continue
            if meaning_of(error) is Meaning.NOT_AUTHORIZED:
                hint = f"grant CREATE, or create it by hand: {_recipe(by_name[name], admin)}"
                raise Fatal(ExitCode.NOT_AUTHORIZED, f"no right to create topic {name}", hint=hint) from exc
            raise translate(exc, f"creating topic {name}") from exc


def _recipe(topic: NewTopic, admin: Admin) -> str:
    partitions = [] if topic.num_partitions < 0 else [f"--partitions {topic.num_partitions}"]
    options = [f"--config {name}={value}" for name, value in (topic.config or {}).items()]
    create = f"kafka-topics.sh --bootstrap-server {admin.settings.bootstrap_servers} --create --topic {topic.topic}"
    return " ".join([create, *partitions, *options])


def _wait_for(admin: Admin, names: Mapping[str, str]) -> ClusterMetadata:
    """Until the topics are there; the values are what we want to do with each."""
    deadline = time.monotonic() + CREATION_TIMEOUT_S
    while True:
        cluster = find_broker(admin)
        lacking = [name for name in names if name not in cluster.topics or not cluster.topics[name].partitions]
        if not lacking:
            return cluster
        _refuse_hidden(admin, {name: names[name] for name in lacking}, cluster)
        if time.monotonic() >= deadline:
            text = f"created {', '.join(lacking)}, but the broker does not show it after {CREATION_TIMEOUT_S:.0f} s"
            raise Fatal(ExitCode.TOPIC_MISSING, text, hint="look at the broker's log; start again when it is healthy")
        time.sleep(0.1)


# --- verifying ---


def _describe(admin: Admin, names: Iterable[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """The configuration of each topic by name, and a warning for each that the broker does not show."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    configs: dict[str, dict[str, str]] = {}
    unseen: list[str] = []
    if not resources:
        return configs, unseen
    futures: dict[ConfigResource, Future[dict[str, object]]] = admin.describe_configs(
        resources, request_timeout=REQUEST_TIMEOUT_S
    )
    for resource, future in futures.items():
        try:
            entries = future.result()
        except KafkaException as exc:
            error = error_of(exc)
            tolerable = meaning_of(error) in {Meaning.NOT_AUTHORIZED, Meaning.USAGE}  # USAGE: the broker cannot do it
            if not tolerable:
                raise translate(exc, f"reading the configuration of {resource.name}") from exc
            unseen.append(f"{resource.name}: its configuration was not verified: {error.str()}")
        else:
            configs[resource.name] = {name: str(getattr(entry, "value", "")) for name, entry in entries.items()}
    return configs, unseen


def _refuse_mistakes(topics: Mapping[Role, Topic], settings: Settings) -> None:
    found = [mistake for topic in topics.values() for mistake in topic_policy.mistakes(topic, settings)]
    if not found:
        return
    lines = [f"topic {one.topic.name}: {one.name}: expected {one.expected}, seen {one.seen}" for one in found]
    cures = [
        f"kafka-configs.sh --bootstrap-server {settings.bootstrap_servers} --alter --entity-type topics "
        f"--entity-name {one.topic.name} --add-config {one.name}={one.value}"
        for one in found
    ]
    variables = ", ".join(sorted({one.topic.role.variable for one in found}))
    raise Fatal(
        ExitCode.TOPIC_MISCONFIGURED,
        "\n".join(lines),
        hint="\n     ".join([f"name another topic with {variables}, or change it:", *cures]),
    )
