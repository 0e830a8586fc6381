"""The command line of the benchmarks: one command for each question."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import orjson
import typer

from benchmarks import (
    bench_decode,
    bench_form,
    bench_growth,
    bench_hot_user,
    bench_latency,
    bench_load,
    bench_memory,
    bench_peers,
    bench_restore,
    bench_serve,
    bench_startup,
    bench_throughput,
    bench_two_members,
    bench_view,
    machine,
)
from benchmarks.bench_latency import Rate
from benchmarks.figures import Result
from benchmarks.printing import on_stdout, print_facts, print_result
from benchmarks.progress import Steps, on_stderr
from benchmarks.subjects import SubjectFailed
from benchmarks.topics import Broker
from tests.brokers import HOW_TO_GET_ONE, NoBrokerError, find_broker

PAYLOADS = 300_000
USERS = 5000
MICRO_ROUNDS = 7
STARTS = 5
STEP_S = 5.0
LATENCY_RATE = Rate(2000, 200.0)
MEMORY_USERS = 10_000
VIEW_USERS = 50_000
SERVE_USERS = 10_000
LISTENERS = 1000
GROWTH_USERS = (1000, 5000, 20_000, 100_000, 200_000)
GROWTH_PAYLOADS = 200_000
RESTORE_PAYLOADS = 100_000

Payloads = Annotated[int, typer.Option(min=100, help="Payloads in the backlog.")]
Users = Annotated[int, typer.Option(min=1, help="Users that they come from.")]
Rounds = Annotated[int, typer.Option(min=1, help="Turns of every subject.")]
Json = Annotated[Path | None, typer.Option(help="Write everything here, too.", show_default=False)]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""
    What a payload costs, how soon its record is out, how much memory a user takes.

    A real Kafka is used: the one at KAFKA_BOOTSTRAP_SERVERS, else one that is started (Docker, or Java and Maven).
    What the figures mean, and what they do not: benchmarks/README.md.

    [bold]Examples[/bold]
      python -m benchmarks all --json report.json              all of it
      python -m benchmarks throughput --payloads 50000         a quick look
      python -m benchmarks decode                              no Kafka needed
      python -m benchmarks.plot report.json                    the pictures
    """,
)


class Run:
    """A broker to measure on; what was found out is printed, and kept for the JSON."""

    def __init__(self, broker: Broker | None) -> None:
        self._broker = broker
        self.steps: Steps = on_stderr()
        self.results: list[Result] = []

    @property
    def broker(self) -> Broker:
        assert self._broker is not None
        return self._broker

    def show(self, result: Result) -> None:
        self.results.append(result)
        print_result(result, on_stdout())


@contextmanager
def measuring(json: Path | None, *, needs_broker: bool = True) -> Iterator[Run]:
    """Everything around a measurement. Ends the process when something could not be measured, or was wrong."""
    if json is not None and not json.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {json.parent}", param_hint="--json")
    facts, run = machine.describe(), Run(None)
    try:
        with _broker(needed=needs_broker) as (broker, facts["kafka"]):
            print_facts(facts, on_stdout())
            run = Run(broker)
            yield run
    except NoBrokerError as missing:
        sys.exit(f"No Kafka: {missing}. To get one: {HOW_TO_GET_ONE}.")
    except (SubjectFailed, TimeoutError) as failure:
        sys.exit(f"Not measured: {failure}")
    finally:
        if json is not None:
            results = [result.as_json() for result in run.results]
            json.write_bytes(orjson.dumps({"machine": facts, "results": results}, option=orjson.OPT_INDENT_2))
    if any(result.wrong for result in run.results):
        sys.exit("Some records were wrong: the figures are void.")


@contextmanager
def _broker(*, needed: bool) -> Iterator[tuple[Broker | None, str]]:
    """A broker if one is needed, and where it came from.

    Raises:
        NoBrokerError: there is none to be had.
    """
    if not needed:
        yield None, "none needed"
        return
    with find_broker() as found:
        yield Broker(found.bootstrap_servers), f"at {found.bootstrap_servers}, by {found.origin}"


@app.command()
def throughput(payloads: Payloads = PAYLOADS, users: Users = USERS, rounds: Rounds = 2, json: Json = None) -> None:
    """How much CPU a payload costs end to end, published once a second and after every batch."""
    with measuring(json) as run:
        run.show(bench_throughput.measure(run.broker, run.steps, payloads=payloads, users=users, rounds=rounds))


@app.command()
def latency(
    payloads: Annotated[int, typer.Option(min=10, help="Payloads measured in a round.")] = LATENCY_RATE.payloads,
    rate: Annotated[float, typer.Option(min=1, help="Payloads sent in a second.")] = LATENCY_RATE.per_s,
    rounds: Rounds = 2,
    json: Json = None,
) -> None:
    """How long from a payload to the record that holds it, at a steady rate."""
    with measuring(json) as run:
        run.show(bench_latency.measure(run.broker, run.steps, rate=Rate(payloads, rate), rounds=rounds))


@app.command()
def load(
    step_s: Annotated[float, typer.Option(min=1, help="Seconds that each rate is tried.")] = STEP_S,
    rounds: Rounds = 1,
    json: Json = None,
) -> None:
    """Which rate is sustained, and the latency at half of it; both by load."""
    with measuring(json) as run:
        run.show(bench_load.measure(run.broker, run.steps, step_s=step_s, rounds=rounds))


@app.command()
def restore(payloads: Payloads = RESTORE_PAYLOADS, rounds: Rounds = 2, json: Json = None) -> None:
    """How much CPU restoring a payload costs, beside processing it live."""
    with measuring(json) as run:
        run.show(bench_restore.measure(run.broker, run.steps, payloads=payloads, rounds=rounds))


@app.command()
def memory(
    users: Annotated[int, typer.Option(min=10, help="Active users.")] = MEMORY_USERS,
    rounds: Rounds = 2,
    json: Json = None,
) -> None:
    """How much memory a user takes, in multiples of the text that is published for them."""
    with measuring(json) as run:
        run.show(bench_memory.measure(run.broker, run.steps, users=users, rounds=rounds))


@app.command(name="hot_user")
def hot_user(
    payloads: Annotated[int, typer.Option(min=10, help="Payloads of the others in a round.")] = LATENCY_RATE.payloads,
    rate: Annotated[float, typer.Option(min=1, help="Payloads of the others in a second.")] = LATENCY_RATE.per_s,
    rounds: Rounds = 2,
    json: Json = None,
) -> None:
    """Whether one user with records of 500 KB slows down the others."""
    with measuring(json) as run:
        run.show(bench_hot_user.measure(run.broker, run.steps, rate=Rate(payloads, rate), rounds=rounds))


@app.command()
def startup(starts: Annotated[int, typer.Option(min=1, help="Starts of each.")] = STARTS, json: Json = None) -> None:
    """How long until a member runs that has nothing to restore."""
    with measuring(json) as run:
        run.show(bench_startup.measure(run.broker, run.steps, rounds=starts))


@app.command(name="two_members")
def two_members(payloads: Payloads = PAYLOADS, users: Users = USERS, rounds: Rounds = 2, json: Json = None) -> None:
    """How much CPU a second member adds to each payload."""
    with measuring(json) as run:
        run.show(bench_two_members.measure(run.broker, run.steps, payloads=payloads, users=users, rounds=rounds))


@app.command()
def growth(
    users: Annotated[list[int] | None, typer.Option(min=1, help="Active users; several times.")] = None,
    payloads: Annotated[int, typer.Option(min=100, help="Payloads measured for each.")] = GROWTH_PAYLOADS,
    rounds: Rounds = 1,
    json: Json = None,
) -> None:
    """Whether a payload costs more the more users are active: from 1,000 to 200,000 of them."""
    crowds = sorted(users or GROWTH_USERS)
    with measuring(json) as run:
        run.show(bench_growth.measure(run.broker, run.steps, users=crowds, payloads=payloads, rounds=rounds))


@app.command()
def peers(
    payloads: Payloads = PAYLOADS,
    users: Users = USERS,
    latency_payloads: Annotated[
        int, typer.Option(min=0, help="Payloads in a round of the latency; 0 = not measured.")
    ] = LATENCY_RATE.payloads,
    rounds: Rounds = 2,
    json: Json = None,
) -> None:
    """The same job with Kafka Streams, Quix Streams and the SDK, as far as `make peers` could install them."""
    with measuring(json) as run:
        run.show(bench_peers.throughput(run.broker, run.steps, payloads=payloads, users=users, rounds=rounds))
        if latency_payloads:
            rate = Rate(latency_payloads, LATENCY_RATE.per_s)
            run.show(bench_peers.latency(run.broker, run.steps, rate=rate, rounds=rounds))


@app.command()
def view(
    users: Annotated[int, typer.Option(min=10, help="Users on the topic.")] = VIEW_USERS,
    payloads: Annotated[int, typer.Option(min=10, help="Payloads in a round of the latency.")] = LATENCY_RATE.payloads,
    rounds: Rounds = 2,
    json: Json = None,
) -> None:
    """How fast the chat side's view loads, what a user takes in it, and how soon it tells of a payload."""
    rate = Rate(payloads, LATENCY_RATE.per_s)
    with measuring(json) as run:
        run.show(bench_view.measure(run.broker, run.steps, users=users, rate=rate, rounds=rounds))


@app.command()
def serve(
    users: Annotated[int, typer.Option(min=10, help="Users on the topic.")] = SERVE_USERS,
    listeners: Annotated[int, typer.Option(min=1, help="Event streams.")] = LISTENERS,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds that each route is asked.")] = STEP_S,
    rounds: Rounds = 2,
    json: Json = None,
) -> None:
    """How many requests a second `serve` answers, and how soon a thousand listeners are told. Needs wrk."""
    sizes = {"users": users, "listeners": listeners, "rounds": rounds}
    with measuring(json) as run:
        run.show(bench_serve.measure(run.broker, run.steps, seconds=seconds, **sizes))


@app.command()
def decode(json: Json = None) -> None:
    """What reading a payload costs beside pydantic, msgspec and orjson alone. Needs no Kafka."""
    with measuring(json, needs_broker=False) as run:
        run.show(bench_decode.measure(run.steps, rounds=MICRO_ROUNDS))


@app.command()
def form(json: Json = None) -> None:
    """What a payload costs on the hop as lines in MessagePack, and what as its JSON. Needs no Kafka."""
    with measuring(json, needs_broker=False) as run:
        run.show(bench_form.measure(run.steps, rounds=MICRO_ROUNDS))


@app.command(name="all")
def everything(rounds: Rounds = 2, json: Json = None) -> None:
    """Every question, with its defaults: about half an hour. For the pictures: --json, then benchmarks.plot."""
    with measuring(json) as run:
        broker, steps = run.broker, run.steps
        questions: tuple[Callable[[], Result], ...] = (
            lambda: bench_decode.measure(steps, rounds=MICRO_ROUNDS),
            lambda: bench_form.measure(steps, rounds=MICRO_ROUNDS),
            lambda: bench_startup.measure(broker, steps, rounds=STARTS),
            lambda: bench_latency.measure(broker, steps, rate=LATENCY_RATE, rounds=rounds),
            lambda: bench_hot_user.measure(broker, steps, rate=LATENCY_RATE, rounds=rounds),
            lambda: bench_load.measure(broker, steps, step_s=STEP_S, rounds=1),
            lambda: bench_throughput.measure(broker, steps, payloads=PAYLOADS, users=USERS, rounds=rounds),
            lambda: bench_two_members.measure(broker, steps, payloads=PAYLOADS, users=USERS, rounds=rounds),
            lambda: bench_restore.measure(broker, steps, payloads=RESTORE_PAYLOADS, rounds=rounds),
            lambda: bench_memory.measure(broker, steps, users=MEMORY_USERS, rounds=rounds),
            lambda: bench_view.measure(broker, steps, users=VIEW_USERS, rate=LATENCY_RATE, rounds=rounds),
            lambda: bench_growth.measure(broker, steps, users=GROWTH_USERS, payloads=GROWTH_PAYLOADS, rounds=1),
        )
        for question in questions:
            run.show(question())


def main() -> None:
    """`python -m benchmarks`. SIGTERM ends it like Ctrl-C does: what it has started ends with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app(prog_name="python -m benchmarks")
