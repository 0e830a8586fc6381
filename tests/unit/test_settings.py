"""What the operator may say, where, and what they are told when it is wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from worker import kafka_properties
from worker.errors import ExitCode, Fatal
from worker.settings import Settings, load_settings, reveal, settings_table

SENTINEL = "hunter2-sentinel"


def complaint(
    flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None, file: Path | None = None
) -> str:
    with pytest.raises(Fatal) as caught:
        load_settings(flags or {}, environ or {}, file)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.hint
    return str(caught.value)


def written(folder: Path, text: str) -> Path:
    path = folder / "worker.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_said_means_the_defaults() -> None:
    settings = load_settings({}, {})
    assert settings == Settings()
    assert settings.bootstrap_servers == "localhost:9092"
    assert settings.repartition_topic == "context-worker-by-user-repartition"
    assert settings.retention_s == 600.0


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "lookback_seconds = 1\nidle_after_s = 1\ncommit_interval_s = 0.25\n")
    environ = {"WORKER_LOOKBACK_SECONDS": "2", "WORKER_IDLE_AFTER_S": "2"}
    settings = load_settings({"lookback_seconds": 3.0, "idle_after_s": None}, environ, file)
    assert (settings.lookback_seconds, settings.idle_after_s, settings.commit_interval_s) == (3.0, 2.0, 0.25)


def test_the_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    file = written(tmp_path, 'group_id = "from-file"\n')
    assert load_settings({}, {"WORKER_CONFIG": str(file)}).group_id == "from-file"


def test_librdkafka_properties_come_from_all_sources_and_aliases_are_one_name(tmp_path: Path) -> None:
    file = written(
        tmp_path, '[kafka]\nsecurity.protocol = "SSL"\n"ssl.ca.location" = "/ca.pem"\nsocket.keepalive.enable = true\n'
    )
    environ = {
        "WORKER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "WORKER_KAFKA_SASL_MECHANISM": "PLAIN",
        "WORKER_KAFKA_LOG_LEVEL": "3",
    }
    settings = load_settings({"kafka": ["sasl.mechanisms=SCRAM-SHA-512", "linger.ms = 7"]}, environ, file)
    assert settings.kafka == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "/ca.pem",
        "socket.keepalive.enable": "true",
        "sasl.mechanisms": "SCRAM-SHA-512",
        "log_level": "3",
        "linger.ms": "7",
    }


def test_a_secret_may_come_from_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{SENTINEL}\n", encoding="utf-8")
    value = load_settings({}, {"WORKER_KAFKA_SASL_PASSWORD_FILE": str(secret)}).kafka["sasl.password"]
    assert isinstance(value, SecretStr)
    assert reveal(value) == SENTINEL


@pytest.mark.parametrize(
    ("name", "prop"),
    [("SASL_USERNAME", "sasl.username"), ("SSL_KEY_PEM", "ssl.key.pem"), ("NEW_SECRET", "new.secret")],
)
def test_any_property_may_come_from_a_file(tmp_path: Path, name: str, prop: str) -> None:
    (tmp_path / "mounted").write_text("two\nlines\r\n", encoding="utf-8")
    value = load_settings({}, {f"WORKER_KAFKA_{name}_FILE": str(tmp_path / "mounted")}).kafka[prop]
    assert reveal(value) == "two\nlines"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "cannot be read: No such file"), (b"\n", "is empty"), (b"\xff" + SENTINEL.encode(), "is no text in UTF-8")],
)
def test_a_file_that_holds_no_secret_is_told_by_variable_and_path(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    text = complaint({}, {"WORKER_KAFKA_SASL_PASSWORD_FILE": str(path)})
    assert f"WORKER_KAFKA_SASL_PASSWORD_FILE: '{path}' {expected}" in text
    assert SENTINEL not in text


@pytest.mark.parametrize("path", ["", "/", "\0"])
def test_a_path_that_is_none_is_told_too(path: str) -> None:
    assert "WORKER_KAFKA_SASL_PASSWORD_FILE" in complaint({}, {"WORKER_KAFKA_SASL_PASSWORD_FILE": path})


@pytest.mark.parametrize("also", [{}, {"WORKER_KAFKA_SASL_PASSWORD": "another"}], ids=["alone", "twice"])
def test_a_secret_in_the_place_of_its_path_is_not_shown(also: dict[str, str]) -> None:
    text = complaint({}, {"WORKER_KAFKA_SASL_PASSWORD_FILE": SENTINEL, **also})
    assert "WORKER_KAFKA_SASL_PASSWORD_FILE" in text
    assert SENTINEL not in text


def test_a_login_in_a_url_is_refused_and_not_shown() -> None:
    name = "sasl.oauthbearer.token.endpoint.url"
    text = complaint({"kafka": [f"{name}=https://me:{SENTINEL}@tokens.example.com/x"]}, {})
    assert f"--kafka {name}: expected a URL without a name and a password" in text
    assert SENTINEL not in text
    assert load_settings({"kafka": [f"{name}=https://tokens.example.com/x?for=me@example.com"]}, {})


def test_a_secret_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("one")
    environ = {"WORKER_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"), "WORKER_KAFKA_SASL_PASSWORD": SENTINEL}
    text = complaint({}, environ)
    assert "both WORKER_KAFKA_SASL_PASSWORD and WORKER_KAFKA_SASL_PASSWORD_FILE are set" in text
    assert str(tmp_path / "password") in text
    assert SENTINEL not in text
    assert reveal(load_settings({}, environ | {"WORKER_KAFKA_SASL_PASSWORD": ""}).kafka["sasl.password"]) == "one"


def test_a_property_whose_name_ends_in_file_is_itself() -> None:
    environ = {"WORKER_KAFKA_SASL_OAUTHBEARER_ASSERTION_FILE": "/jwt"}
    assert load_settings({}, environ).kafka == {"sasl.oauthbearer.assertion.file": "/jwt"}


@pytest.mark.parametrize("name", sorted(kafka_properties.SECRETS))
def test_a_secret_shows_up_in_no_text(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings = load_settings({"kafka": [f"{name}={SENTINEL}"]}, {})
    logging.getLogger("test").info("%s %r %s", settings, settings, settings.kafka)
    assert SENTINEL not in caplog.text + str(settings) + repr(settings) + settings.model_dump_json()
    assert reveal(settings.kafka[name]) == SENTINEL


def test_a_wrong_setting_beside_a_secret_does_not_print_it(tmp_path: Path) -> None:
    file = written(tmp_path, f'sasl_password = "{SENTINEL}"\n[kafka]\nsasl.password = "{SENTINEL}"\nacks = "1"\n')
    environ = {"WORKER_KAFKA_SSL_KEY_PASSWORD": SENTINEL, "WORKER_SASL_PASSWORD": SENTINEL}
    assert SENTINEL not in complaint({"lookback_seconds": -1, "kafka": [SENTINEL]}, environ, file)
    with pytest.raises(ValidationError) as caught:
        Settings(kafka={"sasl.password": SENTINEL, "acks": SENTINEL})
    assert SENTINEL not in str(caught.value)


def test_several_mistakes_are_told_together_under_the_names_the_user_wrote(tmp_path: Path) -> None:
    file = written(tmp_path, 'max_sessions_per_user = "many"\n[kafka]\nacks = 1\n')
    text = complaint(
        {"lookback_seconds": -5.0, "kafka": ["message.timeout.ms=0"]},
        {"WORKER_DLQ_MAX_RATIO": "2", "WORKER_LOKBACK_SECONDS": "3"},
        file,
    )
    assert "--lookback-seconds: expected greater than 0, got -5.0" in text
    assert "WORKER_DLQ_MAX_RATIO: expected less than or equal to 1, got '2'" in text
    assert f"max_sessions_per_user in {file}: expected a valid integer, got 'many'" in text
    assert f"[kafka] acks in {file}: " in text
    assert "--kafka message.timeout.ms: expected more than 0" in text
    assert "WORKER_LOKBACK_SECONDS: no such setting; did you mean WORKER_LOOKBACK_SECONDS?" in text
    assert "6 settings are wrong" in text


@pytest.mark.parametrize(
    ("flags", "environ", "toml", "expected"),
    [
        ({"outptu_topic": "x"}, {}, "", "--outptu-topic: no such setting; did you mean --output-topic?"),
        ({}, {"WORKER_SASL_PASSWORD": SENTINEL}, "", "property: write WORKER_KAFKA_SASL_PASSWORD"),
        ({}, {"WORKER_SECURITY_PROTOCOL": "SSL"}, "", "property: write WORKER_KAFKA_SECURITY_PROTOCOL"),
        ({}, {"WORKER_KAFKA": "acks=1"}, "", "did you mean a property behind it, e.g. WORKER_KAFKA_SECURITY_PROTOCOL?"),
        (
            {"sasl_password": SENTINEL},
            {},
            "",
            "--sasl-password: no such setting, but a librdkafka property: write --kafka sasl",
        ),
        ({}, {}, "security_protocol = 'SSL'\n", "property: write security.protocol in the table [kafka]"),
        ({}, {}, "security.protocol = 'SSL'\n", "property: write security.protocol in the table [kafka]"),
        ({}, {}, "'ssl.ca.location' = 'x'\n", "property: write ssl.ca.location in the table [kafka]"),
        ({}, {}, "ssl.ca.location = 'x'\n", "property: write ssl.ca.location in the table [kafka]"),
        ({}, {"WORKER_COMMIT_INTERVAL_MS": "9"}, "", "did you mean WORKER_COMMIT_INTERVAL_S?"),
        ({}, {}, "lookback = 3\n", "did you mean lookback_seconds?"),
        ({}, {}, "[kafak]\nacks = 1\n", "did you mean the table [kafka]?"),
        ({}, {"WORKER_XYZZY_QUUX": "1"}, "", "WORKER_XYZZY_QUUX: no such setting\n"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(
    flags: dict[str, object], environ: dict[str, str], toml: str, expected: str, tmp_path: Path
) -> None:
    assert expected in complaint(flags, environ, written(tmp_path, toml))


def test_what_kubernetes_says_about_a_service_called_worker_is_no_setting() -> None:
    names = [
        "WORKER_SERVICE_HOST",
        "WORKER_SERVICE_PORT",
        "WORKER_SERVICE_PORT_HTTP",
        "WORKER_PORT",
        "WORKER_PORT_80_TCP_ADDR",
    ]
    assert load_settings({}, dict.fromkeys(names, "10.0.0.1")) == Settings()


@pytest.mark.parametrize("name", sorted(kafka_properties.REFUSED))
def test_a_property_the_promise_depends_on_is_refused_with_the_reason(name: str) -> None:
    text = complaint({"kafka": [f"{name}=1"]})
    assert f"--kafka {name}: {kafka_properties.REFUSED[name]}" in text


@pytest.mark.parametrize("name", ["stats_cb", "oauthbearer_token_refresh_cb", "ssl.certificate.verify_cb", "ssl_key"])
def test_a_callback_is_no_text(name: str) -> None:
    assert "it takes no text" in complaint({"kafka": [f"{name}=1"]})


@pytest.mark.parametrize(
    "alias",
    sorted(
        set(kafka_properties.ALIASES)
        & {
            "auto.commit.enable",
            "request.required.acks",
            "metadata.broker.list",
            "max.in.flight.requests.per.connection",
        }
    ),
)
def test_a_refused_property_is_refused_under_its_other_name(alias: str) -> None:
    assert f"--kafka {alias}: " in complaint({"kafka": [f"{alias}=1"]})


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            {"kafka": ["delivery.timeout.ms=15000"]},
            "--kafka delivery.timeout.ms: expected less than the session timeout (15000)",
        ),
        ({"kafka": ["queue.buffering.max.messages=0"]}, "unbounded"),
        ({"kafka": ["max.poll.interval.ms=soon"]}, "expected a whole number"),
        ({"heartbeat_interval_ms": 6000}, "at most a third of session_timeout_ms (15000)"),
        ({"output_topic": "autoplay.actions"}, "--output-topic: expected a topic of its own"),
        ({"dlq_topic": "a b"}, "--dlq-topic: expected a topic name"),
        ({"group_id": "my group"}, "of which 'my group-by-user-repartition' was made"),
        ({"group_id": " "}, "--group-id: expected a text that is not empty"),
        ({"anonymous_user_id_pattern": "({"}, "--anonymous-user-id-pattern: expected a regular expression"),
        ({"kafka": ["group.instance.id=one"]}, "--kafka group.instance.id: use the setting instance_id"),
        (
            {"processing_guarantee": "exactly_once", "kafka": ["transaction.timeout.ms=15000"]},
            "--kafka transaction.timeout.ms: expected less than the session timeout (15000)",
        ),
        (
            {"processing_guarantee": "exactly_once", "kafka": ["delivery.timeout.ms=12000"]},
            "--kafka delivery.timeout.ms: expected at most transaction.timeout.ms (10000)",
        ),
        (
            {"processing_guarantee": "exactly_once", "commit_interval_s": 6.0},
            "--commit-interval-s: expected at most half of transaction.timeout.ms (10000), got 6000 ms",
        ),
        ({"http_address": ":8080"}, "--http-address: expected host:port, got ':8080'"),
        ({"lookback_seconds": float("nan")}, "--lookback-seconds: expected a finite number"),
        ({"max_record_bytes": 10}, "--max-record-bytes: expected greater than or equal to 1024, got 10"),
        ({"group_protocol": "eager"}, "--group-protocol: expected 'classic' or 'consumer', got 'eager'"),
    ],
)
def test_a_wrong_value_says_what_was_expected(setting: dict[str, object], expected: str) -> None:
    assert expected in complaint(setting)


def test_a_settings_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    assert "expected TOML" in complaint(file=written(tmp_path, "a = = 1"))
    assert "cannot be read" in complaint(file=tmp_path / "missing.toml")
    assert "cannot be read" in complaint(environ={"WORKER_CONFIG": str(tmp_path / "missing.toml")})


def test_a_record_in_the_queue_dies_before_the_session() -> None:
    assert Settings().delivery_timeout_ms == 12_000
    assert Settings(session_timeout_ms=6000).delivery_timeout_ms == 4800
    assert Settings(group_protocol="consumer").delivery_timeout_ms == 30_000
    assert Settings(group_protocol="consumer").effective_session_timeout_ms == 45_000
    assert Settings(group_protocol="consumer", session_timeout_ms=9000).delivery_timeout_ms == 7200
    assert Settings(kafka={"message.timeout.ms": "5000"}).delivery_timeout_ms == 5000


def test_the_log_level_may_be_written_small() -> None:
    assert load_settings({}, {"WORKER_LOG_LEVEL": "debug"}).log_level == "DEBUG"


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.group_id = "other"  # type: ignore[misc]


def test_the_table_names_every_setting_with_its_meaning() -> None:
    table = settings_table()
    for name, field in Settings.model_fields.items():
        assert field.description
        assert name == "kafka" or f"`WORKER_{name.upper()}`" in table


def test_the_nearest_property_is_never_a_refused_one() -> None:
    assert kafka_properties.nearest("securty.protocol") == "security.protocol"
    assert kafka_properties.nearest("xyzzy") == ""
