"""Restores on a real Kafka, from logs as they come to be: short, with markers at the tail, with holes, cut off, gone.

Each asks the same: does the restored member end up where one would be that never stopped?
"""

from __future__ import annotations

import re
import signal
import time

import orjson
import pytest
from confluent_kafka import Producer

from tests.acceptance.members import Member
from tests.integration.running import Bench, MakeBench
from worker.errors import ExitCode

STOP_S = 10.0
REQUEST_TIMEOUT_S = 20.0
SLOW_RECORDS = 800  # each fetched alone, with 5 ms (fetch.queue.backoff.ms) between two
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "100",
}


def session_on(bench: Bench, partition: int, name: str = "ps") -> str:
    """A session that belongs to a partition of the input."""
    return next(
        each for each in (f"{name}_{number}" for number in range(1000)) if bench.partition_of(each) == partition
    )


def payload(session: str, user: str | None, text: str) -> tuple[bytes, bytes]:
    action = {"type": "click", "description": text, "canonical_url": "/", "index": 0}
    document = {"session_id": session, "user_id": user, "forwarded_at": time.time(), "actions": [action]}
    return session.encode(), orjson.dumps(document)


def transaction(bench: Bench, partition: int, *records: tuple[bytes, bytes], ends: str) -> Producer:
    """Write records in a transaction that ends in a `commit`, an `abort`, or stays `open`."""
    producer = Producer(
        {
            "bootstrap.servers": bench.bootstrap,
            "transactional.id": f"{bench.group.input_topic}-{partition}-{ends}",
            "log_level": 0,
        }
    )
    producer.init_transactions(REQUEST_TIMEOUT_S)
    producer.begin_transaction()
    for key, value in records:
        producer.produce(bench.group.input_topic, value, key, partition)
    producer.flush(REQUEST_TIMEOUT_S)
    if ends == "commit":
        producer.commit_transaction(REQUEST_TIMEOUT_S)
    elif ends == "abort":
        producer.abort_transaction(REQUEST_TIMEOUT_S)
    return producer


def restart(bench: Bench, member: Member) -> Member:
    """Stop it clean, and start another in its place."""
    bench.stop(member, signal.SIGTERM, within_s=STOP_S)
    return bench.start(f"{member.name}-again")


# --- short logs, and markers at the tail ------------------------------------------------------------------------------


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_no_one_and_two_records_and_markers_at_the_tail_are_restored(make_bench: MakeBench, guarantee: str) -> None:
    """Six input partitions: 0, 1 and 2 records; a commit marker, an abort marker, a whole aborted transaction last.
    With exactly_once every partition of the repartition topic ends with a marker, too."""
    bench = make_bench(partitions=6, processing_guarantee=guarantee)
    sessions = [session_on(bench, partition) for partition in range(6)]
    users = [f"user_{partition}" for partition in range(6)]
    first = bench.start("first")
    for partition, texts in ((1, ["a"]), (2, ["a", "b"]), (4, ["a"]), (5, ["a", "b"])):
        bench.send(sessions[partition], users[partition], *texts)
    bench.feed.flush()
    transaction(bench, 3, payload(sessions[3], users[3], "a"), ends="commit")
    transaction(bench, 4, ends="abort")
    transaction(bench, 5, *(payload(sessions[5], "stranger", "never") for _ in range(2)), ends="abort")
    bench.wait_committed()
    known = {user: ["a", "b"][: len(texts)] for user, texts in zip(users[1:], ("a", "ab", "a", "a", "ab"), strict=True)}
    bench.wait_for_texts(known)

    again = restart(bench, first)
    for session in sessions:
        bench.send(session, None, "c")  # belongs to whom the session is linked to
    bench.wait_committed()
    bench.wait_for_texts({user: [*texts, "c"] for user, texts in known.items()})
    assert "below" not in again.log
    restart(bench, again)
    bench.send(sessions[0], users[0], "d")
    bench.wait_committed()
    bench.wait_for_texts({users[0]: ["c", "d"]} | {user: [*texts, "c"] for user, texts in known.items()})


# --- ranges that are gone ---------------------------------------------------------------------------------------------


def test_holes_that_compaction_left_are_restored_over(make_bench: MakeBench) -> None:
    """Also where the last record below the committed offset is gone: no record says that the restore is over."""
    bench = make_bench(partitions=1)
    bench.set_config(bench.group.input_topic, COMPACTED)
    first = bench.start("first")
    bench.send("ps_1", "amelie", "0")
    for number in range(5):
        bench.send("ps_2", "bruno", str(number))
    bench.wait_committed()
    bench.stop(first, signal.SIGTERM, within_s=STOP_S)
    end = bench.ends(bench.group.input_topic).total()
    bench.send("ps_2", "bruno", "5")  # what lies below of ps_2 may go

    def is_compacted() -> bool:
        bench.send("ps_3", "cleo", "rolls the segment: the newest one is never compacted")
        bench.feed.flush()
        return max(record.offset for record in bench.input()[0] if record.offset < end) == 0

    bench.group.wait_for(is_compacted, f"nothing left between 0 and {end}", timeout_s=60)
    bench.start("second")
    bench.send("ps_1", None, "1")
    bench.wait_committed()
    texts = bench.texts()
    assert (texts["amelie"], texts["bruno"]) == (["0", "1"], [str(number) for number in range(6)])


def test_what_lies_outside_the_log_is_told_and_the_rest_goes_on(make_bench: MakeBench) -> None:
    """Committed below the log's start, beyond its end, and a restore point that retention took: one partition each."""
    bench = make_bench(partitions=3)
    topic = bench.group.input_topic
    sessions = [session_on(bench, partition) for partition in range(3)]
    users = [f"user_{partition}" for partition in range(3)]
    first = bench.start("first")
    for session, user in zip(sessions, users, strict=True):
        bench.send(session, user, "0", "1")
    bench.wait_committed()
    bench.stop(first, signal.SIGTERM, within_s=STOP_S)
    bench.send(sessions[0], users[0], "lost", "2")
    bench.feed.flush()
    bench.delete_records({(topic, 0): 3, (topic, 2): 2})
    bench.set_offsets({(topic, 1): 1000})

    second = bench.start("second")
    for session, user in zip(sessions, users, strict=True):
        bench.send(session, user, "3")
    bench.wait_committed()
    bench.wait_for_texts({"user_0": ["0", "1", "2", "3"], "user_1": ["0", "1", "3"], "user_2": ["0", "1", "3"]})
    for partition, words in enumerate(
        ["is below the log's start 3", "is beyond the log's end 2", "some context is gone"]
    ):
        assert re.search(rf"{re.escape(topic)}\[{partition}\]: [^\n]*{words}[^\n]*replay", second.log), second.log


# --- a log that grows meanwhile ---------------------------------------------------------------------------------------


def test_a_long_restore_is_told_and_what_arrives_meanwhile_comes_after_it(make_bench: MakeBench) -> None:
    """One record in each fetch: as slow as a restore gets."""
    bench = make_bench(partitions=1, commit_interval_s=0.5, max_actions_per_session=10, publish_interval_ms=1000)
    first = bench.start("first")
    bench.send("ps_1", "amelie", "first")
    one_by_one = Producer({"bootstrap.servers": bench.bootstrap, "batch.num.messages": 1, "log_level": 0})
    for number in range(SLOW_RECORDS):
        key, value = payload("ps_2", "bruno", str(number))
        one_by_one.produce(bench.group.input_topic, value, key, partition=0)
        one_by_one.poll(0)
    assert one_by_one.flush(REQUEST_TIMEOUT_S) == 0
    bench.wait_committed()
    bench.stop(first, signal.SIGTERM, within_s=STOP_S)

    second = bench.start("second", kafka_max_partition_fetch_bytes=1, kafka_queued_min_messages=1)
    bench.group.wait_for(lambda: "restoring " in second.log, "progress is told", timeout_s=60)
    bench.send("ps_1", None, "while it restored")
    assert f"restored {bench.group.input_topic}[0]" not in second.log
    bench.wait_committed()
    bench.wait_for_texts(
        {"amelie": ["first", "while it restored"], "bruno": [str(n) for n in range(SLOW_RECORDS)][-10:]}
    )
    told = rf"restoring [^\n]*{re.escape(bench.group.input_topic)}\[0\] \d+ %[^\n]*: [\d,]+ records to go, [\d,]+/s"
    assert re.search(told, second.log), second.log


# --- no progress ------------------------------------------------------------------------------------------------------


def test_a_partition_with_lag_that_does_not_move_ends_the_process(make_bench: MakeBench) -> None:
    """Behind a transaction that stays open nothing can be read."""
    bench = make_bench(partitions=2, stall_timeout_s=2)
    sessions = [session_on(bench, partition) for partition in range(2)]
    hanging = transaction(bench, 0, payload(sessions[0], "amelie", "0"), ends="open")
    member = bench.group.start("first")
    member.wait_exit(ExitCode.STALLED, timeout_s=40)
    assert f"{bench.group.input_topic}[0] has stood at offset 0 of 1 for " in member.log
    bench.group.dismiss(member)

    hanging.commit_transaction(REQUEST_TIMEOUT_S)
    bench.start("second")
    bench.send(sessions[1], "bruno", "0")
    bench.wait_committed()
    bench.wait_for_texts({"amelie": ["0"], "bruno": ["0"]})
