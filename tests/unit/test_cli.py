"""The command line without a broker: what it takes, teaches and refuses."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.testing import CliRunner

import worker.app
import worker.demo
from schemas.user_context import SessionContext, UserContext
from tests.brokers import CHECKOUT
from worker import flags, topics
from worker.cli import app, main
from worker.erasure import Effect
from worker.errors import ExitCode, Fatal, Retriable
from worker.group_status import GroupStatus, MemberStatus, PartitionState, PartitionStatus, lag_of, state_of
from worker.printing import (
    ago,
    harmless,
    in_short,
    print_effect,
    print_produced,
    print_status,
    print_topics,
    print_user,
    progress_of,
    telling,
)
from worker.producing import Produced, Source
from worker.settings import Settings
from worker.settings_sources import flag
from worker.topic_policy import Role, Topic
from worker.topics import TopicReport

COMMANDS = ("run", "demo", "status", "topics", "produce", "user", "reset-user", "replay", "dlq list", "dlq retry")
Cli = Callable[..., int]


@pytest.fixture
def no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORKER_CONFIG", *(f"WORKER_{field.upper()}" for field in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cli(no_settings_outside: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The script itself; returns its exit code. The log is as it was afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["context-worker", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    yield call
    root.setLevel(level)
    root.handlers[:] = handlers


def help_of(*command: str) -> str:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    return result.output


def test_the_help_shows_the_way_in() -> None:
    text = help_of()
    assert all(command.split()[0] in text for command in COMMANDS)
    assert "context-worker produce --rebase sample" in text


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "demo"])
def test_every_command_teaches_by_example(command: str) -> None:
    text = help_of(*command.split())
    assert "Examples" in text
    assert f"context-worker {command}" in text
    assert "--bootstrap-servers" in text
    assert "--kafka" in text
    assert "--config" in text


def test_every_setting_is_a_flag_of_run_with_its_meaning() -> None:
    text = help_of("run")
    for name in Settings.model_fields:
        assert flag(name) in text
    assert "[default 300]" in text


def test_every_setting_has_a_place_in_the_help() -> None:
    assert set(flags._PANEL_OF) == {*Settings.model_fields, "config"}


@pytest.mark.parametrize("command", ["", "dlq", *COMMANDS])
def test_nothing_is_cut_from_the_names_or_the_examples_on_a_narrow_terminal(command: str) -> None:
    page = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "80"}).output
    assert "<bool>" not in page
    found = typer.main.get_command(app)
    for word in command.split():
        assert isinstance(found, TyperGroup)
        found = found.commands[word]
    words = set(re.split(r"[\s,]+", page))
    assert {
        name for option in found.params for name in (*option.opts, *option.secondary_opts) if name[:1] == "-"
    } <= words
    lines = (found.help or "").splitlines()
    examples = [line for line in lines if line.startswith("  ") and line.strip()]
    assert all(len(line) < 78 for line in examples)
    assert all(line.strip() in page for line in examples)


def test_a_switch_can_be_said_both_ways_but_not_at_once(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def service(settings: Settings) -> ExitCode:
        seen.append(settings.include_email)
        return ExitCode.OK

    monkeypatch.setattr(worker.app, "run_service", service)
    monkeypatch.setenv("WORKER_INCLUDE_EMAIL", "false")
    assert cli("run") == cli("run", "--include-email") == cli("run", "--no-include-email") == ExitCode.OK
    assert seen == [False, True, False]
    assert cli("run", "--include-email", "--no-include-email") == ExitCode.USAGE


def test_no_arguments_show_the_help() -> None:
    assert "Usage" in CliRunner().invoke(app, []).output


def test_wrong_settings_are_told_on_stderr_with_the_usage_code(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("run", "--lookback-seconds", "soon", "--kafka", "acks=1") == ExitCode.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "--lookback-seconds: expected a valid number, got 'soon'" in printed.err
    assert "--kafka acks: " in printed.err
    assert "-> " in printed.err


def test_a_misspelt_flag_is_refused_with_the_nearest(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("run", "--lokback-seconds", "3") == ExitCode.USAGE
    assert "--lookback-seconds" in capsys.readouterr().err


def test_a_property_taken_for_a_flag_is_refused_with_how_to_write_it(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("status", "--sasl-password=hunter2", "--security-protocol", "SSL") == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "written --kafka sasl.password=… --kafka security.protocol=…" in told
    assert cli("run", "--lokback-seconds", "3") == ExitCode.USAGE
    assert "librdkafka" not in capsys.readouterr().err


def test_a_misspelt_variable_is_refused_with_the_nearest(
    cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_GROUPID", "x")
    assert cli("status") == ExitCode.USAGE
    assert "did you mean WORKER_GROUP_ID?" in capsys.readouterr().err


def test_run_gets_the_settings_of_all_sources_and_hands_its_exit_code_on(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Settings] = []

    def service(settings: Settings) -> ExitCode:
        seen.append(settings)
        return ExitCode.OK

    monkeypatch.setattr(worker.app, "run_service", service)
    monkeypatch.setenv("WORKER_LOOKBACK_SECONDS", "60")
    monkeypatch.setenv("WORKER_GROUP_ID", "from-environment")
    assert cli("run", "--group-id", "from-flag", "--no-create-topics", "--kafka", "linger.ms=7") == 0
    (settings,) = seen
    assert (settings.lookback_seconds, settings.group_id, settings.create_topics) == (60.0, "from-flag", False)
    assert settings.kafka == {"linger.ms": "7"}


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_service_that_must_stop_says_why_in_the_log_and_ends_with_its_code(
    log_format: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def service(_settings: Settings) -> ExitCode:
        raise Fatal(ExitCode.STALLED, "no progress", hint="look at the broker")

    monkeypatch.setattr(worker.app, "run_service", service)
    assert cli("run", "--log-format", log_format) == ExitCode.STALLED
    printed = capsys.readouterr().err
    assert "look at the broker" in printed
    if log_format == "json":
        assert json.loads(printed)["message"].startswith("no progress")


@pytest.mark.parametrize(
    ("error", "code"), [(Retriable("later"), 1), (RuntimeError("?"), 1), (Fatal(ExitCode.UNKNOWN_FORM, "v9"), 14)]
)
def test_any_error_is_told_and_has_an_exit_code(
    error: Exception,
    code: int,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> ExitCode:
        raise error

    monkeypatch.setattr(worker.demo, "run_demo", fail)
    assert cli("demo") == code
    assert str(error) in capsys.readouterr().err + caplog.text


def test_demo_hands_its_verdict_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.demo, "run_demo", lambda: ExitCode.BAD_INPUT)
    assert cli("demo") == ExitCode.BAD_INPUT


@pytest.mark.parametrize(
    "command",
    [
        *[("topics",), ("status",), ("user", "u"), ("produce", "sample"), ("reset-user", "u")],
        *[("dlq", "list"), ("dlq", "retry"), ("replay", "--from", "1h")],
    ],
)
def test_every_command_tells_that_there_is_no_broker(
    command: tuple[str, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(topics, "BROKER_TIMEOUT_S", 0.0)
    monkeypatch.setattr(topics, "ATTEMPT_S", 0.3)
    assert cli(*command, "--bootstrap-servers", "127.0.0.1:1") == ExitCode.BROKER_UNREACHABLE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "127.0.0.1:1" in printed.err


# --- what is printed ---


def plain() -> Console:
    return Console(file=io.StringIO(), width=10_000, highlight=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_span_of_time_is_told_as_people_do(seconds: float, words: str) -> None:
    assert ago(seconds) == words


def test_a_user_is_shown_with_the_text_that_a_prompt_would_get() -> None:
    session = SessionContext(
        session_id="s", product_id="acme", conversation_id="c", last_seen_at=95.0, context="Recent [1]"
    )
    record = UserContext(
        user_id="u", email="u@x", updated_at=95.0, expires_at=395.0, sessions=(session,), truncated=True
    )
    console = plain()
    print_user(record, console, 100.0)
    assert text_of(console) == (
        "u  u@x\nlast seen 5 s ago, expires in 4 min 55 s, truncated\n"
        "\nSession s in acme, 5 s ago, conversation c\nRecent [1]\n"
    )


def test_a_user_on_a_terminal_is_a_panel() -> None:
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    print_user(UserContext(user_id="u", updated_at=95.0, expires_at=395.0), console, 100.0)
    assert "╭" in text_of(console)
    assert "no e-mail address" in text_of(console)


WRITING = """
import sys, typer
from worker.printing import out, telling
try:
    with telling():
        for _ in range(3):
            {write}
except typer.Exit as ended:
    sys.exit(ended.exit_code)
except Exception as exc:
    print(exc, file=sys.stderr)
    sys.exit(1)
"""


@pytest.mark.parametrize("write", ["out().print('x' * 100_000)", "sys.stdout.write('x' * 100_000)", "print('short')"])
def test_a_stdout_that_takes_no_more_ends_a_command_without_a_traceback(write: str) -> None:
    script = [sys.executable, "-c", WRITING.format(write=write)]
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        done = subprocess.run(script, stdout=closed, stderr=subprocess.PIPE, cwd=CHECKOUT, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.OUTPUT_CLOSED, b"")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(script, stdout=full, stderr=subprocess.PIPE, cwd=CHECKOUT, check=False)
    assert done.returncode == ExitCode.FAILED
    assert done.stderr.splitlines() == [
        b"cannot write to stdout: No space left on device",
        b"  -> make room, or write elsewhere",
    ]


def test_another_error_of_the_system_is_not_about_stdout() -> None:
    with pytest.raises(PermissionError), telling():
        raise PermissionError(errno.EACCES, "no")


@pytest.mark.parametrize(("size", "shown"), [(None, "lines"), (1_000, "kB")])
def test_the_progress_of_a_pipe_counts_lines(
    size: int | None, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    source = Source(io.BytesIO(b"one\ntwo\n"), size)
    with progress_of(source, "publishing") as progress:
        assert len(list(source.lines())) == 2
        assert source.position == (2 if size is None else 8)
        progress()
    assert shown in capsys.readouterr().err


STRANGE = "a\x1b[2J\nb\u202ec"
SHOWN_STRANGE = "a\\x1b[2J\\nb\\u202ec"


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_of_a_user_reaches_the_terminal_as_a_command(terminal: bool) -> None:
    session = SessionContext(
        session_id=STRANGE, product_id=STRANGE, conversation_id=STRANGE, last_seen_at=95.0, context=f"one\n{STRANGE}"
    )
    record = UserContext(user_id=STRANGE, email=STRANGE, updated_at=95.0, expires_at=395.0, sessions=(session,))
    console = Console(file=io.StringIO(), width=200, highlight=False, force_terminal=terminal, color_system=None)
    print_user(record, console, 100.0)
    shown = text_of(console)
    assert "\x1b" not in shown
    assert shown.count(SHOWN_STRANGE) == 5
    assert "one" in shown
    assert "a\\x1b[2J" in shown
    assert STRANGE not in in_short(STRANGE, record, 100.0)
    print_effect(Effect.ERASED, STRANGE, "g", console)
    assert "\x1b" not in text_of(console)


def test_nothing_of_a_line_or_a_member_reaches_the_terminal_as_a_command() -> None:
    done = Produced(sent=1, bad=1, newest_users={STRANGE: 1.0})
    done.blame(1, STRANGE)
    console = plain()
    done.interrupted = True
    print_produced(done, "actions", 1.0, console, live=True)
    assert text_of(console).startswith("interrupted: no more lines were read\npublished 1 payloads")
    assert text_of(console).count(SHOWN_STRANGE) == 3
    table = plain()
    print_status(GroupStatus("g", "stable", (MemberStatus(STRANGE, STRANGE, 1),), (partition(member=STRANGE),)), table)
    assert text_of(table).count(SHOWN_STRANGE) == 3
    assert "\x1b" not in text_of(console) + text_of(table)


def test_what_shows_as_itself_is_harmless() -> None:
    assert (
        harmless("plain ünïcode, a\u00a0narrow space, 日本\u3000語")
        == "plain ünïcode, a\u00a0narrow space, 日本\u3000語"
    )
    assert harmless("[bold]\x9b\u2028") == "[bold]\\x9b\\u2028"


def test_bad_lines_are_told_with_number_and_reason_and_all_are_counted() -> None:
    done = Produced(sent=10, bad=7)
    for line in range(7):
        done.blame(line, f"reason {line}")
    console = plain()
    print_produced(done, "actions", 1.0, console, live=False)
    shown = text_of(console)
    assert "published 10 payloads to actions in 1.0 s\n7 lines were not published:\n  line 0: reason 0" in shown
    assert "line 4: reason 4" in shown
    assert "line 5" not in shown
    assert "and 2 more" in shown


def test_topics_are_shown_whole_with_their_warnings() -> None:
    topic = Topic("a-long-name" * 10, Role.OUTPUT, 4, {"cleanup.policy": "compact"}, created=True)
    unseen = Topic("unseen", Role.INPUT, 4)
    console = plain()
    print_topics(TopicReport({topic.role: topic, unseen.role: unseen}, ("[careful]",)), console)
    shown = text_of(console)
    assert topic.name in shown
    assert "created" in shown
    assert "not shown" in shown
    assert "warning: [careful]" in shown


def partition(number: int = 0, **different: object) -> PartitionStatus:
    values = {"member": "m", "committed": 5, "restore_offset": 2, "log_start": 0, "log_end": 9, "lag_s": 70.0}
    return PartitionStatus("t", number, **{**values, "state": PartitionState.RUNNING, **different})  # type: ignore[arg-type]


def test_the_status_is_a_table_or_one_json_object() -> None:
    parts = (partition(), partition(1, member=None, committed=None, restore_offset=None, log_end=3, lag_s=5.0))
    status = GroupStatus("g", "stable", (MemberStatus("m", "h", 1),), parts)
    console = plain()
    print_status(status, console)
    assert "group g: stable, 1 members, lag 7, 1 min 10 s behind" in text_of(console)
    document = json.loads(status.to_json())
    assert (document["lag"], document["lag_s"]) == (7, 70.0)
    assert [one["lag"] for one in document["partitions"]] == [4, 3]
    assert document["partitions"][0]["state"] == "running"
    empty = plain()
    print_status(GroupStatus("g", "dead", (), ()), empty)
    assert "nobody has joined yet" in text_of(empty)


@pytest.mark.parametrize(
    ("committed", "start", "end", "lag"),
    [
        (None, 0, 0, 0),
        (None, 0, 9, 9),
        (None, 4, 9, 5),
        (5, 0, 9, 4),
        (5, 7, 9, 2),
        (9, 0, 9, 0),
        (12, 0, 9, 0),
        (0, 0, 9, 9),
    ],
)
def test_lag_is_what_can_still_be_read(committed: int | None, start: int, end: int, lag: int) -> None:
    assert lag_of(committed, start, end) == lag


@pytest.mark.parametrize(
    ("owned", "lag", "moved", "state"),
    [
        (False, 0, False, PartitionState.NO_OWNER),
        (True, 0, False, PartitionState.CAUGHT_UP),
        (True, 3, True, PartitionState.RUNNING),
        (True, 3, False, PartitionState.RESTORING),
    ],
)
def test_a_state_is_told_by_two_looks(owned: bool, lag: int, moved: bool, state: PartitionState) -> None:
    assert state_of(owned=owned, lag=lag, moved=moved) is state
