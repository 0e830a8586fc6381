"""Who is not let in, or not any more, is told so with a named exit code within seconds, and does not try for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined] # re-exported without saying so

from tests.integration.guarded import PASSWORD, Guarded, MakeGuarded
from tests.integration.shell import wait_until
from tests.secure_broker import PLAIN_PASSWORD, PLAIN_USER, SecureKafka
from worker import ActionsPublisher, UserContextView
from worker.acls import Purpose
from worker.errors import ExitCode, Fatal
from worker.kafka import Admin
from worker.publisher import NotDelivered
from worker.settings import Settings
from worker.topics import find_broker

SECONDS = 15.0


class Case(NamedTuple):
    """A client that is set up wrong, and what it has to be told."""

    name: str
    where: str
    properties: Mapping[str, str]
    exit_code: ExitCode
    seen: str
    cure: str


def cases(broker: SecureKafka) -> list[Case]:
    scram = broker.login("somebody", PASSWORD)
    tls = {name: value for name, value in scram.items() if name.startswith("ssl.")} | {"security.protocol": "SSL"}
    refused, away, usage = ExitCode.NOT_AUTHORIZED, ExitCode.BROKER_UNREACHABLE, ExitCode.USAGE
    other_ca = {"ssl.ca.location": str(broker.stranger.certificate)}
    wrong_key = broker.certificate("locked", password="right-password") | {"ssl.key.password": "wrong"}
    return [
        Case("password", broker.sasl, scram | {"sasl.password": "wrong"}, refused, "uthentication failed", "password"),
        Case("plain", broker.sasl, broker.login(PLAIN_USER, "wrong", "PLAIN"), refused, "Invalid username", "password"),
        Case(
            *("mechanism", broker.sasl, scram | {"sasl.mechanisms": "SCRAM-SHA-256"}, refused),
            *("supported mechanisms: SCRAM-SHA-512", "check sasl.mechanisms"),
        ),
        Case(
            "nonsense", broker.sasl, scram | {"sasl.mechanisms": "SCRAM-SHA-1024"}, usage, "SCRAM-SHA-1024", "correct"
        ),
        Case("authority", broker.sasl, scram | other_ca, refused, "certificate verify failed", "ssl.ca.location"),
        Case(
            *("host", broker.mtls_by_address, broker.certificate("host"), refused),
            *("certificate verify failed", "the certificate must name the host"),
        ),
        Case("no certificate", broker.mtls, tls, refused, "alert", "ssl.certificate.location"),
        Case("stranger", broker.mtls, broker.certificate("x", of=broker.stranger), refused, "alert", "ssl.certificate"),
        Case("key", broker.mtls, wrong_key, usage, "ssl.key.location failed", "ssl.key.password"),
        Case("no TLS", broker.mtls, {}, away, "brokers are down", "security.protocol"),
        Case("TLS", broker.bootstrap_servers, tls, away, "SSL", "security.protocol"),
    ]


def told(call: Callable[[], object]) -> tuple[ExitCode | None, str, float]:
    began = time.monotonic()
    try:
        call()
    except Fatal as exc:
        return exc.exit_code, str(exc), time.monotonic() - began
    return None, "", time.monotonic() - began


def check(case: Case, answer: tuple[ExitCode | None, str, float]) -> None:
    exit_code, text, seconds = answer
    assert exit_code == case.exit_code, (case.name, text)
    assert case.seen in text, (case.name, text)
    assert case.cure in text.split("->")[1], (case.name, text)
    assert seconds < SECONDS, (case.name, seconds)


def test_who_is_set_up_wrong_is_told_what_and_what_to_do(secure_kafka: SecureKafka) -> None:
    secure_kafka.add_user("somebody", PASSWORD)
    every = cases(secure_kafka)

    def start(case: Case) -> tuple[ExitCode | None, str, float]:
        given = {"bootstrap_servers": case.where, "kafka": dict(case.properties)}
        return told(lambda: find_broker(Admin(Settings.model_validate(given))))

    def view(case: Case) -> tuple[ExitCode | None, str, float]:
        with UserContextView(case.where, kafka=case.properties) as seen:
            return told(lambda: seen.wait_ready(SECONDS))

    refusals = [case for case in every if case.exit_code is ExitCode.NOT_AUTHORIZED]
    with ThreadPoolExecutor(2 * len(every)) as pool:  # they wait, most of the time
        started = [(case, pool.submit(start, case)) for case in every]
        viewed = [(case, pool.submit(view, case)) for case in refusals]  # a view waits for a broker that is away
        for case, future in [*started, *viewed]:
            check(case, future.result())


def test_whoever_is_set_up_right_is_let_in(secure_kafka: SecureKafka) -> None:
    secure_kafka.add_user("somebody", PASSWORD)
    oauth = {"enable.sasl.oauthbearer.unsecure.jwt": "true", "sasl.oauthbearer.config": "principal=somebody"}
    token = secure_kafka.login("", "", "OAUTHBEARER")
    for where, properties in (
        (secure_kafka.sasl, secure_kafka.login("somebody", PASSWORD)),
        (secure_kafka.sasl, secure_kafka.login(PLAIN_USER, PLAIN_PASSWORD, "PLAIN")),
        (secure_kafka.sasl, {name: value for name, value in token.items() if value} | oauth),
        (secure_kafka.mtls, secure_kafka.certificate("anybody", password=PASSWORD)),
    ):
        given = {"bootstrap_servers": where, "kafka": properties}
        assert find_broker(Admin(Settings.model_validate(given))).brokers


def test_every_command_ends_with_its_code_at_a_wrong_password(make_guarded: MakeGuarded) -> None:
    guarded = make_guarded()
    variables = guarded.variables(guarded.login(Purpose.RUN) | {"sasl.password": "wrong"})
    commands = (["run"], ["topics"], ["produce", "sample"], ["serve", "--listen", "127.0.0.1:0"], ["user", "alice"])

    def ended(command: list[str]) -> tuple[int, bytes, float]:
        began = time.monotonic()
        done = guarded.command(variables, *command)
        return done.returncode, done.stderr, time.monotonic() - began

    with ThreadPoolExecutor(len(commands)) as pool:
        for command, answer in zip(commands, pool.map(ended, commands), strict=True):
            code, text, seconds = answer
            assert code == ExitCode.NOT_AUTHORIZED, (command, text)
            assert b"uthentication failed" in text, (command, text)
            assert b"Traceback" not in text, (command, text)
            assert seconds < 2 * SECONDS, (command, seconds)  # all at once, and Python has to start


def test_a_publisher_says_at_once_that_it_is_not_let_in(
    secure_kafka: SecureKafka, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on trying for as long as a delivery may take, but not in silence."""
    login = secure_kafka.login(PLAIN_USER, "wrong", "PLAIN")
    publisher = ActionsPublisher(secure_kafka.sasl, "any", on_failure=lambda _: None, kafka=login)
    publisher.publish(b"s", b"{}")
    wait_until(lambda: "Invalid username or password" in caplog.text, "it is told")
    with pytest.raises(NotDelivered):
        publisher.close(0)


# --- in the middle of a run ---


def take_away(guarded: Guarded, what: str) -> None:
    if what == "password":
        guarded.broker.remove_user(guarded.user(Purpose.RUN))
        return
    role, operation = what.split()
    name = str(getattr(guarded.settings, role))
    rights = guarded.bindings(Purpose.RUN)
    guarded.broker.revoke(*[one for one in rights if one.name == name and one.operation == AclOperation[operation]])


@pytest.mark.parametrize(
    ("guarantee", "what", "told"),
    [
        ("at_least_once", "password", "connecting anew"),
        ("at_least_once", "input_topic READ", "Topic authorization failed"),
        ("at_least_once", "output_topic WRITE", "Topic authorization failed"),
        ("at_least_once", "group_id READ", "Group authorization failed"),
        ("exactly_once", "repartition_topic WRITE", "Topic authorization failed"),
    ],
)
def test_a_right_that_is_taken_away_ends_the_member(
    make_guarded: MakeGuarded, guarantee: str, what: str, told: str
) -> None:
    guarded = make_guarded(processing_guarantee=guarantee)
    group = guarded.bench.group
    member = guarded.start("one", guarded.login(Purpose.RUN))
    guarded.bench.send("s", "alice", "before")
    guarded.bench.wait_for_texts({"alice": ["before"]})
    group.expect_exit(member)
    take_away(guarded, what)
    guarded.bench.send("s", "alice", "after")
    patience_s = 2 * SECONDS if what == "password" else SECONDS  # that is noticed after 11 s, on a quiet machine
    member.wait_exit(ExitCode.NOT_AUTHORIZED, timeout_s=patience_s)
    assert told in member.log
