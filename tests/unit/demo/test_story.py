"""When the demo calls itself right: told in a theatre where nothing moves."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from worker.demo.check import Fold
from worker.demo.members import Group
from worker.demo.scene import MemberState, PartitionState, PromptPair, Stage, Verdict
from worker.demo.story import Story
from worker.demo.theatre import Theatre
from worker.demo.topics import DEAD_LETTERS, INPUT, OUTPUT, PARTITIONS, SHORT_NAMES, Read
from worker.demo.traffic import UNREADABLE, steps
from worker.errors import ExitCode, Fatal

LOOKBACK_S = 60.0


class FakeScreen:
    is_watched = False

    def __init__(self) -> None:
        self.prompts: list[PromptPair] = []
        self.verdict = Verdict((), ("nothing was shown",))

    def show_prompt(self, pair: PromptPair) -> None:
        self.prompts.append(pair)

    def show_verdict(self, verdict: Verdict) -> None:
        self.verdict = verdict


class FakeTheatre:
    """Everything has happened already, and everything was right."""

    def __init__(self) -> None:
        self.screen = FakeScreen()
        self.broker = SimpleNamespace(session_timeout_s=2.0)
        self.observer = SimpleNamespace(partition_of=lambda _: 0, behind=lambda _: set(), has_expired=lambda _: True)
        self.group = Group(SHORT_NAMES, PARTITIONS)
        self.lookback_s = LOOKBACK_S
        self.traffic_s, self.traffic_is_over = 100.0, True
        self.logs = ("/tmp/member-A.log",)
        self.stages: list[Stage] = []
        self.exit_codes = {"B": 0}
        self.topics = topics_of_a_healthy_worker()

    def enter(self, stage: Stage) -> None:
        self.stages.append(stage)

    def say(self, text: str) -> None:
        pass

    def play(self, until: Any, _timeout_s: float) -> bool:
        return bool(until())

    def open_topics(self) -> None:
        pass

    def begin_traffic(self) -> None:
        pass

    def start_member(self, name: str) -> None:
        self.group.members[name] = cast(Any, SimpleNamespace(name=name, state=MemberState.RUNNING))
        numbers = "0,1" if name == "A" else "2,3"
        self.group.take(name, "assigned " + " ".join(f"{topic}[{numbers}]" for topic in SHORT_NAMES) + " in 5 ms")

    def kill_member(self, name: str) -> int:
        self.group.bury(name, [])
        self.group.take("B", "assigned " + " ".join(f"{topic}[0,1]" for topic in SHORT_NAMES) + " in 5 ms")
        return 26

    def stop_members(self) -> dict[str, int]:
        return self.exit_codes

    def everything_in(self, topic: str) -> list[Read]:
        return self.topics[topic]

    def tell(self) -> ExitCode:
        return Story(cast(Theatre, self)).tell()


def topics_of_a_healthy_worker() -> dict[str, list[Read]]:
    began, fold, inputs = time.time() - 15, Fold(LOOKBACK_S), []
    for offset, step in enumerate(steps()):
        value = step.value(began + step.at_s)
        fold.add(0, offset, value)
        inputs.append(Read(0, offset, step.key.encode(), value))
    outputs = [
        Read(0, offset, user.encode(), json.dumps({**fold.record(user), "version": offset}).encode())
        for offset, user in enumerate(fold.users)
    ]
    return {INPUT: inputs, OUTPUT: outputs, DEAD_LETTERS: [Read(0, 0, b"", UNREADABLE)]}


def test_when_everything_is_right_it_ends_with_0() -> None:
    theatre = FakeTheatre()

    assert theatre.tell() is ExitCode.OK
    assert theatre.stages == list(Stage)
    assert theatre.screen.verdict.wrong == ()
    assert theatre.screen.verdict.logs == ()
    assert theatre.screen.verdict.right[-1].startswith("Member A was killed; B took over clicks 0 1 and users 0 1")


def test_each_question_is_asked_with_the_context_of_the_one_who_asks() -> None:
    theatre = FakeTheatre()
    theatre.tell()
    priya, mia, ben = theatre.screen.prompts

    assert "s-priya-laptop (ledger)" in priya.with_context
    assert "s-priya-phone (academy)" in priya.with_context
    assert "1. [0] pageview: Landed on Pricing" in mia.with_context, "what she did before she signed up"
    assert "payslip" not in ben.with_context, "what Ana did in the same session"


def test_a_wrong_record_is_named_and_the_logs_are_kept() -> None:
    theatre = FakeTheatre()
    first = theatre.topics[OUTPUT][0]
    assert first.value is not None
    theatre.topics[OUTPUT][0] = first._replace(value=first.value.replace(b"Profit and loss", b"Loss"))

    assert theatre.tell() is ExitCode.BAD_INPUT
    (wrong,) = theatre.screen.verdict.wrong
    assert wrong.startswith("4217: sessions[0].context is")
    assert theatre.screen.verdict.logs == theatre.logs


def test_a_missing_dead_letter_is_wrong() -> None:
    theatre = FakeTheatre()
    theatre.topics[DEAD_LETTERS] = []

    assert theatre.tell() is ExitCode.BAD_INPUT


def test_a_member_that_does_not_stop_clean_is_wrong() -> None:
    theatre = FakeTheatre()
    theatre.exit_codes = {"B": 18}

    assert theatre.tell() is ExitCode.BAD_INPUT
    assert theatre.screen.verdict.wrong == ("Member B was asked to stop and ended with exit code 18",)


def test_records_that_stay_behind_after_the_kill_are_wrong() -> None:
    theatre = FakeTheatre()
    theatre.observer.behind = lambda _: {"u-mia"}

    assert theatre.tell() is ExitCode.BAD_INPUT


def test_members_that_do_not_join_end_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre = FakeTheatre()
    monkeypatch.setattr(theatre, "start_member", lambda _: None)

    with pytest.raises(Fatal, match="did not share out the partitions") as raised:
        theatre.tell()

    assert raised.value.exit_code is ExitCode.FAILED
    assert "/tmp/member-A.log" in raised.value.hint
    assert not theatre.group.are(PartitionState.RUNNING)
