"""The command line: parses and prints. What a command does is in a module of its own."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from types import FrameType
from typing import Annotated

import typer

from schemas.user_context import UserContext
from worker.acls import Asked, Purpose, acls_text
from worker.confirmation import confirmed
from worker.dlq import commands as dlq
from worker.erasure import Effect, Erasure
from worker.errors import ExitCode, Fatal, WorkerError
from worker.flags import CONNECTION, takes_settings
from worker.group_status import group_status
from worker.kafka import Admin
from worker.log_setup import set_up_log
from worker.lookup import Lookup, user_id_of
from worker.moment import SHOWN
from worker.printing import (
    ago,
    connecting,
    harmless,
    in_short,
    out,
    print_effect,
    print_produced,
    print_reset,
    print_status,
    print_topics,
    print_user,
    progress_of,
    waiting,
)
from worker.producing import open_source, publish, shift_to_now
from worker.serve_command import serve
from worker.settings import Settings
from worker.settings_sources import property_flag
from worker.topic_policy import Role
from worker.topics import ensure_topics, find_broker, find_topic, require_input

log = logging.getLogger("worker")

app = typer.Typer(
    name="context-worker",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Session-keyed UI actions in, one complete context record per user out.

[bold]Without a Kafka[/bold]
  context-worker demo                       watch it work

[bold]With a Kafka on localhost:9092[/bold]
  context-worker topics --input-partitions 4
                                            create and verify the topics
  context-worker run                        the service; start more of it
  context-worker produce --rebase sample    an hour at a product, ending now
  context-worker user amelie                what the chat layer knows of her
  context-worker serve                      what is known of users, by HTTP
  context-worker status                     members, partitions, lag
  context-worker dlq list                   what could not be read, and why
  context-worker reset-user amelie          erase a user
  context-worker replay --from 2h --dry-run what rebuilding all would do

Every setting is a flag (--group-id), a variable (WORKER_GROUP_ID) or a key of a
TOML file (--config). What a flag says wins, then the variable, then the file.""",
)

app.command("serve", rich_help_panel="The service")(serve)
app.add_typer(dlq.app, name="dlq", rich_help_panel="Setting right")


@app.command(rich_help_panel="The service")
@takes_settings()
def run(settings: Settings) -> ExitCode:
    """Run one member of the group, until SIGTERM or Ctrl-C.

    Members of one group share the partitions: to scale out, start more of the same. Missing topics are created first.

    [bold]Examples[/bold]
      context-worker run
      WORKER_BOOTSTRAP_SERVERS=kafka:9092 context-worker run
      context-worker run --config worker.toml --kafka security.protocol=SSL

    [bold]Exit codes[/bold]
       0 stopped as asked             2 a wrong setting       10 no broker
      11 a topic is missing          12 a topic that would break the promise
      13 no right                    14 a form of another version
      15 no progress                 16 dead letters
      17 the client gave up          18 no clean stop
      20 the loop was stuck
    """
    from worker.app import run_service  # noqa: PLC0415 - other commands need none of it

    set_up_log(settings.log_level, settings.log_format)
    try:
        return run_service(settings)
    except WorkerError as exc:  # in the log's form, so that a collector of JSON lines gets it too
        log.critical("%s", exc)
        return exc.exit_code if isinstance(exc, Fatal) else ExitCode.FAILED


@app.command(rich_help_panel="The service")
def demo() -> None:
    """Watch the main job without a Kafka: an embedded broker, traffic, a member that dies, and a check at the end."""
    from worker.demo import run_demo  # noqa: PLC0415 - other commands need none of it

    raise typer.Exit(run_demo())


@app.command(rich_help_panel="Looking")
@takes_settings(
    *CONNECTION,
    *("group_id", "input_topic", "output_topic", "dlq_topic", "repartition_topic", "session_output_topic"),
    *("create_topics", "lookback_seconds", "max_record_bytes", "processing_guarantee"),
)
def topics(
    settings: Settings,
    *,
    acls: Annotated[
        bool, typer.Option("--acls", help="Only print the rights that each user of the topics needs.")
    ] = False,
    purpose: Annotated[
        Purpose | None,
        typer.Option(
            "--for", metavar="WORD", help="With --acls: one of run, read, erase, produce, operate.", show_default=False
        ),
    ] = None,
    principal: Annotated[
        str | None, typer.Option(metavar="User:NAME", help="With --for: whose rights.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="With --acls: as data.")] = False,
    input_partitions: Annotated[
        int | None,
        typer.Option(
            min=1, help="For a trial: create the input topic too, with so many partitions.", show_default=False
        ),
    ] = None,
) -> ExitCode:
    """Create the topics that are missing, and verify all: policy, retention, timestamps, sizes.

    `run` does the same at every start. The input topic belongs to whoever writes to it.

    [bold]Examples[/bold]
      context-worker topics
      context-worker topics --input-partitions 4    on an empty Kafka
      context-worker topics --no-create-topics      verify only
      context-worker topics --acls                  commands for kafka-acls.sh
      context-worker topics --acls --for run --principal User:CN=worker
    """
    if acls or purpose or principal or json:
        sys.stdout.write(acls_text(settings, Asked(acls, purpose, principal, json)))
        return ExitCode.OK
    with connecting(settings):
        report = ensure_topics(Admin(settings), settings, input_partitions)
    print_topics(report, out())
    return ExitCode.OK


@app.command(rich_help_panel="Looking")
@takes_settings(*CONNECTION, "group_id", "input_topic", "repartition_topic")
def status(
    settings: Settings,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> ExitCode:
    """Show the group's members, and each partition's owner, lag and state.

    Lag counts records that are not committed yet; "behind" is the age of the oldest of them. A partition with lag is
    looked at twice: [green]running[/green] when its committed offset moves, [yellow]restoring[/yellow] (or stuck) when
    it does not. "restore from" is where a new owner would begin to read.

    [bold]Examples[/bold]
      context-worker status
      context-worker status --json | jq '.lag, .lag_s'
    """
    admin = Admin(settings)
    with connecting(settings):
        cluster = find_broker(admin)
    require_input(admin, settings, cluster)
    names = (settings.input_topic, settings.repartition_topic)
    counts = {name: len(cluster.topics[name].partitions) for name in names if name in cluster.topics}
    with waiting("asking the broker"):
        found = group_status(admin, settings, counts)
    if json:
        sys.stdout.write(found.to_json() + "\n")
    else:
        print_status(found, out())
    return ExitCode.OK


@app.command(rich_help_panel="Looking")
@takes_settings(*CONNECTION, "output_topic")
def user(
    settings: Settings,
    user_id: Annotated[str, typer.Argument(metavar="USER_ID", help="The id on the wire.", show_default=False)],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on and show every change, until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The record, fields of newer versions left out.")] = False,
) -> ExitCode:
    """Show what the chat layer knows of a user now. Exit code 4 when that is nothing.

    [bold]Examples[/bold]
      context-worker user amelie
      context-worker user amelie --follow
      context-worker user amelie --json | jq -r '.sessions[].context'
    """
    user_id = user_id_of(user_id)
    with connecting(settings):
        topic = find_topic(Admin(settings), settings, Role.OUTPUT)
    lookup = Lookup(settings, topic, user_id)
    try:
        with waiting(f"reading {settings.output_topic}"):
            record = lookup.read_to_end()
        found = _show_user(record, user_id, json=json)
        if follow:
            for change in lookup.changes():
                _show_user(change, user_id, json=json)
    finally:
        lookup.close()
    return ExitCode.OK if found else ExitCode.NOT_FOUND


def _show_user(record: UserContext | None, user_id: str, *, json: bool) -> bool:
    """Whether there was anything to show; what there is not goes to stderr."""
    now = time.time()
    if record is None or record.expires_at < now:
        past = "" if record is None else f": what there was expired {ago(now - record.expires_at)} ago"
        sys.stderr.write(f"nothing is known of user {harmless(user_id)}{past}\n")
        return False
    if json:
        sys.stdout.write(record.model_dump_json() + "\n")
        sys.stdout.flush()
    else:
        print_user(record.without_expired(now), out(), now)
    return True


@app.command(rich_help_panel="Feeding")
@takes_settings(*CONNECTION, "input_topic")
def produce(
    settings: Settings,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE|-|sample", help="JSON lines, plain or gzip; - is stdin.", show_default=False),
    ],
    *,
    rebase: Annotated[bool, typer.Option("--rebase", help="Move all event times so that the last is now.")] = False,
) -> ExitCode:
    """Publish payloads, one JSON object a line, keyed by their session.

    A line that the worker could not read is not sent: it is told with its number and the reason, exit code 3.
    `sample` is an hour at a small company's product that ships with the worker.

    [bold]Examples[/bold]
      context-worker produce --rebase sample
      context-worker produce payloads.jsonl.gz
      tail -f app.log | grep actions | context-worker produce -
    """
    with connecting(settings):
        topic = find_topic(Admin(settings), settings, Role.INPUT)
    started = time.monotonic()
    with open_source(file, twice=rebase) as source:
        shift_s = shift_to_now(source) if rebase else 0.0
        with progress_of(source, f"publishing to {topic.name}") as progress:
            done = publish(source, settings, topic, shift_s, progress)
    print_produced(done, topic.name, time.monotonic() - started, out(), live=rebase)
    if done.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.BAD_INPUT if done.bad or done.refused else ExitCode.OK


@app.command("reset-user", rich_help_panel="Setting right")
@takes_settings(*CONNECTION, "group_id", "repartition_topic", "output_topic")
def reset_user(
    settings: Settings,
    user_id: Annotated[str, typer.Argument(metavar="USER_ID", help="The id on the wire.", show_default=False)],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, also on a terminal.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the output topic shows it.")] = True,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait no longer.")] = 60.0,
) -> ExitCode:
    """Erase a user: what is known of them, and what still comes of the time before.

    A reset is written to the repartition topic: the member that owns the user forgets them and publishes a null record.
    What happened before and arrives later (late, repeated after a crash, or held until now) is ignored.
    What the user does from now on counts as usual.
    Kafka itself keeps the old records of each topic for as long as that is set to: the README says how long.

    Exit code 5: the reset is written for good, but its effect was not seen in time, e.g. because no member runs.

    [bold]Examples[/bold]
      context-worker reset-user amelie
      context-worker reset-user amelie --yes --no-wait
    """
    user_id = user_id_of(user_id)
    with connecting(settings):
        erasure = Erasure(settings, user_id)
    try:
        with waiting(f"reading {settings.output_topic}"):
            known = erasure.known()
        if not confirmed(f"{in_short(user_id, known, time.time())}. Erase?", yes=yes):
            return ExitCode.INTERRUPTED
        reset = erasure.write()
        print_reset(reset, out())
        if not wait:
            return ExitCode.OK
        with waiting("waiting until the output topic shows it"):
            effect = erasure.wait(reset, timeout_s)
    finally:
        erasure.close()
    print_effect(effect, user_id, settings.group_id, out())
    return ExitCode.OK if effect in {Effect.ERASED, Effect.SEEN_AGAIN} else ExitCode.PENDING


@app.command("replay", rich_help_panel="Setting right")
@takes_settings()
def replay_command(
    settings: Settings,
    *,
    start: Annotated[
        str,
        typer.Option("--from", metavar="WHEN", help=f"beginning; {SHOWN}.", show_default=False),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would do.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, also on a terminal.")] = False,
) -> ExitCode:
    """Rebuild memory and output from the input topic, for a group that nobody is in.

    After a change of a rule (say, of anonymous_user_id_pattern), or where a member's log says that context is gone.
    What was erased stays erased. It works as a member itself until everything is caught up; others may join meanwhile.
    Whoever is not rebuilt gets a null record at the end. Interrupted, it can simply be run again.
    It begins earlier than asked where the records of live users reach back farther.

    Exit code 19: the group has members.

    [bold]Examples[/bold]
      context-worker replay --from beginning --dry-run
      context-worker replay --from 2h
      context-worker replay --from 2025-06-01T12:00:00Z --yes
    """
    from worker.replay.command import replay  # noqa: PLC0415 - other commands need none of it

    quiet = "WARNING" if "log_level" not in settings.model_fields_set else settings.log_level
    set_up_log(quiet, settings.log_format)
    return replay(settings, start, dry_run=dry_run, yes=yes)


def _end_as_by_default(number: int, _frame: FrameType | None) -> None:
    """A signal's default effect, which the kernel spares number 1 of a container: a command that does not listen (yet)
    would lose the one SIGTERM that it gets, and be killed in the middle of its work later."""
    os._exit(128 + number)


def main() -> None:
    """The script `context-worker`. An error on purpose is one clear message and its exit code; any other is FAILED."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end_as_by_default)
    try:
        app()
    except SystemExit as ended:  # how typer ends, also on a flag that there is not
        meant = [property_flag(word) for word in sys.argv[1:] if word.startswith("--")]
        if ended.code == ExitCode.USAGE and any(meant):
            sys.stderr.write(f"a librdkafka property is written {' '.join(filter(None, meant))}\n")
        raise
    except Fatal as exc:
        code = exc.exit_code
        sys.stderr.write(f"error: {exc}\n")
    except WorkerError as exc:
        code = ExitCode.FAILED
        sys.stderr.write(f"error: {exc}\n")
    except Exception:
        code = ExitCode.FAILED
        log.critical("an error nobody foresaw", exc_info=True)
    else:
        code = ExitCode.OK
    sys.exit(code)
