"""What a topic must be like."""

from __future__ import annotations

import pytest

from worker.settings import Settings
from worker.topic_policy import DAY_MS, Role, Topic, mistakes, names, required_retention_ms, wanted_config, warnings

SETTINGS = Settings(session_output_topic="sessions")
INPUT_MAX_BYTES = 5_000_000


def topic(role: Role, *, partitions: int = 4, **config: str) -> Topic:
    """A topic as we create it, with differences (`retention_ms` for `retention.ms`)."""
    base = wanted_config(role, SETTINGS, INPUT_MAX_BYTES) if role.ours else {"message.timestamp.type": "LogAppendTime"}
    return Topic(names(SETTINGS)[role], role, partitions, base | {k.replace("_", "."): v for k, v in config.items()})


def all_topics(*different: Topic) -> dict[Role, Topic]:
    return {role: topic(role) for role in Role} | {one.role: one for one in different}


@pytest.mark.parametrize("role", [role for role in Role if role.ours])
def test_what_we_create_is_what_we_accept(role: Role) -> None:
    assert list(mistakes(topic(role), SETTINGS)) == []
    assert wanted_config(role, SETTINGS, 0)["message.timestamp.type"] == "LogAppendTime"


def test_what_we_create_deserves_no_warning() -> None:
    assert list(warnings(all_topics(), SETTINGS)) == []


def test_a_created_topic_stays_right_when_the_lookback_is_raised() -> None:
    assert list(mistakes(topic(Role.REPARTITION), Settings(lookback_seconds=12 * 3600.0))) == []


def test_the_repartition_topic_outlives_the_memory_and_an_outage() -> None:
    assert required_retention_ms(SETTINGS) == 3 * DAY_MS + 600_000


@pytest.mark.parametrize(
    ("wrong", "name", "expected"),
    [
        (topic(Role.REPARTITION, cleanup_policy="compact"), "cleanup.policy", "delete"),
        (topic(Role.REPARTITION, cleanup_policy="compact,delete"), "cleanup.policy", "delete"),
        (topic(Role.REPARTITION, retention_ms="3600000"), "retention.ms", "at least 259800000"),
        (topic(Role.REPARTITION, message_timestamp_type="CreateTime"), "message.timestamp.type", "LogAppendTime"),
        (topic(Role.OUTPUT, cleanup_policy="delete", retention_ms="604800000"), "cleanup.policy", "compact"),
        (topic(Role.SESSIONS, cleanup_policy="delete", retention_bytes="1000"), "cleanup.policy", "compact"),
        (topic(Role.DEAD_LETTERS, cleanup_policy="compact"), "cleanup.policy", "delete"),
    ],
)
def test_a_topic_that_would_break_the_promise_is_a_mistake(wrong: Topic, name: str, expected: str) -> None:
    (mistake,) = mistakes(wrong, SETTINGS)
    assert (mistake.name, mistake.topic) == (name, wrong)
    assert mistake.expected.startswith(expected)
    assert wrong.config is not None
    assert mistake.seen == wrong.config[name]


@pytest.mark.parametrize(
    "right",
    [
        topic(Role.OUTPUT, cleanup_policy="compact,delete"),
        topic(Role.OUTPUT, cleanup_policy="delete, compact"),
        topic(Role.OUTPUT, cleanup_policy="delete", retention_ms="-1", retention_bytes="-1"),
        topic(Role.REPARTITION, retention_ms="-1"),
        topic(Role.INPUT, cleanup_policy="compact"),
        Topic("unseen", Role.REPARTITION, 4, None),
    ],
)
def test_what_is_right_or_not_ours_or_not_shown_is_no_mistake(right: Topic) -> None:
    assert list(mistakes(right, SETTINGS)) == []


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        (topic(Role.INPUT, message_timestamp_type="CreateTime"), "not LogAppendTime"),
        (topic(Role.INPUT, cleanup_policy="compact"), "compacted"),
        (topic(Role.INPUT, retention_ms="60000"), "keeps its records for 60 s"),
        (topic(Role.INPUT, partitions=6), "has 6 partitions"),
        (topic(Role.INPUT, max_message_bytes="9000000"), "larger payloads become dead letters"),
        (topic(Role.OUTPUT, max_message_bytes="1000"), "lower max_record_bytes"),
        (topic(Role.OUTPUT, message_timestamp_type="CreateTime"), "this service's clock"),
        (topic(Role.REPARTITION, retention_bytes="1000000"), "retention.bytes"),
    ],
)
def test_what_the_operator_should_know_is_a_warning(odd: Topic, text: str) -> None:
    assert text in "\n".join(warnings(all_topics(odd), SETTINGS))


def test_our_topics_have_room_for_the_largest_input_and_its_headers() -> None:
    for role in (Role.REPARTITION, Role.DEAD_LETTERS):
        assert topic(role).max_message_bytes > INPUT_MAX_BYTES
    assert int(wanted_config(Role.DEAD_LETTERS, SETTINGS, 10)["max.message.bytes"]) >= 1_048_588
    large = Settings(max_record_bytes=8_000_000)
    assert int(wanted_config(Role.OUTPUT, large, 10)["max.message.bytes"]) > 8_000_000


def test_a_topic_that_does_not_show_its_configuration_is_taken_for_the_default() -> None:
    assert Topic("t", Role.INPUT, 1).max_message_bytes == 1_048_588


def test_the_session_topic_is_off_unless_named() -> None:
    assert Role.SESSIONS not in names(Settings())
    assert Role.SESSIONS.variable == "WORKER_SESSION_OUTPUT_TOPIC"
