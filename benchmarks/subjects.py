"""What is measured: a member of the worker's group, or a bare pass-through, as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.process_meter import Usage, usage_of

CHECKOUT = Path(__file__).resolve().parents[1]
STOP_TIMEOUT_S = 30.0
LOG_LINES = 30


class SubjectFailed(Exception):
    """The process under measurement ended, or did not do its work; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A command that works until SIGTERM. A payload goes through `hops`, one topic after another, to `output`."""

    name: str
    command: tuple[str, ...]
    group_id: str
    hops: tuple[str, ...]
    output: str
    own_topics: tuple[str, ...]  # to be removed when it is done
    settings: Mapping[str, str] = field(default_factory=dict)
    stops_with: tuple[int, ...] = (0,)  # exit codes after SIGTERM


def member(name: str, bootstrap_servers: str, input_topic: str, **settings: object) -> Subject:
    """One `worker run` with its defaults, but for the settings given by field name."""
    group_id = f"bench-{uuid.uuid4().hex[:8]}"
    repartition, output, dead_letters = (f"{group_id}-{topic}" for topic in ("by-user-repartition", "out", "dlq"))
    given: dict[str, object] = {
        "bootstrap_servers": bootstrap_servers,
        "group_id": group_id,
        "input_topic": input_topic,
        "repartition_topic": repartition,
        "output_topic": output,
        "dlq_topic": dead_letters,
        **settings,
    }
    environment = {f"WORKER_{key.upper()}": str(value) for key, value in given.items()}
    own = (repartition, output, dead_letters)
    command = (sys.executable, "-m", "worker", "run")
    return Subject(name, command, group_id, (input_topic, repartition), output, own, environment)


def passthrough(name: str, bootstrap_servers: str, topics: tuple[str, ...], *, flush: bool = False) -> Subject:
    """The bare client over the same topics, whose first is the input. The others have to exist."""
    group_id = f"bench-{uuid.uuid4().hex[:8]}"
    options = ("--flush",) if flush else ()
    command = (sys.executable, "-m", "benchmarks.passthrough", bootstrap_servers, group_id, *topics, *options)
    return Subject(name, command, group_id, topics[:-1], topics[-1], ())


class Working(Protocol):
    """A subject at work, in one process or several."""

    @property
    def subject(self) -> Subject: ...

    @property
    def usage(self) -> Usage: ...

    def check(self) -> None: ...


class Running:
    """A subject at work, in a process of its own."""

    def __init__(self, subject: Subject, process: subprocess.Popen[bytes], log: Path) -> None:
        self.subject = subject
        self._process = process
        self._log = log

    @property
    def usage(self) -> Usage:
        """CPU and memory of the process and its children."""
        return usage_of(self._process.pid)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def check(self) -> None:
        """Raises SubjectFailed when it has ended by itself."""
        if self._process.poll() is not None:
            raise SubjectFailed(f"{self.subject.name} ended with {self._process.returncode}{self._tail()}")

    def stop(self) -> None:
        """Ask it to end and wait. Raises SubjectFailed when it does not end clean."""
        self.check()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise SubjectFailed(f"{self.subject.name} did not stop{self._tail()}") from None
        if code not in self.subject.stops_with:
            raise SubjectFailed(f"{self.subject.name} stopped with {code}{self._tail()}")

    def _tail(self) -> str:
        lines = self.log.splitlines()[-LOG_LINES:]
        return "".join(f"\n  {line}" for line in lines)


class Team:
    """Members of one group at work, as one."""

    def __init__(self, members: Sequence[Running]) -> None:
        self.subject = members[0].subject
        self._members = members

    @property
    def usage(self) -> Usage:
        """CPU and memory of all of them."""
        cpu_s, rss_bytes = zip(*(member.usage for member in self._members), strict=True)
        return Usage(sum(cpu_s), sum(rss_bytes))

    def check(self) -> None:
        """Raises SubjectFailed when one of them has ended by itself."""
        for member in self._members:
            member.check()


@contextmanager
def started(subject: Subject) -> Iterator[Running]:
    """Start it; it is killed in the end if nobody stopped it. The settings of a real worker are kept from it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                subject.command,
                cwd=CHECKOUT,
                env=inherited | dict(subject.settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the benchmark, which then stops it
            )
        try:
            yield Running(subject, process, log)
        finally:
            process.kill()
            process.wait()
