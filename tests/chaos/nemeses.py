"""What is done to the world: each nemesis begins, lasts, and heals. `choice` picks its victim, so a seed repeats it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.acceptance.members import Member
from tests.brokers import MavenKafka
from tests.chaos.proxy import Proxy, Weather
from tests.chaos.world import MOST_MEMBERS, World

T = TypeVar("T")
ERASED_AT_ONCE = 3
ERASABLE = tuple(f"user_{number}" for number in range(8, 250, 10))  # a kind of id that the traffic has in one form


class Nemesis:
    """One of them at work. `crashes`: what members had not committed may be done again."""

    crashes = True

    def __init__(self, world: World, choice: int) -> None:
        self.world = world
        self.choice = choice

    def begin(self) -> str:
        """Do it; says what was done, to whom."""
        raise NotImplementedError

    def heal(self) -> str:
        """Undo it; says what was undone."""
        return ""

    def pick(self, among: Sequence[T]) -> T:
        return among[self.choice % len(among)]


# --- members ---------------------------------------------------------------------------------------------------------


class Kill(Nemesis):
    """SIGKILL a member; another one comes when it is over."""

    def begin(self) -> str:
        member = self.pick(self.world.working)
        self.world.group.crash(member)
        return f"SIGKILL {member.name}"

    def heal(self) -> str:
        return f"{self.world.add_member().name} comes"


class Pause(Nemesis):
    """SIGSTOP for longer than the session, then SIGCONT."""

    member: Member

    def begin(self) -> str:
        self.member = self.pick(self.world.working)
        self.world.pause(self.member)
        return f"SIGSTOP {self.member.name}"

    def heal(self) -> str:
        self.world.resume(self.member)
        return f"SIGCONT {self.member.name}"


class Leave(Nemesis):
    """SIGTERM; another one comes when it is over. The last one stays."""

    crashes = False

    def begin(self) -> str:
        if len(self.world.working) < 2:
            return "nobody leaves: it is the last one"
        member = self.pick(self.world.working)
        self.world.end(member)
        return f"SIGTERM {member.name}"

    def heal(self) -> str:
        return f"{self.world.add_member().name} comes"


class Join(Nemesis):
    """One more member for a while."""

    crashes = False
    member: Member | None = None

    def begin(self) -> str:
        if len(self.world.group.present) >= MOST_MEMBERS:
            return "nobody joins: there are enough"
        self.member = self.world.add_member()
        return f"{self.member.name} joins"

    def heal(self) -> str:
        if self.member is None or self.member not in self.world.working or len(self.world.working) < 2:
            return "nobody leaves"
        self.world.end(self.member)
        return f"{self.member.name} leaves"


# --- connections -----------------------------------------------------------------------------------------------------


class BadWeather(Nemesis):
    """Something happens to the connections of the members on one lane."""

    weather: Weather
    delay_s = 0.0
    lane: Proxy

    def begin(self) -> str:
        self.lane = self.pick(self.world.cluster.lanes)
        self.lane.change(self.weather, self.delay_s)
        return f"connections on lane {self.world.cluster.lanes.index(self.lane)}: {self.weather.value}"

    def heal(self) -> str:
        self.lane.change(Weather.FAIR)
        return f"connections on lane {self.world.cluster.lanes.index(self.lane)}: fair"


class Cut(BadWeather):
    weather = Weather.CUT


class Slow(BadWeather):
    weather = Weather.SLOW
    delay_s = 0.3


class Swallow(BadWeather):
    weather = Weather.SWALLOWED


# --- brokers ---------------------------------------------------------------------------------------------------------


class BrokerKill(Nemesis):
    """SIGKILL the busiest broker; it starts again with its data. With three of them its partitions get new leaders.

    Nobody kills a second one while one is down: that is another promise, and nobody's.
    """

    name = "SIGKILL"
    node: MavenKafka | None = None

    def begin(self) -> str:
        cluster = self.world.cluster
        if not cluster.is_up:
            return "no broker fails: one is down"
        self.node = cluster.busiest()
        self.strike(self.node)
        return f"{self.name} broker {cluster.nodes.index(self.node) + 1}"

    def heal(self) -> str:
        if self.node is None:
            return ""
        self.mend(self.node)
        return f"broker {self.world.cluster.nodes.index(self.node) + 1} is back"

    def strike(self, node: MavenKafka) -> None:
        node.kill()

    def mend(self, node: MavenKafka) -> None:
        node.start()


class BrokerPause(BrokerKill):
    """The broker stands still: connections stay open, nothing answers, and what is on its way arrives afterwards."""

    name = "SIGSTOP"

    def strike(self, node: MavenKafka) -> None:
        node.pause()

    def mend(self, node: MavenKafka) -> None:
        node.resume()


class DiskFull(Nemesis):
    """Nothing can be written to the log directory. A broker that gave up is started again when there is room."""

    def begin(self) -> str:
        assert self.world.disk is not None
        self.world.disk.fill()
        return "the log directory is full"

    def heal(self) -> str:
        assert self.world.disk is not None
        [node] = self.world.cluster.nodes
        gave_up = not node.is_up
        self.world.disk.free()
        if not gave_up:
            node.kill()  # a log directory that failed stays failed until a restart
        node.start()
        return f"there is room again, the broker {'had given up' if gave_up else 'was restarted'}"


# --- records ---------------------------------------------------------------------------------------------------------


class Ahead(Nemesis):
    """One input partition comes far ahead of the others."""

    crashes = False

    def begin(self) -> str:
        partition = self.choice % 4
        return f"input partition {partition} runs {self.world.feeder.run_ahead(partition)} records ahead"


class Reset(Nemesis):
    """Some users are erased: some for good, some up to now in the traffic's time."""

    crashes = False

    def begin(self) -> str:
        mark = self.world.feeder.traffic_time if self.choice % 2 else None
        users = [ERASABLE[(self.choice + 7 * number) % len(ERASABLE)] for number in range(ERASED_AT_ONCE)]
        for user_id in users:
            self.world.resets.write(user_id, mark)
        return f"{', '.join(users)} erased {'for good' if mark is None else f'up to {mark:.0f}'}"


NEMESES: dict[str, Callable[[World, int], Nemesis]] = {
    "kill": Kill,
    "pause": Pause,
    "leave": Leave,
    "join": Join,
    "cut": Cut,
    "slow": Slow,
    "swallow": Swallow,
    "broker kill": BrokerKill,
    "broker pause": BrokerPause,
    "outage": BrokerKill,
    "disk full": DiskFull,
    "ahead": Ahead,
    "reset": Reset,
}
