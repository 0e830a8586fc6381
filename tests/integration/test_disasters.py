"""What the runbook says of lost topics: each way back, walked."""

from __future__ import annotations

import signal
import time

import pytest
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined] # re-exported without saying so

from tests.acceptance.records import Sent
from tests.acceptance.topic_log import Feed, delete_topics, end_offsets
from tests.integration.running import REQUEST_TIMEOUT_S, Bench, MakeBench
from worker.view import UserContextView

STOP_S = 15.0
USERS = 12
BEFORE = {f"user_{number}": ["first", "second"] for number in range(USERS)}
AFTER = {user: [*texts, "third"] for user, texts in BEFORE.items()}


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """Some users are known; nobody works."""
    bench = make_bench(partitions=2)
    member = bench.start("before")
    for text in ("first", "second"):
        send(bench, text)
    bench.wait_for_texts(BEFORE)
    bench.wait_committed()
    bench.stop(member, signal.SIGTERM, within_s=STOP_S)
    return bench


def send(bench: Bench, text: str) -> None:
    """All users do the same."""
    for number in range(USERS):
        bench.send(f"ps_{number}", f"user_{number}", text)


def lose(bench: Bench, *topics: str) -> None:
    """Delete them, and wait until they are gone."""
    delete_topics(bench.bootstrap, topics)
    bench.group.wait_for(
        lambda: not any(end_offsets(bench.admin, topic) for topic in topics), f"{topics} are gone", timeout_s=30
    )


def replay(bench: Bench) -> None:
    done = bench.command("replay", "--from", "beginning", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr


def goes_on(bench: Bench) -> None:
    """A member that is started works as if nothing had happened, and a view reads what it says."""
    bench.start("after")
    bench.wait_for_texts(BEFORE)
    send(bench, "third")
    bench.wait_for_texts(AFTER)
    with UserContextView(bench.bootstrap, bench.group.output_topic) as view:
        view.wait_ready(REQUEST_TIMEOUT_S)
        assert {user for user in BEFORE if "third" in (view.get_user_activity(user) or "")} == BEFORE.keys()


def test_the_output_topic_is_lost_and_a_start_of_the_members_makes_it_anew(bench: Bench) -> None:
    lose(bench, bench.group.output_topic)
    goes_on(bench)


def test_the_repartition_topic_is_lost_and_a_replay_onto_an_empty_output_rebuilds_both(bench: Bench) -> None:
    lose(bench, bench.group.repartition_topic, bench.group.output_topic)
    replay(bench)
    goes_on(bench)


def test_the_repartition_topic_alone_is_lost_and_readers_keep_what_has_the_higher_version(bench: Bench) -> None:
    """Why the output topic has to go, too: versions are offsets of the topic that is gone."""
    resets = Feed(bench.bootstrap, bench.group.repartition_topic)
    payloads = len(BEFORE) * 2  # and no partition can get more records from a replay
    for partition in range(bench.partitions):
        resets.send([Sent(partition, b"nobody", None, (), int(time.time() * 1000))] * payloads)
    replay(bench)
    versions = versions_of(bench)
    lose(bench, bench.group.repartition_topic)
    replay(bench)
    again = versions_of(bench)
    assert all(again[user] < versions[user] for user in BEFORE)


def versions_of(bench: Bench) -> dict[str, int]:
    """Of the users with a record."""
    return {user: record["version"] for user, record in bench.records().items() if record is not None}


def test_offsets_that_are_lost_are_found_again_by_working_everything_off(bench: Bench) -> None:
    bench.forget_offsets()
    goes_on(bench)


def test_more_partitions_for_all_topics(bench: Bench) -> None:
    added = bench.admin.create_partitions([NewPartitions(bench.group.input_topic, 4)])
    added[bench.group.input_topic].result(REQUEST_TIMEOUT_S)
    lose(bench, bench.group.repartition_topic, bench.group.output_topic)
    replay(bench)
    bench.partitions = 4
    bench.look_again()
    for topic in (bench.group.repartition_topic, bench.group.output_topic):
        assert len(end_offsets(bench.admin, topic)) == 4
    goes_on(bench)
