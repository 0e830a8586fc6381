"""`dlq list` and `dlq retry`: parse and print."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Annotated

import typer

from worker.confirmation import confirmed
from worker.dlq.letter import Letter
from worker.dlq.letter_log import read_letters
from worker.dlq.overview import Overview, is_sent_again
from worker.dlq.plan import Judge, plan_retry
from worker.dlq.printing import add_letter, letters_table, print_overview, print_plan, print_sent, progress_over
from worker.dlq.retry import Retry
from worker.dlq.retry_group import RetryGroup
from worker.dlq.selection import Selection, newest
from worker.errors import ExitCode
from worker.flags import CONNECTION, takes_settings
from worker.kafka import Admin
from worker.moment import SHOWN, moment
from worker.printing import connecting, out, waiting
from worker.settings import Settings
from worker.topic_policy import Role, Topic
from worker.topics import find_topic, newest_timestamp

LISTED = 20  # letters in a table that nobody gave a limit

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Look at dead letters, and send them again.",
)

Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="REASON", help="Only those. Repeatable; `dlq list` tells what there are."),
]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help=f"Only those written since: {SHOWN}.")]


@app.command("list")
@takes_settings(*CONNECTION, "group_id", "dlq_topic")
def list_letters(
    settings: Settings,
    *,
    reason: Reasons = None,
    since: Since = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"Only the newest. \\[default {LISTED}; with --json all]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, key and value in base64.")] = False,
) -> ExitCode:
    """Show dead letters: why, where from, and how they begin; then how many there are of each reason.

    "retries" is how often the record had been sent again before it failed, "again" whether this letter was.

    [bold]Examples[/bold]
      context-worker dlq list
      context-worker dlq list --reason wrong_type --since 2h
      context-worker dlq list --json --limit 1 | jq -r .value | base64 -d
    """
    selection = Selection(frozenset(reason or ()), _since(since), limit)
    admin = Admin(settings)
    with connecting(settings):
        topic = find_topic(admin, settings, Role.DEAD_LETTERS)
    marks = RetryGroup(admin, settings, topic).marks()
    overview = Overview()
    letters: Iterable[Letter] = overview.watch(read_letters(settings, topic), selection, marks)
    if json:
        for letter in letters if limit is None else newest(letters, limit):
            sys.stdout.buffer.write(letter.to_json(sent_again=is_sent_again(letter, marks)) + b"\n")
        sys.stdout.flush()
        return ExitCode.OK
    with waiting(f"reading {topic.name}"):
        shown = newest(letters, limit or LISTED)
    table = letters_table()
    for letter in shown:
        add_letter(table, letter, sent_again=is_sent_again(letter, marks))
    if shown:
        out().print(table)
    print_overview(overview, topic.name, out(), shown=len(shown))
    return ExitCode.OK


@app.command()
@takes_settings(*CONNECTION, "group_id", "dlq_topic", "input_topic", "lookback_seconds")
def retry(
    settings: Settings,
    *,
    reason: Reasons = None,
    since: Since = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest. \\[default all]")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent again before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, also on a terminal.")] = False,
) -> ExitCode:
    """Send dead letters again: to the partition they came from, with key, value, timestamp and headers as they were.

    For after a fix: of the worker, or of a topic's limits. A header, `dlq.retries`, counts how often that was.

    A retried payload is a new record at the end of the input. It is not put back where it was:
    the worker gives it to whoever its session belongs to now, and shows it only if it is not late by now.
    If the input gives its own timestamps, a payload without `forwarded_at` counts as of now, also after a reset-user.

    What was sent is kept, so that a second run sends only the rest: in offsets of the group `GROUP_ID-dlq-retry`,
    which a broker forgets after a week without a retry (`offsets.retention.minutes`).
    A run that is killed may send the letters of its last second twice; so may two runs at once.

    Exit code 3: the broker did not take some of them.

    [bold]Examples[/bold]
      context-worker dlq retry --dry-run
      context-worker dlq retry --limit 1
      context-worker dlq retry --reason wrong_type --since 2h --yes
    """
    selection = Selection(frozenset(reason or ()), _since(since), limit)
    admin = Admin(settings)
    with connecting(settings):
        topic = find_topic(admin, settings, Role.DEAD_LETTERS)
        source = find_topic(admin, settings, Role.INPUT)
    group = RetryGroup(admin, settings, topic)
    with waiting(f"reading {topic.name}"):
        judge = _judge(admin, settings, source)
        plan = plan_retry(read_letters(settings, topic), selection, group.marks(), judge, again=again)
    print_plan(plan, source.name, settings.retention_s, out())
    plan.require_marks_that_fit()
    if dry_run or not plan.to_send:
        return ExitCode.OK
    if not confirmed(f"Send {plan.to_send} records to {source.name}?", yes=yes):
        return ExitCode.INTERRUPTED
    started = time.monotonic()
    with progress_over(plan.to_send, f"sending to {source.name}") as progress:
        sent = Retry(settings, topic, source, plan, group).run(progress)
    print_sent(sent, source.name, time.monotonic() - started, out())
    return ExitCode.BAD_INPUT if sent.refused else ExitCode.OK


def _judge(admin: Admin, settings: Settings, source: Topic) -> Judge:
    return Judge(
        input_topic=source.name,
        newest=newest_timestamp(admin, source),
        now=time.time(),
        retention_s=settings.retention_s,
        max_clock_skew_s=settings.max_clock_skew_s,
        append_time=source.append_time,
    )


def _since(text: str | None) -> float | None:
    return None if text is None else moment(text, time.time())
