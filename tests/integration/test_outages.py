"""The brokers are gone for longer than every timeout, or have no room: members wait, and nothing is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.acceptance.members import Member
from tests.brokers import MavenKafka
from tests.chaos.cluster import Cluster, SmallDisk
from tests.integration.running import Bench, Load, MakeBench

OUTAGE_S = 8.0  # longer than the sessions (3 s, the broker's 6 s) and the delivery timeout (1.5 s) of these tests


def wait_told(bench: Bench, member: Member, words: str) -> None:
    bench.group.wait_for(lambda: words in member.log, f"{member.name} says {words!r}", timeout_s=60)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_broker_that_is_down_for_longer_than_every_timeout_is_waited_for(
    private_kafka: MavenKafka, make_bench: MakeBench, protocol: str
) -> None:
    bench = make_bench(
        bootstrap=private_kafka.bootstrap_servers, group_protocol=protocol, kafka_delivery_timeout_ms=1500
    )
    member, load = bench.start("member"), Load(bench)
    load.send(2000)
    bench.wait_routed(200)
    private_kafka.kill()
    over = time.monotonic() + OUTAGE_S
    bench.group.wait_for(lambda: time.monotonic() > over, "the outage is long", timeout_s=2 * OUTAGE_S)
    if protocol == "classic":
        wait_told(bench, member, "lost ")  # the session is over, and it noticed
    load.send(500)
    private_kafka.start()
    bench.group.reconnect()
    load.send(500)
    bench.wait_committed()
    bench.wait_for_texts(load.texts)
    assert member.exit_code is None


@pytest.fixture
def cluster(private_brokers: None, small_disk: SmallDisk) -> Iterator[Cluster]:
    with Cluster(data_dir=small_disk.path) as cluster:
        yield cluster


def test_a_broker_whose_disk_is_full_is_waited_for(
    small_disk: SmallDisk, cluster: Cluster, make_bench: MakeBench
) -> None:
    bench = make_bench(bootstrap=cluster.bootstrap_servers)
    member, load = bench.start("member"), Load(bench)
    load.send(2000)
    bench.wait_routed(200)
    small_disk.fill()
    load.send(2000)
    [node] = cluster.nodes
    bench.group.wait_for(lambda: not node.is_up, "the broker has given up", timeout_s=60)
    small_disk.free()
    node.start()
    bench.group.reconnect()
    load.send(500)
    bench.wait_committed()
    bench.wait_for_texts(load.texts)
    assert member.exit_code is None
