"""What a person sees: a picture that is redrawn in a terminal, or plain lines one after the other everywhere else."""

from __future__ import annotations

import sys
import textwrap
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.live import Live

from worker.demo.picture import MOST_SAID_ROWS, picture, prompt_panels, verdict_panel
from worker.demo.scene import PromptPair, Scene, Verdict

# Below this the picture does not fit, and plain lines are easier to read.
LEAST_COLUMNS = 72
LEAST_ROWS = 24
_PLAIN_WIDTH = 100
TITLE = "user-context-worker: session-keyed clicks in, one context record per user out"


class Screen(Protocol):
    """Where the story is told. A context manager, so that a terminal is left as it was."""

    is_watched: bool  # somebody looks on: things may take their time

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def say(self, elapsed_s: float, text: str) -> None:
        """Something happened."""

    def draw(self, scene: Scene) -> None:
        """How things stand. May be called often."""

    def show_prompt(self, pair: PromptPair) -> None:
        """A chat prompt. Ends the moving picture."""

    def show_verdict(self, verdict: Verdict) -> None:
        """How it ended."""


def open_screen(out: TextIO | None = None) -> Screen:
    """A terminal's picture where there is a terminal that can show it, else plain lines."""
    out = out or sys.stdout
    console = Console(file=out, highlight=False)
    roomy = console.width >= LEAST_COLUMNS and console.height >= LEAST_ROWS
    if console.is_terminal and not console.is_dumb_terminal and roomy:
        return TerminalScreen(console)
    return PlainScreen(out)


class TerminalScreen:
    """One picture that moves, then panels that stay."""

    is_watched = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._said: list[tuple[float, str]] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._live.stop()

    def say(self, elapsed_s: float, text: str) -> None:
        self._said = [*self._said[-MOST_SAID_ROWS:], (elapsed_s, text)]

    def draw(self, scene: Scene) -> None:
        # One row stays free: a picture as high as the terminal would scroll with every frame.
        self._live.update(picture(scene, self._said, self._console.height - 1), refresh=True)

    def show_prompt(self, pair: PromptPair) -> None:
        self._live.stop()
        self._console.print(prompt_panels(pair))

    def show_verdict(self, verdict: Verdict) -> None:
        self._live.stop()
        self._console.print(verdict_panel(verdict))


class PlainScreen:
    """Lines of text without any control codes, each written at once."""

    is_watched = False

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._stage = ""

    def __enter__(self) -> Self:
        self._print(TITLE)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._out.flush()

    def say(self, elapsed_s: float, text: str) -> None:
        self._print(f"{elapsed_s:5.1f} s  {text}")

    def draw(self, scene: Scene) -> None:
        if scene.stage.value != self._stage:
            self._stage = scene.stage.value
            self._print(f"\n{self._stage}")

    def show_prompt(self, pair: PromptPair) -> None:
        self._print(f"\n{pair.name} asks. The prompt without context:")
        self._print(_indented(pair.without))
        self._print("The prompt with context:")
        self._print(_indented(pair.with_context))

    def show_verdict(self, verdict: Verdict) -> None:
        self._print("")
        for text in verdict.right:
            self._print(f"right  {text}")
        for text in verdict.wrong:
            self._print(f"WRONG  {text}")
        for path in verdict.logs:
            self._print(f"log    {path}")
        self._print("All records were right." if not verdict.wrong else "Some records were wrong.")

    def _print(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


def _indented(text: str) -> str:
    wrapped = [textwrap.fill(line, _PLAIN_WIDTH, subsequent_indent="   ") for line in text.splitlines()]
    return textwrap.indent("\n".join(wrapped), "    ", lambda _: True)
