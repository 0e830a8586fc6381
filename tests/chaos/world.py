"""The world of a run: brokers, members, traffic, a witness, and a diary of what was done to them."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.acceptance.members import Group, Member
from tests.acceptance.oracle import OracleSettings
from tests.acceptance.topic_log import Feed, create_input_topic, read_topic
from tests.acceptance.traffic import ANONYMOUS_PATTERN, Plan, generate
from tests.chaos.cluster import Cluster, SmallDisk
from tests.chaos.commit_log import OFFSETS_TOPIC, commits_of
from tests.chaos.evidence import Disturbance, Evidence, Shutdown
from tests.chaos.feeder import Feeder, Resets
from tests.chaos.unmarked import unmarked
from tests.chaos.witness import Witness
from worker.errors import ExitCode

SESSION_TOPIC = "sessions"
SESSION_S = 6.0
HEARTBEAT_MS = 500
STALL_TIMEOUT_S = 90.0  # longer than any nemesis: who stops for it has a fault
START_TIMEOUT_S = 60.0
QUIET_TIMEOUT_S = 90.0
EXIT_TIMEOUT_S = 30.0
RECOVERY_S = 2 * SESSION_S  # the coordinator may wait for a session twice
MOST_MEMBERS = 4


@dataclass(frozen=True, slots=True)
class Mode:
    """What the members are told."""

    guarantee: str = "at_least_once"
    protocol: str = "classic"

    def __str__(self) -> str:
        return f"{self.guarantee}, {self.protocol}"


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    nodes: int = 1
    lanes: int = 0
    members: int = 3
    payloads: int = 8000
    users: int = 250
    small_disk: bool = False


class World:
    """Everything that a nemesis may break. Entering starts the brokers, the members and the witness."""

    def __init__(self, seed: str, mode: Mode, size: Size, log_dir: Path) -> None:
        self.mode = mode
        self.diary: list[str] = []
        self.disturbances: list[Disturbance] = []
        self.shutdowns: list[Shutdown] = []
        self.at_work = 0  # nemeses
        self.keeps = True  # what the brokers have, in `log_dir`: until it is known that nothing is wrong
        self.unmarked: list[str] = []  # known when it is left
        self.disk: SmallDisk | None = None
        self._size = size
        self._plan = Plan(seed=random.Random(seed).randrange(2**31), payloads=size.payloads, users=size.users)
        self._log_dir = log_dir
        self._began = time.monotonic()
        self._exit = contextlib.ExitStack()
        self._paused: set[str] = set()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as entering:  # what was started is ended also when the rest cannot be
            self._exit = entering
            self._start()
            self._exit = entering.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _start(self) -> None:
        size, plan = self._size, self._plan
        if size.small_disk:
            self.disk = self._exit.enter_context(SmallDisk())
        data_dir = self.disk.path if self.disk else None
        self.cluster = self._exit.enter_context(Cluster(size.nodes, size.lanes, data_dir))
        self.group = Group(self._settings(), self._log_dir)
        self._exit.callback(self._look_back)
        self._exit.callback(self.group.close)
        bootstrap, group = self.cluster.bootstrap_servers, self.group
        create_input_topic(bootstrap, group.input_topic, partitions=plan.partitions)
        for _ in range(size.members):
            self.add_member()
        group.wait_for_owners(size.members, timeout_s=START_TIMEOUT_S)
        topics = (group.input_topic, group.repartition_topic)
        self.witness = Witness(bootstrap, topics, group.output_topic, plan.partitions)
        self.resets = Resets(Feed(bootstrap, group.repartition_topic), plan.partitions)
        self._records = generate(plan)

    def _look_back(self) -> None:
        """Before the brokers are gone."""
        self.unmarked = unmarked(node.log for node in self.cluster.nodes)
        if self.keeps:
            self.cluster.keep(self._log_dir)

    def _settings(self) -> dict[str, object]:
        return {
            "bootstrap_servers": self.cluster.bootstrap_servers,
            "group_id": "chaos",
            "input_topic": "input",
            "output_topic": "output",
            "dlq_topic": "dead-letters",
            "session_output_topic": SESSION_TOPIC,
            "lookback_seconds": self._plan.lookback_seconds,
            "link_retention_s": self._plan.link_retention_s,
            "anonymous_user_id_pattern": ANONYMOUS_PATTERN,
            "expire_idle_users": False,
            "processing_guarantee": self.mode.guarantee,
            "group_protocol": self.mode.protocol,
            "session_timeout_ms": int(SESSION_S * 1000),
            "heartbeat_interval_ms": HEARTBEAT_MS,
            "stall_timeout_s": STALL_TIMEOUT_S,
        }

    # --- the diary -----------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """One line of the timeline."""
        self.diary.append(f"{time.monotonic() - self._began:6.1f} s  {text}")

    # --- members -------------------------------------------------------------------------------------------------

    @property
    def working(self) -> list[Member]:
        """The members that nobody has ended or paused."""
        return [member for member in self.group.present if member.name not in self._paused]

    def add_member(self) -> Member:
        """One more, on the next lane."""
        number = len(self.group.members)
        lane = self.cluster.address_of_lane(number)
        return self.group.start(f"member-{number}", bootstrap_servers=lane)

    def supervise(self) -> None:
        """Start again whoever found no broker when it started: that is a supervisor's work."""
        for member in self.group.members:
            if member.exit_code == ExitCode.BROKER_UNREACHABLE and not self.group.is_excused(member):
                self.group.excuse(member)
                self.note(f"{member.name} found no broker, {self.add_member().name} comes")

    def _all_have_started(self) -> bool:
        self.supervise()
        return all("started: group" in member.log for member in self.group.present)

    def pause(self, member: Member) -> None:
        self._paused.add(member.name)
        member.pause()

    def resume(self, member: Member) -> None:
        member.resume()
        self._paused.discard(member.name)

    def end(self, *members: Member) -> None:
        """SIGTERM, and how long each took; whether that is right, the checks say."""
        asked = {member.name: time.monotonic() for member in members}
        self.group.dismiss(*members)
        left = list(members)
        in_peace = self.is_peaceful
        while left:
            in_peace = in_peace and self.is_peaceful
            for member in list(left):
                seconds = time.monotonic() - asked[member.name]
                code = member.exit_code
                if code is not None:
                    self.shutdowns.append(Shutdown(member.name, seconds, code, in_peace))
                    self.note(f"{member.name} ended after {seconds:.1f} s with {code}")
                    left.remove(member)
                elif seconds > EXIT_TIMEOUT_S:
                    raise AssertionError(f"{member.name} still runs after {seconds:.0f} s\n{member.tail()}")
            time.sleep(0.02)

    @property
    def is_peaceful(self) -> bool:
        """Whether nothing is being done to anybody, nor was a moment ago."""
        lately = time.time() - RECOVERY_S
        return not self.at_work and not any(each.crashes and each.end > lately for each in self.disturbances)

    # --- traffic and quiet ---------------------------------------------------------------------------------------

    def begin_traffic(self, duration_s: float) -> None:
        """From now on, for so long."""
        self.feeder = Feeder(Feed(self.cluster.bootstrap_servers, self.group.input_topic), self._records, duration_s)
        self.witness.start()
        self.feeder.start()

    def wait_until_quiet(self) -> None:
        """Everything is sent, done and committed, and all members have ended clean."""
        self.feeder.close()
        self.resets.close()
        self.note("all traffic is sent")
        self.group.reconnect()
        self.group.wait_for(self._all_have_started, "every member has found the brokers", timeout_s=START_TIMEOUT_S)
        self.group.wait_until_settled(timeout_s=QUIET_TIMEOUT_S)
        self.note("settled")
        self.end(*self.group.present)

    def evidence(self) -> Evidence:
        """What the checks look at."""
        self.witness.close()
        bootstrap, group = self.cluster.bootstrap_servers, self.group
        settings = OracleSettings(
            lookback_seconds=self._plan.lookback_seconds,
            link_retention_s=self._plan.link_retention_s,
            anonymous_user_id_pattern=ANONYMOUS_PATTERN,
            repartition_partitions=self._plan.partitions,
        )
        return Evidence(
            settings,
            group.input_topic,
            group.repartition_topic,
            exactly_once=self.mode.guarantee == "exactly_once",
            session_timeout_s=SESSION_S,
            input=read_topic(bootstrap, group.input_topic),
            repartition=read_topic(bootstrap, group.repartition_topic),
            output=read_topic(bootstrap, group.output_topic),
            dead_letters=read_topic(bootstrap, group.dlq_topic),
            sessions=read_topic(bootstrap, SESSION_TOPIC),
            commits=commits_of(str(group.settings["group_id"]), read_topic(bootstrap, OFFSETS_TOPIC)),
            ends=self.witness.samples,
            followed=self.witness.reader.users,
            disturbances=self.disturbances,
            shutdowns=self.shutdowns,
        )
