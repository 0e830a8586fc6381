"""Secrets that were planted are looked for in all that is written, with every log there is turned on; and so is an
e-mail address, where none may be written."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.acceptance.topic_log import read_topic
from tests.brokers import CHECKOUT, free_port
from tests.integration.guarded import PASSWORD, Guarded, MakeGuarded
from tests.integration.shell import wait_until
from tests.secure_broker import PLAIN_PASSWORD, PLAIN_USER
from worker.acls import Purpose
from worker.errors import ExitCode, Fatal
from worker.settings import load_settings
from worker.topic_policy import names

EVERYTHING = {"WORKER_LOG_LEVEL": "DEBUG", "WORKER_KAFKA_DEBUG": "all"}
ADDRESS = "alice@example.com"


def planted(name: str) -> str:
    """A secret that nothing else is called."""
    return f"planted-{name}-{uuid.uuid4().hex}"


def found(secrets: Iterable[str], text: str | bytes) -> list[str]:
    """The secrets that are in the text, as they are or in base64."""
    text = text.encode() if isinstance(text, str) else text
    return [
        secret
        for secret in secrets
        if secret.encode() in text or base64.b64encode(secret.encode()).rstrip(b"=")[:-1] in text
    ]


def written(guarded: Guarded, variables: Mapping[str, str], *arguments: str, exit_code: int = ExitCode.OK) -> bytes:
    """All that a command says with everything turned on. It has to have said a lot, where it talked to a broker."""
    done = guarded.command({**EVERYTHING, **variables}, *arguments)
    assert done.returncode == exit_code, (arguments, done.stderr[-2000:])
    return done.stdout + done.stderr


@pytest.mark.parametrize("said", [b"it is hunter2!", base64.b64encode(b"hunter2"), repr({"k": b"hunter2"}).encode()])
def test_what_is_looked_for_would_be_found(said: bytes) -> None:
    assert found(["hunter2", "gatherer"], said) == ["hunter2"]


def test_a_member_writes_no_password_anywhere_and_no_address_if_it_is_told_so(make_guarded: MakeGuarded) -> None:
    guarded = make_guarded(include_email=False)
    bench, settings = guarded.bench, guarded.settings
    http = f"127.0.0.1:{free_port()}"
    properties = {"kafka_debug": "all", "log_level": "DEBUG", "http_address": http}
    member = guarded.start("one", guarded.login(Purpose.RUN), **properties)
    action = {"type": "click", "description": "seen", "canonical_url": "/", "index": 0}
    document = {"session_id": "s", "email": ADDRESS, "forwarded_at": time.time(), "actions": [action]}
    bench.send_raw(b"s", json.dumps(document).encode())  # held until its user is known
    bench.send_raw(b"s", json.dumps(document | {"user_id": "alice"}).encode())
    bench.send_raw(b"s", json.dumps(document | {"actions": "none"}).encode())
    bench.wait_for_texts({"alice": ["seen", "seen"]})
    wait_until(lambda: bool(bench.dead_letters()), "a dead letter")
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=10) as answer:
        metrics = answer.read()
    bench.stop(member, signal.SIGTERM, within_s=20)

    topics = {name: repr(read_topic(bench.bootstrap, name)) for name in names(settings).values()}
    ((letter, record),) = bench.dead_letters()
    assert "SaslAuthenticateRequest" in member.log  # librdkafka tells what it does
    assert guarded.user(Purpose.RUN) in member.log
    assert not found([PASSWORD], "\n".join([member.log, metrics.decode(), *topics.values()]))
    assert not found([ADDRESS], "\n".join([member.log, metrics.decode(), repr(letter), repr(record.headers)]))
    holding = {name for name, content in topics.items() if found([ADDRESS], content)}
    assert holding == {settings.input_topic, settings.dlq_topic}  # a dead letter is what was received: its contract


def test_no_command_says_anything_of_a_secret_also_not_when_it_fails(make_guarded: MakeGuarded, tmp_path: Path) -> None:
    guarded = make_guarded()
    broker = guarded.broker
    wrong, lock, token = planted("password"), planted("lock"), planted("token")
    secrets = {wrong, lock, token, PASSWORD, PLAIN_PASSWORD}
    login = guarded.login(Purpose.RUN)
    certificate = guarded.certified_member(lock)
    key = Path(certificate.pop("ssl.key.location")).read_text()
    secrets.update(line for line in key.splitlines() if len(line) > 40)
    refused = ExitCode.NOT_AUTHORIZED
    said = [
        written(guarded, guarded.variables(certificate | {"ssl.key.pem": key}, broker.mtls), "topics"),
        written(guarded, guarded.variables(login | {"sasl.password": wrong}), "run", exit_code=refused),
        written(
            guarded, guarded.variables(broker.login(PLAIN_USER, PLAIN_PASSWORD, "PLAIN")), "topics", exit_code=refused
        ),
        written(guarded, guarded.variables(login), "topics", "--acls", "--json"),
        written(guarded, guarded.variables(login), "run", "--help"),
    ]
    assert all(b"Authenticate" in text or b"SSL" in text for text in said[:3])
    file = tmp_path / "worker.toml"
    file.write_text(f'[kafka]\n"sasl.password" = "{wrong}"\n"ssl.key.password" "{lock}"\n')
    mistakes: list[Mapping[str, str]] = [
        {"WORKER_KAFKA_SASL_PASWORD": wrong},
        {"WORKER_SASL_PASSWORD": wrong},
        {"WORKER_KAFKA_SASL_PASSWORD": wrong, "WORKER_KAFKA_SASL_PASSWORD_FILE": str(file)},
        {"WORKER_KAFKA_SASL_PASSWORD": wrong, "WORKER_LOOKBACK_SECONDS": "many"},
        {"WORKER_CONFIG": str(file)},
        {"WORKER_READ_TOKN": token},
    ]
    said.append(written(guarded, mistakes[0], "topics", exit_code=ExitCode.USAGE))  # only the client knows that
    said += [mistake_of(variables) for variables in mistakes[1:]]
    said.append(written(guarded, {"WORKER_READ_TOKEN": f"{token} x"}, "serve", exit_code=ExitCode.USAGE))
    assert [leaks for text in said if (leaks := found(secrets, text))] == []


def mistake_of(variables: Mapping[str, str]) -> bytes:
    """What is said of settings that are wrong."""
    with pytest.raises(Fatal) as raised:
        load_settings({}, variables)
    return repr(raised.value).encode() + str(raised.value).encode()


UNFORESEEN = """
from worker import app, cli
def run_service(settings):
    from worker.kafka import Producer, producer_config
    config = producer_config(settings)
    broken = {"settings": settings, "config": config, "all": dict(settings)}
    raise RuntimeError(f"{broken}, {settings!s}, {settings.kafka}")
app.run_service = run_service
cli.main()
"""


def test_a_traceback_says_nothing_of_a_secret() -> None:
    secret = planted("password")
    done = subprocess.run(
        [sys.executable, "-c", UNFORESEEN, "run", "--kafka", f"sasl.password={secret}"],
        cwd=CHECKOUT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.FAILED
    assert b"Traceback" in done.stderr
    assert b"sasl.password" in done.stderr
    assert not found([secret], done.stdout + done.stderr)


def test_serve_says_nothing_of_its_tokens_or_its_password(make_guarded: MakeGuarded, tmp_path: Path) -> None:
    guarded = make_guarded()
    read, admin = planted("read"), planted("admin")
    member = guarded.start("one", guarded.login(Purpose.RUN))  # makes the topics
    guarded.bench.group.wait_for(lambda: "assigned" in member.log, "the member has partitions", timeout_s=40)
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "token").write_text(f"{read}\n")
    tokens = {"WORKER_READ_TOKEN_FILE": str(tmp_path / "token"), "WORKER_ADMIN_TOKEN": admin}
    log = tmp_path / "serve.log"

    def asked(path: str, token: str, method: str = "GET") -> int:
        request = urllib.request.Request(f"http://{address}{path}", method=method)
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    with log.open("wb") as output:
        variables = guarded.variables(guarded.login(Purpose.READ)) | tokens | EVERYTHING
        process = guarded.spawn(variables, output, "serve", "--listen", address)
        try:
            wait_until(lambda: asked("/context?user_id=nobody", read) == 404, "it answers")
            assert asked("/context?user_id=nobody", "wrong-token") == 401
            assert asked("/admin/reset?user_id=nobody", admin, "POST") == 503  # a reader may not write there
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    said = log.read_bytes()
    assert b"SaslAuthenticateRequest" in said
    assert not found([read, admin, PASSWORD], said)
