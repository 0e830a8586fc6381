"""The command line: parses and prints. What a command does is in a module of its own."""

from __future__ import annotations

import logging
import sys

import typer

from worker.errors import ExitCode, Fatal, WorkerError
from worker.flags import CONNECTION, takes_settings
from worker.log_setup import set_up_log
from worker.settings import Settings

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
  context-worker topics                     create and verify the topics
  context-worker run                        the service; start more to scale out
  context-worker produce --rebase sample    an hour at a product, ending now
  context-worker user amelie                what the chat layer knows of a user
  context-worker status                     members, partitions, lag

Every setting is a flag (--group-id), a variable (WORKER_GROUP_ID) or a key of a
TOML file (--config). What a flag says wins, then the variable, then the file.""",
)


@app.command(rich_help_panel="The service")
@takes_settings()
def run(settings: Settings) -> ExitCode:
    """Run one member of the group, until SIGTERM or Ctrl-C.

    Members of one group share the partitions: to scale out, start more of the same. Missing topics are created first.

    [bold]Examples[/bold]
      context-worker run
      WORKER_BOOTSTRAP_SERVERS=kafka:9092 WORKER_LOOKBACK_SECONDS=600 context-worker run
      context-worker run --config worker.toml --kafka security.protocol=SSL --log-level DEBUG

    [bold]Exit codes[/bold]
       0 stopped as asked             2 a wrong setting       10 no broker
      11 a topic is missing          12 a topic that would break the promise
      13 no right                    14 a form of another version
      15 no progress                 16 dead letters          17 the client gave up
      18 no clean stop
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
    *("create_topics", "lookback_seconds", "max_record_bytes"),
)
def topics(settings: Settings) -> ExitCode:
    """Create the topics that are missing, and verify all: policy, retention, timestamps, sizes.

    `run` does the same at every start. The input topic is not ours and is never created.

    [bold]Examples[/bold]
      context-worker topics
      context-worker topics --no-create-topics      verify only, and tell how to create what is missing
    """
    from worker.kafka import Admin  # noqa: PLC0415 - `--help` needs no Kafka client
    from worker.printing import print_topics  # noqa: PLC0415
    from worker.topics import ensure_topics  # noqa: PLC0415

    print_topics(ensure_topics(Admin(settings), settings))
    return ExitCode.OK


def main() -> None:
    """The script `context-worker`. An error on purpose is one clear message and its exit code; any other is FAILED."""
    try:
        app()
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
