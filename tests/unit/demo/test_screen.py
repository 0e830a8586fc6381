"""What a person sees, and that the picture fits the terminal it is drawn in."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from worker.demo import cast
from worker.demo.picture import picture, prompt_panels, verdict_panel
from worker.demo.scene import (
    MemberState,
    MemberView,
    PartitionState,
    PartitionView,
    PersonState,
    PersonView,
    PromptPair,
    Scene,
    Stage,
    Verdict,
)
from worker.demo.screen import PlainScreen, TerminalScreen, open_screen

STATES = list(PersonState)
PAIR = PromptPair(
    "Priya", "Why?", "[Session context]\nSession s (p):\nRecent activity:\n1. [0] a: b — c\n\n[Query]\nWhy?"
)
WRONG = Verdict(right=("this",), wrong=("u: email is None",), logs=("/tmp/member-A.log",))


def scene(stage: Stage = Stage.TRAFFIC) -> Scene:
    a, b = PartitionView("A", PartitionState.RUNNING), PartitionView("B", PartitionState.ORPHANED)
    return Scene(
        elapsed_s=7.25,
        stage=stage,
        members=(MemberView("A", 1234567, MemberState.RUNNING), MemberView("B", 1234568, MemberState.KILLED)),
        partitions={"clicks": (a, a, b, b), "users": (a, b, a, b)},
        people=tuple(
            PersonView(person.name, STATES[number % len(STATES)], 2, 17, "error: " + "something long " * 9)
            for number, person in enumerate(cast.PEOPLE)
        ),
        sent=70,
        published=81,
        latency_ms=12.6,
    )


def rendered(columns: int, rows: int, said: list[tuple[float, str]]) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, height=rows, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(picture(scene(), said, rows - 1))
    return capture.get().splitlines()


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (72, 24), (100, 30), (120, 40), (200, 60)])
def test_the_picture_fits_the_terminal(columns: int, rows: int) -> None:
    lines = rendered(columns, rows, [(float(number), "something happens " * 9) for number in range(30)])

    assert len(lines) < rows
    assert max(map(len, lines)) <= columns


def test_the_smallest_terminal_shows_everything_and_what_was_said_last() -> None:
    text = "\n".join(rendered(80, 24, [(1.0, "first"), (2.0, "last")]))

    for person in cast.PEOPLE:
        assert person.name in text
    for word in ("member A", "killed", "clicks  0   1   ·   ·", "users  ·   1   ·   3", "traffic", "7.2 s", "last"):
        assert word in text


def test_a_wide_terminal_shows_longer_lines() -> None:
    narrow, wide = "\n".join(rendered(80, 24, [])), "\n".join(rendered(120, 40, []))

    assert narrow.count("something long") < wide.count("something long")


def test_the_prompts_stand_side_by_side() -> None:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        console.print(prompt_panels(PAIR))
    head, first, *_ = capture.get().splitlines()

    assert "Priya asks" in head
    assert "the same with context" in head
    assert "Why?" in first
    assert "[Session context]" in first


def test_the_verdict_says_what_was_right_and_what_was_wrong() -> None:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        console.print(verdict_panel(WRONG))
    text = " ".join(capture.get().split())  # versions of rich differ in how wide a sign is

    for words in ("Some records were wrong.", "✔ this", "✖ u: email is None", "/tmp/member-A.log"):
        assert words in text


def test_without_a_terminal_there_are_plain_lines_only() -> None:
    out = io.StringIO()
    with open_screen(out) as screen:
        assert isinstance(screen, PlainScreen)
        screen.draw(scene(Stage.MEMBERS))
        screen.draw(scene(Stage.MEMBERS))
        screen.say(1.5, "Two members start")
        screen.show_prompt(PAIR)
        screen.show_verdict(WRONG)
    text = out.getvalue()

    assert "\x1b" not in text
    assert text.count("members\n") == 1
    for line in (
        "  1.5 s  Two members start",
        "    [Session context]",
        "WRONG  u: email is None",
        "log    /tmp/member-A.log",
    ):
        assert line in text.splitlines()
    assert text.endswith("Some records were wrong.\n")


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("columns", "rows", "term", "drawn"),
    [
        ("80", "24", "xterm", True),
        ("60", "24", "xterm", False),
        ("80", "20", "xterm", False),
        ("80", "24", "dumb", False),
    ],
)
def test_a_terminal_too_small_or_too_simple_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch, columns: str, rows: str, term: str, drawn: bool
) -> None:
    for name, value in (("COLUMNS", columns), ("LINES", rows), ("TERM", term)):
        monkeypatch.setenv(name, value)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)

    assert isinstance(open_screen(FakeTerminal()), TerminalScreen) is drawn
