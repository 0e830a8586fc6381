"""What does a payload cost on the hop as lines in MessagePack, and what as its JSON, parsed again behind it?

Only what differs is counted: the payload is decoded before the hop either way, and its lines are needed behind it.
Not counted, and in favour of the lines: the client's and the broker's work for the bytes and for two headers.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from benchmarks.figures import Figure, Result
from benchmarks.load import skewed_crowd
from benchmarks.progress import Steps
from benchmarks.stopwatch import cpu_per_call
from schemas.codec import Payload, Skip, read_payload
from worker.pipeline import repartition
from worker.pipeline.event_time import EventTime

VALUES = 5000
USERS = 5000
LINEAGE = struct.Struct(">BHqdd")  # form, source partition, source offset, event time, stream time


class Carried(NamedTuple):
    """A payload before the hop, and what either form hands over."""

    payload: Payload
    time: EventTime
    original: bytes
    lineage: bytes
    lines: bytes


def measure(steps: Steps, *, rounds: int) -> Result:
    """Microseconds for a payload, and its bytes."""
    carried = [_carried(payload.value) for payload in skewed_crowd(VALUES, USERS, end=1.7e9)]
    functions = {
        "lines, before the hop": lambda it: repartition.write(it.payload, 1, 2, it.time),
        "lines, behind it": lambda it: repartition.read(it.lines, None),
        "JSON, before the hop": lambda it: LINEAGE.pack(1, 1, 2, *it.time[:2]),
        "JSON, behind it": _read_again,
    }
    with steps.step("form: the hop's two forms"):
        figures = cpu_per_call(functions, carried, rounds)
    lines = _sum("lines, both sides", figures["lines, before the hop"], figures["lines, behind it"])
    original = _sum("JSON, both sides", figures["JSON, before the hop"], figures["JSON, behind it"])
    line_bytes = _bytes("lines, on the hop", [it.lines for it in carried])
    json_bytes = _bytes("JSON, on the hop", [it.original + it.lineage for it in carried])
    ratios = (original.over(lines, "CPU: JSON / lines"), json_bytes.over(line_bytes, "bytes: JSON / lines"))
    facts: dict[str, Any] = {"values": len(carried)}
    return Result(
        "form",
        "The form of a payload on the hop",
        ratios,
        (lines, original, *figures.values(), line_bytes, json_bytes),
        facts,
    )


def _carried(value: bytes) -> Carried:
    payload = read_payload(value)
    assert not isinstance(payload, Skip)
    assert payload.forwarded_at is not None
    time = EventTime(payload.forwarded_at, payload.forwarded_at, clamped=False)
    return Carried(payload, time, value, LINEAGE.pack(1, 1, 2, *time[:2]), repartition.write(payload, 1, 2, time))


def _read_again(it: Carried) -> object:
    lineage = LINEAGE.unpack(it.lineage)
    payload = read_payload(it.original)
    assert not isinstance(payload, Skip)
    return lineage, payload.lines()


def _sum(name: str, one: Figure, other: Figure) -> Figure:
    return Figure(name, one.unit, tuple([a + b for a, b in zip(one.values, other.values, strict=True)]), one.digits)


def _bytes(name: str, values: list[bytes]) -> Figure:
    return Figure(name, "bytes", (sum(map(len, values)) / len(values),), digits=0)
