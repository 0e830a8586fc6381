"""What does reading a payload cost beside pydantic, and beside msgspec or orjson alone?

The same values for all. Alone, neither library refuses what `read_payload` has to refuse: msgspec does not look into
fields that nobody declared (invalid UTF-8 passes there), orjson does not know types.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
from pydantic import BaseModel

from benchmarks.figures import Result
from benchmarks.load import skewed_crowd
from benchmarks.progress import Steps
from benchmarks.stopwatch import cpu_per_call
from schemas.codec import WirePayload, read_payload

VALUES = 5000
USERS = 5000


class Action(BaseModel):
    """The fields of `schemas.codec.WireAction`."""

    title: str | None = None
    description: str | None = None
    canonical_url: str | None = None
    index: int | None = None
    type: str | None = None
    timestamp_start: float | None = None
    timestamp_end: float | None = None
    raw_url: str | None = None


class Payload(BaseModel):
    """The fields of `schemas.codec.WirePayload`."""

    type: str | None = None
    product_id: str | int | None = None
    session_id: str | int | None = None
    user_id: str | int | None = None
    email: str | int | None = None
    conversation_id: str | int | None = None
    actions: list[Action] | None = None
    count: int | None = None
    forwarded_at: float | None = None


def measure(steps: Steps, *, rounds: int) -> Result:
    """Microseconds for a payload."""
    values = [payload.value for payload in itertools.islice(skewed_crowd(VALUES, USERS, end=1.7e9), VALUES)]
    functions: dict[str, Callable[[bytes], object]] = {
        "read_payload (msgspec; strictly: orjson, then msgspec)": read_payload,
        "pydantic, model_validate_json": Payload.model_validate_json,
        "msgspec alone": msgspec.json.Decoder(WirePayload).decode,
        "orjson alone, no types": orjson.loads,
    }
    with steps.step("decode: reading the same values four ways"):
        figures = list(cpu_per_call(functions, values, rounds).values())
    ours, *others = figures
    ratios = [other.over(ours, f"{other.name} / read_payload") for other in others]
    facts: dict[str, Any] = {"values": len(values), "value_bytes": round(sum(map(len, values)) / len(values))}
    return Result("decode", "Reading a payload", tuple(ratios), tuple(figures), facts)
