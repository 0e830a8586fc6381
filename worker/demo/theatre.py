"""Everything that moves while the story is told: the broker, the members, the traffic, the reader, and the screen.

One thread: whoever tells the story waits in `play`, and while it waits, things happen.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from worker.demo import cast
from worker.demo.embedded_broker import SESSION_TIMEOUT_MS, EmbeddedBroker
from worker.demo.members import Group, Member
from worker.demo.observer import Observer
from worker.demo.scene import MemberState, Scene, Stage
from worker.demo.screen import Screen
from worker.demo.topics import (
    DEAD_LETTERS,
    INPUT,
    OUTPUT,
    PARTITIONS,
    REPARTITION,
    SHORT_NAMES,
    Follower,
    Read,
    Sender,
    records_to_restore,
)
from worker.demo.traffic import Step, steps
from worker.errors import ExitCode, Fatal

# The worker's settings: short, so that somebody's record expires while we watch.
LOOKBACK_S = 11.5
IDLE_AFTER_S = 1.0
EXPIRY_DELAY_S = IDLE_AFTER_S + 2.0  # the longest that an expired record may stay
GROUP_ID = "demo"
_FRAME_S = 0.08
_TICK_S = 0.02


class Theatre:
    """Whoever opens it closes it, however the story ends."""

    def __init__(self, screen: Screen, broker: EmbeddedBroker) -> None:
        self.screen = screen
        self.broker = broker
        # Whatever was clicked before a member is killed has to be recent still when the group has noticed.
        self.lookback_s = LOOKBACK_S - SESSION_TIMEOUT_MS / 1000 + broker.session_timeout_s
        self.group = Group(SHORT_NAMES, PARTITIONS)
        self.observer = Observer(self.lookback_s, EXPIRY_DELAY_S)
        self.stage = Stage.BROKER
        self._began = time.monotonic()
        self._logs = Path(tempfile.mkdtemp(prefix="context-worker-demo-"))
        self._steps: deque[Step] = deque()
        self._traffic_began = 0.0
        self._drawn_at = 0.0
        self._sender: Sender | None = None
        self._follower: Follower | None = None

    # --- telling -----------------------------------------------------------------------------------------------------

    def enter(self, stage: Stage) -> None:
        self.stage = stage
        self._draw()

    def say(self, text: str) -> None:
        self.screen.say(time.monotonic() - self._began, text)
        self._draw()

    def play(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Let things happen until the condition holds; False when it does not within the time."""
        deadline = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > deadline:
                return False
            self._tick()
        return True

    def _tick(self) -> None:
        self._send_what_is_due()
        self._read_records(_TICK_S)
        self.group.read_logs()
        self._notice_a_dead_member()
        if time.monotonic() - self._drawn_at > _FRAME_S:
            self._draw()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        scene = Scene(
            elapsed_s=self._drawn_at - self._began,
            stage=self.stage,
            members=tuple(member.view for member in self.group.members.values()),
            partitions=self.group.views,
            people=self.observer.views(cast.PEOPLE, time.time()),
            sent=self.observer.sent,
            published=self.observer.records,
            latency_ms=self.observer.latency_ms,
        )
        self.screen.draw(scene)

    # --- the broker and the members ----------------------------------------------------------------------------------

    def open_topics(self) -> None:
        for topic in (INPUT, REPARTITION, OUTPUT, DEAD_LETTERS):
            self.broker.create_topic(topic, PARTITIONS)
        self._sender = Sender(self.broker.bootstrap_servers, self._delivered)
        self._follower = Follower(self.broker.bootstrap_servers, OUTPUT)

    def start_member(self, name: str) -> None:
        self.group.members[name] = Member(name, self._member_settings(), self._logs / f"member-{name}.log")

    def kill_member(self, name: str) -> int:
        """SIGKILL; how many records the next owners of its partitions have to read again."""
        self.group.members[name].kill()
        again = records_to_restore(self.broker.bootstrap_servers, GROUP_ID, self.group.owned(name))
        self.group.bury(name, [partition for partition, count in again.items() if count])
        return sum(again.values())

    def _member_settings(self) -> dict[str, str]:
        return {
            "WORKER_BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "WORKER_GROUP_ID": GROUP_ID,
            "WORKER_INPUT_TOPIC": INPUT,
            "WORKER_REPARTITION_TOPIC": REPARTITION,
            "WORKER_OUTPUT_TOPIC": OUTPUT,
            "WORKER_DLQ_TOPIC": DEAD_LETTERS,
            "WORKER_CREATE_TOPICS": "false",
            "WORKER_LOOKBACK_SECONDS": str(self.lookback_s),
            "WORKER_IDLE_AFTER_S": str(IDLE_AFTER_S),
            "WORKER_GROUP_PROTOCOL": "consumer",  # the embedded broker takes a minute over a classic rebalance
            "WORKER_KAFKA_FETCH_WAIT_MAX_MS": "5",  # and lets an empty fetch wait to the end
            "WORKER_LOG_FORMAT": "json",
            "WORKER_LOG_LEVEL": "INFO",
        }

    def _notice_a_dead_member(self) -> None:
        for member in self.group.members.values():
            if member.state in (MemberState.STARTING, MemberState.RUNNING) and member.exit_code is not None:
                raise Fatal(
                    ExitCode.FAILED,
                    f"member {member.name} ended by itself with exit code {member.exit_code}",
                    hint=f"its log says why: {member.log}",
                )

    def stop_members(self) -> dict[str, int]:
        """Stop those that run, clean; their exit codes by name."""
        alive = [member for member in self.group.members.values() if member.exit_code is None]
        for member in alive:
            member.ask_to_stop()
        codes = {member.name: member.wait() for member in alive}
        self._read_records(0)
        self._draw()
        return codes

    @property
    def logs(self) -> tuple[str, ...]:
        return tuple(str(member.log) for member in self.group.members.values())

    # --- traffic and records -----------------------------------------------------------------------------------------

    def begin_traffic(self) -> None:
        self._steps = deque(steps())
        self._traffic_began = time.monotonic()

    @property
    def traffic_s(self) -> float:
        """Seconds since the traffic began."""
        return time.monotonic() - self._traffic_began

    @property
    def traffic_is_over(self) -> bool:
        return not self._steps

    def _send_what_is_due(self) -> None:
        assert self._sender is not None
        while self._steps and self._steps[0].at_s <= self.traffic_s:
            step = self._steps.popleft()
            self._sender.send(step.key, step.value(time.time()))
            self.observer.clicked(step)
            if step.note:
                self.say(step.note)
        self._sender.poll()

    def _delivered(self, record: Read) -> None:
        self.observer.delivered(record, time.time())

    def _read_records(self, wait_s: float) -> None:
        assert self._follower is not None
        for record in self._follower.read(wait_s):
            self.observer.published(record.key.decode(), record.value, time.time())

    def everything_in(self, topic: str) -> list[Read]:
        """A whole topic, read anew."""
        follower = Follower(self.broker.bootstrap_servers, topic)
        try:
            return follower.read_to_end()
        finally:
            follower.close()

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self, *, keep_logs: bool) -> None:
        """Members first, then the clients; the broker is closed by whoever opened it, after this."""
        for member in self.group.members.values():
            if member.exit_code is None:
                member.kill()
        if self._sender is not None:
            self._sender.close()
        if self._follower is not None:
            self._follower.close()
        if not keep_logs:
            shutil.rmtree(self._logs, ignore_errors=True)
