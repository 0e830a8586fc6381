"""Topics on a real broker: found, created, refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # the package re-exports them without saying so
    AclBinding,
    AclPermissionType,
    ResourcePatternType,
)
from pydantic import SecretStr

from tests.acceptance.members import environment
from tests.brokers import CHECKOUT, MavenKafka, NoBrokerError, free_port
from tests.integration.shell import wait_until
from worker.errors import ExitCode, Fatal
from worker.kafka import (
    AclOperation,
    Admin,
    ConfigResource,
    NewTopic,
    Producer,
    ResourceType,
)
from worker.settings import Settings, reveal
from worker.topic_policy import Role, names
from worker.topics import ensure_topics, find_topic

Names = Callable[[str], str]


@pytest.fixture
def settings(kafka: str, unique: Names) -> Settings:
    return Settings(
        bootstrap_servers=kafka,
        group_id=unique("group"),
        input_topic=unique("actions"),
        output_topic=unique("user-context"),
        dlq_topic=unique("dlq"),
    )


@pytest.fixture
def admin(settings: Settings) -> Admin:
    return Admin(settings)


def create(admin: Admin, name: str, partitions: int = 3, **config: str) -> None:
    topic = NewTopic(name, num_partitions=partitions, config={k.replace("_", "."): v for k, v in config.items()})
    for future in admin.create_topics([topic], request_timeout=10).values():
        future.result()
    wait_until(
        lambda: name in admin.list_topics(timeout=10).topics, f"{name} is known"
    )  # a moment later than it is made


def refused(admin: Admin, settings: Settings) -> Fatal:
    with pytest.raises(Fatal) as caught:
        ensure_topics(admin, settings)
    return caught.value


def test_missing_topics_are_created_with_their_policy_and_accepted_the_next_time(
    admin: Admin, settings: Settings
) -> None:
    create(admin, settings.input_topic, 3, max_message_bytes="5000000", message_timestamp_type="LogAppendTime")
    first = ensure_topics(admin, settings)
    second = ensure_topics(admin, settings)
    assert [topic.created for topic in first.topics.values()] == [False, True, True, True]
    assert not any(topic.created for topic in second.topics.values())
    assert first.warnings == second.warnings == ()
    assert first.partitions[settings.repartition_topic] == first.partitions[settings.output_topic] == 3
    assert all(topic.max_message_bytes > 5_000_000 for topic in first.topics.values() if topic.role.ours)
    resource = ConfigResource(ResourceType.TOPIC, settings.repartition_topic)
    config = admin.describe_configs([resource])[resource].result()
    assert config["cleanup.policy"].value == "delete"
    assert config["message.timestamp.type"].value == "LogAppendTime"
    assert int(config["retention.ms"].value) >= 3 * 24 * 3600 * 1000


def test_members_that_start_together_create_the_topics_once(admin: Admin, settings: Settings) -> None:
    create(admin, settings.input_topic)
    cluster_before = admin.list_topics(timeout=10)
    assert settings.output_topic not in cluster_before.topics
    create(admin, settings.output_topic, 3, cleanup_policy="compact", message_timestamp_type="LogAppendTime")
    assert ensure_topics(admin, settings).topics[Role.REPARTITION].created


def test_no_input_topic_is_an_error_that_names_those_alike(admin: Admin, settings: Settings) -> None:
    create(admin, settings.input_topic + "s")
    error = refused(admin, settings)
    assert error.exit_code is ExitCode.TOPIC_MISSING
    assert settings.input_topic + "s" in error.hint
    assert settings.input_topic not in admin.list_topics(timeout=10).topics


def test_the_cure_for_a_missing_input_topic_is_our_own_command_and_never_another_topic_of_ours(
    admin: Admin, settings: Settings
) -> None:
    settings = settings.model_copy(update={"dlq_topic": f"{settings.input_topic}.dlq"})
    create(admin, settings.dlq_topic)
    reading = refused(admin, settings)
    assert "to read payloads from" in str(reading)
    assert reading.hint.startswith("create it with `context-worker topics --input-partitions 4`")
    assert settings.dlq_topic not in reading.hint
    with pytest.raises(Fatal, match="to write payloads to"):
        find_topic(admin, settings, Role.INPUT)


@pytest.mark.parametrize("input_partitions", [None, 2])
def test_nothing_is_created_beside_a_topic_that_is_refused(
    admin: Admin, settings: Settings, input_partitions: int | None
) -> None:
    if not input_partitions:
        create(admin, settings.input_topic)
    create(admin, settings.output_topic, 3, cleanup_policy="delete")
    before = set(admin.list_topics(timeout=10).topics)
    with pytest.raises(Fatal) as caught:
        ensure_topics(admin, settings, input_partitions)
    assert caught.value.exit_code is ExitCode.TOPIC_MISCONFIGURED
    others = settings.model_copy(update={"create_topics": False, "output_topic": f"{settings.output_topic}-2"})
    with pytest.raises(Fatal) as caught:
        ensure_topics(admin, others, input_partitions)
    assert caught.value.exit_code is ExitCode.TOPIC_MISSING
    ours = {settings.input_topic, settings.repartition_topic, settings.dlq_topic}
    assert (set(admin.list_topics(timeout=10).topics) - before) & ours == set()


def test_an_input_for_a_trial_is_created_once_and_told_so(admin: Admin, settings: Settings) -> None:
    first = ensure_topics(admin, settings, 2)
    assert all(topic.created for topic in first.topics.values())
    assert list(first.topics) == list(names(settings))
    assert first.topics[Role.OUTPUT].partitions == first.topics[Role.INPUT].partitions == 2
    assert first.topics[Role.INPUT].append_time
    assert not any(topic.created for topic in ensure_topics(admin, settings, 3).topics.values())
    assert ensure_topics(admin, settings, 3).topics[Role.INPUT].partitions == 2


def test_what_may_not_be_created_must_be_there(admin: Admin, settings: Settings) -> None:
    create(admin, settings.input_topic)
    error = refused(admin, settings.model_copy(update={"create_topics": False}))
    assert error.exit_code is ExitCode.TOPIC_MISSING
    assert settings.dlq_topic in str(error)
    assert f"--create --topic {settings.output_topic} --partitions 3 --config cleanup.policy=compact" in error.hint


def test_wrong_policies_are_refused_together_with_the_cure(admin: Admin, settings: Settings) -> None:
    create(admin, settings.input_topic)
    create(admin, settings.repartition_topic, 3, cleanup_policy="compact")
    create(admin, settings.output_topic, 3, cleanup_policy="delete")
    error = refused(admin, settings)
    assert error.exit_code is ExitCode.TOPIC_MISCONFIGURED
    assert f"topic {settings.repartition_topic}: cleanup.policy: expected delete, seen compact" in str(error)
    assert f"topic {settings.output_topic}: cleanup.policy: expected compact, seen delete" in str(error)
    assert f"--entity-name {settings.output_topic} --add-config cleanup.policy=compact" in error.hint


def test_too_short_a_retention_is_refused(admin: Admin, settings: Settings) -> None:
    create(admin, settings.input_topic)
    create(admin, settings.repartition_topic, 3, retention_ms="3600000", message_timestamp_type="LogAppendTime")
    error = refused(admin, settings)
    assert error.exit_code is ExitCode.TOPIC_MISCONFIGURED
    assert "retention.ms: expected at least 259800000" in str(error)


def test_an_input_that_has_grown_is_warned_about(admin: Admin, settings: Settings) -> None:
    create(admin, settings.input_topic, 5, message_timestamp_type="LogAppendTime")
    create(admin, settings.repartition_topic, 3, retention_ms="-1", message_timestamp_type="LogAppendTime")
    (warning,) = ensure_topics(admin, settings).warnings
    assert "has 5 partitions" in warning


def test_a_broker_that_cannot_be_reached_is_told_within_seconds() -> None:
    settings = Settings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    error = refused(Admin(settings), settings)
    assert error.exit_code is ExitCode.BROKER_UNREACHABLE
    assert settings.bootstrap_servers in str(error)
    assert "Connection refused" in str(error)


@pytest.mark.embedded
def test_an_embedded_broker_that_cannot_be_asked_is_believed() -> None:
    owner = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    brokers = owner.list_topics(timeout=10).brokers.values()
    settings = Settings(bootstrap_servers=",".join(f"{b.host}:{b.port}" for b in brokers), create_topics=False)
    for role in Role:
        if getattr(settings, role.value):
            owner.list_topics(getattr(settings, role.value), timeout=10)
    report = ensure_topics(Admin(settings), settings)
    assert report.partitions[settings.input_topic] == 4
    assert all(topic.config is None for topic in report.topics.values())
    assert len(report.warnings) == 1


# --- a broker with access control ---

PASSWORD = "only-for-this-test"


class GuardedKafka(MavenKafka):
    """A broker with a second listener, where the user `limited` may do only what a test grants."""

    def _properties(self, settings: Mapping[str, str]) -> str:
        self.guarded_port = free_port()
        login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_limited="{PASSWORD}";'
        more = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.guarded.plain.sasl.jaas.config": login,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers},GUARDED://{self.guarded}",
        }
        text = super()._properties({**settings, **more})
        return text.replace("listeners=PLAINTEXT", f"listeners=GUARDED://{self.guarded},PLAINTEXT", 1)

    @property
    def guarded(self) -> str:
        return f"127.0.0.1:{self.guarded_port}"


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedKafka]:
    try:
        broker = GuardedKafka()
    except NoBrokerError as missing:
        pytest.skip(f"a broker with access control needs Maven and Java: {missing}")
    with broker:
        broker.start()
        yield broker


class Limited:
    """What the user `limited` sees of a broker, and a way to grant it more."""

    def __init__(self, broker: GuardedKafka, unique: Names) -> None:
        self.root = Admin(Settings(bootstrap_servers=broker.bootstrap_servers))
        self.settings = Settings(
            bootstrap_servers=broker.guarded,
            group_id=unique("group"),
            input_topic=unique("actions"),
            output_topic=unique("user-context"),
            dlq_topic=unique("dlq"),
            kafka={
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "limited",
                "sasl.password": PASSWORD,
            },
        )
        create(self.root, self.settings.input_topic, message_timestamp_type="LogAppendTime")

    def grant(self, topic: str, *operations: AclOperation) -> None:
        acls = [
            AclBinding(
                *(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:limited", "*"),
                *(operation, AclPermissionType.ALLOW),
            )
            for operation in operations
        ]
        for future in self.root.create_acls(acls, request_timeout=10).values():
            future.result()
        time.sleep(0.3)  # until the authorizer has read its log

    def grant_everything(self) -> None:
        for name in names(self.settings).values():
            self.grant(name, AclOperation.READ, AclOperation.WRITE)


@pytest.fixture
def limited(guarded: GuardedKafka, unique: Names) -> Limited:
    return Limited(guarded, unique)


def test_a_wrong_password_is_told_at_once(limited: Limited) -> None:
    wrong = limited.settings.model_copy(update={"kafka": {**limited.settings.kafka, "sasl.password": SecretStr("?")}})
    started = time.monotonic()
    error = refused(Admin(wrong), wrong)
    assert error.exit_code is ExitCode.NOT_AUTHORIZED
    assert "Authentication failed" in str(error)
    assert PASSWORD not in str(error)
    assert time.monotonic() - started < 6


def test_no_right_to_see_the_input_topic_is_told(limited: Limited) -> None:
    error = refused(Admin(limited.settings), limited.settings)
    assert error.exit_code is ExitCode.NOT_AUTHORIZED
    assert limited.settings.input_topic in str(error)


def test_no_right_to_read_is_told_before_anything_is_read(limited: Limited) -> None:
    limited.grant(limited.settings.input_topic, AclOperation.DESCRIBE)
    error = refused(Admin(limited.settings), limited.settings)
    assert error.exit_code is ExitCode.NOT_AUTHORIZED
    assert f"no right to read topic {limited.settings.input_topic}" in str(error)


def test_no_right_to_create_is_told_with_the_command_for_who_may(limited: Limited) -> None:
    limited.grant_everything()
    error = refused(Admin(limited.settings), limited.settings)
    assert error.exit_code is ExitCode.NOT_AUTHORIZED
    assert "no right to create topic" in str(error)
    assert f"--create --topic {limited.settings.repartition_topic} --partitions 3" in error.hint


def test_no_right_to_describe_configurations_is_a_warning(limited: Limited) -> None:
    ensure_topics(limited.root, limited.settings)
    limited.grant_everything()
    report = ensure_topics(Admin(limited.settings), limited.settings)
    assert len(report.warnings) == 4
    assert all("was not verified" in warning for warning in report.warnings)
    assert all(topic.config is None for topic in report.topics.values())


def test_no_right_to_join_the_group_ends_the_service_with_its_code(limited: Limited) -> None:
    ensure_topics(limited.root, limited.settings)
    limited.grant_everything()
    given = {name: getattr(limited.settings, name) for name in limited.settings.model_fields_set - {"kafka"}}
    properties = {f"kafka_{k.replace('.', '_')}": reveal(v) for k, v in limited.settings.kafka.items()}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    ended = subprocess.run(
        [sys.executable, "-m", "worker", "run"],
        cwd=CHECKOUT,
        env=clean | environment(given | properties),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == ExitCode.NOT_AUTHORIZED
    assert b"Group authorization failed" in ended.stderr
    assert PASSWORD.encode() not in ended.stderr
