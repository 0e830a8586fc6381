"""Topics on a real broker: found, created, refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.brokers import free_port
from tests.integration.shell import wait_until
from worker.errors import ExitCode, Fatal
from worker.kafka import (
    Admin,
    ConfigResource,
    NewTopic,
    Producer,
    ResourceType,
)
from worker.settings import Settings
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
