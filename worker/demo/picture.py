"""The picture in the terminal, drawn from a scene: stages, members and their partitions, people and their context."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

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

MEMBER_COLOURS = {"A": "cyan", "B": "magenta"}
_MEMBER_MARKS = {
    MemberState.STARTING: ("…", "yellow"),
    MemberState.RUNNING: ("●", "green"),
    MemberState.KILLED: ("✖", "red"),
    MemberState.STOPPED: ("■", "dim"),
}
_PERSON_MARKS = {
    PersonState.AWAY: ("·", "dim"),
    PersonState.HELD: ("◌", "yellow"),
    PersonState.RIGHT: ("✔", "green"),
    PersonState.BEHIND: ("…", "red"),
    PersonState.EXPIRED: ("∅", "dim"),
}
_PERSON_WORDS = {
    PersonState.AWAY: "",
    PersonState.HELD: "nobody yet: held until somebody logs in",
    PersonState.BEHIND: "the record is behind",
    PersonState.EXPIRED: "left; the record has expired",
}
_FRAME_ROWS = 2  # of a panel: the upper and the lower edge
_HEAD_ROWS = 2
MOST_SAID_ROWS = 12


def picture(scene: Scene, said: list[tuple[float, str]], rows: int) -> RenderableType:
    """Everything at once, at most `rows` high: what was said last takes the rows that are left."""
    taken = _HEAD_ROWS + _FRAME_ROWS + len(scene.members) + _FRAME_ROWS + len(scene.people)
    left = min(rows - taken, MOST_SAID_ROWS + _FRAME_ROWS)
    parts: list[RenderableType] = [_heading(scene), _stages(scene.stage), _members(scene), _people(scene)]
    if left > _FRAME_ROWS + 1:
        parts.append(_framed(_said(said, left - _FRAME_ROWS), "what happens"))
    elif left > 0:
        parts.append(_said(said, left))
    return Group(*parts)


def _heading(scene: Scene) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    facts = f"{scene.sent} clicks, {scene.published} records"
    if scene.latency_ms is not None:
        facts += f", {scene.latency_ms:.0f} ms in between"
    title = Text.assemble(" ", ("user-context-worker", "bold"), (f"  {facts}", "dim"))
    grid.add_row(title, Text(f"{scene.elapsed_s:4.1f} s ", style="bold"))
    return grid


def _stages(now: Stage) -> Text:
    order = list(Stage)
    text = Text(" ", no_wrap=True)
    for stage in order:
        if stage is now:
            text.append(f"▶ {stage.value}", style="bold yellow")
        elif order.index(stage) < order.index(now):
            text.append(f"✔ {stage.value}", style="green")
        else:
            text.append(f"○ {stage.value}", style="dim")
        text.append("  ")
    return text


def _members(scene: Scene) -> Panel:
    grid = Table.grid(padding=(0, 1))
    for member in scene.members:
        mark, colour = _MEMBER_MARKS[member.state]
        title = Text.assemble((f"{mark} ", colour), (f"member {member.name}", f"bold {MEMBER_COLOURS[member.name]}"))
        cells: list[RenderableType] = [
            title,
            Text(f"pid {member.pid}", style="dim"),
            Text(f"{member.state.value:8}", style=colour),
        ]
        for topic, partitions in scene.partitions.items():
            cells += [Text(topic, style="dim"), _cells(member, partitions)]
        grid.add_row(*cells)
    return _framed(grid, "one consumer group, two members")


def _cells(member: MemberView, partitions: tuple[PartitionView, ...]) -> Text:
    text = Text(no_wrap=True)
    for number, partition in enumerate(partitions):
        text.append(" " if number else "")
        if partition.owner != member.name or partition.state is PartitionState.FREE:
            text.append(" · ", style="dim")
        else:
            text.append(f" {number} ", style=_cell_style(member, partition.state))
    return text


def _cell_style(member: MemberView, state: PartitionState) -> str:
    if state is PartitionState.ORPHANED:
        return "white on red"
    if state is PartitionState.RESTORING:
        return "black on yellow"
    return f"black on {MEMBER_COLOURS[member.name]}"


def _people(scene: Scene) -> Panel:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(width=9, no_wrap=True)
    grid.add_column(width=22, no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for person in scene.people:
        grid.add_row(*_person(person))
    return _framed(grid, "who the chat layer knows, and the newest line of their context")


def _person(person: PersonView) -> tuple[Text, Text, Text, Text]:
    mark, colour = _PERSON_MARKS[person.state]
    words = person.newest if person.state is PersonState.RIGHT else _PERSON_WORDS[person.state]
    counted = _counted(person.clicks, "click") if person.clicks else ""
    if person.sessions:
        counted = f"{_counted(person.sessions, 'session')}, {counted}"
    right = person.state is PersonState.RIGHT
    return (
        Text(mark, style=colour),
        Text(person.name, style="bold" if person.sessions else "dim"),
        Text("" if person.state is PersonState.EXPIRED else counted, style="dim"),
        _action(words, just_changed=person.just_changed) if right else Text(words, style=f"dim {colour}"),
    )


def _action(line: str, *, just_changed: bool) -> Text:
    """`type: description`, an error in red, what is new in bold."""
    kind, colon, description = line.partition(": ")
    text = Text(style="bold" if just_changed else "")
    return text.append(kind + colon, style="red" if kind == "error" else "cyan").append(description)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _said(said: list[tuple[float, str]], rows: int) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(justify="right", no_wrap=True, width=6)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    shown = said[-rows:]
    for number, (elapsed_s, text) in enumerate(shown, 1):
        grid.add_row(Text(f"{elapsed_s:.1f} s", style="dim"), Text(text, style="bold" if number == len(shown) else ""))
    for _ in range(rows - len(shown)):
        grid.add_row("", "")
    return grid


def _framed(content: RenderableType, title: str) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="dim", padding=(0, 1))


def prompt_panels(pair: PromptPair) -> Table:
    """The prompt without context beside the one with it."""
    grid = Table.grid(expand=True)
    grid.add_column(ratio=2)
    grid.add_column(ratio=5)
    without = Panel(Text(pair.without), title=f"{pair.name} asks", title_align="left", border_style="red")
    enriched = Panel(
        _prompt(pair.with_context), title="the same with context", title_align="left", border_style="green"
    )
    grid.add_row(without, enriched)
    return grid


def _prompt(prompt: str) -> Text:
    text = Text()
    for number, line in enumerate(prompt.splitlines()):
        heading = line.startswith(("[Session context]", "[Query]"))
        text.append(("\n" if number else "") + line, style="bold cyan" if heading else "")
    return text


def verdict_panel(verdict: Verdict) -> Panel:
    """What was right and what was not."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column()
    for text in verdict.right:
        grid.add_row(Text("✔", style="green"), Text(text))
    for text in verdict.wrong:
        grid.add_row(Text("✖", style="bold red"), Text(text, style="red"))
    for path in verdict.logs:
        grid.add_row("", Text(f"log: {path}", style="dim"))
    title, colour = ("Some records were wrong.", "red") if verdict.wrong else ("All records were right.", "green")
    return Panel(grid, title=f"[bold {colour}]{title}", title_align="left", border_style=colour)
