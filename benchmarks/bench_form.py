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
from worker.pipeline.reading import arrival_of

VALUES = 5000
USERS = 5000
BUNDLE = 25  # payloads that travel together, about as many as a full record has
LINEAGE = struct.Struct(">BHqdd")  # form, source partition, source offset, event time, stream time


class Carried(NamedTuple):
    """Payloads before the hop, and what either form hands over."""

    payloads: list[Payload]
    originals: list[bytes]
    lineage: bytes
    bundle: bytes


def measure(steps: Steps, *, rounds: int) -> Result:
    """Microseconds for a payload, and its bytes."""
    values = [payload.value for payload in skewed_crowd(VALUES, USERS, end=1.7e9)]
    carried = [_carried(values[at : at + BUNDLE]) for at in range(0, len(values), BUNDLE)]
    functions = {
        "lines, before the hop": lambda it: repartition.write([_routed(each) for each in it.payloads]),
        "lines, behind it": lambda it: repartition.read(None, it.bundle, None),
        "JSON, before the hop": lambda it: [LINEAGE.pack(1, 1, 2, 0.0, 0.0) for _ in it.originals],
        "JSON, behind it": _read_again,
    }
    with steps.step("form: the hop's two forms"):
        measured = cpu_per_call(functions, carried, rounds)
    figures = {
        name: Figure(name, it.unit, tuple([us / BUNDLE for us in it.values]), 2) for name, it in measured.items()
    }
    lines = _sum("lines, both sides", figures["lines, before the hop"], figures["lines, behind it"])
    original = _sum("JSON, both sides", figures["JSON, before the hop"], figures["JSON, behind it"])
    line_bytes = _bytes("lines, on the hop", [len(it.bundle) / BUNDLE for it in carried])
    json_bytes = _bytes("JSON, on the hop", [len(value) + LINEAGE.size for it in carried for value in it.originals])
    ratios = (original.over(lines, "CPU: JSON / lines"), json_bytes.over(line_bytes, "bytes: JSON / lines"))
    facts: dict[str, Any] = {"values": len(values), "payloads in a record": BUNDLE}
    return Result(
        "form",
        "The form of a payload on the hop",
        ratios,
        (lines, original, *figures.values(), line_bytes, json_bytes),
        facts,
    )


def _carried(values: list[bytes]) -> Carried:
    payloads = [_read(value) for value in values]
    return Carried(
        payloads, values, LINEAGE.pack(1, 1, 2, 0.0, 0.0), repartition.write([_routed(each) for each in payloads])
    )


def _read(value: bytes) -> Payload:
    payload = read_payload(value)
    assert not isinstance(payload, Skip)
    return payload


def _routed(payload: Payload) -> repartition.RoutedPayload:
    time = payload.forwarded_at or 0.0
    return arrival_of(payload, 2, time, time)


def _read_again(it: Carried) -> object:
    return [(LINEAGE.unpack(it.lineage), _read(value).text()) for value in it.originals]


def _sum(name: str, one: Figure, other: Figure) -> Figure:
    return Figure(name, one.unit, tuple([a + b for a, b in zip(one.values, other.values, strict=True)]), one.digits)


def _bytes(name: str, sizes: list[float]) -> Figure:
    return Figure(name, "bytes", (sum(sizes) / len(sizes),), digits=0)
