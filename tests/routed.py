"""Payloads as they travel between the stages; their lines as text, and as they stand inside a JSON string."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from worker.pipeline.repartition import Reset, RoutedPayload, read


def json_text(lines: Iterable[str]) -> bytes:
    return b"\n".join(orjson.dumps(line)[1:-1] for line in lines)


def as_lines(text: bytes) -> tuple[str, ...]:
    return tuple(orjson.loads(b'"' + line + b'"') for line in text.splitlines())


def routed_in(values: Iterable[bytes | None]) -> list[RoutedPayload]:
    """The payloads in records of the repartition topic; resets aside."""
    bundles = [read(None, value, None) for value in values if value is not None]
    return [payload for bundle in bundles if not isinstance(bundle, Reset) for payload in bundle]


def routed(
    user_id: str,
    event_time: float,
    source: int,
    *lines: str,
    stream_time: float | None = None,
    session_id: str = "a",
    product_id: str = "",
    conversation_id: str = "",
    email: str = "",
) -> RoutedPayload:
    """`stream_time` is the event's unless it is given."""
    stream = event_time if stream_time is None else stream_time
    text = json_text(lines)
    return RoutedPayload(
        product_id, session_id, event_time, source, text, len(lines), conversation_id, email, user_id, stream
    )
