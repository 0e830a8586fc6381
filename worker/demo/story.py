"""What happens when: the stages of the demo, one after the other."""

from __future__ import annotations

import time
from dataclasses import dataclass

from schemas import UserContext
from worker.demo import cast
from worker.demo.chat import prompt_pair
from worker.demo.check import Fold, judge
from worker.demo.scene import PartitionState, Stage, Verdict
from worker.demo.theatre import EXPIRY_DELAY_S, Theatre
from worker.demo.topics import DEAD_LETTERS, INPUT, OUTPUT, PARTITIONS
from worker.errors import ExitCode, Fatal

KILL_AT_S = 6.1  # in the traffic: by then Mia has clicked four times and not signed up
JOIN_TIMEOUT_S = 30.0
REBUILD_TIMEOUT_S = 20.0  # after the group has noticed
SETTLE_TIMEOUT_S = 8.0
PROMPT_PAUSE_S = 0.7
OWNED = (PartitionState.RESTORING, PartitionState.RUNNING)


@dataclass(frozen=True, slots=True)
class _Kill:
    """Who was killed and who is left; which partitions have to move; when (monotonic); how much is to be read again."""

    victim: str
    survivor: str
    partitions: str
    at: float
    to_restore: int

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.at


class Story:
    """Tells it in a theatre; `right` and `wrong` collect what was found."""

    def __init__(self, theatre: Theatre) -> None:
        self._theatre = theatre
        self._right: list[str] = []
        self._wrong: list[str] = []

    def tell(self) -> ExitCode:
        self._open_broker()
        self._start_members()
        self._traffic()
        self._rebuild(self._kill())
        self._carry_on()
        self._chat(self._stop_and_check())
        self._theatre.screen.show_verdict(
            Verdict(tuple(self._right), tuple(self._wrong), self._theatre.logs if self._wrong else ())
        )
        return ExitCode.BAD_INPUT if self._wrong else ExitCode.OK

    def _open_broker(self) -> None:
        theatre = self._theatre
        theatre.enter(Stage.BROKER)
        theatre.open_topics()
        theatre.say(f"A Kafka broker inside this process, {PARTITIONS} partitions a topic")

    def _start_members(self) -> None:
        theatre = self._theatre
        theatre.enter(Stage.MEMBERS)
        for name in "AB":
            theatre.start_member(name)
        theatre.say("Two members of one group start, each a process of its own")
        if not theatre.play(self._both_own_partitions, JOIN_TIMEOUT_S):
            raise Fatal(
                ExitCode.FAILED,
                f"the members did not share out the partitions within {JOIN_TIMEOUT_S:.0f} s",
                hint=f"their logs say why: {' '.join(theatre.logs)}",
            )
        for name in theatre.group.members:
            theatre.say(f"Member {name} owns {theatre.group.listed(theatre.group.owned(name))}")

    def _both_own_partitions(self) -> bool:
        group = self._theatre.group
        return group.are(PartitionState.RUNNING) and all(group.owned(name) for name in group.members)

    def _traffic(self) -> None:
        theatre = self._theatre
        theatre.enter(Stage.TRAFFIC)
        theatre.begin_traffic()
        theatre.play(lambda: theatre.traffic_s >= KILL_AT_S, KILL_AT_S + 1)

    def _kill(self) -> _Kill:
        """Kill the member that holds the clicks of somebody who has not signed up yet."""
        theatre, group = self._theatre, self._theatre.group
        theatre.enter(Stage.KILL)
        victim = group.owner(INPUT, theatre.observer.partition_of(cast.HELD_SESSION))
        survivor = next(name for name in group.members if name != victim)
        partitions, at = group.listed(group.owned(victim)), time.monotonic()
        kill = _Kill(victim, survivor, partitions, at, to_restore=theatre.kill_member(victim))
        theatre.say(f"SIGKILL for member {victim}: its memory is gone, Mia's held clicks too")
        theatre.say(f"Its last checkpoint says that {kill.to_restore} records have to be read again")
        return kill

    def _rebuild(self, kill: _Kill) -> None:
        """Wait until the survivor has rebuilt what the other remembered, and until every record is right again."""
        theatre = self._theatre
        if theatre.play(lambda: theatre.group.are(*OWNED), theatre.broker.session_timeout_s + REBUILD_TIMEOUT_S):
            theatre.enter(Stage.REBUILD)
            theatre.say(f"Member {kill.survivor} takes over {kill.partitions}, after {kill.age_s:.1f} s of silence")
        rebuilt = theatre.play(lambda: theatre.group.are(PartitionState.RUNNING), REBUILD_TIMEOUT_S)
        if rebuilt and theatre.play(lambda: not theatre.observer.behind(time.time()), REBUILD_TIMEOUT_S):
            theatre.say(f"It has rebuilt the lost memory: all records are right {kill.age_s:.1f} s after the kill")
            self._right.append(
                f"Member {kill.victim} was killed; {kill.survivor} took over {kill.partitions}, read {kill.to_restore}"
                f" records again, and all was right {kill.age_s:.1f} s after the kill"
            )
        else:
            self._wrong.append(f"{kill.age_s:.0f} s after the kill of member {kill.victim} the records were not right")

    def _carry_on(self) -> None:
        """The rest of the traffic, until every record is right and Omar's has expired."""
        theatre = self._theatre
        theatre.enter(Stage.CARRY_ON)
        theatre.play(lambda: theatre.traffic_is_over, 60)
        theatre.say("Everybody stops clicking")
        theatre.play(self._settled, SETTLE_TIMEOUT_S)

    def _settled(self) -> bool:
        observer = self._theatre.observer
        return not observer.behind(time.time()) and observer.has_expired(cast.OMAR)

    def _stop_and_check(self) -> dict[str, UserContext | None]:
        """Stop who is left, read the topics anew, compare; the newest records."""
        theatre = self._theatre
        theatre.enter(Stage.CHECK)
        for name, code in theatre.stop_members().items():
            if code != 0:
                self._wrong.append(f"Member {name} was asked to stop and ended with exit code {code}")
        now = time.time()
        fold = Fold(theatre.lookback_s)
        for record in theatre.everything_in(INPUT):
            fold.add(record.partition, record.offset, record.value or b"")
        published = {record.key.decode(): record.value for record in theatre.everything_in(OUTPUT)}
        dead_letters = [record.value for record in theatre.everything_in(DEAD_LETTERS)]
        right, wrong = judge(fold, published, dead_letters, now, EXPIRY_DELAY_S)
        self._right = [*right, *self._right]
        self._wrong += wrong
        theatre.say(f"The newest records of {len(published)} people compared with a fold of the input")
        return {user: UserContext.model_validate_json(value) if value else None for user, value in published.items()}

    def _chat(self, records: dict[str, UserContext | None]) -> None:
        theatre = self._theatre
        theatre.enter(Stage.CHAT)
        for question in cast.QUESTIONS:
            theatre.screen.show_prompt(prompt_pair(question, records.get(str(question.person.user_id))))
            if theatre.screen.is_watched:
                time.sleep(PROMPT_PAUSE_S)
