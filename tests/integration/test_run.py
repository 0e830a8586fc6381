"""`run` as a process on a real Kafka: how it stops, what it survives, and what it says when it cannot work."""

from __future__ import annotations

import os
import signal

import pytest

from schemas.dead_letter import own_headers
from tests.acceptance.members import Member
from tests.acceptance.topic_log import create_topic
from tests.brokers import MavenKafka, free_port
from tests.integration.running import HOP, OURS, SESSION_TIMEOUT_MS, Load, MakeBench
from worker.errors import ExitCode

STOP_S = 10.0
STOP_WITHOUT_BROKER_S = 15.0

# --- stopping and starting ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_clean_and_a_restart_processes_nothing_again(
    make_bench: MakeBench, number: signal.Signals
) -> None:
    bench = make_bench(publish_interval_ms=60_000, commit_interval_s=3600)
    group = bench.group
    first, load = bench.start("first"), Load(bench)
    load.send(500)
    bench.send_raw(b"key", b"no json")
    bench.wait_routed(500)
    assert bench.records() == {}

    bench.stop(first, number, within_s=STOP_S)
    assert bench.texts() == load.texts
    assert group.lag() == {}
    ends = bench.ends(group.repartition_topic, group.dlq_topic)

    second = bench.start("second")
    bench.stop(second, number, within_s=STOP_S)
    assert bench.ends(group.repartition_topic, group.dlq_topic) == ends
    assert bench.texts() == load.texts


def test_a_killed_member_is_restarted_and_nothing_is_missing(make_bench: MakeBench) -> None:
    bench = make_bench(commit_interval_s=0.5)
    first, load = bench.start("first"), Load(bench)
    load.send(2000)
    bench.wait_routed(1)
    bench.group.crash(first)
    load.send(500)
    bench.start("second")
    bench.wait_committed()
    bench.wait_for_texts(load.texts)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_that_was_stopped_for_longer_than_its_session_leaves_nothing_stale(
    make_bench: MakeBench, protocol: str
) -> None:
    session_ms = SESSION_TIMEOUT_MS if protocol == "classic" else 6000  # the broker's
    bench = make_bench(partitions=4, group_protocol=protocol, session_timeout_ms=session_ms)
    group = bench.group
    first, load = bench.start("first"), Load(bench)
    group.wait_for_owners(1)
    load.send(5000)
    bench.wait_routed(500)
    first.pause()  # in the middle of its work
    bench.start("second")
    load.send(2000)
    bench.wait_committed()
    bench.wait_for_texts(load.texts)
    first.resume()
    group.wait_for_owners(2)
    load.send(100)
    bench.wait_committed()
    bench.wait_for_texts(load.texts)
    assert first.exit_code is None


def test_a_member_without_partitions_waits_and_takes_over(make_bench: MakeBench) -> None:
    bench = make_bench(partitions=1)
    members = [bench.group.start(name) for name in ("first", "second", "third")]
    bench.group.wait_for(lambda: sum(bool(share) for share in bench.group.owned()) == 2, "two work", timeout_s=30)
    bench.send("ps_1", "amelie", "before")
    bench.wait_committed()
    owners = [member for member in members if "assigned" in member.log]
    assert len(owners) == 2
    for owner in owners:
        bench.stop(owner, signal.SIGTERM, within_s=STOP_S)
    bench.send("ps_1", None, "after")
    bench.wait_committed()
    bench.wait_for_texts({"amelie": ["before", "after"]})


# --- bad input ---


def test_what_cannot_be_read_is_a_dead_letter_as_it_was_received_once(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.start("first")
    headers = (("trace", b"1"), ("trace", None), ("", b"\xff"))
    values = [b"", b"no json", b"\xff\xfe", b'{"session_id": {}}', b"[]", b"null"]
    for number, value in enumerate(values):
        bench.send_raw(b"\xff key %d" % number, value, headers=headers)
        bench.send("ps_1", "amelie", str(number))
    bench.send_raw(b"key", None)
    large = "x" * 3_000_000
    bench.send("ps_2", "bruno", large)
    bench.wait_committed()

    received = {record.position: record for records in bench.input().values() for record in records}
    found = bench.dead_letters()
    for letter, record in found:
        source = received[letter.source_partition, letter.source_offset]
        assert (record.key, record.value) == (source.key, source.value)
        assert tuple(own_headers(record.headers)) == headers
        assert letter.source_topic == bench.group.input_topic
        assert letter.source_timestamp_ms == source.timestamp_ms
        assert letter.software_version
    assert sorted(record.value or b"" for _, record in found) == sorted(values), "each once, the null value not at all"
    bruno = bench.records()["bruno"]
    assert bruno is not None
    assert bruno["truncated"]
    assert bench.texts()["amelie"] == [str(number) for number in range(len(values))]


def test_a_record_that_the_next_topic_does_not_take_is_a_dead_letter_and_its_partition_goes_on(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(partitions=1)
    bench.create(bench.group.repartition_topic, HOP, max_bytes=1_000_000)
    bench.create(bench.group.dlq_topic, {**OURS, "cleanup.policy": "delete"}, max_bytes=4_000_000)
    first = bench.start("first")
    incompressible = os.urandom(1_000_000).hex()
    bench.send("ps_1", "amelie", "0", incompressible, "1")
    bench.wait_committed()
    assert [(letter.reason, letter.source_offset) for letter, _ in bench.dead_letters()] == [("too_large", 1)]

    bench.set_max_bytes(bench.group.repartition_topic, 100_000)  # while it runs
    first.pause()  # so that all of them travel in one batch
    bench.send("ps_1", "amelie", "2", incompressible[:300_000], "3", incompressible[:50_000])
    bench.send("ps_2", "bruno", "of a neighbour")
    bench.feed.flush()
    first.resume()
    bench.wait_committed()
    assert [letter.source_offset for letter, _ in bench.dead_letters()] == [1, 4]
    received = {record.offset: record.value for record in bench.input()[0]}
    assert [record.value for _, record in bench.dead_letters()] == [received[1], received[4]]
    bench.wait_for_texts({"amelie": ["0", "1", "2", "3", incompressible[:50_000]], "bruno": ["of a neighbour"]})


def test_a_dead_letter_topic_that_is_too_small_gets_the_headers_only(make_bench: MakeBench) -> None:
    bench = make_bench(partitions=1)
    bench.create(bench.group.dlq_topic, {**OURS, "cleanup.policy": "delete"}, max_bytes=50_000)
    bench.start("first")
    bad = b"{" + os.urandom(30_000).hex().encode()
    bench.send_raw(b"known", bad)
    bench.wait_committed()
    bench.set_max_bytes(bench.group.dlq_topic, 20_000)
    bench.send_raw(b"found out", bad[:40_000])
    bench.send_raw(b"fits", b"no json")
    bench.wait_committed()
    found = {record.key: (record.value, letter.value_omitted_bytes) for letter, record in bench.dead_letters()}
    assert found == {b"known": (None, 60_001), b"found out": (None, 40_000), b"fits": (b"no json", None)}
    assert len(bench.dead_letters()) == 3


def test_a_topic_that_turns_unreadable_stops_the_worker_and_waits_for_a_better_one(make_bench: MakeBench) -> None:
    """After a bad deploy, of the producers or of this service, the input must not end up among the dead letters."""
    bench = make_bench(partitions=1, dlq_max_ratio=0.5)
    first = bench.group.start("first")
    bench.send("ps_1", "amelie", "before")
    for number in range(5000):
        bench.send_raw(b"ps_1", b"no json %d" % number)
    bench.send("ps_1", "amelie", "after")
    bench.feed.flush()
    bench.group.excuse(first)
    first.wait_exit(ExitCode.DEAD_LETTERS, timeout_s=60)
    assert "WORKER_DLQ_MAX_RATIO" in first.log
    assert bench.ends(bench.group.dlq_topic).total() < 2500

    bench.start("better", dlq_max_ratio=0)
    bench.wait_committed()
    bench.wait_for_texts({"amelie": ["before", "after"]})


# --- offsets that another tool moved ---


def test_offsets_that_another_tool_set_are_restored_by_time(make_bench: MakeBench) -> None:
    bench = make_bench(partitions=1)
    first = bench.start("first")
    bench.send("ps_1", "amelie", "0", "1")
    bench.send("ps_1", None, "2", "3")
    bench.wait_committed()
    bench.stop(first, signal.SIGTERM, within_s=STOP_S)
    hop = bench.group.repartition_topic
    bench.set_offsets({(bench.group.input_topic, 0): 3, (hop, 0): bench.ends(hop).total()})
    bench.send("ps_1", None, "4")
    bench.start("second")
    bench.wait_committed()
    bench.wait_for_texts({"amelie": ["0", "1", "2", "3", "4"]})
    assert len(bench.routed()) == 6, "3 and 4 were routed (again); what lies before was only remembered"


def test_offsets_that_the_broker_forgot_begin_at_the_start(make_bench: MakeBench) -> None:
    bench = make_bench(partitions=1)
    first = bench.start("first")
    bench.send("ps_1", "amelie", "0", "1")
    bench.wait_committed()
    bench.stop(first, signal.SIGTERM, within_s=STOP_S)
    bench.forget_offsets()
    bench.send("ps_1", None, "2")
    bench.start("second")
    bench.wait_committed()
    bench.wait_for_texts({"amelie": ["0", "1", "2"]})


# --- what it says when it cannot work ---


def test_what_it_cannot_work_with_is_told_before_anything_is_read(make_bench: MakeBench) -> None:
    """All at once: each waits for its own."""
    bench = make_bench()
    group = bench.group
    compacted = f"{group.repartition_topic}-compacted"
    create_topic(bench.bootstrap, compacted, partitions=2, config={**HOP, "cleanup.policy": "compact"})
    bench.send("ps_1", "amelie", "never read")
    bench.feed.flush()
    unreachable = f"127.0.0.1:{free_port()}"
    cases: list[tuple[Member, ExitCode, list[str]]] = [
        (
            group.start("unreachable", bootstrap_servers=unreachable),
            ExitCode.BROKER_UNREACHABLE,
            [unreachable, "bootstrap_servers"],
        ),
        (
            group.start("missing", input_topic=f"{group.input_topic}s"),
            ExitCode.TOPIC_MISSING,
            [f"{group.input_topic}s", "WORKER_INPUT_TOPIC", group.input_topic, "context-worker topics"],
        ),
        (
            group.start("compacted", repartition_topic=compacted),
            ExitCode.TOPIC_MISCONFIGURED,
            [compacted, "cleanup.policy", "expected delete", "seen compact", "--alter"],
        ),
        (
            group.start("wrong", lookback_seconds=-5, group_protocol="new"),
            ExitCode.USAGE,
            ["WORKER_LOOKBACK_SECONDS", "WORKER_GROUP_PROTOCOL", "classic"],
        ),
        (
            group.start("unknown", lookback_second=5),
            ExitCode.USAGE,
            ["WORKER_LOOKBACK_SECOND", "WORKER_LOOKBACK_SECONDS"],
        ),
        (
            group.start("twice", output_topic=group.input_topic),
            ExitCode.USAGE,
            ["WORKER_OUTPUT_TOPIC", group.input_topic],
        ),
    ]
    for member, code, words in cases:
        member.wait_exit(code, timeout_s=40)
        assert [word for word in words if word not in member.log] == [], member.log
        assert "Traceback" not in member.log
    assert not group.owned()


# --- the broker ---


def test_a_broker_that_is_killed_under_load_and_one_that_is_gone_at_the_end(
    private_kafka: MavenKafka, make_bench: MakeBench
) -> None:
    bench = make_bench(bootstrap=private_kafka.bootstrap_servers)
    member, load = bench.start("member", commit_interval_s=10), Load(bench)
    load.send(2000)
    bench.wait_routed(200)
    private_kafka.kill()
    load.send(1000)
    private_kafka.start()
    bench.group.reconnect()
    load.send(500)
    bench.wait_committed()
    bench.wait_for_texts(load.texts)

    load.send(2000)
    bench.wait_routed(4000)
    private_kafka.kill()  # long before the next commit
    bench.stop(member, signal.SIGTERM, ExitCode.UNCLEAN_STOP, within_s=STOP_WITHOUT_BROKER_S)
    assert "Traceback" not in member.log
