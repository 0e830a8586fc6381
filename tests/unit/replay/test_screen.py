"""What a replay shows."""

from __future__ import annotations

import io
import itertools
import sys
import time

import pytest
from rich.console import Console

from tests.unit.replay.plans import plan
from worker.replay import screen
from worker.replay.catch_up import Outcome, Progress
from worker.replay.plan import Plan
from worker.replay.screen import print_outcome, print_plan, progress_shown
from worker.settings import Settings

NOW = 1_712_345_678.0
SETTINGS = Settings(group_id="g", input_topic="in", output_topic="out", repartition_topic="users")


def shown(plan: Plan, *more: str) -> str:
    console = Console(file=io.StringIO(), width=10_000, highlight=False)
    print_plan(plan, SETTINGS, more, NOW, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_plan_tells_what_becomes_of_each_partition() -> None:
    text = shown(plan(), "the input's clocks are trusted")
    rows = [line.split() for line in text.splitlines()]
    assert ["in", "1", "2", "4", "8", "4"] in rows
    assert ["users", "1", "nothing", "5"] in rows
    assert text.startswith("group g: 10 records from the beginning of the input\n")
    assert "1 reset found on users, to be written again" in text
    assert "3 users known on out: who is not rebuilt is cleared" in text
    assert text.endswith("warning: the input's clocks are trusted\n")


def test_the_plan_says_when_it_begins_earlier_than_asked() -> None:
    assert "10 records from 2024-04-05T18:34:38.000Z on, 1 h ago\n" in shown(plan(asked=NOW - 3600, since=NOW - 3600))
    earlier = shown(plan(asked=NOW, since=NOW - 60))
    assert "1 min ago (1 min before 2024-04-05T19:34:38.000Z: the records of live users reach back so far)" in earlier


def test_the_plan_tells_of_sessions_where_they_have_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "session" not in shown(plan())
    monkeypatch.setattr(sys.modules[__name__], "SETTINGS", SETTINGS.model_copy(update={"session_output_topic": "ses"}))
    told = "2 sessions known on ses: cleared, and published again as they are rebuilt\n"
    assert told in shown(plan(sessions=frozenset({b"s", b"t"})))


def test_the_outcome_is_told_in_numbers() -> None:
    console = Console(file=io.StringIO(), width=100)
    print_outcome(Outcome(published=1200, cleared=1, seconds=2.0), plan(), console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == (
        "replayed 10 records in 2.0 s (5/s)\n1,200 users published, 1 user of before cleared, 1 reset written again\n"
    )


def test_off_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(1.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(screen, "LINE_EVERY_S", 10.0)
    with progress_shown() as show:
        for done in (0, 10, 2000):
            show(Progress("replaying in", done, 2000))
        show(Progress("letting users expire", 0, 0))
        show(Progress("letting users expire", 0, 0))
    first, last, waiting = capsys.readouterr().err.splitlines()
    assert first == "replaying in: 0 of 2,000 records"
    assert last.startswith("replaying in: 2,000 of 2,000 records, ")
    assert last.endswith("/s")
    assert waiting == "letting users expire"


def test_on_a_terminal_progress_is_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress_shown() as show:
        show(Progress("replaying in", 500, 2000))
        show(Progress("letting users expire", 0, 0))
    assert "letting users expire" in capsys.readouterr().err
