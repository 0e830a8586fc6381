"""The benchmarks on a real Kafka, as small as they get: so that they do not rot, not for the figures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson

from tests.brokers import CHECKOUT

SMALL = (
    *("--rounds", "1", "--payloads", "400", "--users", "30"),
    *("--latency-payloads", "40", "--memory-users", "30"),
)


def test_everything_that_needs_a_broker_is_measured_and_found_right(kafka: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "throughput", "latency", "memory", *SMALL, "--json", str(report)],
        cwd=CHECKOUT,
        env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": kafka},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    throughput, latency, memory = orjson.loads(report.read_bytes())["results"]
    assert [len(result["ratios"]) for result in (throughput, latency, memory)] == [4, 4, 3]
    assert throughput["facts"]["user_records_checked"] == 60
    assert throughput["wrong"] == latency["wrong"] == memory["wrong"] == []
    assert "Latency from payload to record at 200 payloads/s" in done.stdout
    assert "throughput: round 1 of 1, member, defaults" in done.stderr
