"""The command line of the benchmarks: parses, runs what was asked for, prints."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from benchmarks import bench_decode, bench_form, bench_latency, bench_memory, bench_throughput, machine
from benchmarks.bench_latency import Rate
from benchmarks.figures import Result
from benchmarks.printing import on_stdout, print_facts, print_result
from benchmarks.progress import Steps, on_stderr
from benchmarks.subjects import SubjectFailed
from benchmarks.topics import Broker
from tests.brokers import HOW_TO_GET_ONE, NoBrokerError, find_broker

MICRO_ROUNDS = 7


class Question(StrEnum):
    """What can be measured."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"
    MEMORY = "memory"
    DECODE = "decode"
    FORM = "form"


NEED_A_BROKER = frozenset({Question.THROUGHPUT, Question.LATENCY, Question.MEMORY})

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def benchmarks(
    questions: Annotated[
        list[Question] | None, typer.Argument(help="What to measure; all of it unless named.", show_default=False)
    ] = None,
    payloads: Annotated[int, typer.Option(min=100, help="throughput: payloads in the backlog.")] = 300_000,
    users: Annotated[int, typer.Option(min=1, help="throughput: users that they come from.")] = 5000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every subject.")] = 2,
    rate: Annotated[float, typer.Option(min=1, help="latency: payloads sent in a second.")] = 200.0,
    latency_payloads: Annotated[int, typer.Option(min=10, help="latency: payloads measured in a round.")] = 2000,
    memory_users: Annotated[int, typer.Option(min=10, help="memory: active users.")] = 10_000,
    json: Annotated[Path | None, typer.Option(help="Write everything here, too.", show_default=False)] = None,
) -> None:
    """How much CPU a payload costs, how soon its record is out, how much memory a user takes.

    A real Kafka is used: the one at KAFKA_BOOTSTRAP_SERVERS, else one that is started (Docker, or Java and Maven).

    All of it takes about 5 minutes. What the figures mean, and what they do not: benchmarks/README.md.

    [bold]Examples[/bold]
      python -m benchmarks                                        all of it
      python -m benchmarks throughput --payloads 50000            a quick look
      python -m benchmarks latency --rate 1000 --json out.json
      python -m benchmarks decode form                            no Kafka needed
    """
    if json is not None and not json.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {json.parent}", param_hint="--json")
    sizes = Sizes(payloads, users, rounds, Rate(latency_payloads, rate), memory_users)
    facts, console, results = machine.describe(), on_stdout(), []
    try:
        with _broker(questions or list(Question)) as (broker, origin):
            facts["kafka"] = origin
            print_facts(facts, console)
            for question in dict.fromkeys(questions or Question):
                result = answer(question, sizes, broker, on_stderr())
                results.append(result)
                print_result(result, console)
    except NoBrokerError as missing:
        sys.exit(f"No Kafka: {missing}. To get one: {HOW_TO_GET_ONE}.")
    except (SubjectFailed, TimeoutError) as failure:
        sys.exit(f"Not measured: {failure}")
    finally:
        if json is not None:
            json.write_bytes(orjson.dumps({"machine": facts, "results": [result.as_json() for result in results]}))
    if any(result.wrong for result in results):
        sys.exit("Some records were wrong: the figures are void.")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    payloads: int
    users: int
    rounds: int
    rate: Rate
    memory_users: int


def answer(question: Question, sizes: Sizes, broker: Broker | None, steps: Steps) -> Result:
    """Measure one thing.

    Raises:
        SubjectFailed, TimeoutError: what was to be measured did not do its work.
    """
    if question is Question.DECODE:
        return bench_decode.measure(steps, rounds=MICRO_ROUNDS)
    if question is Question.FORM:
        return bench_form.measure(steps, rounds=MICRO_ROUNDS)
    assert broker is not None
    if question is Question.LATENCY:
        return bench_latency.measure(broker, steps, rate=sizes.rate, rounds=sizes.rounds)
    if question is Question.MEMORY:
        return bench_memory.measure(broker, steps, users=sizes.memory_users, rounds=sizes.rounds)
    return bench_throughput.measure(broker, steps, payloads=sizes.payloads, users=sizes.users, rounds=sizes.rounds)


@contextmanager
def _broker(questions: list[Question]) -> Iterator[tuple[Broker | None, str]]:
    """A broker if a question needs one, and where it came from.

    Raises:
        NoBrokerError: there is none to be had.
    """
    if NEED_A_BROKER.isdisjoint(questions):
        yield None, "none needed"
        return
    with find_broker() as found:
        yield Broker(found.bootstrap_servers), f"at {found.bootstrap_servers}, by {found.origin}"


def main() -> None:
    """`python -m benchmarks`. SIGTERM ends it like Ctrl-C does: what it has started ends with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app(prog_name="python -m benchmarks")
