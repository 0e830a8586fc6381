"""Every query of the dashboard and every alert, asked of a real Prometheus while real members work, and while they do
not."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from tests.brokers import free_port
from tests.deploy.promql import ALERTS, alert_expressions, dashboard_expressions
from tests.integration.running import REQUEST_TIMEOUT_S, Bench, Load, MakeBench
from tests.integration.test_restore import payload, session_on, transaction
from tests.prometheus import Prometheus

PAYLOADS = 400
STATISTICS_S = 40.0  # librdkafka's come every ten seconds
EMPTY_WHERE_ALL_IS_WELL = {"Left to restore"}
NO_NUMBER_WHERE_NOTHING_MOVES = {"Restore, rebalance"}  # a quantile of nothing; Grafana draws a gap


@pytest.fixture
def impatient(tmp_path: Path) -> Path:
    """The alerts as they are, but without `for`, and with the past of an hour at hand every second."""
    document = yaml.safe_load(ALERTS.read_text())
    for rule in document["groups"][0]["rules"]:
        rule.pop("for", None)
        rule["expr"] = rule["expr"].replace("[1h:30s]", "[1h:1s]")
    path = tmp_path / "alerts.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def start(bench: Bench, prometheus: Prometheus, rules: Path) -> None:
    """Two members that are scraped, and all that their metrics tell of."""
    ports = {name: free_port() for name in ("first", "second")}
    prometheus.scrape((f"127.0.0.1:{port}" for port in ports.values()), rules)
    for name, port in ports.items():
        bench.start(name, http_address=f"127.0.0.1:{port}")
    bench.group.wait_for_owners(2)
    prometheus.wait_for("sum(user_context_worker_ready) == 2")


def firing(prometheus: Prometheus, alert: str) -> None:
    """Waits for it."""
    assert prometheus.wait_for(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')


def test_every_panel_shows_something_and_no_alert_fires_while_all_is_well(
    make_bench: MakeBench, prometheus: Prometheus, impatient: Path
) -> None:
    bench = make_bench(partitions=4)
    start(bench, prometheus, impatient)
    prometheus.wait_for("absent(ALERTS)")
    now = time.time()
    for number in range(PAYLOADS):
        bench.send(f"ps_{number % 40}", f"user_{number % 40}", str(number), at=now)
    bench.send("ps_held", None, "who is it")
    bench.send("ps_clamped", "user_0", "from tomorrow", at=now + 86400)
    bench.send_raw(b"another", b'{"session_id": "ps_1", "actions": []}')
    bench.send_raw(b"null", None)
    bench.send_raw(b"poison", b"no json")
    bench.wait_committed()
    assert prometheus.wait_for("sum(user_context_worker_dead_letters_total) == 1")

    for who, expression in dashboard_expressions():
        asked = expression.replace("$job", ".*").replace("$__rate_interval", "1m")
        assert "$" not in asked
        if who in EMPTY_WHERE_ALL_IS_WELL:
            assert prometheus.query(asked) == []
        elif "commit_failures" in asked:
            prometheus.query(asked)  # empty as a rule; but the second member's coming may refuse the first one's commit
        else:
            a_number = asked if who in NO_NUMBER_WHERE_NOTHING_MOVES else f"({asked}) > -Inf"
            assert prometheus.wait_for(a_number, timeout_s=STATISTICS_S), f"{who}: not a number: {expression}"
    for who, expression in alert_expressions():
        assert prometheus.query(expression) == [], who
    assert not prometheus.query("ALERTS")


def test_alerts_fire_where_something_is_wrong(make_bench: MakeBench, prometheus: Prometheus, impatient: Path) -> None:
    bench = make_bench(partitions=4, session_timeout_ms=20_000)
    start(bench, prometheus, impatient)
    load = Load(bench)  # its events happened a minute ago
    load.send(PAYLOADS)
    firing(prometheus, "ContextStale")

    for days in (1, 2):  # a counter has to be there before it can grow
        for number in range(PAYLOADS // 10):
            bench.send_raw(b"poison %d" % number, b"no json")
            bench.send(f"ps_{number}", f"user_{number}", "long ago", at=time.time() - days * 86400)
        sent = days * PAYLOADS // 10
        assert prometheus.wait_for(f"sum(user_context_worker_dead_letters_total) == {sent}")
        assert prometheus.wait_for(f"sum(user_context_worker_stage_events_total{{kind='late'}}) == {sent}")
    firing(prometheus, "ContextDeadLetterRatio")
    firing(prometheus, "ContextLateRatio")

    first, second = bench.group.present
    bench.group.crash(first)
    firing(prometheus, "ContextPartitionsUnowned")
    bench.group.crash(second)
    firing(prometheus, "ContextNoMembers")
    nobody = {who: prometheus.query(asked.replace("$job", ".*")) for who, asked in dashboard_expressions()
              if who in {"Members ready", "Partitions"}}  # fmt: skip
    assert nobody == {"Members ready": [0], "Partitions": [0]}  # a zero in red, not an empty panel


def test_records_that_are_gone_and_a_partition_that_cannot_be_read_are_told(
    make_bench: MakeBench, prometheus: Prometheus, impatient: Path
) -> None:
    bench = make_bench(partitions=2)
    session = session_on(bench, 0)
    member = bench.start("first")
    bench.send(session, "amelie", "Pay")
    bench.wait_committed()
    bench.stop(member, 15, within_s=20)
    bench.send(session, "amelie", "Pay again", "and again")
    bench.feed.flush()
    bench.delete_records({(bench.group.input_topic, 0): 2})
    hanging = transaction(bench, 1, payload(session_on(bench, 1), "bruno", "Pay"), ends="open")
    port = free_port()
    prometheus.scrape([f"127.0.0.1:{port}"], impatient)
    bench.start("second", http_address=f"127.0.0.1:{port}")
    firing(prometheus, "ContextRecordsGone")
    firing(prometheus, "ContextPartitionStalled")
    hanging.commit_transaction(REQUEST_TIMEOUT_S)
    prometheus.wait_for('absent(ALERTS{alertname="ContextPartitionStalled"})')


def test_the_alerts_that_are_tried_here_are_those_of_the_file() -> None:
    names = {rule for rule, _ in alert_expressions()}
    assert set(re.findall(r'firing\(prometheus, "(\w+)"\)', Path(__file__).read_text())) <= names
