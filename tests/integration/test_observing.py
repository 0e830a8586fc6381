"""What an operator sees of `run`: metrics by a real Prometheus, health, and a log without anybody in it."""

from __future__ import annotations

import re
import subprocess

from tests.brokers import MavenKafka, free_port
from tests.http_get import http_get
from tests.integration.running import Load, MakeBench
from tests.prometheus import Prometheus, find_program
from worker.errors import ExitCode

PAYLOADS = 400
STATISTICS_S = 40.0  # they come every ten seconds


def test_a_prometheus_sees_what_two_members_do(make_bench: MakeBench, prometheus: Prometheus) -> None:
    ports = [free_port(), free_port()]
    bench = make_bench(partitions=4)
    prometheus.scrape(f"127.0.0.1:{port}" for port in ports)
    for name, port in zip(("first", "second"), ports, strict=True):
        bench.start(name, http_address=f"127.0.0.1:{port}")
    bench.group.wait_for_owners(2)
    assert prometheus.wait_for("count(user_context_worker_ready == 1) == 2") == [2]
    load = Load(bench)
    load.send(PAYLOADS)
    bench.send_raw(b"key", b"no json")
    bench.wait_for_texts(load.texts)

    for expression, value in (  # a scrape may be half a second old
        ("sum(user_context_worker_payloads_total)", PAYLOADS),
        ("sum(user_context_worker_routed_payloads_total)", PAYLOADS),
        ("sum(user_context_worker_dead_letters_total)", 1),
        ("sum(user_context_worker_users)", 50),
        ("sum(user_context_worker_tasks{state='running'})", 8),
        ("sum(user_context_worker_lag_records)", 0),
        ("max(user_context_worker_lag_seconds)", 0),
    ):
        assert prometheus.wait_for(f"{expression} == {value}") == [value]
    [p99_s] = prometheus.wait_for(
        "histogram_quantile(0.99, sum by (le) (user_context_worker_freshness_seconds_bucket)) > 0"
    )
    assert 50 < p99_s <= 300  # the load says that its events happened a minute ago
    assert prometheus.wait_for("sum(user_context_worker_rebalance_duration_seconds_count) > 1")
    assert len(prometheus.wait_for("user_context_worker_build_info")) == 2
    trips = "min(user_context_worker_broker_round_trip_seconds{percentile='50'}) > 0"
    [round_trip_s] = prometheus.wait_for(trips, timeout_s=STATISTICS_S)
    assert round_trip_s < 10

    for member, port in zip(bench.group.members, ports, strict=True):
        checked = subprocess.run(
            [find_program("promtool"), "check", "metrics"],
            input=http_get(port, "/metrics")[1],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr
        assert "assigned" in member.log
        assert not re.search(r"user_\d|ps_\d|no json", member.log)


def test_a_member_is_alive_and_ready_until_it_stops(make_bench: MakeBench) -> None:
    port = free_port()
    bench = make_bench()
    member = bench.start("first", http_address=f"127.0.0.1:{port}")
    bench.group.wait_for(lambda: http_get(port, "/readyz") == (200, "ready\n"), "ready", timeout_s=40)
    assert http_get(port, "/healthz") == (200, "ok\n")
    bench.stop(member, 15, within_s=20)
    assert http_get(port, "/healthz") == (0, "")


def test_a_broker_that_is_away_makes_nobody_unhealthy(private_kafka: MavenKafka, make_bench: MakeBench) -> None:
    port = free_port()
    bench = make_bench(bootstrap=private_kafka.bootstrap_servers, http_address=f"127.0.0.1:{port}")
    member = bench.start("first")
    private_kafka.kill()
    bench.group.wait_for(lambda: "waiting for the broker" in member.log, "the outage is told", timeout_s=40)
    assert http_get(port, "/healthz") == (200, "ok\n")
    private_kafka.start()
    bench.group.reconnect()
    bench.send("ps_1", "amelie", "Pay")
    bench.wait_for_texts({"amelie": ["Pay"]})
    bench.group.wait_for(lambda: http_get(port, "/readyz")[0] == 200, "ready again", timeout_s=40)


def test_an_address_that_is_taken_ends_it_at_once(make_bench: MakeBench) -> None:
    port = free_port()
    bench = make_bench()
    bench.start("first", http_address=f"127.0.0.1:{port}")
    second = bench.group.start("second", http_address=f"127.0.0.1:{port}")
    bench.group.expect_exit(second)
    second.wait_exit(ExitCode.USAGE, timeout_s=20)
    assert f"cannot listen on 127.0.0.1:{port}" in second.log
