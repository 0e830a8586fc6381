"""Members of the worker's group as processes of their own, and waiting for what a group does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.acceptance.topic_log import REQUEST_TIMEOUT_S, end_offsets
from tests.brokers import CHECKOUT

POLL_S = 0.1
COORDINATOR_TIMEOUT_S = 3.0
EXIT_TIMEOUT_S = 60.0
GROUP_TIMEOUT_S = 90.0
SETTLE_TIMEOUT_S = 150.0
QUIET_S = 2.5  # two commit intervals, in which a member publishes whatever it still has


class Member:
    """One `worker run`, of this code or of another checkout's. Its log is a file; a failure to do what the test waits
    for shows the end of it."""

    def __init__(self, name: str, settings: Mapping[str, object], log_path: Path, code: Path = CHECKOUT) -> None:
        self.name = name
        self._log_path = log_path
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("WORKER_")}
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "run"],
                cwd=code,
                env=inherited | environment(settings) | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log_path.read_text(errors="replace")

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def terminate(self) -> None:
        """Ask it to end clean."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Crash it, and wait until it is gone."""
        self.process.kill()
        self.process.wait(EXIT_TIMEOUT_S)

    def abort(self) -> None:
        """End it with the stacks of its threads in its log: for one that hangs."""
        self.process.send_signal(signal.SIGABRT)
        self.process.wait(EXIT_TIMEOUT_S)

    def pause(self) -> None:
        """Stop it in its tracks, as a starved or suspended machine does."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on from there."""
        self.process.send_signal(signal.SIGCONT)

    def wait_exit(self, expected: int = 0, *, timeout_s: float = EXIT_TIMEOUT_S) -> None:
        """Wait until it ends by itself, with this exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout_s:.0f} s\n{self.tail()}") from None
        assert code == expected, f"{self.name} ended with {code}, expected {expected}\n{self.tail()}"

    def tail(self, lines: int = 40) -> str:
        """The end of its log, for a failure message."""
        return f"--- the log of {self.name} ---\n" + "\n".join(self.log.splitlines()[-lines:])


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings by field name as the variables that the worker reads."""
    return {
        f"WORKER_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }


class Group:
    """A consumer group of members with the same settings, and the topics that it works on.

    Every wait fails at once when a member ends that nobody asked to end.
    """

    def __init__(self, settings: Mapping[str, object], log_dir: Path) -> None:
        self.settings = dict(settings)
        self.input_topic = str(settings["input_topic"])
        self.repartition_topic = f"{settings['group_id']}-by-user-repartition"
        self.output_topic = str(settings["output_topic"])
        self.dlq_topic = str(settings["dlq_topic"])
        self._log_dir = log_dir
        self.members: list[Member] = []
        self._dismissed: set[str] = set()
        self.reconnect()

    def reconnect(self) -> None:
        """After a restart of the broker: the old client may wait a minute for the coordinator it knew."""
        self._admin = AdminClient({"bootstrap.servers": str(self.settings["bootstrap_servers"]), "log_level": 0})

    def close(self) -> None:
        """Kill whoever is left."""
        for member in self.members:
            if member.exit_code is None:
                member.resume()
                member.kill()

    @property
    def present(self) -> list[Member]:
        """The members that run and were not asked to end."""
        return [each for each in self.members if each.exit_code is None and not self.is_excused(each)]

    def start(self, name: str, *, code: Path = CHECKOUT, **settings: object) -> Member:
        """Start one more member; `settings` go over those of the group."""
        assert name not in {member.name for member in self.members}
        member = Member(name, self.settings | settings, self._log_dir / f"{name}.log", code)
        self.members.append(member)
        return member

    def expect_exit(self, member: Member) -> None:
        """It will end by itself."""
        self._dismissed.add(member.name)

    def dismiss(self, *members: Member, number: int = signal.SIGTERM) -> None:
        """Ask the members to end clean, and go on."""
        for member in members:
            self._dismissed.add(member.name)
            member.process.send_signal(number)

    def excuse(self, member: Member) -> None:
        """It ended by itself, and may."""
        self._dismissed.add(member.name)

    def is_excused(self, member: Member) -> bool:
        """Whether it may be gone."""
        return member.name in self._dismissed

    def stop(self, *members: Member) -> None:
        """End the members clean, all at once, and wait for them."""
        self.dismiss(*members)
        for member in members:
            member.wait_exit()

    def crash(self, member: Member) -> None:
        """SIGKILL a member."""
        self._dismissed.add(member.name)
        member.kill()

    def wait_for(self, condition: Callable[[], bool], what: str, *, timeout_s: float) -> None:
        """Poll until the condition holds. Fails, with the members' logs, in time or when one of them is gone.

        A broker that cannot answer at the moment (leaders and coordinators move) is asked again.
        """
        deadline = time.monotonic() + timeout_s
        while not _holds(condition):
            gone = [each for each in self.members if each.exit_code is not None and not self.is_excused(each)]
            assert not gone, "\n".join(f"{each.name} ended with {each.exit_code}\n{each.tail()}" for each in gone)
            if time.monotonic() > deadline:
                logs = "\n".join(member.tail() for member in self.members)
                raise AssertionError(f"waited {timeout_s:.0f} s for: {what}\n{self.describe()}\n{logs}")
            time.sleep(POLL_S)

    def wait_for_owners(self, count: int, *, timeout_s: float = GROUP_TIMEOUT_S) -> None:
        """Until the group is stable, has so many members, and each owns partitions, together all of both topics."""
        self.wait_for(lambda: self.is_shared_by(count), f"{count} members that own partitions", timeout_s=timeout_s)

    def is_shared_by(self, count: int) -> bool:
        """Whether so many members own all partitions of both topics between them, and each owns some."""
        shares = self.owned()
        owned = [partition for share in shares for partition in share]
        return len(shares) == count and all(shares) and sorted(owned) == sorted(self._ends())

    def owned(self) -> list[set[tuple[str, int]]]:
        """The partitions of each member of a stable group; nothing while it rebalances."""
        return list(self.owned_by().values())

    def owned_by(self) -> dict[str, set[tuple[str, int]]]:
        """The same by the id that the broker gave the member."""
        group_id = str(self.settings["group_id"])
        # An admin client that waits for a coordinator does not see it come, and crashes when it is closed: ask first.
        self._committed([(self.input_topic, 0)])
        answer = self._admin.describe_consumer_groups([group_id], request_timeout=COORDINATOR_TIMEOUT_S)
        described = answer[group_id].result(REQUEST_TIMEOUT_S)
        if described.state != ConsumerGroupState.STABLE:
            return {}
        shares: dict[str, Any] = {
            member.member_id: member.assignment.topic_partitions for member in described.members if member.assignment
        }
        return {name: {(each.topic, each.partition) for each in share} for name, share in shares.items()}

    def lag(self) -> dict[tuple[str, int], int]:
        """Records of both topics that are not committed as done yet, by partition; those without lag are left out."""
        ends = self._ends()
        committed = {(each.topic, each.partition): each.offset for each in self._committed(ends)}
        behind = {each: end - max(0, committed.get(each, 0)) for each, end in ends.items()}
        return {each: records for each, records in behind.items() if records}

    def _committed(self, partitions: Iterable[tuple[str, int]]) -> list[TopicPartition]:
        """Asked as a consumer that never joins, which waits for a new coordinator as it should."""
        names = {"bootstrap.servers": self.settings["bootstrap_servers"], "group.id": self.settings["group_id"]}
        asking = Consumer({**names, "log_level": 0})
        try:
            return asking.committed([TopicPartition(*each) for each in partitions], timeout=COORDINATOR_TIMEOUT_S)
        finally:
            asking.close()

    def _ends(self) -> dict[tuple[str, int], int]:
        return end_offsets(self._admin, self.input_topic) | end_offsets(self._admin, self.repartition_topic)

    def wait_until_settled(self, *, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Until everything is committed on both topics and nothing has been written for a while."""
        seen: tuple[dict[tuple[str, int], int], float] = ({}, time.monotonic())

        def settled() -> bool:
            nonlocal seen
            written = end_offsets(self._admin, self.output_topic) | end_offsets(self._admin, self.dlq_topic)
            if self.lag() or written != seen[0]:
                seen = written, time.monotonic()
            return time.monotonic() - seen[1] > QUIET_S

        self.wait_for(settled, "no lag and no more output", timeout_s=timeout_s)

    def describe(self) -> str:
        """Who owns what and what is left to do, for a failure message."""
        try:
            return f"owned: {self.owned()}\nlag: {self.lag()}"
        except KafkaException as error:
            return f"the broker does not say who owns what: {error}"


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except KafkaException:
        return False
