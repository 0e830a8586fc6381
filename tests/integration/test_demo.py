"""The demo as somebody runs it: in a pipe, in a terminal, and interrupted."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.demo import members, run_demo
from worker.errors import ExitCode, Fatal

pytestmark = pytest.mark.embedded

COMMAND = [sys.executable, "-m", "worker", "demo"]
SECRET = "planted-only-for-this-test"
ROWS, COLUMNS = 24, 80
LONGEST_S = 90.0
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


def environment(**extra: str) -> dict[str, str]:
    """Ours, with settings that would break the demo's members if they reached them, or must not be shown."""
    drop = ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    settings = {"WORKER_BOOTSTRAP_SERVERS": "nobody.invalid:1", "WORKER_KAFKA_SASL_PASSWORD": SECRET}
    return {**kept, **settings, **extra}


def temporary_files(folder: Path) -> list[Path]:
    return list(folder.glob("context-worker-demo-*"))


def test_in_a_pipe_it_tells_the_story_in_plain_lines_and_ends_with_0(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND, capture_output=True, text=True, timeout=LONGEST_S, env=environment(TMPDIR=str(tmp_path)), check=False
    )
    told = done.stdout

    assert done.returncode == ExitCode.OK, told + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in told
    assert SECRET not in told
    for words in (
        r"Member A owns clicks [\d ]+ and users [\d ]+",
        r"Member B owns clicks [\d ]+ and users [\d ]+",
        r"SIGKILL for member [AB]: its memory is gone",
        r"Its last checkpoint says that [1-9]\d* records have to be read again",
        r"Member [AB] takes over clicks [\d ]+ and users [\d ]+, after \d+\.\d s of silence",
        r"all records are right \d+\.\d s after the kill",
        r"right  10 records equal an independent fold of 106 payloads, text by text",
        r"right  7 clicks made before a log-in are their user's; 5 of a visitor are nobody's",
        r"right  1 record has expired to null",
        r"right  1 unreadable record is in the dead-letter topic, byte for byte",
        r"right  Member [AB] was killed",
    ):
        assert re.search(words, told), f"{words} is not in\n{told}"
    assert "WRONG" not in told
    assert told.count("    [Session context]\n") == 3
    assert told.count("    [Query]\n") == 3
    assert told.endswith("All records were right.\n")
    assert temporary_files(tmp_path) == []


def test_in_a_terminal_it_draws_a_picture_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    code, shown = run_in_a_terminal(environment(TERM="xterm-256color", TMPDIR=str(tmp_path)))

    assert code == ExitCode.OK, shown
    for words in ("one consumer group, two members", "member A", "killed", "▶", "kill", "╭", "All records were right."):
        assert words in shown
    hidden, visible = "\x1b[?25l", "\x1b[?25h"
    assert hidden in shown
    assert shown.rindex(visible) > shown.rindex(hidden)
    assert temporary_files(tmp_path) == []


def run_in_a_terminal(env: dict[str, str]) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        process = subprocess.Popen(COMMAND, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        output = b"".join(_everything(ours))
        return process.wait(LONGEST_S), output.decode()
    finally:
        os.close(ours)


def _everything(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError as exc:
            if exc.errno != errno.EIO:  # how a pseudo terminal says that the other side is closed
                raise
            return
        if not piece:
            return
        yield piece


def test_a_member_that_ends_by_itself_ends_the_demo_and_its_log_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(members, "_command", lambda: [sys.executable, "-c", "raise SystemExit('no kettle')"])
    out = io.StringIO()

    with pytest.raises(Fatal, match=r"member [AB] ended by itself with exit code 1") as raised:
        run_demo(out)

    assert raised.value.exit_code is ExitCode.FAILED
    (log,) = [path for path in temporary_files(tmp_path)[0].glob("member-*.log") if str(path) in raised.value.hint]
    assert log.read_text() == "no kettle\n"


@pytest.fixture
def half_way(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo whose members have joined."""
    env = environment(TMPDIR=str(tmp_path))
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Member B owns" in line:
                break
        yield process
        process.kill()


@ON_LINUX
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_with_130_and_leaves_nothing_behind(
    half_way: subprocess.Popen[str], tmp_path: Path, sent: signal.Signals
) -> None:
    children = children_of(half_way.pid)
    assert len(children) == 2

    half_way.send_signal(sent)
    _, complaints = half_way.communicate(timeout=10)

    assert half_way.returncode == ExitCode.INTERRUPTED
    assert complaints == ""
    assert not any(is_alive(child) for child in children)
    assert temporary_files(tmp_path) == []


@ON_LINUX
def test_a_demo_that_is_killed_takes_its_members_with_it(half_way: subprocess.Popen[str]) -> None:
    children = children_of(half_way.pid)
    assert len(children) == 2

    half_way.kill()
    half_way.wait()
    deadline = time.monotonic() + 5
    while any(is_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert not any(is_alive(child) for child in children)


def status_of(pid: int) -> tuple[str, int] | None:
    """The state of a process and its parent; None when there is no such process."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return state, int(parent)


def is_alive(pid: int) -> bool:
    status = status_of(pid)
    return status is not None and status[0] != "Z"


def children_of(pid: int) -> list[int]:
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [child for child in pids if (status := status_of(child)) is not None and status[1] == pid]
