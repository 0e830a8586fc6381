"""The pictures of a report. Needs the extra `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")

from benchmarks.figures import Figure, Result, Series
from benchmarks.plot import pictures


def result(question: str, **fields: Any) -> dict[str, Any]:
    return Result(question, question, (), **{"figures": (), **fields}).as_json()


def test_every_result_that_there_is_a_picture_for_is_drawn_the_same_every_time(tmp_path: Path) -> None:
    load = ({"rate": 1000.0, "arrived_per_s": 990.0, "p50_ms": 3.0, "p99_ms": 9.0},)
    growth = ({"users": 1000.0, "us_cpu": 40.0}, {"users": 200_000.0, "us_cpu": 42.0})
    rates = tuple([Figure(f"{name}: steady", "payloads / CPU s", (1000.0, 1200.0)) for name in ("member", "another")])
    results = [
        result("load", series=(Series("member, defaults, round 1", load), Series("pass-through, round 1", load))),
        result("growth", series=(Series("member, defaults", growth),)),
        result("peers", figures=rates),
        result("startup"),
    ]
    first, second = list(pictures(results, tmp_path / "a")), list(pictures(results, tmp_path / "b"))

    assert [path.name for path in first] == ["load.svg", "growth.svg", "peers.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
