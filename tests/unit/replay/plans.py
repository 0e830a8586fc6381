"""A plan, short to write."""

from __future__ import annotations

from typing import Any

from worker.replay.plan import InputStart, Plan
from worker.replay.start_time import BEGINNING


def plan(**different: Any) -> Plan:
    values: dict[str, Any] = {
        "asked": BEGINNING,
        "since": BEGINNING,
        "inputs": (InputStart(0, 0, 0, 6), InputStart(1, 2, 4, 8)),
        "empty_from": {0: 3, 1: 5},
        "marks": {"alice": 100.0},
        "standing": frozenset({b"alice", b"bob", b"carol"}),
        "output_ends": {0: 7, 1: 9},
        "committed": {},
    }
    return Plan(**{**values, **different})
