"""The pure pieces of the benchmarks: a figure that is computed wrongly is worse than none."""

from __future__ import annotations

import inspect
import io
import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import orjson
import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import bench_decode, bench_form, bench_peers, cli, machine
from benchmarks.arrivals import Arrivals, Sent
from benchmarks.backlog import Reading, Sample, cost_of, samples_of
from benchmarks.bench_hot_user import hot_user
from benchmarks.bench_peers import session_mistakes
from benchmarks.bench_serve import read_wrk
from benchmarks.figures import Figure, Result, percentile
from benchmarks.fold import Fold
from benchmarks.line import happening_at, tells_of_payload, tells_of_record
from benchmarks.load import even_crowd, even_size, skewed_crowd
from benchmarks.loaded_topic import mistakes
from benchmarks.printing import print_facts, print_result
from benchmarks.process_meter import cpu_seconds, usage_of
from benchmarks.progress import Steps
from benchmarks.stage_memory import measure as measure_stages
from benchmarks.stopwatch import cpu_per_call
from benchmarks.subjects import SubjectFailed
from schemas.codec import Skip, read_payload
from tests.brokers import Found, NoBrokerError
from tests.routed import as_lines
from worker.testing import ManualClock, TopologyDriver

END = 1_712_345_678.0
QUESTIONS = [command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback]
SILENT = Steps(Console(file=io.StringIO()))


# --- the load and its fold -------------------------------------------------------------------------------------------


def test_the_load_is_the_same_every_time_and_as_large_as_said() -> None:
    load = list(skewed_crowd(2000, 500, end=END))

    assert load == list(skewed_crowd(2000, 500, end=END))
    assert load[-1].time == pytest.approx(END)
    assert 1300 < sum(len(payload.value) for payload in load) / len(load) < 1800


def test_some_users_of_the_load_are_busy() -> None:
    load = list(skewed_crowd(10_000, 1000, end=END))
    busiest = sum(payload.user_id < "user_000100" for payload in load)

    assert 1400 < busiest < 2000
    assert len({payload.user_id for payload in load}) > 990


def test_what_the_load_says_of_itself_is_what_the_worker_reads() -> None:
    for sent in islice(skewed_crowd(200, 20, end=END), 200):
        read = read_payload(sent.value)
        assert not isinstance(read, Skip)
        assert (read.session_id, read.product_id, read.user_id) == (sent.session_id, sent.product_id, sent.user_id)
        assert (read.email, read.conversation_id or None) == (sent.email, sent.conversation_id)
        assert (read.forwarded_at, as_lines(read.text())) == (sent.time, sent.lines)


def test_every_user_of_an_even_crowd_does_the_same() -> None:
    load = list(even_crowd(7, begin=END, interval_s=0.5))

    assert len(load) == even_size(7)
    for number in range(7):
        of_user = [payload for payload in load if payload.user_id == f"user_{number:06d}"]
        assert len({payload.session_id for payload in of_user}) == 3
        assert sum(len(payload.lines) for payload in of_user) == 18


def test_the_fold_is_what_the_pipeline_publishes() -> None:
    """Long enough that actions leave the window, users expire, and a session has more actions than a record shows."""
    driver, fold = TopologyDriver(partitions=4, clock=ManualClock(END)), Fold()
    for payload in skewed_crowd(3000, 25, end=END, interval_s=0.4):
        fold.add(payload)
        driver.pipe(payload.value, key=payload.key, timestamp=payload.time)
    driver.process()
    newest = {(record.key or b"").decode(): record.value for record in driver.output}

    assert mistakes(fold, newest) == []


def test_a_wrong_record_a_missing_one_and_a_stranger_are_mistakes() -> None:
    fold = Fold()
    for payload in even_crowd(3, begin=END, interval_s=1.0):
        fold.add(payload)
    newest = _as_published(fold)
    assert mistakes(fold, newest) == []

    wrong = orjson.loads(newest["user_000001"] or b"") | {"email": "another@example.com"}
    (mistake,) = mistakes(fold, newest | {"user_000001": orjson.dumps(wrong)})
    assert "user_000001" in mistake
    (mistake,) = mistakes(fold, newest | {"user_000002": None})
    assert "user_000002" in mistake
    (mistake,) = mistakes(fold, newest | {"nobody": b"{}"})
    assert "1 users that nobody knows" in mistake
    (mistake,) = mistakes(fold, {})
    assert "3 of 3 users are wrong" in mistake


def _as_published(fold: Fold) -> dict[str, bytes | None]:
    return {user: orjson.dumps({**(fold.record(user, END) or {}), "version": 9}) for user in fold.users}


def test_sessions_that_a_peer_got_wrong_are_mistakes_and_what_it_does_not_write_is_not() -> None:
    fold = Fold()
    for payload in even_crowd(3, begin=END, interval_s=1.0):
        fold.add(payload)
    newest = {user: orjson.dumps({"sessions": (fold.record(user, END) or {})["sessions"]}) for user in fold.users}
    assert session_mistakes(fold, newest) == []

    sessions = orjson.loads(newest["user_000001"])["sessions"]
    (mistake,) = session_mistakes(fold, newest | {"user_000001": orjson.dumps({"sessions": sessions[1:]})})
    assert "user_000001" in mistake
    (mistake,) = session_mistakes(fold, {})
    assert "3 of 3 users are wrong" in mistake


def test_a_user_who_is_older_than_the_lookback_has_no_record() -> None:
    fold = Fold()
    (payload, *_) = even_crowd(1, begin=END, interval_s=1.0)
    fold.add(payload)

    assert fold.record("user_000000", END + 300.0) is not None
    assert fold.record("user_000000", END + 300.1) is None


# --- figures ---------------------------------------------------------------------------------------------------------


def test_steady_cost_begins_at_a_fifth_of_the_payloads() -> None:
    samples = [Sample(0, 0, 0), Sample(1, 2.0, 100), Sample(2, 3.0, 200), Sample(5, 7.0, 1000)]
    cost = cost_of(samples, peak_rss_bytes=5)

    assert cost.whole_us == pytest.approx(7000)
    assert cost.steady_us == pytest.approx(4.0 / 800 * 1e6)
    assert (cost.wall_s, cost.peak_rss_bytes) == (5, 5)


def test_a_run_that_is_too_short_to_be_steady_counts_as_a_whole() -> None:
    cost = cost_of([Sample(0, 0, 0), Sample(1, 2.0, 100)], 5)

    assert cost.steady_us == cost.whole_us == pytest.approx(20_000)


def test_a_percentile_is_a_measured_value() -> None:
    values = [float(number) for number in range(1, 101)]

    assert [percentile(values, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]
    assert percentile([7.0], 0.5) == 7
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 0.5)


def test_ratios_are_taken_measurement_by_measurement() -> None:
    mine, theirs = Figure("mine", "ms", (2.0, 9.0)), Figure("theirs", "ms", (1.0, 0.0, 3.0, 0.0))

    assert mine.over(theirs.every(2, 0), "ratio").values == (2.0, 3.0)
    assert mine.as_json() == {"name": "mine", "unit": "ms", "min": 2, "median": 5.5, "max": 9, "values": [2, 9]}


def test_ratios_are_printed_before_figures_and_mistakes_before_both() -> None:
    console = Console(file=io.StringIO(), width=200)
    ratio, figure = Figure("a / b", "x", (1.5, 2.5), 2), Figure("a", "ms", (1234.5,))
    print_facts({"cpu": "2 x fast"}, console)
    print_result(Result("latency", "Latency", (ratio,), (figure,), {"sent_bytes": 7}, ("user 5",)), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()

    wanted = [
        "cpu        2 x fast",
        "Latency",
        "sent bytes 7",
        "WRONG: user 5",
        "a / b",
        "1.50",
        "2.00",
        "2.50",
        "1,234.5",
    ]
    assert [text.find(each) for each in wanted] == sorted(text.find(each) for each in wanted)
    assert all(each in text for each in wanted)


def test_cpu_is_counted_by_turns_for_each_function() -> None:
    figures = cpu_per_call({"sum": sum, "len": len}, [range(20_000)] * 20, rounds=3)

    assert [len(figure.values) for figure in figures.values()] == [3, 3]
    assert figures["sum"].median > figures["len"].median >= 0


def test_a_hop_counts_by_its_own_end() -> None:
    """Where a record of the second hop carries many payloads, too."""
    readings = [
        Reading(0, 0, {"in": 0, "hop": 0}),
        Reading(1, 2, {"in": 500, "hop": 0}),
        Reading(2, 4, {"in": 1000, "hop": 10}),
    ]

    assert [sample.payloads for sample in samples_of(readings, 1000)] == [0, 250, 1000]


# --- the process meter -----------------------------------------------------------------------------------------------


def test_cpu_of_a_process_is_read_past_any_name() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    line = f"7 (a ) b (c) S 1 2 3 4 5 6 7 8 9 10 {ticks} {2 * ticks} {3 * ticks} {4 * ticks} 20 0 1"

    assert cpu_seconds(line) == 10.0


def test_usage_of_this_process_grows_and_a_gone_one_has_none() -> None:
    before = usage_of(os.getpid())
    while usage_of(os.getpid()).cpu_s <= before.cpu_s:
        math.factorial(2000)

    assert before.rss_bytes > 1_000_000
    assert usage_of(2**22 + 1) == (0.0, 0)


# --- latency ---------------------------------------------------------------------------------------------------------


def test_a_record_lets_every_payload_arrive_that_it_holds() -> None:
    arrivals = Arrivals()
    for event_time, sent_at in ((100.0, 1.0), (101.0, 2.0), (102.0, 3.0)):
        arrivals.sent("ps_1", Sent(event_time, sent_at, "measured"))
    arrivals.sent("ps_2", Sent(50.0, 3.0, "warm up"))

    arrivals.seen("ps_1", 101.0, 4.0)
    arrivals.seen("ps_3", 999.0, 4.0)
    assert arrivals.waiting == 2
    arrivals.seen("ps_1", 102.0, 4.5)
    arrivals.seen("ps_2", 50.0, 5.0)
    assert arrivals.waiting == 0
    assert arrivals.latencies_ms("measured") == [1500.0, 2000.0, 3000.0]
    assert arrivals.latencies_ms("warm up") == [2000.0]


def test_a_payload_of_the_load_can_be_made_to_happen_at_any_time() -> None:
    (payload, *_) = skewed_crowd(1, 1, end=0.0)
    now = 1_712_345_678.123457
    document = orjson.loads(payload.value)

    assert orjson.loads(happening_at(payload.value, now)) == document | {"forwarded_at": now}
    assert list(tells_of_payload(happening_at(payload.value, now))) == [(payload.session_id, now)]


def test_the_hot_user_has_the_largest_record_that_is_not_cut() -> None:
    driver = TopologyDriver(partitions=4, clock=ManualClock(END))
    for number, payload in enumerate(islice(hot_user(), 60)):
        driver.pipe(happening_at(payload.value, END + number / 50), key=payload.key, timestamp=END + number / 50)
    driver.process()
    value = driver.output[-1].value or b""
    record = orjson.loads(value)

    assert 480_000 < len(value) < 524_288
    assert [session["action_count"] for session in record["sessions"]] == 20 * [200]
    assert not record["truncated"]


def test_a_burst_of_an_even_crowd_is_of_one_session() -> None:
    load = list(even_crowd(2, begin=END, interval_s=0.5, count=12, burst=2))

    assert [payload.session_id[-3:] for payload in load] == [
        *("0_0", "0_0", "1_0", "1_0", "0_1", "0_1", "1_1", "1_1", "0_2", "0_2", "1_2", "1_2"),
    ]


def test_a_record_tells_of_all_its_sessions() -> None:
    record = {"sessions": [{"session_id": "ps_1", "last_seen_at": 5.5}, {"session_id": "ps_2", "last_seen_at": 4.0}]}

    assert list(tells_of_record(orjson.dumps(record))) == [("ps_1", 5.5), ("ps_2", 4.0)]


# --- whole questions that need no broker -----------------------------------------------------------------------------


def test_decode_and_form_measure_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bench_decode, bench_form):
        monkeypatch.setattr(module, "VALUES", 50)
    decode, form = bench_decode.measure(SILENT, rounds=2), bench_form.measure(SILENT, rounds=2)

    assert len(decode.figures) == 4
    assert len(decode.ratios) == 3
    assert [figure.name for figure in form.ratios] == ["CPU: JSON / lines", "bytes: JSON / lines"]
    assert all(value > 0 for result in (decode, form) for figure in result.figures for value in figure.values)


def test_the_stages_remember_every_user_while_their_memory_is_measured() -> None:
    measured = measure_stages(20)

    assert measured["users"] == 20
    assert measured["published_bytes"] > 20 * 1000


def test_the_machine_is_described_with_its_load_and_versions() -> None:
    facts = machine.describe()

    assert {"cpu", "load", "python", "libraries", "librdkafka"} <= set(facts)
    assert "confluent-kafka" in facts["libraries"]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_explains_itself(question: str) -> None:
    shown = CliRunner().invoke(cli.app, [question, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})

    assert shown.exit_code == 0
    assert "--json" in shown.output
    assert question in CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output


def test_all_asks_every_question_that_needs_no_more_to_be_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def instead_of(measure: Callable[..., Result]) -> Callable[..., Result]:
        def asked(*args: object, **sizes: object) -> Result:
            inspect.signature(measure).bind(*args, **sizes)
            return Result(measure.__module__.removeprefix("benchmarks.bench_"), "", (), ())

        return asked

    for module in vars(cli).values():
        if inspect.ismodule(module) and module.__name__.startswith("benchmarks.bench_") and module is not bench_peers:
            monkeypatch.setattr(module, "measure", instead_of(module.measure))
    monkeypatch.setattr(cli, "find_broker", lambda: nullcontext(Found("localhost:1", "a test")))
    report = tmp_path / "report.json"
    done = CliRunner().invoke(cli.app, ["all", "--json", str(report)])

    assert done.exit_code == 0, done.output
    asked = [result["question"] for result in orjson.loads(report.read_bytes())["results"]]
    assert sorted(asked) == sorted(set(QUESTIONS) - {"all", "peers", "serve"})


def test_without_a_broker_the_command_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise NoBrokerError("no java on the PATH")

    monkeypatch.setattr(cli, "find_broker", none)
    done = CliRunner().invoke(cli.app, ["latency"])

    assert done.exit_code == 1
    assert "No Kafka: no java on the PATH" in str(done.exception or done.output)


def test_a_result_file_in_no_folder_is_refused_before_anything_is_measured() -> None:
    assert CliRunner().invoke(cli.app, ["decode", "--json", "/nowhere/at/all.json"]).exit_code == 2


# --- wrk -------------------------------------------------------------------------------------------------------------

WRK = """
  Latency Distribution
     50%   10.00ms
     99%    {slow}
  1234 requests in 2.00s, 1.00MB read
{more}Requests/sec:    617.25
"""


@pytest.mark.parametrize(("slow", "expected"), [("850.00us", 0.85), ("12.50ms", 12.5), ("1.20s", 1200.0)])
def test_what_wrk_says_is_read(slow: str, expected: float) -> None:
    rate, slowest = read_wrk(WRK.format(slow=slow, more=""))
    assert (rate, slowest) == (617.25, expected)


@pytest.mark.parametrize("text", ["", WRK.format(slow="1ms", more="  Non-2xx or 3xx responses: 3\n")])
def test_answers_that_are_errors_void_the_figures(text: str) -> None:
    with pytest.raises(SubjectFailed):
        read_wrk(text)
