"""What commands show: for people on a terminal, plain text elsewhere.

Ids, names and texts come from strangers: none reaches a terminal without `harmless`.
"""

from __future__ import annotations

import errno
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime

import typer
from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from schemas.user_context import SessionContext, UserContext
from worker.erasure import Effect, WrittenReset
from worker.errors import ExitCode, Fatal
from worker.group_status import GroupStatus, PartitionState
from worker.producing import Produced, Source
from worker.settings import Settings
from worker.topics import TopicReport

WIDE = 10_000  # off a terminal nothing is broken or cut

_STATE_STYLES = {
    PartitionState.NO_OWNER: "red",
    PartitionState.RESTORING: "yellow",
    PartitionState.RUNNING: "green",
    PartitionState.CAUGHT_UP: "green",
}


class _Stdout(Console):
    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - rich calls this while it handles the error; ending is `telling`'s business


def out() -> Console:
    """Stdout. Off a terminal there are no colours, and lines are as long as they are."""
    return _Stdout(highlight=False, width=None if sys.stdout.isatty() else WIDE)


@contextmanager
def telling() -> Iterator[None]:
    """What is done inside writes to stdout; that this cannot be written on ends it, without a traceback.

    Raises:
        typer.Exit: OUTPUT_CLOSED, whoever read has seen enough (`| head`).
        Fatal: FAILED, the disk is full.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as exc:
        if exc.errno not in {errno.EPIPE, errno.ENOSPC}:
            raise
        with suppress(OSError):  # what is left in the buffer goes nowhere when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if exc.errno == errno.EPIPE:
            raise typer.Exit(ExitCode.OUTPUT_CLOSED) from exc
        raise Fatal(
            ExitCode.FAILED, f"cannot write to stdout: {exc.strerror}", hint="make room, or write elsewhere"
        ) from exc


def harmless(text: str) -> str:
    """The text with everything escaped that does not show as itself: control characters, line and direction marks."""
    return "".join(one if _shows(one) else one.encode("unicode_escape").decode() for one in text)


def _shows(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # the widths of a space


def ago(seconds: float) -> str:
    """A span of time as people say it: 4 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = max(0, round(seconds))
    for unit, small, size, inner in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            rest = whole % size // inner
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def time_of(seconds: float) -> str:
    """A point in time as the commands take it again: 2024-04-05T19:34:38.900Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def print_topics(report: TopicReport, console: Console) -> None:
    """A line for each topic, then the warnings."""
    table = table_of("topic", "for", "partitions", "policy", "timestamps", "max bytes", "")
    for topic in report.topics.values():
        config = topic.config or {}
        state = "created" if topic.created else "ok" if topic.config is not None else "not shown"
        table.add_row(
            topic.name,
            topic.role.value.removesuffix("_topic").replace("_", " "),
            str(topic.partitions),
            config.get("cleanup.policy", "?"),
            config.get("message.timestamp.type", "?"),
            config.get("max.message.bytes", "?"),
            state,
        )
    console.print(table)
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}"))


def print_status(status: GroupStatus, console: Console) -> None:
    """Members, then a line for each partition."""
    seconds = f", {ago(status.lag_s)} behind" if status.lag else ""
    state = "nobody has joined yet" if status.state == "dead" else status.state
    console.print(Text(f"group {status.group_id}: {state}, {len(status.members)} members, lag {status.lag}{seconds}"))
    for member in status.members:
        console.print(Text(f"  {harmless(member.name)} on {harmless(member.host)}: {member.partitions} partitions"))
    table = table_of("topic", "partition", "committed", "restore from", "end", "lag", "behind", "state", "member")
    for one in status.partitions:
        table.add_row(
            one.topic,
            str(one.partition),
            "-" if one.committed is None else str(one.committed),
            "-" if one.restore_offset is None else str(one.restore_offset),
            str(one.log_end),
            str(one.lag),
            ago(one.lag_s) if one.lag else "",
            Text(one.state.value, style=_STATE_STYLES[one.state]),
            Text(harmless(one.member or "")),
        )
    console.print(table)


def print_user(record: UserContext, console: Console, now: float) -> None:
    """Who it is, then the sessions, newest first, each with its text."""
    head = Text.assemble((harmless(record.user_id), "bold"), f"  {harmless(record.email or 'no e-mail address')}")
    facts = f"last seen {ago(now - record.updated_at)} ago, expires in {ago(record.expires_at - now)}"
    if record.truncated:
        facts += ", truncated"
    blocks = [_session(session, now, fancy=console.is_terminal) for session in record.sessions]
    if console.is_terminal:
        console.print(Panel(Group(Text(facts, style="dim"), *blocks), title=head, title_align="left", expand=False))
        return
    console.print(Text.assemble(head, "\n", facts))
    for block in blocks:
        console.print(block)


def _session(session: SessionContext, now: float, *, fancy: bool) -> Text:
    where = f" in {harmless(session.product_id)}" if session.product_id else ""
    talk = f", conversation {harmless(session.conversation_id)}" if session.conversation_id else ""
    title = f"Session {harmless(session.session_id)}{where}, {ago(now - session.last_seen_at)} ago{talk}"
    text = "\n".join(map(harmless, (session.context or "(no actions)").split("\n")))
    return Text.assemble("\n", (title, "bold cyan" if fancy else ""), "\n", text)


def print_produced(done: Produced, topic: str, seconds: float, console: Console, *, live: bool) -> None:
    """What became of the lines; with `live`, who to ask about now."""
    if done.interrupted:
        console.print("interrupted: no more lines were read")
    console.print(Text(f"published {done.delivered} payloads to {topic} in {seconds:.1f} s"))
    if done.bad or done.refused:
        console.print(Text(f"{done.bad + done.refused} lines were not published:"))
        for mistake in done.mistakes:
            console.print(Text(f"  line {mistake.line}: {harmless(mistake.reason)}"))
        more = done.bad + done.refused - len(done.mistakes)
        if more:
            console.print(Text(f"  and {more} more"))
    users = [harmless(user) for user in done.latest_users()]
    if users and live:
        console.print(Text(f"last seen: {', '.join(users)}. Try: context-worker user {users[0]}"))


def in_short(user_id: str, record: UserContext | None, now: float) -> str:
    """What is known of a user, in one line."""
    user_id = harmless(user_id)
    if record is None or record.expires_at < now:
        return f"nothing is known of user {user_id} now"
    sessions = "1 session" if len(record.sessions) == 1 else f"{len(record.sessions)} sessions"
    return f"user {user_id}: {sessions}, last seen {ago(now - record.updated_at)} ago"


def print_reset(reset: WrittenReset, console: Console) -> None:
    """Where the reset is, and what it erases."""
    where = f"{reset.topic}, partition {reset.partition}, offset {reset.offset}"
    console.print(Text(f"the reset is written ({where}): it erases all up to {time_of(reset.at)}"))


def print_effect(effect: Effect, user_id: str, group_id: str, console: Console) -> None:
    """What could be seen of the reset, in plain words."""
    console.print(Text(_EFFECTS[effect].format(user=harmless(user_id), group=group_id)))


_EFFECTS = {
    Effect.ERASED: "user {user} is erased: the newest record is null",
    Effect.SEEN_AGAIN: "user {user} is erased, and was seen again since: the newest record tells only of that",
    Effect.NO_MEMBER: "no member of group {group} runs: it takes effect as soon as one does",
    Effect.NOT_YET: "its effect was not seen in time: it takes effect when group {group} gets there "
    "(context-worker status)",
}


@contextmanager
def progress_of(source: Source, doing: str) -> Iterator[Callable[[], None]]:
    """A bar on stderr, if that is a terminal. Call what it gives whenever some of the source was read."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    columns: tuple[ProgressColumn, ...] = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    if source.size is None:  # nobody knows how much there will be
        columns = (TextColumn("{task.completed} lines"),)
    with Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=source.size)
        yield lambda: bar.update(task, completed=source.position)


@contextmanager
def waiting(doing: str) -> Iterator[None]:
    """A spinner on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(doing):
        yield


def connecting(settings: Settings) -> AbstractContextManager[None]:
    """A spinner while a command waits for its broker: that may be ten seconds."""
    return waiting(f"connecting to {settings.bootstrap_servers}")


def table_of(*columns: str) -> Table:
    """Without lines around, and without rows yet."""
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
