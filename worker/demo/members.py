"""The two members: processes of their own, and what their logs tell about the partitions they own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from worker.demo.scene import MemberState, MemberView, PartitionState, PartitionView

STOP_TIMEOUT_S = 10.0
FREE = PartitionView("", PartitionState.FREE)

Partition = tuple[str, int]  # topic and number

# Runs before the member in the member's process: when the demo dies, however it dies, the kernel kills the member too.
_TIE_TO_PARENT = """
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGKILL = 1, 9
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the demo is gone")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Member:
    """One `context-worker run` in a process of its own, its output in a file."""

    def __init__(self, name: str, settings: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.state = MemberState.STARTING
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
                _command(),
                env=_environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for the demo, which then stops its members
            )
        self._read_bytes = 0

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def view(self) -> MemberView:
        return MemberView(self.name, self._process.pid, self.state)

    def new_log_messages(self) -> Iterator[str]:
        """What it has logged since the last call, whole lines only."""
        with self.log.open("rb") as file:
            file.seek(self._read_bytes)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            try:
                yield str(json.loads(line)["message"])
            except (ValueError, LookupError, TypeError):
                continue  # not the worker's log: an interpreter's last words

    def kill(self) -> None:
        """SIGKILL: no goodbye, no checkpoint."""
        self._process.kill()
        self._process.wait()
        self.state = MemberState.KILLED

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end after `ask_to_stop`; it is killed when it takes too long."""
        try:
            code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.state = MemberState.STOPPED
        return code


def _command() -> list[str]:
    member = ["-m", "worker", "run"]
    if sys.platform != "linux":
        return [sys.executable, *member]
    return [sys.executable, "-I", "-S", "-c", _TIE_TO_PARENT, str(os.getpid()), *member]


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours, without the settings that a user may have exported for a real worker."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    return {**inherited, "PYTHONUNBUFFERED": "1", **settings}


class Group:
    """The members and who owns which partition, as told by their logs."""

    def __init__(self, topics: Mapping[str, str], partitions: int) -> None:
        """`topics`: the topics that members share out, with the short names to show."""
        self.members: dict[str, Member] = {}
        self._short_names = dict(topics)
        self._partitions = {(topic, number): FREE for topic in topics for number in range(partitions)}
        self._to_restore: set[Partition] = set()

    def owned(self, name: str) -> list[Partition]:
        """The partitions of a member, dead or alive."""
        return [partition for partition, view in self._partitions.items() if view.owner == name]

    def owner(self, topic: str, partition: int) -> str:
        return self._partitions[topic, partition].owner

    def are(self, *states: PartitionState) -> bool:
        """Whether every partition is in one of these states."""
        return all(view.state in states for view in self._partitions.values())

    @property
    def views(self) -> dict[str, tuple[PartitionView, ...]]:
        """By the topic's short name."""
        return {
            short: tuple(view for (of, _), view in self._partitions.items() if of == topic)
            for topic, short in self._short_names.items()
        }

    def listed(self, partitions: Iterable[Partition]) -> str:
        """`clicks 0 2 and users 1`."""
        by_topic: dict[str, list[int]] = defaultdict(list)
        for topic, number in partitions:
            by_topic[self._short_names[topic]].append(number)
        return " and ".join(f"{topic} {' '.join(map(str, numbers))}" for topic, numbers in by_topic.items())

    def bury(self, name: str, to_restore: Iterable[Partition]) -> None:
        """A member is dead. `to_restore`: those of its partitions whose next owner has something to restore."""
        self._to_restore = set(to_restore)
        for partition in self.owned(name):
            self._partitions[partition] = PartitionView(name, PartitionState.ORPHANED)

    def read_logs(self) -> None:
        """Take in what the members have logged since the last call."""
        for member in self.members.values():
            for message in member.new_log_messages():
                self.take(member.name, message)
            if member.state is MemberState.STARTING and self.owned(member.name):
                member.state = MemberState.RUNNING

    def take(self, name: str, message: str) -> None:
        """One log message of a member; those that tell nothing about partitions are passed over."""
        found = _LIFECYCLE.match(message)
        if found is None:
            return
        for partition in _named(found["partitions"]):
            if partition not in self._partitions:
                continue
            if found["what"] == "assigned":
                restoring = partition in self._to_restore
                state = PartitionState.RESTORING if restoring else PartitionState.RUNNING
                self._partitions[partition] = PartitionView(name, state)
            elif found["what"] == "restored":
                self._partitions[partition] = PartitionView(name, PartitionState.RUNNING)
            elif self._partitions[partition].owner == name:  # revoked or lost, and not another's by now
                self._partitions[partition] = FREE


# The worker's log at INFO: `assigned topic[0,2] other[1] in 5 ms`, `restored topic[0] from 7 records`, and so on.
_LIFECYCLE = re.compile(r"(?P<what>assigned|restored|revoked|lost) (?P<partitions>(\S+\[[\d,]+\] ?)+)")
_TOPIC = re.compile(r"(\S+)\[([\d,]+)\]")


def _named(text: str) -> list[Partition]:
    return [(topic, int(number)) for topic, numbers in _TOPIC.findall(text) for number in numbers.split(",")]
