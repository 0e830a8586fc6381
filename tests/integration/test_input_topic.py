"""What operators do to the input topic under a running group: more partitions, a topic made anew."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined] # re-exported without saying so

from tests.acceptance.topic_log import create_input_topic, delete_topics, end_offsets
from tests.integration.running import REQUEST_TIMEOUT_S, Bench

STOP_S = 10.0
SOON = {"kafka_topic_metadata_refresh_interval_ms": 500}  # by default a member looks once a minute


@pytest.fixture
def bench(kafka: str, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, unique, tmp_path, partitions=1, **SOON)
    yield bench
    bench.group.close()
    bench.delete_topics()


def test_partitions_that_are_added_are_read_from_their_beginning(bench: Bench) -> None:
    first = bench.start("first")
    bench.start("second")
    bench.send("ps_1", "amelie", "before")
    bench.wait_committed()

    added = bench.admin.create_partitions([NewPartitions(bench.group.input_topic, 4)])
    added[bench.group.input_topic].result(REQUEST_TIMEOUT_S)
    bench.partitions = 4
    bench.look_again()
    sessions = [f"ps_{number}" for number in range(2, 20)]
    for session in sessions:
        bench.send(session, f"user_of_{session}", "after")
    bench.wait_committed()

    assert len(end_offsets(bench.admin, bench.group.input_topic)) == 4
    bench.wait_for_texts({"amelie": ["before"], **{f"user_of_{session}": ["after"] for session in sessions}})
    assert first.exit_code is None


def test_an_input_topic_that_was_made_anew_is_read_from_its_beginning_and_right_after_a_replay(bench: Bench) -> None:
    """What was made of the old topic stays known, so its offsets do: a new record in the place of one of them is taken
    for a repeat, until a replay."""
    first = bench.start("first")
    bench.send("ps_1", "amelie", "0", "1", "2")
    bench.wait_committed()
    bench.stop(first, signal.SIGTERM, within_s=STOP_S)

    recreate(bench)
    bench.send("ps_1", "amelie", "in the place of 0")
    bench.send("ps_2", "bruno", "3", "4", "5")
    second = bench.start("second")
    bench.wait_committed()
    bench.wait_for_texts({"amelie": ["0", "1", "2"], "bruno": ["3", "4", "5"]})
    bench.stop(second, signal.SIGTERM, within_s=STOP_S)

    replayed = bench.command("replay", "--from", "beginning", "--yes")
    assert replayed.returncode == 0, replayed.stdout
    assert bench.texts() == {"amelie": ["in the place of 0"], "bruno": ["3", "4", "5"]}


def recreate(bench: Bench) -> None:
    """Delete it and create it again, as fast as the broker does."""
    topic = bench.group.input_topic
    delete_topics(bench.bootstrap, [topic])
    bench.group.wait_for(lambda: not end_offsets(bench.admin, topic), "the topic is gone", timeout_s=30)
    create_input_topic(bench.bootstrap, topic, partitions=1)
    bench.look_again()
