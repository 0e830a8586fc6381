"""Some benchmarks on a real Kafka, as small as they get: so that what they share does not rot, not for the figures."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from benchmarks import bench_peers
from benchmarks.peers.installed import SDK
from benchmarks.progress import Steps
from benchmarks.topics import Broker
from tests.brokers import CHECKOUT


@pytest.mark.parametrize(
    ("command", "ratios"),
    [
        ("throughput --payloads 4000 --users 30 --rounds 1", 4),
        ("restore --payloads 2000 --rounds 1", 3),
        ("startup --starts 1", 1),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_it_measures_and_finds_everything_right(kafka: str, tmp_path: Path, command: str, ratios: int) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *command.split(), "--json", str(report)],
        cwd=CHECKOUT,
        env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": kafka},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = orjson.loads(report.read_bytes())["results"]
    assert (result["question"], result["wrong"]) == (command.split(maxsplit=1)[0], [])
    assert len(result["ratios"]) == ratios
    assert result["title"] in done.stdout


def test_a_peer_does_the_same_job(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_peers, "PEERS", (SDK,))
    broker, steps = Broker(kafka), Steps(Console(file=io.StringIO()))

    result = bench_peers.throughput(broker, steps, payloads=2000, users=30, rounds=1)

    assert result.wrong == ()
    assert f"{SDK.name}: whole run / member, 1000 ms" in [ratio.name for ratio in result.ratios]
