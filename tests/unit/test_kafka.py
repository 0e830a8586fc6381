"""Client configuration, librdkafka's log, and what each of the client's errors means."""

from __future__ import annotations

import logging

import pytest

from worker import kafka_properties
from worker.client_log import MOST_LINES, PER_S, RateLimit, client_log, transactions_log
from worker.connections import Connections
from worker.errors import ExitCode, Fatal, Retriable, TaskCorrupted, TaskMigrated, WorkerError
from worker.kafka import (
    MEANINGS,
    Admin,
    AdminClient,
    ClientConfig,
    Consumer,
    KafkaError,
    KafkaException,
    Meaning,
    Producer,
    admin_config,
    consumer_config,
    meaning_of,
    producer_config,
    raised_inside,
    reader_config,
    refuses_record,
    transactional_config,
    translate,
)
from worker.settings import Settings

NOWHERE = "127.0.0.1:1"
SENTINEL = "hunter2-sentinel"

KINDS: dict[Meaning, type[WorkerError]] = {
    Meaning.RETRIABLE: Retriable,
    Meaning.MIGRATED: TaskMigrated,
    Meaning.CORRUPTED: TaskCorrupted,
}
EXITS = {
    Meaning.UNREACHABLE: ExitCode.BROKER_UNREACHABLE,
    Meaning.NOT_AUTHORIZED: ExitCode.NOT_AUTHORIZED,
    Meaning.TOPIC_MISSING: ExitCode.TOPIC_MISSING,
    Meaning.TOPIC_MISCONFIGURED: ExitCode.TOPIC_MISCONFIGURED,
    Meaning.USAGE: ExitCode.USAGE,
    Meaning.CLIENT_FATAL: ExitCode.CLIENT_FATAL,
    Meaning.RECORD_REFUSED: ExitCode.FAILED,
}
ROWS = [(name, meaning) for meaning, names in MEANINGS.items() for name in names]


@pytest.mark.parametrize(("name", "meaning"), ROWS, ids=[name for name, _ in ROWS])
def test_every_row_of_the_table_becomes_its_error(name: str, meaning: Meaning) -> None:
    error = translate(KafkaException(KafkaError(getattr(KafkaError, name))), "committing")
    assert type(error) is KINDS.get(meaning, Fatal)
    assert str(error).startswith("while committing: ")
    assert f"({name})" in str(error)
    if isinstance(error, Fatal):
        assert error.exit_code is EXITS[meaning]
        assert error.hint


def test_no_code_means_two_things() -> None:
    names = [name for name, _ in ROWS]
    assert len(names) == len(set(names))


def test_an_error_nobody_foresaw_stops_the_process() -> None:
    error = translate(KafkaError(KafkaError.ELECTION_NOT_NEEDED), "committing")
    assert isinstance(error, Fatal)
    assert error.exit_code is ExitCode.FAILED


def test_what_the_client_calls_fatal_is_fatal_and_what_it_calls_retriable_may_be_retried() -> None:
    fatal = translate(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "gap", True), "flushing")
    assert isinstance(fatal, Fatal)
    assert fatal.exit_code is ExitCode.CLIENT_FATAL
    assert isinstance(translate(KafkaError(KafkaError.UNKNOWN, "?", False, True), "flushing"), Retriable)


def test_a_missing_right_is_one_also_where_the_client_calls_it_fatal() -> None:
    error = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "no", True)
    assert meaning_of(error) is Meaning.NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("text", "meaning", "cure"),
    [
        ("ssl/tls alert bad certificate: SSL alert number 42", Meaning.NOT_AUTHORIZED, "ssl.certificate.location"),
        ("Connect to ipv4#127.0.0.1:1 failed: Connection refused", Meaning.UNREACHABLE, "check bootstrap_servers"),
        ("SSL handshake failed: connecting to a PLAINTEXT broker listener?", Meaning.UNREACHABLE, "no TLS"),
        ("1/1 brokers are down", Meaning.UNREACHABLE, "security.protocol: connections were taken"),
    ],
)
def test_a_broken_connection_may_say_by_its_text_that_it_was_refused(text: str, meaning: Meaning, cure: str) -> None:
    error = KafkaError(KafkaError._TRANSPORT, text)
    assert meaning_of(error) is meaning
    assert cure in str(translate(error, "connecting")).split("->")[1]


def test_no_token_is_a_refusal_unless_nobody_answers_who_gives_them() -> None:
    refused = KafkaError(KafkaError._AUTHENTICATION, "Failed to acquire SASL OAUTHBEARER token: HTTP error 401")
    silent = KafkaError(
        KafkaError._AUTHENTICATION, "Failed to acquire SASL OAUTHBEARER token: Failed to connect to 1.2"
    )
    assert (meaning_of(refused), meaning_of(silent)) == (Meaning.NOT_AUTHORIZED, Meaning.UNREACHABLE)


def test_a_running_service_waits_for_its_broker() -> None:
    error = KafkaError(KafkaError._TRANSPORT)
    assert isinstance(translate(error, "committing", running=True), Retriable)
    assert isinstance(translate(error, "committing"), Fatal)


def test_a_service_waits_for_a_partition_without_a_leader() -> None:
    """So list_offsets says it, after a broker came back and before it leads again."""
    error = KafkaError(KafkaError._NOENT, "Failed to query partition leaders: No leaders found")
    assert isinstance(translate(error, "reading log ends", running=True), Retriable)


def test_only_a_record_that_is_refused_for_itself_is_a_dead_letter() -> None:
    assert refuses_record(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    assert refuses_record(KafkaError(KafkaError.INVALID_TIMESTAMP))
    assert not refuses_record(KafkaError(KafkaError._MSG_TIMED_OUT))
    assert not refuses_record(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "dead", True))


def test_an_exception_without_an_error_inside_is_unknown() -> None:
    assert meaning_of(KafkaException("?")) is None


def test_a_system_error_says_what_the_client_raised_or_is_one() -> None:
    inner, outer = (
        KafkaException(KafkaError(KafkaError._FENCED)),
        SystemError("returned a result with an exception set"),
    )
    assert raised_inside(inner) is inner
    with pytest.raises(SystemError):
        raised_inside(outer)
    outer.__cause__ = inner
    assert raised_inside(outer) is inner


def test_a_property_librdkafka_does_not_know_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(Fatal, match=r"did you mean security\.protocol\?") as caught:
        Admin(Settings(bootstrap_servers=NOWHERE, kafka={"securty.protocol": "SSL"}))
    assert caught.value.exit_code is ExitCode.USAGE


# --- configuration ---


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_librdkafka_takes_every_configuration_without_a_complaint(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    everything = {
        "client.rack": "a",
        "max.poll.interval.ms": "60000",
        "compression.level": "3",
        "queued.min.messages": "10",
        "retry.backoff.ms": "50",
    }
    settings = Settings.model_validate(
        {"bootstrap_servers": NOWHERE, "group_protocol": protocol, "instance_id": "one", "kafka": everything}
        | {"processing_guarantee": "exactly_once"}
    )
    consumer = Consumer(consumer_config(settings, partition_eof=True))
    consumer.poll(0.05)
    consumer.close()
    reader = Consumer(reader_config(settings))
    reader.poll(0.05)
    reader.close()
    producer = Producer(
        producer_config(settings, linger_ms=0, compression="zstd", max_message_bytes=5_000_000, batch_bytes=900_000)
    )
    producer.poll(0.05)
    for one_by_one in (False, True):
        config = producer_config(settings) | transactional_config(settings, "id", one_by_one=one_by_one)
        Producer(config).poll(0.05)
    admin = AdminClient(admin_config(settings))
    admin.poll(0.05)
    assert "CONFWARN" not in caplog.text


def test_membership_settings_are_the_brokers_with_the_consumer_protocol() -> None:
    classic, consumer = (consumer_config(Settings(group_protocol=name)) for name in ("classic", "consumer"))
    mine = {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"}
    assert mine <= classic.keys()
    assert mine.isdisjoint(consumer)
    assert classic["partition.assignment.strategy"] == "cooperative-sticky"


def test_the_promise_holds_in_every_configuration() -> None:
    settings = Settings()
    for config in (consumer_config(settings), reader_config(settings)):
        assert config["enable.auto.commit"] is False
        assert config["enable.auto.offset.store"] is False
        assert config["auto.offset.reset"] == "error"
        assert config["isolation.level"] == "read_committed"
    producer = producer_config(settings)
    assert (producer["enable.idempotence"], producer["acks"], producer["partitioner"]) == (
        True,
        "all",
        "murmur2_random",
    )
    assert producer["delivery.timeout.ms"] < settings.session_timeout_ms


def test_a_given_property_wins_over_a_default_and_reaches_only_the_client_it_is_for() -> None:
    settings = Settings(kafka={"queue.buffering.max.ms": "50", "fetch.wait.max.ms": "7", "ssl.ca.location": "/ca.pem"})
    producer, consumer, admin = producer_config(settings), consumer_config(settings), admin_config(settings)
    assert producer["linger.ms"] == "50"
    assert consumer["fetch.wait.max.ms"] == "7"
    assert "linger.ms" not in consumer
    assert "fetch.wait.max.ms" not in producer
    assert kafka_properties.CONSUMER_ONLY.isdisjoint(admin)
    assert all(config["ssl.ca.location"] == "/ca.pem" for config in (producer, consumer, admin))


def test_a_reader_is_no_member_of_the_group() -> None:
    config = reader_config(Settings(group_id="g", instance_id="one"))
    assert config["group.id"] == "g-reader"
    assert "group.instance.id" not in config


def test_a_configuration_with_a_secret_does_not_show_it() -> None:
    config = producer_config(Settings(kafka={"sasl.password": SENTINEL}))
    assert config["sasl.password"] == SENTINEL
    assert isinstance(config, ClientConfig)
    assert SENTINEL not in f"{config} {config!r}"


def test_librdkafkas_debug_lines_do_not_go_through_the_logger() -> None:
    assert "logger" not in consumer_config(Settings(kafka={"debug": "broker"}))
    assert "logger" in consumer_config(Settings())


# --- the client's log ---


@pytest.mark.parametrize(
    ("level", "facility", "shown"),
    [
        (logging.ERROR, "FAIL", "DEBUG"),
        (logging.INFO, "GETPID", "DEBUG"),
        (logging.WARNING, "MAXPOLL", "WARNING"),
        (logging.CRITICAL, "FATAL", "CRITICAL"),
    ],
)
def test_the_noise_of_connections_is_debug(
    level: int, facility: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client_log().log(level, "%s [%s] %s", facility, "client", "text")
    assert [record.levelname for record in caplog.records] == [shown]


def test_the_end_of_a_transaction_is_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for facility in ("FATAL", "TXNERR", "FAIL", "MAXPOLL"):
        transactions_log().log(logging.CRITICAL, "%s [%s] %s", facility, "client", "text")
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG", "DEBUG", "CRITICAL"]


def test_demoted_lines_are_not_shown_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client_log().error("%s [%s] %s", "FAIL", "client", "Connection refused")
    assert not caplog.records


def test_what_comes_without_end_is_shown_now_and_then() -> None:
    now = 100.0
    limit = RateLimit(lambda: now)

    def line(facility: str = "MAXPOLL", level: int = logging.WARNING) -> str | None:
        record = logging.LogRecord("librdkafka", level, "", 0, "%s [%s] %s", (facility, "client", "text"), None)
        return record.getMessage() if limit(record) else None

    assert [line() for _ in range(MOST_LINES + 3)] == ["MAXPOLL [client] text"] * MOST_LINES + [None] * 3
    assert line("ASSIGN") == "ASSIGN [client] text"
    assert line(level=logging.DEBUG) is not None
    now += PER_S
    assert line() == "MAXPOLL [client] text (and 3 more of MAXPOLL before)"
    assert line() == "MAXPOLL [client] text"


def test_why_a_broker_cannot_be_reached_is_remembered() -> None:
    admin = Admin(Settings(bootstrap_servers=NOWHERE))
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=0.5)
    error = admin.why()
    assert error is not None
    assert "Connection refused" in error.str()


def test_what_librdkafka_repeats_of_a_secret_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    text = "Failed to acquire SASL OAUTHBEARER token: Unrecognized sasl.oauthbearer.config beginning at: hunter2 x=y\nz"
    error = KafkaError(KafkaError._AUTHENTICATION, text)
    told = str(translate(error, "connecting"))
    with caplog.at_level(logging.DEBUG):
        client_log().warning("%s [%s] %s", "FAIL", "producer-1", text)
        Connections()(error)
    assert "Unrecognized sasl.oauthbearer.config beginning at: …" in told
    assert caplog.text.count("sasl.oauthbearer.config beginning at: …") == 2
    assert "hunter2" not in told + caplog.text
